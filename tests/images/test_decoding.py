"""Every kind of file in, one kind of array out, or a refusal that says why."""

import io
import struct
import warnings
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from i2i.images.decoding import Refused, decode, fit_channels, identify

RNG = np.random.default_rng(7)
RGB = RNG.integers(0, 256, (6, 9, 3), dtype=np.uint8)
RGB16 = RNG.integers(0, 65536, (6, 9, 3), dtype=np.uint16)
GRAY = RGB[..., 0]


def pillow(image: Image.Image | np.ndarray, format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    image.save(buffer, format, **options)
    return buffer.getvalue()


def opencv(array: np.ndarray, suffix: str) -> bytes:
    order = {3: cv2.COLOR_RGB2BGR, 4: cv2.COLOR_RGBA2BGRA}
    channels = array.shape[2] if array.ndim == 3 else 1
    return cv2.imencode(suffix, cv2.cvtColor(array, order[channels]) if channels in order else array)[1].tobytes()


def png_with_chunk(data: bytes, kind: bytes, content: bytes, last: bool = False) -> bytes:
    chunk = struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
    at = len(data) - 12 if last else 33  # before IEND, after IHDR
    return data[:at] + chunk + data[at:]


def tiff16(array: np.ndarray, orientation: int = 1, photometric: int = 2) -> bytes:
    """A plain little-endian TIFF of 16-bit samples."""
    height, width, channels = array.shape
    pixels = array.astype("<u2").tobytes()
    bits_at, pixels_at = 200, 220
    tags = [
        (256, 3, 1, width),
        (257, 3, 1, height),
        (258, 3, channels, bits_at if channels > 2 else 16),
        (259, 3, 1, 1),
        (262, 3, 1, photometric),
        (273, 4, 1, pixels_at),
        (274, 3, 1, orientation),
        (277, 3, 1, channels),
        (278, 3, 1, height),
        (279, 4, 1, len(pixels)),
    ]
    head = b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", len(tags))
    head += b"".join(struct.pack("<HHII", *tag) for tag in tags) + struct.pack("<I", 0)
    bits = struct.pack(f"<{channels}H", *[16] * channels)
    return head.ljust(bits_at, b"\0") + bits.ljust(pixels_at - bits_at, b"\0") + pixels


def exif(orientation: int) -> Image.Exif:
    tags = Image.Exif()
    tags[274] = orientation
    return tags


@pytest.mark.parametrize("format", ["PNG", "BMP", "TIFF", "PPM"])
def test_exact_formats(format: str) -> None:
    array, notes = decode(pillow(RGB, format))
    assert array.dtype == np.uint8 and array.flags.writeable and array.flags.c_contiguous
    assert notes == ()
    np.testing.assert_array_equal(array, RGB)


@pytest.mark.parametrize("format", ["JPEG", "WEBP", "GIF"])
def test_lossy_formats(format: str) -> None:
    assert decode(pillow(RGB, format))[0].shape == RGB.shape


@pytest.mark.parametrize(
    ("data", "note"),
    [
        (pillow(GRAY, "PNG"), "gray to RGB"),
        (pillow(GRAY, "JPEG"), "gray to RGB"),
        (pillow(Image.fromarray(RGB).convert("P"), "PNG"), "palette to RGB"),
        (pillow(Image.fromarray(RGB).convert("CMYK"), "JPEG"), "CMYK to RGB"),
        (pillow(Image.fromarray(RGB).convert("CMYK"), "TIFF"), "CMYK to RGB"),
        (pillow(Image.fromarray(RGB).convert("YCbCr"), "TIFF"), "YCbCr to RGB"),
        (pillow(Image.fromarray(RGB).convert("1"), "PNG"), "1-bit to 8-bit gray"),
        (pillow(Image.fromarray(RGB).convert("RGBA"), "PNG"), "opaque alpha dropped"),
        (pillow(Image.fromarray(GRAY).convert("LA"), "PNG"), "opaque alpha dropped"),
    ],
)
def test_conversions_are_named(data: bytes, note: str) -> None:
    array, notes = decode(data)
    assert note in notes
    assert array.shape == RGB.shape and array.dtype == np.uint8


def test_conversions_keep_values() -> None:
    np.testing.assert_array_equal(decode(pillow(GRAY, "PNG"))[0], np.dstack([GRAY] * 3))
    np.testing.assert_array_equal(decode(pillow(Image.fromarray(GRAY).convert("P"), "PNG"))[0], np.dstack([GRAY] * 3))
    rgba = np.dstack([RGB, np.full_like(GRAY, 255)])
    np.testing.assert_array_equal(decode(pillow(rgba, "PNG"))[0], RGB)
    white_on_black = decode(pillow(Image.fromarray(GRAY > 127), "PNG"), 1)[0]
    np.testing.assert_array_equal(white_on_black[..., 0], np.where(GRAY > 127, 255, 0))


@pytest.mark.parametrize("data", [opencv(RGB16, ".png"), opencv(RGB16, ".tiff"), opencv(RGB16, ".ppm"), tiff16(RGB16)])
def test_16_bit_colour_keeps_its_depth(data: bytes) -> None:
    array, notes = decode(data)
    assert array.dtype == np.uint16 and notes == ()
    np.testing.assert_array_equal(array, RGB16)


@pytest.mark.parametrize("suffix", [".png", ".tiff", ".pgm"])
def test_16_bit_gray_keeps_its_depth(suffix: str) -> None:
    array, notes = decode(opencv(RGB16[..., 0], suffix), 1)
    assert array.dtype == np.uint16 and notes == ()
    np.testing.assert_array_equal(array, RGB16[..., :1])


def test_16_bit_ppm_is_scaled_by_its_maximum() -> None:
    colours = struct.pack(">6H", 0, 1023, 500, 1, 2, 3)
    expected = np.round(np.array([[[0, 1023, 500], [1, 2, 3]]]) * 65535 / 1023)
    np.testing.assert_array_equal(decode(b"P6\n2 1\n1023\n" + colours)[0], expected)
    np.testing.assert_allclose(decode(b"P5\n3 2\n1023\n" + colours, 1)[0].ravel(), expected.ravel(), atol=1)


def test_16_bit_alpha() -> None:
    opaque = np.dstack([RGB16, np.full((6, 9), 65535, np.uint16)])
    array, notes = decode(opencv(opaque, ".png"))
    np.testing.assert_array_equal(array, RGB16)
    assert notes == ("opaque alpha dropped",)
    opaque[2, 3, 3] = 65534
    with pytest.raises(Refused, match="transparent"):
        decode(opencv(opaque, ".png"))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation_is_the_same_for_all_formats(orientation: int) -> None:
    low = (RGB16 >> 8).astype(np.uint8)
    png16 = opencv(RGB16, ".png")
    tags = exif(orientation)
    expected = decode(pillow(low, "PNG", exif=tags))[0]
    assert expected.shape[:2] == ((9, 6) if orientation >= 5 else (6, 9))
    # Against Pillow's own transposition, which none of these paths uses.
    reference = Image.open(io.BytesIO(pillow(low, "PNG", exif=tags)))
    np.testing.assert_array_equal(expected, ImageOps.exif_transpose(reference))
    for data, shift in [
        (png_with_chunk(png16, b"eXIf", tags.tobytes()[6:]), 8),
        (png_with_chunk(png16, b"eXIf", tags.tobytes()[6:], last=True), 8),
        (png_with_chunk(pillow(low, "PNG"), b"eXIf", tags.tobytes()[6:], last=True), 0),
        (pillow(low, "TIFF", tiffinfo={274: orientation}), 0),
        (tiff16(RGB16, orientation), 8),
        (pillow(low, "WEBP", lossless=True, exif=tags), 0),
    ]:
        array, notes = decode(data)
        np.testing.assert_array_equal(array >> shift, expected)
        assert notes == (("EXIF rotation",) if orientation > 1 else ())
    jpeg = decode(pillow(low, "JPEG", exif=tags, quality=100, subsampling=0))[0]
    assert np.abs(jpeg.astype(int) - expected).mean() < 3
    gray = decode(tiff16(RGB16[..., :1], orientation, photometric=1), 1)[0]
    np.testing.assert_array_equal(gray[..., 0] >> 8, expected[..., 0])


def test_damaged_exif_is_ignored() -> None:
    assert decode(pillow(RGB, "PNG", exif=b"Exif\0\0nonsense"))[1] == ()
    assert decode(pillow(RGB, "PNG", exif=exif(77)))[1] == ()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", r"is empty \(0 bytes\)"),
        (b"hello, I am no image", "is text, not an image"),
        (b"\n<!DOCTYPE html><html>", "is a web page, not an image"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "is a Git LFS pointer"),
        (bytes(range(200, 250)), "is no image of a known format"),
        (pillow(np.tile(RGB, (20, 20, 1)), "JPEG")[:3000], "damaged JPEG file"),
        (pillow(np.tile(RGB, (20, 20, 1)), "PNG")[:300], "damaged PNG file"),
        (pillow(np.tile(RGB, (20, 20, 1)), "WEBP")[:3000], "damaged WEBP"),
        (opencv(np.tile(RGB16, (20, 20, 1)), ".png")[:3000], "damaged PNG file"),
        (tiff16(RGB16)[:-200], "damaged TIFF file"),
        (pillow(RGB, "JPEG")[:30], "damaged JPEG header"),
        (pillow(RGB, "PNG")[:20], "damaged PNG header"),
        (pillow(Image.fromarray(GRAY.astype(np.float32)), "TIFF"), "32-bit float samples cannot be used"),
        (pillow(Image.fromarray(GRAY.astype(np.int32)), "TIFF"), "32-bit integer samples"),
        (opencv(RGB.astype(np.float32), ".tiff"), "3 channels of 32-bit float samples cannot be used"),
        (tiff16(RNG.integers(0, 99, (4, 4, 7))), "7 channels of 16-bit samples cannot be used"),
        (tiff16(RGB16[..., :1], photometric=0), "counts from white to black"),
        (pillow(Image.new("LAB", (4, 4)), "TIFF"), "CIELAB"),
        (pillow(RGB, "GIF", save_all=True, append_images=[Image.fromarray(RGB[::-1].copy())]), "holds 2 pictures"),
        (pillow(RGB, "TIFF", save_all=True, append_images=[Image.fromarray(RGB)]), "holds 2 pictures"),
    ],
)
def test_refusals_say_why(data: bytes, reason: str) -> None:
    with warnings.catch_warnings(), pytest.raises(Refused, match=reason) as refusal:
        warnings.simplefilter("error")
        decode(data)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    "image",
    [Image.fromarray(np.dstack([RGB, GRAY])), Image.new("LA", (4, 4), (9, 200))],
)
def test_transparency_is_refused(image: Image.Image) -> None:
    with pytest.raises(Refused, match="has transparent pixels, 3 channels are needed") as refusal:
        decode(pillow(image, "PNG"))
    assert "flatten it" in refusal.value.hints[0]


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "I;16"])
def test_a_transparent_colour_is_transparency(mode: str) -> None:
    used, unused = ((1, 2, 3), (3, 2, 1)) if mode == "RGB" else (3, 4)
    image = Image.new(mode, (4, 4), used)
    if mode == "P":
        image.putpalette(range(60))
    with pytest.raises(Refused, match="transparent"):
        decode(pillow(image, "PNG", transparency=used, optimize=False))
    assert decode(pillow(image, "PNG", transparency=unused, optimize=False))[0].shape == (4, 4, 3)


def test_one_picture_and_its_thumbnail() -> None:
    buffer = io.BytesIO()
    thumbnail = Image.fromarray(RGB[:3, :3].copy())
    thumbnail.encoderinfo = {"tiffinfo": {254: 1}}
    Image.fromarray(RGB).save(buffer, "TIFF", save_all=True, append_images=[thumbnail])
    data = buffer.getvalue()
    frames = Image.open(io.BytesIO(data))
    frames.seek(1)
    if frames.tag_v2.get(254) != 1:
        pytest.skip("this Pillow does not write the subfile type")
    np.testing.assert_array_equal(decode(data)[0], RGB)


def test_mpo_gives_its_first_picture() -> None:
    data = pillow(RGB, "MPO", save_all=True, append_images=[Image.fromarray(RGB[::-1].copy())])
    np.testing.assert_array_equal(decode(data)[0], decode(pillow(RGB, "JPEG"))[0])


def test_too_many_pixels_are_refused_before_decoding() -> None:
    header = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + b"IHDR"
    body = struct.pack(">IIBBBBB", 40_000, 40_000, 8, 2, 0, 0, 0)
    header += body + struct.pack(">I", zlib.crc32(b"IHDR" + body)) + bytes(4) + b"IDAT" + bytes(8)
    with warnings.catch_warnings(), pytest.raises(Refused, match="40000 x 40000 pixels are more than the 1,000,0"):
        warnings.simplefilter("error")
        decode(header)
    with pytest.raises(Refused, match="more than the 50"):
        decode(pillow(RGB, "PNG"), max_pixels=50)


def test_large_images_do_not_warn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)  # Pillow warns above, and refuses above twice this
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert decode(pillow(RGB, "PNG"))[0].shape == RGB.shape
        assert decode(pillow(RGB, "JPEG", exif=exif(6)))[0].shape == (9, 6, 3)
        assert decode(pillow(RGB, "WEBP"))[0].shape == decode(pillow(RGB, "TIFF"))[0].shape == RGB.shape
        assert decode(pillow(GRAY, "TIFF", compression="tiff_lzw"))[0].shape == RGB.shape
        with pytest.raises(Refused, match="9 x 6 pixels are more than the 50"):
            decode(pillow(RGB, "WEBP"), max_pixels=50)
    assert Image.MAX_IMAGE_PIXELS == 10, "others keep Pillow's limit"


def test_fit_channels() -> None:
    gray3, rgba = np.dstack([GRAY] * 3), np.dstack([RGB, np.full_like(GRAY, 255)])
    assert fit_channels(gray3, 1)[1] == ("RGB to gray",)
    np.testing.assert_array_equal(fit_channels(gray3, 1)[0][..., 0], GRAY)
    with pytest.raises(Refused, match="is in colour, 1 channel is needed"):
        fit_channels(RGB, 1)
    with pytest.raises(Refused, match="has 3 channels, 4 are needed"):
        fit_channels(RGB, 4)
    assert fit_channels(rgba, 4)[0] is rgba
    assert fit_channels(GRAY[..., None], None)[0].shape[2] == 1
    np.testing.assert_array_equal(fit_channels(rgba, None)[0], RGB)
    assert fit_channels(np.dstack([GRAY, np.full_like(GRAY, 255)]), 1)[1] == ("opaque alpha dropped",)


def test_identify_reads_no_pixels() -> None:
    class Counting(io.BytesIO):
        count = 0

        def read(self, size: int | None = -1) -> bytes:
            data = super().read(size)
            self.count += len(data)
            return data

    for format in ("PNG", "JPEG", "TIFF", "WEBP"):
        stream = Counting(pillow(np.tile(RGB, (50, 50, 1)), format))
        assert identify(stream).size == (450, 300)
        assert stream.count < 2000 or format == "WEBP", format  # its library wants the whole file

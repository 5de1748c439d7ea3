"""Files as small as their format allows are read; damage that decoders do not find is found."""

import io
import struct
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image, features

from i2i.images.codecs.label_files import read_labels
from i2i.images.decoding import Damaged, Refused, decode
from i2i.images.files import WRITERS, load_image, save_image
from i2i.images.integrity import broken_chunk, flaw
from i2i.images.rasters import decode_raster
from tests.images.malformed import RGB, SMOOTH, encoded, flipped, with_ihdr

RNG = np.random.default_rng(0)
WAVES = np.sin(np.add.outer(np.arange(200.0), np.arange(240.0))[..., None] / np.array([29, 37, 43]))
PICTURES = {
    "photo": (127 + 100 * WAVES + RNG.normal(0, 4, WAVES.shape)).astype(np.uint8),
    "noise": RNG.integers(0, 256, (200, 240, 3), dtype=np.uint8),
    "flat": np.full((200, 240, 3), 90, np.uint8),
}
LOSSY = [{"quality": quality} for quality in (1, 30, 50, 75, 95)]
TIFF_EXACT = ("raw", "tiff_lzw", "tiff_deflate", "tiff_adobe_deflate", "packbits", "lzma", "zstd")
PILLOW = [
    *(("JPEG", mode, {**options, "progressive": mode == "RGB"}) for mode in ("L", "RGB") for options in LOSSY),
    *(("JPEG", "RGB", {"restart_marker_blocks": 1}), ("JPEG", "CMYK", {}), ("MPO", "RGB", {})),
    *(("WEBP", "RGB", {**options, "lossless": exact}) for options in LOSSY for exact in (False, True)),
    *(("AVIF", "RGB", {**options, "speed": 10}) for options in LOSSY),
    *(("AVIF", "L", {"speed": 10}), ("AVIF", "RGBA", {"speed": 10})),
    *(("PNG", mode, {}) for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")),
    *(("TIFF", mode, {}) for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16")),
    *(("TIFF", "RGB", {"compression": name}) for name in (*TIFF_EXACT, "webp", "jpeg")),
    *(("TIFF", "YCbCr", {"compression": name}) for name in TIFF_EXACT),
    *(("TIFF", "1", {"compression": name}) for name in ("group3", "group4", "tiff_ccitt", "packbits")),
    *(("BMP", mode, {}) for mode in ("1", "L", "P", "RGB", "RGBA")),
    *(("GIF", mode, {}) for mode in ("1", "L", "P", "RGB")),
    *(("PPM", mode, {}) for mode in ("1", "L", "I;16", "RGB")),
]
SIDE = 3000


def flat(format: str, mode: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, (SIDE, SIDE)).save(buffer, format, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("format", "mode", "options"),
    [
        ("PNG", "1", {"compress_level": 9}),
        ("PNG", "RGB", {"compress_level": 9}),
        ("JPEG", "L", {"quality": 1, "optimize": True}),
        ("JPEG", "RGB", {"quality": 1, "subsampling": 2, "progressive": True, "optimize": True}),
        ("TIFF", "RGB", {"compression": "tiff_lzw"}),
        ("TIFF", "1", {"compression": "group4"}),
        ("TIFF", "1", {"compression": "packbits"}),
        ("TIFF", "L", {"compression": "tiff_adobe_deflate"}),
        ("BMP", "1", {}),
        ("PPM", "1", {}),
        ("GIF", "P", {}),
        ("WEBP", "RGB", {"lossless": True}),
    ],
)
def test_one_colour_compressed_as_well_as_can_be(format: str, mode: str, options: dict[str, object]) -> None:
    assert decode(flat(format, mode, **options), None)[0].shape[:2] == (SIDE, SIDE)


@pytest.mark.parametrize("picture", PICTURES)
@pytest.mark.parametrize("quality", [1, 50, 95])
@pytest.mark.parametrize("format", WRITERS)
def test_what_we_write_is_read(format: str, quality: int, picture: str, tmp_path: Path) -> None:
    if format == "avif" and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    save_image(tmp_path / f"x.{format}", PICTURES[picture], quality=quality)
    assert load_image(tmp_path / f"x.{format}")[0].shape == (200, 240, 3)


@pytest.mark.parametrize("picture", PICTURES)
@pytest.mark.parametrize(("format", "mode", "options"), PILLOW, ids=str)
def test_what_pillow_writes_is_read(format: str, mode: str, options: dict[str, object], picture: str) -> None:
    image = Image.fromarray(PICTURES[picture])
    image = image.convert("L").convert("I").convert("I;16") if mode == "I;16" else image.convert(mode)
    buffer = io.BytesIO()
    try:
        image.save(buffer, format, **options)
    except (OSError, KeyError, ValueError) as error:
        pytest.skip(f"this Pillow does not write it: {error}")
    assert decode(buffer.getvalue())[0].shape == (200, 240, 3)


def test_bands_of_one_value() -> None:
    buffer = io.BytesIO()
    bands = np.zeros((1000, 1000, 5), np.float32)
    tifffile.imwrite(buffer, bands, photometric="minisblack", planarconfig="contig", compression="zlib", metadata=None)
    np.testing.assert_array_equal(decode_raster(buffer.getvalue()), bands)


def test_a_lie_is_told_with_its_size() -> None:
    data = with_ihdr(encoded(RGB, "PNG"), struct.pack(">II", 30_000, 30_000), 0)
    with pytest.raises(Damaged, match=f"claims 30000 x 30000 pixels, which {len(data):,} bytes cannot hold"):
        decode(data)
    with pytest.raises(Refused, match="30000 x 30000 pixels are more than the 1,000,000"):
        decode(data, max_pixels=10**6)


def test_sums_of_pixels() -> None:
    import random

    data = encoded(RGB, "PNG")
    assert broken_chunk(data) == "" and broken_chunk(data[:-13]) == ""
    assert broken_chunk(data[:-100]) == "cut off within its pixels"
    at = data.index(b"IDAT") + 40
    changed = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
    assert broken_chunk(changed) == "the checksum of its pixels is wrong"
    with pytest.raises(Damaged, match="damaged PNG file: the checksum of its pixels is wrong"):
        decode(changed)
    assert broken_chunk(flipped(data, random.Random(0), 8)) == "", "what is before the chunks is the decoder's"


def test_a_gif_that_leaves_part_of_its_canvas_open() -> None:
    data = encoded(RGB, "GIF")
    with pytest.raises(Refused, match="picture of 40 x 24 pixels leaves the rest of 60 x 24 transparent"):
        decode(data[:6] + struct.pack("<HH", 60, 24) + data[10:])


def test_what_follows_the_end_of_a_png_is_not_its_own() -> None:
    data = encoded(RGB, "PNG")
    for tail in (b"\0\0\0\4IDATxxxx\0\0\0\0", b"\x7f\xff\xff\xffIDATxxxx\0\0\0\0"):
        np.testing.assert_array_equal(decode(data + tail)[0], RGB)
        assert broken_chunk(data[:-12] + tail + data[-12:]), "before the end it is"


def with_scans(data: bytes, count: int) -> bytes:
    """Repeats the last scan of a JPEG."""
    at = data.rindex(b"\xff\xda")
    return data[:at] + data[at:-2] * count + data[-2:]


def test_scans_of_a_jpeg_are_bounded(tmp_path: Path) -> None:
    data = encoded(SMOOTH, "JPEG", progressive=True)
    usual = data.count(b"\xff\xda")
    assert 5 < usual < 20
    assert decode(with_scans(data, 500))[0].shape == RGB.shape
    (tmp_path / "x.jpg").write_bytes(with_scans(data, 1001))
    with pytest.raises(Damaged, match="damaged JPEG file: its pixels are coded in more than 1000 scans, 10 are usual"):
        decode(with_scans(data, 1001))
    with pytest.raises(Damaged, match="more than 1000 scans"):
        read_labels(tmp_path / "x.jpg")
    for megapixels, most in ((1, 1000), (4, 500), (20, 100), (1000, 32)):
        assert flaw("JPEG", megapixels * 10**6, with_scans(data, most + 1 - usual)) == ""
        assert flaw("JPEG", megapixels * 10**6, with_scans(data, most + 2 - usual)), (megapixels, most)
        assert flaw("MPO", megapixels * 10**6, with_scans(data, most + 2 - usual)), (megapixels, most)


def test_only_scans_count_as_scans() -> None:
    data = encoded(RGB, "JPEG", comment=b"\xff\xda" * 5000, restart_marker_blocks=1)
    scan = data[data.rindex(b"\xff\xda") : -2]
    assert decode(data + scan * 1500)[0].shape == RGB.shape, "not those in a comment, nor behind the end"

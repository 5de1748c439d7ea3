"""From the bytes of an image file to an array, the same whichever library decodes.

Pillow is the reference. OpenCV decodes what Pillow would cut to 8 bits: 16-bit samples in more than one channel. JPEG
always goes through Pillow, because OpenCV fills the missing part of a truncated file with gray. Conversions that lose
nothing are done and named, whatever else does not fit is refused.
"""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from io import BytesIO
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from PIL import Image, ImageFile, TiffImagePlugin

from i2i.images.integrity import flaw, overclaim, uncovered
from i2i.images.tiff import MAX_DIRECTORIES, count_directories, first_tags

MAX_PIXELS = 10**9
FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "PPM", "AVIF")
MODE_NOTES = {
    "1": "1-bit to 8-bit gray",
    "P": "palette to RGB",
    "PA": "palette to RGB",
    "CMYK": "CMYK to RGB",
    "YCbCr": "YCbCr to RGB",
}
_TARGET_MODES = {"1": "L", "P": "RGB", "PA": "RGBA", "CMYK": "RGB", "YCbCr": "RGB", "RGBX": "RGBA"}
_PLAIN_MODES = {"L", "LA", "RGB", "RGBA"}
_PNG_EXIF = {"exif", "Raw profile type exif", "XML:com.adobe.xmp"}
_ORIENTATION, _SUBFILE_TYPE, _BITS, _PHOTOMETRIC, _SAMPLES, _SAMPLE_FORMAT = 274, 254, 258, 262, 277, 339

_LIMIT = threading.Lock()

# Damaged tags are either harmless or end in a refusal that says so.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")


class Refused(ValueError):
    """An image that is not used; the message is the reason, without the file's name."""

    def __init__(self, reason: str, hints: tuple[str, ...] = ()) -> None:
        super().__init__(reason)
        self.hints = hints


class Damaged(Refused):
    """A file that is no image, or a broken one."""


class TooLarge(Refused):
    """An image of more pixels than are allowed."""


class AtLeast(NamedTuple):
    """What size of an image will do, so that a larger JPEG is decoded at a half, a quarter or an eighth of its own.

    The decoder then computes the mean of each 2 x 2, 4 x 4 or 8 x 8 pixels from the frequencies, and colours that are
    stored at half the resolution are not smoothed. Resized by area to 286 x 286 afterwards, 12 photographs of 1920 x
    1440 differ from fully decoded ones by 0.4 of 255 on average and 20 at most, 80 aerial photographs and maps of
    600 x 600 by 1.5 and 65; decoding takes a sixth and two fifths of the time.

    Attributes:
        height: Of each picture, in pixels.
        width: Likewise.
        parts: Pictures side by side in the file.
    """

    height: int
    width: int
    parts: int = 1


def decode(
    data: bytes, channels: int | None = 3, max_pixels: int = MAX_PIXELS, at_least: AtLeast | None = None
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Decodes an image file's bytes.

    Args:
        data: The whole file.
        channels: Channels to deliver; ``None`` keeps 1 or 3, whichever the file has.
        max_pixels: Headers that claim more are refused before anything is decoded.
        at_least: Lets a JPEG be decoded at a fraction of its size; ``None`` decodes all of it.

    Returns:
        A writable uint8 or uint16 array ``[H, W, C]`` and the conversions that were made.

    Raises:
        Refused: The bytes are no image, are damaged, or do not fit ``channels`` without loss.
    """
    image = identify(BytesIO(data), max_pixels)
    check_data(image, data)
    deep = is_deep(image)
    rotation = orientation(image, data)  # before the pixels: a TIFF that Pillow has turned no longer tells
    if at_least is not None and image.format in ("JPEG", "MPO"):
        _reduce(image, at_least, rotation >= 5)
    try:
        array = _decode_deep(image, data) if deep else _decode_pillow(image)
    except (MemoryError, Refused):
        raise
    except Exception as error:  # decoders raise anything on damaged data
        raise Damaged(f"damaged {image.format} file: {error}") from error
    notes = [MODE_NOTES[image.mode]] if not deep and image.mode in MODE_NOTES else []
    if rotation != 1:
        array = _rotated(array, rotation) if image.format != "TIFF" else array  # both libraries turn TIFFs themselves
        notes.append("EXIF rotation")
    array, more = fit_channels(array, channels)
    return np.require(array, requirements=["C", "W"]), (*notes, *more)


def identify(stream: BinaryIO, max_pixels: int = MAX_PIXELS) -> ImageFile.ImageFile:
    """Reads an image's header only.

    Raises:
        Refused: No known image format, a damaged header, too many pixels, fewer bytes than they need, or more than one
            picture in the file.
    """
    name = recognize(stream)
    try:
        image = _open(name, stream)
        if name == "TIFF":
            check_directories(stream)
        frames = _count_frames(image)
    except Refused:
        raise
    except Exception as error:  # decoders raise anything on damaged headers
        detail = _describe_tiff(stream) if name == "TIFF" else ""
        raise Refused(detail) if detail else Damaged(f"damaged {name} header: {error}") from error
    check_pixels(image.size, max_pixels)
    if frames > 1:
        raise Refused(f"holds {frames} pictures, only one can be used", ("split it into one file per picture",))
    if short := overclaim(name, image.size, stream.seek(0, os.SEEK_END)):
        raise Damaged(short)
    if name == "GIF" and (left := uncovered(image)):
        raise Refused(left, ("flatten it onto a background first",))
    return image


def check_data(image: ImageFile.ImageFile, data: bytes) -> None:
    """Looks at an identified image's data without decoding them.

    Raises:
        Damaged: They are, or would take too long.
    """
    if problem := flaw(image.format, image.size[0] * image.size[1], data):
        raise Damaged(f"damaged {image.format} file: {problem}")


def check_directories(stream: BinaryIO) -> None:
    """Refuses a TIFF of so many directories that decoders take long to count them; the stream's position is kept.

    Raises:
        Refused: It is one.
    """
    if count_directories(stream) > MAX_DIRECTORIES:
        reason = f"holds more than {MAX_DIRECTORIES} pictures, thumbnails and masks, only one picture can be used"
        raise Refused(reason, ("split it into one file per picture",))


def load_pixels(image: ImageFile.ImageFile) -> None:
    """Decodes an identified image, however large; damage raises whatever the decoder does."""
    limit = Image.MAX_IMAGE_PIXELS
    with _own_limit() if limit and image.size[0] * image.size[1] > limit else nullcontext():
        image.load()


def _reduce(image: ImageFile.ImageFile, wanted: AtLeast, is_sideways: bool) -> None:
    """Has an identified JPEG decoded at the smallest fraction that will do; pictures side by side stay equal."""
    width, height = image.size[::-1] if is_sideways else image.size
    for part in (8, 4, 2):
        is_even = wanted.parts == 1 or width % (wanted.parts * part) == 0
        if is_even and height // part >= wanted.height and width // wanted.parts // part >= wanted.width:
            image.draft(None, (image.size[0] // part, image.size[1] // part))
            return


def _open(name: str, stream: BinaryIO) -> ImageFile.ImageFile:
    factory = Image.OPEN[name][0]  # Image.open would warn about large images, and refuse larger ones
    try:
        return factory(stream, "")
    except Image.DecompressionBombError:
        stream.seek(0)
        with _own_limit():
            return factory(stream, "")


@contextmanager
def _own_limit() -> Iterator[None]:
    """Switches off Pillow's limit, which is the process's and lower than ours; only while it stands in the way."""
    with _LIMIT:
        before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = before


def recognize(stream: BinaryIO) -> str:
    """Returns the format that a file's first bytes are of, one of ``FORMATS``; the stream is left at its start.

    Raises:
        Damaged: They are of none; says what the file is instead.
    """
    Image.init()
    prefix = stream.read(64)
    stream.seek(0)
    for name in FORMATS:
        accept = Image.OPEN.get(name, (None, None))[1]
        if accept is not None and accept(prefix) is True:
            return name
    raise Damaged(_describe_foreign(prefix))


def check_pixels(size: tuple[int, int], max_pixels: int) -> None:
    """Refuses what claims too many pixels.

    Raises:
        TooLarge: Width times height is more than ``max_pixels``.
    """
    width, height = size
    if width * height > max_pixels:
        raise TooLarge(f"{width} x {height} pixels are more than the {max_pixels:,} that are allowed")


def is_deep(image: ImageFile.ImageFile) -> bool:
    """Whether Pillow would cut the image's 16-bit samples to 8."""
    if image.mode not in ("RGB", "RGBA", "RGBX", "LA", "CMYK"):
        return False
    if image.format == "TIFF":
        return max(_tags(image).get(_BITS, (8,))) > 8
    if image.format == "PPM":
        return _ppm_maximum(image) > 255
    return image.format == "PNG" and bool(image.tile) and "16" in str(image.tile[0][3])  # as in "RGB;16B"


def orientation(image: ImageFile.ImageFile, data: bytes = b"") -> int:
    """The EXIF orientation, 1 (upright) to 8.

    Args:
        image: An identified image.
        data: The file's bytes, where they are at hand: a PNG may have its EXIF behind the pixels.
    """
    if image.format == "PNG" and _PNG_EXIF.isdisjoint(image.info) and b"eXIf" not in data:
        return 1  # asking Pillow would decode the pixels
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # a damaged tag says nothing
        return 1
    return value if value in range(2, 9) else 1


def fit_channels(array: np.ndarray, channels: int | None) -> tuple[np.ndarray, tuple[str, ...]]:
    """Brings ``[H, W, C]`` to the channels asked for, where that loses nothing.

    Raises:
        Refused: Transparency, colour or channels would get lost, or would have to be made up.
    """
    count = array.shape[2]
    notes: list[str] = []
    if count == channels:
        return array, ()
    if count in (2, 4) and array.dtype.kind == "u":
        opaque = np.iinfo(array.dtype).max
        if (array[..., -1] != opaque).any():
            raise Refused(
                "has transparent pixels" + (f", {channels} channels are needed" if channels else ""),
                ("flatten it onto a background first, for example: magick IN -background white -flatten OUT",),
            )
        array, count = array[..., :-1], count - 1
        notes.append("opaque alpha dropped")
    if channels is None or count == channels:
        return array, tuple(notes)
    if (count, channels) == (1, 3):
        return np.repeat(array, 3, axis=2), (*notes, "gray to RGB")
    if (count, channels) == (3, 1):
        if (array != array[..., :1]).any():
            raise Refused("is in colour, 1 channel is needed", ("convert it to gray first, or set channels to 3",))
        return array[..., :1], (*notes, "RGB to gray")
    raise Refused(f"has {count} channels, {channels} are needed")


def _decode_pillow(image: ImageFile.ImageFile) -> np.ndarray:
    mode, transparent = image.mode, "transparency" in image.info
    if mode.startswith("I;16") or (mode == "I" and image.format == "PPM"):
        if image.format == "TIFF" and _tags(image).get(_PHOTOMETRIC, 1) != 1:
            raise Refused("16-bit gray that counts from white to black", ("invert it first",))
        load_pixels(image)
        array = np.array(image).astype(np.uint16, copy=False)  # Pillow scales PGM to 65535
        if transparent and (array == image.info["transparency"]).any():
            raise Refused("has transparent pixels", ("flatten it onto a background first",))
        return array[..., None]
    if mode not in _TARGET_MODES and mode not in _PLAIN_MODES:
        names = {"F": "32-bit float samples", "I": "32-bit integer samples", "LAB": "CIELAB colours"}
        raise Refused(
            f"{names.get(mode, f'pixel format {mode}')} cannot be used without loss",
            ("convert it to 8 or 16 bits first, with a range that you choose",),
        )
    target = _TARGET_MODES.get(mode, mode)
    if transparent and target in ("L", "RGB"):
        target = "LA" if mode == "L" else "RGBA"
    load_pixels(image)
    array = np.array(image if target == mode else image.convert(target))
    return array if array.ndim == 3 else array[..., None]


def _decode_deep(image: ImageFile.ImageFile, data: bytes) -> np.ndarray:
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    import cv2

    if image.mode == "CMYK" or (image.format == "TIFF" and _tags(image).get(_PHOTOMETRIC) != 2):
        raise Refused("16-bit colours other than RGB cannot be used", ("convert it to RGB first",))
    array = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if array is None or array.dtype != np.uint16:
        raise Damaged(f"damaged {image.format} file: its 16-bit samples cannot be decoded")
    if image.format == "PPM":
        array = np.round(array * (65535 / _ppm_maximum(image))).astype(np.uint16)
    order = {3: cv2.COLOR_BGR2RGB, 4: cv2.COLOR_BGRA2RGBA}
    return cv2.cvtColor(array, order[array.shape[2]])


def _tags(image: ImageFile.ImageFile) -> Any:
    assert isinstance(image, TiffImagePlugin.TiffImageFile)
    return image.tag_v2


def _ppm_maximum(image: ImageFile.ImageFile) -> int:
    """The value of white in an 8- or 16-bit PPM."""
    arguments: Any = image.tile[0][3] if image.tile else None  # ("RGB", maximum) where there is something to scale
    return arguments[1] if isinstance(arguments, tuple) and len(arguments) > 1 else 255


def _rotated(array: np.ndarray, value: int) -> np.ndarray:
    """Undoes an EXIF orientation of ``[H, W, C]``."""
    if value in (5, 6, 7, 8):
        array = array.transpose(1, 0, 2)
    vertical, horizontal = value in (3, 4, 7, 8), value in (2, 3, 6, 7)
    return array[:: -1 if vertical else 1, :: -1 if horizontal else 1]


def _count_frames(image: ImageFile.ImageFile) -> int:
    """Pictures in the file; a camera's MPO counts as its first one, a TIFF's thumbnails and masks do not count."""
    frames = getattr(image, "n_frames", 1)
    if frames == 1 or image.format == "MPO":
        return 1
    if image.format != "TIFF":
        return frames
    count = 0
    for index in range(frames):
        image.seek(index)
        count += not _tags(image).get(_SUBFILE_TYPE, 0) & 0b101
    image.seek(0)
    return count


def _describe_tiff(stream: BinaryIO) -> str:
    """Names the samples of a TIFF that Pillow cannot open, or nothing where the file is damaged."""
    try:
        tags = first_tags(stream)
        count, bits = tags.get(_SAMPLES, 1), max(tags[_BITS])
        kind = {2: " signed", 3: " float"}.get(max(tags.get(_SAMPLE_FORMAT, (1,))), "")
    except Exception:  # then the damage is the reason
        return ""
    if count in (1, 3, 4) and bits in (8, 16) and not kind:
        return ""
    return f"{count} channels of {bits}-bit{kind} samples cannot be used, only 1 or 3 of 8 or 16 bits can"


def _describe_foreign(prefix: bytes) -> str:
    start = prefix.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if not prefix:
        return "is empty (0 bytes)"
    if start.startswith((b"<!doctype html", b"<html")):
        return "is a web page, not an image (a failed download?)"
    if start.startswith(b"version https://git-lfs"):
        return "is a Git LFS pointer, not an image (run: git lfs pull)"
    if all(byte in b"\t\r\n" or 32 <= byte < 127 for byte in prefix):
        return "is text, not an image"
    return f"is no image of a known format ({', '.join(FORMATS)})"

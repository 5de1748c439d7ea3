"""Images that picture formats do not hold: any number of channels, floats, signed samples; in .npy and TIFF files."""

from __future__ import annotations

import logging
import math
import os
import warnings
from collections.abc import Callable
from io import BytesIO
from typing import Any, BinaryIO

import numpy as np

from i2i.images.decoding import MAX_PIXELS, Damaged, Refused, TooLarge, check_directories, check_pixels
from i2i.images.integrity import overclaim
from i2i.images.tiff import first_tags

_NPY = b"\x93NUMPY"
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_BITS, _PHOTOMETRIC, _ORIENTATION, _SAMPLES, _EXTRA_SAMPLES, _SAMPLE_FORMAT = 258, 262, 274, 277, 338, 339
_UNSIGNED = (1,)
_PIXEL_BYTES = 8  # of a picture: up to 4 channels of 16 bits

# Python 2 wrote numbers in headers otherwise; they are read all the same.
warnings.filterwarnings("ignore", category=UserWarning, message=r"Reading `\.npy` or `\.npz` file required")


def is_raster(stream: BinaryIO) -> bool:
    """Whether a file is a ``.npy``, or a TIFF that is no picture: bands instead of colours, or samples other than
    unsigned integers of up to 16 bits. The stream is left at its start.
    """
    prefix = stream.read(6)
    stream.seek(0)
    if prefix == _NPY:
        return True
    if not prefix.startswith(_TIFF):
        return False
    try:
        tags = first_tags(stream)
        count, photometric = tags.get(_SAMPLES, 1), tags.get(_PHOTOMETRIC)
        if max(tags.get(_SAMPLE_FORMAT, _UNSIGNED)) != 1 or max(tags.get(_BITS, (1,))) > 16 or count > 4:
            return True
        is_alpha = count == 2 and tags.get(_EXTRA_SAMPLES, (0,))[0] != 0
        return count > 1 and photometric in (0, 1) and not is_alpha
    except Exception:  # a damaged TIFF is refused where pictures are decoded
        return False
    finally:
        stream.seek(0)


def raster_header(stream: BinaryIO, max_pixels: int = MAX_PIXELS) -> tuple[tuple[int, int], np.dtype[np.generic]]:
    """Returns width and height, and the type of the samples.

    Args:
        stream: The file, at its start.
        max_pixels: What the header may claim.

    Raises:
        Refused: The header is damaged, that of something else than an image, claims too many pixels, or more than the
            file can hold.
    """
    shape, dtype = _header(stream, max_pixels)
    return (shape[1], shape[0]), dtype


def _header(stream: BinaryIO, max_pixels: int) -> tuple[tuple[int, int, int], np.dtype[np.generic]]:
    length = stream.seek(0, os.SEEK_END)
    stream.seek(0)
    try:
        is_array = stream.read(6) == _NPY
        stream.seek(0)
        shape, dtype = _npy_header(stream, length) if is_array else _tiff_header(stream)
    except Refused:
        raise
    except Exception as error:  # decoders raise anything on damaged headers
        raise Damaged(f"damaged header: {error}") from error
    if len(shape) not in (2, 3):
        raise Refused(f"is an array of shape {list(shape)}, not [H, W] or [H, W, C]")
    if dtype.kind not in "uif":
        raise Refused(f"holds {dtype} values, which are no image")
    if min(shape) < 1:
        raise Refused(f"is an array of shape {list(shape)}, which has no pixels")
    height, width, channels = (*shape, 1)[:3]
    check_pixels((width, height), max_pixels)
    if (like := -(-height * width * channels * dtype.itemsize // _PIXEL_BYTES)) > max_pixels:
        raise TooLarge(
            f"{width} x {height} pixels of {channels} {dtype} channels take as much as {like:,} of a picture, "
            f"more than the {max_pixels:,} that are allowed"
        )
    if short := overclaim("TIFF", (width, height), length):
        raise Damaged(short)
    return (height, width, channels), dtype


def _npy_header(stream: BinaryIO, length: int) -> tuple[tuple[int, ...], np.dtype[np.generic]]:
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(stream)
    missing = math.prod(shape) * dtype.itemsize - (length - stream.tell())
    if missing > 0:
        raise Damaged(f"damaged or cut off: {missing:,} bytes are missing")
    return shape, dtype


def _tiff_header(stream: BinaryIO) -> tuple[tuple[int, ...], np.dtype[np.generic]]:
    check_directories(stream)
    with _open_tiff(stream) as file:
        shape, dtype = _shape(file), file.series[0].dtype
    if dtype is None:
        raise Refused("holds samples of a type that cannot be read")
    return shape, dtype


def _open_tiff(stream: BinaryIO) -> Any:
    import tifffile

    logging.getLogger("tifffile").setLevel(logging.CRITICAL + 1)  # what it cannot read is told by a refusal
    return tifffile.TiffFile(stream)


def decode_raster(
    data: bytes, max_pixels: int = MAX_PIXELS, check: Callable[[int, np.dtype[np.generic]], None] | None = None
) -> np.ndarray:
    """Decodes what :func:`is_raster` accepts.

    Args:
        data: The whole file.
        max_pixels: Headers that claim more are refused before anything is decoded. Eight bytes count as a pixel where
            there are more of them.
        check: Gets the number of channels and their type before anything is decoded; may raise :class:`Refused`.

    Returns:
        ``[H, W, C]`` of any real type of number, in this machine's byte order.

    Raises:
        Refused: The file is damaged, or no image.
    """
    (_, _, channels), dtype = _header(BytesIO(data), max_pixels)
    if check is not None:
        check(channels, dtype)
    try:
        array = np.load(BytesIO(data), allow_pickle=False) if data.startswith(_NPY) else _decode_tiff(data)
    except (MemoryError, Refused):
        raise
    except Exception as error:  # decoders raise anything on damaged data
        raise Damaged(f"damaged file: {error}") from error
    array = array[..., None] if array.ndim == 2 else array
    return np.require(array, array.dtype.newbyteorder("="), ["C", "W"])


def _decode_tiff(data: bytes) -> np.ndarray:
    import tifffile

    with _open_tiff(BytesIO(data)) as file:
        shape = _shape(file)
        page: Any = file.pages[0]
        if int(page.tags.valueof(_ORIENTATION, 1)) != 1:
            raise Refused("asks to be rotated, which is not done to bands", ("rotate it first",))
        try:
            array: np.ndarray = file.series[0].asarray()
        except ValueError as error:
            if "imagecodecs" in str(error):
                name = tifffile.COMPRESSION(page.compression).name
                raise Refused(f"{name} compression of TIFF bands needs: pip install imagecodecs") from error
            raise
        if file.series[0].axes == "SYX":
            array = np.moveaxis(array, 0, -1)
    if array.shape != shape:
        raise Damaged(f"damaged file: its pixels are of shape {list(array.shape)}, not {list(shape)}")
    return array


def _shape(file: Any) -> tuple[int, ...]:
    """The shape of the only picture of a TIFF, channels last."""
    pages, series = file.pages, file.series[0]
    if len(pages) > 1:
        hints = ("split it into one file per picture, or store its pages as bands of one",)
        raise Refused(f"holds {len(pages)} pictures, only one can be used", hints)
    if series.axes not in ("YX", "YXS", "SYX"):
        raise Refused(f"has axes {series.axes}, which are not those of an image")
    shape: tuple[int, ...] = series.shape
    return (*shape[1:], shape[0]) if series.axes == "SYX" else shape


def encode_raster(array: np.ndarray, format: str) -> memoryview:
    """Writes ``[H, W, C]`` as ``NPY`` or ``TIFF``, channels interleaved, without loss."""
    buffer = BytesIO()
    if format == "NPY":
        np.save(buffer, array, allow_pickle=False)
        return buffer.getbuffer()
    import tifffile

    bands, planar = (array[..., 0], None) if array.shape[2] == 1 else (array, "contig")
    tifffile.imwrite(buffer, bands, photometric="minisblack", planarconfig=planar, compression="zlib", metadata=None)
    return buffer.getbuffer()

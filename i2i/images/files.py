"""Images as files, as arrays and as tensors. Value ranges change here and nowhere else.

Files and arrays are ``[H, W, C]`` uint8 or uint16, or other numbers whose range is declared; tensors are
``[C, H, W]`` or ``[N, C, H, W]`` float32 in [-1, 1].
"""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from i2i.core.errors import DataError
from i2i.core.files.atomic import write_bytes
from i2i.images.decoding import MAX_PIXELS, AtLeast, Refused, decode, fit_channels, recognize
from i2i.images.rasters import decode_raster, encode_raster, is_raster

if TYPE_CHECKING:
    import torch

WRITERS = {
    "png": "PNG",
    "jpg": "JPEG",
    "jpeg": "JPEG",
    "webp": "WEBP",
    "bmp": "BMP",
    "tif": "TIFF",
    "tiff": "TIFF",
    "avif": "AVIF",
    "npy": "NPY",
}
RASTERS = ("TIFF", "NPY")  # hold any number of channels, and floats
MIN_CELL = 128  # pixels: smaller images are enlarged in a grid


def load_image(
    path: str | os.PathLike[str],
    channels: int | None = 3,
    *,
    max_pixels: int = MAX_PIXELS,
    any_type: bool = False,
    at_least: AtLeast | None = None,
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Reads an image file.

    Conversions that lose nothing (gray, palette and CMYK to RGB, EXIF rotation, an opaque alpha channel) are made and
    named, so that callers can count them and report them once. 16-bit files stay 16-bit.

    Args:
        path: A JPEG, PNG, WebP, TIFF, BMP, GIF, PPM, AVIF or .npy file; the last and TIFF with any number of channels.
        channels: Channels to deliver; ``None`` keeps 1 or 3, whichever the file has, or the number of bands.
        max_pixels: Files whose header claims more are refused before they are decoded.
        any_type: Whether floats and other integers are read as they are, rather than refused.
        at_least: Lets a JPEG be decoded at a fraction of its size; ``None`` decodes all of it.

    Returns:
        A uint8 or uint16 array ``[H, W, C]``, or one of another type where these are wanted, and the
        conversions that were made, as in ``("gray to RGB",)``.

    Raises:
        DataError: ``PATH: reason``; the file cannot be read, is damaged, or does not fit ``channels`` without loss.
    """
    try:
        with open_regular(path) as file:
            is_picture = not is_raster(file)
            if is_picture:
                recognize(file)  # a film of many gigabytes is not read to find that it is none
            data = file.read()
        if is_picture:
            return decode(data, channels, max_pixels, at_least)

        def check(count: int, dtype: np.dtype[np.generic]) -> None:
            if dtype.newbyteorder("=") not in (np.uint8, np.uint16) and not any_type:
                hints = ("declare the range of its values: data.value_range=[lowest, highest]",)
                raise Refused(f"holds {dtype} values, of which black and white are not known", hints)
            if channels not in (None, count) and count > 4:
                raise Refused(f"has {count} channels, {channels} are needed")

        return fit_channels(decode_raster(data, max_pixels, check), channels)
    except Refused as error:
        raise DataError(f"{path}: {error}", error.hints) from error
    except OSError as error:
        raise DataError(f"{path}: {describe_os_error(error)}") from error
    except MemoryError as error:
        raise DataError(f"{path}: does not fit into memory") from error


class Embedded(str):
    """The name of a file inside of another one, such as a tar, that can be read like a file of its own."""

    def read(self) -> bytes:
        """Returns the file's content.

        Raises:
            OSError: It cannot be read.
        """
        raise NotImplementedError


def open_regular(path: str | os.PathLike[str]) -> BinaryIO:
    """Opens a file for reading; a pipe of that name, which might keep a reader waiting for ever, is refused.

    Raises:
        OSError: The file cannot be opened, or is none.
    """
    if isinstance(path, Embedded):
        return BytesIO(path.read())
    path = Path(path)
    if not (path.is_file() or path.is_dir()) and path.exists():
        raise OSError(errno.EINVAL, "is not a regular file")
    return path.open("rb")


def describe_os_error(error: OSError, use: str = "read") -> str:
    """Says in a few lower-case words why a file cannot be opened; ``use`` is what for, ``read`` or ``written``."""
    known = {FileNotFoundError: "no such file", IsADirectoryError: "is a folder", PermissionError: f"may not be {use}"}
    return known.get(type(error), (error.strerror or str(error)).lower())


def unit_float(array: np.ndarray) -> np.ndarray:
    """Integers to float32 in [0, 1], as augmentation libraries want what is not 8-bit."""
    return array.astype(np.float32) / np.float32(np.iinfo(array.dtype).max)


def to_tensor(array: np.ndarray) -> torch.Tensor:
    """Turns an image array into a tensor.

    Args:
        array: ``[H, W, C]``, uint8, uint16 or float32 in [0, 1].

    Returns:
        float32 ``[C, H, W]`` in [-1, 1], in memory of its own.

    Raises:
        TypeError: Another type of number.
    """
    import torch

    halves = {"uint8": 127.5, "uint16": 32767.5, "float32": 0.5}
    if array.dtype.name not in halves:
        raise TypeError(f"images are uint8, uint16 or float32, not {array.dtype}")
    planes = np.ascontiguousarray(array.transpose(2, 0, 1))  # [C, H, W]
    values = planes.astype(np.float32)
    values /= np.float32(halves[array.dtype.name])
    values -= np.float32(1)
    return torch.from_numpy(values)


def to_uint8(images: torch.Tensor) -> np.ndarray:
    """Turns tensors into 8-bit images, rounded to the nearest value; what is outside of [-1, 1] is clamped.

    Args:
        images: ``[C, H, W]`` or ``[N, C, H, W]`` in [-1, 1], on any device, of any floating type.

    Returns:
        uint8 ``[H, W, C]`` or ``[N, H, W, C]``.
    """
    import torch

    levels = images.detach().float().clamp(-1, 1).add_(1).mul_(127.5).round_().to(torch.uint8)
    return np.ascontiguousarray(levels.movedim(-3, -1).cpu().numpy())


def to_uint16(images: torch.Tensor) -> np.ndarray:
    """As :func:`to_uint8`, with 65,536 levels."""
    import torch

    levels = images.detach().cpu().double().clamp(-1, 1).add_(1).mul_(32767.5).round_().to(torch.int32)
    return np.ascontiguousarray(levels.movedim(-3, -1).numpy().astype(np.uint16))


def save_image(
    path: str | os.PathLike[str],
    array: np.ndarray,
    format: str | None = None,
    *,
    quality: int = 95,
    durable: bool = False,
    palette: np.ndarray | None = None,
    is_atomic: bool = True,
) -> None:
    """Writes an image, whole or not at all.

    Args:
        path: The file; its folder exists.
        array: uint8 ``[H, W, C]`` or ``[H, W]`` with 1, 3 or 4 channels; uint16 for PNG, TIFF and NPY; any number of
            channels, and floats, for TIFF and NPY.
        format: One of ``WRITERS``; the path's suffix unless said.
        quality: 1 to 100, of JPEG, WebP and AVIF.
        palette: uint8 ``[256, 3]``: the colours in which viewers show the values of one channel, in PNG, TIFF and BMP.
        durable: Whether the file survives a power cut the moment this returns.
        is_atomic: ``False`` writes in place, for a caller that renames the file; then a kill leaves a part of it.

    Raises:
        DataError: ``PATH: reason``; an unknown format, a size or type of image that it cannot hold, or a full disk.
    """
    name = (format or Path(path).suffix.lstrip(".")).lower()
    if name not in WRITERS:
        raise DataError(f"{path}: images cannot be written as {name!r}, only as {', '.join(WRITERS)}")
    array = array[..., None] if array.ndim == 2 else array
    try:
        data = _encode(array, WRITERS[name], quality, palette)
    except Exception as error:  # encoders raise anything on sizes and types that a format cannot hold
        raise DataError(f"{path}: {_shape_text(array)} cannot be written as {name}: {error}") from error
    try:
        if is_atomic:
            write_bytes(path, data, durable=durable)
        else:
            Path(path).write_bytes(data)
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {describe_os_error(error, 'written')}") from error


def make_grid(columns: Mapping[str, Sequence[Any] | torch.Tensor | np.ndarray], *, gap: int = 4) -> np.ndarray:
    """Lays images out as a contact sheet: a row for each sample, a named column for each kind.

    Args:
        columns: Name -> samples, each a tensor ``[C, H, W]`` in [-1, 1] or a uint8 array ``[H, W, C]``, or the batch of
            them. Columns may differ in length and in image size. One channel is shown as gray; of more than three,
            the first three are shown, of two the first.
        gap: Pixels between images.

    Returns:
        uint8 ``[H, W, 3]``. Images smaller than 128 pixels are enlarged by a whole number, pixel by pixel.

    Raises:
        ValueError: No image at all.
    """
    cells = {name: [_cell(sample) for sample in samples] for name, samples in columns.items()}
    shapes = [cell.shape for column in cells.values() for cell in column]
    if not shapes:
        raise ValueError("a grid needs at least one image")
    height, width = max(shape[0] for shape in shapes), max(shape[1] for shape in shapes)
    font = ImageFont.load_default()
    header = 20
    rows = max(map(len, cells.values()))
    sheet = Image.new("RGB", (gap + (width + gap) * len(cells), header + (height + gap) * rows), "white")
    draw = ImageDraw.Draw(sheet)
    for column, (name, samples) in enumerate(cells.items()):
        left = gap + column * (width + gap)
        while len(name) > 1 and draw.textlength(name, font=font) > width:
            name = name[:-1]
        draw.text((left, 4), name, fill="black", font=font)
        for row, cell in enumerate(samples):
            sheet.paste(Image.fromarray(cell), (left, header + row * (height + gap)))
    return np.array(sheet)


def _cell(sample: Any) -> np.ndarray:
    """A sample as uint8 ``[H, W, 3]`` that is large enough to be seen."""
    array = sample if isinstance(sample, np.ndarray) else to_uint8(sample)
    array = array[..., :3] if array.shape[2] >= 3 else np.repeat(array[..., :1], 3, axis=2)
    factor = -(-MIN_CELL // max(array.shape[:2]))
    return np.ascontiguousarray(array.repeat(factor, axis=0).repeat(factor, axis=1))


def _encode(array: np.ndarray, format: str, quality: int, palette: np.ndarray | None) -> bytes | memoryview:
    is_picture = array.shape[2] in (1, 3, 4) and array.dtype in (np.uint8, np.uint16)
    if format == "NPY" or (format == "TIFF" and not is_picture):
        return encode_raster(array, format)
    if not is_picture:
        raise ValueError("only 1, 3 or 4 channels of 8 or 16 bits can be written; tiff and npy hold any")
    if array.dtype == np.uint16 and format not in ("PNG", "TIFF"):
        raise ValueError("only png, tiff and npy hold 16 bits")
    if palette is None and (format == "PNG" or array.dtype == np.uint16):
        return _encode_opencv(array, format)
    options: dict[str, dict[str, Any]] = {
        "JPEG": {"quality": quality, "subsampling": 0},  # 4:4:4: colour edges stay sharp
        "WEBP": {"quality": quality},
        "AVIF": {"quality": quality, "subsampling": "4:4:4"},
        "TIFF": {"compression": "tiff_lzw"},
    }
    buffer = BytesIO()
    image = Image.fromarray(array[..., 0] if array.shape[2] == 1 else array)
    if palette is not None:
        image.putpalette(palette.tobytes())
    image.save(buffer, format, **options.get(format, {}))
    return buffer.getbuffer()


def _encode_opencv(array: np.ndarray, format: str) -> memoryview:
    import cv2

    order = {3: cv2.COLOR_RGB2BGR, 4: cv2.COLOR_RGBA2BGRA}
    if array.shape[2] in order:
        array = cv2.cvtColor(array, order[array.shape[2]])
    # Per megapixel of photo: 49 ms and 1.89 MB. OpenCV's default takes 40 ms and 2.01 MB, Pillow's 250 ms and 1.74 MB.
    options = [cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE] if format == "PNG" else []
    if format == "PNG" and hasattr(cv2, "IMWRITE_PNG_FILTER"):  # older ones have no choice
        options += [cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_PAETH]
    done, data = cv2.imencode(f".{format.lower()}", array, options)
    if not done:
        raise ValueError("OpenCV cannot encode it")
    return data.data


def _shape_text(array: np.ndarray) -> str:
    height, width, channels = array.shape
    return f"a {width} x {height} image of {channels} {array.dtype} channels"

"""A look at one file: every pixel is decoded, as training would do it."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Iterator
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

import numpy as np

from i2i.core.errors import DataError
from i2i.images.codecs import load_halves
from i2i.images.codecs.label_files import read_labels
from i2i.images.decoding import Damaged, Refused, TooLarge, recognize
from i2i.images.files import describe_os_error, load_image, open_regular
from i2i.images.rasters import is_raster
from i2i.run.doctor.subject import Group

DIGEST_BYTES = 16
_LARGE = 1 << 26  # pixels: such images are decoded one at a time, whatever the number of threads
_PART = 1 << 22  # values
_SUFFIXES = {
    "JPEG": ("jpg", "jpeg", "jpe", "jfif"),
    "TIFF": ("tif", "tiff"),
    "BMP": ("bmp", "dib"),
    "PPM": ("ppm", "pgm", "pbm", "pnm"),
}


class Look(NamedTuple):
    """What a file holds.

    Attributes:
        reason: Why it cannot be used; empty where it can.
        kind: Of the reason: ``damaged``, ``large`` or ``unfit``.
        hints: What would help.
        format: As in ``PNG``.
        size: Width and height, EXIF rotation counted in.
        channels: Of its pixels.
        depth: 8, 16, or 32 for all other numbers.
        digest: Of its pixels, the same for gray pixels in one channel and in three.
        is_gray: Whether all channels are the same.
        is_flat: Whether all pixels are the same.
        notes: Conversions made.
    """

    reason: str = ""
    kind: str = ""
    hints: tuple[str, ...] = ()
    format: str = ""
    size: tuple[int, int] = (0, 0)
    channels: int = 0
    depth: int = 8
    digest: bytes = bytes(DIGEST_BYTES)
    is_gray: bool = False
    is_flat: bool = False
    notes: tuple[str, ...] = ()

    def is_misnamed(self, path: str) -> bool:
        """Whether a file's suffix names another format."""
        suffix = Path(path).suffix[1:].lower()
        return bool(self.format) and suffix not in _SUFFIXES.get(self.format, (self.format.lower(),))


class Reader:
    """Looks at the files of a group; any thread may call it.

    Args:
        group: Which.
        max_pixels: Images that claim more are not decoded.
    """

    _large = threading.Lock()

    def __init__(self, group: Group, max_pixels: int) -> None:
        self._quick = _loader(group, min(max_pixels, _LARGE))
        self._slow = _loader(group, max_pixels) if max_pixels > _LARGE else None

    def __call__(self, path: str) -> Look:
        """Looks at a file."""
        format = ""
        try:
            format = _format(path)
            return _look(*self._load(path), format)
        except Refused as error:
            return Look(str(error), _kind(error), error.hints, format)
        except DataError as error:
            reason = error.message.removeprefix(f"{path}: ")
            return Look(reason, _kind(error.__cause__), error.hints, format)
        except OSError as error:
            return Look(describe_os_error(error), "damaged", (), format)
        except MemoryError:
            return Look("does not fit into memory", "large", (), format)

    def _load(self, path: str) -> tuple[list[np.ndarray], tuple[str, ...]]:
        try:
            return self._quick(path)
        except (DataError, Refused) as error:
            if self._slow is None or not isinstance(error if isinstance(error, Refused) else error.__cause__, TooLarge):
                raise
        with self._large:
            return self._slow(path)


def _kind(cause: BaseException | None) -> str:
    if isinstance(cause, TooLarge | MemoryError):
        return "large"
    return "damaged" if isinstance(cause, Damaged | OSError) else "unfit"


def _loader(group: Group, max_pixels: int) -> Callable[[str], tuple[list[np.ndarray], tuple[str, ...]]]:
    """Returns a function that reads a file as training does: its array, or the arrays of its halves."""
    if group.halves:
        halves = [(copy.copy(codec), half) for codec, half in group.halves]
        for codec, _ in halves:
            codec.max_pixels = max_pixels
        return lambda path: load_halves(path, halves)
    if group.codec is not None:
        one = copy.copy(group.codec)
        one.max_pixels = max_pixels
        return lambda path: _listed(*one.load(path))
    if group.is_labels:
        return lambda path: ([read_labels(path, max_pixels)[0]], ())
    return lambda path: _listed(*load_image(path, None, max_pixels=max_pixels, any_type=True))


def _listed(array: np.ndarray, notes: tuple[str, ...]) -> tuple[list[np.ndarray], tuple[str, ...]]:
    return [array], notes


def _format(path: str) -> str:
    with open_regular(path) as stream:
        if is_raster(stream):
            return "NPY" if stream.read(1) == b"\x93" else "TIFF"
        return recognize(stream)


def _look(arrays: list[np.ndarray], notes: tuple[str, ...], format: str) -> Look:
    digest = blake2b(digest_size=DIGEST_BYTES)
    is_gray = True
    for array in arrays:
        array_is_gray = _is_gray(array)
        is_gray = is_gray and array_is_gray
        pixels = np.ascontiguousarray(array[..., :1]) if array_is_gray else array
        digest.update(f"{pixels.shape} {pixels.dtype}".encode())
        digest.update(pixels.data)
    first = arrays[0]
    depth = {"uint8": 8, "uint16": 16}.get(first.dtype.name, 32)
    size = (sum(array.shape[1] for array in arrays), first.shape[0])
    is_flat = any(_is_flat(array) for array in arrays)
    return Look("", "", (), format, size, first.shape[2], depth, digest.digest(), is_gray, is_flat, notes)


def _is_gray(array: np.ndarray) -> bool:
    if array.shape[2] == 1:
        return True
    if array.shape[2] != 3:
        return False
    return all((part == part[..., :1]).all() for part in _parts(array))


def _is_flat(array: np.ndarray) -> bool:
    return all((part == array[0, 0]).all() for part in _parts(array))


def _parts(array: np.ndarray) -> Iterator[np.ndarray]:
    """Yields a few pixels from all over, which most often are enough to say no, then all in bands of little memory."""
    yield array[::16, ::16]
    rows = max(_PART // array[0].size, 1)
    for start in range(0, len(array), rows):
        yield array[start : start + rows]

"""Decoded images in memory that the processes of a host share, so that each file is decoded once a run.

An image is kept by the first process that loads it, and found by all others once it is whole. What does not fit any
more is decoded each time, as without a cache. Nothing is thrown out: a pass visits each image once, so whatever made
room would be wanted again before it is gone.
"""

import secrets
import threading
from typing import Any

import numpy as np

from i2i.core.files.shared_memory import Address, SharedMemory

_DTYPES = (np.dtype(np.uint8), np.dtype(np.uint16), np.dtype(np.float32))
_ALIGNED = 64  # bytes
_TOKEN, _COUNT, _USED, _KEPT = range(4)  # of the head
_HEAD = 8
_START, _HEIGHT, _WIDTH, _CHANNELS, _DTYPE = range(5)  # of a row; the start is one more than it is, 0 for none yet
_ROW = 5

Place = tuple[Address, int]  # where it is, and a number that no other cache has


class ImageCache:
    """Keeps images by number. A copy in another process has the same images, or, where that cannot be, is ``None``.

    Args:
        count: Images are numbered from 0 to ``count - 1``.
        budget: Bytes of pixels to keep at most. Memory is taken as it fills.

    Raises:
        OSError: The system has no room for so many addresses.
    """

    def __init__(self, count: int, budget: int) -> None:
        self._open(SharedMemory(_table_bytes(count) + budget), count)
        self._head[[_TOKEN, _COUNT]] = secrets.randbits(62), count

    @classmethod
    def join(cls, place: Place) -> "ImageCache | None":
        """Opens the cache of another process; ``None`` where it cannot be had, or is another one by now."""
        address, token = place
        memory = SharedMemory.join(address)
        cache = _of_memory(memory)
        return cache if cache and cache._head[_TOKEN] == token else None

    @property
    def place(self) -> Place:
        """Where processes of this host find it."""
        return self._memory.address, int(self._head[_TOKEN])

    @property
    def kept(self) -> int:
        """How many images it holds."""
        return int(self._head[_KEPT])

    def get(self, number: int) -> np.ndarray | None:
        """Returns an image, which must not be written to, or ``None`` where it is not kept."""
        start, height, width, channels, kind = self._rows[number].tolist()
        if not start:
            return None
        dtype = _DTYPES[kind]
        pixels = self._pixels[start - 1 : start - 1 + height * width * channels * dtype.itemsize]
        pixels.flags.writeable = False
        return pixels.view(dtype).reshape(height, width, channels)

    def put(self, number: int, image: np.ndarray) -> None:
        """Keeps an image ``[H, W, C]``, uint8, uint16 or float32, if there is room."""
        if image.dtype not in _DTYPES or not self._has_room(image):
            return
        with self._threads, self._memory.locked():
            if self._rows[number, _START] or not self._has_room(image):
                return
            start = int(self._head[_USED])
            end = start + image.nbytes
            self._pixels[start:end].view(image.dtype).reshape(image.shape)[...] = image
            self._rows[number, _HEIGHT:] = *image.shape, _DTYPES.index(image.dtype)
            # A process killed between these lines leaves a gap, at worst.
            self._head[_USED] = -(-end // _ALIGNED) * _ALIGNED
            self._rows[number, _START] = start + 1
            self._head[_KEPT] += 1

    def _has_room(self, image: np.ndarray) -> bool:
        return bool(self._head[_USED] + image.nbytes <= len(self._pixels))

    def _open(self, memory: SharedMemory, count: int) -> None:
        self._memory, self._threads = memory, threading.Lock()
        table = _table_bytes(count)
        numbers = memory.bytes[:table].view(np.int64)
        self._head, self._pixels = numbers[:_HEAD], memory.bytes[table:]
        self._rows = numbers[_HEAD : _HEAD + count * _ROW].reshape(count, _ROW)

    def __reduce__(self) -> Any:
        return _of_memory, (self._memory,)


def _table_bytes(count: int) -> int:
    return -(-(_HEAD + _ROW * count) * 8 // _ALIGNED) * _ALIGNED


def _of_memory(memory: SharedMemory | None) -> ImageCache | None:
    if memory is None:
        return None
    cache = ImageCache.__new__(ImageCache)
    cache._open(memory, int(memory.bytes[: _HEAD * 8].view(np.int64)[_COUNT]))
    return cache

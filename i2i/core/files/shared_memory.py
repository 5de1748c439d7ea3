"""Memory that processes share and that has no name in any file system.

It is gone with the last process that has it open, however that one ends.
"""

import contextlib
import mmap
import multiprocessing.context
import multiprocessing.reduction
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

_NAME = "i2i-memory"

Address = tuple[int, int]  # a process and its descriptor


class SharedMemory:
    """Bytes, all zero at first; the system finds the memory for a page when it is first written to.

    Processes that are forked, or started by ``multiprocessing`` with it as an argument, share it; others of the same
    user and host :meth:`join` it. Where the system offers no memory without a name (all but Linux), it is this
    process's alone. Any other pickled copy of it is ``None``.

    Args:
        size: In bytes.

    Attributes:
        bytes: uint8 ``[size]``.
        is_shared: Whether others can have it.

    Raises:
        OSError: The system has no room for so many addresses.
    """

    def __init__(self, size: int) -> None:
        self._descriptor = os.memfd_create(_NAME) if hasattr(os, "memfd_create") else -1
        self.is_shared = self._descriptor >= 0
        if self.is_shared:
            os.ftruncate(self._descriptor, size)
        self.bytes = np.frombuffer(mmap.mmap(self._descriptor, size), np.uint8)

    @classmethod
    def join(cls, address: Address) -> "SharedMemory | None":
        """Opens the memory of another process; ``None`` where it cannot be had."""
        process, number = address
        path = Path(f"/proc/{process}/fd/{number}")
        try:
            if _NAME not in str(path.readlink()):  # what else it might be is not opened
                return None
            return _of_descriptor(os.open(path, os.O_RDWR))
        except (OSError, ValueError):
            return None

    @property
    def address(self) -> Address:
        """Where processes of this host find it."""
        return os.getpid(), self._descriptor

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps other processes out that ask for it, too; the system unlocks for one that is killed."""
        if not self.is_shared:
            yield
            return
        import fcntl

        fcntl.lockf(self._descriptor, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.lockf(self._descriptor, fcntl.LOCK_UN)

    def __reduce__(self) -> Any:
        is_handed_on = multiprocessing.context.get_spawning_popen() is not None
        if not self.is_shared or not is_handed_on:
            return _nothing, ()
        return _of_handle, (multiprocessing.reduction.DupFd(self._descriptor),)

    def __del__(self) -> None:
        if getattr(self, "_descriptor", -1) >= 0:  # the constructor may have failed
            os.close(self._descriptor)


def _of_descriptor(descriptor: int) -> SharedMemory:
    memory = SharedMemory.__new__(SharedMemory)
    memory._descriptor, memory.is_shared = descriptor, True
    memory.bytes = np.frombuffer(mmap.mmap(descriptor, os.fstat(descriptor).st_size), np.uint8)
    return memory


def _of_handle(handle: Any) -> SharedMemory:
    return _of_descriptor(handle.detach())


def _nothing() -> None:
    return None

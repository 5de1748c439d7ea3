"""Locks on open files: between processes and, where the file system passes them on, between machines.

The system lets go of them when a process ends, however it ends, so none is ever left over.
"""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

if sys.platform == "win32":
    import msvcrt
    import os

    _FAR = 1 << 62  # the byte that stands for the file: a locked one can be neither read nor written

    def _take(file: int) -> None:
        os.lseek(file, _FAR, os.SEEK_SET)
        msvcrt.locking(file, msvcrt.LK_NBLCK, 1)

    def _take_shared(file: int) -> None:
        raise OSError("Windows has no shared locks")

    def _give_back(file: int) -> None:
        os.lseek(file, _FAR, os.SEEK_SET)
        msvcrt.locking(file, msvcrt.LK_UNLCK, 1)

    _take_alone = _take

else:
    import fcntl

    def _take(file: int) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _take_alone(file: int) -> None:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _take_shared(file: int) -> None:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)

    def _give_back(file: int) -> None:
        fcntl.flock(file, fcntl.LOCK_UN)


def try_lock(file: int, is_own: bool = False) -> bool | None:
    """Locks an open file.

    Args:
        file: Its descriptor, open for writing.
        is_own: Whether the lock is this process's alone: its threads share it, and processes that it has forked, such
            as loaders, do not keep it when it dies. Else it belongs to the descriptor and whoever inherits that.

    Returns:
        Whether it is locked now; ``False`` where another process has it, ``None`` where the file system has no locks.
    """
    try:
        (_take_alone if is_own else _take)(file)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:
        return None
    return True


def share(file: int) -> bool:
    """Shares the lock of an open file or folder until it is closed.

    Args:
        file: Its descriptor.

    Returns:
        Whether nobody else shares it now; ``True`` where the file system has no locks.
    """
    is_alone = try_lock(file) is not False
    with suppress(OSError):
        _take_shared(file)
    return is_alone


@contextmanager
def locked(file: int) -> Iterator[None]:
    """Waits for an open file's lock and holds it; where the file system has no locks, goes on without."""
    pause = 0.0005  # seconds
    while (taken := try_lock(file)) is False:
        time.sleep(pause)
        pause = min(2 * pause, 0.05)
    try:
        yield
    finally:
        if taken:
            _give_back(file)

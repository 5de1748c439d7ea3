"""Files that are written whole or not at all."""

import os
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

_LEFTOVER = "." + "[0-9a-f]" * 32 + ".tmp"


def write_atomically(
    path: str | os.PathLike[str], write: Callable[[BinaryIO], object], *, durable: bool = True
) -> None:
    """Replaces a file in one step: readers see the old content or the new, never a part, and a failure leaves nothing.

    Args:
        path: The file; its folder exists.
        write: Receives the open file, which it may read again.
        durable: Whether the content survives a power cut the moment this returns, which takes a while.

    Raises:
        OSError: The folder is missing or read-only, or the disk is full.
    """
    path = Path(path)
    temporary = path.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        with temporary.open("x+b") as file:
            write(file)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if durable and os.name == "posix":  # the renaming itself is durable once the folder is
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def write_bytes(path: str | os.PathLike[str], data: bytes | memoryview, *, durable: bool = False) -> None:
    """Replaces a file's content in one step; see :func:`write_atomically`."""
    write_atomically(path, lambda file: file.write(data), durable=durable)


def remove_leftovers(folder: Path) -> None:
    """Removes what a kill left half written in a folder that nobody else writes to now."""
    for leftover in folder.glob(_LEFTOVER) if folder.is_dir() else ():
        leftover.unlink(missing_ok=True)


def append(path: str | os.PathLike[str], data: bytes) -> None:
    """Appends to a file whole or not at all, as long as the process lives; a file that is gone is made anew.

    Raises:
        OSError: The folder is missing or read-only, or the disk is full.
    """
    with Path(path).open("ab", buffering=0) as file:
        append_to(file.fileno(), data)


def append_to(file: int, data: bytes) -> None:
    """Appends to an open file whole or not at all, as long as the process lives and nobody else writes to it.

    Args:
        file: Its descriptor, opened for appending.
        data: What to append.

    Raises:
        OSError: The disk is full or fails.
    """
    start, written = os.fstat(file).st_size, 0
    try:
        while written < len(data):
            written += os.write(file, data[written:])
    except OSError:
        os.ftruncate(file, start)
        raise

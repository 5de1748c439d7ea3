"""Where a job makes its files before they are renamed into place."""

import errno
import os
import re
import shutil
import stat
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Any

from i2i.core.errors import DataError
from i2i.core.files.locks import try_lock

WORKSHOPS = ".i2i"  # inside of OUTPUT
_NAME = re.compile("[0-9a-f]{32}")
_LOCK = "lock"


class Workshop:
    """A job's own folder ``OUTPUT/.i2i/ID``, gone when the job has ended.

    A living job holds the lock of its workshop; what a killed one has left is removed by the next job.

    Args:
        folder: OUTPUT, which exists.

    Attributes:
        folder: OUTPUT.
        is_alone: Whether no other job was at work in OUTPUT when this one began.
        folds_case: Whether OUTPUT takes names that differ only by case for the same name.

    Raises:
        DataError: Something else is called ``OUTPUT/.i2i``, such as a link, which might lead out of OUTPUT.
        OSError: OUTPUT cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._path, self._lock = _enter(folder / WORKSHOPS)
        self.is_alone = self._sweep()
        self.folds_case = (self._path / _LOCK.upper()).exists()

    def _sweep(self) -> bool:
        """Removes what killed jobs have left, and nothing else; returns whether there is no living one."""
        is_alone = True
        for path in (self.folder / WORKSHOPS).iterdir():
            if path == self._path or not _NAME.fullmatch(path.name):
                continue
            with suppress(OSError):  # it ends at this moment, or is not ours to remove
                if not stat.S_ISDIR(path.lstat().st_mode):
                    continue
                if not (path / _LOCK).is_symlink() and (path / _LOCK).is_file():
                    is_alone &= _remove_unless_alive(path)
                else:
                    path.rmdir()  # of a job that was killed before it had its lock: empty
        return is_alone

    def part(self) -> Path:
        """Names a file to be made."""
        return self._path / uuid.uuid4().hex

    def place(self, part: Path, path: Path) -> None:
        """Gives a finished file its final place, in one step.

        Raises:
            OSError: It cannot be there.
        """
        try:
            part.replace(path)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            near = path.with_name(f".{part.name}")  # this folder of OUTPUT lies on another disk
            try:
                shutil.copyfile(part, near)
                near.replace(path)
            finally:
                near.unlink(missing_ok=True)

    def close(self) -> None:
        os.close(self._lock)
        with suppress(OSError):  # the next job removes it
            _remove(self._path)
        with suppress(OSError):  # other jobs are in there
            self._path.parent.rmdir()

    def __enter__(self) -> "Workshop":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()


def _enter(workshops: Path) -> tuple[Path, int]:
    """Makes a workshop and locks it, again where another job has swept it away in between."""
    for trials in range(100):
        path = workshops / uuid.uuid4().hex
        try:
            with suppress(FileExistsError):
                workshops.mkdir()
            if not stat.S_ISDIR(workshops.lstat().st_mode):
                raise DataError(
                    f"{workshops}: is a link or a file, and must be a folder in OUTPUT",
                    ["move it away, or choose another OUTPUT"],
                )
            path.mkdir()
            file = os.open(path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        except (FileNotFoundError, FileExistsError):
            if trials == 99:
                raise
            continue
        with suppress(FileNotFoundError):
            if try_lock(file) is not False and (path / _LOCK).stat().st_ino == os.fstat(file).st_ino:
                return path, file
        os.close(file)
    raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))


def _remove_unless_alive(path: Path) -> bool:
    """Removes a workshop that no living job has locked; returns whether there is no such job."""
    file = os.open(path / _LOCK, os.O_RDWR)
    try:
        taken = try_lock(file)
        if taken:
            _remove(path)
    finally:
        os.close(file)
    return taken is not False


def _remove(path: Path) -> None:
    """Removes a workshop: its files, no folder in it, and at last the lock, by which the next job would know it."""
    for part in path.iterdir():
        if part.name != _LOCK:
            part.unlink(missing_ok=True)
    (path / _LOCK).unlink(missing_ok=True)
    path.rmdir()

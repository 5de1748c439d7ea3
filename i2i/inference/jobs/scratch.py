"""Files on their way: made beside their target under a name that says who makes them, then renamed into place."""

import errno
import os
import re
import secrets
import socket
import zlib
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import Any

from i2i.core.files.locks import share

_HOST = re.sub(r"[^A-Za-z0-9-]", "-", socket.gethostname()) or "host"
_PART = re.compile(rf"\..+\.{re.escape(_HOST)}\.\d+-[0-9a-f]{{6}}\.part")
_LONGEST = 40  # characters of a name, which may take four bytes each, of the 255 that most file systems allow


class Scratch:
    """Makes files as ``.NAME.HOST.PID-RANDOM.part`` beside their target.

    A killed job leaves its parts. A later one removes those of this host in each folder that it looks into, unless
    another job is at work in OUTPUT: each holds a shared lock on that folder. Containers may share host and PID: random
    digits keep their parts apart.

    Args:
        folder: OUTPUT, which exists.

    Attributes:
        folder: OUTPUT.
        is_alone: Whether no other job was at work in OUTPUT when this one began.

    Raises:
        OSError: OUTPUT cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = os.open(folder, os.O_RDONLY) if os.name == "posix" else None
        self.is_alone = self._lock is None or share(self._lock)
        self._owner = f"{_HOST}.{os.getpid()}-{secrets.token_hex(3)}"
        self._threads = Lock()
        self._swept: set[Path] = set()

    def part(self, path: Path) -> Path:
        """Returns where to make a file, in a folder that exists then.

        Args:
            path: The target, inside of OUTPUT.

        Raises:
            OSError: OUTPUT was removed meanwhile, or the folder cannot be made.
        """
        if not self.folder.is_dir():
            raise OSError(errno.ESTALE, "the folder was removed meanwhile")
        path.parent.mkdir(parents=True, exist_ok=True)
        self.sweep(path.parent)
        return path.with_name(f".{_shortened(path.name)}.{self._owner}.part")

    def sweep(self, folder: Path) -> None:
        """Removes the parts that killed jobs of this host have left in a folder; looks once, and only if alone."""
        with self._threads:
            if not self.is_alone or folder in self._swept:
                return
            self._swept.add(folder)
            with suppress(OSError):  # there is none, or it is not ours to read
                for entry in os.scandir(folder):
                    if _PART.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                        with suppress(OSError):
                            Path(entry.path).unlink()

    def close(self) -> None:
        if self._lock is not None:
            os.close(self._lock)

    def __enter__(self) -> "Scratch":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()


def _shortened(name: str) -> str:
    return name if len(name) <= _LONGEST else f"{name[:_LONGEST]}~{zlib.crc32(os.fsencode(name)):08x}"

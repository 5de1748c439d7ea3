"""``manifest.jsonl``: which translations a folder holds, and how they were made. ``refused.jsonl``: what has none."""

import errno
import json
import os
import stat
import threading
from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from i2i.core.errors import DataError
from i2i.core.files.atomic import append_to
from i2i.core.files.locks import locked
from i2i.images.files import describe_os_error

_KEYS = ("input", "output", "bundle", "options", "size", "input_bytes")
_START = b'{"input": '
_MASK = (1 << 64) - 1
_FEW = 1 << 16


class Manifest:
    """The list of a folder's translations: a JSON object a line, with ``_KEYS``; of one output, the last line counts.

    Several jobs may share it, and any thread may call any method. What others list meanwhile is noticed. A line whose
    bundle is ``null`` comes before a replacement, and stays the last one only where a process was killed in it: what
    lies there is of unknown making. All that is listed is kept as 64-bit hashes, 24 bytes an image.

    Args:
        path: The file; ``None`` keeps no list.
        bundle: SHA-256 of the bundle.
        options: All that decides a translation besides input and bundle; may be replaced before something is listed.
        is_alike: Tells of a line's options whether they do; by default they are to be equal.

    Raises:
        DataError: The file cannot be read or written, is a link, or belongs to something else.
    """

    def __init__(
        self,
        path: Path | None,
        bundle: str,
        options: dict[str, Any],
        is_alike: Callable[[Any], bool] | None = None,
    ) -> None:
        self.path, self.bundle, self.options = path, bundle, options
        self._is_alike = is_alike or (lambda listed: listed == options)
        self._threads = threading.RLock()
        self._read = 0
        self._is_held = self._is_foreign = False
        self._file: int | None = None
        # Sorted by output, and what was listed lately: output -> (input, mark).
        self._outputs = self._inputs = self._marks = np.empty(0, np.uint64)
        self._recent: dict[int, tuple[int, int]] = {}
        if path is None:
            return
        _check_own(path)
        try:
            self._file = _open(path)
            with self.held():
                pass
        except OSError as error:
            raise DataError(f"{path}: {describe_os_error(error, 'written')}") from error
        if self._is_foreign and not len(self._outputs) and not self._recent:
            raise DataError(f"{path}: is not a list of translations", ["choose another OUTPUT, or move the file away"])

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keeps other jobs and threads from listing, so that a translation and its line change together.

        Raises:
            OSError: The file is gone.
        """
        if self._file is None or self.path is None:
            yield
            return
        with self._threads, nullcontext() if self._is_held else locked(self._file):
            was_held, self._is_held = self._is_held, True
            try:
                if not was_held:
                    self._check_there()
                    self._catch_up()
                    self._repair()
                yield
            finally:
                self._is_held = was_held

    def _check_there(self) -> None:
        assert self._file is not None and self.path is not None
        try:
            is_there = os.path.samestat(self.path.lstat(), os.fstat(self._file))
        except FileNotFoundError:
            is_there = False
        if not is_there:
            raise OSError(errno.ESTALE, f"{self.path.name} was removed or replaced meanwhile")

    def _catch_up(self) -> None:
        """Reads what was listed since, by this job or another."""
        assert self._file is not None
        size = os.fstat(self._file).st_size
        if size == self._read:
            return
        if size < self._read:  # somebody has emptied it
            self._read = 0
            self._outputs = self._inputs = self._marks = np.empty(0, np.uint64)
            self._recent.clear()
        columns = tuple(array("Q") for _ in range(3))
        with os.fdopen(os.dup(self._file), "rb") as lines:
            lines.seek(self._read)
            for line in lines:
                if not line.endswith(b"\n"):
                    break
                self._read += len(line)
                entry = _parse(line)
                if entry is None:
                    self._is_foreign = True
                    continue
                is_current = entry["bundle"] == self.bundle and self._is_alike(entry["options"])
                values = _hash(entry["output"]), _hash(entry["input"]), entry["input_bytes"] if is_current else _MASK
                for column, value in zip(columns, values, strict=True):
                    column.append(value)
        self._take_in(columns)

    def _take_in(self, columns: "tuple[array[int], ...]") -> None:
        if len(columns[0]) + len(self._recent) < _FEW:
            self._recent.update(zip(columns[0], zip(*columns[1:], strict=True), strict=True))
            return
        recent = [(output, *rest) for output, rest in self._recent.items()]
        older = np.stack([self._outputs, self._inputs, self._marks]), np.array(recent, np.uint64).reshape(-1, 3).T
        rows = np.concatenate([*older, np.asarray(columns, np.uint64)], axis=1)[:, ::-1]
        # The first of each in reverse is the last one listed.
        self._outputs, last = np.unique(rows[0], return_index=True)
        self._inputs, self._marks = rows[1, last], rows[2, last]
        self._recent.clear()

    def _repair(self) -> None:
        """Completes or removes a last line that was cut off, which nobody is writing while the file is held."""
        assert self._file is not None
        if os.fstat(self._file).st_size <= self._read:
            return
        with os.fdopen(os.dup(self._file), "rb") as lines:
            lines.seek(self._read)
            line = lines.read()
        if _parse(line) is not None:
            append_to(self._file, b"\n")
            self._catch_up()
        elif self._read or _START.startswith(line[: len(_START)]):
            os.ftruncate(self._file, self._read)
        else:
            self._is_foreign = True

    def listed_input(self, output: str, input: str) -> bool | None:
        """Tells whether ``output`` is listed as the translation of ``input``; ``None`` where it is not listed."""
        entry = self._find(output)
        return None if entry is None else entry[0] == _hash(input)

    def is_done(self, output: str, input: str, input_bytes: int) -> bool:
        """Tells whether ``output`` is listed with this input, its size as a file, this bundle and options that do."""
        return self._find(output) == (_hash(input), input_bytes)

    def _find(self, output: str) -> tuple[int, int] | None:
        if self._file is None:
            return None
        with self._threads:
            self._catch_up()
            value = _hash(output)
            if value in self._recent:
                return self._recent[value]
            index = int(np.searchsorted(self._outputs, np.uint64(value)))
            if index == len(self._outputs) or self._outputs[index] != value:
                return None
            return int(self._inputs[index]), int(self._marks[index])

    def append(self, output: str, input: str, input_bytes: int, size: tuple[int, int], *, is_made: bool = True) -> None:
        """Lists a translation.

        Args:
            output: Name of the translation, relative to the output folder.
            input: Name of the input, relative to its root.
            input_bytes: Size of the input's file.
            size: Width and height of the translation.
            is_made: ``False`` says that the file is about to be replaced.

        Raises:
            OSError: The line cannot be written.
        """
        if self._file is None:
            return
        values = (input, output, self.bundle if is_made else None, self.options, list(size), input_bytes)
        line = json.dumps(dict(zip(_KEYS, values, strict=True))).encode() + b"\n"
        with self.held():
            append_to(self._file, line)
            if os.fstat(self._file).st_size == self._read + len(line):  # spares reading it again
                self._read += len(line)
                row = _hash(output), _hash(input), input_bytes if is_made else _MASK
                self._take_in(tuple(array("Q", [value]) for value in row))

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


class Refusals:
    """What was not translated, and why: all of it in a file, the first of it in memory.

    Args:
        path: The file, which exists only where something is refused; ``None`` keeps none.
        shown: How many are remembered.
        keep: Whether to add to the file that is there, which other jobs may be writing as well.

    Attributes:
        count: How many there are.
        first: Name and reason of the first.
        path: The file.

    Raises:
        DataError: It cannot be replaced, or is a link.
    """

    def __init__(self, path: Path | None, shown: int = 20, *, keep: bool = False) -> None:
        self.path, self._shown = path, shown
        self.count = 0
        self.first: list[tuple[str, str]] = []
        self._file: int | None = None
        if path is None:
            return
        _check_own(path)
        if not keep:
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise DataError(f"{path}: {describe_os_error(error, 'written')}") from error

    def add(self, name: str, reason: str) -> None:
        self.count += 1
        if len(self.first) < self._shown:
            self.first.append((name, reason))
        if self.path is None:
            return
        line = json.dumps({"input": name, "reason": reason}).encode() + b"\n"
        try:
            if self._file is None:
                self._file = _open(self.path)
            with locked(self._file):
                append_to(self._file, line)
        except OSError:  # a full disk may be the very reason; the terminal still tells
            self.path = None

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


def _check_own(path: Path) -> None:
    """Refuses what is no file of the folder itself: a link may lead anywhere.

    Raises:
        DataError: There is something else.
    """
    try:
        mode = path.lstat().st_mode
    except OSError:  # opening it tells why
        return
    if not stat.S_ISREG(mode):
        kind = "a link" if stat.S_ISLNK(mode) else "no regular file"
        hints = ["move it away, or choose another OUTPUT"]
        raise DataError(f"{path}: is {kind}, and a list of this folder lies in it as a file", hints)


def _open(path: Path) -> int:
    """Opens a list to add to it, and no link that has taken its place meanwhile."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0), 0o666)


def _parse(line: bytes) -> dict[str, Any] | None:
    """Reads a line of ours, or returns ``None``."""
    try:
        entry: Any = json.loads(line)
    except (ValueError, RecursionError):  # cut off, or not ours
        return None
    if not isinstance(entry, dict) or not entry.keys() >= set(_KEYS):
        return None
    names = entry["output"], entry["input"]
    if not all(isinstance(name, str) for name in names) or not isinstance(entry["input_bytes"], int):
        return None
    return entry if 0 <= entry["input_bytes"] < _MASK else None


def _hash(name: str) -> int:
    return hash(name) & _MASK

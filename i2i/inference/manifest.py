"""``manifest.jsonl``: which translations a folder holds, and how they were made. ``refused.jsonl``: what has none."""

import errno
import json
import os
import threading
from array import array
from pathlib import Path
from typing import Any

import numpy as np

from i2i.errors import DataError
from i2i.images import describe_os_error

_KEYS = ("input", "output", "bundle", "options", "size", "input_bytes")
_MASK = (1 << 64) - 1


class Manifest:
    """The list of a folder's translations: a JSON object a line, with ``_KEYS``; of one output, the last line counts.

    What an earlier run has listed is kept as 64-bit hashes, 24 bytes an image.

    Args:
        path: The file; ``None`` keeps no list.
        bundle: SHA-256 of the bundle.
        options: All that decides a translation besides input and bundle.

    Raises:
        DataError: The file cannot be read or written, or belongs to something else.
    """

    def __init__(self, path: Path | None, bundle: str, options: dict[str, Any]) -> None:
        self.bundle, self.options = bundle, options
        self._lock = threading.Lock()
        self._file: int | None = None
        columns = array("Q"), array("Q"), array("Q")
        if path is not None:
            try:
                self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
                self._load(path, self._file, columns)
            except OSError as error:
                raise DataError(f"{path}: {describe_os_error(error)}") from error
        outputs, inputs, marks = (np.asarray(column, np.uint64) for column in columns)
        # The first of each in reverse is the last one listed.
        self._outputs, last = np.unique(outputs[::-1], return_index=True)
        self._inputs, self._marks = inputs[::-1][last], marks[::-1][last]

    def _load(self, path: Path, file: int, columns: "tuple[array[int], array[int], array[int]]") -> None:
        outputs, inputs, marks = columns
        foreign, line = False, b"\n"
        with path.open("rb") as lines:
            for line in lines:
                entry = _parse(line)
                if entry is None:
                    foreign |= line.endswith(b"\n")
                    continue
                is_current = entry["bundle"] == self.bundle and entry["options"] == self.options
                outputs.append(_hash(entry["output"]))
                inputs.append(_hash(entry["input"]))
                marks.append(entry["input_bytes"] if is_current else _MASK)
            if not line.endswith(b"\n"):  # cut off when a process was killed
                if _parse(line):
                    os.write(file, b"\n")
                else:
                    os.truncate(path, lines.tell() - len(line))
        if foreign and not outputs:
            raise DataError(f"{path}: is not a list of translations", ["choose another OUTPUT, or move the file away"])

    def listed_input(self, output: str, input: str) -> bool | None:
        """Tells whether ``output`` is listed as the translation of ``input``; ``None`` where it is not listed."""
        index = self._find(output)
        return None if index is None else bool(self._inputs[index] == _hash(input))

    def is_done(self, output: str, input: str, input_bytes: int) -> bool:
        """Tells whether ``output`` is listed with this input, its size as a file, this bundle and these options."""
        index = self._find(output)
        return index is not None and bool(self._inputs[index] == _hash(input) and self._marks[index] == input_bytes)

    def _find(self, output: str) -> int | None:
        value = np.uint64(_hash(output))
        index = int(np.searchsorted(self._outputs, value))
        return index if index < len(self._outputs) and self._outputs[index] == value else None

    def append(self, output: str, input: str, input_bytes: int, size: tuple[int, int]) -> None:
        """Lists a translation. Any thread may call this.

        Args:
            output: Name of the translation, relative to the output folder.
            input: Name of the input, relative to its root.
            input_bytes: Size of the input's file.
            size: Width and height of the translation.

        Raises:
            OSError: The line cannot be written.
        """
        if self._file is None:
            return
        values = (input, output, self.bundle, self.options, list(size), input_bytes)
        line = json.dumps(dict(zip(_KEYS, values, strict=True))).encode() + b"\n"
        with self._lock:
            written = os.write(self._file, line)  # in one call, so that lines of several processes do not mix
            if written != len(line):
                os.ftruncate(self._file, os.fstat(self._file).st_size - written)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


class Refusals:
    """What was not translated, and why: all of it in a file, the first of it in memory.

    Args:
        path: The file, which exists only where something is refused; ``None`` keeps none.
        shown: How many are remembered.

    Attributes:
        count: How many there are.
        first: Name and reason of the first.
        path: The file.
    """

    def __init__(self, path: Path | None, shown: int = 20) -> None:
        self.path, self._shown = path, shown
        self.count = 0
        self.first: list[tuple[str, str]] = []
        self._file: Any = None
        if path is not None:
            path.unlink(missing_ok=True)

    def add(self, name: str, reason: str) -> None:
        self.count += 1
        if len(self.first) < self._shown:
            self.first.append((name, reason))
        if self.path is None:
            return
        try:
            if self._file is None:
                self._file = self.path.open("w", encoding="utf-8")
            self._file.write(json.dumps({"input": name, "reason": reason}) + "\n")
            self._file.flush()
        except OSError:  # a full disk may be the very reason; the terminal still tells
            self.path = None

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


def _parse(line: bytes) -> dict[str, Any] | None:
    """Reads a line of ours, or returns ``None``."""
    try:
        entry: Any = json.loads(line)
    except ValueError:  # cut off
        return None
    if not isinstance(entry, dict) or not entry.keys() >= set(_KEYS) or not isinstance(entry["input_bytes"], int):
        return None
    return entry


def _hash(name: Any) -> int:
    return hash(name) & _MASK

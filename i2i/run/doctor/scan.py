"""A look at all files: in threads, with a few numbers kept of each file, so that a million take tens of megabytes."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field

import numpy as np

from i2i.inference.jobs.reading import read_ahead, usable_cores
from i2i.run.doctor.look import DIGEST_BYTES, Look, Reader
from i2i.run.doctor.subject import Group, Subject

_BATCH = 16  # files that a thread looks at before it reports
_USABLE, _GRAY, _FLAT = 1, 2, 4


@dataclass
class Refusal:
    """A file that cannot be used, why, of which kind that is, and what would help."""

    path: str
    reason: str
    kind: str
    hints: tuple[str, ...]


@dataclass
class Findings:
    """What the files of a group hold, a number a file.

    Attributes:
        group: Which.
        refused: The files that cannot be used.
        notes: Conversion -> how many files need it.
        formats: Format -> how many files.
        misnamed: Files whose suffix names another format, and the format.
    """

    group: Group
    refused: list[Refusal] = field(default_factory=list)
    notes: Counter[str] = field(default_factory=Counter)
    formats: Counter[str] = field(default_factory=Counter)
    misnamed: list[tuple[str, str]] = field(default_factory=list)
    _sizes: array[int] = field(default_factory=lambda: array("I"))
    _kinds: array[int] = field(default_factory=lambda: array("H"))
    _flags: bytearray = field(default_factory=bytearray)
    _digests: bytearray = field(default_factory=bytearray)

    def add(self, path: str, look: Look) -> None:
        """Takes note of the next file."""
        if look.reason:
            self.refused.append(Refusal(path, look.reason, look.kind, look.hints))
        else:
            self.notes.update(look.notes)
            self.formats[look.format] += 1
            if look.is_misnamed(path):
                self.misnamed.append((path, look.format))
        self._sizes.extend(look.size)
        self._kinds.extend((min(look.channels, 65535), look.depth))
        self._flags.append((not look.reason) * _USABLE | look.is_gray * _GRAY | look.is_flat * _FLAT)
        self._digests += look.digest

    @property
    def sizes(self) -> np.ndarray:
        """Width and height of each file, ``[N, 2]``; 0 of those that cannot be used."""
        return np.frombuffer(self._sizes, np.uint32).reshape(-1, 2).astype(np.int64)

    @property
    def channels(self) -> np.ndarray:
        """``[N]``."""
        return np.frombuffer(self._kinds, np.uint16)[::2]

    @property
    def depths(self) -> np.ndarray:
        """``[N]``: 8, 16, or 32 for all other numbers."""
        return np.frombuffer(self._kinds, np.uint16)[1::2]

    @property
    def digests(self) -> np.ndarray:
        """Of the pixels, ``[N, 2]`` uint64."""
        return np.frombuffer(self._digests, np.uint64).reshape(-1, DIGEST_BYTES // 8)

    @property
    def is_usable(self) -> np.ndarray:
        """``[N]``."""
        return self._has(_USABLE)

    @property
    def is_gray(self) -> np.ndarray:
        """Whether all channels are the same, ``[N]``."""
        return self._has(_GRAY)

    @property
    def is_flat(self) -> np.ndarray:
        """Whether all pixels are the same, ``[N]``."""
        return self._has(_FLAT)

    def _has(self, flag: int) -> np.ndarray:
        return np.frombuffer(self._flags, np.uint8) & flag > 0


def scan(subject: Subject, max_pixels: int, advance: Callable[[int], object] = lambda count: None) -> list[Findings]:
    """Looks at all files.

    Args:
        subject: The data set.
        max_pixels: Images that claim more are not decoded.
        advance: Told how many files were looked at.
    """
    results = [Findings(group) for group in subject.groups]
    readers = [Reader(group, max_pixels) for group in subject.groups]
    batches = (
        (number, group.paths[start : start + _BATCH])
        for number, group in enumerate(subject.groups)
        for start in range(0, len(group.paths), _BATCH)
    )

    def work(batch: tuple[int, Sequence[str]]) -> tuple[int, list[tuple[str, Look]]]:
        number, paths = batch
        return number, [(path, readers[number](path)) for path in paths]

    with closing(read_ahead(work, batches, lambda result: 0, threads=min(8, 2 * usable_cores()))) as looks:
        for number, batch in looks:
            for path, look in batch:
                results[number].add(path, look)
            advance(len(batch))
    return results

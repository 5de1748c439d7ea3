"""How long work on files shows itself: a bar on a terminal, a few plain lines elsewhere."""

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

Say = Callable[[str], None]

LINE_SECONDS = 2.0  # plain lines are at least that far apart, so quick work stays quiet


def human_size(size: float) -> str:
    """A number of bytes with a decimal unit, e.g. ``116.9 MB``."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


class Progress:
    """Progress of one piece of work, as a context manager.

    Args:
        label: What is being done, e.g. ``unpacking horse2zebra.zip``.
        total: How much there is to do; ``None`` if unknown.
        say: Takes the plain lines: one at the start, one for each further tenth, or each 100 MB where the total is
            unknown.
        done: How much was done before, e.g. bytes of an earlier download.
        count: What is counted if not bytes, e.g. ``images``.
    """

    def __init__(self, label: str, total: int | None, say: Say, *, done: int = 0, count: str = "") -> None:
        self.label = label
        self.total = total
        self.say = say
        self.done = done
        self.count = count
        self._bar: Any = None
        self._shown = 0
        self._spoke = 0.0

    def _amount(self, value: int) -> str:
        return f"{value} {self.count}" if self.count else human_size(value)

    def _notch(self) -> int:
        return self.done * 10 // self.total if self.total else self.done // 100_000_000

    def __enter__(self) -> "Progress":
        if sys.stderr.isatty():
            from tqdm import tqdm

            unit = f" {self.count}" if self.count else "B"
            self._bar = tqdm(desc=self.label, total=self.total, initial=self.done, unit=unit, unit_scale=not self.count)
        else:
            self._shown = self._notch()
            self._spoke = time.monotonic()
            start = f", {self._amount(self.done)} done before" if self.done else ""
            self.say(f"{self.label}" + (f" ({self._amount(self.total)}{start})" if self.total else start))
        return self

    def advance(self, amount: int) -> None:
        """Counts work as done."""
        self.done += amount
        if self._bar is not None:
            self._bar.update(amount)
        elif self._notch() > self._shown and time.monotonic() - self._spoke >= LINE_SECONDS:
            self._shown = self._notch()
            self._spoke = time.monotonic()
            self.say(f"{self.label}: {self._amount(self.done)}" + (f" ({self._shown}0%)" if self.total else ""))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()

"""How long work shows itself: a bar on a terminal, a plain line now and then elsewhere."""

import os
import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

from i2i.core.errors import printable

Say = Callable[[str], None]

LINE_SECONDS = 10.0  # between two plain lines, so quick work stays quiet


def say(*lines: str) -> None:
    """Prints lines at once, line breaks and control characters in them as escapes: a stranger may have named a file.

    A terminal or pipe that is gone does not end what is being done.
    """
    try:
        print("\n".join(map(printable, lines)), flush=True)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


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
        label: What is being done, e.g. ``unpacking horse2zebra.zip``; said at the start. Empty where that is clear.
        total: How much there is to do; ``None`` if unknown.
        say: Takes the plain lines.
        done: How much was done before, e.g. bytes of an earlier download.
        count: What is counted if not bytes, e.g. ``images``.
    """

    def __init__(self, label: str, total: int | None, say: Say = say, *, done: int = 0, count: str = "") -> None:
        self.label = label
        self.total = total
        self.done = done
        self.count = count
        self._say = say
        self._bar: Any = None
        self._before = done
        self._started = self._spoke = 0.0

    def __enter__(self) -> "Progress":
        self._started = self._spoke = time.monotonic()
        if sys.stderr.isatty():
            from tqdm import tqdm

            unit = f" {self.count}" if self.count else "B"
            self._bar = tqdm(
                desc=self.label or None,
                total=self.total,
                initial=self.done,
                unit=unit,
                unit_scale=not self.count,
                dynamic_ncols=True,
            )
        elif self.label:
            start = f", {self._amount(self.done)} done before" if self.done else ""
            self._say(self.label + (f" ({self._amount(self.total)}{start})" if self.total else start))
        return self

    def say(self, line: str) -> None:
        """Says a line, above the bar where there is one."""
        if self._bar is not None:
            with self._bar.external_write_mode(file=sys.stdout):
                self._say(line)
        else:
            self._say(line)

    def advance(self, amount: int = 1) -> None:
        """Counts work as done."""
        self.reach(self.done + amount)

    def reach(self, done: int, note: str = "") -> None:
        """Sets how much is done; ``note`` is shown beside it."""
        if self._bar is not None:
            self._bar.set_postfix_str(note, refresh=False)
            self._bar.update(done - self.done)
        self.done = done
        now = time.monotonic()
        if self._bar is None and now - self._spoke >= LINE_SECONDS:
            self._spoke = now
            self._say(self._line(now - self._started, note))

    def _line(self, seconds: float, note: str) -> str:
        speed = (self.done - self._before) / seconds
        share = f" ({100 * self.done // self.total} %)" if self.total else ""
        parts = [self._amount(self.done) + share, *([note] if note else [])]
        rate = f"{speed:.1f} {self.count}/s" if self.count else f"{human_size(speed)}/s"
        return (f"{self.label}: " if self.label else "") + ", ".join(parts) + f"; {rate}"

    def _amount(self, value: int) -> str:
        return f"{value} {self.count}" if self.count else human_size(value)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()

"""How the translation of many images shows itself: a bar on a terminal, plain lines elsewhere."""

import sys
import time
from typing import Any

LINE_SECONDS = 10.0


class Progress:
    """Counts images, as a context manager. The total is unknown: nobody counts a million files before they are read."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._started = self._spoke = time.monotonic()
        self._shown = 0

    def __enter__(self) -> "Progress":
        if sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(unit=" images", dynamic_ncols=True)
        self._started = self._spoke = time.monotonic()
        return self

    def say(self, line: str) -> None:
        """Prints a line, above the bar where there is one."""
        if self._bar is not None:
            self._bar.write(line, file=sys.stdout)
        else:
            print(line)
        sys.stdout.flush()

    def update(self, translated: int, skipped: int, refused: int) -> None:
        """Shows the counts, when it is time to."""
        if self._bar is not None:
            self._bar.set_postfix(skipped=skipped, refused=refused, refresh=False)
            self._bar.update(translated - self._shown)
            self._shown = translated
        elif time.monotonic() - self._spoke >= LINE_SECONDS:
            self._spoke = time.monotonic()
            speed = translated / (self._spoke - self._started)
            self.say(f"translated {translated}, skipped {skipped}, refused {refused}; {speed:.1f} images/s")

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

"""What a run tells while it goes on: ``log.jsonl``, TensorBoard, samples, and lines on the terminal."""

import json
import math
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from i2i.core.files.atomic import append, write_atomically
from i2i.core.progress import say
from i2i.training.logs.board import Board


class RunLog:
    """Writes the logs of one run folder.

    Args:
        folder: The run folder.
        start: Steps done before; entries after them are dropped, so that a resumed run's log has no step twice.
        steps: The run's length, for the progress bar.
    """

    def __init__(self, folder: Path, start: int, steps: int) -> None:
        self.folder = folder
        try:
            self._truncate(start)
            append(folder / "log.jsonl", b"")  # there from the start
        except OSError as error:
            say(f"the log cannot be written, training goes on: {error.strerror}")
        self._pending = b""  # entries that a full disk did not take
        self._board = Board(folder, start)
        self._bar = tqdm(total=steps, initial=start, unit="step", dynamic_ncols=True, disable=not sys.stderr.isatty())
        self._steps = steps
        self._printed = 0.0

    def _truncate(self, start: int) -> None:
        path = self.folder / "log.jsonl"
        if path.exists():
            kept = [line for line in path.read_bytes().splitlines(keepends=True) if _step_of(line) <= start]
            write_atomically(path, lambda file: file.writelines(kept))

    def advance(self) -> None:
        self._bar.update()

    def scalars(self, step: int, values: dict[str, float], groups: dict[str, str]) -> None:
        """Writes one entry.

        Args:
            step: Steps done.
            values: By name.
            groups: Name -> TensorBoard's heading.
        """
        self._write(step, values)
        self._show(step, {f"{groups.get(name, 'training')}/{name}": value for name, value in values.items()})
        losses = {name: value for name, value in values.items() if groups.get(name) == "loss"}
        shown = "  ".join(f"{name} {value:.3f}" for name, value in losses.items())
        self._bar.set_postfix_str(shown, refresh=False)
        if self._bar.disable and (time.monotonic() - self._printed > 10 or step >= self._steps):
            self._printed = time.monotonic()
            say(f"step {step}/{self._steps}  {values['images_per_second']:.1f} images/s  {shown}")

    def metrics(self, step: int, values: dict[str, float]) -> None:
        """Writes an entry of metrics of held-out images, and says it."""
        self._write(step, values)
        self._show(step, {f"validation/{name}": value for name, value in values.items()})
        self._bar.clear()
        say(f"step {step}/{self._steps}  " + "  ".join(f"{name} {value:.4g}" for name, value in values.items()))

    def _write(self, step: int, values: dict[str, float]) -> None:
        # JSON has no NaN.
        rounded = {name: float(f"{value:.6g}") if math.isfinite(value) else None for name, value in values.items()}
        self._pending += json.dumps({"step": step, **rounded}).encode() + b"\n"
        try:
            append(self.folder / "log.jsonl", self._pending)
            self._pending = b""
        except OSError as error:  # a full disk does not end a run
            say(f"step {step}: the log cannot be written, training goes on: {error.strerror}")

    def _show(self, step: int, values: dict[str, float]) -> None:
        try:
            self._board.scalars(step, values)
        except OSError as error:
            say(f"step {step}: TensorBoard's file cannot be written, training goes on: {error.strerror}")

    def sample(self, step: int, grid: np.ndarray) -> None:
        """Writes a sample grid, uint8 ``[H, W, 3]``."""
        from i2i.images.files import save_image

        folder = self.folder / "samples"
        folder.mkdir(exist_ok=True)
        save_image(folder / f"step_{step:08d}.png", grid)
        self._board.image(step, "samples", grid)

    def close(self) -> None:
        self._bar.close()


def _step_of(line: bytes) -> float:
    try:
        entry: Any = json.loads(line)
        return entry["step"]
    except (ValueError, KeyError, TypeError):  # a line cut off when the process was killed
        return float("inf")


class Averages:
    """Means of scalars since the last entry, summed on the device so that logging does not wait for it.

    Args:
        finite_only: Whether to leave out what is not finite, as is what comes from an update that is left out.
    """

    def __init__(self, finite_only: bool = False) -> None:
        self.finite_only = finite_only
        self._sums: dict[str, Any] = {}
        self._counts: dict[str, Any] = {}

    def add(self, values: dict[str, Any]) -> None:
        for name, value in values.items():
            value, count = value.detach(), 1
            if self.finite_only:
                count = value.isfinite()
                value = value.where(count, 0)
            self._sums[name] = self._sums[name] + value if name in self._sums else value.clone()
            self._counts[name] = self._counts.get(name, 0) + count

    def means(self) -> dict[str, Any]:
        """Returns the means as tensors, without waiting for the device; NaN where there is nothing to average."""
        return {name: total / self._counts[name] for name, total in self._sums.items()}

    def pop(self) -> dict[str, float]:
        """Returns the means as numbers and starts anew."""
        means = {name: float(mean) for name, mean in self.means().items()}
        self._sums, self._counts = {}, {}
        return means


class Meter:
    """Times the loop between two log entries; samples, metrics and checkpoints do not count.

    Args:
        images: Images seen before.
    """

    def __init__(self, images: int) -> None:
        self.waited = self.paused = 0.0
        self._images, self._started = images, time.perf_counter()

    def pop(self, images: int) -> dict[str, float]:
        """Returns images per second and the share of time spent waiting for data, since the last call."""
        now = time.perf_counter()
        seconds = max(now - self._started - self.paused, 1e-9)
        speed = {
            "images_per_second": (images - self._images) / seconds,
            "data_wait": self.waited / seconds,
        }
        self.waited = self.paused = 0.0
        self._images, self._started = images, now
        return speed

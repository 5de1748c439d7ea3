"""What ``log.jsonl`` tells about a run, read with patience: a run may have been killed in the middle of a line."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

GROUPS = ("losses", "accuracy", "metrics", "learning rate", "speed")

_POSITION = ("step", "epoch")
_HUGE = 1e100  # no axis reaches further: a value beyond it is as good as infinite


@dataclass
class Series:
    """The values of one name.

    Attributes:
        steps: Rising.
        values: One a step; ``None`` where the logged number was not finite.
    """

    steps: list[int] = field(default_factory=list)
    values: list[float | None] = field(default_factory=list)

    @property
    def finite(self) -> list[tuple[int, float]]:
        return [(step, value) for step, value in zip(self.steps, self.values, strict=True) if value is not None]


@dataclass
class History:
    """A run's log.

    Attributes:
        series: By name, in the order of the log; each has at least one entry.
        step: The last one logged; 0 where there is none.
        epoch: At the last step, where the log says it.
        notes: What is missing or damaged.
    """

    series: dict[str, Series] = field(default_factory=dict)
    step: int = 0
    epoch: float | None = None
    notes: list[str] = field(default_factory=list)

    def seconds(self, batch_size: int) -> float | None:
        """Returns the time spent training, without samples and checkpoints; ``None`` where the log does not tell."""
        speed, last, total = self.series.get("images_per_second"), 0, 0.0
        if speed is None:
            return None
        for step, rate in zip(speed.steps, speed.values, strict=True):
            if rate is None or rate <= 0:
                return None
            total += batch_size * (step - last) / rate
            last = step
        return total


def read_history(path: Path) -> History:
    """Reads a log; what cannot be read is skipped and noted.

    Raises:
        OSError: The file is there and may not be read.
    """
    if not path.exists():
        return History(notes=[f"{path.name} is missing: there are no curves"])
    found: dict[str, dict[int, float | None]] = {}
    epochs: dict[int, float] = {}
    damaged = 0
    for line in path.read_bytes().splitlines():
        entry = _entry(line)
        if entry is None:
            damaged += bool(line.strip())
            continue
        step = int(entry["step"])
        for name, value in entry.items():
            if name not in _POSITION and (value is None or _is_number(value)):
                found.setdefault(name, {})[step] = _finite(value)
        epoch = _finite(entry.get("epoch"))
        if epoch is not None:
            epochs[step] = epoch
    history = History()
    for name, values in found.items():
        steps = sorted(values)
        history.series[name] = Series(steps, [values[step] for step in steps])
    history.step = max((series.steps[-1] for series in history.series.values()), default=0)
    history.epoch = epochs[max(epochs)] if epochs else None
    if damaged:
        history.notes.append(f"{damaged} {'line' if damaged == 1 else 'lines'} of {path.name} could not be read")
    if not found:
        history.notes.append(f"{path.name} has no entries yet: there are no curves")
    return history


def group_of(name: str) -> str:
    """Returns which of ``GROUPS`` a logged name belongs to."""
    if name.startswith("val_"):
        return "metrics"
    if "accuracy" in name:
        return "accuracy"
    if name.startswith("lr_"):
        return "learning rate"
    return "speed" if name in ("images_per_second", "data_wait") else "losses"


def _entry(line: bytes) -> dict[str, Any] | None:
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):  # cut off, not UTF-8, or not ours
        return None
    if not isinstance(entry, dict):
        return None
    step = _finite(entry.get("step"))
    return entry if step is not None and step >= 0 else None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _finite(value: Any) -> float | None:
    if not _is_number(value):
        return None
    try:
        number = float(value)
    except OverflowError:  # an integer beyond all floats
        return None
    if not abs(number) < _HUGE:
        return None
    return number if abs(number) > 1 / _HUGE else 0.0

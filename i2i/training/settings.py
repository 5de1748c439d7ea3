"""The keys of ``trainer`` and the keys of ``data`` that are the framework's own."""

import os
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class TrainerSettings:
    """The YAML's ``trainer``.

    Attributes:
        steps: Length of the run in optimizer steps; wins over ``epochs``.
        epochs: Length of the run in passes over the data.
        batch_size: Images of one update, over all processes and parts.
        accumulate: Parts that an update is computed in, one after the other, to save memory.
        seed: Decides initial weights, order, augmentation and every other random choice.
        precision: ``auto`` picks what the device is good at.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
        deterministic: Demand deterministic kernels on a GPU, which is slower; a CPU always is.
        checkpoint_every: Steps between checkpoints; the last step always writes one.
        keep_checkpoints: Checkpoints kept; older ones are deleted.
        sample_every: Steps between sample grids.
        sample_count: Rows of a sample grid.
        log_every: Steps between log entries.
        on_nan: What to do when a loss or gradient is not finite: end the run, or leave out the update.
    """

    steps: int | None = None
    epochs: int | None = None
    batch_size: int = 1
    accumulate: int = 1
    seed: int = 0
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    device: str = "auto"
    deterministic: bool = False
    checkpoint_every: int = 1000
    keep_checkpoints: int = 2
    sample_every: int = 500
    sample_count: int = 4
    log_every: int = 50
    on_nan: Literal["stop", "skip"] = "stop"

    def __post_init__(self) -> None:
        if self.steps is None and self.epochs is None:
            raise ValueError("the trainer needs 'steps' or 'epochs'")
        for name, least in {
            "steps": 1,
            "epochs": 1,
            "batch_size": 1,
            "accumulate": 1,
            "seed": 0,
            "checkpoint_every": 1,
            "keep_checkpoints": 1,
            "sample_every": 1,
            "sample_count": 1,
            "log_every": 1,
        }.items():
            value = getattr(self, name)
            if value is not None and value < least:
                raise ValueError(f"{name} must be at least {least}, got {value}")
        if self.seed >= 2**31:
            raise ValueError(f"seed must be below 2147483648, got {self.seed}")
        if self.batch_size % self.accumulate:
            raise ValueError(f"accumulate must divide the batch_size of {self.batch_size}, got {self.accumulate}")


@dataclass(frozen=True)
class DataSettings:
    """The keys of the YAML's ``data`` that are not the data set's own.

    Attributes:
        workers: Processes that load images; ``auto`` is 0 where training itself keeps all cores busy.
        direction: ``b2a`` exchanges the domains, so that a one-way pipeline learns b -> a.
    """

    workers: int | Literal["auto"] = "auto"
    direction: Literal["a2b", "b2a"] = "a2b"

    def __post_init__(self) -> None:
        if self.workers != "auto" and self.workers < 0:
            raise ValueError(f"workers must not be negative, got {self.workers}")

    def worker_count(self, device: str) -> int:
        if self.workers != "auto":
            return self.workers
        return 0 if device == "cpu" else min(8, os.cpu_count() or 1)

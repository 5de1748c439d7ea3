"""The keys of ``trainer`` and the keys of ``data`` that are the framework's own."""

import math
import os
import re
from dataclasses import dataclass
from typing import Literal

from i2i.core.errors import ArgumentError, ArgumentErrors
from i2i.training.decay import ImageDecay, StepDecay

_COUNTS = (
    "steps",
    "images",
    "epochs",
    "batch_size",
    "accumulate",
    "checkpoint_every",
    "keep_checkpoints",
    "sample_every",
    "sample_count",
    "log_every",
)


@dataclass(frozen=True)
class TrainerSettings:
    """The YAML's ``trainer``.

    Attributes:
        steps: Length of the run in steps; wins over ``images``.
        images: Length of the run in images; wins over ``epochs``.
        epochs: Length of the run in passes over the data.
        batch_size: Images of one update, over all processes and parts.
        accumulate: Parts that an update is computed in, one after the other, to save memory.
        seed: Decides initial weights, order, augmentation and every other random choice.
        precision: ``fp32`` is exact; ``winograd`` (on a CPU), ``tf32``, ``bf16`` and ``fp16`` (on a GPU) are faster;
            ``auto`` picks the fastest that trains well on the device.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
        deterministic: Demand deterministic kernels on a GPU, which is slower; a CPU always is.
        checkpoint_every: Steps between checkpoints; the last step always writes one.
        keep_checkpoints: Checkpoints kept; older ones are deleted.
        sample_every: Steps between sample grids.
        sample_count: Rows of a sample grid.
        log_every: Steps between log entries.
        on_nan: What to do when a loss or gradient is not finite, which never reaches the weights: end the run, leave
            out the update (skip), or go back to the last checkpoint and on from there with other images and random
            numbers (rollback).
        ema: Moving average of the weights that translate or generate, which then is what samples, metrics and bundles
            use: a decay a step, such as 0.999, or ``{half_life: 10_000, ramp_up: 0.05}`` in images; null keeps none.
        clip_norm: Longest gradient of an update, over all networks of its phase; longer ones are scaled down to it.
        gradient_checkpointing: Keep less for the backward pass and compute it again: the same result for a third more
            time, and less than half the memory with residual networks; with U-Nets it saves little.
        compile: Let ``torch.compile`` make code of the networks for training steps. It takes minutes once, told apart
            from the speed, and needs a C++ compiler on a CPU, Triton on a GPU; without, or with winograd or bf16 on a
            CPU, networks run as they are, which is said. So do discriminators with a gradient penalty. Other rounding
            and other dropout masks than without; not together with ``gradient_checkpointing``.
    """

    steps: int | None = None
    images: int | None = None
    epochs: int | None = None
    batch_size: int = 1
    accumulate: int = 1
    seed: int = 0
    precision: Literal["auto", "fp32", "tf32", "winograd", "bf16", "fp16"] = "auto"
    device: str = "auto"
    deterministic: bool = False
    checkpoint_every: int = 1000
    keep_checkpoints: int = 2
    sample_every: int = 500
    sample_count: int = 4
    log_every: int = 50
    on_nan: Literal["stop", "skip", "rollback"] = "stop"
    ema: float | dict[Literal["half_life", "ramp_up"], float | None] | None = None
    clip_norm: float | None = None
    gradient_checkpointing: bool = False
    compile: bool = False

    def __post_init__(self) -> None:
        least = dict.fromkeys(_COUNTS, 1) | {"seed": 0}
        values = {name: getattr(self, name) for name in least}
        errors = [
            ArgumentError(f"{name} must be at least {least[name]}, got {value}", (name,))
            for name, value in values.items()
            if value is not None and value < least[name]
        ]
        if self.steps is None and self.images is None and self.epochs is None:
            errors.insert(0, ArgumentError("the trainer needs 'steps', 'images' or 'epochs'"))
        if not re.fullmatch(r"auto|cpu|mps|cuda(:\d{1,3})?", self.device):
            message = f"device is auto, cpu, cuda, cuda:0 or mps, not {self.device!r}"
            errors.append(ArgumentError(message, ("device",)))
        if self.seed >= 2**31:
            errors.append(ArgumentError(f"seed must be below {2**31}, got {self.seed}", ("seed",)))
        errors += self._ema_errors()
        if self.clip_norm is not None and not 0 < self.clip_norm < math.inf:
            errors.append(ArgumentError(f"clip_norm must be above 0 and finite, got {self.clip_norm}", ("clip_norm",)))
        if self.compile and self.gradient_checkpointing:
            message = "compile must be false with gradient_checkpointing: compiled code decides itself what it keeps"
            errors.append(ArgumentError(message, ("compile",)))
        if self.accumulate > 0 and self.batch_size % self.accumulate:
            message = f"accumulate must divide the batch_size of {self.batch_size}, got {self.accumulate}"
            errors.append(ArgumentError(message, ("accumulate",)))
        if errors:
            raise ArgumentErrors(errors)

    def _ema_errors(self) -> list[ArgumentError]:
        if isinstance(self.ema, dict):
            half_life, ramp_up = self.ema.get("half_life"), self.ema.get("ramp_up")
            errors = []
            if half_life is None or not 0 < half_life < math.inf:
                message = f"ema needs a half_life above 0, in images, got {half_life}"
                errors.append(ArgumentError(message, ("ema", "half_life") if half_life is not None else ("ema",)))
            if ramp_up is not None and not 0 < ramp_up < math.inf:
                errors.append(ArgumentError(f"ramp_up must be above 0, got {ramp_up}", ("ema", "ramp_up")))
            return errors
        if self.ema is not None and not 0 <= self.ema < 1:
            return [ArgumentError(f"ema must be at least 0 and below 1, got {self.ema}", ("ema",))]
        return []

    @property
    def decay(self) -> StepDecay | ImageDecay | None:
        """The decay of the moving average; ``None`` where there is none."""
        if isinstance(self.ema, dict):
            return ImageDecay(float(self.ema["half_life"] or 0), self.ema.get("ramp_up"))
        return None if self.ema is None else StepDecay(self.ema)


@dataclass(frozen=True)
class DataSettings:
    """The keys of the YAML's ``data`` that are not the data set's own.

    Attributes:
        workers: Processes that load images; ``auto`` is 0 where training itself keeps all cores busy, else at most 8
            of the cores that a process of the run has to itself.
        cache: Memory for decoded images, which are then decoded once a run: so many GB on each host, ``auto`` for a
            quarter of what is free, or ``off``. Images that do not fit are decoded each time. All processes of a host
            share it, and it leaves no file behind. What a file becomes later is not seen.
        draft: Decode JPEGs at a half, a quarter or an eighth where a preset's resize makes them that small anyway: 3 to
            10 times as fast, but not the same pixels: 0.4 to 1.5 of 255 off on average, so it is not the default.
        direction: ``b2a`` exchanges the domains, so that a one-way pipeline learns b -> a.
        max_broken: Unusable files that are named and passed over; with more of them the run ends.
        timeout: Seconds after which a loader process that gives nothing counts as hung; 0 waits for ever.
    """

    workers: int | Literal["auto"] = "auto"
    cache: float | Literal["auto", "off"] = "auto"
    draft: bool = False
    direction: Literal["a2b", "b2a"] = "a2b"
    max_broken: int = 10
    timeout: float = 300.0

    def __post_init__(self) -> None:
        values = {"workers": self.workers, "cache": self.cache, "max_broken": self.max_broken, "timeout": self.timeout}
        errors = [
            ArgumentError(f"{name} must not be negative, got {value}", (name,))
            for name, value in values.items()
            if isinstance(value, int | float) and not value >= 0
        ]
        if errors:
            raise ArgumentErrors(errors)

    def worker_count(self, device: str) -> int:
        if self.workers != "auto":
            return self.workers
        if device == "cpu":
            return 0
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        share = cores // max(int(os.environ.get("LOCAL_WORLD_SIZE", "1")), 1)  # torchrun's, of this host
        return max(1, min(8, share))


@dataclass(frozen=True)
class ValidationSettings:
    """The plain keys of the YAML's ``validation``.

    Attributes:
        every: Steps between two measurements; the last step is always measured.
        count: Images to measure, the first of the split; null for all of them.
        best: The metric that chooses ``best.safetensors``; of a pipeline with two directions, in its first one.
    """

    every: int = 1000
    count: int | None = 100
    best: str | None = None

    def __post_init__(self) -> None:
        errors = [
            ArgumentError(f"{name} must be at least 1, got {value}", (name,))
            for name, value in (("every", self.every), ("count", self.count))
            if value is not None and value < 1
        ]
        if errors:
            raise ArgumentErrors(errors)

"""The time of a training step, taken on random images."""

import statistics
import sys
import time
from dataclasses import dataclass

import torch

from i2i.run.experiment import Experiment
from i2i.run.plan.rehearsal import build, random_batch
from i2i.training.precision import deterministic_algorithms


@dataclass(frozen=True)
class Timing:
    """How long steps took.

    Attributes:
        seconds: Of the median step.
        steps: How many it is the median of.
        warm_up: How many were taken before, which pay for what happens once.
        peak: The most bytes that were held; ``None`` where the system does not say.
        peak_of: What ``peak`` counts.
    """

    seconds: float
    steps: int
    warm_up: int
    peak: int | None
    peak_of: str = "tensors"


def measure(experiment: Experiment, device: torch.device, budget: float = 30, most: int = 10) -> Timing:
    """Takes real steps on random images.

    Args:
        experiment: Its data set must fix the size of its images.
        device: Where.
        budget: Seconds; no step is begun that would end later, except the first.
        most: Steps that are enough.

    Raises:
        RuntimeError: The step fails, for example because memory does not suffice.
        I2IError: A loss or gradient is not finite.
    """
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    with deterministic_algorithms(experiment.settings.deterministic):
        updater, batch = build(experiment, device), random_batch(experiment)
        seconds: list[float] = []
        while not seconds or (len(seconds) <= most and sum(seconds) + seconds[-1] <= budget):
            started = time.perf_counter()
            updater.step(batch)
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            seconds.append(time.perf_counter() - started)
    warm_up = 1 if len(seconds) > 1 else 0
    median, steps = statistics.median(seconds[warm_up:]), len(seconds) - warm_up
    if device.type == "cuda":
        return Timing(median, steps, warm_up, torch.cuda.max_memory_allocated(device))
    return Timing(median, steps, warm_up, _peak_of_process(), "the whole process, Python and torch included")


def _peak_of_process() -> int | None:
    """Returns the most bytes of memory that this process has held, ``None`` on Windows."""
    if sys.platform == "win32":
        return None
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024

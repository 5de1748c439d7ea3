"""What a step and the whole run will take, as text."""

import copy
import platform
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch

from i2i.core.errors import I2IError, one_line
from i2i.core.meta import weight_bytes
from i2i.data.known.sets import known_set
from i2i.run.assembly import total_steps
from i2i.run.experiment import Experiment
from i2i.run.plan import units
from i2i.run.plan.forecast import Forecast, forecast
from i2i.run.plan.timing import Timing, measure
from i2i.training.precision import Precision, pick_device

_ABOUT = {
    "activations": "what the backward pass needs, and intermediate results",
    "weights": "parameters and buffers",
    "gradients": "",
    "optimizer": "its state",
    "average": "the moving average of the weights",
    "pool": "images of the past, once the pools are full",
    "batch": "",
}


def describe_outlook(experiment: Experiment, is_measured: bool) -> Iterator[str]:
    """Describes a training step and the length of the run, line by line.

    Args:
        experiment: Of which; no file of its data is read.
        is_measured: Whether to take real steps on random images, for up to about half a minute.
    """
    size = experiment.data.size
    if size is None:
        yield "a training step: its memory and time are not known, for the data set does not fix the size of its images"
        yield from _run_rows(experiment, None)
        return
    experiment, device, why_not = _placed(experiment)
    precision = Precision.pick(experiment.settings.precision, device, experiment.meta_networks.values())
    count = experiment.settings.batch_size
    images = f"1 image of {units.shape(size)}" if count == 1 else f"{count} images of {units.shape(size)}"
    yield f"a training step of {images} on {device}, {precision.name}" + (f": {why_not}" if why_not else "")
    plan = None
    try:
        plan = forecast(experiment, device)
    except Exception as error:  # plugins may raise anything, most likely because they need numbers
        yield f"  compute and memory are not known: {one_line(error, 200)}"
    if plan is not None:
        yield from _forecast_rows(plan)
    timing = None
    if is_measured and not why_not:
        least = plan.peak if plan else weight_bytes(*experiment.meta_networks.values())
        reason = _too_large(least, device)
        try:
            timing = measure(experiment, device) if not reason else None
        except I2IError as error:
            reason = error.message
        except (RuntimeError, MemoryError) as error:
            reason = one_line(error, 200)
        if timing:
            yield from _timing_rows(timing)
        else:
            yield _row("time", "?", f"not measured: {reason}")
    yield ""
    yield from _run_rows(experiment, timing)


def _placed(experiment: Experiment) -> tuple[Experiment, torch.device, str]:
    """Returns the experiment, its device and, where that is not here, why the experiment is now one for the CPU."""
    settings = experiment.settings
    try:
        device = pick_device(settings.device)
        Precision.pick(settings.precision, device)
    except I2IError as error:
        moved = copy.copy(experiment)
        moved.settings = replace(settings, device="cpu", precision="fp32")
        return moved, torch.device("cpu"), error.message
    return experiment, device, ""


def _forecast_rows(plan: Forecast) -> Iterator[str]:
    compute = "convolutions and matrix products, forward and backward; a multiply-add counts as 2"
    yield _row("compute", units.flops(plan.flops), compute)
    yield _row("memory", units.memory(plan.peak), "predicted peak of tensors; what kernels work on comes on top")
    for kind in sorted(plan.parts, key=lambda kind: -plan.parts[kind]):
        yield _row(f"  {kind}", f"  {units.memory(plan.parts[kind])}", f"  {_ABOUT[kind]}")


def _timing_rows(timing: Timing) -> Iterator[str]:
    taken = f"median of {timing.steps} steps" if timing.steps > 1 else "of 1 step"
    after = "after 1 to warm up" if timing.warm_up else "the first, which later ones may beat"
    yield _row("time", units.duration(timing.seconds), f"measured: {taken} on random images, {after}")
    if timing.peak is not None:
        yield _row("memory", units.memory(timing.peak), f"measured peak of {timing.peak_of}")


def _too_large(size: int, device: torch.device) -> str:
    """Says that a step will not fit, where it will not; a CPU's process would be killed."""
    free = _free_memory(device)
    if free is None or size <= free:
        return ""
    return f"{units.memory(size)} do not fit into the {units.memory(free)} that are free"


def _free_memory(device: torch.device) -> int | None:
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    if device.type == "cpu" and platform.system() == "Linux":
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return None


def _run_rows(experiment: Experiment, timing: Timing | None) -> Iterator[str]:
    settings = experiment.settings
    rest = "; loading, samples and checkpoints come on top" if timing else ""
    images, source = _images(experiment)
    if settings.steps is not None or settings.images is not None or images is not None:
        steps = total_steps(experiment, images or 0)
        length = f"{steps:,} steps"
        if settings.steps is None and settings.images is not None:
            length += f": {settings.images:,} images"
        elif settings.steps is None:
            length += f": {settings.epochs:,} epochs of {images:,} images{source}"
    else:
        steps = total_steps(experiment, 1000)
        length = (
            f"{steps:,} steps for each 1,000 images ({settings.epochs:,} epochs; the images have not been counted yet)"
        )
    yield f"the run: {units.duration(steps * timing.seconds)}, {length}{rest}" if timing else f"the run: {length}"


def _images(experiment: Experiment) -> tuple[int | None, str]:
    """Returns the number of images of an epoch and where it is from; ``None`` where only the files would tell."""
    root = experiment.data.node.get("root")
    if root is None:
        return len(experiment.dataset), ""
    known = known_set(str(root.plain()))
    split = experiment.dataset.split
    counts = [known[1].counts.get(split + side) or 0 for side in ("", "A", "B")] if known else [0]
    if not known or not max(counts):
        return None, ""
    return max(counts), f", as {known[0]} was published"


def _row(name: str, value: str, about: str) -> str:
    return f"  {name:<13} {value:<13} {about}".rstrip()

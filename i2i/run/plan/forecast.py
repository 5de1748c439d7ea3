"""Arithmetic and memory of a training step, foretold by taking it on fake tensors: shapes without contents."""

import copy
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from i2i.core.meta import weight_bytes
from i2i.pipelines.base import Pipeline
from i2i.run.experiment import Experiment
from i2i.run.plan.ledger import Ledger
from i2i.run.plan.rehearsal import build, fill_pools, pools, random_batch
from i2i.training.updater import Updater

_FEW_PARTS = 2  # of an update; of more, each takes as much as the one before
_FEW_IMAGES = 4  # of a part, likewise
_MAX_WEIGHTS = 2**30  # bytes to allocate for a forecast alone


@dataclass(frozen=True)
class Forecast:
    """What a training step will take.

    Attributes:
        flops: Floating-point operations of convolutions and matrix products; a multiply-add is two.
        parts: Bytes of tensors at the moment when most are held, by what they are for.
        before: Bytes of tensors held before the first step.
    """

    flops: int
    parts: dict[str, int]
    before: int

    @property
    def peak(self) -> int:
        """The most bytes held."""
        return sum(self.parts.values())


def forecast(experiment: Experiment, device: torch.device) -> Forecast:
    """Foretells memory and arithmetic of a step, once optimizer states exist and image pools are full.

    Args:
        experiment: Its data set must fix the size of its images.
        device: Where the run will be. Nothing is allocated there.

    Raises:
        Exception: A network, loss or optimizer does not run without numbers; plugins may raise anything.
    """
    parts = experiment.settings.accumulate
    images = experiment.settings.batch_size // parts
    if parts > 2 * _FEW_PARTS:
        return _extrapolated(experiment, device, [_FEW_PARTS, 2 * _FEW_PARTS, parts], [images] * 3)
    if images > 2 * _FEW_IMAGES:
        return _extrapolated(experiment, device, [parts] * 3, [_FEW_IMAGES, 2 * _FEW_IMAGES, images])
    try:
        return _forecast(experiment, experiment.build_empty_pipeline(), device)
    except Exception:  # it needs weights with numbers
        if weight_bytes(*experiment.meta_networks.values()) > _MAX_WEIGHTS:
            raise
        return _forecast(experiment, experiment.build_pipeline(), device)


def _extrapolated(experiment: Experiment, device: torch.device, parts: list[int], images: list[int]) -> Forecast:
    """Returns the forecast of ``parts[-1]`` parts of ``images[-1]`` images, on the line through two smaller ones."""
    plans = []
    for count, size in zip(parts[:2], images[:2], strict=True):
        smaller = copy.copy(experiment)
        smaller.settings = replace(experiment.settings, accumulate=count, batch_size=count * size)
        plans.append(forecast(smaller, device))
    one, two = plans
    (x1, x2, x) = parts if parts[0] != parts[1] else images

    def beyond(first: int, second: int) -> int:
        return max(0, second + (second - first) * (x - x2) // (x2 - x1))

    kinds = {kind: beyond(one.parts.get(kind, 0), two.parts[kind]) for kind in two.parts}
    return Forecast(beyond(one.flops, two.flops), kinds, beyond(one.before, two.before))


def _forecast(experiment: Experiment, pipeline: Pipeline, device: torch.device) -> Forecast:
    with _quiet(), FakeTensorMode(allow_non_fake_inputs=True), Ledger(device.type) as ledger:
        _empty(pipeline, device)
        placed = copy.copy(experiment)
        placed.build_pipeline = lambda: pipeline  # type: ignore[method-assign]
        updater, batch = build(placed, device), random_batch(experiment)
        before = ledger.live
        for parameter in updater.pipeline.members.parameters():
            if parameter.requires_grad:
                parameter.register_post_accumulate_grad_hook(lambda p: ledger.mark(p.grad, "gradients"))
        updater.step(batch)
        missing = fill_pools(updater)
        _mark_lasting(ledger, updater, batch)  # pools replace images within the step
        ledger.restart()
        updater.step(batch)
        _mark_lasting(ledger, updater, batch)
    parts = dict(ledger.at_peak)
    if missing:
        parts["pool"] = parts.get("pool", 0) + missing
    return Forecast(ledger.flops, parts, before)


def _empty(pipeline: Pipeline, device: torch.device) -> None:
    """Puts fake tensors on the device in place of weights, and keeps the pipeline from being moved: they cannot be."""
    made: dict[Tensor, Tensor] = {}  # a tensor that two modules share stays one
    for module in pipeline.modules():
        own = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
        for name, tensor in own:
            if tensor not in made:
                fake = torch.empty_like(tensor, device=device, requires_grad=False)
                is_parameter = isinstance(tensor, nn.Parameter)
                made[tensor] = nn.Parameter(fake, tensor.requires_grad) if is_parameter else fake
            setattr(module, name, made[tensor])
    pipeline.to = lambda _: pipeline  # type: ignore[method-assign, assignment]


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps what torch says about fake tensors to itself; what fails is raised, too."""
    log = logging.getLogger("torch._subclasses.fake_tensor")
    level = log.level
    log.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)


def _mark_lasting(ledger: Ledger, updater: Updater, batch: dict[str, Tensor]) -> None:
    """Says which tensors are there in every step."""
    networks = updater.average.networks if updater.average else nn.Module()
    lasting = {
        "weights": [*updater.pipeline.parameters(), *updater.pipeline.buffers()],
        "average": [*networks.parameters(), *networks.buffers()],
        "optimizer": [t for o in updater.optimizers.values() for state in o.state.values() for t in state.values()],
        "pool": [image for pool in pools(updater) for image in pool.images],
        "batch": list(batch.values()),
    }
    for kind, tensors in lasting.items():
        for tensor in tensors:
            ledger.mark(tensor, kind)

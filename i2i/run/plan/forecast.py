"""Arithmetic and memory of a training step, foretold by taking it on fake tensors: shapes without contents."""

import copy
import logging
import platform
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
from i2i.run.plan.heap import Heap
from i2i.run.plan.ledger import Ledger
from i2i.run.plan.rehearsal import build, fill_pools, pools, random_batch
from i2i.training.updater import Updater

# What a process keeps after its first step beside tensors, with MALLOC_MMAP_THRESHOLD_=65536 so that no gaps count:
# 18 MiB of library pages (RssFile), 7 MiB not traced further. Two networks, torch 2.15, x86.
KERNELS = 25 * 2**20
_FEW_PARTS = 2  # of an update; of more, each takes as much as the one before
_MAX_WEIGHTS = 2**30  # bytes to allocate for a forecast alone


@dataclass(frozen=True)
class Forecast:
    """What a training step will take.

    Attributes:
        flops: Floating-point operations of convolutions and matrix products; a multiply-add is two.
        parts: Bytes at the moment when most are held, by what they are for.
        before: Bytes held before the first step.
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
    if experiment.settings.accumulate > 2 * _FEW_PARTS:
        return _many_parts(experiment, device)
    try:
        return _forecast(experiment, experiment.build_empty_pipeline(), device)
    except Exception:  # it needs weights with numbers
        if weight_bytes(*experiment.meta_networks.values()) > _MAX_WEIGHTS:
            raise
        return _forecast(experiment, experiment.build_pipeline(), device)


def _many_parts(experiment: Experiment, device: torch.device) -> Forecast:
    """Goes on from a step in few parts: each part more takes as much as the one before."""
    parts = experiment.settings.accumulate
    size = experiment.settings.batch_size // parts
    plans = []
    for few in (_FEW_PARTS, 2 * _FEW_PARTS):
        shorter = copy.copy(experiment)
        shorter.settings = replace(experiment.settings, accumulate=few, batch_size=few * size)
        plans.append(forecast(shorter, device))
    one, two = plans

    def beyond(first: int, second: int) -> int:
        return second + (second - first) * (parts - 2 * _FEW_PARTS) // _FEW_PARTS

    kinds = {kind: max(0, beyond(one.parts.get(kind, 0), two.parts[kind])) for kind in two.parts}
    return Forecast(beyond(one.flops, two.flops), kinds, beyond(one.before, two.before))


def _forecast(experiment: Experiment, pipeline: Pipeline, device: torch.device) -> Forecast:
    heap = Heap() if device.type == "cpu" and platform.libc_ver()[0] == "glibc" else None
    with _quiet(), FakeTensorMode(allow_non_fake_inputs=True), Ledger(device.type, heap) as ledger:
        _empty(pipeline, device)
        placed = copy.copy(experiment)
        placed.build_pipeline = lambda: pipeline  # type: ignore[method-assign]
        updater, batch = build(placed, device), random_batch(experiment)
        before = heap.resident if heap else ledger.live
        for parameter in updater.pipeline.members.parameters():
            if parameter.requires_grad:
                parameter.register_post_accumulate_grad_hook(lambda p: ledger.mark(p.grad, "gradients"))
        updater.take(batch)
        missing = fill_pools(updater)
        ledger.restart()
        updater.take(batch)
        _mark_lasting(ledger, updater, batch)
    parts = dict(ledger.at_peak)
    if missing:
        parts["pool"] = parts.get("pool", 0) + missing
    if heap:
        parts["heap"] = heap.peak - ledger.peak
    if device.type == "cpu":
        parts["kernels"] = KERNELS
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

"""One training step: gradients of every phase, and what keeps them sound, whatever the objective."""

import math
import zlib
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from i2i.errors import CheckpointError, I2IError
from i2i.pipelines.base import Batch, Phase, Pipeline, Shared, Terms
from i2i.training import distributed
from i2i.training.buffers import Snapshot
from i2i.training.ema import Average
from i2i.training.logs import Averages, say
from i2i.training.precision import Precision
from i2i.training.recompute import checkpoint_gradients
from i2i.training.schedules import Timeline
from i2i.training.settings import TrainerSettings

MAX_OVERFLOWS = 30  # halvings in a row take any scale of fp16 to nothing


class TrainingError(I2IError):
    """Training began and could not go on."""

    exit_code = 1


class Updater:
    """Takes the optimizer steps of a pipeline.

    Args:
        pipeline: On the device.
        optimizers: Name -> builds the optimizer of some parameters.
        timeline: The learning-rate schedule over the run.
        settings: The YAML's ``trainer``.
        device: Where the pipeline is.

    Attributes:
        step: Steps taken; decides learning rates and every random number.
        optimizers: By name; those that have nothing to train are left out.
        average: The moving average of the weights; ``None`` where there is none.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        optimizers: Mapping[str, Callable[[list[nn.Parameter]], torch.optim.Optimizer]],
        timeline: Timeline,
        settings: TrainerSettings,
        device: torch.device,
    ) -> None:
        self.pipeline, self.timeline, self.settings, self.device = pipeline, timeline, settings, device
        self.precision = Precision.pick(settings.precision, device)
        self.phases = pipeline.active_phases
        scaling = self.precision.name == "fp16"
        self.scalers = {phase.name: torch.amp.GradScaler(device.type, enabled=scaling) for phase in self.phases}
        self.optimizers = {name: build(ps) for name, build in optimizers.items() if (ps := self._optimized(name))}
        self.average = None if settings.ema is None else Average(pipeline, settings.ema)
        if settings.gradient_checkpointing:
            for letter in dict.fromkeys(letter for phase in self.phases for letter in phase.trains):
                checkpoint_gradients(pipeline.members[letter])
        self.step = 0
        self._skipped = 0  # updates left out in a row
        self._before_forward: dict[int, Snapshot] = {}  # by part, where it is computed again

    def _optimized(self, name: str) -> list[nn.Parameter]:
        letters = dict.fromkeys(letter for phase in self.phases if phase.optimizer == name for letter in phase.trains)
        return self._trainable(tuple(letters))

    def _trainable(self, letters: tuple[str, ...]) -> list[nn.Parameter]:
        """Returns the parameters of networks, without those that a network keeps fixed, such as a backbone's."""
        return [p for letter in letters for p in self.pipeline.members[letter].parameters() if p.requires_grad]

    def take(self, batch: Batch) -> dict[str, Tensor]:
        """Takes one step of every phase; returns the scalars to log.

        Raises:
            TrainingError: A loss or gradient is not finite and ``on_nan`` is ``stop``.
        """
        factor = self.timeline.factor(self.step)
        for optimizer in self.optimizers.values():
            for group in optimizer.param_groups:
                group["lr"] = group["initial_lr"] * factor
        parts = self._parts(batch)
        shared: list[Shared | None] = [None] * len(parts)
        self._before_forward.clear()
        scalars: dict[str, Tensor] = {}
        for phase in self.phases:
            scalars |= self.update(phase, parts, shared)
        distributed.broadcast_buffers(self.pipeline.members)
        if self.average:
            self.average.update(self.step)
        self.step += 1
        return scalars

    def update(self, phase: Phase, parts: list[Batch], shared: list[Shared | None]) -> dict[str, Tensor]:
        """Takes the optimizer step of a phase.

        Args:
            phase: Which.
            parts: The batch, in the parts that fit into memory.
            shared: What the phases share, for each part; filled here.

        Returns:
            The phase's losses and statistics; nothing where the update was left out.
        """
        optimizer, scaler = self.optimizers[phase.optimizer], self.scalers[phase.name]
        parameters = self._trainable(phase.trains)
        optimizer.zero_grad(set_to_none=True)
        before = Snapshot(self.pipeline.members)  # a forward writes into the running statistics
        averages = Averages()
        for index, part in enumerate(parts):
            seen = self._see(phase, index, part, shared)
            rng = self.seed(phase.name, index)
            with self.precision.autocast():
                terms: Terms = self.pipeline.loss(phase.name, part, seen, rng)
                total = terms.total() / len(parts)
            scaler.scale(total).backward(inputs=parameters)
            averages.add(terms.losses | terms.statistics)
        distributed.average_gradients(parameters)
        scaler.unscale_(optimizer)
        finite = self._is_finite(phase, averages, parameters, parts)
        # Outside autocast: stepping inside would leave stale casts of the weights in its cache.
        if finite:
            scaler.step(optimizer)
        scaler.update()
        if not finite:
            before.restore()
            return {}
        for index, part in enumerate(parts):
            self.pipeline.commit(phase.name, part, _detached(shared[index]), self.seed(phase.name, index))
        return averages.means()

    def _see(self, phase: Phase, index: int, part: Batch, shared: list[Shared | None]) -> Shared:
        """Returns what the phases share of a part, with its graph where the phase differentiates it.

        A whole batch keeps one graph for all phases. Of several parts only the values are kept, and a phase that needs
        the graph computes it again with the same random numbers and buffers: running statistics count images once.
        """
        kept = shared[index]
        if kept is None or (len(shared) > 1 and not phase.constant_shared):
            whole = len(shared) == 1 and any(not phase.constant_shared for phase in self.phases)
            needs_graph = whole or not phase.constant_shared
            with torch.set_grad_enabled(needs_graph), self.precision.autocast(), self._buffers_of(index):
                kept = self.pipeline(part, self.seed("forward", index))
            shared[index] = kept if len(shared) == 1 else _detached(kept)
        return _detached(kept) if phase.constant_shared else kept

    def _buffers_of(self, part: int) -> AbstractContextManager[None]:
        """The buffers that the shared forward of a part began with: now, or where it is computed again, then."""
        if part in self._before_forward:
            return self._before_forward[part].replayed()
        if self.settings.accumulate > 1:
            self._before_forward[part] = Snapshot(self.pipeline.members)
        return nullcontext()

    def seed(self, what: str, part: int = 0) -> torch.Generator:
        """Seeds every random number by what it is for: nothing needs to be saved to continue."""
        key = (self.settings.seed, self.step, distributed.rank(), part, what)
        seed = zlib.crc32(repr(key).encode()) + (self.step << 32)
        torch.manual_seed(seed)
        return torch.Generator().manual_seed(seed)

    def _parts(self, batch: Batch) -> list[Batch]:
        batch = {key: self.to_device(value) for key, value in batch.items()}
        count = self.settings.accumulate
        if count == 1:
            return [batch]
        size = len(next(iter(batch.values()))) // count
        return [{key: value[i * size : (i + 1) * size] for key, value in batch.items()} for i in range(count)]

    def to_device(self, value: Any) -> Any:
        return value.to(self.device, non_blocking=True) if isinstance(value, Tensor) else value

    def _is_finite(self, phase: Phase, averages: Averages, parameters: list[nn.Parameter], parts: list[Batch]) -> bool:
        """Tells whether the update may be taken, and clips it; ends the run where ``on_nan`` says so."""
        gradients = [p.grad for p in parameters if p.grad is not None]
        norm = nn.utils.get_total_norm(gradients)  # the same in all processes, which share their gradients
        if math.isfinite(float(norm)):
            self._skipped = 0
            if self.settings.clip_norm is not None:
                nn.utils.clip_grads_with_norm_(parameters, self.settings.clip_norm, norm)
            return True
        self._skipped += 1
        names = [name for name, value in averages.means().items() if not math.isfinite(float(value))]
        is_blamed = distributed.largest(len(names), self.device) > 0  # processes must decide alike
        if self.scalers[phase.name].is_enabled() and not is_blamed and self._skipped < MAX_OVERFLOWS:
            return False  # fp16 overflows now and then; the scale is lowered until it does not
        files = sorted({path for part in parts for key in ("a_path", "b_path") for path in part.get(key, [])})
        what = f"step {self.step + 1}: {', '.join(names) or f'the gradient of {phase.name}'} is not finite"
        if self.settings.on_nan == "stop":
            raise TrainingError(
                what,
                [
                    *(f"image: {file}" for file in files[:8]),
                    "the last checkpoint is unharmed: --resume auto continues it",
                    "trainer.on_nan=skip leaves such updates out; a lower optimizer.lr may avoid them",
                ],
            )
        if distributed.is_main():
            say(f"{what}; the update is left out")
        return False

    def state(self) -> dict[str, Any]:
        """Returns all that steps need to go on, as if they had never stopped."""
        return {
            "networks": self.pipeline.members.state_dict(),
            "pipeline": distributed.gathered(self.pipeline.own_state()),  # each process has its own image pool
            "optimizers": {name: optimizer.state_dict() for name, optimizer in self.optimizers.items()},
            "scalers": {name: scaler.state_dict() for name, scaler in self.scalers.items()},
            "ema": self.average.networks.state_dict() if self.average else {},
        }

    def load(self, state: dict[str, Any]) -> None:
        """Goes on from what :meth:`state` returned, and the ``step`` beside it.

        Raises:
            CheckpointError: The state is that of other networks.
        """
        try:
            self._load(state)
        except (KeyError, RuntimeError, TypeError, ValueError) as error:
            reason = " ".join(str(error).split())
            raise CheckpointError(f"the checkpoint does not fit the networks: {reason}") from error

    def _load(self, state: dict[str, Any]) -> None:
        self.pipeline.members.load_state_dict(state["networks"])
        own = state["pipeline"]
        self.pipeline.load_own_state(own[distributed.rank() % len(own)], self.device)
        for name, optimizer in self.optimizers.items():
            rates = [group["initial_lr"] for group in optimizer.param_groups]
            optimizer.load_state_dict(state["optimizers"][name])
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["initial_lr"] = rate
        for name, scaler in self.scalers.items():
            scaler.load_state_dict(state["scalers"][name])
        if self.average:
            self.average.networks.load_state_dict(state["ema"])
        self.step = state["step"]


def _detached(shared: Shared | None) -> Shared:
    return {name: tensor.detach() for name, tensor in (shared or {}).items()}

"""One training step: gradients of every phase, and what keeps them sound, whatever the objective."""

import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from i2i.core.errors import CheckpointError
from i2i.core.progress import say
from i2i.pipelines.base import Batch, Phase, Pipeline, Shared, Terms
from i2i.training import distributed
from i2i.training.buffers import Snapshot
from i2i.training.compilation import Compilation
from i2i.training.ema import Average
from i2i.training.logs.run_log import Averages
from i2i.training.precision import Precision
from i2i.training.recompute import checkpoint_gradients
from i2i.training.schedules import Timeline
from i2i.training.settings import TrainerSettings
from i2i.training.verdicts import Flag, NotFinite, Verdict, judge, share_gradients

MAX_OVERFLOWS = 30  # halvings in a row take any scale of fp16 to nothing
_OWN_OPTIONS = ("initial_lr", "fused", "foreach", "capturable")  # of optimizers: this run's, whatever a checkpoint says


@dataclass(frozen=True)
class _Update:
    """An update with its verdict, and what the phases shared of each part."""

    verdict: Verdict
    shared: list[Shared]


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
        left_out: Updates that were not taken because something was not finite.
        detour: How often the run has left its course; decides every random number, too.
        compilation: Of the networks; ``None`` where they run as they are.
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
        self.precision = Precision.pick(settings.precision, device, pipeline.members.values())
        if device.type == "cuda":  # a CPU brings weights into an order of its own anyway
            pipeline.members.to(memory_format=self.precision.memory_format)
        self.phases = pipeline.active_phases
        scaling = self.precision.name == "fp16"
        self.scalers = {phase.name: torch.amp.GradScaler(device.type, enabled=scaling) for phase in self.phases}
        self.optimizers = {name: build(ps) for name, build in optimizers.items() if (ps := self._optimized(name))}
        self.average = None if settings.ema is None else Average(pipeline, settings.ema)
        if settings.gradient_checkpointing:
            for letter in dict.fromkeys(letter for phase in self.phases for letter in phase.trains):
                checkpoint_gradients(pipeline.members[letter])
        self.compilation: Compilation | None = None
        self.step = self.left_out = self.detour = 0
        self._overflows: Counter[str] = Counter()  # by phase: updates left out in a row
        self._open: dict[str, _Update] = {}  # by phase: those whose verdict is not read yet
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
            NotFinite: A loss or gradient of this step, or where the device is ahead of the last, is not finite, and
                ``on_nan`` is not ``skip``.
        """
        with self.precision.kernels(), self.compilation.running() if self.compilation else nullcontext():
            return self._take(batch)

    def _take(self, batch: Batch) -> dict[str, Tensor]:
        self.settle(phase.name for phase in self.phases if not self._commits_late(phase))
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
        self.settle([phase.name])
        optimizer, scaler = self.optimizers[phase.optimizer], self.scalers[phase.name]
        parameters = self._trainable(phase.trains)
        optimizer.zero_grad(set_to_none=True)
        before = Snapshot(self.pipeline.members)  # a forward writes into the running statistics
        averages, totals = Averages(), []
        for index, part in enumerate(parts):
            for terms in self._terms(phase, index, part, shared):
                total = terms.total() / len(parts)
                scaler.scale(total).backward(inputs=parameters)
                totals.append(total.detach())
                averages.add(terms.losses | terms.statistics)
        self.precision.release()
        loss = share_gradients(parameters, torch.stack(totals).sum())
        scaler.unscale_(optimizer)
        norm, is_broken = judge(parameters, loss)
        if self.settings.clip_norm is not None:
            nn.utils.clip_grads_with_norm_(parameters, self.settings.clip_norm, norm)
        means = averages.means()
        verdict = Verdict(self.step + 1, phase.name, Flag(is_broken), means, parts)
        update = _Update(verdict, [_detached(one) for one in shared])
        # Outside autocast: stepping inside would leave stale casts of the weights in its cache.
        if self._runs_ahead(optimizer):
            optimizer.found_inf = is_broken  # type: ignore[attr-defined]  # its kernel leaves the update out
            optimizer.step()
            before.restore_where(is_broken)
            self._open[phase.name] = update
            return means
        is_sound = not verdict.is_broken.is_set()
        if is_sound:
            scaler.step(optimizer)
        scaler.update()
        if not is_sound:
            before.restore()
        self._close(update)
        return means if is_sound else {}

    def _terms(self, phase: Phase, index: int, part: Batch, shared: list[Shared | None]) -> Iterator[Terms]:
        """Yields the losses of a part of the batch, in sums to be differentiated one after the other.

        Exact arithmetic sums up all of them, as the reference code does: the order of sums decides the last bit.
        """
        apart, others = self._aside(phase, index, part), list[Terms]()
        if not self.precision.is_exact:
            for terms in apart:
                if any(loss.requires_grad for loss in terms.losses.values()):
                    yield terms
                else:  # those of a frozen network
                    others.append(terms)
        seen = self._see(phase, index, part, shared)
        others += apart
        rng = self.seed(phase.name, index)
        with self.precision.autocast():
            rest: Terms = self.pipeline.loss(phase.name, part, seen, rng)
        yield Terms.joined([*others, rest])

    def _aside(self, phase: Phase, index: int, part: Batch) -> Iterator[Terms]:
        """Yields the losses that take nothing of what is shared; autocast ends before each is given away."""
        rng = self.seed(f"{phase.name} aside", index)
        with self.precision.autocast():
            computing = self.pipeline.aside(phase.name, part, rng)
        while True:
            with self.precision.autocast():
                terms = next(computing, None)
            if terms is None:
                return
            yield terms

    def _runs_ahead(self, optimizer: torch.optim.Optimizer) -> bool:
        """Whether the host goes on before it knows the verdict: a GPU then never waits for it."""
        can_skip = isinstance(optimizer, torch.optim.Adam) and optimizer.param_groups[0].get("fused")  # AdamW is one
        return bool(can_skip) and self.device.type == "cuda" and self.precision.name != "fp16"

    def _commits_late(self, phase: Phase) -> bool:
        """Whether nothing asks for what the last update of a phase commits until the phase comes again."""
        return phase.late_commit or type(self.pipeline).commit is Pipeline.commit

    def settle(self, phases: Iterable[str] | None = None) -> None:
        """Reads the verdicts that are still open, of some phases or all, and does what their updates left to do.

        Raises:
            NotFinite: As :meth:`take`.
        """
        for name in list(self._open) if phases is None else phases:
            update = self._open.pop(name, None)
            if update is not None:
                self._close(update)

    def _close(self, update: _Update) -> None:
        """Does what is left to do of an update: lets the pipeline change its state, or tells what is wrong."""
        phase, step = update.verdict.phase, update.verdict.step - 1
        if update.verdict.is_broken.is_set():
            self._leave_out(update.verdict)
            return
        self._overflows[phase] = 0
        for index, (part, shared) in enumerate(zip(update.verdict.batches, update.shared, strict=True)):
            self.pipeline.commit(phase, part, shared, self.seed(phase, index, step))

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

    def seed(self, what: str, part: int = 0, step: int | None = None) -> torch.Generator:
        """Seeds every random number by what it is for: nothing needs to be saved to continue."""
        step = self.step if step is None else step
        key = (self.base_seed, step, distributed.rank(), part, what)
        seed = zlib.crc32(repr(key).encode()) + (step << 32)
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
        if not isinstance(value, Tensor):
            return value
        memory_format = self.precision.memory_format if value.ndim == 4 else torch.preserve_format
        return value.to(self.device, non_blocking=True, memory_format=memory_format)

    @property
    def base_seed(self) -> int:
        """The run's seed; another one after each detour."""
        seed = self.settings.seed
        return zlib.crc32(f"{seed} detour {self.detour}".encode()) if self.detour else seed

    def _leave_out(self, verdict: Verdict) -> None:
        """Tells what is wrong with an update that is not taken; ends the run where ``on_nan`` says so."""
        self._overflows[verdict.phase] += 1
        blame = verdict.blame()
        is_scaled = self.scalers[verdict.phase].is_enabled()
        if is_scaled and not blame.losses and self._overflows[verdict.phase] < MAX_OVERFLOWS:
            return  # fp16 overflows now and then; the scale is lowered until it does not
        if self.settings.on_nan != "skip":
            self._open.clear()
            raise NotFinite(str(blame), blame.images)
        self.left_out += 1
        if distributed.is_main():
            say(f"{blame}; the update is left out", *(f"    {image}" for image in blame.images))

    def state(self) -> dict[str, Any]:
        """Returns all that steps need to go on, as if they had never stopped.

        Raises:
            NotFinite: As :meth:`take`.
        """
        self.settle()
        return {
            "networks": self.pipeline.members.state_dict(),
            "pipeline": distributed.gathered(self.pipeline.own_state()),  # each process has its own image pool
            "optimizers": {name: optimizer.state_dict() for name, optimizer in self.optimizers.items()},
            "scalers": {name: scaler.state_dict() for name, scaler in self.scalers.items()},
            "ema": self.average.networks.state_dict() if self.average else {},
            "detour": self.detour,
            "left_out": self.left_out,
        }

    def load(self, state: dict[str, Any]) -> None:
        """Goes on from what :meth:`state` returned, and the ``step`` beside it.

        Raises:
            CheckpointError: The state is that of other networks.
        """
        try:
            self._load(state)
        except Exception as error:  # a file may hold anything in the place of anything
            reason = " ".join(str(error).split())
            raise CheckpointError(f"the checkpoint does not fit the networks: {reason}") from error

    def _load(self, state: dict[str, Any]) -> None:
        for name, value in self.pipeline.members.state_dict().items():
            if name in state["networks"] and state["networks"][name].dtype != value.dtype:
                raise TypeError(f"{name} is {state['networks'][name].dtype}, not {value.dtype}")
        self.pipeline.members.load_state_dict(state["networks"])
        own = state["pipeline"]
        self.pipeline.load_own_state(own[distributed.rank() % len(own)], self.device)
        for name, optimizer in self.optimizers.items():
            saved = state["optimizers"][name]
            groups = [
                {**own, **group, **{key: own[key] for key in _OWN_OPTIONS if key in own}}
                for group, own in zip(saved["param_groups"], optimizer.param_groups, strict=True)
            ]
            optimizer.load_state_dict({**saved, "param_groups": groups})
            for parameter, values in optimizer.state.items():
                for key, value in values.items():
                    is_moment = torch.is_tensor(value) and value.shape == parameter.shape
                    if is_moment and value.stride() != parameter.stride():
                        # Fused kernels go through memory, and take its order for that of the weights.
                        values[key] = torch.empty_like(parameter).copy_(value)
        for name, scaler in self.scalers.items():
            scaler.load_state_dict(state["scalers"][name])
        if self.average:
            self.average.networks.load_state_dict(state["ema"])
        self.step = state["step"]
        self.detour, self.left_out = state.get("detour", 0), state.get("left_out", 0)  # absent in checkpoints of 0.1.0
        self._open.clear()


def _detached(shared: Shared | None) -> Shared:
    return {name: tensor.detach() for name, tensor in (shared or {}).items()}

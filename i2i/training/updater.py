"""One training step: gradients of every phase, and what keeps them sound, whatever the objective."""

import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from i2i.core.errors import CheckpointError, one_line
from i2i.core.progress import say
from i2i.pipelines.base import Batch, Now, Phase, Pipeline, Terms, each_of
from i2i.training import distributed
from i2i.training.buffers import Snapshot
from i2i.training.compilation import Compilation
from i2i.training.ema import Average
from i2i.training.kept import merged
from i2i.training.logs.run_log import Averages
from i2i.training.precision import Precision
from i2i.training.recompute import checkpoint_gradients
from i2i.training.schedules import Timeline
from i2i.training.settings import TrainerSettings
from i2i.training.shared import LazyMapping, SharedForward
from i2i.training.verdicts import NotFinite, Verdict, judge, share_gradients

MAX_OVERFLOWS = 30  # halvings in a row take any scale of fp16 to nothing
_OWN_OPTIONS = ("initial_lr", "fused", "foreach", "capturable")  # of optimizers: this run's, whatever a checkpoint says


class Updater:
    """Takes the steps of a pipeline.

    Args:
        pipeline: On the device.
        optimizers: Role -> builds the optimizer of some parameters.
        timeline: Learning rates and images over the run.
        settings: The YAML's ``trainer``.
        device: Where the pipeline is.

    Attributes:
        num_steps: Steps taken. Decides learning rates and every random number.
        optimizers: By role; those that have nothing to train are left out.
        average: The moving average of the weights; ``None`` where there is none.
        left_out: Updates that were not taken because something was not finite.
        num_rollbacks: Rollbacks so far. Part of every random seed, so that the retry sees other images.
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
        self._corrections = {name: self._corrected(name) for name in self.optimizers}
        decay = settings.decay
        self.average = None if decay is None else Average(pipeline, decay)
        if settings.gradient_checkpointing:
            for letter in pipeline.trained:
                checkpoint_gradients(pipeline.members[letter])
        self.compilation: Compilation | None = None
        self.num_steps = self.left_out = self.num_rollbacks = 0
        self._overflows: Counter[str] = Counter()  # by phase: updates left out in a row
        self._before_forward: dict[int, Snapshot] = {}  # by part, where it is computed again

    # -- a step --------------------------------------------------------------------------------------------------------

    def step(self, batch: Batch) -> dict[str, Tensor]:
        """Takes one step of every phase whose turn it is.

        Returns:
            The losses and statistics to log; nothing of an update that was left out.

        Raises:
            NotFinite: A loss or gradient is not finite, and ``on_nan`` is not ``skip``.
        """
        self._begin()
        parts = self._parts(batch)
        forwards = [
            SharedForward(partial(self._forward, index, part), is_kept=len(parts) == 1)
            for index, part in enumerate(parts)
        ]
        due = [phase for phase in self.phases if self.num_steps % phase.every == 0]
        scalars: dict[str, Tensor] = {}
        taken: list[tuple[Verdict, list[dict[str, Tensor]]]] = []  # with what each is to keep
        for number, phase in enumerate(due):
            differentiates = any(not later.constant_shared for later in due[number + 1 :])
            # Gradients
            optimizer, parameters = self.optimizers[phase.optimizer], self._trainable(phase.trains)
            optimizer.zero_grad(set_to_none=True)
            before = Snapshot(self.pipeline.members)  # a forward writes into the running statistics
            averages, totals, keep = Averages(), [], [dict[str, Tensor]() for _ in parts]
            with self._arithmetic(phase):
                for index, part in enumerate(parts):
                    shared = LazyMapping(partial(self._shared, forwards[index], phase, differentiates))
                    for terms in self._terms(phase, index, part, shared):
                        averages.add(terms.losses | terms.statistics)
                        keep[index] |= terms.keep
                        if not terms.losses:
                            continue
                        total = terms.total() * phase.every / len(parts)
                        if total.requires_grad:  # not so where all it looks at is frozen
                            self.scalers[phase.name].scale(total).backward(inputs=parameters)
                        totals.append(total.detach())
            self.precision.release()
            # Update
            loss = share_gradients(parameters, torch.stack(totals).sum())
            is_broken = self._finish_gradients(phase, optimizer, parameters, loss)
            verdict = Verdict(self.num_steps + 1, phase.name, is_broken, averages.means(), parts)
            if self._take(phase, optimizer, verdict, before):
                taken.append((verdict, keep))
                scalars |= verdict.losses
        # Commit
        for verdict, keep in self._checked(taken):
            with torch.no_grad():
                self.pipeline.commit(verdict.phase, merged(keep, self.pipeline.averaged_state))
        distributed.broadcast_buffers(self.pipeline.members)
        # Average
        if self.average:
            moment = self.timeline.at(self.num_steps)
            self.average.update(self.num_steps, moment.images, moment.stage.batch_size)
        self.num_steps += 1
        return scalars

    def _begin(self) -> None:
        """Sets learning rates, and forgets moments where a stage begins that asks for it."""
        stage = self.timeline.at(self.num_steps)
        factor = self.timeline.factor(self.num_steps) * stage.stage.lr_factor
        for name, optimizer in self.optimizers.items():
            if stage.is_first and stage.stage.resets_optimizers and self.num_steps:
                optimizer.state.clear()
            for group in optimizer.param_groups:
                group["lr"] = group["initial_lr"] * factor * self._corrections[name]
        self._before_forward.clear()

    def _shared(self, forward: SharedForward, phase: Phase, differentiates: bool) -> Mapping[str, Tensor]:
        """Returns what the phases share, in float32 for one that has no autocast: weights and inputs must agree."""
        shared = forward.for_phase(phase.constant_shared, differentiates)
        if not phase.second_order:
            return shared
        return {key: x.float() if x.dtype in (torch.bfloat16, torch.float16) else x for key, x in shared.items()}

    def _terms(self, phase: Phase, index: int, part: Batch, shared: LazyMapping) -> Iterator[Terms]:
        """Yields the losses of a part of the batch, in sums to be differentiated one after the other.

        Exact arithmetic takes the shared forward first and sums all losses, as the reference code does: the order of
        gradients and sums decides the last bit. Losses that may use the graph of the shared forward are summed anyway:
        it is differentiated once.
        """
        if self.precision.is_exact and type(self.pipeline).forward is not Pipeline.forward:
            shared.read()
        now = self.now(_leading(part, phase.part), phase.name, index)
        autocast = nullcontext if phase.second_order else self.precision.autocast
        with autocast():
            computing = each_of(self.pipeline.loss(phase.name, now, shared), phase.name)
        together: list[Terms] = []
        while True:
            with autocast():
                terms = next(computing, None)
            if terms is None:
                break
            may_share = shared.is_read and not phase.constant_shared
            has_graph = any(loss.requires_grad for loss in terms.losses.values())
            if has_graph and not may_share and not self.precision.is_exact:
                yield terms
            else:
                together.append(terms)
        if together:
            yield Terms.joined(together)

    def _forward(self, index: int, part: Batch, needs_graph: bool) -> dict[str, Tensor]:
        """Computes what the phases share of a part, with random numbers of its own."""
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices), torch.set_grad_enabled(needs_graph), self._buffers_of(index):
            now = self.now(part, "forward", index)
            with self.precision.autocast():
                return dict(self.pipeline(now))

    def _buffers_of(self, part: int) -> AbstractContextManager[None]:
        """The buffers that the shared forward of a part began with: now or, where it is computed again, then.

        Running statistics so count images once.
        """
        if part in self._before_forward:
            return self._before_forward[part].replayed()
        if self.settings.accumulate > 1 or sum(not phase.constant_shared for phase in self.phases) > 1:
            self._before_forward[part] = Snapshot(self.pipeline.members)
        return nullcontext()

    def _arithmetic(self, phase: Phase) -> ExitStack:
        """The kernels and the compiled code of a phase."""
        stack = ExitStack()
        stack.enter_context(self.precision.kernels())
        if self.compilation and not phase.second_order:  # compiled code has no second derivatives
            stack.enter_context(self.compilation.running())
        return stack

    def _finish_gradients(
        self, phase: Phase, optimizer: torch.optim.Optimizer, parameters: list[nn.Parameter], loss: Tensor
    ) -> Tensor:
        """Unscales and clips gradients; returns 1 where something is not finite, else 0."""
        self.scalers[phase.name].unscale_(optimizer)
        norm, is_broken = judge(parameters, loss)
        if self.settings.clip_norm is not None:
            nn.utils.clip_grads_with_norm_(parameters, self.settings.clip_norm, norm)
        return is_broken

    def _take(self, phase: Phase, optimizer: torch.optim.Optimizer, verdict: Verdict, before: Snapshot) -> bool:
        """Steps the optimizer unless the update is broken; returns whether it was, or may have been, taken.

        Outside of autocast: stepping inside would leave stale casts of the weights in its cache.
        """
        scaler = self.scalers[phase.name]
        if self._runs_ahead(optimizer):
            optimizer.found_inf = verdict.is_broken  # type: ignore[attr-defined]  # its kernel leaves the update out
            optimizer.step()
            before.restore_where(verdict.is_broken)
            return True
        is_sound = not bool(verdict.is_broken)
        if is_sound:
            scaler.step(optimizer)
            self._overflows[phase.name] = 0
        scaler.update()
        if not is_sound:
            before.restore()
            self._leave_out(verdict)
        return is_sound

    def _runs_ahead(self, optimizer: torch.optim.Optimizer) -> bool:
        """Returns whether the host goes on before it knows if the update is broken: a GPU then does not wait."""
        can_skip = isinstance(optimizer, torch.optim.Adam) and optimizer.param_groups[0].get("fused")  # AdamW is one
        return bool(can_skip) and self.device.type == "cuda" and self.precision.name != "fp16"

    def _checked(self, taken: Sequence[tuple[Verdict, Any]]) -> Iterator[tuple[Verdict, Any]]:
        """Yields the updates that were taken; of those that ran ahead, reads all flags at once."""
        if not taken:
            return
        flags = torch.stack([verdict.is_broken.reshape(()) for verdict, _ in taken]).tolist()
        for (verdict, kept), is_broken in zip(taken, flags, strict=True):
            if is_broken:
                self._leave_out(verdict)
            else:
                self._overflows[verdict.phase] = 0
                yield verdict, kept

    def _leave_out(self, verdict: Verdict) -> None:
        """Says what is wrong with an update that is not taken; ends the run where ``on_nan`` says so."""
        self._overflows[verdict.phase] += 1
        blame = verdict.blame()
        is_scaled = self.scalers[verdict.phase].is_enabled()
        if is_scaled and not blame.losses and self._overflows[verdict.phase] < MAX_OVERFLOWS:
            return  # fp16 overflows now and then; the scale is lowered until it does not
        if self.settings.on_nan != "skip":
            raise NotFinite(str(blame), blame.images)
        self.left_out += 1
        if distributed.is_main():
            say(f"{blame}; the update is left out", *(f"    {image}" for image in blame.images))

    # -- parts, devices, random numbers --------------------------------------------------------------------------------

    def now(self, batch: Batch, purpose: str, part: int = 0) -> Now:
        """Returns the step at hand, for a part of its batch; global random states are seeded for the purpose."""
        images = self.timeline.at(self.num_steps).images
        return Now(batch, self.seed(purpose, part), self.num_steps, images, self.num_steps / self.timeline.steps)

    def seed(self, purpose: str, part: int = 0) -> torch.Generator:
        """Seeds every random number by its purpose: nothing needs to be saved to continue."""
        key = (self.base_seed, self.num_steps, distributed.rank(), part, purpose)
        seed = zlib.crc32(repr(key).encode()) + (self.num_steps << 32)
        torch.manual_seed(seed)
        return torch.Generator().manual_seed(seed)

    @property
    def base_seed(self) -> int:
        """The run's seed; another one after each rollback."""
        seed, count = self.settings.seed, self.num_rollbacks
        return zlib.crc32(f"{seed} detour {count}".encode()) if count else seed

    def _parts(self, batch: Batch) -> list[Batch]:
        batch = {key: self.to_device(value) for key, value in batch.items()}
        count = self.settings.accumulate
        if count == 1:
            return [batch]
        size = len(next(iter(batch.values()))) // count
        return [{key: value[i * size : (i + 1) * size] for key, value in batch.items()} for i in range(count)]

    def to_device(self, value: Any) -> Any:
        """Moves a tensor to the device; returns anything else as it is."""
        if not isinstance(value, Tensor):
            return value
        memory_format = self.precision.memory_format if value.ndim == 4 else torch.preserve_format
        return value.to(self.device, non_blocking=True, memory_format=memory_format)

    def _optimized(self, name: str) -> list[nn.Parameter]:
        letters = dict.fromkeys(letter for phase in self.phases if phase.optimizer == name for letter in phase.trains)
        return self._trainable(tuple(letters))

    def _trainable(self, letters: tuple[str, ...]) -> list[nn.Parameter]:
        """Returns the parameters of networks, each once, without those that are kept fixed, such as a backbone's."""
        found = [p for letter in letters for p in self.pipeline.members[letter].parameters() if p.requires_grad]
        return list(dict.fromkeys(found))  # networks may share weights

    def _corrected(self, name: str) -> float:
        """Corrects the betas of an optimizer for its lazy phases; returns the factor of its learning rate.

        StyleGAN2 (arXiv:1912.04958), appendix B: c = k / (k + 1) for a phase that is taken every k steps.
        """
        correction = 1.0
        for phase in self.phases:
            if phase.optimizer == name and phase.every > 1:
                correction *= phase.every / (phase.every + 1)
        for group in self.optimizers[name].param_groups if correction != 1 else ():
            if "betas" in group:
                group["betas"] = tuple(beta**correction for beta in group["betas"])
        return correction

    # -- state ---------------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Returns all that steps need to go on, as if they had never stopped."""
        return {
            "networks": self.pipeline.members.state_dict(),
            "pipeline": distributed.gathered(self.pipeline.own_state()),  # each process has its own image pool
            "optimizers": {name: optimizer.state_dict() for name, optimizer in self.optimizers.items()},
            "scalers": {name: scaler.state_dict() for name, scaler in self.scalers.items()},
            "ema": self.average.networks.state_dict() if self.average else {},
            "detour": self.num_rollbacks,
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
            raise CheckpointError(f"the checkpoint does not fit the networks: {one_line(error)}") from error

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
        self.num_steps = state["step"]
        self.num_rollbacks = state.get("detour", 0)  # absent in early checkpoints of 0.1.0, as is left_out
        self.left_out = state.get("left_out", 0)


def _leading(part: Batch, share: float) -> Batch:
    """Returns the leading share of a batch, at least one image."""
    if share == 1:
        return part
    count = max(1, int(share * len(next(iter(part.values())))))
    return {key: value[:count] for key, value in part.items()}

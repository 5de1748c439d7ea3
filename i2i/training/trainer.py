"""The training loop: everything about a step that is not the objective."""

import math
import signal
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from i2i.errors import CheckpointError, I2IError
from i2i.pipelines.base import Batch, Phase, Pipeline, Shared, Terms
from i2i.pipelines.policy import translating
from i2i.signals import StopRequest
from i2i.training import distributed
from i2i.training.checkpoints import Checkpoints
from i2i.training.logs import Averages, RunLog, say
from i2i.training.precision import Precision, deterministic_algorithms
from i2i.training.schedules import Timeline
from i2i.training.settings import TrainerSettings
from i2i.training.stream import BatchStream, SeededDataset, build_loader

MAX_OVERFLOWS = 30  # halvings in a row take any scale of fp16 to nothing


class TrainingError(I2IError):
    """Training began and could not go on."""

    exit_code = 1


class Trainer:
    """Trains a pipeline.

    Args:
        pipeline: On the CPU; moved to the device here.
        dataset: The data set with its seeds.
        optimizers: Name -> builds the optimizer of some parameters.
        timeline: The learning-rate schedule over this run.
        settings: The YAML's ``trainer``.
        steps: The run's length.
        workers: Loader processes.
        device: Where to train.
        folder: The run folder.
        config: Written into checkpoints.
        save_model: Writes the bundle at a step.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        dataset: SeededDataset,
        optimizers: dict[str, Callable[[list[nn.Parameter]], torch.optim.Optimizer]],
        timeline: Timeline,
        settings: TrainerSettings,
        steps: int,
        workers: int,
        device: torch.device,
        folder: Path,
        config: dict[str, Any],
        save_model: Callable[[Path, Pipeline, int], None],
    ) -> None:
        self.pipeline = pipeline.to(device)
        self.dataset, self.timeline, self.settings = dataset, timeline, settings
        self.steps, self.workers, self.device = steps, workers, device
        self.folder, self.config, self.save_model = folder, config, save_model
        self.precision = Precision.pick(settings.precision, device)
        scaling = self.precision.name == "fp16"
        self.scalers = {phase.name: torch.amp.GradScaler(device.type, enabled=scaling) for phase in pipeline.phases}
        self.optimizers = {name: build(self._optimized(name)) for name, build in optimizers.items()}
        self.checkpoints = Checkpoints(folder / "checkpoints", settings.keep_checkpoints)
        self.step = 0
        self._skipped = 0  # updates left out in a row
        self._save_failed = False

    def _optimized(self, name: str) -> list[nn.Parameter]:
        letters = dict.fromkeys(letter for p in self.pipeline.phases if p.optimizer == name for letter in p.trains)
        return self._trainable(tuple(letters))

    def _trainable(self, letters: tuple[str, ...]) -> list[nn.Parameter]:
        """Returns the parameters of networks, without those that a network keeps fixed, such as a backbone's."""
        return [p for letter in letters for p in self.pipeline.members[letter].parameters() if p.requires_grad]

    # -- the loop ------------------------------------------------------------------------------------------------------

    def fit(self) -> int:
        """Trains to the last step, or until a signal.

        Returns:
            0 when done, 128 + the signal's number when stopped by one.

        Raises:
            TrainingError: A loss or gradient is not finite and ``on_nan`` is ``stop``.
        """
        with deterministic_algorithms(self.settings.deterministic):
            try:
                return self._fit()
            except torch.OutOfMemoryError as error:
                raise TrainingError(
                    f"step {self.step + 1}: the memory of {self.device} does not suffice",
                    ["smaller: trainer.batch_size, data.crop_size", "in parts: trainer.accumulate=2"],
                ) from error

    def _fit(self) -> int:
        distributed.broadcast_weights(self.pipeline)
        log = RunLog(self.folder, self.step, self.steps) if distributed.is_main() else None
        averages, meter = Averages(), _Meter(self.step)
        self.pipeline.train()
        with StopRequest() as stop:
            try:
                for batch in self._batches(meter):
                    averages.add(self._train_step(batch))
                    self.step += 1
                    self._record(log, averages, meter)
                    if self._stopping(stop):
                        break
            finally:
                if log:
                    log.close()
        if self._save_failed:
            return 1
        # A process that received no signal itself stops with those that did.
        return 0 if self.step == self.steps else stop.exit_code or 128 + signal.SIGTERM

    def _batches(self, meter: "_Meter") -> Iterator[Batch]:
        stream = BatchStream(
            len(self.dataset),
            self.settings.batch_size,
            self.settings.seed,
            self.step,
            self.steps,
            distributed.rank(),
            distributed.world_size(),
        )
        loader = iter(build_loader(self.dataset, stream, self.workers, pin_memory=self.device.type == "cuda"))
        while True:
            started = time.perf_counter()
            batch = next(loader, None)
            if batch is None:
                return
            meter.waited += time.perf_counter() - started
            if isinstance(batch, I2IError):
                raise TrainingError(f"step {self.step + 1}: {batch.message}", batch.hints)
            yield batch

    def _train_step(self, batch: Batch) -> dict[str, Tensor]:
        """Takes one step of every phase; returns the scalars to log."""
        factor = self.timeline.factor(self.step)
        for optimizer in self.optimizers.values():
            for group in optimizer.param_groups:
                group["lr"] = group["initial_lr"] * factor
        parts = self._parts(batch)
        shared: list[Shared | None] = [None] * len(parts)
        buffers = [(buffer, buffer.clone()) for buffer in self.pipeline.members.buffers()]
        scalars: dict[str, Tensor] = {}
        for phase in self.pipeline.phases:
            scalars |= self.update(phase, parts, shared, buffers)
        return scalars

    def update(
        self,
        phase: Phase,
        parts: list[Batch],
        shared: list[Shared | None],
        buffers: list[tuple[Tensor, Tensor]] | None = None,
    ) -> dict[str, Tensor]:
        """Takes the optimizer step of a phase.

        Args:
            phase: Which.
            parts: The batch, in the parts that fit into memory.
            shared: What the phases share, for each part; filled here.
            buffers: The networks' buffers and their values before the step, restored where the update is left out: a
                forward has written into the running statistics by then.

        Returns:
            The phase's losses and statistics; nothing where the update was left out.
        """
        optimizer, scaler = self.optimizers[phase.optimizer], self.scalers[phase.name]
        parameters = self._trainable(phase.trains)
        optimizer.zero_grad(set_to_none=True)
        averages = Averages()
        for index, part in enumerate(parts):
            seen = self._see(phase, index, part, shared)
            rng = self._seed(phase.name, index)
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
            for buffer, before in buffers or ():
                buffer.copy_(before)
            return {}
        for index, part in enumerate(parts):
            self.pipeline.commit(phase.name, part, _detached(shared[index]), self._seed(phase.name, index))
        return averages.means()

    def _see(self, phase: Phase, index: int, part: Batch, shared: list[Shared | None]) -> Shared:
        """Returns what the phases share of a part, with its graph where the phase differentiates it.

        A whole batch keeps one graph for all phases. Of several parts only the values are kept, and a phase that needs
        the graph computes it again with the same random numbers.
        """
        kept = shared[index]
        if kept is None or (len(shared) > 1 and not phase.constant_shared):
            needs_graph = len(shared) == 1 or not phase.constant_shared
            with torch.set_grad_enabled(needs_graph), self.precision.autocast():
                kept = self.pipeline(part, self._seed("forward", index))
            shared[index] = kept if len(shared) == 1 else _detached(kept)
        return _detached(kept) if phase.constant_shared else kept

    def _seed(self, phase: str, part: int) -> torch.Generator:
        """Seeds every random number of a phase by what it is for: nothing needs to be saved to continue."""
        key = (self.settings.seed, self.step, distributed.rank(), part, phase)
        seed = zlib.crc32(repr(key).encode()) + (self.step << 32)
        torch.manual_seed(seed)
        return torch.Generator().manual_seed(seed)

    def _parts(self, batch: Batch) -> list[Batch]:
        batch = {key: self._to_device(value) for key, value in batch.items()}
        count = self.settings.accumulate
        if count == 1:
            return [batch]
        size = len(next(iter(batch.values()))) // count
        return [{key: value[i * size : (i + 1) * size] for key, value in batch.items()} for i in range(count)]

    def _to_device(self, value: Any) -> Any:
        return value.to(self.device, non_blocking=True) if isinstance(value, Tensor) else value

    # -- what can go wrong ---------------------------------------------------------------------------------------------

    def _is_finite(self, phase: Phase, averages: Averages, parameters: list[nn.Parameter], parts: list[Batch]) -> bool:
        """Tells whether the update may be taken; ends the run where ``on_nan`` says so."""
        gradients = [p.grad for p in parameters if p.grad is not None]
        norm = nn.utils.get_total_norm(gradients)  # the same in all processes, which share their gradients
        if math.isfinite(float(norm)):
            self._skipped = 0
            return True
        self._skipped += 1
        names = [name for name, value in averages.means().items() if not math.isfinite(float(value))]
        if self.scalers[phase.name].is_enabled() and not names and self._skipped < MAX_OVERFLOWS:
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

    def _stopping(self, stop: StopRequest) -> bool:
        if distributed.world_size() > 1 and self.step % 10:
            return False  # agreeing takes a message between processes
        stopping = distributed.any_process(stop.number is not None, self.device)
        if stopping and self.step < self.steps:
            self.save()
        return stopping

    # -- what is written -----------------------------------------------------------------------------------------------

    def _record(self, log: RunLog | None, averages: Averages, meter: "_Meter") -> None:
        settings, last = self.settings, self.step == self.steps
        if log:
            log.advance()
        if log and (self.step % settings.log_every == 0 or last):
            losses = averages.pop()
            rates = {f"lr_{name}": o.param_groups[0]["lr"] for name, o in self.optimizers.items()}
            speed = meter.pop(self.step, settings.batch_size)
            epoch = self.step * settings.batch_size / len(self.dataset)
            groups = {name: "accuracy" if "accuracy" in name else "loss" for name in losses}
            groups |= dict.fromkeys(rates, "learning_rate") | dict.fromkeys(speed, "speed")
            log.scalars(self.step, {"epoch": epoch, **losses, **rates, **speed}, groups)
        paused = time.perf_counter()
        if log and (self.step % settings.sample_every == 0 or last):
            grid = self.sample_grid()
            if grid is not None:
                log.sample(self.step, grid)
        if self.step % settings.checkpoint_every == 0 or last:
            self.save()
        meter.paused += time.perf_counter() - paused

    def sample_grid(self) -> Any:
        """Returns a labelled grid of the first images of the data set, uint8 ``[H, W, 3]``."""
        from i2i.images import make_grid

        codecs = self.dataset.codecs
        columns: dict[str, list[Any]] = {}
        policy = (self.pipeline.norm_policy, self.pipeline.dropout_policy)
        with torch.no_grad(), translating(self.pipeline, *policy):
            for index in range(min(self.settings.sample_count, len(self.dataset))):
                item = self.dataset[(0, index)]
                if isinstance(item, I2IError):  # training will name it when it comes to it
                    continue
                batch = {k: self._to_device(v[None]) for k, v in item.items() if isinstance(v, Tensor)}
                self._seed("sample", index)
                for name, view in self.pipeline.previews(batch).items():
                    picture = codecs[view.domain].show(view.images[0].float().cpu())
                    columns.setdefault(name, []).append(picture)
        return make_grid(columns) if columns else None

    def save(self) -> None:
        """Writes a checkpoint and the bundle; in a group of processes the first one does."""
        state = self.state()
        if distributed.is_main():
            try:
                # The checkpoint comes last: a run whose last one is there is finished, and has its model.
                self.save_model(self.folder / "model.safetensors", self.pipeline, self.step)
                self.checkpoints.save(self.step, state)
                self._save_failed = False
            except (OSError, RuntimeError) as error:  # torch.save raises the latter on a full disk
                self._save_failed = True
                say(f"step {self.step}: saving failed, training goes on: {' '.join(str(error).split())}")
        distributed.barrier()

    def state(self) -> dict[str, Any]:
        """Returns all that a run needs to continue, as if it had never stopped."""
        return {
            "step": self.step,
            "config": self.config,
            "networks": self.pipeline.members.state_dict(),
            "pipeline": distributed.gathered(self.pipeline.own_state()),  # each process has its own image pool
            "optimizers": {name: optimizer.state_dict() for name, optimizer in self.optimizers.items()},
            "scalers": {name: scaler.state_dict() for name, scaler in self.scalers.items()},
        }

    def load(self, state: dict[str, Any]) -> None:
        """Continues from a state of :meth:`state`.

        Raises:
            CheckpointError: The state is that of other networks.
        """
        try:
            self._load(state)
        except (KeyError, RuntimeError, ValueError) as error:
            reason = " ".join(str(error).split())
            raise CheckpointError(f"{self.folder}: the checkpoint does not fit the networks: {reason}") from error

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
        self.step = state["step"]


def _detached(shared: Shared | None) -> Shared:
    return {name: tensor.detach() for name, tensor in (shared or {}).items()}


class _Meter:
    """Times the loop between two log entries; samples and checkpoints do not count."""

    def __init__(self, step: int) -> None:
        self.waited = self.paused = 0.0
        self._step, self._started = step, time.perf_counter()

    def pop(self, step: int, batch_size: int) -> dict[str, float]:
        """Returns images per second and the share of time spent waiting for data, since the last call."""
        now = time.perf_counter()
        seconds = max(now - self._started - self.paused, 1e-9)
        speed = {
            "images_per_second": batch_size * (step - self._step) / seconds,
            "data_wait": self.waited / seconds,
        }
        self.waited = self.paused = 0.0
        self._step, self._started = step, now
        return speed

"""The training loop: batches in, updates, and what is written down."""

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from i2i.core.errors import DataError, I2IError, TrainingError, is_out_of_memory, one_line
from i2i.core.progress import say
from i2i.core.signals import StopRequest
from i2i.data.loading.loader import Loader
from i2i.data.loading.stream import BatchStream, SeededDataset
from i2i.pipelines.base import Batch
from i2i.training import distributed
from i2i.training.checkpoints import Checkpoints
from i2i.training.logs.run_log import Averages, Meter, RunLog
from i2i.training.logs.trackers import Trackers
from i2i.training.precision import deterministic_algorithms
from i2i.training.samples import sample_grid
from i2i.training.updater import Updater
from i2i.training.validation import Validation
from i2i.training.verdicts import NotFinite

MAX_ROLLBACKS = 5  # from one checkpoint

SaveModel = Callable[[Path, int, dict[str, float]], None]


@dataclass
class Best:
    """The best state so far.

    Attributes:
        value: Of the metric that chooses.
        step: When.
    """

    value: float | None = None
    step: int = 0


@dataclass
class Run:
    """What the loop is given beside the updater.

    Attributes:
        folder: The run folder.
        loader: Loads the batches.
        steps: The run's length.
        config: Written into checkpoints.
        save_model: Writes the bundle with the weights at hand; given a path, the step and the metrics.
        validation: Held-out images and metrics; ``None`` without.
        trackers: Who else hears of the run.
        deadline: When to stop, on the clock of ``time.monotonic``; ``None`` for never.
    """

    folder: Path
    loader: Loader
    steps: int
    config: dict[str, Any]
    save_model: SaveModel
    validation: Validation | None = None
    trackers: Trackers = field(default_factory=lambda: Trackers(()))
    deadline: float | None = None

    @property
    def dataset(self) -> SeededDataset:
        """The data set with its seeds."""
        return self.loader.dataset


class Trainer:
    """Trains a pipeline to the last step, or until it is told to stop.

    Args:
        updater: Takes the steps.
        run: Everything else.
    """

    def __init__(self, updater: Updater, run: Run) -> None:
        self.updater, self.run = updater, run
        self.pipeline, self.settings, self.device = updater.pipeline, updater.settings, updater.device
        self.checkpoints = Checkpoints(run.folder / "checkpoints", self.settings.keep_checkpoints)
        self.best = Best()
        self.metrics: dict[str, float] = {}  # of the weights at hand
        self._stop_code: int | None = None
        self._failed: set[str] = set()  # what could not be written the last time
        self._saved_step = updater.num_steps
        self._rolled_to, self._rolled = -1, 0  # the step gone back to last, and how often in a row

    @property
    def step(self) -> int:
        return self.updater.num_steps

    # -- the loop ------------------------------------------------------------------------------------------------------

    def fit(self) -> int:
        """Trains.

        Returns:
            0 when done or at the deadline, 1 when the last save failed, 128 + the signal's number when stopped by one.

        Raises:
            TrainingError: A loss or gradient is not finite and ``on_nan`` is ``stop``, images cannot be read, memory
                does not suffice, or the code of a component fails.
        """
        with deterministic_algorithms(self.settings.deterministic), StopRequest() as stop:
            distributed.broadcast_weights(self.pipeline)
            if self.settings.on_nan == "rollback" and distributed.from_main(not self.checkpoints.paths()):
                state = self.state()  # what there is to go back to
                self._write("last", lambda: self.checkpoints.save(self.step, state))
            while True:
                try:
                    with self._recording(stop) as (log, meter, batches):
                        averages = Averages(finite_only=True)
                        for batch in batches:
                            averages.add(self.updater.step(batch))
                            if self.updater.compilation:
                                meter.paused += self.updater.compilation.pop_seconds(self.step)
                            self.metrics = {}
                            self._record(log, averages, meter)
                            if self._stopping(stop):
                                break
                        else:
                            if self.step < self.run.steps:  # a signal came while the loop waited for images
                                self._stopping(stop)
                    return 1 if self._failed else self._stop_code or 0
                except NotFinite as error:
                    if self.settings.on_nan != "rollback":
                        error.hints += (self._way_on("trainer.on_nan=skip|rollback, a lower optimizer.lr"),)
                        raise
                    self._roll_back(error)
                except I2IError:
                    raise
                except Exception as error:  # the code of others may raise anything
                    raise self._translated(error) from error

    @contextmanager
    def _recording(self, stop: StopRequest) -> Iterator[tuple[RunLog | None, Meter, Iterator[Batch]]]:
        """Opens the log (in the first process), the meter and the batches of the steps that are left."""
        self.pipeline.train()
        self._agree_at, self._agreed = self.step + 1, (self.step, time.monotonic())
        log = RunLog(self.run.folder, self.step, self.run.steps) if distributed.is_main() else None
        meter = Meter(self.updater.timeline.at(self.step).images)
        try:
            with closing(self._batches(meter, stop)) as batches:
                yield log, meter, batches
        finally:
            if log:
                log.close()

    def _translated(self, error: Exception) -> TrainingError:
        """Says what an exception means to the user."""
        if is_out_of_memory(error):
            less = "trainer.batch_size, data.crop_size, trainer.accumulate=2, trainer.gradient_checkpointing=true"
            return TrainingError(
                f"step {min(self.step + 1, self.run.steps)}: the memory of {self.device} does not suffice",
                [self._way_on(less)],
            )
        return TrainingError(
            f"after step {self.step}: {type(error).__name__}: {one_line(error)}",
            ["--debug shows where", self._way_on()],
        )

    def _way_on(self, keys: str = "") -> str:
        """How to go on after an error; with other settings in another folder, for a run folder keeps its own."""
        if not self.checkpoints.paths():
            return "there is no checkpoint yet: start again" + (f" with other settings: {keys}" if keys else "")
        resume = f"--resume {self.run.folder} --out NEW_FOLDER" if keys else "--resume auto"
        settings = f" with other settings ({keys})" if keys else ""
        return f"the last checkpoint is unharmed; go on from it{settings}: {resume}"

    def _roll_back(self, error: NotFinite) -> None:
        """Goes back to the last checkpoint, and on from there with other images and random numbers.

        Raises:
            NotFinite: There is no checkpoint that can be read, or all ways on from it end like this.
        """
        met, count = self.step, self.updater.num_rollbacks
        state = self.checkpoints.load_newest(say if distributed.is_main() else lambda line: None)
        distributed.barrier()
        if state is None:
            raise error
        self.updater.load(state)  # what is known of files and of the best state stays known
        self._rolled = self._rolled + 1 if self._rolled_to == self.step else 1
        self._rolled_to = self.step
        if self._rolled > MAX_ROLLBACKS:
            tried = f"{MAX_ROLLBACKS} ways on from step {self.step} ended like this"
            error.hints += (tried, self._way_on("a lower optimizer.lr"))
            raise error
        self.updater.num_rollbacks = max(count, self.updater.num_rollbacks) + 1
        if distributed.is_main():
            what = f"{error.message}; back from step {met} to {self.step}, and on with other images"
            say(what, *(f"    {hint}" for hint in error.hints))

    def _batches(self, meter: Meter, stop: StopRequest) -> Generator[Batch, None, None]:
        stream = BatchStream(
            len(self.run.dataset),
            self._span,
            self.updater.base_seed,
            self.step,
            self.run.steps,
            distributed.rank(),
            distributed.world_size(),
            self.run.dataset.dataset,
        )
        # Of several processes, none can stop before the others know.
        is_alone = distributed.world_size() == 1
        stopping = (lambda: stop.number is not None) if is_alone else (lambda: False)
        is_first = True
        with closing(self.run.loader.batches(stream, self.updater.base_seed, stopping)) as batches:
            while True:
                started = time.perf_counter()
                try:
                    batch = next(batches, None)
                except TrainingError:
                    self._save_alone()
                    raise
                if batch is None:
                    return
                if is_first:
                    self._check(batch)
                    is_first = False
                meter.waited += time.perf_counter() - started
                yield batch

    def _check(self, batch: Batch) -> None:
        """Checks a first batch, before anything is trained on it."""
        try:
            for line in self.run.dataset.check_batch(batch):
                if distributed.is_main():
                    say(line)
        except DataError as error:
            raise TrainingError(error.message, error.hints) from error

    def _span(self, step: int) -> tuple[int, int]:
        """Returns the images before a step, and those of it."""
        moment = self.updater.timeline.at(step)
        return moment.images, moment.stage.batch_size

    def _save_alone(self) -> None:
        """Saves before an error that concerns nothing of what was trained so far; others cannot be asked for that."""
        if distributed.world_size() == 1 and self.step > self._saved_step:
            self.save()

    def _stopping(self, stop: StopRequest) -> bool:
        if not self._is_time_to_agree():
            return False
        is_late = self.run.deadline is not None and time.monotonic() >= self.run.deadline
        # What any process has met, all act upon: nothing, the deadline, or a signal, which weighs more.
        reason = distributed.largest(2 + stop.number if stop.number is not None else int(is_late), self.device)
        if reason and self.step < self.run.steps:
            self._stop_code = 128 + reason - 2 if reason > 1 else 0
            self.save()
        return bool(reason)

    def _is_time_to_agree(self) -> bool:
        """Whether to ask the other processes, which takes a message: each second, or at each step that takes longer."""
        if distributed.world_size() == 1:
            return True
        if self.step < self._agree_at:
            return False
        (step, since), now = self._agreed, time.monotonic()
        steps = int((self.step - step) / max(now - since, 1e-3))
        self._agree_at = self.step + min(distributed.gathered(min(max(1, steps), 100)))
        self._agreed = self.step, now
        return True

    # -- what is written -----------------------------------------------------------------------------------------------

    def _record(self, log: RunLog | None, averages: Averages, meter: Meter) -> None:
        settings, last = self.settings, self.step == self.run.steps
        if log:
            log.advance()
        if self.step % settings.log_every == 0 or last:
            losses = distributed.averaged(averages.pop(), self.device)
            self._share_broken()
            if log:
                self._log(log, losses, meter)
        paused = time.perf_counter()
        try:
            if log and (self.step % settings.sample_every == 0 or last):
                self._sample(log)
            if self.run.validation and (self.step % self.run.validation.every == 0 or last):
                self._validate(log, self.run.validation)
        except Exception:
            self._save_alone()
            raise
        if self.step % settings.checkpoint_every == 0 or last:
            self.save()
        meter.paused += time.perf_counter() - paused

    @property
    def broken(self) -> dict[str, int]:
        """The unusable files met so far, with the reason of each -> the number of the step that met it first."""
        return self.run.loader.broken

    def _share_broken(self) -> None:
        """Lets every process know which files the others have met."""
        for view in distributed.gathered(dict(self.broken)):
            for reason, step in view.items():
                self.broken[reason] = min(step, self.broken.get(reason, step))

    def _log(self, log: RunLog, losses: dict[str, float], meter: Meter) -> None:
        rates = {f"lr_{name}": o.param_groups[0]["lr"] for name, o in self.updater.optimizers.items()}
        timeline = self.updater.timeline
        speed = meter.pop(timeline.at(self.step).images)
        epoch = timeline.epoch(self.step)
        groups = {name: "accuracy" if "accuracy" in name else "loss" for name in losses}
        groups |= dict.fromkeys(rates, "learning_rate") | dict.fromkeys(speed, "speed")
        troubles = {"updates_left_out": self.updater.left_out, "broken_images": len(self.broken)}
        values = {"epoch": epoch, **losses, **rates, **speed}
        values |= {name: float(count) for name, count in troubles.items() if count}
        log.scalars(self.step, values, groups)
        self.run.trackers.tell("on_log", self.step, values)

    def _validate(self, log: RunLog | None, validation: Validation) -> None:
        """Measures, writes the metrics down, and keeps the state if it is the best so far."""
        try:
            with self._translating_weights():
                measured = validation.measure(self.pipeline, self.device)
        except DataError as error:
            raise TrainingError(f"after step {self.step}, validation: {error.message}", error.hints) from error
        self.metrics = distributed.from_main(measured)  # processes must decide alike
        values = {f"val_{name}": value for name, value in self.metrics.items()}
        if log:
            log.metrics(self.step, values)
            self.run.trackers.tell("on_log", self.step, values)
        is_best = validation.best is not None and validation.is_better(self.metrics, self.best.value)
        if is_best and self._write("best", lambda: self._save_model("best.safetensors")):
            self.best = Best(self.metrics[validation.best or ""], self.step)

    def _sample(self, log: RunLog) -> None:
        with self._translating_weights():
            grid = sample_grid(self.updater, self.run.dataset, self.settings.sample_count)
        if grid is None:
            return
        try:
            log.sample(self.step, grid)
        except (OSError, DataError) as error:  # a full disk does not end a run
            say(f"step {self.step}: the samples cannot be written, training goes on: {error}")
        self.run.trackers.tell("on_images", self.step, grid)

    def _translating_weights(self) -> AbstractContextManager[None]:
        """The weights that users get: the moving average, where there is one."""
        return self.updater.average.in_place() if self.updater.average else nullcontext()

    def save(self) -> None:
        """Writes a checkpoint and the bundle; in a group of processes the first one does."""
        self._share_broken()
        state = self.state()

        def write() -> None:
            # The checkpoint comes last: a run whose last one is there is finished, and has its model.
            self._save_model("model.safetensors")
            self.checkpoints.save(self.step, state)

        if self._write("last", write):
            self._saved_step = self.step

    def _save_model(self, name: str) -> None:
        with self._translating_weights():
            self.run.save_model(self.run.folder / name, self.step, self.metrics)

    def _write(self, what: str, write: Callable[[], object]) -> bool:
        """Lets the first process write, and tells whether it could; a full disk does not end a run."""
        is_written = True
        if distributed.is_main():
            try:
                write()
            except (OSError, RuntimeError) as error:
                is_written = False
                reason = error.strerror if isinstance(error, OSError) and error.strerror else one_line(error)
                say(f"step {self.step}: saving failed, training goes on: {reason}")
        is_written = distributed.from_main(is_written)
        (self._failed.discard if is_written else self._failed.add)(what)
        return is_written

    def state(self) -> dict[str, Any]:
        """Returns all that a run needs to continue, as if it had never stopped."""
        best = {"value": self.best.value, "step": self.best.step}
        state = {"step": self.step, "config": self.run.config, "best": best, "broken": dict(self.broken)}
        return state | self.updater.state()

    def recall(self, state: dict[str, Any]) -> None:
        """Remembers what the run knew when :meth:`state` was called, beside what the updater does."""
        self._saved_step = state["step"]
        self.broken.update(state.get("broken", {}))  # absent in checkpoints of 0.1.0, as is the best state
        best = state.get("best", {})
        is_there = best.get("step") and (self.run.folder / "best.safetensors").exists()
        self.best = Best(**best) if is_there else Best()

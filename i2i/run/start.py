"""A training run from a checked experiment to a folder: new, resumed or found finished."""

import math
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import torch

from i2i.core.errors import ConfigError, DataError, I2IError
from i2i.core.plugins import installed_version
from i2i.core.progress import say
from i2i.data.finding.files import UnusableFiles
from i2i.data.loading.caching import Cacheable, use_cache
from i2i.data.loading.loader import Loader
from i2i.data.loading.stream import SeededDataset
from i2i.inference.bundle.bundle import save_bundle
from i2i.run.experiment import Experiment
from i2i.run.folder import Report, compare, differing, find_state, is_fork, make_folder, prepared, run_folder
from i2i.training import distributed
from i2i.training.compilation import Compilation
from i2i.training.logs.trackers import Trackers
from i2i.training.precision import Precision, pick_device
from i2i.training.schedules import Timeline
from i2i.training.settings import TrainerSettings
from i2i.training.trainer import Run, Trainer
from i2i.training.updater import Updater
from i2i.training.validation import Validation

SHOWN = 10  # differences that a message names


def train(
    experiment: Experiment,
    out: str | Path | None = None,
    resume: str = "never",
    report: Report = say,
    max_hours: float | None = None,
) -> tuple[int, Path]:
    """Trains an experiment.

    Args:
        experiment: What to train.
        out: The run folder; by default ``runs/NAME/NUMBER``.
        resume: ``never``; ``auto`` continues the folder's newest checkpoint, or starts afresh; a path continues that
            checkpoint or run folder.
        report: Receives lines for the user.
        max_hours: When to stop at the latest, counted from now, with a checkpoint to go on from.

    Returns:
        The exit code (0 when done or at ``max_hours``, 1 when the last save failed, 130 or 143 when stopped by a
        signal) and the run folder.

    Raises:
        I2IError: Nothing was started; says why.
    """
    deadline = None if max_hours is None else time.monotonic() + 3600 * max_hours
    if not distributed.is_main():
        report = _silent
    with distributed.agreeing():
        device = distributed.local(_device(experiment))
        _check_shares(experiment.settings)
        folder = run_folder(experiment.name, out, resume)
    folder = distributed.from_main(folder)
    with distributed.agreeing():
        state = find_state(folder, resume, report)
        scan(experiment, report)
        validation = _validation(experiment, report)
    config, length = experiment.resolved(), len(experiment.dataset)
    _check_agreement(folder, experiment, config, state)
    steps = total_steps(experiment, length)
    if state is not None:
        if is_fork(folder, resume):
            for key, old, new in differing(state["config"], config):
                report(f"from here on {key}: {new}, was {old}")
        else:
            compare(config, state["config"], folder)
        if state["step"] >= steps:
            report(f"{folder}: finished already, at step {state['step']}")
            return 0, folder
    with distributed.agreeing():  # before anything is written
        updater = build_updater(experiment, steps, length, device, report)
        if state is not None:
            updater.load(state)
    if experiment.settings.compile:
        updater.compilation = Compilation(updater.pipeline, updater.precision, report)
    with distributed.agreeing():
        folder = make_folder(folder, is_numbered=out is None and state is None)
    folder = distributed.from_main(folder)
    with ExitStack() as stack:
        with distributed.agreeing():
            stack.enter_context(prepared(folder, config, state))
        run = Run(
            folder=folder,
            loader=_loader(experiment, device, report),
            steps=steps,
            config=config,
            save_model=lambda path, step, metrics: save_bundle(
                path, experiment.bundle_info(updater.pipeline, step, metrics), updater.pipeline
            ),
            validation=validation,
            trackers=_trackers(experiment),
            deadline=deadline,
        )
        return _fit(experiment, Trainer(updater, run), state, report), folder


def _fit(experiment: Experiment, trainer: Trainer, state: dict[str, Any] | None, report: Report) -> int:
    run, updater = trainer.run, trainer.updater
    if state is not None:
        trainer.recall(state)
        report(f"resumed at step {trainer.step}")
        before = len(state["pipeline"])
        if before != distributed.world_size():
            report(f"the run had {before} processes before: from here on it takes another course")
    batch, precision = experiment.settings.batch_size, updater.precision.name
    report(f"{run.folder}: {run.steps} steps of {batch} on {trainer.device}, {precision}")
    run.trackers.tell("on_start", experiment.name, run.config, run.folder)
    try:
        code = trainer.fit()
    finally:
        run.trackers.tell("on_end")
    if updater.left_out:
        report(f"{updater.left_out} of {trainer.step * len(updater.phases)} updates were left out: not finite")
    if trainer.broken:
        report(f"unusable files that were passed over: {len(trainer.broken)}")
        for reason, step in trainer.broken.items():
            report(f"    step {step}: {reason}")
    if distributed.is_main():
        _report(experiment, trainer, report, pictures=0 if code > 128 else 4)  # who sends a signal does not wait
    go_on = f"go on with the same command and  --resume auto --out {run.folder}"
    if code == 1:
        report(f"ended at step {trainer.step}; its last save failed, see above")
    elif code:
        report(f"stopped at step {trainer.step}, checkpoint written; {go_on}")
    elif trainer.step < run.steps:
        report(f"time is up at step {trainer.step}, checkpoint written; {go_on}")
    else:
        report(f"done: translate with  python tools/translate.py {run.folder} INPUT OUTPUT")
    return code


def _check_shares(settings: TrainerSettings) -> None:
    """Checks that a batch can be shared.

    Raises:
        I2IError: It cannot.
    """
    shares = distributed.world_size() * settings.accumulate
    if settings.batch_size % shares:
        message = f"trainer.batch_size: {settings.batch_size} images do not divide into {shares} shares"
        raise I2IError(message, [f"{distributed.world_size()} processes x {settings.accumulate} parts"])


def _check_agreement(
    folder: Path, experiment: Experiment, config: dict[str, Any], state: dict[str, Any] | None
) -> None:
    """Checks that all processes have the same configuration, files and software, and see the same run folder.

    Raises:
        I2IError: They have not; says who has what.
    """
    if distributed.world_size() == 1:
        return
    dataset = experiment.dataset
    views = distributed.gathered(
        {
            "configuration": config,
            "data set": {"images": len(dataset), "files": getattr(dataset, "fingerprint", None)},
            "checkpoint": {"step": state["step"] if state else 0},
            "software": {"i2i": installed_version("i2i"), "torch": torch.__version__},
        }
    )
    differences = [
        f"{what}: {key}: {first} in process 0, {other} in process {rank}"
        for rank, view in enumerate(views)
        for what in view
        for key, first, other in differing(views[0][what], view[what])
    ]
    if differences:
        hints = [*differences[:SHOWN], "on several machines, data and run folder lie on a disk that they share"]
        raise I2IError(f"{folder}: the processes do not train the same", hints)


def _report(experiment: Experiment, trainer: Trainer, report: Report, pictures: int) -> None:
    """Writes the page that a run ends with; whatever goes wrong there, the run stands."""
    from i2i.run.report.run import report_run

    try:
        report(f"report: {report_run(experiment, trainer.run.folder, str(trainer.device), pictures)}")
    except Exception as error:  # images, fonts and full disks: none of it is worth a run
        report(f"no report.html: {type(error).__name__}: {' '.join(str(error).split())}")


def build_updater(experiment: Experiment, steps: int, images: int, device: torch.device, report: Report) -> Updater:
    """Builds networks, losses and optimizers on the device.

    Args:
        experiment: Of which.
        steps: The run's length.
        images: Of the data set: what an epoch is.
        device: Where.
        report: Receives lines for the user.
    """
    settings = experiment.settings
    timeline = Timeline(experiment.schedule, steps, images / settings.batch_size)
    if timeline.scaled_from is not None:
        report(f"schedule: planned for {timeline.scaled_from:.0f} steps, scaled to the run's {steps}")
    pipeline = experiment.build_pipeline().to(device)
    if experiment.init_from is not None:
        fresh = [letter for letter in pipeline.members if letter not in experiment.started_letters]
        rest = f"; new: {', '.join(fresh)}" if fresh else ""
        report(f"started from {experiment.init_from}: {', '.join(experiment.started_letters)}{rest}")
    if pipeline.frozen:
        report(f"frozen: {', '.join(sorted(pipeline.frozen))}")
    is_exact = Precision.pick(settings.precision, device, pipeline.members.values()).is_exact
    fused = device.type == "cuda" or (device.type == "cpu" and not is_exact)
    optimizers = {role: partial(experiment.build_optimizer, role, fused=fused) for role in experiment.optimizer_roles}
    return Updater(pipeline, optimizers, timeline, settings, device)


def _seeded(experiment: Experiment, dataset: object) -> SeededDataset:
    return SeededDataset(dataset, experiment.settings.seed, experiment.data.settings.direction == "b2a")


def _loader(experiment: Experiment, device: torch.device, report: Report) -> Loader:
    data = experiment.data.settings
    if data.draft and not (isinstance(experiment.dataset, Cacheable) and experiment.dataset.use_draft()):
        report("draft: off, it needs a data set of files and a preset that begins with a resize")
    told = use_cache(experiment.dataset, data.cache, distributed.gathered)
    if told:
        report(told)
    return Loader(
        _seeded(experiment, experiment.dataset),
        data.worker_count(device.type),
        data.max_broken,
        data.timeout,
        pin_memory=device.type == "cuda",
    )


def _trackers(experiment: Experiment) -> Trackers:
    """Builds the trackers, in the first process alone."""
    return Trackers(
        (name, partial(component, **{k: v for k, v in node.plain().items() if k != "type"}))
        for name, component, node in (experiment.trackers if distributed.is_main() else ())
    )


def _validation(experiment: Experiment, report: Report) -> Validation | None:
    """Readies the held-out images.

    Raises:
        ConfigError: There are none, or a metric cannot be had of them.
    """
    held_out = experiment.held_out
    if held_out is None:
        return None
    is_single = len(experiment.directions) == 1
    suffixes = {own: "" if is_single else f"_{asked}" for asked, own in experiment.directions.items()}
    settings, dataset = held_out.settings, held_out.dataset
    try:
        _scan(dataset, experiment.data.settings.max_broken, report)
        validation = Validation(
            _seeded(experiment, dataset),
            held_out.metrics,
            suffixes,  # type: ignore[arg-type]
            settings.every,
            settings.best,
            getattr(held_out.metrics.get(settings.best or ""), "higher_is_better", True),
            min(settings.count or len(dataset), len(dataset)),
            experiment.settings.seed,
        )
        validation.check()
    except DataError as error:
        raise ConfigError([held_out.node.problem(error.message, hints=error.hints)]) from error
    return validation


def _device(experiment: Experiment) -> torch.device:
    """Resolves the device and tries the precision on it, before anything is written."""
    settings, trainer = experiment.settings, experiment.root.find(["trainer"])
    key = "device"
    try:
        device = pick_device(settings.device)
        key = "precision"
        Precision.pick(settings.precision, device)
    except I2IError as error:
        raise ConfigError([trainer.problem(error.message, key, hints=error.hints)]) from error
    return device


def _silent(_: str) -> None:
    pass


def total_steps(experiment: Experiment, length: int) -> int:
    """Returns the run's length in steps; ``steps`` wins over ``epochs``."""
    settings = experiment.settings
    if settings.steps is not None:
        return settings.steps
    assert settings.epochs is not None  # TrainerSettings demands one of the two
    return math.ceil(settings.epochs * length / settings.batch_size)


def scan(experiment: Experiment, report: Report) -> None:
    """Lets the data set look at its files, and reports what it converts.

    Raises:
        ConfigError: The files cannot be used as asked.
    """
    try:
        _scan(experiment.dataset, experiment.data.settings.max_broken, report)
        if len(experiment.dataset) == 0:
            raise DataError("the data set is empty")
    except DataError as error:
        raise experiment.dataset_problem(error.message, error.hints) from error
    for note in getattr(experiment.dataset, "notes", ()):
        report(f"data: {note}")


def _scan(dataset: Any, max_broken: int, report: Report) -> None:
    """Lets a data set look at its files; a few unusable ones are named and passed over.

    Raises:
        DataError: They are too many, or something else is wrong.
    """
    try:
        if hasattr(dataset, "scan"):
            dataset.scan()
    except UnusableFiles as error:
        if len(error.problems) > max_broken or 2 * len(error.problems) >= error.total:
            error.hints = (*error.hints, f"up to data.max_broken={max_broken} are passed over, while most are usable")
            raise
        for path, reason in error.problems:
            report(f"data: {path}: {reason}; it is passed over")

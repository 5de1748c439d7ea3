"""The parts of a run, built from a checked experiment."""

from functools import partial

import torch

from i2i.core.errors import ConfigError, DataError, I2IError
from i2i.data.base import Dataset
from i2i.data.finding.files import UnusableFiles
from i2i.data.loading.caching import Cacheable, use_cache
from i2i.data.loading.loader import Loader
from i2i.run.declared import unreached
from i2i.run.experiment import Experiment
from i2i.run.folder import Report
from i2i.training import distributed
from i2i.training.logs.trackers import Trackers
from i2i.training.precision import Precision, pick_device
from i2i.training.schedules import Timeline
from i2i.training.updater import Updater
from i2i.training.validation import Validation


def find_device(experiment: Experiment) -> torch.device:
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


def scan(experiment: Experiment, report: Report) -> None:
    """Lets the data set look at its files, and reports what it converts.

    Raises:
        ConfigError: The files cannot be used as asked.
    """
    try:
        scan_files(experiment.dataset, experiment.data.settings.max_broken, report)
        if len(experiment.dataset) == 0:
            raise DataError("the data set is empty")
    except DataError as error:
        raise experiment.dataset_problem(error.message, error.hints) from error
    for note in experiment.dataset.notes:
        report(f"data: {note}")
    for note in experiment.notes:
        report(note)


def scan_files(dataset: Dataset, max_broken: int, report: Report) -> None:
    """Lets a data set look at its files; a few unusable ones are named and passed over.

    Raises:
        DataError: They are too many, or something else is wrong.
    """
    try:
        dataset.scan()
    except UnusableFiles as error:
        if len(error.problems) > max_broken or 2 * len(error.problems) >= error.total:
            error.hints = (*error.hints, f"up to data.max_broken={max_broken} are passed over, while most are usable")
            raise
        for path, reason in error.problems:
            report(f"data: {path}: {reason}; it is passed over")


def total_steps(experiment: Experiment, length: int) -> int:
    """Returns the run's length in steps; ``steps`` wins over ``images`` over ``epochs``.

    Args:
        experiment: What is trained.
        length: Images of the data set.

    Raises:
        ConfigError: The run, given in images or epochs, ends before a stage of the pipeline begins.
    """
    settings = experiment.settings
    if settings.steps is not None:
        return settings.steps
    images = settings.images if settings.images is not None else (settings.epochs or 0) * length
    steps = experiment.timetable.steps_for(images)
    problems = unreached(experiment.root, experiment.timetable, steps)
    if problems:
        raise ConfigError(problems)
    return steps


def build_updater(experiment: Experiment, steps: int, images: int, device: torch.device, report: Report) -> Updater:
    """Builds networks, losses and optimizers on the device.

    Args:
        experiment: What is trained.
        steps: The run's length.
        images: Of the data set: an epoch.
        device: Of the run.
        report: Receives lines for the user.
    """
    settings = experiment.settings
    timeline = Timeline(experiment.schedule, steps, experiment.timetable, images)
    for stage in experiment.timetable.unreached(steps):
        report(f"the run ends before the stage of the pipeline that begins at image {stage.first_image:,}")
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


def build_loader(experiment: Experiment, device: torch.device, report: Report) -> Loader:
    """Builds the loader of the training images, with the cache that the YAML asks for."""
    data = experiment.data.settings
    if data.draft and not (isinstance(experiment.dataset, Cacheable) and experiment.dataset.use_draft()):
        report("draft: off, it needs a data set of files and a preset that begins with a resize")
    told = use_cache(experiment.dataset, data.cache, distributed.gathered)
    if told:
        report(told)
    return Loader(
        experiment.data.seeded(experiment.settings.seed),
        data.worker_count(device.type),
        data.max_broken,
        data.timeout,
        pin_memory=device.type == "cuda",
    )


def build_validation(experiment: Experiment, report: Report) -> Validation | None:
    """Readies the held-out images.

    Raises:
        ConfigError: There are none, or a metric cannot be had of them.
    """
    held_out = experiment.held_out
    if held_out is None:
        return None
    measured = {asked: own for asked, own in experiment.directions.items() if experiment.own_directions[own].target}
    names = {own: "" if len(measured) == 1 else f"_{asked}" for asked, own in measured.items()}
    settings, dataset = held_out.settings, held_out.dataset
    try:
        scan_files(dataset, experiment.data.settings.max_broken, report)
        validation = Validation(
            experiment.data.seeded(experiment.settings.seed, dataset),
            held_out.metrics,
            experiment.own_directions,
            names,
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


def build_trackers(experiment: Experiment) -> Trackers:
    """Builds the trackers, in the first process alone."""
    return Trackers(
        (name, partial(component, **{k: v for k, v in node.plain().items() if k != "type"}))
        for name, component, node in (experiment.trackers if distributed.is_main() else ())
    )

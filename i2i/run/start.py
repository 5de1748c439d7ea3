"""A training run from a checked experiment to a folder: new, resumed or found finished."""

import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch

from i2i.core.errors import I2IError, one_line
from i2i.core.plugins import installed_version, loaded_files
from i2i.core.progress import say
from i2i.inference.bundle.bundle import save_bundle
from i2i.inference.trying import try_bundle
from i2i.run.assembly import (
    build_loader,
    build_trackers,
    build_updater,
    build_validation,
    find_device,
    scan,
    total_steps,
)
from i2i.run.experiment import Experiment
from i2i.run.folder import Report, compare, differing, find_state, is_fork, make_folder, prepared, run_folder
from i2i.training import distributed
from i2i.training.compilation import Compilation
from i2i.training.trainer import Run, Trainer

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
        device = distributed.local(find_device(experiment))
        _check_shares(experiment)
        folder = run_folder(experiment.name, out, resume)
    folder = distributed.from_main(folder)
    with distributed.agreeing():
        state = find_state(folder, resume, report)
        scan(experiment, report)
        validation = build_validation(experiment, report)
        config, length = experiment.resolved(), len(experiment.dataset)
        steps = total_steps(experiment, length)
    _check_agreement(folder, experiment, config, state)
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
            loader=build_loader(experiment, device, report),
            steps=steps,
            config=config,
            save_model=lambda path, step, metrics: save_bundle(
                path, experiment.bundle_info(updater.pipeline, step, metrics), updater.pipeline
            ),
            validation=validation,
            trackers=build_trackers(experiment),
            deadline=deadline,
        )
        trainer = Trainer(updater, run)
        _say_start(experiment, trainer, state, report)
        run.trackers.tell("on_start", experiment.name, config, folder)
        try:
            code = trainer.fit()
        finally:
            run.trackers.tell("on_end")
        return _finish(experiment, trainer, code, report), folder


def _say_start(experiment: Experiment, trainer: Trainer, state: dict[str, Any] | None, report: Report) -> None:
    run = trainer.run
    if state is not None:
        trainer.recall(state)
        report(f"resumed at step {trainer.step}")
        before, now = len(state["pipeline"]), distributed.world_size()
        if before != now:
            report(f"the run had {before} processes before: from here on it takes another course")
            if any(state["pipeline"]):
                report(f"    state of its own, such as an image pool: process k begins with that of k modulo {before}")
    batch, precision = experiment.settings.batch_size, trainer.updater.precision.name
    report(f"{run.folder}: {run.steps} steps of {batch} on {trainer.device}, {precision}")


def _finish(experiment: Experiment, trainer: Trainer, code: int, report: Report) -> int:
    """Says what has become of a run, writes its page and tries its model; returns the exit code."""
    run, updater = trainer.run, trainer.updater
    if updater.left_out:
        report(f"{updater.left_out} of {trainer.step * len(updater.phases)} updates were left out: not finite")
    if trainer.broken:
        report(f"unusable files that were passed over: {len(trainer.broken)}")
        for reason, step in trainer.broken.items():
            report(f"    step {step}: {reason}")
    is_done = code == 0 and trainer.step == run.steps
    if is_done:
        with distributed.agreeing():
            if distributed.is_main():
                try_bundle(run.folder / "model.safetensors")
    if distributed.is_main():
        # After SIGTERM there may be only seconds left: skip the pictures.
        _report(experiment, trainer, report, pictures=0 if code > 128 else 4)
    go_on = f"go on with the same command and  --resume auto --out {run.folder}"
    if code == 1:
        report(f"ended at step {trainer.step}; its last save failed, see above")
    elif code:
        report(f"stopped at step {trainer.step}, checkpoint written; {go_on}")
    elif not is_done:
        report(f"time is up at step {trainer.step}, checkpoint written; {go_on}")
    else:
        report(f"done: {_use_of(experiment, run.folder)}")
    return code


def _use_of(experiment: Experiment, folder: Path) -> str:
    """Returns the command that uses a model."""
    directions = experiment.own_directions.values()
    plugins = "".join(f" --plugin {_from_here(Path(file))}" for file in loaded_files())
    if any(one.source and one.target for one in directions):
        return f"translate with  {_command('translate')} {folder} INPUT OUTPUT{plugins}"
    if any(not one.source for one in directions):
        return f"make images with  {_command('generate')} {folder} OUTPUT{plugins}"
    return f"the model is {folder / 'model.safetensors'}"


def _command(name: str) -> str:
    """Returns how a command is called from here: in a checkout, or installed."""
    return f"python tools/{name}.py" if Path(f"tools/{name}.py").is_file() else f"i2i {name}"


def _from_here(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _check_shares(experiment: Experiment) -> None:
    """Checks that the batch of each stage can be shared.

    Raises:
        I2IError: It cannot.
    """
    accumulate = experiment.settings.accumulate
    shares = distributed.world_size() * accumulate
    for stage in experiment.timetable.stages:
        if stage.batch_size % shares:
            from_image = f", from image {stage.first_image:,} on," if stage.first_image else ""
            message = f"trainer.batch_size: {stage.batch_size} images{from_image} do not divide into {shares} shares"
            raise I2IError(message, [f"{distributed.world_size()} processes x {accumulate} parts"])


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
            "data set": {"images": len(dataset), "files": dataset.fingerprint},
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
        report(f"no report.html: {type(error).__name__}: {one_line(error)}")


def _silent(_: str) -> None:
    pass

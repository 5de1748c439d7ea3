"""A training run from a checked experiment to a folder: new, resumed or found finished."""

import copy
import math
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from i2i.atomic import write_bytes
from i2i.bundle import save_bundle
from i2i.config import dump
from i2i.errors import CheckpointError, ConfigError, DataError, I2IError
from i2i.experiment import Experiment
from i2i.training import distributed
from i2i.training.checkpoints import Checkpoints, load
from i2i.training.logs import say
from i2i.training.precision import Precision, pick_device
from i2i.training.schedules import Timeline
from i2i.training.stream import SeededDataset
from i2i.training.trainer import Trainer

Report = Callable[[str], None]


def train(experiment: Experiment, out: str | Path | None = None, resume: str = "never", report: Report = say) -> int:
    """Trains an experiment.

    Args:
        experiment: What to train.
        out: The run folder; by default ``runs/NAME/NUMBER``.
        resume: ``never``; ``auto`` continues the folder's newest checkpoint, or starts afresh; a path continues that
            checkpoint or run folder.
        report: Receives lines for the user.

    Returns:
        0 when done, 130 or 143 when stopped by SIGINT or SIGTERM.

    Raises:
        I2IError: Nothing was started; says why.
    """
    settings = experiment.settings
    device = distributed.start(_device(experiment))
    if not distributed.is_main():
        report = _silent
    try:
        shares = distributed.world_size() * settings.accumulate
        if settings.batch_size % shares:
            message = f"trainer.batch_size: {settings.batch_size} images do not divide into {shares} shares"
            raise I2IError(message, [f"{distributed.world_size()} processes x {settings.accumulate} parts"])
        folder = distributed.from_main(run_folder(experiment.name, out, resume))
        state = _find_state(folder, resume, report)
        scan(experiment, report)
        steps = total_steps(experiment, len(experiment.dataset))
        if state is not None:
            _compare(experiment.resolved(), state["config"], folder)
            if state["step"] >= steps:
                report(f"{folder}: finished already, at step {state['step']}")
                return 0
        distributed.barrier()  # nobody writes into the folder before all have looked at it
        is_numbered = out is None and state is None
        folder = distributed.from_main(_prepare(folder, experiment, state, is_numbered))
        trainer = _build_trainer(experiment, folder, steps, device, report)
        if state is not None:
            trainer.load(state)
            report(f"resumed at step {trainer.step}")
            if len(state["pipeline"]) != distributed.world_size():
                report(f"the run had {len(state['pipeline'])} processes before: from here on it takes another course")
        report(f"{folder}: {steps} steps of {settings.batch_size} on {device}, {trainer.precision.name}")
        code = trainer.fit()
        if code == 1:
            report(f"ended at step {trainer.step}; its last save failed, see above")
        elif code:
            report(f"stopped at step {trainer.step}, checkpoint written; go on with: --resume auto --out {folder}")
        else:
            report(f"done: translate with  python tools/translate.py {folder} INPUT OUTPUT")
        return code
    finally:
        distributed.stop()


def _build_trainer(experiment: Experiment, folder: Path, steps: int, device: torch.device, report: Report) -> Trainer:
    settings = experiment.settings
    timeline = Timeline(experiment.schedule, steps, len(experiment.dataset) / settings.batch_size)
    if timeline.scaled_from is not None:
        report(f"schedule: planned for {timeline.scaled_from:.0f} steps, scaled to the run's {steps}")
    return Trainer(
        pipeline=experiment.build_pipeline(),
        dataset=SeededDataset(experiment.dataset, settings.seed, experiment.data.settings.direction == "b2a"),
        optimizers={role: partial(experiment.build_optimizer, role) for role in experiment.optimizer_roles},
        timeline=timeline,
        settings=settings,
        steps=steps,
        workers=experiment.data.settings.worker_count(device.type),
        device=device,
        folder=folder,
        config=experiment.resolved(),
        save_model=lambda path, pipeline, step: save_bundle(path, experiment, pipeline, step),
    )


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
        if hasattr(experiment.dataset, "scan"):
            experiment.dataset.scan()
        if len(experiment.dataset) == 0:
            raise DataError("the data set is empty")
    except DataError as error:
        raise experiment.dataset_problem(error.message, error.hints) from error
    for note in getattr(experiment.dataset, "notes", ()):
        report(f"data: {note}")


def run_folder(name: str, out: str | Path | None, resume: str) -> Path:
    """Picks the run folder: the one asked for, the one to resume, or the next free ``runs/NAME/NUMBER``.

    Raises:
        CheckpointError: The checkpoint to resume lies in no run folder.
    """
    if out is not None:
        return Path(out)
    if resume not in ("never", "auto"):
        home = _run_of(Path(resume))
        if home is None:
            raise CheckpointError(f"--resume {resume}: lies in no run folder", ["say where to go on: --out DIR"])
        return home
    parent = Path("runs") / name
    numbers = sorted(int(p.name) for p in parent.iterdir() if p.name.isdigit()) if parent.is_dir() else []
    if resume == "auto" and numbers:
        return parent / f"{numbers[-1]:03d}"
    return parent / f"{numbers[-1] + 1 if numbers else 1:03d}"


def _run_of(checkpoint: Path) -> Path | None:
    """Returns the run folder that a checkpoint lies in, if any; a folder is taken for one."""
    if checkpoint.is_dir():
        return checkpoint
    folder = checkpoint.absolute().parent
    return folder.parent if folder.name == "checkpoints" else None


def _holds_run(folder: Path) -> bool:
    return (folder / "config.yaml").exists() or (folder / "checkpoints").exists()


def _find_state(folder: Path, resume: str, report: Report) -> dict[str, Any] | None:
    """Returns the checkpoint to continue, or ``None`` to start afresh."""
    if folder.exists() and not folder.is_dir():
        raise I2IError(f"--out {folder}: not a folder")
    if resume == "never":
        if _holds_run(folder):
            raise _occupied(folder)
        return None
    if resume == "auto":
        state = Checkpoints(folder / "checkpoints").load_newest(report)
        if state is None and (folder / "model.safetensors").exists():
            raise CheckpointError(
                f"{folder}: holds a model, and no checkpoint to continue from",
                ["start in another folder: --out DIR"],
            )
        return state
    path = Path(resume)
    if not path.exists():
        raise CheckpointError(f"--resume {path}: no such checkpoint or run folder", ["or: never, auto"])
    home = _run_of(path)
    if _holds_run(folder) and (home is None or home.resolve() != folder.resolve()):
        raise _occupied(folder)
    if not path.is_dir():
        return load(path)
    state = Checkpoints(path / "checkpoints").load_newest(report)
    if state is None:
        raise CheckpointError(f"--resume {path}: the folder holds no checkpoints")
    return state


def _occupied(folder: Path) -> I2IError:
    return I2IError(
        f"--out {folder}: the folder already holds a run",
        ["continue it with --resume auto", "or start in another folder: --out DIR"],
    )


def _compare(now: dict[str, Any], then: dict[str, Any], folder: Path) -> None:
    """Refuses to continue a run with another configuration; only its length may grow."""
    now, then = copy.deepcopy(now), copy.deepcopy(then)
    for key in ("steps", "epochs"):
        length, before = now["trainer"].get(key), then["trainer"].get(key)
        is_new = key == "steps" and (length is None or before is None)
        if is_new or (length is not None and before is not None and length >= before):
            now["trainer"].pop(key, None)
            then["trainer"].pop(key, None)
    differences = [f"{path}: {old} in the run, {new} now" for path, old, new in _differences((), then, now)]
    if differences:
        raise I2IError(f"{folder}: the configuration differs from the run's; only trainer.steps may grow", differences)


_ABSENT = "nothing"


def _differences(path: Sequence[str], old: Any, new: Any) -> list[tuple[str, Any, Any]]:
    if isinstance(old, dict) and isinstance(new, dict):
        keys = dict.fromkeys([*old, *new])
        return [d for key in keys for d in _differences([*path, key], old.get(key, _ABSENT), new.get(key, _ABSENT))]
    return [] if old == new else [(".".join(path), old, new)]


def _prepare(folder: Path, experiment: Experiment, state: dict[str, Any] | None, is_numbered: bool) -> Path:
    """Makes the run folder, or readies the one to continue; returns it."""
    if not distributed.is_main():
        return folder
    try:
        if is_numbered:
            folder = _claim(folder)
        folder.mkdir(parents=True, exist_ok=True)
        Checkpoints(folder / "checkpoints").continue_from(state["step"] if state else 0)
        write_bytes(folder / "config.yaml", dump(experiment.resolved()).encode(), durable=True)
    except OSError as error:
        raise I2IError(f"--out {folder}: cannot be written: {error.strerror}") from error
    return folder


def _claim(folder: Path) -> Path:
    """Makes the folder, or the next number's where another process was faster."""
    while True:
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            folder = folder.with_name(f"{int(folder.name) + 1:03d}")
        else:
            return folder

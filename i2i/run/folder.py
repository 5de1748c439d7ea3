"""Where a run is kept: picking its folder, finding what to continue there, refusing what does not fit."""

import copy
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from i2i.core.config.document import dump
from i2i.core.errors import CheckpointError, I2IError
from i2i.core.files.atomic import remove_leftovers, write_bytes
from i2i.core.files.locks import try_lock
from i2i.inference.bundle.bundle import read_info
from i2i.training import distributed
from i2i.training.checkpoints import Checkpoints, load
from i2i.training.settings import TrainerSettings

Report = Callable[[str], None]


def run_folder(name: str, out: str | Path | None, resume: str) -> Path:
    """Picks the run folder: the one asked for, the one to resume, or the next free ``runs/NAME/NUMBER``.

    Raises:
        CheckpointError: The checkpoint to resume lies in no run folder.
    """
    if out is not None:
        return Path(out)
    if resume not in ("never", "auto"):
        if not Path(resume).exists():
            raise CheckpointError(f"--resume {resume}: no such checkpoint or run folder", ["or: never, auto"])
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


def find_state(folder: Path, resume: str, report: Report) -> dict[str, Any] | None:
    """Returns the checkpoint to continue, or ``None`` to start afresh."""
    if folder.exists() and not folder.is_dir():
        raise I2IError(f"--out {folder}: not a folder")
    if resume == "never":
        if _holds_run(folder):
            raise _occupied(folder)
        return None
    if resume == "auto":
        state = Checkpoints(folder / "checkpoints").load_newest(report)
        if state is None and (folder / "model.safetensors").exists() and not _died_in_first_save(folder):
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


def _died_in_first_save(folder: Path) -> bool:
    """Whether a run was killed when it had written its first model, and not yet the checkpoint that follows it."""
    info = read_info(folder / "model.safetensors")
    every = info.config.get("trainer", {}).get("checkpoint_every", TrainerSettings.checkpoint_every)
    return (folder / "checkpoints").is_dir() and info.step <= every


def _occupied(folder: Path) -> I2IError:
    return I2IError(
        f"--out {folder}: the folder already holds a run",
        ["continue it with --resume auto", "or start in another folder: --out DIR"],
    )


def is_fork(folder: Path, resume: str) -> bool:
    """Whether a run is to go on in a folder that holds none yet, so that its own stays as it is."""
    return resume not in ("never", "auto") and not _holds_run(folder)


def compare(now: dict[str, Any], then: dict[str, Any], folder: Path) -> None:
    """Refuses to continue a run with another configuration; only its length may grow.

    Raises:
        I2IError: The configuration is another one; says where they differ.
    """
    now, then = copy.deepcopy(now), copy.deepcopy(then)
    if "init_from" not in now:  # where a run began does not matter once it is on its way
        then.pop("init_from", None)
    for key in ("steps", "epochs"):
        length, before = now["trainer"].get(key), then["trainer"].get(key)
        is_new = key == "steps" and (length is None or before is None)
        if is_new or (length is not None and before is not None and length >= before):
            now["trainer"].pop(key, None)
            then["trainer"].pop(key, None)
    differences = [f"{path}: {old} in the run, {new} now" for path, old, new in differing(then, now)]
    if differences:
        hints = [*differences, f"to go on with other settings: --resume {folder} --out NEW_FOLDER"]
        raise I2IError(f"{folder}: the configuration differs from the run's; only trainer.steps may grow", hints)


_ABSENT = "nothing"


def differing(old: Any, new: Any, path: Sequence[str] = ()) -> list[tuple[str, Any, Any]]:
    """Lists where two documents differ: the key, with dots, its value in the old one and in the new one."""
    if isinstance(old, dict) and isinstance(new, dict):
        keys = dict.fromkeys([*old, *new])
        return [d for key in keys for d in differing(old.get(key, _ABSENT), new.get(key, _ABSENT), [*path, key])]
    return [] if old == new else [(".".join(path), old, new)]


def make_folder(folder: Path, is_numbered: bool) -> Path:
    """Makes the run folder, in the first process; returns it.

    Raises:
        I2IError: It cannot be made.
    """
    if not distributed.is_main():
        return folder
    try:
        if is_numbered:
            folder = _claim(folder)
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(folder, error) from error
    return folder


@contextmanager
def prepared(folder: Path, config: dict[str, Any], state: dict[str, Any] | None) -> Iterator[None]:
    """Readies the run folder and keeps others from training in it, in the first process.

    Args:
        folder: Exists.
        config: The resolved configuration.
        state: The checkpoint to continue.

    Raises:
        I2IError: It cannot be written, or another process trains there.
    """
    if not distributed.is_main():
        yield
        return
    try:
        lock = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o666)
        try:
            if try_lock(lock, is_own=True) is False:
                raise I2IError(
                    f"--out {folder}: another process trains in this folder",
                    ["wait for it, stop it, or train in another folder: --out DIR"],
                )
            Checkpoints(folder / "checkpoints").continue_from(state["step"] if state else 0)
            (folder / "checkpoints").mkdir(exist_ok=True)
            for place in (folder, folder / "samples"):
                remove_leftovers(place)
            write_bytes(folder / "config.yaml", dump(config).encode(), durable=True)
        except BaseException:
            os.close(lock)
            raise
    except OSError as error:
        raise _unwritable(folder, error) from error
    try:
        yield
    finally:
        os.close(lock)


def _unwritable(folder: Path, error: OSError) -> I2IError:
    return I2IError(f"--out {folder}: cannot be written: {error.strerror}")


def _claim(folder: Path) -> Path:
    """Makes the folder, or the next number's where another process was faster."""
    while True:
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            folder = folder.with_name(f"{int(folder.name) + 1:03d}")
        else:
            return folder

"""Training state on disk: whole files or none, read without running any code in them."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, JsonValue, ValidationError

from i2i.core.errors import CheckpointError, one_line
from i2i.core.files.atomic import remove_leftovers
from i2i.core.files.torch_files import load_torch_file
from i2i.training.state_files import read_state, write_state

_NAME = re.compile(r"step_(\d+)\.(safetensors|ckpt)$")  # .ckpt is i2i 0.1's


class _Config(BaseModel, strict=True, extra="allow"):
    trainer: dict[str, JsonValue]
    __pydantic_extra__: dict[str, JsonValue]


class _Best(BaseModel, strict=True, extra="forbid"):
    value: float | None = None
    step: int = 0


class _Optimizer(BaseModel, strict=True):
    state: dict[int, dict[str, Any]]
    param_groups: list[dict[str, Any]]


class _Parts(BaseModel, strict=True):
    """What checkpoints hold; the rest is for those to check who read it. Early ones lack what has a default here."""

    step: int = Field(ge=0, lt=1 << 53)
    config: _Config
    networks: dict[str, Any]
    optimizers: dict[str, _Optimizer]
    pipeline: list[dict[str, Any]] = Field(default=[{}], min_length=1)
    scalers: dict[str, dict[str, Any]] = {}
    ema: dict[str, Any] = {}
    best: _Best = _Best()
    detour: int = 0
    left_out: int = 0
    broken: dict[str, int] = {}


class Checkpoints:
    """The checkpoints of a run folder.

    Args:
        folder: ``RUN/checkpoints``.
        keep: How many to keep.
    """

    def __init__(self, folder: Path, keep: int = 2) -> None:
        self.folder, self.keep = folder, keep

    def paths(self) -> list[Path]:
        """Lists the checkpoints, newest first."""
        if not self.folder.is_dir():
            return []
        found = [path for path in self.folder.iterdir() if _NAME.match(path.name)]
        return sorted(found, key=lambda path: (step_of(path), path.suffix != ".ckpt"), reverse=True)

    def save(self, step: int, state: dict[str, Any]) -> Path:
        """Writes a checkpoint, then deletes those beyond ``keep``.

        Raises:
            OSError: The disk is full or the folder read-only.
            RuntimeError: The state could not be loaded again.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"step_{step:08d}.safetensors"
        try:
            _Parts.model_validate(state)
            write_state(path, state)
        except (TypeError, ValueError) as error:  # a plugin's state may be anything
            raise RuntimeError(f"the training state could not be loaded again: {one_line(error)}") from error
        for old in self.paths()[self.keep :]:
            old.unlink(missing_ok=True)
        return path

    def continue_from(self, step: int) -> None:
        """Sets newer checkpoints aside, which belong to another continuation; removes what a kill left half done."""
        for path in self.paths():
            if step_of(path) > step:
                path.replace(path.with_name(f"{path.name}.set_aside"))
        remove_leftovers(self.folder)

    def load_newest(self, report: Callable[[str], None]) -> dict[str, Any] | None:
        """Reads the newest checkpoint that can be read, or ``None`` where there is none at all.

        Raises:
            CheckpointError: There are checkpoints, and none can be read.
        """
        paths = self.paths()
        for path in paths:
            try:
                return load(path)
            except CheckpointError as error:
                report(f"{error.message}; it is passed over")
        if paths:
            raise CheckpointError(
                f"{self.folder}: none of {len(paths)} checkpoints can be read",
                ["--resume PATH continues a copy kept elsewhere", "--out DIR starts afresh in another folder"],
            )
        return None


def load(path: Path) -> dict[str, Any]:
    """Reads a checkpoint onto the CPU, one of i2i 0.1 as well.

    Raises:
        CheckpointError: The file is no checkpoint, or damaged.
    """
    try:
        with path.open("rb") as file:
            is_zip = file.read(4) == b"PK\x03\x04"  # of torch.save, as i2i 0.1 did
    except OSError as error:
        raise CheckpointError(f"{path}: {error.strerror or error}") from error
    state: dict[str, Any] = load_torch_file(path, "checkpoint") if is_zip else read_state(path)
    try:
        _Parts.model_validate(state)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "its content"
        raise CheckpointError(f"{path}: not a checkpoint of i2i: {where}: {first['msg']}") from None
    return state


def step_of(path: Path) -> int:
    """Returns the step in a checkpoint's name, or -1."""
    match = _NAME.match(path.name)
    return int(match.group(1)) if match else -1

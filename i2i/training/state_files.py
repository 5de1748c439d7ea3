"""Training state as tensors and JSON: nothing in a file could run code.

A state is a tree of dicts, lists, tuples, numbers, text, ``None`` and tensors. JSON has neither tensors nor tuples nor
keys that are no text: a dict with one key that begins with ``$`` stands for each.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from i2i.core.errors import CheckpointError
from i2i.core.files.tensor_files import check_digest, read_tensors, read_values, write_tensor_file

FORMAT = 2
_WHAT = "checkpoint"


def write_state(path: Path, state: Mapping[str, Any]) -> None:
    """Writes a state, whole or not at all.

    Raises:
        OSError: The disk is full or the folder read-only.
        TypeError: The state holds something that is no plain data, such as an object of a plugin.
    """
    tensors: dict[str, Tensor] = {}
    tree = _flattened(dict(state), "", tensors)
    write_tensor_file(path, tensors, {"format": FORMAT, "state": tree})


def read_state(path: Path) -> dict[str, Any]:
    """Reads a state onto the CPU.

    Raises:
        CheckpointError: The file is none, or damaged.
    """
    values = read_values(path, _WHAT)
    if values.get("format") != FORMAT or not isinstance(values.get("state"), dict):
        raise CheckpointError(f"{path}: not a checkpoint of i2i: its metadata hold no training state")
    check_digest(path, _WHAT)
    try:
        state = _restored(values["state"], read_tensors(path))
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise CheckpointError(f"{path}: not a checkpoint of i2i: {error}") from error
    if not isinstance(state, dict):
        raise CheckpointError(f"{path}: not a checkpoint of i2i: its state is no mapping")
    return state


def _flattened(value: Any, path: str, tensors: dict[str, Tensor]) -> Any:
    """Returns a tree as JSON, its tensors by name in ``tensors``."""
    if isinstance(value, Tensor):
        name = path.lstrip("/")
        while name in tensors:  # {"a/b": …} beside {"a": {"b": …}}
            name += "'"
        tensors[name] = value
        return {"$tensor": name}
    if isinstance(value, Mapping):
        children = [(key, _flattened(child, f"{path}/{key}", tensors)) for key, child in value.items()]
        if all(isinstance(key, str) and not key.startswith("$") for key in value):
            return dict(children)
        return {"$items": [[_flattened(key, path, tensors), child] for key, child in children]}
    if isinstance(value, list | tuple):
        children = [_flattened(child, f"{path}/{index}", tensors) for index, child in enumerate(value)]
        return {"$tuple": children} if isinstance(value, tuple) else children
    if isinstance(value, float) and not math.isfinite(value):
        return {"$float": str(value)}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"{path.lstrip('/')} holds {type(value).__name__}, which a checkpoint cannot keep")


def _restored(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    if isinstance(value, list):
        return [_restored(child, tensors) for child in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        ((key, inner),) = value.items()
        if key == "$tensor":
            return tensors[inner]
        if key == "$tuple":
            return tuple(_restored(child, tensors) for child in inner)
        if key == "$float":
            return float(inner)
        if key == "$items":
            return {_restored(name, tensors): _restored(child, tensors) for name, child in inner}
    return {key: _restored(child, tensors) for key, child in value.items()}

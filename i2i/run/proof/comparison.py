"""Whether two runs ended alike, bit for bit, and if not, where they differ first."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from i2i.core.errors import CheckpointError
from i2i.training.checkpoints import Checkpoints, load

BUNDLES = ("model.safetensors", "best.safetensors")
TIMES = ("images_per_second", "data_wait")  # what no two runs have in common


@dataclass
class Comparison:
    """What two runs have in common.

    Attributes:
        tensors: How many were compared.
        differences: What differs, by name, in the order of training: log, state, bundles.
    """

    tensors: int = 0
    differences: list[str] = field(default_factory=list)


def compare_runs(one: Path, other: Path) -> Comparison:
    """Compares log entries, the newest checkpoints and the bundles of two run folders."""
    found = Comparison()
    found.differences += log_differences(entries_of(one), entries_of(other))
    try:
        state, other_state = _newest(one), _newest(other)
    except CheckpointError as error:
        found.differences.append(error.message)
    else:
        found.tensors = sum(1 for _ in _tensors(state))
        found.differences += state_differences(state, other_state)
    for name in BUNDLES:
        contents = [path.read_bytes() if (path := folder / name).exists() else None for folder in (one, other)]
        if contents[0] != contents[1]:
            found.differences.append(
                f"{name}: differs" if None not in contents else f"{name}: is there in one run only"
            )
    return found


def _newest(folder: Path) -> dict[str, Any]:
    paths = Checkpoints(folder / "checkpoints").paths()
    if not paths:
        raise CheckpointError(f"{folder}: holds no checkpoint")
    return load(paths[0])


def entries_of(folder: Path) -> list[dict[str, Any]]:
    """Reads a run's log, without the times."""
    path = folder / "log.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    entries = [json.loads(line) for line in lines]
    return [{name: value for name, value in entry.items() if name not in TIMES} for entry in entries]


def log_differences(one: list[dict[str, Any]], other: list[dict[str, Any]]) -> list[str]:
    """Tells the first entry that differs; those after it follow from it."""
    for left, right in zip(one, other, strict=False):
        if left != right:
            names = [name for name in {**left, **right} if left.get(name) != right.get(name)]
            shown = ", ".join(f"{name} {left.get(name)} and {right.get(name)}" for name in names[:3])
            return [f"log.jsonl, from step {left['step']} on: {shown}"]
    return [f"log.jsonl: {len(one)} and {len(other)} entries"] if len(one) != len(other) else []


def state_differences(one: Any, other: Any, path: str = "") -> list[str]:
    """Compares nested states bit for bit; returns the names of what differs, and by how much."""
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return _tensor_difference(one, other, path)
    if isinstance(one, dict) and isinstance(other, dict):
        keys: list[Any] = [*one, *(key for key in other if key not in one)]
        apart = [key for key in keys if key not in one or key not in other]
        found = [f"{_join(path, key)}: is there in one run only" for key in apart]
        return found + [d for k in keys if k not in apart for d in state_differences(one[k], other[k], _join(path, k))]
    if isinstance(one, list | tuple) and isinstance(other, list | tuple) and len(one) == len(other):
        pairs = enumerate(zip(one, other, strict=True))
        return [d for index, (a, b) in pairs for d in state_differences(a, b, _join(path, index))]
    is_same = one == other or (one != one and other != other)
    return [] if is_same else [f"{path}: {_short(one)} and {_short(other)}"]


def _tensor_difference(one: Tensor, other: Tensor, path: str) -> list[str]:
    if one.dtype != other.dtype or one.shape != other.shape:
        shapes = [f"{str(t.dtype).removeprefix('torch.')} {list(t.shape)}" for t in (one, other)]
        return [f"{path}: {shapes[0]} and {shapes[1]}"]
    left, right = one.detach().contiguous().reshape(-1), other.detach().contiguous().reshape(-1)
    if torch.equal(left.view(torch.uint8), right.view(torch.uint8)):  # NaN equals itself here, and -0 is not 0
        return []
    gap = (left.double() - right.double()).abs()
    count = int((left != right).sum())
    return [f"{path}: {count} of {left.numel()} values differ, by up to {float(gap.nan_to_num(torch.inf).max()):.3g}"]


def _tensors(state: Any) -> Iterator[Tensor]:
    if isinstance(state, Tensor):
        yield state
    elif isinstance(state, dict | list | tuple):
        for part in state.values() if isinstance(state, dict) else state:
            yield from _tensors(part)


def _join(path: str, key: Any) -> str:
    return f"{path}.{key}" if path else str(key)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."

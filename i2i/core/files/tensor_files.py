"""Tensors and plain data in one ``.safetensors`` file that knows its own SHA-256.

The metadata hold one JSON value a key. The checksum is that of the whole file, with zeros in its own place. It finds
damage; against a stranger's intent it is no help, and nothing here relies on it: nothing in a file is run, and sizes
are held against the file.
"""

import hashlib
import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from i2i.core.errors import CheckpointError
from i2i.core.files.atomic import write_atomically

MAX_HEADER = 1 << 23  # bytes; that of a thousand tensors has 0.1 MB
_MAX_DEPTH = 50
_TYPES = {
    **{f"F{bits}": getattr(torch, f"float{bits}") for bits in (16, 32, 64)},
    **{f"I{bits}": getattr(torch, f"int{bits}") for bits in (8, 16, 32, 64)},
    "BF16": torch.bfloat16,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
_NAMES = {dtype: name for name, dtype in _TYPES.items()}
_DIGEST = "sha256"
_BLANK = "0" * 64


def write_tensor_file(path: Path, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
    """Writes a file, whole or not at all, one tensor in memory at a time; equal content makes equal files.

    Args:
        path: The file.
        tensors: By name, on any device.
        values: The metadata, plain data.

    Raises:
        OSError: The file cannot be written.
        TypeError: A value is no plain data, or a tensor of a type that such files do not hold.
    """
    metadata = {key: json.dumps(value) for key, value in {**values, _DIGEST: _BLANK}.items()}
    names = sorted(tensors, key=lambda name: (-tensors[name].element_size(), name))  # larger types first: aligned
    header: dict[str, Any] = {"__metadata__": dict(sorted(metadata.items()))}
    end = 0
    for name in names:
        tensor = tensors[name]
        if tensor.dtype not in _NAMES:
            raise TypeError(f"{name} is of the type {tensor.dtype}, which such files do not hold")
        begin, end = end, end + tensor.numel() * tensor.element_size()
        header[name] = {"dtype": _NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [begin, end]}
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # tensors begin at a multiple of 8
    start = len(text).to_bytes(8, "little") + text

    def write(file: BinaryIO) -> None:
        digest = hashlib.sha256(start)
        file.write(start)
        for name in names:
            data = tensors[name].detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data
            digest.update(data)
            file.write(data)
        file.seek(start.index(_BLANK.encode()))
        file.write(digest.hexdigest().encode())

    write_atomically(path, write)


def read_values(path: Path, what: str) -> dict[str, Any]:
    """Reads the metadata of a file, and no tensor.

    Args:
        path: The file.
        what: What the user calls such a file.

    Raises:
        CheckpointError: The file is no safetensors file, or claims more than such a file has.
    """
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
        if MAX_HEADER < length < path.stat().st_size:
            raise CheckpointError(f"{path}: not a {what}: its header has {length} bytes, more than {MAX_HEADER}")
        with safe_open(str(path), framework="pt") as opened:
            metadata = opened.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: not a {what}, which is a .safetensors file ({error})") from error
    try:
        values = {key: json.loads(value) for key, value in metadata.items()}
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: the {what}'s metadata is damaged ({error})") from error
    if _depth(values) > _MAX_DEPTH:
        raise CheckpointError(f"{path}: the {what}'s metadata is damaged: it is nested more than {_MAX_DEPTH} deep")
    return values


def _depth(value: Any) -> int:
    level, depth = [value], 0
    while level:
        lists = [list(node.values()) if isinstance(node, dict) else node for node in level]
        level = [child for node in lists if isinstance(node, list) for child in node]
        depth += 1
    return depth


def check_digest(path: Path, what: str) -> None:
    """Checks that a file is as it was written; bundles of i2i 0.1 to 0.3 have no checksum.

    Raises:
        CheckpointError: It is not.
    """
    stat = path.stat()
    if not _is_whole(path, what, stat.st_ino, stat.st_size, stat.st_mtime_ns):
        raise CheckpointError(
            f"{path}: the {what}'s checksum is wrong: it was damaged, or changed by another program",
            ["take it from where it came from again"],
        )


@lru_cache(maxsize=8)
def _is_whole(path: Path, what: str, *_: int) -> bool:
    digest = read_values(path, what).get(_DIGEST)
    if digest is None:
        return True
    with path.open("rb") as file:
        start = file.read(8)
        header = file.read(int.from_bytes(start, "little")).replace(str(digest).encode(), _BLANK.encode())
        found = hashlib.sha256(start + header)
        while block := file.read(1 << 20):
            found.update(block)
    return found.hexdigest() == digest


def read_tensors(path: Path, prefix: str = "") -> dict[str, Tensor]:
    """Reads the tensors whose names begin with a prefix, which is cut off; onto the CPU."""
    with safe_open(str(path), framework="pt") as file:
        return {name.removeprefix(prefix): file.get_tensor(name) for name in _names(file, prefix)}


def read_outline(path: Path, prefix: str = "") -> dict[str, Tensor]:
    """As :func:`read_tensors` on the meta device: types and shapes, and no values.

    Raises:
        CheckpointError: A tensor is of a type that networks do not have.
    """
    outline = {}
    with safe_open(str(path), framework="pt") as file:
        for name in _names(file, prefix):
            part = file.get_slice(name)
            dtype = _TYPES.get(part.get_dtype())
            if dtype is None:
                raise CheckpointError(f"{path}: {name} is of the type {part.get_dtype()}, which is not used")
            outline[name.removeprefix(prefix)] = torch.empty(part.get_shape(), dtype=dtype, device="meta")
    return outline


def _names(file: Any, prefix: str) -> list[str]:
    return [key for key in file.keys() if key.startswith(prefix)]  # noqa: SIM118 (no mapping)

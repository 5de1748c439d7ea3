"""The file of a bundle: tensors and metadata in a ``.safetensors`` file that knows its own SHA-256.

The checksum is that of the whole file, with zeros in its own place. It finds damage; against a stranger's intent it is
no help, and nothing here relies on it: sizes are held against the file, and nothing in it is run.
"""

import hashlib
import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from i2i.core.errors import CheckpointError
from i2i.core.files.atomic import write_bytes
from i2i.inference.bundle.place import FOREIGN

MAX_HEADER = 1 << 23  # bytes; that of a thousand tensors has 0.1 MB
_MAX_DEPTH = 50
_TYPES = {
    **{f"F{bits}": getattr(torch, f"float{bits}") for bits in (16, 32, 64)},
    **{f"I{bits}": getattr(torch, f"int{bits}") for bits in (8, 16, 32, 64)},
    "BF16": torch.bfloat16,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
_DIGEST = "sha256"
_BLANK = "0" * 64


def write_bundle_file(path: Path, tensors: dict[str, Tensor], values: Mapping[str, Any]) -> None:
    """Writes a bundle, whole or not at all; equal content makes equal files.

    Args:
        path: The file.
        tensors: By name, on the CPU.
        values: The metadata, plain data.
    """
    metadata = {key: json.dumps(value) for key, value in {**values, _DIGEST: _BLANK}.items()}
    data = _in_order(save(tensors, metadata))
    length = _header_length(data)
    header = data[8 : 8 + length].replace(_BLANK.encode(), hashlib.sha256(data).hexdigest().encode())
    write_bytes(path, data[:8] + header + data[8 + length :], durable=True)


def _in_order(data: bytes) -> bytes:
    """Sorts the metadata in a safetensors file, which come in random order."""
    length = _header_length(data)
    header = json.loads(data[8 : 8 + length])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # tensors begin at a multiple of 8
    return len(text).to_bytes(8, "little") + text + data[8 + length :]


def _header_length(data: bytes) -> int:
    return int.from_bytes(data[:8], "little")


def read_metadata(path: Path) -> dict[str, Any]:
    """Reads the metadata of a bundle, and no tensor.

    Raises:
        CheckpointError: The file is no safetensors file, or claims more than a bundle has.
    """
    try:
        with path.open("rb") as file:
            length = _header_length(file.read(8))
        if MAX_HEADER < length < path.stat().st_size:
            raise CheckpointError(f"{path}: not a bundle: its header has {length} bytes, more than {MAX_HEADER}")
        with safe_open(str(path), framework="pt") as opened:
            metadata = opened.metadata() or {}
    except (SafetensorError, OSError) as error:
        hints = [FOREIGN] if path.suffix in (".pth", ".pt", ".ckpt", ".bin") else []
        raise CheckpointError(f"{path}: not a bundle, which is a .safetensors file ({error})", hints) from error
    try:
        values = {key: json.loads(value) for key, value in metadata.items()}
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: the bundle's metadata is damaged ({error})") from error
    if _depth(values) > _MAX_DEPTH:
        raise CheckpointError(f"{path}: the bundle's metadata is damaged: it is nested more than {_MAX_DEPTH} deep")
    return values


def _depth(value: Any) -> int:
    level, depth = [value], 0
    while level:
        lists = [list(node.values()) if isinstance(node, dict) else node for node in level]
        level = [child for node in lists if isinstance(node, list) for child in node]
        depth += 1
    return depth


def check_digest(path: Path) -> None:
    """Checks that a bundle is as it was written; those of i2i 0.1 to 0.3 have no checksum.

    Raises:
        CheckpointError: It is not.
    """
    stat = path.stat()
    if not _is_whole(path, stat.st_ino, stat.st_size, stat.st_mtime_ns):
        raise CheckpointError(
            f"{path}: the bundle's checksum is wrong: it was damaged, or changed by another program",
            ["take it from where it came from again"],
        )


@lru_cache(maxsize=8)
def _is_whole(path: Path, *_: int) -> bool:
    digest = read_metadata(path).get(_DIGEST)
    if digest is None:
        return True
    with path.open("rb") as file:
        start = file.read(8)
        header = file.read(_header_length(start)).replace(str(digest).encode(), _BLANK.encode())
        found = hashlib.sha256(start + header)
        while block := file.read(1 << 20):
            found.update(block)
    return found.hexdigest() == digest


def read_state(path: Path, letter: str) -> dict[str, Tensor]:
    """Reads the weights of one of a bundle's networks, as a state dict.

    Raises:
        CheckpointError: The bundle is damaged.
    """
    check_digest(path)
    with safe_open(str(path), framework="pt") as file:
        return {name: file.get_tensor(f"{letter}.{name}") for name in _names(file, letter)}


def read_outline(path: Path, letter: str) -> dict[str, Tensor]:
    """As :func:`read_state` on the meta device: types and shapes, and no values.

    Raises:
        CheckpointError: The weights are of a type that networks do not have.
    """
    outline = {}
    with safe_open(str(path), framework="pt") as file:
        for name in _names(file, letter):
            part = file.get_slice(f"{letter}.{name}")
            dtype = _TYPES.get(part.get_dtype())
            if dtype is None:
                raise CheckpointError(f"{path}: {letter}.{name} is of the type {part.get_dtype()}, which is not used")
            outline[name] = torch.empty(part.get_shape(), dtype=dtype, device="meta")
    return outline


def read_shapes(path: Path, letter: str) -> dict[str, list[int]]:
    """Reads the shapes of the weights of one of a bundle's networks."""
    return {name: list(tensor.shape) for name, tensor in read_outline(path, letter).items()}


def _names(file: Any, letter: str) -> list[str]:
    prefix = f"{letter}."
    return [key.removeprefix(prefix) for key in file.keys() if key.startswith(prefix)]  # noqa: SIM118 (no mapping)

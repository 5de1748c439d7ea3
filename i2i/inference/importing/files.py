"""Which files hold a model, and the tensors in them."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from i2i.core.errors import CheckpointError
from i2i.core.files.torch_files import load_torch_file
from i2i.core.plugins import sha256

SUFFIXES = (".pth", ".pt", ".safetensors", ".bin", ".ckpt")
_ORIGINAL = re.compile(r"(?P<epoch>.+)_net_(?P<name>[A-Za-z]\w*)\.pth")
# G_A, netG_A2B, generator_ab; a name that says which way is needed only where there are two generators. A lone letter
# is a capital, and has a dash behind it: rgb, gb and db are other words.
_LOOSE = re.compile(
    r"(?:.*[_\-. ])?(?:(?i:net_?[GD]|generator|discriminator)[_-]?|[GD][_-])(?P<way>(?i:A2B|B2A|AB|BA|A|B))"
)
_WRAPPERS = {"module", "_orig_mod"}  # of DataParallel and torch.compile
_ROOTS = {"model", "net"}  # what all names of the reference's networks begin with


@dataclass(frozen=True)
class Source:
    """A file with the weights of one network.

    Attributes:
        path: The file.
        way: ``A`` or ``B`` where its name tells: the network of A -> B, of B -> A, as the original counts; else empty.
        epoch: As the name tells it: ``latest``, ``100``, ``iter_5000``; empty where it does not.
    """

    path: Path
    way: str = ""
    epoch: str = ""

    @property
    def name(self) -> str:
        return self.path.name

    def describe(self) -> dict[str, str]:
        """What a bundle keeps of it."""
        return {"file": self.name, "sha256": sha256(self.path)} | ({"epoch": self.epoch} if self.epoch else {})


def find_sources(paths: Sequence[Path], epoch: str | None = None) -> tuple[list[Source], list[str]]:
    """Lists the files that hold a model.

    Args:
        paths: Files, and folders as the original leaves them.
        epoch: Which of a folder's epochs; by default ``latest``, or the highest there is.

    Returns:
        The files, and lines that say what was chosen.

    Raises:
        CheckpointError: There is no such file, or none in a folder.
    """
    sources: list[Source] = []
    notes: list[str] = []
    for path in paths:
        if path.is_dir():
            found, said = _in_folder(path, epoch)
            sources += found
            notes += said
        elif path.is_file():
            sources.append(_source(path))
        else:
            raise CheckpointError(f"{path}: no such file or folder")
    return sources, notes


def _source(path: Path) -> Source:
    match = _ORIGINAL.fullmatch(path.name)
    if match is not None:
        way = match["name"].rpartition("_")[2]
        return Source(path, way if way in ("A", "B") else "", match["epoch"])
    loose = _LOOSE.fullmatch(path.stem)
    return Source(path, loose["way"][0].upper() if loose is not None else "")


def _in_folder(folder: Path, epoch: str | None) -> tuple[list[Source], list[str]]:
    try:
        files = sorted(path for path in folder.iterdir() if path.suffix in SUFFIXES and path.is_file())
    except OSError as error:
        raise CheckpointError(f"{folder}: cannot be read ({error.strerror})") from error
    if not files:
        raise CheckpointError(
            f"{folder}: holds no weights", ["expected files such as latest_net_G.pth, or latest_net_G_A.pth"]
        )
    sources = [_source(path) for path in files]
    epochs = sorted({source.epoch for source in sources if source.epoch}, key=_order)
    if not epochs and not epoch:
        return sources, []
    chosen = epoch or epochs[-1]
    if chosen not in epochs:
        raise CheckpointError(f"{folder}: holds no epoch {chosen!r}", [f"it holds {', '.join(epochs) or 'none'}"])
    others = [other for other in epochs if other != chosen]
    shown = ", ".join(others[-5:]) if len(others) <= 5 else f"…, {', '.join(others[-5:])}"
    note = [f"{folder}: epoch {chosen} was taken; --epoch chooses another: {shown}"] if others and not epoch else []
    return [source for source in sources if source.epoch == chosen], note


def _order(epoch: str) -> tuple[bool, int, str]:
    """``latest`` comes last, numbers by their value."""
    number = re.search(r"\d+$", epoch)
    return epoch == "latest", int(number[0]) if number else -1, epoch


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Reads a state dict, alone in its file or beside other things, without running code.

    Names lose what ``DataParallel``, ``torch.compile`` or a module around the network put before them.

    Raises:
        CheckpointError: The file cannot be read, is a bundle already, or does not hold one state dict.
    """
    values = _read_safetensors(path) if path.suffix == ".safetensors" else load_torch_file(path)
    found = dict(_state_dicts(values, ()))
    if len(found) != 1:
        names = ", ".join(".".join(place) for place in list(found)[:5])
        reason = f"holds {len(found)} state dicts: {names}" if found else "holds no state dict"
        raise CheckpointError(f"{path}: {reason}", ["expected one network's tensors by name, in a file of its own"])
    [tensors] = found.values()
    while _are_wrapped(tensors):
        tensors = {name.partition(".")[2]: tensor for name, tensor in tensors.items()}
    for name, tensor in tensors.items():
        if tensor.layout is not torch.strided:
            raise CheckpointError(f"{path}: the tensor {name} is sparse, and weights are dense")
        if tensor.numel() == 0 or tensor.is_meta:
            raise CheckpointError(f"{path}: the tensor {name} {list(tensor.shape)} has no values")
        if not tensor.is_floating_point() and not name.endswith("num_batches_tracked"):
            raise CheckpointError(
                f"{path}: the tensor {name} is of {tensor.dtype}, and weights are floating-point numbers"
            )
    return tensors


def _are_wrapped(names: Collection[str]) -> bool:
    """Whether all names begin with a word that the network itself has not."""
    heads, rests = {name.partition(".")[0] for name in names}, [name.partition(".")[2] for name in names]
    if heads <= _WRAPPERS and heads:
        return True
    return len(heads) == 1 and not heads & _ROOTS and all(rest.partition(".")[0] in _ROOTS for rest in rests)


def _state_dicts(value: Any, place: tuple[str, ...]) -> list[tuple[tuple[str, ...], dict[str, Tensor]]]:
    """Finds mappings of names to tensors, such as below the key ``state_dict``; the states of optimizers are none."""
    if not isinstance(value, Mapping) or len(place) > 3:
        return []
    tensors = {str(name): item for name, item in value.items() if isinstance(name, str) and isinstance(item, Tensor)}
    if any(name.endswith(".weight") and tensor.ndim >= 2 for name, tensor in tensors.items()):
        return [(place, tensors)]
    return [found for key, child in value.items() for found in _state_dicts(child, (*place, str(key)))]


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        with safe_open(str(path), framework="pt") as file:
            if {"format", "pipeline", "networks"} <= (file.metadata() or {}).keys():
                raise CheckpointError(f"{path}: is a bundle already", ["translate takes it as it is"])
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: not readable as a safetensors file ({error})") from error

"""The file of a bundle: the tensors are ``LETTER.parameter``, the metadata tell how to use them."""

from pathlib import Path
from typing import Any

from torch import Tensor

from i2i.core.errors import CheckpointError
from i2i.core.files import tensor_files
from i2i.inference.bundle.place import FOREIGN

_WHAT = "bundle"


def read_metadata(path: Path) -> dict[str, Any]:
    """Reads the metadata of a bundle, and no tensor.

    Raises:
        CheckpointError: The file is no safetensors file, or claims more than a bundle has.
    """
    try:
        return tensor_files.read_values(path, _WHAT)
    except CheckpointError as error:
        if path.suffix in (".pth", ".pt", ".ckpt", ".bin"):
            raise CheckpointError(error.message, [*error.hints, FOREIGN]) from error
        raise


def read_state(path: Path, letter: str) -> dict[str, Tensor]:
    """Reads the weights of one of a bundle's networks, as a state dict.

    Raises:
        CheckpointError: The bundle is damaged.
    """
    tensor_files.check_digest(path, _WHAT)
    return tensor_files.read_tensors(path, f"{letter}.")


def read_outline(path: Path, letter: str) -> dict[str, Tensor]:
    """As :func:`read_state` on the meta device: types and shapes, and no values.

    Raises:
        CheckpointError: The weights are of a type that networks do not have.
    """
    return tensor_files.read_outline(path, f"{letter}.")


def read_shapes(path: Path, letter: str) -> dict[str, list[int]]:
    """Reads the shapes of the weights of one of a bundle's networks."""
    return {name: list(tensor.shape) for name, tensor in read_outline(path, letter).items()}

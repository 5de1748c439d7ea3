"""Golden numbers of the reference implementations, where this checkout has them."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

SHARED = Path(os.environ.get("I2I_SHARED") or Path(__file__).parents[3] / "shared")


@pytest.fixture
def golden() -> Callable[[str], tuple[dict[str, Tensor], dict]]:
    """Reads ``NAME.safetensors`` as its tensors and its metadata, or skips the test."""

    def read(name: str) -> tuple[dict[str, Tensor], dict]:
        path = SHARED / "golden" / f"{name}.safetensors"
        if not path.exists():
            pytest.skip(f"no golden numbers at {path}; set I2I_SHARED to the folder that holds golden/")
        with safe_open(path, "pt") as file:
            metadata = {key: json.loads(value) for key, value in file.metadata().items()}
        return load_file(path), metadata

    return read

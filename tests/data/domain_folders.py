"""Small sets of two domains for tests: plain images whose one value tells which they are."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from i2i.core.errors import DataError
from i2i.data.two_domains import TwoDomains
from i2i.images.files import to_uint8

SMALL: dict[str, Any] = {"load_size": 20, "crop_size": 16}


def plain(value: int, size: tuple[int, int] = (24, 20)) -> Image.Image:
    return Image.new("RGB", size, (value, value, value))


def save(path: Path, image: Image.Image) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)


def two_folders(
    root: Path, count_a: int = 3, count_b: int = 3, pattern: str = "train{}/{}.png", names: Any = "AB"
) -> Path:
    for value in range(count_a):
        save(root / pattern.format(names[0], value), plain(value))
    for value in range(count_b):
        save(root / pattern.format(names[1], value), plain(100 + value))
    return root


def side_by_side(root: Path, count: int = 3, split: str = "train", size: tuple[int, int] = (48, 20)) -> Path:
    for value in range(count):
        image = plain(value, size)
        image.paste(plain(100 + value, size), (size[0] // 2, 0))
        save(root / split / f"{value}.png", image)
    return root


def rng(*seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def value_of(tensor: torch.Tensor) -> int:
    """The one value of a plain image."""
    assert (tensor == tensor.flatten()[0]).all()
    return int(to_uint8(tensor).flat[0])


def refusal(make: Callable[[], TwoDomains]) -> DataError:
    with pytest.raises(DataError) as error:
        make().scan()
    return error.value

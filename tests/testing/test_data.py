"""check_dataset passes a sound class and names the clause that a broken one breaks."""

from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from i2i.images.codecs import ImageCodec
from i2i.testing import check_dataset


class Numbers:
    """A sound data set."""

    channels: ClassVar[Any] = {"a": 1, "b": 3}

    def __init__(self, length: int = 5) -> None:
        self.length = length

    def __len__(self) -> int:
        return self.length

    def get(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        image = {name: torch.from_numpy(rng.uniform(-1, 1, (n, 4, 4))).float() for name, n in self.channels.items()}
        return {**image, "a_path": f"{index}", "b_path": f"{index}"}

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.get(index, np.random.default_rng(index))


class Legacy(Numbers):
    """Draws from the global state, as data sets of other projects do."""

    get = None  # type: ignore[assignment]

    def __getattribute__(self, name):
        if name == "get":
            raise AttributeError(name)
        return super().__getattribute__(name)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return Numbers.get(self, index, np.random.default_rng(int(torch.randint(1 << 30, ()))))


class Bytes(Numbers):
    def get(self, index, rng):
        return {**super().get(index, rng), "a": torch.zeros(1, 4, 4, dtype=torch.uint8)}


class UnitRange(Numbers):
    def get(self, index, rng):
        return {**super().get(index, rng), "b": 255 * torch.ones(3, 4, 4)}


class WrongChannels(Numbers):
    channels: ClassVar[Any] = {"a": 1, "b": 3, "c": 2}

    def get(self, index, rng):
        return {**super().get(index, rng), "c": torch.zeros(1, 4, 4)}


class OtherSize(Numbers):
    size = (4, 5)


class OtherCodec(Numbers):
    codecs: ClassVar[Any] = {"b": ImageCodec(4)}


class Undescribed(Numbers):
    class Codec(ImageCodec):
        def describe(self):
            return {"kind": "secret"}

    codecs: ClassVar[Any] = {"a": Codec(1)}


class Classes(Numbers):
    """A sound data set of images with classes."""

    channels: ClassVar[Any] = {"image": 3}
    num_classes = 7
    label: ClassVar[Any] = torch.tensor(6)

    def get(self, index, rng):
        return {"image": torch.from_numpy(rng.uniform(-1, 1, (3, 4, 4))).float(), "path": "x", "label": self.label}


class TooFewClasses(Classes):
    num_classes = 6


class FloatClass(Classes):
    label: ClassVar[Any] = torch.tensor(6.0)


class Pathless(Numbers):
    def get(self, index, rng):
        return {key: value for key, value in super().get(index, rng).items() if key != "b_path"}


class Impatient(Numbers):
    def get(self, index, rng):
        return super().get(index, np.random.default_rng())


class Unpicklable(Numbers):
    def __init__(self) -> None:
        super().__init__()
        self.load = lambda path: path


class Late(Numbers):
    channels: ClassVar[Any] = None


class Missing(Numbers):
    def get(self, index, rng):
        raise FileNotFoundError(f"no {index}.png")


def test_sound_datasets_pass():
    check_dataset(Numbers)
    check_dataset(Numbers, length=1)
    check_dataset(Legacy)
    check_dataset(Classes)


@pytest.mark.parametrize(
    ("component", "clause"),
    [
        (Bytes, "'a' of an item is torch.uint8, expected float32"),
        (UnitRange, r"'b' of an item has values in \[255, 255\], expected \[-1, 1\]"),
        (WrongChannels, r"'c' of an item has shape \[1, 4, 4\], expected \[2, H, W\]"),
        (OtherSize, r"'a' of an item has shape \[1, 4, 4\], but the attribute 'size' is \(4, 5\)"),
        (OtherCodec, "the codec of 'b' has 4 channels, 'channels' says 3"),
        (Undescribed, "the codec of 'a' does not describe itself: ValueError: no kind of domain is named 'secret'"),
        (TooFewClasses, "item 0 cannot be read: ValueError: its label is 6, expected a class from 0 to 5"),
        (FloatClass, r"'label' of an item is tensor\(6.\), expected an int64 scalar tensor"),
        (Pathless, "'b_path' of an item is None, expected text"),
        (Impatient, r"item 0 read twice differs: all randomness must come from the generator given to get\(\)"),
        (Unpicklable, "cannot be sent to a worker process"),
        (Late, "the attribute 'channels' is None"),
        (Missing, "item 0 cannot be read: FileNotFoundError: no 0.png"),
    ],
)
def test_a_broken_dataset_is_told_what_is_broken(component, clause):
    with pytest.raises(AssertionError, match=rf"^{component.__name__}: .*{clause}"):
        check_dataset(component)


def test_an_empty_dataset_is_refused():
    with pytest.raises(AssertionError, match="Numbers: is empty"):
        check_dataset(Numbers, length=0)

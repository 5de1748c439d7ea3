"""What the tensors of a domain mean: from a file to the tensor that networks see, and back to what a file holds.

Most domains are images. A domain of labels is a class at each pixel: networks see it one-hot, or as a picture in the
classes' colours; files hold class ids. The codec of each domain is kept in the bundle, so that translating needs
nothing else.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from i2i.images import load_image, to_tensor, to_uint8, to_uint16

if TYPE_CHECKING:
    import torch


class Codec(ABC):
    """How a domain is written in files and in tensors.

    Attributes:
        kind: Its name in a bundle.
        channels: Of its tensors.
    """

    kind: ClassVar[str]
    channels: int

    @abstractmethod
    def load(self, path: str) -> tuple[np.ndarray, tuple[str, ...]]:
        """Reads a file as an array ``[H, W, C]``, and names the conversions that were made.

        Raises:
            DataError: ``PATH: reason``; the file does not hold what the domain needs.
        """

    @abstractmethod
    def encode(self, array: np.ndarray) -> torch.Tensor:
        """Turns an array of :meth:`load`, perhaps augmented, into a tensor ``[C, H, W]``."""

    @abstractmethod
    def decode(self, tensors: torch.Tensor) -> np.ndarray:
        """Turns tensors ``[..., C, H, W]`` into arrays as files hold them, ``[..., H, W, C']``."""

    @abstractmethod
    def show(self, tensors: torch.Tensor) -> np.ndarray:
        """Turns tensors ``[..., C, H, W]`` into pictures to look at, uint8 ``[..., H, W, 3]``."""

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """Returns what :func:`codec_of` makes the same codec of; plain JSON."""


class ImageCodec(Codec):
    """Images in [-1, 1].

    Args:
        channels: Of the images.
        depth: Bits of a channel in the files that are written.
    """

    kind = "image"

    def __init__(self, channels: int, depth: Literal[8, 16] = 8) -> None:
        self.channels, self.depth = channels, depth

    def load(self, path: str) -> tuple[np.ndarray, tuple[str, ...]]:
        return load_image(path, self.channels)

    def encode(self, array: np.ndarray) -> torch.Tensor:
        return to_tensor(array)

    def decode(self, tensors: torch.Tensor) -> np.ndarray:
        return to_uint8(tensors) if self.depth == 8 else to_uint16(tensors)

    def show(self, tensors: torch.Tensor) -> np.ndarray:
        pictures = to_uint8(tensors)
        if pictures.shape[-1] < 3:
            return np.repeat(pictures[..., :1], 3, axis=-1)
        return pictures[..., :3]

    def describe(self) -> dict[str, Any]:
        return {"kind": self.kind, "channels": self.channels, "depth": self.depth}


@dataclass(frozen=True)
class LabelClass:
    """One class.

    Attributes:
        id: In files.
        name: For people.
        colour: RGB, 0 to 255.
    """

    id: int
    name: str
    colour: tuple[int, int, int]


class LabelCodec(Codec):
    """A class at each pixel.

    Args:
        classes: In the order of the one-hot channels.
        encoding: ``onehot`` is 0 or 1 in a channel a class; ``palette`` the classes' colours in [-1, 1].
    """

    kind = "labels"

    def __init__(self, classes: Sequence[LabelClass], encoding: Literal["onehot", "palette"] = "onehot") -> None:
        self.classes, self.encoding = tuple(classes), encoding
        self.channels = len(self.classes) if encoding == "onehot" else 3
        self._ids = np.array([c.id for c in self.classes], np.uint8)
        self._colours = np.array([c.colour for c in self.classes], np.uint8)  # [K, 3]
        self._index = np.full(256, 255, np.uint8)
        self._index[self._ids] = np.arange(len(self.classes), dtype=np.uint8)

    def load(self, path: str) -> tuple[np.ndarray, tuple[str, ...]]:
        raise NotImplementedError  # being built

    def encode(self, array: np.ndarray) -> torch.Tensor:
        import torch

        index = self._index[array[..., 0]]  # [H, W]
        if self.encoding == "palette":
            return to_tensor(self._colours[index])
        onehot = index[None] == np.arange(len(self.classes), dtype=np.uint8)[:, None, None]
        return torch.from_numpy(onehot.astype(np.float32))  # [K, H, W]

    def decode(self, tensors: torch.Tensor) -> np.ndarray:
        return self._ids[self._index_of(tensors)][..., None]

    def show(self, tensors: torch.Tensor) -> np.ndarray:
        return self._colours[self._index_of(tensors)]

    def describe(self) -> dict[str, Any]:
        classes = [{"id": c.id, "name": c.name, "colour": list(c.colour)} for c in self.classes]
        return {"kind": self.kind, "encoding": self.encoding, "classes": classes}

    def _index_of(self, tensors: torch.Tensor) -> np.ndarray:
        """The likeliest class at each pixel, ``[..., H, W]``."""
        import torch

        if self.encoding == "onehot":
            return tensors.detach().argmax(-3).cpu().numpy()
        colours = torch.from_numpy(self._colours.astype(np.float32) / 127.5 - 1).to(tensors.device)  # [K, 3]
        pixels = tensors.detach().float().movedim(-3, -1)  # [..., H, W, 3]
        return torch.cdist(pixels.flatten(0, -2), colours).argmin(1).reshape(pixels.shape[:-1]).cpu().numpy()


def codec_of(description: Mapping[str, Any]) -> Codec:
    """Makes a codec of what :meth:`Codec.describe` returned.

    Raises:
        ValueError: It is no such description.
    """
    try:
        values = dict(description)
        kind = values.pop("kind")
        if kind == ImageCodec.kind:
            return ImageCodec(int(values["channels"]), values["depth"])
        if kind == LabelCodec.kind:
            classes = [LabelClass(c["id"], c["name"], (*c["colour"],)) for c in values["classes"]]
            return LabelCodec(classes, values["encoding"])
    except (KeyError, TypeError) as error:
        raise ValueError(f"not the description of a domain: {error}") from error
    raise ValueError(f"no kind of domain is named {kind!r}")


def codecs_of(dataset: Any) -> dict[str, Codec]:
    """Returns the codec of each domain of a data set; one that names none holds images."""
    own: Mapping[str, Codec] | None = getattr(dataset, "codecs", None)
    return {name: (own or {}).get(name) or ImageCodec(count) for name, count in dataset.channels.items()}

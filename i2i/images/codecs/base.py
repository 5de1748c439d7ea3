"""The interface of a codec, and side-by-side files."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from i2i.core.errors import DataError
from i2i.images.decoding import MAX_PIXELS, AtLeast, Refused
from i2i.images.files import load_image

if TYPE_CHECKING:
    import torch

Half = Literal["left", "right"]


class Codec(ABC):
    """How a domain is written in files and in tensors.

    Attributes:
        kind: Its name in a bundle.
        target: What augmentation takes its arrays for: an ``image``, or a ``mask``, which is never interpolated.
        needs_pixels: Whether only the pixels tell if a file can be used, rather than its header.
        channels: Of its tensors.
        max_pixels: Files whose header claims more are refused before they are decoded.
        least_size: Height and width that will do: larger JPEGs may be decoded at a fraction of their size, see
            :class:`i2i.images.decoding.AtLeast`. ``None`` decodes all of it.
        palette: uint8 ``[256, 3]``: the colours in which viewers show the values of files, if not gray.
    """

    kind: ClassVar[str]
    target: ClassVar[Literal["image", "mask"]] = "image"
    needs_pixels: ClassVar[bool] = False
    channels: int
    max_pixels: int = MAX_PIXELS
    least_size: tuple[int, int] | None = None
    palette: np.ndarray | None = None

    @property
    @abstractmethod
    def formats(self) -> tuple[str, ...]:
        """The formats that hold what :meth:`decode` returns, keys of ``WRITERS``; the default first."""

    @property
    @abstractmethod
    def about(self) -> str:
        """What files hold, in words."""

    def load(self, path: str | os.PathLike[str], half: Half | None = None) -> tuple[np.ndarray, tuple[str, ...]]:
        """Reads a file as an array ``[H, W, C]``, and names the conversions that were made.

        Args:
            path: The file.
            half: Which half of a side-by-side file is read; ``None`` for the whole.

        Raises:
            DataError: ``PATH: reason``; the file does not hold what the domain needs.
        """
        if half is None:
            return self.load_whole(path)
        (array,), notes = load_halves(path, [(self, half)])
        return array, notes

    def settle(self, depths: Mapping[Any, int]) -> str:
        """Takes note of the depths of the files that were seen; returns what is worth telling."""
        return ""

    @abstractmethod
    def load_whole(self, path: str | os.PathLike[str]) -> tuple[np.ndarray, tuple[str, ...]]:
        """Reads a file that is the domain's alone; see :meth:`load`."""

    @abstractmethod
    def fit(self, array: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
        """Brings pixels ``[H, W, C]`` of whatever channels to what :meth:`load` returns, where that loses nothing.

        Raises:
            Refused: It would.
        """

    @abstractmethod
    def encode(self, array: np.ndarray) -> torch.Tensor:
        """Turns an array of :meth:`load`, perhaps augmented, into a tensor ``[C, H, W]``."""

    @abstractmethod
    def decode(self, tensors: torch.Tensor) -> np.ndarray:
        """Turns tensors ``[..., C, H, W]`` into arrays as files hold them, ``[..., H, W, C']``."""

    def blank(self) -> np.ndarray:
        """Returns a tiny array as files hold it, ``[8, 8, C']``."""
        import torch

        return self.decode(torch.zeros(self.channels, 8, 8))

    @abstractmethod
    def show(self, tensors: torch.Tensor) -> np.ndarray:
        """Turns tensors ``[..., C, H, W]`` into pictures to look at, uint8 ``[..., H, W, 3]``."""

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """Returns what :func:`i2i.images.codecs.codec_of` makes the same codec of; plain JSON."""


def load_halves(
    path: str | os.PathLike[str], sides: Sequence[tuple[Codec, Half]]
) -> tuple[list[np.ndarray], tuple[str, ...]]:
    """Reads halves of a side-by-side file, which is decoded once.

    Args:
        path: The file.
        sides: What the domain of each half is.

    Returns:
        An array a side, as :meth:`Codec.load` returns them, and the conversions made of the whole.

    Raises:
        DataError: ``PATH: reason``.
    """
    # Transparency is kept for those who want it; to its channels, each half is fitted later.
    wanted = [codec.channels for codec, _ in sides if codec.target == "image" and codec.channels in (2, 4)]
    max_pixels = min(codec.max_pixels for codec, _ in sides)
    sizes = [codec.least_size for codec, _ in sides]
    known = [size for size in sizes if size is not None]
    at_least = None
    if len(known) == len(sizes):  # class ids would not survive it
        at_least = AtLeast(max(height for height, _ in known), max(width for _, width in known), parts=2)
    channels = max(wanted, default=None)
    whole, notes = load_image(path, channels, max_pixels=max_pixels, any_type=True, at_least=at_least)
    width = whole.shape[1]
    if width % 2:
        raise DataError(f"{path}: has two halves side by side, but its width of {width} pixels is odd")
    arrays = []
    for codec, half in sides:
        cut = whole[:, : width // 2] if half == "left" else whole[:, width // 2 :]
        try:
            if codec.target == "mask" and cut.shape[2] == 1 and Path(path).suffix.lower() in (".jpg", ".jpeg"):
                raise Refused("is a gray JPEG, whose compression has changed the class ids")
            arrays.append(np.ascontiguousarray(codec.fit(cut)[0]))
        except Refused as error:
            raise DataError(f"{path}: its {half} half {error}", error.hints) from error
    return arrays, notes

"""Images in [-1, 1]."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from i2i.codecs.base import Codec
from i2i.decoding import fit_channels
from i2i.images import load_image, to_tensor, to_uint8, to_uint16

if TYPE_CHECKING:
    import torch


class ImageCodec(Codec):
    """Images in [-1, 1].

    Args:
        channels: Of the images.
        depth: Bits of a channel in the files that are written.
    """

    kind = "image"

    def __init__(self, channels: int, depth: Literal[8, 16] = 8) -> None:
        self.channels, self.depth = channels, depth

    def load_whole(self, path: str | os.PathLike[str]) -> tuple[np.ndarray, tuple[str, ...]]:
        return load_image(path, self.channels)

    def fit(self, array: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
        return fit_channels(array, self.channels)

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

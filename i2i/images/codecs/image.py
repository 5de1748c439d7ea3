"""Images in [-1, 1]."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from i2i.core.errors import DataError
from i2i.images.codecs.base import Codec
from i2i.images.decoding import AtLeast, Refused, fit_channels
from i2i.images.files import WRITERS, load_image, to_tensor, to_uint8, to_uint16

if TYPE_CHECKING:
    import torch

Depth = Literal[8, 16, 32]
_RASTERS = ("tiff", "tif", "npy")


class ImageCodec(Codec):
    """Images in [-1, 1].

    Args:
        channels: Of the images.
        depth: Bits of a channel in the files that are written; 32 are floats. ``None`` leaves it to :meth:`settle`.
        value_range: Which values in files stand for -1 and 1; ``None`` is all that 8 or 16 bits hold. Values outside
            of it are refused. Floats need it.
    """

    kind = "image"

    def __init__(self, channels: int, depth: Depth | None = 8, value_range: tuple[float, float] | None = None) -> None:
        self.channels, self.value_range = channels, value_range
        self.depth: Depth = depth or 8
        self._is_open = depth is None

    def settle(self, depths: Mapping[Depth, int]) -> str:
        """Writes as deep as the deepest of the files that were seen, where nothing else was asked for.

        Args:
            depths: How many files have which depth.

        Returns:
            What is worth telling.
        """
        if not self._is_open or not depths:
            return ""
        self.depth = max(depths)
        return f"{depths[self.depth]} of {self.depth} bits, so translations have that many" if len(depths) > 1 else ""

    @property
    def formats(self) -> tuple[str, ...]:
        if self.depth == 32 or self.channels not in (1, 3, 4):
            return _RASTERS
        return tuple(WRITERS) if self.depth == 8 else ("png", *_RASTERS)

    @property
    def about(self) -> str:
        kind = "float" if self.depth == 32 else f"{self.depth}-bit"
        return f"{kind} images of {self.channels} channel{'s' * (self.channels != 1)}"

    def load_whole(self, path: str | os.PathLike[str]) -> tuple[np.ndarray, tuple[str, ...]]:
        array, notes = load_image(
            path,
            self.channels,
            max_pixels=self.max_pixels,
            any_type=self.value_range is not None,
            at_least=AtLeast(*self.least_size) if self.least_size else None,
        )
        try:
            return self._scaled(array), notes
        except Refused as error:
            raise DataError(f"{path}: {error}", error.hints) from error

    def fit(self, array: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
        array, notes = fit_channels(array, self.channels)
        return self._scaled(array), notes

    def encode(self, array: np.ndarray) -> torch.Tensor:
        return to_tensor(array)

    def decode(self, tensors: torch.Tensor) -> np.ndarray:
        if self.value_range is None:
            return to_uint8(tensors) if self.depth == 8 else to_uint16(tensors)
        low, high = self.value_range
        unit = (tensors.detach().cpu().double().clamp(-1, 1) + 1) / 2
        values = np.ascontiguousarray((low + unit * (high - low)).movedim(-3, -1).numpy())
        if self.depth == 32:
            return values.astype(np.float32)
        return np.clip(np.round(values), 0, 2**self.depth - 1).astype(np.uint8 if self.depth == 8 else np.uint16)

    def show(self, tensors: torch.Tensor) -> np.ndarray:
        pictures = to_uint8(tensors)
        if pictures.shape[-1] < 3:
            return np.repeat(pictures[..., :1], 3, axis=-1)
        return pictures[..., :3]

    def describe(self) -> dict[str, Any]:
        values = self.value_range and list(self.value_range)
        return {"kind": self.kind, "channels": self.channels, "depth": self.depth, "value_range": values}

    @classmethod
    def of(cls, description: dict[str, Any]) -> ImageCodec:
        """Makes a codec of what :meth:`describe` returned."""
        depth, values = description["depth"], description.get("value_range")
        if depth not in (8, 16, 32):
            raise ValueError(f"images have 8, 16 or 32 bits, not {depth!r}")
        if values is not None:
            low, high = map(float, values)
            values = low, high
        return cls(int(description["channels"]), depth, values)

    def _scaled(self, array: np.ndarray) -> np.ndarray:
        """Returns ``[H, W, C]`` as integers, or, where there is a range, as float32 in [0, 1].

        Raises:
            Refused: Values are outside of the range.
        """
        if self.value_range is None:
            if array.dtype not in (np.uint8, np.uint16):
                hints = ("declare the range of its values: data.value_range=[lowest, highest]",)
                raise Refused(f"holds {array.dtype} values, of which black and white are not known", hints)
            return array
        low, high = self.value_range
        least, most = array.min(), array.max()
        if not (low <= least and most <= high):  # NaN is neither
            found = "values that are no numbers" if np.isnan(least) else f"values from {least:g} to {most:g}"
            hints = ("data.value_range=[lowest, highest] of all files; what is beyond is to be clipped beforehand",)
            raise Refused(f"holds {found}, outside of value_range [{low:g}, {high:g}]", hints)
        return ((array.astype(np.float64) - low) / (high - low)).astype(np.float32)

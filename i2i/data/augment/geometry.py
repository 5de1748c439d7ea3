"""The steps of the presets: the pixels that albumentations makes of them, without what its pipelines cost an image."""

import random
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

_CHANNELS = 4  # that OpenCV's functions take at once


class CropTooLarge(ValueError):
    """A crop does not fit into the image; the message is ``(height, width) CROP of IMAGE``."""


class Geometry:
    """Resize, crop and flip, each at most once and in this order.

    Args:
        nodes: Of a preset, as :func:`i2i.data.augment.transforms.preset` writes it out.
    """

    def __init__(self, nodes: Sequence[Mapping[str, Any]]) -> None:
        sizes = {node["type"]: (node.get("height"), node.get("width")) for node in nodes}
        self.load_size: Any = sizes.get("Resize")
        self.crop_size: Any = sizes.get("RandomCrop")
        self.flips = "HorizontalFlip" in sizes

    def resized(self, image: np.ndarray, is_label: bool) -> np.ndarray:
        """Resizes ``[H, W, C]``; labels to the nearest, others by area where a side shrinks, else bicubic."""
        height, width = self.load_size
        if image.shape[:2] == (height, width):
            return image
        import cv2

        shrinks = height < image.shape[0] or width < image.shape[1]
        kernel = cv2.INTER_NEAREST_EXACT if is_label else cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
        parts = [cv2.resize(group, (width, height), interpolation=kernel) for group in _groups(image)]
        shaped = [part if part.ndim == 3 else part[..., None] for part in parts]
        return shaped[0] if len(shaped) == 1 else np.concatenate(shaped, axis=2)

    def window(self, images: Mapping[str, np.ndarray], seed: int) -> dict[str, np.ndarray]:
        """Cuts the same place out of all images, and flips all or none; these are views.

        Raises:
            CropTooLarge: The first image is smaller.
        """
        drawn = random.Random(seed)
        drawn.random()  # the library asks whether to do anything at all
        outputs = dict(images)
        if self.crop_size:
            height, width = self.crop_size
            rows, columns = next(iter(images.values())).shape[:2]
            if height > rows or width > columns:
                raise CropTooLarge(f"(height, width) {(height, width)} of {(rows, columns)}")
            top = int((rows - height + 1) * drawn.random())
            left = int((columns - width + 1) * drawn.random())
            outputs = {name: image[top : top + height, left : left + width] for name, image in outputs.items()}
        if self.flips and drawn.random() < 0.5:
            outputs = {name: image[:, ::-1] for name, image in outputs.items()}
        return outputs


def _groups(image: np.ndarray) -> list[np.ndarray]:
    """Splits channels as the library does: the last bits of floats depend on how many are resized at once."""
    count = image.shape[2]
    if count <= _CHANNELS:
        return [image]
    ends = [*range(_CHANNELS, count, _CHANNELS), *([count - 1] if count % _CHANNELS == 2 else [])]
    return np.split(image, sorted(ends), axis=2)

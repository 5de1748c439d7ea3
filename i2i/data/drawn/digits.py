"""Digits as several hands write them, drawn on the fly: an embedded set for generators that start from noise.

A hand is a few strokes of control points in the unit square, y down. Each item bends them a little, then slants, turns
and scales the whole, and draws it with a pen of its own width.
"""

from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from i2i.data.base import Dataset
from i2i.images.codecs import ImageCodec

MIN_SIZE = 8
_SPLITS = {"train": 0, "test": 1}
_SCALE = 4  # drawn at so many times the size, and averaged down
_STEPS = 12  # points of a curve from one control point to the next

Points = NDArray[np.float64]  # [N, 2], x to the right and y down

# Of each digit, what several hands write: strokes with a semicolon between, each of points in hundredths of the square.
# A line has corners at its points, a curve none.
_HANDS: tuple[tuple[str, ...], ...] = (
    (
        "curve 50,10 29,28 27,66 48,90 70,72 73,34 52,10",
        "curve 56,12 36,30 34,70 50,89 65,68 66,30 50,10 42,16",
    ),
    (
        "line 50,10 50,90",
        "line 36,28 53,10 53,90",
        "line 36,26 52,10 52,88; line 34,89 70,89",
    ),
    (
        "curve 27,28 42,10 68,18 66,42 26,88; line 26,88 75,88",
        "curve 28,24 50,10 68,26 44,70 27,84 36,76 56,86 76,84",
    ),
    (
        "curve 29,20 50,10 68,24 46,46; curve 46,46 72,58 64,84 40,90 26,80",
        "line 28,12 70,12 46,42; curve 46,42 71,54 66,82 42,90 27,80",
    ),
    (
        "line 36,12 26,56 77,56; line 62,20 58,91",
        "line 61,91 61,10 23,64 79,64",
    ),
    (
        "line 71,12 34,12 30,46; curve 30,46 50,38 72,54 66,80 42,90 25,80",
        "line 36,14 31,46; curve 30,46 50,38 72,54 66,80 42,90 25,80; line 36,13 70,10",
    ),
    (
        "curve 64,10 38,32 28,66 44,90 68,76 62,54 42,54 29,70",
        "curve 50,10 33,42 32,74 50,90 67,74 50,56 33,70",
    ),
    (
        "line 25,14 73,14 43,90",
        "line 25,15 72,13 46,90; line 38,52 69,50",
        "curve 25,20 40,12 58,17 73,13; line 73,13 42,90",
    ),
    (
        "curve 68,22 50,10 31,24 47,44 70,68 50,90 29,70 50,47 69,22",
        "curve 66,24 50,10 33,25 49,44 66,27; curve 49,44 70,66 50,90 29,66 48,44",
    ),
    (
        "curve 68,30 52,10 31,28 44,48 67,32; line 68,26 62,90",
        "curve 67,28 50,10 32,30 48,48 67,30 66,66 48,90 32,84",
    ),
)


def _strokes(hand: str) -> list[tuple[bool, Points]]:
    """Returns whether each stroke is a curve, and its points in fractions of the square."""
    parts = [stroke.split() for stroke in hand.split(";")]
    return [(kind == "curve", np.array([pair.split(",") for pair in pairs], float) / 100) for kind, *pairs in parts]


HANDS = tuple(tuple(_strokes(hand) for hand in hands) for hands in _HANDS)


class Digits(Dataset):
    """Drawn digits, white on black, with the digit as label. Of each ten items in a row, each shows another digit.

    Items are ``{"image": float32 [C, S, S] in [-1, 1], "label": int64, "path": str}``. The path is a name only. An item
    depends on its index alone.
    """

    splits = tuple(_SPLITS)
    class_names = tuple("0123456789")
    size: tuple[int, int]

    def __init__(
        self,
        size: int = 28,
        length: int = 10000,
        split: Literal["train", "test"] = "train",
        channels: Literal[1, 3] = 1,
        labels: bool = True,
        load_size: int | None = None,
        crop_size: int | None = None,
    ) -> None:
        """
        Args:
            size: Height and width of the pictures in pixels, at least 8.
            length: Number of items.
            split: ``train`` or ``test``, which have no picture in common.
            channels: 1 for gray; 3 for a colour of its own for each item.
            labels: Whether items have a label.
            load_size: In place of ``size``, as other data sets call it. Nothing is resized: pictures are drawn anew.
            crop_size: In place of ``size`` and ``load_size``. Nothing is cropped.

        Raises:
            ValueError: An argument is out of range.
        """
        if split not in _SPLITS:
            raise ValueError(f"split must be one of {', '.join(_SPLITS)}, got {split!r}")
        if length < 1:
            raise ValueError(f"length must be at least 1, got {length}")
        for name, side in (("size", size), ("load_size", load_size), ("crop_size", crop_size)):
            if side is not None and side < MIN_SIZE:
                raise ValueError(f"{name} must be at least {MIN_SIZE}, got {side}")
        side = crop_size or load_size or size
        self.codecs = {"image": ImageCodec(channels)}
        self.size = (side, side)
        self.length, self.split = length, split
        if not labels:
            self.class_names = ()

    def __len__(self) -> int:
        return self.length

    def get(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        """Draws an item; the generator is not used.

        Raises:
            IndexError: The index is not in 0 ... length - 1.
        """
        import torch

        if not 0 <= index < self.length:
            raise IndexError(f"index must be from 0 to {self.length - 1}, got {index}")
        split = _SPLITS[self.split]
        digit = int(np.random.default_rng((split, index // 10, 1)).permutation(10)[index % 10])
        own = np.random.default_rng((split, index))
        pixels = draw_digit(digit, self.size[0], own)[..., None]
        codec = self.codecs["image"]
        if codec.channels == 3:
            pixels = (pixels * own.uniform(0.35, 1, 3)).astype(np.uint8)
        item: dict[str, Any] = {"image": codec.encode(pixels), "path": f"digits/{self.split}/{digit}/{index:06}.png"}
        if self.class_names:
            item["label"] = torch.tensor(digit)
        return item


def draw_digit(digit: int, size: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Draws a digit.

    Args:
        digit: 0 to 9.
        size: Height and width.
        rng: Decides the hand and everything else.

    Returns:
        Gray ``[size, size]``, white on black.
    """
    hands = HANDS[digit]
    strokes = hands[int(rng.integers(len(hands)))]
    side = size * _SCALE
    angle, slant = rng.normal(0, 0.07), rng.normal(0.1, 0.16)
    width, height = rng.uniform(0.78, 1.05), rng.uniform(0.82, 1.02)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    form = turn @ np.array([[width, -slant * height], [0, height]])
    middle = 0.5 + rng.uniform(-0.03, 0.03, 2)
    pen = max(1, round(side * rng.uniform(0.055, 0.115)))
    paths = []
    for is_curve, control in strokes:
        points = control + rng.normal(0, 0.017, control.shape)
        paths.append(((_smooth(points) if is_curve else points) - 0.5) @ form.T + middle)
    canvas = np.zeros((side, side), np.uint8)
    for path in _within(paths, 0.5 * pen / side + 0.04):
        fixed = np.rint(path * side * 16).astype(np.int32)  # 4 bits of a pixel's fraction
        cv2.polylines(canvas, [fixed], False, 255, pen, cv2.LINE_AA, 4)
    return cv2.resize(canvas, (size, size), interpolation=cv2.INTER_AREA).astype(np.uint8)


def _within(paths: list[Points], margin: float) -> list[Points]:
    """Moves and, where they are too large, shrinks paths so that they keep a margin in the unit square."""
    together = np.concatenate(paths)
    low, high = together.min(0), together.max(0)
    scale = min(1.0, (1 - 2 * margin) / float((high - low).max()))
    middle = (low + high) / 2
    half = scale * (high - low) / 2
    placed = np.clip(middle, margin + half, 1 - margin - half)
    return [(path - middle) * scale + placed for path in paths]


def _smooth(points: Points) -> Points:
    """Returns the points of a Catmull-Rom spline through control points."""
    around = np.concatenate([2 * points[:1] - points[1:2], points, 2 * points[-1:] - points[-2:-1]])
    before, start, end, after = around[:-3], around[1:-2], around[2:-1], around[3:]
    t = np.linspace(0, 1, _STEPS, endpoint=False)[:, None, None]
    pieces = (
        start
        + 0.5 * t * (end - before)
        + t**2 * (before - 2.5 * start + 2 * end - 0.5 * after)
        + t**3 * 0.5 * (after - before + 3 * (start - end))
    )  # [T, N - 1, 2]
    return np.concatenate([pieces.transpose(1, 0, 2).reshape(-1, 2), points[-1:]])

"""What the drawn domains share: a scene, and a canvas of materials that becomes a picture and its class ids.

A drawing is painted as a picture of *materials* at a multiple of its size. A table says what a material looks like and
which class it belongs to. Averaging down smooths the edges of the picture; the ids are taken at the centres of its
pixels, so that none is a mixture.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from i2i.data.drawn.landscape import Array, noise_tile
from i2i.images.codecs import LabelClass

MIN_SIZE = 32
Points = NDArray[np.complex128]  # x to the right, y down, in fractions of the picture

_NOISE_SIDE = 256  # texels of noise across a picture


@dataclass(frozen=True)
class Scene:
    """One picture and what is known about it.

    Attributes:
        image: uint8 RGB [H, W, 3].
        mask: bool [H, W], where the two domains differ; outside it partners are equal.
        ids: uint8 [H, W], the class of each pixel, where the domain has classes. Partners share it.
    """

    image: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    ids: NDArray[np.uint8] | None = None


class Material(NamedTuple):
    """What a surface looks like.

    Attributes:
        label: Index of its class.
        colour: RGB, 0 to 255.
        grain: Strength of fine noise in its brightness, 0 to 1.
        patches: Strength of coarse noise, 0 to 1.
        ground: Whether shadows fall on it.
    """

    label: int
    colour: Sequence[float] | NDArray[np.float64]
    grain: float = 0.0
    patches: float = 0.0
    ground: bool = False


def check_drawing(seed: int, size: int) -> None:
    """
    Raises:
        ValueError: The seed is negative or the size too small.
    """
    if seed < 0:
        raise ValueError(f"seed must be at least 0, got {seed}")
    if size < MIN_SIZE:
        raise ValueError(f"size must be at least {MIN_SIZE}, got {size}")


def shrink(picture: Array, size: int) -> Array:
    """Averages a square picture down to a side of ``size``, which divides its own by a power of two."""
    while len(picture) > size:  # halving is much faster than quartering
        half = len(picture) // 2
        picture = cv2.resize(picture, (half, half), interpolation=cv2.INTER_AREA)
    return picture


def show_ids(ids: NDArray[np.uint8], classes: Sequence[LabelClass]) -> NDArray[np.uint8]:
    """Colours class ids [H, W]: RGB [H, W, 3]."""
    return np.array([item.colour for item in classes], np.uint8)[ids]


def ribbon(line: Points, width: float | NDArray[np.float64]) -> Points:
    """Outline of a band of a width along a line [L]: [2 L]."""
    across = 0.5j * width * heading(line)
    return np.concatenate([line + across, (line - across)[::-1]])


def heading(line: Points) -> Points:
    """Unit vectors along a line [L]: [L]."""
    along = np.empty_like(line)
    along[1:-1] = line[2:] - line[:-2]
    along[0], along[-1] = line[1] - line[0], line[-1] - line[-2]
    unit: Points = along / np.abs(along)
    return unit


@dataclass
class Canvas:
    """Materials on a square, painted over each other.

    Attributes:
        size: Side of the finished picture in pixels.
        materials: The first one covers the canvas from the start.
    """

    size: int
    materials: list[Material] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.side = self.size * (4 if self.size <= 64 else 2)
        self._pixels = np.zeros((self.side, self.side), np.uint16)
        self._shade = np.zeros((self.side, self.side), np.uint8)
        self._waiting: list[tuple[Array, int, Sequence[Points] | Points]] = []

    def add(self, material: Material) -> int:
        """Adds a material and returns its number."""
        self.materials.append(material)
        return len(self.materials) - 1

    def fill(self, material: int, polygons: Sequence[Points] | Points) -> None:
        """Fills polygons, each [L], with a material."""
        self._waiting.append((self._pixels, material, polygons))

    def darken(self, polygons: Sequence[Points] | Points) -> None:
        """Lays shadows on what is ground."""
        self._waiting.append((self._shade, 255, polygons))

    @property
    def pixels(self) -> NDArray[np.uint16]:
        """The number of the material at each place: [side, side]."""
        self._paint()
        return self._pixels

    @property
    def shade(self) -> NDArray[np.uint8]:
        """255 in the shadows, else 0: [side, side]."""
        self._paint()
        return self._shade

    def _paint(self) -> None:
        """Paints what waits, in order; all coordinates at once, which is fast."""
        outlines = [polygon for _, _, polygons in self._waiting for polygon in polygons]
        if not outlines:
            return
        scaled = np.concatenate(outlines).view(np.float64).reshape(-1, 2) * (16 * self.side) - 8
        pixels = np.rint(scaled.clip(-1e6, 1e6)).astype(np.int32)  # 4 fractional bits, as OpenCV draws them
        start = 0
        for target, value, polygons in self._waiting:
            for polygon in polygons:
                # One call each: polygons of a common call would cut holes where they overlap.
                cv2.fillPoly(target, [pixels[start : start + len(polygon)]], value, cv2.LINE_8, 4)
                start += len(polygon)
        self._waiting.clear()

    def labels_at(self, points: Points) -> Array:
        """Classes [N] at points [N] of what is painted so far; beyond the canvas those of its border."""
        inside: Array = (np.stack([points.imag, points.real]) * self.side).clip(0, self.side - 1)
        y, x = inside.astype(np.intp)
        labels: Array = self._labels()[self.pixels[y, x]]
        return labels

    def _labels(self) -> Array:
        return np.array([material.label for material in self.materials], np.uint8)

    def ids(self) -> NDArray[np.uint8]:
        """Classes [size, size] of what is painted so far."""
        step = self.side // self.size
        centres = self.pixels[step // 2 :: step, step // 2 :: step]
        labels: Array = self._labels()[centres]
        return labels

    def render(self, grain: Array, patches: Array, shadow: float) -> Array:
        """Colours the materials.

        Args:
            grain: Fine noise [size, size] of about unit deviation.
            patches: Coarse noise likewise.
            shadow: Darkness of shadows on the ground, 0 to 1.

        Returns:
            Float RGB [size, size, 3], about 0 to 1.
        """
        looks = np.zeros((len(self.materials), 8), np.uint8)
        table = np.array([(*item.colour, item.grain, item.patches, item.ground) for item in self.materials], float)
        table[:, 3:] *= 255
        looks[:, :6] = np.rint(table).clip(0, 255)
        halves = [
            shrink(half.take(self.pixels).view(np.uint8).reshape(self.side, self.side, 4), self.size)
            for half in np.ascontiguousarray(looks.view(np.uint32).T)
        ]
        colour, surface = halves[0][..., :3], np.concatenate([halves[0][..., 3:], halves[1][..., :2]], -1)
        unit = surface.astype(np.float32) * np.float32(1 / 255)
        dark = cv2.GaussianBlur(shrink(self.shade, self.size), (3, 3), 0.5).astype(np.float32) * (shadow / 255)
        light = (1 + unit[..., 0] * grain + unit[..., 1] * patches) * (1 - unit[..., 2] * dark)
        picture: Array = colour * (light * np.float32(1 / 255))[..., None]
        return picture


def flat_noise(rng: np.random.Generator, size: int) -> tuple[Array, Array, Array]:
    """Grain, patches and clouds, each [size, size] of unit deviation, from a random place of the noise."""
    top, left = rng.random(2)
    small = min(size, _NOISE_SIDE)
    tile = _resized_noise(small)
    rows, columns = ((round(start * len(tile)) + np.arange(small)) % len(tile) for start in (top, left))
    part = tile.take(rows, axis=0).take(columns, axis=1)
    if size > small:
        part = cv2.resize(part, (size, size), interpolation=cv2.INTER_LINEAR)
    grain, patches, clouds = cv2.split(part)
    return grain, patches, clouds


@lru_cache(maxsize=4)
def _resized_noise(size: int) -> Array:
    """The noise such that a part of side ``size`` holds 256 of its texels."""
    side = len(noise_tile()) * size // _NOISE_SIDE
    return cv2.resize(noise_tile(), (side, side), interpolation=cv2.INTER_AREA)


def to_uint8(picture: Array) -> NDArray[np.uint8]:
    """Rounds a picture in [0, 1] to 8 bits."""
    image: Array = cv2.convertScaleAbs(np.maximum(picture, 0), alpha=255)
    return image

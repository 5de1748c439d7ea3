"""The camera of a drawn street: from metres to the picture, and from colours to materials seen through haze."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from i2i.data.drawn.landscape import Colour
from i2i.data.drawn.painting import Canvas, Material, Points
from i2i.images.codecs import LabelClass

# The colours are those that Cityscapes made customary for these classes.
CLASSES = (
    LabelClass(0, "sky", (70, 130, 180)),
    LabelClass(1, "building", (70, 70, 70)),
    LabelClass(2, "road", (128, 64, 128)),
    LabelClass(3, "pavement", (244, 35, 232)),
    LabelClass(4, "grass", (152, 251, 152)),
    LabelClass(5, "tree", (107, 142, 35)),
    LabelClass(6, "car", (0, 0, 142)),
    LabelClass(7, "pole", (153, 153, 153)),
    LabelClass(8, "sign", (220, 220, 0)),
    LabelClass(9, "person", (220, 20, 60)),
)
SKY, BUILDING, ROAD, PAVEMENT, GRASS, TREE, CAR, POLE, SIGN, PERSON = range(len(CLASSES))
NEAR, FAR = 1.5, 90.0  # metres
FOCAL_LENGTH = 1.05  # of the picture's side

_HAZE_STEPS = 12

Interval = tuple[float, float]
Metres = float | Sequence[float] | NDArray[np.float64]


@dataclass
class View:
    """A canvas that is painted in metres: x to the right of the camera, y above the ground, z ahead of it.

    Attributes:
        canvas: Where it is painted.
        middle: Where the street vanishes, as a fraction of the width.
        horizon: As a fraction of the height from the top.
        height: Of the camera in metres.
        sun: -1 where it stands to the left of the street, 1 to the right.
        contrast: Between lit and shaded sides, 0 to 1.
        air: Colour of the haze.
        clear: Metres after which 63 % of a colour is haze.
    """

    canvas: Canvas
    middle: float
    horizon: float
    height: float
    sun: int
    contrast: float
    air: Colour
    clear: float
    _known: dict[tuple[Any, ...], int] = field(default_factory=dict)

    def project(self, x: Metres, y: Metres, z: Metres) -> Points:
        """Points of the picture; what is nearer than ``NEAR`` is moved there."""
        x, y, scale = np.asarray(x, float), np.asarray(y, float), FOCAL_LENGTH / np.maximum(z, NEAR)
        points: Points = self.middle + scale * x + 1j * (self.horizon - scale * (y - self.height))
        return points

    def material(
        self,
        label: int,
        colour: Sequence[float],
        z: float,
        grain: float = 0.0,
        patches: float = 0.0,
        ground: bool = False,
        light: float = 1.0,
    ) -> int:
        """The number of a material as it looks at a distance, ``light`` times as bright; equal ones share it."""
        fade = round(math.exp(-z / self.clear) * _HAZE_STEPS) / _HAZE_STEPS
        seen = tuple(
            round(fade * min(light * own, 245) + (1 - fade) * air) for own, air in zip(colour, self.air, strict=True)
        )
        key = (label, seen, grain, patches, ground)
        if key not in self._known:
            self._known[key] = self.canvas.add(Material(label, seen, fade * grain, fade * patches, ground))
        return self._known[key]

    def lit(self, side: int) -> float:
        """Brightness of a wall that stands on a side of the street and faces it."""
        return 1 + 0.12 * self.contrast if side != self.sun else 1 - 0.38 * self.contrast

    def wall(self, material: int, x: float, heights: Interval, depths: Interval) -> None:
        """Fills a rectangle in a plane along the street."""
        (low, high), (near, far) = heights, depths
        self.canvas.fill(material, [self._quad((x, low, near), (x, high, near), (x, high, far), (x, low, far))])

    def front(self, material: int, sides: Interval, heights: Interval, z: float) -> None:
        """Fills a rectangle that faces the camera."""
        (left, right), (low, high) = sides, heights
        self.canvas.fill(material, [self._quad((left, low, z), (left, high, z), (right, high, z), (right, low, z))])

    def floor(self, x: Interval, z: Interval) -> Points:
        """Outline of a rectangle on the ground. [4]"""
        return self._quad((x[0], 0, z[0]), (x[0], 0, z[1]), (x[1], 0, z[1]), (x[1], 0, z[0]))

    def _quad(self, *corners: tuple[float, float, float]) -> Points:
        # Without numpy until the end: for four points that is several times faster.
        points = []
        for x, y, z in corners:
            scale = FOCAL_LENGTH / max(z, NEAR)
            points.append(complex(self.middle + scale * x, self.horizon - scale * (y - self.height)))
        return np.array(points)

    def sees(self, x: float, start: float, end: float) -> bool:
        """Whether any of a wall along the street may be in the picture."""
        near, far = (self.middle + FOCAL_LENGTH * x / max(z, NEAR) for z in (start, end))
        return max(near, far) > 0 and min(near, far) < 1

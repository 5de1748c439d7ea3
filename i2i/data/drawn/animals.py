"""Drawn animals: horse-like quadrupeds in side view, plain or striped, on varied ground.

No paper: this is the embedded stand-in for horse <-> zebra, drawn from a seed with numpy and OpenCV. The scene is laid
out in fractions of the picture, so one seed shows one scene at any size. The animal is painted as a picture of *labels*
(coat, stripe, hair, hoof ...) at a multiple of the size; a table of colours turns labels into coats, and averaging down
smooths the edges. Plain and striped partners share everything but that table.

What the way back needs to recover the plain coat is on the striped picture: mane, tail and muzzle keep their colour in
both domains and depend on the coat, which comes in five colours with little jitter.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from i2i.data.drawn import anatomy
from i2i.data.drawn.anatomy import EARS, Label, Points, Polygons, Ribbons, outline_animal, outline_ear, pose_animal
from i2i.data.drawn.landscape import PLACES, Array, Colour, Place, paint_landscape
from i2i.data.drawn.painting import Scene, check_drawing, shrink

STRIPE_PERIOD = 0.085  # of the picture's side: 5.4 pixels at 64


@dataclass(frozen=True)
class Coat:
    """Colours (8-bit RGB) of a plain animal."""

    body: Colour
    hair: Colour
    muzzle: Colour


COATS = (
    Coat((158, 92, 56), (112, 60, 36), (112, 62, 44)),  # chestnut
    Coat((116, 70, 44), (40, 30, 28), (56, 40, 36)),  # bay
    Coat((216, 182, 130), (244, 230, 200), (150, 118, 96)),  # palomino
    Coat((166, 163, 160), (84, 84, 88), (84, 80, 82)),  # grey
    Coat((82, 70, 66), (32, 28, 28), (50, 43, 42)),  # black
)
_FAR = 0.68  # brightness of what is on the far side
_TINT_LOW, _TINT_HIGH = (0.97, 0.97, 0.96, 1), (1.03, 1.03, 1.04, 1)  # of red, green, blue; the coverage stays
_PLACES = tuple(PLACES.values())
_STRIPE_LIGHT, _STRIPE_DARK = np.array([238.0, 230, 214]), np.array([42.0, 36, 34])


def draw_animal(seed: int, size: int, striped: bool) -> Scene:
    """Draws the scene of a seed; with the other value of ``striped`` its true partner, equal outside the mask.

    Args:
        seed: Any non-negative integer.
        size: Side of the square picture in pixels, at least 32.
        striped: Whether the animal wears stripes.

    Raises:
        ValueError: The seed is negative or the size too small.
    """
    return _draw(seed, size, (bool(striped),))[0]


def draw_partners(seed: int, size: int) -> tuple[Scene, Scene]:
    """Draws the plain and the striped scene of a seed for little more than the price of one.

    Raises:
        ValueError: As ``draw_animal``.
    """
    plain, striped = _draw(seed, size, (False, True))
    return plain, striped


def _draw(seed: int, size: int, coats: tuple[bool, ...]) -> list[Scene]:
    check_drawing(seed, size)
    rng = np.random.default_rng(seed)
    place = _PLACES[rng.integers(len(_PLACES))]
    choice = _choose_coats(place)
    tables = _colour_tables(choice[rng.integers(len(choice))]) * rng.uniform(_TINT_LOW, _TINT_HIGH)
    ground = paint_landscape(rng, size, place, rng.uniform(0.30, 0.46))  # [3, H, W]
    ribbons = Ribbons(*pose_animal(rng))
    sun = rng.uniform(-1, 1)
    frame = _frame(rng, ribbons)
    labels = _paint_labels(outline_animal(rng, ribbons, STRIPE_PERIOD / frame.scale), frame, size)

    # Any pixel a coat touches is in the mask, so what lies outside comes out alike without further care.
    mask = shrink(cv2.inRange(labels, int(Label.COAT), int(Label.FAR_STRIPE)), size) > 0
    light = _light(ribbons.outlines, frame, sun, size)
    ground *= 1 - _shadow(ribbons.outlines, frame, sun, size)
    scenes = []
    for striped in coats:
        *rgb, alpha = cv2.split(_colour(labels, tables[int(striped)], size))
        picture = ground * (1 - alpha) + light * np.stack(rgb)
        image: Array = cv2.convertScaleAbs(cv2.merge(list(picture)), alpha=255)  # rounds to nearest
        scenes.append(Scene(image, mask))
    return scenes


@dataclass(frozen=True)
class _Frame:
    """Where an animal stands: from its own units to fractions of the picture."""

    scale: float
    facing: int  # 1 to the right, -1 to the left
    x: float
    y: float

    def pixels(self, points: Points, side: int) -> NDArray[np.int32]:
        """[..., 2] coordinates with 4 fractional bits on a canvas of ``side`` pixels, as OpenCV draws them."""
        pixels = np.empty((*points.shape, 2))
        pixels[..., 0] = (self.facing * self.scale * 16 * side) * points.real + (self.x * side - 0.5) * 16
        pixels[..., 1] = (-self.scale * 16 * side) * points.imag + (self.y * side - 0.5) * 16
        return np.rint(pixels).astype(np.int32)


def _frame(rng: np.random.Generator, ribbons: Ribbons) -> _Frame:
    """Places the animal at random, but wholly inside the picture."""
    extent = np.concatenate([ribbons.outlines.ravel(), *(outline_ear(ribbons, along) for along in EARS)])
    left, right, top = extent.real.min(), extent.real.max(), extent.imag.max()
    y = rng.uniform(0.83, 0.92)
    scale = min(rng.uniform(0.42, 0.54), 0.92 / (right - left), (y - 0.025) / top)
    facing = 1 if rng.random() < 0.5 else -1
    slack = 0.5 * (1 - scale * (right - left)) - 0.025
    x = 0.5 + rng.uniform(-slack, slack) - facing * scale * (left + right) / 2
    return _Frame(scale, facing, x, y)


@cache
def _choose_coats(place: Place) -> list[Coat]:
    """The coats that do not get lost on the ground of a place."""
    return [coat for coat in COATS if np.abs(np.subtract(coat.body, place.ground_near)).sum() > 95]


@cache
def _colour_tables(coat: Coat) -> NDArray[np.float64]:
    """RGB and coverage of every label, 0 to 255: [plain or striped, label, 4]."""
    body, hair = np.array(coat.body), np.array(coat.hair)
    light, dark = 0.9 * _STRIPE_LIGHT + 0.1 * body, 0.9 * _STRIPE_DARK + 0.1 * body
    tables = np.zeros((2, len(Label), 4))
    for table, ground, stripe in zip(tables, (body, light), (body, dark), strict=True):
        colours: dict[Label, ArrayLike] = {
            Label.COAT: ground,
            Label.STRIPE: stripe,
            Label.FAR_COAT: ground * _FAR,
            Label.FAR_STRIPE: stripe * _FAR,
            Label.HAIR: hair,
            Label.FAR_EAR: hair * _FAR,
            Label.HOOF: (52, 46, 44),
            Label.MUZZLE: coat.muzzle,
            Label.EYE: (22, 18, 18),
            Label.GLINT: (228, 228, 228),
        }
        for label, colour in colours.items():
            table[label, :3] = colour
            table[label, 3] = 255
    return tables


def _fill(canvas: Array, polygons: Sequence[Array], value: int) -> None:
    cv2.fillPoly(canvas, polygons, value, cv2.LINE_8, 4)


def _paint_labels(polygons: list[Polygons], frame: _Frame, size: int) -> NDArray[np.uint8]:
    """Labels, uint8 [S, S], at a multiple of the size."""
    side = size * (4 if size <= 96 else 2)
    labels = np.zeros((side, side), np.uint8)
    pixels = frame.pixels(np.concatenate([points.ravel() for _, points in polygons]), side)  # all at once is fast
    start = 0
    for label, points in polygons:
        batch = pixels[start : start + points.size].reshape(-1, points.shape[-1], 2)
        _fill(labels, list(batch), label)
        start += points.size
    return labels


def _colour(labels: Array, table: NDArray[np.float64], size: int) -> Array:
    """RGB, weighted by coverage, and the coverage: [size, size, 4] in [0, 1]."""
    packed = np.rint(table).astype(np.uint8).view(np.uint32).ravel()
    colours = packed.take(labels, mode="clip").view(np.uint8).reshape(*labels.shape, 4)
    return shrink(colours, size).astype(np.float32) * np.float32(1 / 255)


_HEIGHTS = {
    anatomy.FAR_HIND: 70,
    anatomy.FAR_FORE: 70,
    anatomy.TRUNK: 170,
    anatomy.HIND: 205,
    anatomy.FORE: 205,
    anatomy.NECK: 200,
    anatomy.HEAD: 225,
}


def _light(outlines: Points, frame: _Frame, sun: float, size: int) -> Array:
    """Brightness [size, size] of a body that rises as its blurred parts do, lit from above and, by ``sun``, the left.

    Computed small and enlarged, as it is smooth: so it costs little and is the same at any size.
    """
    relief = np.zeros((128, 128), np.uint8)
    pixels = frame.pixels(outlines, 128)
    for ribbon, height in _HEIGHTS.items():
        _fill(relief, [pixels[ribbon]], height)
    small = cv2.resize(relief, (64, 64), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    form = cv2.GaussianBlur(small, (9, 9), 1.5) + 2 * cv2.GaussianBlur(small, (23, 23), 4.0)
    slope = cv2.Sobel(form, cv2.CV_32F, 0, 1) + 0.5 * sun * cv2.Sobel(form, cv2.CV_32F, 1, 0)
    light = 0.97 + np.clip(0.32 * slope, -0.42, 0.27)
    return cv2.resize(light, (size, size), interpolation=cv2.INTER_LINEAR)


def _shadow(outlines: Points, frame: _Frame, sun: float, size: int) -> Array:
    """Darkness [size, size] of the shadow on the ground: the animal laid flat, away from the sun, and blurred."""
    flat = outlines.real + 0.7 * sun * frame.facing * outlines.imag + 1j * (0.14 * outlines.imag + 0.01)
    canvas = np.zeros((64, 64), np.uint8)
    for outline in frame.pixels(flat, 64):
        _fill(canvas, [outline], 255)
    soft = cv2.GaussianBlur(canvas, (5, 5), 1.0)
    return cv2.resize(soft, (size, size), interpolation=cv2.INTER_LINEAR).astype(np.float32) * np.float32(0.42 / 255)

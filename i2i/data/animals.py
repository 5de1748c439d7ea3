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
from enum import IntEnum

import cv2
import numpy as np
from numpy.typing import NDArray

from i2i.data.landscape import PLACES, Colour, Float, Place, paint_landscape

MIN_SIZE = 32
STRIPE_PERIOD = 0.085  # of the picture's side: 5.4 pixels at 64

Points = NDArray[np.complex128]  # x + iy, in heights of the animal at its withers; feet at y = 0, facing +x
Polygons = tuple["Label", Points]  # one outline [points], or several [outlines, points]


class Label(IntEnum):
    """What a pixel of the animal is. Only COAT to FAR_STRIPE differ in colour between the domains."""

    NOTHING = 0
    COAT = 1
    STRIPE = 2
    FAR_COAT = 3
    FAR_STRIPE = 4
    HAIR = 5
    FAR_HAIR = 6
    HOOF = 7
    MUZZLE = 8
    EYE = 9
    GLINT = 10
    EAR = 11


@dataclass(frozen=True)
class Coat:
    """Colours (8-bit RGB) of a plain animal."""

    body: Colour
    hair: Colour
    muzzle: Colour


COATS = (
    Coat((168, 92, 50), (120, 60, 32), (112, 62, 44)),  # chestnut
    Coat((116, 70, 44), (40, 30, 28), (56, 40, 36)),  # bay
    Coat((216, 182, 130), (244, 230, 200), (150, 118, 96)),  # palomino
    Coat((150, 148, 146), (78, 78, 82), (84, 80, 82)),  # grey
    Coat((70, 60, 58), (30, 27, 28), (46, 40, 40)),  # black
)
_STRIPE_LIGHT, _STRIPE_DARK = np.array([238.0, 230, 214]), np.array([42.0, 36, 34])


@dataclass(frozen=True)
class Scene:
    """One picture and where its coat is.

    Attributes:
        image: uint8 RGB [H, W, 3].
        mask: bool [H, W], true on the coat: where stripes are, or would be.
    """

    image: NDArray[np.uint8]
    mask: NDArray[np.bool_]


def draw_animal(seed: int, size: int, striped: bool) -> Scene:
    """Draws the scene of a seed; with the other value of ``striped`` its true partner, equal outside the mask.

    Args:
        seed: Any non-negative integer.
        size: Side of the square picture in pixels, at least 32.
        striped: Whether the animal wears stripes.

    Raises:
        ValueError: The seed is negative or the size too small.
    """
    return draw_partners(seed, size)[bool(striped)]


def draw_partners(seed: int, size: int) -> tuple[Scene, Scene]:
    """Draws the plain and the striped scene of a seed for little more than the price of one.

    Raises:
        ValueError: As ``draw_animal``.
    """
    if seed < 0:
        raise ValueError(f"seed must be at least 0, got {seed}")
    if size < MIN_SIZE:
        raise ValueError(f"size must be at least {MIN_SIZE}, got {size}")
    rng = np.random.default_rng(seed)
    place = list(PLACES.values())[rng.integers(len(PLACES))]
    coat = _choose_coat(rng, place)
    ground = paint_landscape(rng, size, place, rng.uniform(0.30, 0.46))

    scale, facing, sun = rng.uniform(0.47, 0.55), 1 if rng.random() < 0.5 else -1, rng.uniform(-1, 1)
    ribbons = _Ribbons(*_pose(rng))
    reach = ribbons.outlines.real
    left, right = reach.min(), reach.max()
    scale = min(scale, 0.94 / (right - left))
    slack = 0.5 * (1 - scale * (right - left)) - 0.02
    frame = _Frame(
        facing * scale,
        scale,
        0.5 + rng.uniform(-slack, slack) - facing * scale * (left + right) / 2,
        rng.uniform(0.84, 0.92),
    )
    labels = _paint_labels(_polygons(rng, ribbons, STRIPE_PERIOD / scale), frame, size)
    plain, striped = _colour_tables(rng, coat)
    *plain_rgb, alpha = _colour(labels, plain, size)
    *striped_rgb, coverage = _colour(labels, striped, size)
    light = _light(ribbons.outlines, frame, sun, size)
    ground *= (1 - _shadow(ribbons.outlines, frame, sun * facing, size)) * (1 - alpha)
    mask = coverage >= 0.5
    first, second = (_to_image([g + light * c for g, c in zip(ground, rgb)]) for rgb in (plain_rgb, striped_rgb))
    second[~mask] = first[~mask]
    return Scene(first, mask), Scene(second, mask)


@dataclass(frozen=True)
class _Frame:
    """Where an animal stands: from its own units to fractions of the picture."""

    scale_x: float
    scale_y: float
    origin_x: float
    origin_y: float

    def pixels(self, points: Points, side: int) -> NDArray[np.int32]:
        """[..., 2] coordinates with 4 fractional bits on a canvas of ``side`` pixels, as OpenCV draws them."""
        x, y = self.origin_x + self.scale_x * points.real, self.origin_y - self.scale_y * points.imag
        return np.rint((np.stack([x, y], axis=-1) * side - 0.5) * 16).astype(np.int32)


# --- shape -----------------------------------------------------------------------------------------------------------

FAR_HIND, FAR_FORE, TAIL, TRUNK, HIND, FORE, NECK, HEAD = range(8)
_KNOTS, _SAMPLES = 7, 25

_TRUNK = np.array([-0.54 + 0.80j, -0.51 + 0.80j, -0.40 + 0.795j, -0.2 + 0.765j, 0.08 + 0.73j, 0.32 + 0.74j, 0.48 + 0.75j])
_TRUNK_HALF = np.array([0.03, 0.11, 0.19, 0.205, 0.228, 0.24, 0.10])
_HIND = np.array([-0.33 + 0.88j, -0.34 + 0.74j, -0.32 + 0.56j, -0.41 + 0.38j, -0.415 + 0.22j, -0.40 + 0.09j, -0.37 + 0.0j])
_HIND_HALF = np.array([0.06, 0.17, 0.135, 0.062, 0.046, 0.046, 0.06])
_FORE = np.array([0.33 + 0.76j, 0.345 + 0.62j, 0.355 + 0.46j, 0.36 + 0.30j, 0.36 + 0.18j, 0.365 + 0.08j, 0.385 + 0.0j])
_FORE_HALF = np.array([0.05, 0.125, 0.082, 0.056, 0.044, 0.045, 0.058])
_HEAD_ALONG = np.array([-0.05, 0.03, 0.11, 0.21, 0.31, 0.385, 0.43])
_HEAD_HALF = np.array([0.045, 0.095, 0.108, 0.088, 0.068, 0.066, 0.03])
_HEAD_DROP = np.array([0.0, -0.01, -0.02, -0.006, 0.0, -0.006, -0.012])  # keeps the forehead straight above a deep jaw
_NECK_HALF = np.array([0.16, 0.205, 0.185, 0.155, 0.13, 0.112, 0.09])
_TAIL_HALF = np.array([0.028, 0.03, 0.03, 0.042, 0.055, 0.048, 0.01])


def _spline() -> NDArray[np.float64]:
    """Catmull-Rom weights [_SAMPLES, _KNOTS] of a smooth curve through the knots."""
    at = np.linspace(0, _KNOTS - 1, _SAMPLES)
    weights = np.zeros((_SAMPLES, _KNOTS))
    for row, t in enumerate(at):
        i = min(int(t), _KNOTS - 2)
        f = t - i
        basis = (-f + 2 * f**2 - f**3, 2 - 5 * f**2 + 3 * f**3, f + 4 * f**2 - 3 * f**3, f**3 - f**2)
        for k, weight in enumerate(basis):
            weights[row, min(max(i + k - 1, 0), _KNOTS - 1)] += weight / 2
    return weights


_SPLINE = _spline()


def _pose(rng: np.random.Generator) -> tuple[Points, NDArray[np.float64]]:
    """Knots [8, 7] and half widths [8, 7] of the ribbons an animal is made of."""
    stout, stride = rng.uniform(0.94, 1.08), rng.uniform(0.0, 0.42)
    phase = rng.uniform(0, 2 * np.pi)
    legs = np.stack([_HIND, _FORE, _HIND, _FORE])
    beat = phase + np.pi * np.array([1.0, 0.55, 0.0, 1.55])
    swing = stride * np.sin(beat)[:, None]
    # A leg bends while it swings forward: fore legs at the knee to the rear, hind legs at the hock to the front.
    bend = stride * np.maximum(0, np.cos(beat))[:, None] * np.array([-0.6, -1.9, -0.6, -1.9])[:, None]
    legs = legs[:, 1:2] + (legs - legs[:, 1:2]) * np.exp(1j * swing)
    legs[:, 4:] = legs[:, 3:4] + (legs[:, 4:] - legs[:, 3:4]) * np.exp(1j * bend)
    sink = legs[:, -1].imag.min()
    legs = legs - 1j * sink

    grazing = rng.random() < 0.25
    rise = rng.uniform(-1.25, -1.05) if grazing else rng.uniform(0.35, 1.05)
    neck_angle = np.linspace(0.45, 0, 6) * (rise - 0.6) * -1 + rise if grazing else rise + np.linspace(0.0, 0.12, 6)
    neck = np.cumsum(np.append(0.29 + 0.80j, 0.115 * np.exp(1j * neck_angle)))
    nod = rise - rng.uniform(0.25, 0.5) if grazing else -0.75 + 0.35 * (rise - 0.7) + rng.uniform(-0.2, 0.2)
    head = neck[-1] + (_HEAD_ALONG + 1j * _HEAD_DROP) * np.exp(1j * nod)
    sway = rng.uniform(-0.25, 0.35)
    tail_angle = np.pi + np.array([0.35, 0.95, 1.25, 1.4, 1.5, 1.55]) - sway * np.linspace(0.2, 1, 6)
    tail = np.cumsum(np.append(-0.48 + 0.93j, 0.095 * np.exp(1j * tail_angle)))

    shift = -1j * sink
    far = np.array([0.05, 0.04])[:, None]
    knots = np.stack([legs[0] + far[0], legs[1] + far[1], tail + shift, _TRUNK + shift, legs[2], legs[3], neck + shift, head + shift])
    halves = np.stack([_HIND_HALF, _FORE_HALF, _TAIL_HALF, _TRUNK_HALF * stout, _HIND_HALF, _FORE_HALF, _NECK_HALF, _HEAD_HALF])
    return knots, halves


class _Ribbons:
    """Smooth curves with a width: the frame in which outlines, stripes, hoofs and mane are given.

    A place on a ribbon is (along, across): samples 0..24 from the trunk outwards or tail to head, and -1..1 from the
    belly side to the back (legs: from the rear to the front).
    """

    def __init__(self, knots: Points, halves: NDArray[np.float64]) -> None:
        self.centres = knots @ _SPLINE.T  # [8, 25]
        tangent = np.gradient(self.centres, axis=1)
        self.normals = 1j * tangent / np.abs(tangent) * (halves @ _SPLINE.T)
        steps = np.abs(np.diff(self.centres, axis=1))
        self.lengths = np.concatenate([np.zeros((len(knots), 1)), np.cumsum(steps, axis=1)], axis=1)
        self.outlines = self.band(slice(None), slice(None))

    def band(self, ribbon: int | slice, along: slice, low: float = -1.0, high: float = 1.0) -> Points:
        """The closed outline of a stretch of a ribbon."""
        centre, normal = self.centres[ribbon, along], self.normals[ribbon, along]
        return np.concatenate([centre + high * normal, (centre + low * normal)[..., ::-1]], axis=-1)


_ACROSS = np.linspace(-1, 1, 7)
# Per ribbon: where stripes start and end (fractions of the length), how far they lean and arch, their taper to the belly.
_STRIPES = {
    FAR_HIND: (0.34, 0.90, 0.0, 0.0, 0.0),
    FAR_FORE: (0.34, 0.90, 0.0, 0.0, 0.0),
    TRUNK: (0.22, 0.97, -0.03, 0.035, 0.45),
    HIND: (0.2, 0.90, 0.05, 0.0, 0.15),
    FORE: (0.30, 0.90, 0.0, 0.0, 0.0),
    NECK: (0.22, 0.98, 0.02, 0.02, 0.2),
    HEAD: (0.24, 0.80, 0.02, 0.015, 0.2),
}


def _stripes(rng: np.random.Generator, ribbons: _Ribbons, period: float) -> tuple[NDArray[np.intp], Points]:
    """Stripes across the ribbons: to which they belong [S], their outlines [S, 14]."""
    owner, where = [], []
    for ribbon, (start, end, *_) in _STRIPES.items():
        length = ribbons.lengths[ribbon, -1]
        centres = np.arange(start * length, end * length, period)
        owner.append(np.full(len(centres), ribbon))
        where.append(centres)
    owner_of, centre = np.concatenate(owner), np.concatenate(where)
    lean, arch, taper = np.array([_STRIPES.get(r, (0, 0, 0, 0, 0))[2:] for r in range(8)])[owner_of].T[..., None]
    wobble = rng.uniform(-1, 1, (2, len(centre), 1)) * period
    middle = centre[:, None] + lean * _ACROSS + arch * (1 - _ACROSS**2) + wobble[0] * 0.08 + wobble[1] * 0.1 * _ACROSS
    half = period * 0.27 * (1 - taper * (1 - _ACROSS) / 2)
    edges = np.stack([middle - half, middle + half], axis=1)  # [S, 2, 7] lengths along the ribbon

    # One interpolation for all ribbons: their lengths laid end to end, far enough apart.
    apart = 10.0 * np.arange(8)[:, None]
    edges = np.clip(edges, 0, ribbons.lengths[owner_of, -1][:, None, None]) + 10.0 * owner_of[:, None, None]
    index = np.interp(edges, (ribbons.lengths + apart).ravel(), np.arange(8.0 * _SAMPLES))
    low = np.minimum(index.astype(int), (owner_of * _SAMPLES + _SAMPLES - 2)[:, None, None])
    part = index - low
    centres, normals = ribbons.centres.ravel(), ribbons.normals.ravel()
    points = centres[low] * (1 - part) + centres[low + 1] * part
    points = points + _ACROSS * (normals[low] * (1 - part) + normals[low + 1] * part)
    outlines = np.concatenate([points[:, 0], points[:, 1, ::-1]], axis=-1)
    return owner_of, outlines


def _polygons(rng: np.random.Generator, ribbons: _Ribbons, period: float) -> list[Polygons]:
    """The whole animal in painter's order."""
    owners, stripes = _stripes(rng, ribbons, period)
    centres, normals = ribbons.centres, ribbons.normals

    def limb(ribbon: int, coat: Label, stripe: Label) -> list[Polygons]:
        return [(coat, ribbons.outlines[ribbon]), (stripe, stripes[owners == ribbon])]

    def leg(ribbon: int, coat: Label, stripe: Label) -> list[Polygons]:
        return [*limb(ribbon, coat, stripe), (Label.HOOF, ribbons.band(ribbon, slice(21, None)))]

    def ear(along: int, label: Label) -> Polygons:
        up = normals[HEAD, along] / np.abs(normals[HEAD, along])
        return label, centres[HEAD, along] + 0.8 * normals[HEAD, along] + up * _EAR

    mane = slice(4, None)
    height = 1.0 + (0.2 + 0.08 * rng.random(_SAMPLES - 4)) * _MANE
    inner, outer = (centres[NECK, mane] + k * normals[NECK, mane] for k in (0.72, height))
    eye = centres[HEAD, 9] + 0.38 * normals[HEAD, 9]
    return [
        *leg(FAR_HIND, Label.FAR_COAT, Label.FAR_STRIPE),
        *leg(FAR_FORE, Label.FAR_COAT, Label.FAR_STRIPE),
        (Label.HAIR, ribbons.outlines[TAIL]),
        ear(3, Label.FAR_HAIR),
        *limb(TRUNK, Label.COAT, Label.STRIPE),
        *leg(HIND, Label.COAT, Label.STRIPE),
        *leg(FORE, Label.COAT, Label.STRIPE),
        *limb(NECK, Label.COAT, Label.STRIPE),
        (Label.HAIR, np.concatenate([inner, outer[::-1]])),
        *limb(HEAD, Label.COAT, Label.STRIPE),
        (Label.MUZZLE, ribbons.band(HEAD, slice(19, None))),
        ear(2, Label.COAT),
        (Label.EYE, eye + 0.024 * _CIRCLE),
        (Label.GLINT, eye + 0.007 + 0.009j + 0.008 * _CIRCLE),
    ]


_EAR = np.array([-0.035j, 0.07 - 0.03j, 0.15 + 0.02j, 0.05 + 0.035j, 0.035j])  # up is +1, the rear +i
_CIRCLE = np.exp(2j * np.pi * np.arange(12) / 12)
_MANE = np.minimum(1, 4 * np.sin(np.pi * np.linspace(0.05, 0.97, _SAMPLES - 4)))


# --- paint -----------------------------------------------------------------------------------------------------------


def _choose_coat(rng: np.random.Generator, place: Place) -> Coat:
    """A coat that does not get lost on the ground."""
    seen = [c for c in COATS if np.abs(np.subtract(c.body, place.ground_near)).sum() > 110]
    return seen[rng.integers(len(seen))]


def _colour_tables(rng: np.random.Generator, coat: Coat) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Label -> RGB and a fourth channel: coverage of the whole animal (plain), of the coat (striped)."""
    jitter = rng.uniform(0.95, 1.05, 3)
    body, hair, muzzle = (np.asarray(c) * jitter for c in (coat.body, coat.hair, coat.muzzle))
    light, dark = 0.9 * _STRIPE_LIGHT + 0.1 * body, 0.9 * _STRIPE_DARK + 0.1 * body
    shade = 0.68
    table = np.zeros((2, 256, 4))
    table[:, Label.HAIR, :3], table[:, Label.FAR_HAIR, :3] = hair, hair * shade
    table[:, Label.MUZZLE, :3] = muzzle
    table[:, Label.HOOF, :3], table[:, Label.EYE, :3], table[:, Label.GLINT, :3] = (52, 46, 44), (22, 18, 18), 235
    table[0, Label.COAT, :3] = table[0, Label.STRIPE, :3] = body
    table[0, Label.FAR_COAT, :3] = table[0, Label.FAR_STRIPE, :3] = body * shade
    table[1, Label.COAT, :3], table[1, Label.STRIPE, :3] = light, dark
    table[1, Label.FAR_COAT, :3], table[1, Label.FAR_STRIPE, :3] = light * shade, dark * shade
    table[0, 1:, 3] = 255
    table[1, Label.COAT : Label.FAR_STRIPE + 1, 3] = 255
    plain, striped = np.clip(np.rint(table), 0, 255).astype(np.uint8)
    return plain, striped


def _fill(canvas: NDArray[np.uint8], polygons: Sequence[NDArray[np.int32]], value: int) -> None:
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


def _colour(labels: NDArray[np.uint8], table: NDArray[np.uint8], size: int) -> list[Float]:
    """The channels of a table, averaged over each pixel: four times [size, size] in [0, 1]."""
    packed = table.view(np.uint32).ravel().take(labels, mode="clip")
    colours = packed.view(np.uint8).reshape(*labels.shape, 4)
    while len(colours) > size:
        half = len(colours) // 2
        colours = cv2.resize(colours, (half, half), interpolation=cv2.INTER_AREA)
    return [channel.astype(np.float32) * np.float32(1 / 255) for channel in cv2.split(colours)]


_HEIGHTS = {FAR_HIND: 70, FAR_FORE: 70, TRUNK: 170, HIND: 205, FORE: 205, NECK: 200, HEAD: 225}


def _light(outlines: Points, frame: _Frame, sun: float, size: int) -> Float:
    """Brightness [size, size] of a body that rises as its blurred parts do, lit from above and one side.

    Computed small and enlarged, as it is smooth: so it costs little and is the same at any size.
    """
    relief = np.zeros((128, 128), np.uint8)
    pixels = frame.pixels(outlines, 128)
    for ribbon, height in _HEIGHTS.items():
        _fill(relief, [pixels[ribbon]], height)
    small = cv2.resize(relief, (64, 64), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    form = cv2.GaussianBlur(small, (9, 9), 1.5) + 2 * cv2.GaussianBlur(small, (23, 23), 4.0)
    slope = cv2.Sobel(form, cv2.CV_32F, 0, 1) + 0.5 * sun * cv2.Sobel(form, cv2.CV_32F, 1, 0)
    light = 0.97 + np.clip(0.2 * slope, -0.4, 0.27)
    return cv2.resize(light, (size, size), interpolation=cv2.INTER_LINEAR)


def _shadow(outlines: Points, frame: _Frame, sun: float, size: int) -> Float:
    """Darkness [size, size] of the shadow on the ground: the animal laid flat, away from the sun, and blurred."""
    flat = outlines.real - 0.7 * sun * outlines.imag + 1j * (0.14 * outlines.imag + 0.01)
    canvas = np.zeros((128, 128), np.uint8)
    for outline in frame.pixels(flat, 128):
        _fill(canvas, [outline], 255)
    soft = cv2.GaussianBlur(canvas, (9, 9), 1.5)
    return cv2.resize(soft, (size, size), interpolation=cv2.INTER_LINEAR).astype(np.float32) * np.float32(0.42 / 255)


def _to_image(channels: list[Float]) -> NDArray[np.uint8]:
    return cv2.merge([(np.clip(channel, 0, 1) * 255 + 0.5).astype(np.uint8) for channel in channels])

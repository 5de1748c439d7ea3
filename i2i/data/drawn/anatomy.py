"""The shape of a drawn animal: its pose, outline and stripes as labelled polygons.

An animal is eight ribbons: smooth curves with a width. Stripes, hoofs and mane are given in the frame of a ribbon, so
they follow the body through every pose. Coordinates are complex, x + iy: x to where the animal looks, y up, the lowest
hoof at y = 0, the withers at about 1.
"""

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.complex128]
Polygons = tuple["Label", Points]  # one outline [points], or several [outlines, points]


class Label(IntEnum):
    """What a pixel of the animal is. Only COAT to FAR_STRIPE differ in colour between the domains."""

    NOTHING = 0
    COAT = 1
    STRIPE = 2
    FAR_COAT = 3
    FAR_STRIPE = 4
    HAIR = 5
    FAR_EAR = 6
    HOOF = 7
    MUZZLE = 8
    EYE = 9
    GLINT = 10


FAR_HIND, FAR_FORE, TAIL, TRUNK, HIND, FORE, NECK, HEAD = range(8)
_KNOTS, _SAMPLES = 7, 25

_TRUNK = np.array(
    [-0.54 + 0.77j, -0.51 + 0.775j, -0.4 + 0.78j, -0.2 + 0.765j, 0.08 + 0.73j, 0.32 + 0.74j, 0.48 + 0.75j]
)
_HIND = np.array([-0.35 + 0.86j, -0.35 + 0.74j, -0.32 + 0.56j, -0.41 + 0.38j, -0.415 + 0.22j, -0.40 + 0.09j, -0.37])
_FORE = np.array([0.33 + 0.76j, 0.345 + 0.62j, 0.355 + 0.46j, 0.36 + 0.30j, 0.36 + 0.18j, 0.365 + 0.08j, 0.385])
_LEGS = np.stack([_HIND + 0.05, _FORE + 0.04, _HIND, _FORE])  # far, far, near, near
_BEATS = np.pi * np.array([[1.0], [0.55], [0.0], [1.55]])
_BENDS = np.array([[-0.6], [-1.9], [-0.6], [-1.9]])  # hind legs bend at the hock, fore legs, more, at the knee
_RAMP = np.linspace(0, 1, 6)
_TAIL_ANGLES = np.pi + np.array([0.35, 0.95, 1.25, 1.4, 1.5, 1.55])
_HEAD = np.array([-0.05, 0.03 - 0.01j, 0.11 - 0.02j, 0.21 - 0.006j, 0.31, 0.385 - 0.006j, 0.43 - 0.012j])  # along +x
_HALVES = np.array(
    [
        _HIND_HALF := [0.06, 0.17, 0.135, 0.062, 0.046, 0.046, 0.06],
        _FORE_HALF := [0.05, 0.125, 0.082, 0.056, 0.044, 0.045, 0.058],
        [0.028, 0.03, 0.03, 0.042, 0.055, 0.048, 0.01],  # tail
        [0.03, 0.105, 0.183, 0.208, 0.228, 0.24, 0.10],  # trunk
        _HIND_HALF,
        _FORE_HALF,
        [0.16, 0.205, 0.185, 0.155, 0.13, 0.112, 0.09],  # neck
        [0.045, 0.095, 0.108, 0.088, 0.068, 0.066, 0.03],  # head
    ]
)


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


_SPLINE = _spline().T.astype(complex)  # [7, 25]; complex, as what it weighs
_SLOPE = np.gradient(_SPLINE, axis=1)


def pose_animal(rng: np.random.Generator) -> tuple[Points, NDArray[np.float64]]:
    """Knots [8, 7] and half widths [8, 7] of the ribbons an animal is made of."""
    stride, beat = rng.uniform(0, 0.42), rng.uniform(0, 2 * np.pi) + _BEATS
    legs = _LEGS[:, 1:2] + (_LEGS - _LEGS[:, 1:2]) * np.exp(1j * stride * np.sin(beat))
    # A leg bends while it swings forward.
    bend = np.exp(1j * stride * np.maximum(0, np.cos(beat)) * _BENDS)
    legs[:, 4:] = legs[:, 3:4] + (legs[:, 4:] - legs[:, 3:4]) * bend

    if rng.random() < 0.25:  # grazing
        rise = rng.uniform(-1.25, -1.05)
        withers = 0.33 + 0.76j
        neck_angles, nod = rise + (0.6 - rise) * 0.45 * (1 - _RAMP), rise - rng.uniform(0.25, 0.5)
    else:
        rise = rng.uniform(0.35, 1.05)
        withers = 0.29 + 0.80j
        neck_angles, nod = rise + 0.12 * _RAMP, 0.35 * rise - 1.0 + rng.uniform(-0.2, 0.2)
    tail_angles = _TAIL_ANGLES - rng.uniform(-0.25, 0.35) * (0.2 + 0.8 * _RAMP)

    knots = np.empty((8, _KNOTS), complex)
    knots[[FAR_HIND, FAR_FORE, HIND, FORE]] = legs
    knots[TRUNK], knots[NECK, 0], knots[TAIL, 0] = _TRUNK, withers, -0.48 + 0.90j
    knots[NECK, 1:] = knots[NECK, 0] + np.cumsum(0.115 * np.exp(1j * neck_angles))
    knots[TAIL, 1:] = knots[TAIL, 0] + np.cumsum(0.095 * np.exp(1j * tail_angles))
    knots[HEAD] = knots[NECK, -1] + _HEAD * np.exp(1j * nod)
    knots -= 1j * legs[:, -1].imag.min()  # the lowest hoof stands on the ground
    halves = _HALVES.copy()
    halves[TRUNK] *= rng.uniform(0.94, 1.08)
    return knots, halves


class Ribbons:
    """Smooth curves with a width: the frame in which outlines, stripes, hoofs and mane are given.

    A place on a ribbon is (along, across): samples 0..24 from the trunk outwards or tail to head, and -1..1 from the
    belly side to the back (legs: from the rear to the front).
    """

    def __init__(self, knots: Points, halves: NDArray[np.float64]) -> None:
        self.centres = knots @ _SPLINE  # [8, 25]
        tangent = knots @ _SLOPE
        self.normals = tangent * (1j * (halves @ _SPLINE.real) / np.abs(tangent))
        self.lengths = np.zeros(self.centres.shape)
        np.cumsum(np.abs(self.centres[:, 1:] - self.centres[:, :-1]), axis=1, out=self.lengths[:, 1:])
        self.outlines = self.band(slice(None), slice(None))

    def band(self, ribbon: int | slice, along: slice, low: float = -1.0, high: float = 1.0) -> Points:
        """The closed outline of a stretch of a ribbon."""
        centre, normal = self.centres[ribbon, along], self.normals[ribbon, along]
        return np.concatenate([centre + high * normal, (centre + low * normal)[..., ::-1]], axis=-1)


_ACROSS = np.linspace(-1, 1, 7)
# Where stripes start and end in fractions of the ribbon, how far they lean and arch, their taper to the belly.
_STRIPES = {
    FAR_HIND: (0.3, 0.90, 0.0, 0.0, 0.0),
    FAR_FORE: (0.34, 0.90, 0.0, 0.0, 0.0),
    TRUNK: (0.07, 0.97, -0.03, 0.035, 0.45),
    HIND: (0.2, 0.90, 0.05, 0.0, 0.15),
    FORE: (0.14, 0.90, 0.0, 0.0, 0.0),
    NECK: (0.22, 0.98, 0.02, 0.02, 0.2),
    HEAD: (0.24, 0.80, 0.02, 0.015, 0.2),
}
_OWNERS = list(_STRIPES)
_STARTS, _ENDS, _LEANS, _ARCHES, _TAPERS = np.array(list(_STRIPES.values())).T
_APART = 10.0  # more than any ribbon is long
_DUTY = 0.54  # share of the period that is dark


def _stripes(rng: np.random.Generator, ribbons: Ribbons, period: float) -> dict[int, Points]:
    """Outlines [stripes, 14] of the stripes on each ribbon that has any."""
    lengths = ribbons.lengths[_OWNERS, -1]
    counts = np.ceil((_ENDS - _STARTS) * lengths / period).astype(int)
    row = np.repeat(np.arange(len(_OWNERS)), counts)  # [S], the ribbon's place in the table
    first = np.cumsum(counts) - counts
    centre = (_STARTS * lengths)[row] + (np.arange(len(row)) - first[row]) * period
    shift, turn = rng.uniform(-0.1, 0.1, (2, len(row), 1)) * period
    middle = (centre[:, None] + shift) + (_LEANS[row, None] + turn) * _ACROSS + _ARCHES[row, None] * (1 - _ACROSS**2)
    half = (_DUTY / 2 * period) * (1 - _TAPERS[row, None] * (1 - _ACROSS) / 2)
    edges = np.concatenate([middle - half, (middle + half)[:, ::-1]], axis=1)  # [S, 14] lengths along the ribbon

    # One interpolation for all ribbons, laid end to end.
    owner = np.array(_OWNERS)[row, None]
    edges = np.minimum(np.maximum(edges, 0), lengths[row, None]) + _APART * owner
    ends = ribbons.lengths + _APART * np.arange(len(ribbons.lengths))[:, None]
    index = np.interp(edges, ends.ravel(), np.arange(float(ends.size)))
    low = np.minimum(index.astype(int), owner * _SAMPLES + _SAMPLES - 2)
    part = index - low
    across = np.concatenate([_ACROSS, _ACROSS[::-1]])
    centres, normals = ribbons.centres.ravel(), ribbons.normals.ravel()
    points = (centres[low] + across * normals[low]) * (1 - part) + (centres[low + 1] + across * normals[low + 1]) * part
    return {ribbon: points[f : f + n] for ribbon, f, n in zip(_OWNERS, first.tolist(), counts.tolist(), strict=True)}


EARS = (2, 3)  # where on the head the near and the far ear stand
_EAR = np.array([-0.035j, 0.07 - 0.03j, 0.15 + 0.02j, 0.05 + 0.035j, 0.035j])  # up is +1, the rear +i


def outline_ear(ribbons: Ribbons, along: int) -> Points:
    centre, normal = ribbons.centres[HEAD, along], ribbons.normals[HEAD, along]
    return centre + 0.8 * normal + normal / np.abs(normal) * _EAR


def outline_animal(rng: np.random.Generator, ribbons: Ribbons, period: float) -> list[Polygons]:
    """The whole animal in painter's order.

    Args:
        rng: Where the irregularity of stripes and mane comes from.
        ribbons: The pose.
        period: From stripe to stripe, in the animal's own units.
    """
    stripes = _stripes(rng, ribbons, period)
    centres, normals = ribbons.centres, ribbons.normals

    def limb(ribbon: int, coat: Label, stripe: Label) -> list[Polygons]:
        return [(coat, ribbons.outlines[ribbon]), (stripe, stripes[ribbon])]

    def leg(ribbon: int, coat: Label, stripe: Label) -> list[Polygons]:
        return [*limb(ribbon, coat, stripe), (Label.HOOF, ribbons.band(ribbon, slice(21, None)))]

    mane = slice(4, None)
    height = 1.0 + (0.2 + 0.08 * rng.random(_SAMPLES - 4)) * _MANE
    inner, outer = (centres[NECK, mane] + k * normals[NECK, mane] for k in (0.72, height))
    eye = centres[HEAD, 9] + 0.38 * normals[HEAD, 9]
    return [
        *leg(FAR_HIND, Label.FAR_COAT, Label.FAR_STRIPE),
        *leg(FAR_FORE, Label.FAR_COAT, Label.FAR_STRIPE),
        (Label.HAIR, ribbons.outlines[TAIL]),
        (Label.FAR_EAR, outline_ear(ribbons, EARS[1])),
        *limb(TRUNK, Label.COAT, Label.STRIPE),
        *leg(HIND, Label.COAT, Label.STRIPE),
        *leg(FORE, Label.COAT, Label.STRIPE),
        *limb(NECK, Label.COAT, Label.STRIPE),
        (Label.HAIR, np.concatenate([inner, outer[::-1]])),
        *limb(HEAD, Label.COAT, Label.STRIPE),
        (Label.MUZZLE, ribbons.band(HEAD, slice(19, None))),
        (Label.COAT, outline_ear(ribbons, EARS[0])),
        (Label.EYE, eye + 0.024 * _CIRCLE),
        (Label.GLINT, eye + 0.007 + 0.009j + 0.008 * _CIRCLE),
    ]


_CIRCLE = np.exp(2j * np.pi * np.arange(12) / 12)
_MANE = np.minimum(1, 4 * np.sin(np.pi * np.linspace(0.05, 0.97, _SAMPLES - 4)))

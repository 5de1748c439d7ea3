"""What stands on and beside a drawn street: trees, cars, lamps, signs and people. Sizes are metres."""

from collections.abc import Callable
from functools import partial

import numpy as np

from i2i.data.drawn.landscape import Array, Colour
from i2i.data.drawn.painting import Points
from i2i.data.drawn.street_view import CAR, FOCAL_LENGTH, PERSON, POLE, SIGN, TREE, View

Painter = Callable[[View], None]  # draws one object
_CARS: tuple[Colour, ...] = (
    (212, 212, 208), (40, 42, 48), (164, 36, 34), (48, 76, 132), (132, 136, 140), (96, 100, 104), (34, 84, 66),
    (206, 176, 60),
)  # fmt: skip
_CLOTHES: tuple[Colour, ...] = (
    (176, 48, 44),
    (52, 70, 120),
    (60, 60, 64),
    (206, 196, 180),
    (64, 104, 80),
    (196, 140, 60),
)
_LEAVES: tuple[Colour, ...] = ((74, 104, 50), (92, 112, 48), (62, 88, 52), (150, 112, 44))
_ROUND = np.exp(2j * np.pi * np.arange(9) / 9)


def _across(z: float, left: float, right: float, low: float, high: float) -> list[tuple[float, float, float]]:
    return [(left, low, z), (left, high, z), (right, high, z), (right, low, z)]


def _flank(*outline: tuple[float, float]) -> list[tuple[float, float, float]]:
    return [(0.9, y, z) for z, y in outline]


def _wheel(z: float) -> list[tuple[float, float, float]]:
    return _flank(*((z + 0.33 * float(np.sin(a)), 0.33 + 0.33 * float(np.cos(a))) for a in np.linspace(0.3, 6.1, 11)))


# Outlines of a car as they are painted: x from its middle to the side that is seen, y up, z from its nearer end.
_CAR = (
    ("rubber", _across(0.2, -0.88, 0.88, 0.05, 0.4)),
    (
        "flank",
        _flank((0, 0.3), (0, 0.86), (0.55, 0.95), (1.15, 1.42), (2.9, 1.42), (3.5, 0.95), (4.2, 0.8), (4.2, 0.3)),
    ),
    ("glass", _flank((0.85, 0.97), (1.28, 1.34), (2.8, 1.34), (3.2, 0.97))),
    ("rubber", _wheel(0.85)),
    ("rubber", _wheel(3.35)),
    ("top", [(-0.68, 1.42, 1.15), (-0.68, 1.42, 2.9), (0.68, 1.42, 2.9), (0.68, 1.42, 1.15)]),
    ("back", [(-0.86, 0.92, 0.3), (-0.68, 1.42, 1.0), (0.68, 1.42, 1.0), (0.86, 0.92, 0.3)]),
    ("glass", [(-0.74, 0.99, 0.35), (-0.6, 1.36, 0.9), (0.6, 1.36, 0.9), (0.74, 0.99, 0.35)]),
    ("back", _across(0, -0.9, 0.9, 0.32, 0.94)),
    ("lamp", _across(0, -0.86, -0.54, 0.64, 0.82)),
    ("lamp", _across(0, 0.54, 0.86, 0.64, 0.82)),
    ("plate", _across(0, -0.26, 0.26, 0.46, 0.6)),
    ("rubber", _across(0, -0.9, 0.9, 0.3, 0.38)),
)
_CAR_LOOKS = [look for look, _ in _CAR]
_CAR_POINTS = np.concatenate([outline for _, outline in _CAR])  # [points, 3]
_CAR_CUTS = np.cumsum([len(outline) for _, outline in _CAR])[:-1]


def furnish(rng: np.random.Generator, road: float, edge: float, camera: float) -> list[tuple[float, Painter]]:
    """Objects of a street: (distance, painter).

    Args:
        rng: Where all variation comes from.
        road: Half the width of the road.
        edge: Half the width between the houses.
        camera: How far right of the middle line the camera is.
    """
    found: list[tuple[float, Painter]] = []
    leaves = _LEAVES[rng.choice(len(_LEAVES), p=(0.35, 0.3, 0.25, 0.1))]
    for side in (-1, 1):
        kerb, pavement = side * road - camera, edge - road
        if rng.random() < 0.6:
            for z in _row(rng, 4, 55, 6.5, 12):
                found.append((z, partial(_tree, *_tree_shape(rng, leaves), kerb + side * 0.9, z)))
        if rng.random() < 0.75:
            for z in _row(rng, 5, 40, 12, 20):
                found.append((z, partial(_lamp, side, kerb + side * 0.4, z)))
        if rng.random() < 0.6:
            z = rng.uniform(6, 18)
            found.append((z, partial(_sign, int(rng.integers(3)), kerb + side * 0.5, z)))
        if rng.random() < 0.65:
            for z in _row(rng, 3, 42, 5.2, 9):
                if rng.random() < 0.7:
                    colour = _CARS[rng.integers(len(_CARS))]
                    found.append((z, partial(_car, colour, side > 0, kerb - side * 1.1, z)))
        for z in rng.uniform(4, 24, int(rng.integers(5))):
            colours = _CLOTHES[rng.integers(len(_CLOTHES))], _CLOTHES[rng.integers(len(_CLOTHES))]
            found.append(
                (float(z), partial(_person, *colours, kerb + side * pavement * rng.uniform(0.3, 0.8), float(z)))
            )
    for away, middle in ((True, road * 0.32), (False, -road * 0.32)):
        if rng.random() < 0.5:
            z = float(rng.uniform(6, 32))
            found.append((z, partial(_car, _CARS[rng.integers(len(_CARS))], away, middle - camera, z)))
    return found


def _row(rng: np.random.Generator, start: float, end: float, least: float, most: float) -> list[float]:
    places = start + rng.uniform(0, most) + np.cumsum(rng.uniform(least, most, 16))
    return [float(place) for place in places if place < end]


def _tree_shape(rng: np.random.Generator, leaves: Colour) -> tuple[list[float], Array, float]:
    """Colour, clumps of leaves [8, 3] (x, y, radius) and height of the trunk."""
    size, trunk = rng.uniform(0.8, 1.35), rng.uniform(1.9, 2.8)
    angle = 2 * np.pi * (np.arange(8) + rng.random(8)) / 8
    spread = rng.uniform(0.5, 1.1, 8) * size
    x, y = spread * np.sin(angle), trunk + 1.35 * size + 1.15 * spread * np.cos(angle)
    clumps = np.stack([x, y, rng.uniform(0.75, 1.1, 8) * size], -1)
    brightness = rng.uniform(0.85, 1.15)
    return [brightness * part for part in leaves], clumps, trunk + size


def _tree(colour: list[float], clumps: Array, trunk: float, x: float, z: float, view: View) -> None:
    view.front(view.material(TREE, (84, 70, 58), z, 0.1), (x - 0.16, x + 0.16), (0, trunk), z)
    view.canvas.darken([view.floor((x - 1.6, x + 1.6), (z - 1.2, z + 1.2))])
    for light, share in ((0.72, 1.0), (1.0, 0.78), (1.25, 0.42)):
        material = view.material(TREE, colour, z, 0.22, 0.10, light=1 + (light - 1) * view.contrast)
        towards = (1 - share) * view.sun
        dx, y, radius = clumps.T[..., None]  # [8, 1]
        leaves = view.project(
            x + dx + 0.56 * towards + share * radius * _ROUND.real,
            y + 0.6 * (1 - share) + share * radius * _ROUND.imag,
            z,
        )
        view.canvas.fill(material, leaves)  # [8, 9]


def _thick(width: float, z: float) -> float:
    """Half a width in metres, such that a pole stays about a pixel of a small picture wide."""
    return max(width, 0.011 * z / FOCAL_LENGTH) / 2


def _disc(view: View, x: float, y: float, z: float, radius: float, corners: int) -> Points:
    """Outline of a regular polygon that faces the camera and stands on a corner or, if it is a square, a side."""
    turn = 2 * np.pi * (np.arange(corners) + 0.5) / corners
    return view.project(x + radius * np.sin(turn), y + radius * np.cos(turn), z)


def _lamp(side: int, x: float, z: float, view: View) -> None:
    steel = view.material(POLE, (88, 92, 94), z)
    half = _thick(0.16, z)
    view.front(steel, (x - half, x + half), (0, 6.8), z)
    view.front(steel, (x, x - side * 1.7), (6.8 - 1.4 * half, 6.8 + 0.6 * half), z)
    view.front(view.material(POLE, (206, 206, 196), z), (x - side * 1.0, x - side * 1.8), (6.6 - half, 6.75), z)


def _sign(kind: int, x: float, z: float, view: View) -> None:
    half = _thick(0.08, z)
    view.front(view.material(POLE, (128, 130, 132), z), (x - half, x + half), (0, 2.5), z)
    outline = {0: 12, 1: 3, 2: 4}[kind]
    rim, middle = {0: ((190, 34, 34), (236, 234, 230)), 1: ((190, 34, 34), (236, 234, 230)), 2: ((36, 84, 160),) * 2}[
        kind
    ]
    for colour, radius in ((rim, 0.5), (middle, 0.32)):
        view.canvas.fill(view.material(SIGN, colour, z), [_disc(view, x, 2.7, z, radius, outline)])


def _person(top: Colour, legs: Colour, x: float, z: float, view: View) -> None:
    view.canvas.darken([view.floor((x - 0.3, x + 0.3), (z - 0.3, z + 0.3))])
    view.front(view.material(PERSON, legs, z, light=0.6), (x - 0.19, x + 0.19), (0, 0.9), z)
    view.front(view.material(PERSON, top, z, 0.05), (x - 0.27, x + 0.27), (0.8, 1.45), z)
    view.canvas.fill(view.material(PERSON, (190, 146, 122), z), [_disc(view, x, 1.62, z, 0.16, 10)])


def _car(colour: Colour, away: bool, x: float, z: float, view: View) -> None:
    """A car that is ``x`` right of the camera and whose nearer end is ``z`` ahead of it."""
    view.canvas.darken([view.floor((x - 1.05, x + 1.05), (z - 0.3, z + 4.5))])
    inner = -1 if x > 0 else 1  # the side that is seen
    looks = {
        "rubber": view.material(CAR, (30, 30, 32), z),
        "glass": view.material(CAR, (52, 62, 72), z),
        "flank": view.material(CAR, colour, z, light=0.9 * view.lit(-inner)),
        "top": view.material(CAR, [1.15 * part + 12 for part in colour], z),
        "back": view.material(CAR, colour, z, light=1 - 0.1 * view.contrast),
        "lamp": view.material(CAR, (186, 26, 24) if away else (240, 238, 214), z),
        "plate": view.material(CAR, (224, 222, 206), z),
    }
    points = view.project(x + inner * _CAR_POINTS[:, 0], _CAR_POINTS[:, 1], z + _CAR_POINTS[:, 2])
    for look, part in zip(_CAR_LOOKS, np.split(points, _CAR_CUTS), strict=True):
        view.canvas.fill(looks[look], [part])

"""Drawn towns from above: where the streets, the water, the parks, the houses and the trees of a seed are.

A town is laid out on a grid of streets, which is turned, bent a little and cut by a river or a main road. Coordinates
are fractions of the picture: 1 is about 250 metres.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from i2i.data.drawn.landscape import Array
from i2i.data.drawn.painting import Points, ribbon

_REACH = 0.85  # half the side of the grid, which covers the picture when turned
STREET_WIDTH, MAIN_WIDTH = 0.042, 0.074
_FREE, _PARK, _LOT, _TAKEN = 0, 1, 2, 3  # marks of the plan that says where houses and trees may stand
_PLAN_SIDE = 192
_FIFTHS = np.linspace(0, 1, 6)


@dataclass
class Town:
    """The shapes of a town; all outlines are [L] in fractions of the picture, x + iy.

    Attributes:
        parks: Outlines.
        fields: Farmland.
        lots: Paved ground beside buildings.
        paths: Outlines of footpaths in parks.
        streets: Outlines of streets.
        water: Outlines of rivers, lakes and ponds.
        mains: Outlines of main roads, which bridge the water.
        lanes: Middle lines of all roads, the main ones last.
        main_lanes: How many of them are main ones.
        houses: Corners of houses with gabled roofs; the first two edges' order gives the ridge. [N, 4]
        blocks: Corners of buildings with flat roofs. [N, 4]
        trees: Centres [N] and radii [N].
    """

    parks: list[Points] = field(default_factory=list)
    fields: list[Points] = field(default_factory=list)
    lots: list[Points] = field(default_factory=list)
    paths: list[Points] = field(default_factory=list)
    streets: list[Points] = field(default_factory=list)
    water: list[Points] = field(default_factory=list)
    mains: list[Points] = field(default_factory=list)
    lanes: list[Points] = field(default_factory=list)
    main_lanes: int = 0
    houses: Points = field(default_factory=lambda: np.empty((0, 4), complex))
    blocks: Points = field(default_factory=lambda: np.empty((0, 4), complex))
    trees: tuple[Points, NDArray[np.float64]] = field(default_factory=lambda: (np.empty(0, complex), np.empty(0)))


def plan_town(rng: np.random.Generator) -> Town:
    """Lays out a town: a suburb, a centre or the country."""
    kind = ("suburb", "centre", "country")[rng.choice(3, p=(0.5, 0.3, 0.2))]
    bend = _bend(rng)
    town = Town()
    spacing = {"suburb": (0.22, 0.34), "centre": (0.25, 0.36), "country": (0.45, 0.7)}[kind]
    columns, rows = _lines(rng, 1.25, spacing), _lines(rng, 1.0, spacing)
    _lay_roads(rng, town, bend, columns, rows)
    _lay_water(rng, town)
    houses: list[Points] = []
    blocks: list[Points] = []
    for left, right in zip(columns, columns[1:], strict=False):
        for top, bottom in zip(rows, rows[1:], strict=False):
            box = np.array([left + 0.03, right - 0.03, top + 0.03, bottom - 0.03])
            draw = rng.random()
            if draw < 0.15:
                _lay_park(rng, town, bend, box)
            elif kind == "centre" or (kind == "suburb" and draw < 0.25):
                blocks.append(_lay_blocks(rng, town, bend, box))
            elif kind == "country" and draw < 0.85:
                town.fields += [bend(outline) for outline in _split(rng, box)]
            else:
                houses.append(_lay_houses(rng, box))
    plan = _mark(town)
    town.houses = _keep(plan, bend(np.concatenate(houses)) if houses else town.houses, (_FREE,))
    town.blocks = _keep(plan, bend(np.concatenate(blocks)) if blocks else town.blocks, (_FREE, _LOT))
    town.trees = _plant(rng, town, plan, kind)
    return town


def _bend(rng: np.random.Generator) -> Callable[[Points], Points]:
    """From the grid to the picture: a turn about its middle and long waves."""
    turn = np.exp(1j * rng.uniform(0, 2 * np.pi))
    height, phase = rng.uniform(0, 0.035, 2), rng.uniform(0, 2 * np.pi, 2)
    shift = complex(*rng.uniform(-0.1, 0.1, 2))

    def bend(points: Points) -> Points:
        wave_x = height[0] * np.sin(4.5 * points.imag + phase[0])
        wave_y = height[1] * np.sin(4.5 * points.real + phase[1])
        bent: Points = 0.5 + 0.5j + turn * (points + shift + wave_x + 1j * wave_y)
        return bent

    return bend


def _lines(rng: np.random.Generator, stretch: float, spacing: tuple[float, float]) -> NDArray[np.float64]:
    steps = rng.uniform(*spacing, 9) * stretch
    lines = -_REACH + np.cumsum(steps) - steps[0] * rng.random()
    return lines[lines < _REACH]


def _lay_roads(
    rng: np.random.Generator,
    town: Town,
    bend: Callable[[Points], Points],
    columns: NDArray[np.float64],
    rows: NDArray[np.float64],
) -> None:
    run = np.linspace(-1.1, 1.1, 24)
    streets = [bend(column + 1j * run) for column in columns] + [bend(run + 1j * row) for row in rows]
    mains: list[Points] = []
    chance = rng.random()
    if chance < 0.5:  # a street becomes the main road
        mains.append(streets.pop(int(rng.integers(len(streets)))))
    elif chance < 0.75:  # it cuts across the grid
        mains.append(_wander(rng, 0.12))
    town.streets = [ribbon(line, STREET_WIDTH) for line in streets]
    town.mains = [ribbon(line, MAIN_WIDTH) for line in mains]
    town.lanes, town.main_lanes = [*streets, *mains], len(mains)


def _wander(rng: np.random.Generator, spread: float) -> Points:
    """A curve through the picture, from beyond one side to beyond another. [32]"""
    run = np.linspace(-0.95, 0.95, 32)
    waves = rng.uniform(0.02, 0.07, 2) * np.sin(np.outer(run, (3.0, 6.5)) + rng.uniform(0, 2 * np.pi, 2))
    turn = np.exp(1j * rng.uniform(0, 2 * np.pi))
    line: Points = 0.5 + 0.5j + turn * (run + 1j * (waves.sum(1) + rng.uniform(-2, 2) * spread))
    return line


def _lay_water(rng: np.random.Generator, town: Town) -> None:
    chance = rng.random()
    if chance < 0.42:
        swell = 1 + 0.15 * np.sin(np.linspace(0, 9, 32) + rng.uniform(0, 6))
        town.water.append(ribbon(_wander(rng, 0.16), rng.uniform(0.09, 0.2) * swell))
    elif chance < 0.58:
        centre = complex(*rng.uniform(0.1, 0.9, 2))
        town.water.append(centre + _blob(rng, rng.uniform(0.12, 0.26)))


def _blob(rng: np.random.Generator, radius: float) -> Points:
    """A round outline about 0 with a few waves. [28]"""
    angle = np.linspace(0, 2 * np.pi, 28, endpoint=False)
    waves = np.sin(np.outer(angle, (2, 3, 5)) + rng.uniform(0, 2 * np.pi, 3)) @ rng.uniform(0.03, 0.16, 3)
    outline: Points = radius * (1 + waves) * np.exp(1j * angle)
    return outline


def _rectangle(left: float, right: float, top: float, bottom: float) -> Points:
    """Outline with points along its edges, so that it bends. [16]"""
    corners: Points = np.array([complex(left, top), complex(right, top), complex(right, bottom), complex(left, bottom)])
    share = np.arange(4) / 4
    outline: Points = (corners[:, None] * (1 - share) + np.roll(corners, -1)[:, None] * share).ravel()
    return outline


def _split(rng: np.random.Generator, box: NDArray[np.float64]) -> list[Points]:
    """One to three strips."""
    left, right, top, bottom = box.tolist()
    cuts = [left, *np.sort(rng.uniform(left + 0.05, right - 0.05, int(rng.integers(3)))).tolist(), right]
    return [_rectangle(a, b, top, bottom) for a, b in zip(cuts, cuts[1:], strict=False)]


def _lay_park(rng: np.random.Generator, town: Town, bend: Callable[[Points], Points], box: NDArray[np.float64]) -> None:
    left, right, top, bottom = box.tolist()
    town.parks.append(bend(_rectangle(*box.tolist())))
    middle = complex((left + right) / 2, (top + bottom) / 2)
    if rng.random() < 0.35:
        town.water.append(bend(middle + _blob(rng, 0.3 * min(right - left, bottom - top))))
    elif rng.random() < 0.6:
        run = np.linspace(0, 1, 12)
        start, end = complex(left, rng.uniform(top, bottom)), complex(right, rng.uniform(top, bottom))
        town.paths.append(ribbon(bend(start + (end - start) * run + 0.02j * np.sin(9 * run)), 0.013))


def _lay_houses(rng: np.random.Generator, box: NDArray[np.float64]) -> Points:
    """Two rows of houses, back to back along the streets. [N, 4] in the grid"""
    left, right, top, bottom = box.tolist()
    count = max(1, round((right - left) / rng.uniform(0.085, 0.11)))
    across = left + (right - left) * (np.arange(count) + 0.5) / count
    x = np.concatenate([across, across]) + rng.normal(0, 0.004, 2 * count)
    depth = rng.uniform(0.032, 0.042)
    y = np.repeat([top + depth, bottom - depth], count) + rng.normal(0, 0.004, 2 * count)
    keep = rng.random(2 * count) < 0.88
    half = rng.uniform((0.024, 0.019), (0.036, 0.027), (2 * count, 2))
    if bottom - top < 0.15:  # no room for two rows
        y[:count], keep[count:] = (top + bottom) / 2, False
    corners = half[:, :1] * np.array([-1, 1, 1, -1]) + 1j * half[:, 1:] * np.array([-1, -1, 1, 1])
    wings: Points = (x + 1j * y)[keep, None] + corners[keep]
    return wings


def _lay_blocks(
    rng: np.random.Generator, town: Town, bend: Callable[[Points], Points], box: NDArray[np.float64]
) -> Points:
    """Large buildings on paved ground. [N, 4] in the grid"""
    left, right, top, bottom = box.tolist()
    if rng.random() < 0.7:
        town.lots.append(bend(_rectangle(left - 0.004, right + 0.004, top - 0.004, bottom + 0.004)))
    columns, rows = (int(rng.integers(1, 4)), int(rng.integers(1, 3)))
    width, height = (right - left) / columns, (bottom - top) / rows
    x = left + width * np.tile(np.arange(columns), rows)
    y = top + height * np.repeat(np.arange(rows), columns)
    near, far = rng.uniform(0.04, 0.18, (2, len(x))), rng.uniform(0.78, 0.96, (2, len(x)))
    keep = rng.random(len(x)) < 0.85
    a, b, c, d = x + width * near[0], x + width * far[0], y + height * near[1], y + height * far[1]
    corners: Points = np.stack([a + 1j * c, b + 1j * c, b + 1j * d, a + 1j * d], -1)[keep]
    return corners


def _mark(town: Town) -> Array:
    """What the ground is used for, uint8 [192, 192]; its own size, so that a seed is one town at any size."""
    plan = np.full((_PLAN_SIDE, _PLAN_SIDE), _FREE, np.uint8)
    for mark, outlines in (
        (_PARK, town.parks),
        (_LOT, town.lots),
        (_TAKEN, town.paths),
        (_TAKEN, town.streets),
        (_TAKEN, town.water),
        (_TAKEN, town.mains),
    ):
        for outline in outlines:
            pixels = np.stack([outline.real, outline.imag], -1) * (16 * _PLAN_SIDE)
            cv2.fillPoly(plan, [np.rint(pixels).astype(np.int32)], mark, cv2.LINE_8, 4)
    return plan


def _look_up(plan: Array, points: Points) -> Array:
    """The marks at points; beyond the picture those of its border."""
    y, x = (np.stack([points.imag, points.real]) * _PLAN_SIDE).clip(0, _PLAN_SIDE - 1).astype(np.intp)
    return plan[y, x]


def _keep(plan: Array, corners: Points, marks: tuple[int, ...]) -> Points:
    """The buildings [N, 4] in the picture whose ground is all of these marks."""
    inside = ((corners.real > -0.02) & (corners.real < 1.02) & (corners.imag > -0.02) & (corners.imag < 1.02)).any(1)
    corners = corners[inside]
    top = corners[:, :1] + (corners[:, 1:2] - corners[:, :1]) * _FIFTHS
    bottom = corners[:, 3:] + (corners[:, 2:3] - corners[:, 3:]) * _FIFTHS
    around = top[:, :, None] + (bottom - top)[:, :, None] * _FIFTHS  # [N, 6, 6]
    return corners[np.isin(_look_up(plan, around), marks).all((1, 2))]


def _plant(rng: np.random.Generator, town: Town, plan: Array, kind: str) -> tuple[Points, NDArray[np.float64]]:
    """Single trees in gardens and along streets, woods in parks."""
    count = {"suburb": 130, "centre": 60, "country": 60}[kind]
    places = rng.uniform(0, 1, (count + 220, 2)) @ np.array([1, 1j])
    mark = _look_up(plan, places)
    woods = _look_up(plan, places + 0.01) == _PARK
    buildings = np.concatenate([town.houses, town.blocks])
    clear = np.ones(len(places), bool)
    if len(buildings):
        reach = np.abs(buildings[:, 0] - buildings[:, 2]) / 2
        clear = (np.abs(places[:, None] - buildings.mean(1)) > 0.85 * reach).all(1)
    single = np.arange(len(places)) < count
    keep = clear & (((mark == _FREE) & single) | ((mark == _PARK) & woods))
    return places[keep], rng.uniform(0.009, 0.024, len(places))[keep]

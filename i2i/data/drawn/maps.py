"""Aerial view <-> vector map: drawn towns as seen from a plane, and as a map shows them.

The map is flat: a colour a class. The aerial view has what no map tells (the colours of roofs, gardens and fields,
trees, shadows, cars, the light of the day), and the trees hide a little of what the map does tell.
"""

import numpy as np
from numpy.typing import NDArray

from i2i.data.drawn.landscape import Array, Colour
from i2i.data.drawn.painting import (
    Canvas,
    Material,
    Scene,
    check_drawing,
    flat_noise,
    heading,
    ribbon,
    show_ids,
    to_uint8,
)
from i2i.data.drawn.town import MAIN_WIDTH, STREET_WIDTH, Town, plan_town
from i2i.images.codecs import LabelClass

CLASSES = (
    LabelClass(0, "land", (234, 228, 214)),
    LabelClass(1, "park", (176, 218, 150)),
    LabelClass(2, "water", (140, 192, 238)),
    LabelClass(3, "building", (196, 172, 156)),
    LabelClass(4, "street", (255, 255, 255)),
    LabelClass(5, "main road", (250, 196, 92)),
)
LAND, PARK, WATER, BUILDING, STREET, MAIN_ROAD = range(len(CLASSES))

_ROOFS: tuple[Colour, ...] = (
    (176, 104, 80), (158, 92, 74), (132, 104, 88), (100, 98, 102), (128, 132, 138), (172, 168, 162), (206, 200, 190),
    (190, 164, 134),
)  # fmt: skip
_FLAT_ROOFS: tuple[Colour, ...] = (
    (196, 194, 188), (168, 168, 168), (134, 132, 130), (112, 112, 116), (214, 208, 196), (156, 124, 104),
    (126, 144, 156),
)  # fmt: skip
_FIELDS: tuple[Colour, ...] = ((168, 154, 106), (138, 142, 84), (112, 124, 74), (182, 166, 128), (128, 104, 80))
_LAWNS: tuple[Colour, ...] = ((116, 124, 82), (134, 130, 94), (150, 140, 110), (104, 118, 78))
_WATERS: tuple[Colour, ...] = ((58, 84, 88), (70, 92, 84), (54, 76, 98), (88, 104, 92))
_CARS: tuple[Colour, ...] = ((232, 232, 230), (38, 40, 44), (172, 46, 40), (60, 88, 140), (148, 150, 154))


def draw_partners(seed: int, size: int) -> tuple[Scene, Scene]:
    """Draws the aerial view and the map of a seed.

    Args:
        seed: Any non-negative integer.
        size: Side of the square pictures in pixels, at least 32.

    Returns:
        Aerial view and map. Both have the ids of ``CLASSES``, and a mask that is true everywhere.

    Raises:
        ValueError: The seed is negative or the size too small.
    """
    check_drawing(seed, size)
    rng = np.random.default_rng(seed)
    town = plan_town(rng)
    canvas = Canvas(size)
    _paint_ground(rng, canvas, town)
    sun = np.exp(1j * rng.uniform(0, 2 * np.pi))
    _paint_buildings(rng, canvas, town, sun)
    ids = canvas.ids()
    _paint_roofs(rng, canvas, town, sun)
    _paint_cars(rng, canvas, town)
    _paint_trees(rng, canvas, town, sun)
    aerial = _light(rng, canvas)
    mask = np.ones((size, size), bool)
    return Scene(aerial, mask, ids), Scene(show_ids(ids, CLASSES), mask, ids)


def _vary(rng: np.random.Generator, colour: Colour, spread: float) -> NDArray[np.float64]:
    varied: NDArray[np.float64] = np.array(colour) * rng.uniform(1 - spread, 1 + spread) + rng.normal(0, 2, 3)
    return varied


def _pick(rng: np.random.Generator, colours: tuple[Colour, ...], spread: float = 0.08) -> NDArray[np.float64]:
    return _vary(rng, colours[rng.integers(len(colours))], spread)


def _paint_ground(rng: np.random.Generator, canvas: Canvas, town: Town) -> None:
    lawn = _pick(rng, _LAWNS)
    asphalt = _vary(rng, (124, 122, 122), 0.16)
    canvas.add(Material(LAND, lawn, 0.11, 0.12, ground=True))
    for outline in town.fields:
        canvas.fill(canvas.add(Material(LAND, _pick(rng, _FIELDS), 0.05, 0.06, ground=True)), [outline])
    green = 0.4 * lawn + 0.6 * _vary(rng, (92, 116, 66), 0.1)
    canvas.fill(canvas.add(Material(PARK, green, 0.10, 0.10, ground=True)), town.parks)
    canvas.fill(canvas.add(Material(LAND, 1.14 * _vary(rng, (140, 136, 130), 0.1), 0.05, 0.07, ground=True)), town.lots)
    canvas.fill(canvas.add(Material(PARK, (186, 172, 142), 0.04, ground=True)), town.paths)
    pavement = canvas.add(Material(LAND, 1.3 * asphalt, 0.04, 0.04, ground=True))
    canvas.fill(pavement, [ribbon(lane, 1.32 * STREET_WIDTH) for lane in town.lanes])
    street = canvas.add(Material(STREET, asphalt, 0.05, 0.05, ground=True))
    canvas.fill(street, town.streets)
    water = canvas.add(Material(WATER, _pick(rng, _WATERS), 0.02, 0.06))
    canvas.fill(water, town.water)
    main = canvas.add(Material(MAIN_ROAD, 0.86 * asphalt, 0.04, 0.04, ground=True))
    canvas.fill(main, town.mains)
    line = canvas.add(Material(MAIN_ROAD, (214, 212, 200), 0.03, ground=True))
    for lane in town.lanes[len(town.lanes) - town.main_lanes :]:
        canvas.fill(line, [ribbon(lane, 0.006)])


def _paint_buildings(rng: np.random.Generator, canvas: Canvas, town: Town, sun: complex) -> None:
    """Footprints and their shadows; roofs follow."""
    building = canvas.add(Material(BUILDING, (150, 150, 150)))
    for corners, height in ((town.houses, 0.018), (town.blocks, rng.uniform(0.025, 0.05))):
        canvas.fill(building, corners)
        for share in (0.35, 0.7, 1.0):
            canvas.darken(corners - share * height * sun)


def _paint_roofs(rng: np.random.Generator, canvas: Canvas, town: Town, sun: complex) -> None:
    colours = rng.choice(len(_ROOFS), size=4)  # a neighbourhood is built alike
    corners = town.houses
    wide = np.abs(corners[:, :1] - corners[:, 1:2]) >= np.abs(corners[:, 1:2] - corners[:, 2:3])
    corners = np.where(wide, corners, np.roll(corners, 1, axis=1))  # the ridge runs along the longer side
    across = corners[:, 3] - corners[:, 0]
    facing = -(across / np.maximum(np.abs(across), 1e-9) * np.conj(sun)).real  # of the half at the first corner
    start, end = (corners[:, 0] + corners[:, 3]) / 2, (corners[:, 1] + corners[:, 2]) / 2
    kind = rng.integers(len(colours), size=len(corners))
    for half, towards in (
        (np.stack([corners[:, 0], corners[:, 1], end, start], -1), facing),
        (np.stack([start, end, corners[:, 2], corners[:, 3]], -1), -facing),
    ):
        light = 1 + np.rint(1.4 * towards)  # 0, 1 or 2
        for number, colour in enumerate(colours):
            base = _vary(rng, _ROOFS[colour], 0.06)
            for step, brightness in enumerate((0.80, 0.98, 1.14)):
                roof = canvas.add(Material(BUILDING, brightness * base, 0.05))
                canvas.fill(roof, half[(kind == number) & (light == step)])
    for corners in town.blocks:
        colour = _pick(rng, _FLAT_ROOFS)
        canvas.fill(canvas.add(Material(BUILDING, 1.12 * colour, 0.02)), [corners])
        middle = corners.mean()
        canvas.fill(canvas.add(Material(BUILDING, colour, 0.04, 0.05)), [middle + 0.88 * (corners - middle)])
        box = canvas.add(Material(BUILDING, 0.72 * colour, 0.03))
        for place in rng.uniform(-0.25, 0.25, (int(rng.integers(4)), 2)):
            centre = middle + place[0] * (corners[1] - corners[0]) + place[1] * (corners[3] - corners[0])
            canvas.fill(box, [centre + rng.uniform(0.08, 0.16) * (corners - middle)])


def _paint_cars(rng: np.random.Generator, canvas: Canvas, town: Town) -> None:
    body = np.array([-0.011 - 0.005j, 0.011 - 0.005j, 0.011 + 0.005j, -0.011 + 0.005j])
    places, turns = [], []
    for number, lane in enumerate(town.lanes):
        side = (MAIN_WIDTH if number >= len(town.lanes) - town.main_lanes else STREET_WIDTH) / 4
        spots = (rng.random(int(rng.integers(7))) * (len(lane) - 1)).astype(int)
        along = heading(lane)[spots] * rng.choice((-1, 1), len(spots))
        places.append(lane[spots] + rng.uniform(0, 0.05, len(spots)) * along + 1j * side * along)
        turns.append(along)
    place, turn = np.concatenate(places), np.concatenate(turns)
    on_road = np.isin(canvas.labels_at(place), (STREET, MAIN_ROAD))
    outlines = (place[:, None] + turn[:, None] * body)[on_road]
    kind = rng.integers(len(_CARS), size=len(place))[on_road]
    for number, colour in enumerate(_CARS):
        canvas.fill(canvas.add(Material(STREET, colour)), outlines[kind == number])


_ROUND = np.exp(2j * np.pi * np.arange(9) / 9)


def _paint_trees(rng: np.random.Generator, canvas: Canvas, town: Town, sun: complex) -> None:
    greens = []
    for _ in range(3):
        base = _vary(rng, (70, 92, 52), 0.16)
        greens.append([canvas.add(Material(PARK, light * base, 0.16)) for light in (0.72, 1.0, 1.3)])
    places, radii = town.trees
    crowns = radii[:, None] * _ROUND * rng.uniform(0.85, 1.15, (len(places), len(_ROUND)))  # [N, 9]
    kind = rng.integers(len(greens), size=len(places))
    for lean in (0.6, 1.1):
        canvas.darken((places - lean * radii * sun)[:, None] + crowns)
    for layer, (lean, share) in enumerate(((0.0, 1.0), (0.12, 0.8), (0.38, 0.4))):
        outlines = (places + lean * radii * sun)[:, None] + share * crowns
        for number, green in enumerate(greens):
            canvas.fill(green[layer], outlines[kind == number])


def _light(rng: np.random.Generator, canvas: Canvas) -> NDArray[np.uint8]:
    grain, patches, clouds = flat_noise(rng, canvas.size)
    picture: Array = canvas.render(grain, patches + 0.5 * clouds, rng.uniform(0.35, 0.6))
    warmth, brightness = rng.uniform(-0.06, 0.07), rng.uniform(0.9, 1.12)
    tint = brightness * np.array((1 + warmth, 1, 1 - warmth), np.float32)
    haze = np.float32(rng.uniform(0, 0.10))
    return to_uint8(picture * (tint * (1 - haze)) + haze * np.float32(0.75))

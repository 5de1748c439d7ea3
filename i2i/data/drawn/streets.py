"""Label map <-> street: drawn streets seen from a car, and the class of each pixel.

What stands along the street is painted from far to near. The label map has the outlines; the picture has what no label
tells: colours, windows, doors, markings, shadows, clouds, haze and the light of the day.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from i2i.data.drawn.landscape import Array, Colour, noise_tile
from i2i.data.drawn.painting import Canvas, Material, Scene, check_drawing, flat_noise, show_ids, shrink, to_uint8
from i2i.data.drawn.street_houses import line_street
from i2i.data.drawn.street_objects import Painter, furnish
from i2i.data.drawn.street_view import (
    BUILDING,
    CLASSES,
    FAR,
    FOCAL_LENGTH,
    GRASS,
    NEAR,
    PAVEMENT,
    ROAD,
    SKY,
    TREE,
    View,
)

__all__ = ["CLASSES", "draw_partners"]

_SKIES: tuple[tuple[Colour, Colour, float], ...] = (  # at the top, at the horizon, contrast of the light
    ((86, 142, 206), (206, 224, 236), 1.0),
    ((112, 160, 212), (226, 232, 234), 0.9),
    ((158, 172, 188), (220, 224, 226), 0.35),
    ((178, 184, 190), (214, 216, 216), 0.2),
    ((92, 112, 166), (250, 206, 160), 0.8),
)


def draw_partners(seed: int, size: int) -> tuple[Scene, Scene]:
    """Draws the label map and the street of a seed.

    Args:
        seed: Any non-negative integer.
        size: Side of the square pictures in pixels, at least 32.

    Returns:
        Label map and street. Both have the ids of ``CLASSES``, and a mask that is true everywhere.

    Raises:
        ValueError: The seed is negative or the size too small.
    """
    check_drawing(seed, size)
    rng = np.random.default_rng(seed)
    top, low, contrast = _SKIES[rng.integers(len(_SKIES))]
    canvas = Canvas(size)
    canvas.add(Material(SKY, (0, 0, 0)))  # the sky itself is added to the finished picture
    view = View(
        canvas,
        middle=rng.uniform(0.38, 0.62),
        horizon=rng.uniform(0.42, 0.56),
        height=rng.uniform(1.6, 2.9),
        sun=1 if rng.random() < 0.5 else -1,
        contrast=contrast,
        air=low,
        clear=rng.uniform(60, 260),
    )
    road = rng.uniform(3.2, 5.2)
    camera = rng.uniform(0.1, 0.4) * road
    lawn = rng.uniform(0.5, 3) if rng.random() < 0.35 else 0.0  # between pavement and houses
    pavement = road + rng.uniform(1.6, 3.4)
    houses = [house for side in (-1, 1) for house in line_street(rng, side, pavement + lawn - side * camera)]
    _paint_ground(rng, view, road, pavement, camera)
    _paint_distance(rng, view)
    slant = rng.uniform(0.2, 1.1)
    canvas.darken([house.shadow(view, slant) for house in houses if house.side == view.sun])
    found: list[tuple[float, Painter]] = [(house.start, house.paint) for house in houses]
    found += furnish(rng, road, pavement, camera)
    for _, paint in sorted(found, key=lambda item: -item[0]):
        paint(view)
    ids = canvas.ids()
    street = _light(rng, view, (top, low))
    mask = np.ones((size, size), bool)
    return Scene(show_ids(ids, CLASSES), mask, ids), Scene(street, mask, ids)


def _paint_ground(rng: np.random.Generator, view: View, road: float, pavement: float, camera: float) -> None:
    whole, canvas = (NEAR, 4 * FAR), view.canvas
    grey = rng.uniform(0.8, 1.15)
    lawn = (np.array((98, 116, 62)) * rng.uniform(0.85, 1.2) + rng.normal(0, 4, 3)).tolist()
    canvas.fill(view.material(GRASS, lawn, 12, 0.16, 0.12, ground=True), [view.floor((-200, 200), whole)])
    slabs = view.material(PAVEMENT, (158, 152, 146), 12, 0.07, 0.05, ground=True, light=grey)
    canvas.fill(slabs, [view.floor((-pavement - camera, pavement - camera), whole)])
    kerb = view.material(PAVEMENT, (188, 186, 180), 12, ground=True, light=grey)
    canvas.fill(kerb, [view.floor((-road - 0.2 - camera, road + 0.2 - camera), whole)])
    asphalt = view.material(ROAD, (92, 92, 96), 12, 0.10, 0.09, ground=True, light=rng.uniform(0.75, 1.25))
    canvas.fill(asphalt, [view.floor((-road - camera, road - camera), whole)])
    paint = view.material(ROAD, (206, 204, 196), 12, 0.04, ground=True)
    style = rng.integers(4)
    if style < 3:
        dash = (3.0, 7.0) if style else (FAR, FAR + 1)
        for start in np.arange(NEAR + rng.uniform(0, 6), 80, dash[1]):
            canvas.fill(paint, [view.floor((-0.08 - camera, 0.08 - camera), (start, start + dash[0]))])
    if rng.random() < 0.25:  # a crossing
        start = rng.uniform(5, 14)
        for x in np.arange(-road + 0.4, road - 0.4, 1.0):
            canvas.fill(paint, [view.floor((x - camera, x + 0.5 - camera), (start, start + 2.6))])


def _paint_distance(rng: np.random.Generator, view: View) -> None:
    """What closes the view: roofs or woods on the horizon."""
    x = np.linspace(0, 1, 25)
    rise = rng.uniform(0.02, 0.05)
    if rng.random() < 0.5:
        label, colour = TREE, (82, 104, 70)
        top = rise * (0.8 + 0.3 * np.sin(np.outer(x, (21, 47, 80)) + rng.uniform(0, 6, 3)).mean(1))
    else:
        label, colour = BUILDING, (140, 132, 128)
        x = np.repeat(x, 2)
        top = np.roll(np.repeat(rise * rng.uniform(0.6, 1.5, 25), 2), 1)
    outline = x + 1j * (view.horizon - top)
    floor = np.array([1, 0]) + 1j * (view.horizon + 0.004)
    view.canvas.fill(view.material(label, colour, 70, 0.1), [np.concatenate([outline, floor])])


def _light(rng: np.random.Generator, view: View, sky: tuple[Colour, Colour]) -> NDArray[np.uint8]:
    canvas, size = view.canvas, view.canvas.size
    grain, patches, clouds = flat_noise(rng, size)
    row = round(view.horizon * size)
    grain, patches = grain.copy(), patches.copy()
    grain[row:], patches[row:] = _ground_noise(rng, view, row)
    picture: Array = canvas.render(grain, patches, rng.uniform(0.4, 0.6) * view.contrast)

    y = ((np.arange(size) + 0.5) / size / view.horizon).clip(0, 1)[:, None, None]
    top, low = (np.array(colour, np.float32) / 255 for colour in sky)
    air = top + y**1.3 * (low - top)
    cover = (0.4 * clouds + rng.uniform(-0.5, 0.3)).clip(0, 0.8)[..., None] * (1 - y) ** 0.5
    air = air + cover * (np.float32(0.97) - air)
    share = shrink((canvas.pixels == 0).astype(np.uint8) * 255, size).astype(np.float32)[..., None] / 255
    warmth, brightness = rng.uniform(-0.05, 0.06), rng.uniform(0.88, 1.12)
    tint = brightness * np.array((1 + warmth, 1, 1 - warmth), np.float32)
    return to_uint8((picture + share * air) * tint)


def _ground_noise(rng: np.random.Generator, view: View, row: int) -> tuple[Array, Array]:
    """Grain and patches below a row [rows, size], as they lie on the ground."""
    size = view.canvas.size
    below = (np.arange(row, size, dtype=np.float32) + 0.5) / size - np.float32(view.horizon)
    depth = FOCAL_LENGTH * view.height / np.maximum(below, 0.012)  # metres
    across = ((np.arange(size, dtype=np.float32) + 0.5) / size - view.middle) / FOCAL_LENGTH
    tile = noise_tile()
    scale = len(tile) / 24  # texels a metre
    start = rng.random(2) * len(tile)
    u = (across * depth[:, None] * scale + start[0]).astype(np.float32)
    v = np.broadcast_to(depth[:, None] * scale + start[1], u.shape).astype(np.float32)
    noise = cv2.remap(tile, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
    fade = np.minimum(1, 14 / depth)[:, None].astype(np.float32)  # far away grains are smaller than pixels
    return noise[..., 0] * fade, noise[..., 1] * fade

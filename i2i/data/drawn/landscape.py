"""Drawn landscapes: sky with clouds, hills, a line of bushes and textured ground in perspective.

Everything is laid out in fractions of the picture, so one set of random numbers gives one landscape at any size.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]  # what OpenCV returns is typed no further
Colour = tuple[int, int, int]

_TILE = 512  # side of the noise tile in texels
_TEXELS = 320.0  # texels across the picture at its lower edge


@dataclass(frozen=True)
class Place:
    """Colours (8-bit RGB) of a kind of landscape.

    Attributes:
        roughness: Deviation of the ground's brightness, as a share of it.
        bush_height: Of the line on the horizon, in fractions of the picture.
    """

    sky_top: Colour
    sky_low: Colour
    hills: Colour
    bushes: Colour
    ground_far: Colour
    ground_near: Colour
    patches: Colour
    roughness: float
    bush_height: float


PLACES = {
    "meadow": Place((86, 146, 206), (212, 230, 238), (124, 160, 164), (72, 106, 66), (164, 184, 100), (96, 142, 60),
                    (136, 160, 66), 0.16, 0.030),
    "savanna": Place((112, 168, 212), (246, 230, 196), (180, 164, 146), (132, 128, 80), (226, 196, 128),
                     (202, 158, 84), (176, 142, 70), 0.15, 0.022),
    "desert": Place((98, 158, 216), (242, 230, 212), (204, 168, 146), (214, 174, 130), (238, 210, 166),
                    (224, 184, 130), (208, 164, 112), 0.06, 0.006),
    "snow": Place((136, 172, 208), (234, 240, 244), (164, 184, 204), (94, 116, 128), (228, 236, 244), (244, 247, 250),
                  (208, 222, 238), 0.03, 0.034),
    "evening": Place((84, 106, 164), (252, 196, 146), (146, 116, 132), (92, 80, 82), (190, 156, 94), (128, 124, 66),
                     (150, 122, 64), 0.15, 0.026),
    "moor": Place((132, 152, 174), (224, 226, 220), (124, 138, 150), (84, 98, 86), (152, 154, 102), (104, 116, 64),
                  (140, 100, 100), 0.16, 0.016),
}  # fmt: skip


def paint_landscape(rng: np.random.Generator, size: int, place: Place, horizon: float) -> Array:
    """Paints a landscape.

    Args:
        rng: Where all variation comes from.
        size: Side of the picture in pixels.
        place: Colours.
        horizon: Where the ground ends, as a fraction of the height from the top.

    Returns:
        Float RGB [3, size, size], about 0 to 1.
    """
    tint = rng.uniform(0.95, 1.05, 3).astype(np.float32)[:, None, None]
    sky_top, sky_low, hills, bushes, far, near, patches = _palette(place) * tint
    phases = rng.uniform(0, 2 * np.pi, (2, 4, 1))
    offset_u, offset_v, cover = rng.random(3).tolist()
    x = (np.arange(size, dtype=np.float32) + 0.5) / size  # [W]
    y = x[:, None]  # [H, 1]
    row = round(horizon * size)  # the sky ends above it

    # One lookup for the floor and the ceiling: both are planes seen in perspective.
    above, below = np.maximum(horizon - y, 0), np.maximum(y - horizon, 0)
    depth = np.where(y < horizon, 0.6 / (above + 0.25), 0.6 / (below + 0.02))  # 1 at the lower edge, 30 at the horizon
    tile = _tile(size)
    step = _TEXELS * tile.shape[0] / _TILE
    u = (x - 0.5) * (depth * step) + offset_u * tile.shape[0]
    v = np.broadcast_to(depth * (1.3 * step) + offset_v * tile.shape[0], u.shape)
    noise = cv2.remap(tile, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
    picture = np.empty((3, size, size), np.float32)

    sky = sky_top + (y[:row] / horizon) ** 1.4 * (sky_low - sky_top)  # [3, rows, 1]
    cloud = np.clip(0.5 * noise[:row, :, 2] - 0.45 + 0.6 * cover, 0, 0.85) * np.minimum(above[:row] * 7, 1)
    picture[:, :row] = sky + cloud * (np.float32(0.98) - sky)

    nearness = (below[row:] / (1 - horizon)) ** 0.6
    ground = far + nearness * (near - far)  # [3, rows, 1]
    ground = ground + np.clip(0.4 + 0.5 * noise[row:, :, 1], 0, 0.9) * nearness * (patches - ground)
    ground *= 1 + noise[row:, :, 0] * (place.roughness / np.maximum(depth[row:], 1))
    picture[:, row:] = ground

    for colour, rise, waves, phase in (
        (hills, 0.05 + 0.05 * cover, _WAVES_FAR, phases[0]),
        (bushes, place.bush_height, _WAVES_NEAR, phases[1]),
    ):
        profile = rise * (0.7 + np.sin(waves * x + phase).mean(0))
        top = max(0, row - int(1.7 * rise * size) - 2)
        strip = picture[:, top:row]
        strip += np.clip((profile.astype(np.float32) - above[top:row]) * size + 0.5, 0, 1) * (colour - strip)
    return picture


_WAVES_FAR = np.array([[3.1], [5.7], [9.2], [17.0]])
_WAVES_NEAR = np.array([[11.0], [23.0], [41.0], [67.0]])


@cache
def _palette(place: Place) -> Array:
    """The seven colours [7, 3, 1, 1] in [0, 1]."""
    names = ("sky_top", "sky_low", "hills", "bushes", "ground_far", "ground_near", "patches")
    return (np.array([getattr(place, name) for name in names]) / 255).astype(np.float32)[..., None, None]


@cache
def noise_tile() -> Array:
    """Three seamless noise channels of unit deviation: grain, broad patches, clouds. [512, 512, 3]; read only."""
    rng = np.random.default_rng(0)
    fy, fx = np.fft.fftfreq(_TILE, 1 / _TILE)[:, None], np.fft.rfftfreq(_TILE, 1 / _TILE)[None]
    channels = []
    for power, low, high, stretch in ((0.5, 12, 140, 1.6), (1.6, 2, 40, 1.4), (1.9, 2, 16, 1.5)):
        radius = np.hypot(fx * stretch, fy) + 1e-9
        band = radius**-power * (radius > low) * np.exp(-((radius / high) ** 2))
        noise = np.fft.irfft2(np.fft.rfft2(rng.standard_normal((_TILE, _TILE))) * band, s=(_TILE, _TILE))
        channels.append(np.clip(noise / noise.std(), -2.5, 2.5))
    return np.stack(channels, -1).astype(np.float32)


@cache
def _tile(size: int) -> Array:
    """The noise, averaged down until a texel is about a pixel of the lower edge, lest small pictures sparkle."""
    factor = 2 ** max(0, round(np.log2(_TEXELS / size)))
    side = _TILE // min(factor, 16)
    return cv2.resize(noise_tile(), (side, side), interpolation=cv2.INTER_AREA)

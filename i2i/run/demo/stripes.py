"""Have stripes come or gone, and did the ground stay? Measured on pixels, with nothing learned.

For the ``synthetic`` animals, whose masks are known. Not a published metric: stripes are a band of spatial frequencies,
so their energy is the deviation of luminance from its local mean, at the scale at which the animals are striped.
"""

import numpy as np
from numpy.typing import NDArray

# In fractions of the shorter side; the drawn stripes have a period of 0.085.
_FINE = 1 / 32  # details below it (noise, checkerboards) do not count
_COARSE = 0.11  # shading above it does not count
_EDGE = 1 / 32  # margin kept from the outline on either side: rims are shaded, legs are thinner than a stripe is long

_Plane = NDArray[np.float64]
_Image = NDArray[np.uint8] | NDArray[np.floating]


def stripe_energy(image: _Image, mask: NDArray[np.bool_]) -> float:
    """Contrast of stripes inside a mask.

    The luminance is averaged over fine detail, its local mean is taken off (of masked pixels alone: the ground does not
    count), and the root mean square of the rest is returned.

    Args:
        image: RGB [H, W, 3] or gray [H, W]; uint8, or floats in [0, 1].
        mask: bool [H, W], the animal's coat.

    Returns:
        Energy from 0 (even) to about 0.5 (black and white); 0 for a mask too thin to hold a stripe.

    Raises:
        ValueError: The image is of another form or range, or the mask has another shape.
    """
    luminance = _luminance(image)
    inside = _check_mask(mask, luminance.shape)
    side = min(luminance.shape)
    inside = ~_dilate(~inside, round(_EDGE * side))
    weight = inside.astype(np.float64)
    if not inside.any():
        return 0.0
    smooth = _local_mean(luminance, weight, max(2, round(_FINE * side)), passes=2)
    rest = smooth - _local_mean(smooth, weight, max(3, round(_COARSE * side)), passes=1)
    return float(np.sqrt(np.mean(rest[inside] ** 2)))


def ground_change(before: _Image, after: _Image, mask: NDArray[np.bool_]) -> float:
    """Mean absolute difference outside the mask, which is widened by a 32nd of the picture.

    Args:
        before: RGB [H, W, 3] or gray [H, W]; uint8, or floats in [0, 1].
        after: Of the same shape; its type may differ.
        mask: bool [H, W], what was meant to change.

    Returns:
        0 (the same) to 1; 0 where the mask covers everything.

    Raises:
        ValueError: An image is of another form or range, or shapes differ.
    """
    first, second = _unit(before, "before"), _unit(after, "after")
    if first.shape != second.shape:
        raise ValueError(f"after must have the shape of before, {first.shape}, got {second.shape}")
    outside = ~_dilate(_check_mask(mask, first.shape[:2]), round(_EDGE * min(first.shape[:2])))
    return float(np.abs(first - second)[outside].mean()) if outside.any() else 0.0


def _unit(image: _Image, name: str) -> _Plane:
    if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] != 3):
        raise ValueError(f"{name} must be [H, W, 3] or [H, W], got shape {image.shape}")
    if image.dtype == np.uint8:
        return image.astype(np.float64) / 255
    if not np.issubdtype(image.dtype, np.floating):
        raise ValueError(f"{name} must be uint8 or float, got {image.dtype}")
    if not (np.min(image) >= 0 and np.max(image) <= 1):  # also refuses NaN
        raise ValueError(f"{name} must lie in [0, 1] where it is float, got {np.min(image)} to {np.max(image)}")
    return image.astype(np.float64)


def _luminance(image: _Image) -> _Plane:
    unit = _unit(image, "image")
    return unit @ np.array([0.299, 0.587, 0.114]) if unit.ndim == 3 else unit  # [H, W]


def _check_mask(mask: NDArray[np.bool_], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    if mask.dtype != np.bool_ or mask.shape != shape:
        raise ValueError(f"mask must be bool of shape {shape}, got {mask.dtype} of shape {mask.shape}")
    return mask


def _box_sum(values: _Plane, width: int, lead: int) -> _Plane:
    """Sums over windows of ``width`` x ``width`` that start ``lead`` before each pixel; nothing lies outside."""
    for axis in (0, 1):
        pad = [(0, 0), (0, 0)]
        pad[axis] = (lead + 1, width - 1 - lead)
        total = np.cumsum(np.pad(values, pad), axis=axis)
        length = values.shape[axis]
        values = total.take(range(width, width + length), axis) - total.take(range(length), axis)
    return values


def _local_mean(values: _Plane, weight: _Plane, width: int, passes: int) -> _Plane:
    """Weighted mean around each pixel, zero where no weight is near; two passes of an even width stay centred."""
    total, share = values * weight, weight
    for number in range(passes):
        lead = width // 2 if number % 2 == 0 else (width - 1) // 2
        total, share = _box_sum(total, width, lead), _box_sum(share, width, lead)
    return np.where(share > 0.5, total / np.maximum(share, 0.5), 0.0)


def _dilate(mask: NDArray[np.bool_], radius: int) -> NDArray[np.bool_]:
    """Widens a mask by a square of ``2 * radius + 1`` pixels; at least one pixel each way."""
    radius = max(1, radius)
    return _box_sum(mask.astype(np.float64), 2 * radius + 1, radius) > 0.5

"""Stripe energy and ground change, against patterns whose values follow from their formula."""

import numpy as np
import pytest

from i2i.data.drawn.animals import draw_partners
from i2i.run.demo.stripes import ground_change, stripe_energy

SIDE = 64
EVERYWHERE = np.ones((SIDE, SIDE), bool)


def waves(period: float, contrast: float = 0.5, side: int = SIDE) -> np.ndarray:
    """Vertical sine stripes around 0.5."""
    row = 0.5 + 0.5 * contrast * np.sin(2 * np.pi * np.arange(side) / period)
    return np.repeat(np.broadcast_to(row, (side, side))[..., None], 3, axis=-1)


def disc(side: int = SIDE) -> np.ndarray:
    y, x = np.mgrid[:side, :side] - side / 2
    return np.hypot(x, y) < side * 0.3


def test_an_even_image_has_no_energy() -> None:
    assert stripe_energy(np.full((SIDE, SIDE, 3), 0.3), disc()) == pytest.approx(0, abs=1e-12)


def test_energy_of_a_wave_follows_from_the_formula() -> None:
    period = 5.5
    narrow = np.cos(np.pi / period) ** 2  # twice the mean of two pixels
    wide = np.sin(7 * np.pi / period) / (7 * np.sin(np.pi / period))  # the mean of seven
    expected = 0.25 * narrow * (1 - wide) / np.sqrt(2)
    inner = np.zeros((SIDE, SIDE), bool)
    inner[4:-4, 4:-4] = True  # the formula holds away from borders
    assert stripe_energy(waves(period), inner) == pytest.approx(expected, rel=0.05)


def test_energy_is_proportional_to_contrast_and_blind_to_brightness() -> None:
    one = stripe_energy(waves(5.5, 0.3), disc())
    assert stripe_energy(waves(5.5, 0.6), disc()) == pytest.approx(2 * one)
    assert stripe_energy(waves(5.5, 0.3) + 0.2, disc()) == pytest.approx(one)


def test_stripes_of_any_direction_count() -> None:
    vertical = stripe_energy(waves(5.5), disc())
    assert stripe_energy(waves(5.5).transpose(1, 0, 2), disc()) == pytest.approx(vertical, rel=0.05)


def test_noise_checkerboards_and_slow_shading_count_little() -> None:
    stripes = stripe_energy(waves(5.5), disc())
    y, x = np.mgrid[:SIDE, :SIDE]
    checkers = 0.25 + 0.5 * ((x + y) % 2)
    noise = np.random.default_rng(0).uniform(0.25, 0.75, (SIDE, SIDE))
    for image in (checkers, noise, waves(64), np.broadcast_to(np.linspace(0.25, 0.75, SIDE), (SIDE, SIDE))):
        assert stripe_energy(image, disc()) < 0.4 * stripes


def test_what_lies_outside_the_mask_does_not_count() -> None:
    inside = np.where(disc()[..., None], 0.4, waves(5.5, 1.0))
    assert stripe_energy(inside, disc()) == pytest.approx(0, abs=1e-12)


def test_energy_hardly_depends_on_the_resolution() -> None:
    small = stripe_energy(waves(5.5), disc())
    for factor in (2, 4):
        assert stripe_energy(waves(5.5 * factor, side=SIDE * factor), disc(SIDE * factor)) == pytest.approx(
            small, rel=0.15
        )


def test_bytes_floats_and_gray_agree() -> None:
    image = (waves(5.5) * 255).round().astype(np.uint8)
    energy = stripe_energy(image, disc())
    assert stripe_energy((image / 255).astype(np.float32), disc()) == pytest.approx(energy, rel=1e-5)
    assert stripe_energy(image[..., 0], disc()) == pytest.approx(energy)


def test_a_mask_too_thin_for_stripes_has_no_energy() -> None:
    thin = np.zeros((SIDE, SIDE), bool)
    thin[30:33] = True
    assert stripe_energy(waves(5.5), thin) == 0
    assert stripe_energy(waves(5.5), np.zeros((SIDE, SIDE), bool)) == 0


def test_energy_grows_from_plain_to_striped_with_every_share_of_stripes() -> None:
    for seed in range(10):
        plain, striped = draw_partners(seed, 64)
        shares = [
            stripe_energy((1 - t) * plain.image / 255 + t * striped.image / 255, plain.mask) for t in (0, 0.5, 0.8, 1)
        ]
        assert shares == sorted(shares)


def test_ground_change_is_the_mean_difference_away_from_the_mask() -> None:
    before = np.full((SIDE, SIDE, 3), 100, np.uint8)
    after = before + np.uint8(51)
    assert ground_change(before, before, disc()) == 0
    assert ground_change(before, after, disc()) == pytest.approx(0.2)
    assert ground_change(before, np.where(disc()[..., None], after, before), disc()) == 0
    half = before.copy()
    half[:, : SIDE // 2] += 51
    assert ground_change(before, half, disc()) == pytest.approx(0.1, rel=0.02)


def test_ground_change_forgives_the_rim_of_the_mask() -> None:
    before = np.zeros((SIDE, SIDE))
    mask = np.zeros((SIDE, SIDE), bool)
    mask[20:40, 20:40] = True
    rim, beyond = before.copy(), before.copy()
    rim[18:42, 18:42] = 1
    beyond[17:43, 17:43] = 1
    assert ground_change(before, rim, mask) == 0
    assert ground_change(before, beyond, mask) > 0


def test_ground_change_takes_bytes_and_floats_together() -> None:
    image = (waves(5.5) * 255).round().astype(np.uint8)
    assert ground_change(image, image / 255, disc()) == pytest.approx(0)
    assert ground_change(image, image, EVERYWHERE) == 0


def test_true_partners_have_equal_ground() -> None:
    plain, striped = draw_partners(0, 64)
    assert ground_change(plain.image, striped.image, plain.mask) == 0


@pytest.mark.parametrize(
    ("image", "mask", "message"),
    [
        (np.zeros((8, 8, 4)), disc(8), r"^image must be \[H, W, 3\] or \[H, W\], got shape \(8, 8, 4\)"),
        (np.zeros((8, 8), np.int64), disc(8), "^image must be uint8 or float, got int64"),
        (np.full((8, 8), 200.0), disc(8), "^image must lie in \\[0, 1\\]"),
        (np.full((8, 8), -0.5), disc(8), "^image must lie in \\[0, 1\\]"),
        (np.full((8, 8), np.nan), disc(8), "^image must lie in \\[0, 1\\]"),
        (np.zeros((8, 8)), disc(9), r"^mask must be bool of shape \(8, 8\), got bool of shape \(9, 9\)"),
        (np.zeros((8, 8)), disc(8).astype(np.uint8), r"^mask must be bool of shape \(8, 8\), got uint8"),
    ],
)
def test_images_and_masks_of_another_kind_are_refused(image: np.ndarray, mask: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        stripe_energy(image, mask)


def test_ground_change_refuses_images_of_two_shapes() -> None:
    with pytest.raises(ValueError, match=r"^after must have the shape of before, \(8, 8\), got \(9, 9\)"):
        ground_change(np.zeros((8, 8)), np.zeros((9, 9)), disc(8))

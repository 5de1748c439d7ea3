"""SSIM against its formula, and against torchmetrics."""

import math

import pytest
import torch
from torchmetrics.functional.image import structural_similarity_index_measure

from i2i.losses.structure import SSIM


def written_out(p, t, size=11, sigma=1.5, k1=0.01, k2=0.03):
    """Equation 13 at every window that lies inside the image, by weighted means and deviations."""
    middle = size // 2
    weights = torch.tensor(
        [
            [math.exp(-((i - middle) ** 2 + (j - middle) ** 2) / (2 * sigma**2)) for j in range(size)]
            for i in range(size)
        ],
        dtype=torch.float64,
    )
    weights /= weights.sum()
    c1, c2 = (2 * k1) ** 2, (2 * k2) ** 2
    values = []
    for row in range(p.shape[0] - size + 1):
        for column in range(p.shape[1] - size + 1):
            x, y = (image[row : row + size, column : column + size] for image in (p, t))
            mx, my = (weights * x).sum(), (weights * y).sum()
            vx, vy = (weights * (x - mx) ** 2).sum(), (weights * (y - my) ** 2).sum()
            cov = (weights * (x - mx) * (y - my)).sum()
            values.append((2 * mx * my + c1) * (2 * cov + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2)))
    return 1 - float(torch.stack(values).mean())


def pair(*shape):
    rng = torch.Generator().manual_seed(0)
    target = torch.rand(*shape, generator=rng, dtype=torch.float64) * 2 - 1
    return (target + 0.3 * torch.randn(*shape, generator=rng, dtype=torch.float64)).clamp(-1, 1), target


@pytest.mark.parametrize("arguments", [{}, {"window_size": 5, "sigma": 0.8}, {"k1": 0.1, "k2": 0.2}])
def test_value_by_formula(arguments):
    p, t = pair(1, 1, 14, 17)
    renamed = {{"window_size": "size"}.get(name, name): value for name, value in arguments.items()}
    assert SSIM(**arguments)(p, t).item() == pytest.approx(written_out(p[0, 0] + 1, t[0, 0] + 1, **renamed), rel=1e-9)


def test_agrees_with_torchmetrics():
    p, t = pair(2, 3, 40, 33)
    _, every = structural_similarity_index_measure(
        (p + 1) / 2, (t + 1) / 2, data_range=1.0, sigma=1.5, return_full_image=True
    )
    inside = every[..., 5:-5, 5:-5]  # theirs has values at the border, too, of a mirrored image
    assert SSIM()(p, t).item() == pytest.approx(1 - inside.mean().item(), rel=1e-9)


def test_equal_images_cost_nothing_and_opposite_ones_nearly_two():
    _, t = pair(1, 1, 16, 16)
    centred = t - t.mean()  # around the middle of the range
    assert SSIM()(t, t).item() == pytest.approx(0, abs=1e-12)
    assert SSIM(k1=1e3, k2=1e-6)(centred, -centred).item() == pytest.approx(2, abs=1e-3)  # structure alone


def test_gradient_is_right():
    p, t = pair(1, 1, 7, 7)
    assert torch.autograd.gradcheck(lambda x: SSIM(window_size=5)(x, t), p.requires_grad_())


def test_autocast_does_not_lower_its_precision():
    p, t = (image.float() for image in pair(2, 3, 32, 32))
    with torch.autocast("cpu", torch.bfloat16):
        value = SSIM()(p, t)
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(SSIM()(p, t).item(), rel=1e-6)


def test_it_has_no_state_and_runs_without_memory():
    assert not SSIM().state_dict()
    with torch.device("meta"):
        assert SSIM()(torch.empty(1, 3, 16, 16), torch.empty(1, 3, 16, 16)).shape == ()


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ([(1, 3, 16, 16), (1, 1, 16, 16)], "prediction is [1, 3, 16, 16], target [1, 1, 16, 16]: shapes must agree"),
        ([(1, 3, 8, 16), (1, 3, 8, 16)], "images of 8x16 are smaller than the window of 11 of ssim"),
    ],
)
def test_images_it_cannot_compare(shapes, message):
    with pytest.raises(ValueError) as error:
        SSIM()(*map(torch.zeros, shapes))
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"window_size": 4}, "window_size must be odd and at least 1, got 4"),
        ({"window_size": -1}, "window_size must be odd and at least 1, got -1"),
        ({"sigma": 0}, "sigma must be greater than 0, got 0"),
        ({"k2": -1}, "k2 must be greater than 0, got -1"),
    ],
)
def test_messages_start_with_the_argument(arguments, message):
    with pytest.raises(ValueError) as error:
        SSIM(**arguments)
    assert str(error.value) == message

"""Total variation, by hand."""

import pytest
import torch

from i2i.losses.regularizers import TotalVariation


def test_value_by_hand():
    image = torch.tensor([[1.0, 3.0, 3.0], [0.0, 1.0, -1.0]]).reshape(1, 1, 2, 3)
    columns = (2 + 0 + 1 + 2) / 4
    rows = (1 + 2 + 4) / 3
    assert TotalVariation()(image, torch.zeros(1, 1, 1, 1)).item() == pytest.approx(rows + columns)


def test_it_is_a_mean_over_images_and_channels():
    image = torch.randn(1, 2, 5, 7)
    both = TotalVariation()(image, image)
    alone = [TotalVariation()(image[:, [c]], image) for c in (0, 1)]
    assert both.item() == pytest.approx(sum(map(float, alone)) / 2, rel=1e-5)
    assert TotalVariation()(image.repeat(3, 1, 1, 1), image).item() == pytest.approx(both.item(), rel=1e-5)


def test_flat_images_and_single_pixels_cost_nothing():
    assert TotalVariation()(torch.full((1, 3, 4, 4), 0.7), torch.zeros(1)).item() == 0
    assert TotalVariation()(torch.rand(1, 3, 1, 1), torch.zeros(1)).item() == 0
    assert TotalVariation()(torch.rand(1, 3, 1, 8), torch.zeros(1)).item() > 0


def test_gradient_is_right_and_half_precision_is_summed_in_float32():
    image = torch.randn(1, 2, 3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: TotalVariation()(x, x), image)
    image = torch.rand(1, 3, 64, 64).bfloat16()
    value = TotalVariation()(image, image)
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(TotalVariation()(image.double(), image).item(), rel=1e-5)

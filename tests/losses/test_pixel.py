"""Pixel losses against their formulas."""

import math

import pytest
import torch

from i2i.losses.pixel import L1, L2, Charbonnier, SmoothL1

FORMULAS = [
    (L1(), abs),
    (L2(), lambda d: d**2),
    (SmoothL1(), lambda d: d**2 / 2 if abs(d) < 1 else abs(d) - 0.5),
    (SmoothL1(beta=0.5), lambda d: d**2 if abs(d) < 0.5 else abs(d) - 0.25),
    (Charbonnier(), lambda d: math.sqrt(d**2 + 1e-6)),
    (Charbonnier(eps=0.5), lambda d: math.sqrt(d**2 + 0.25)),
]
LOSSES = [loss for loss, _ in FORMULAS]


@pytest.mark.parametrize(("loss", "formula"), FORMULAS)
def test_values_by_formula(loss, formula):
    torch.manual_seed(0)
    prediction, target = torch.randn(2, 2, 3, 4, 5, dtype=torch.float64)
    differences = (prediction - target).flatten().tolist()
    expected = sum(map(formula, differences)) / len(differences)
    assert loss(prediction, target).item() == pytest.approx(expected)
    assert loss(target, prediction).item() == pytest.approx(expected)
    assert loss(prediction, target).shape == ()


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: type(loss).__name__)
def test_gradients_are_right_and_vanish_at_the_target(loss):
    prediction, target = torch.randn(2, 1, 2, 3, 3, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda p: loss(p, target), prediction.requires_grad_())
    prediction = target.clone().requires_grad_()
    loss(prediction, target).backward()
    assert prediction.grad.abs().max() == 0


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: type(loss).__name__)
def test_half_precision_is_averaged_in_float32(loss):
    torch.manual_seed(0)
    prediction, target = torch.randn(2, 1, 3, 64, 64).bfloat16()
    value = loss(prediction, target)
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(loss(prediction.double(), target.double()).item(), rel=1e-5)


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: type(loss).__name__)
def test_shapes_must_agree(loss):
    with pytest.raises(ValueError, match=r"^prediction is \[1, 3, 4, 4\], target \[1, 1, 4, 4\]: shapes must agree$"):
        loss(torch.zeros(1, 3, 4, 4), torch.zeros(1, 1, 4, 4))


@pytest.mark.parametrize(("build", "name"), [(SmoothL1, "beta"), (Charbonnier, "eps")])
def test_messages_start_with_the_argument(build, name):
    with pytest.raises(ValueError, match=f"^{name} must be greater than 0, got 0$"):
        build(0)

"""Norm layers against a formula in float64, in all memory formats: torch's own kernels fail some of these."""

import pytest
import torch
from torch import Tensor, nn

from i2i.networks.blocks.normalization import GroupNorm2d, InstanceNorm2d, build_norm, needs_bias

FORMATS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 3e-2}


def normalized(x: Tensor, groups: int, eps: float = 1e-5) -> Tensor:
    """Group normalisation written out; groups = channels is instance normalisation."""
    grouped = x.reshape(x.shape[0], groups, -1)
    mean = grouped.mean(2, keepdim=True)
    variance = (grouped - mean).square().mean(2, keepdim=True)
    return ((grouped - mean) / (variance + eps).sqrt()).reshape(x.shape)


def batch_normalized(x: Tensor, eps: float = 1e-5) -> Tensor:
    mean = x.mean((0, 2, 3), keepdim=True)
    return (x - mean) / ((x - mean).square().mean((0, 2, 3), keepdim=True) + eps).sqrt()


FORMULAS = {
    "instance": lambda x: normalized(x, x.shape[1]),
    "group": lambda x: normalized(x, 2),
    "batch": batch_normalized,
}


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("gradient_format", FORMATS)
@pytest.mark.parametrize("input_format", FORMATS)
@pytest.mark.parametrize("num_images", [1, 2])
@pytest.mark.parametrize("name", FORMULAS)
def test_values_and_gradients_in_every_memory_format(name, num_images, input_format, gradient_format, dtype):
    torch.manual_seed(0)
    layer = build_norm(name, 6).to(dtype)
    x = torch.randn(num_images, 6, 5, 7).to(dtype).contiguous(memory_format=FORMATS[input_format]).requires_grad_()
    incoming = torch.randn(num_images, 6, 5, 7).to(dtype).contiguous(memory_format=FORMATS[gradient_format])
    y = layer(x)
    y.backward(incoming)

    exact_x = x.detach().double().requires_grad_()
    exact_y = FORMULAS[name](exact_x)
    exact_y.backward(incoming.double())
    assert y.dtype == dtype
    assert (y - exact_y).abs().max() < TOLERANCE[dtype]
    assert (x.grad - exact_x.grad).abs().max() < TOLERANCE[dtype]


@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize("num_images", [1, 2])
@pytest.mark.parametrize("affine", [False, True])
def test_instance_norm_passes_first_and_second_gradient_check(affine, num_images, memory_format):
    layer = InstanceNorm2d(3, affine=affine).double()
    x = torch.randn(num_images, 3, 3, 4, dtype=torch.float64).contiguous(memory_format=FORMATS[memory_format])
    assert torch.autograd.gradcheck(layer, x.requires_grad_())
    assert torch.autograd.gradgradcheck(layer, x)


@pytest.mark.parametrize("affine", [False, True])
def test_second_gradients_in_float32_are_those_of_float64(affine):
    found = []
    for dtype in (torch.float32, torch.float64):  # two kernels
        torch.manual_seed(0)
        x, v = (torch.randn(2, 3, 4, 5).to(dtype).requires_grad_() for _ in range(2))
        (gradient,) = torch.autograd.grad(
            InstanceNorm2d(3, affine=affine).to(dtype)(x).pow(3).sum(), x, create_graph=True
        )
        found.append(torch.autograd.grad((gradient * v).sum(), x)[0])
    assert (found[0] - found[1]).abs().max() < 1e-4


@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize("num_images", [1, 2])
def test_instance_norm_in_float64_has_the_bits_of_the_reference(num_images, affine):
    torch.manual_seed(0)
    x, incoming = (torch.randn(num_images, 3, 4, 5, dtype=torch.float64) for _ in range(2))
    found = []
    for layer in (InstanceNorm2d(3, affine=affine), nn.InstanceNorm2d(3, affine=affine)):
        own = x.clone().requires_grad_()
        y = layer.double()(own)
        y.backward(incoming)
        found.append([y, own.grad, *(parameter.grad for parameter in layer.parameters())])
    assert all(torch.equal(ours, reference) for ours, reference in zip(*found, strict=True))


@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize("name", ["instance", "group"])
def test_a_large_mean_does_not_cancel(name, memory_format):
    # An image far from zero: E[x^2] - E[x]^2 is off by a thousand here.
    x = (torch.randn(1, 64, 64, 64) + 1000).contiguous(memory_format=FORMATS[memory_format])
    exact = normalized(x.double(), 64 if name == "instance" else 32)
    layer = build_norm(name, 64)
    assert (layer(x) - exact).abs().max() < 1e-3


def test_large_images_have_the_variance_of_all_their_pixels():
    # Added up one by one, 4 million pixels make 1 % of the result wrong.
    x = (torch.randn(1, 4, 2048, 2048) / 10 + 1).contiguous(memory_format=torch.channels_last)
    y = InstanceNorm2d(4)(x)
    assert y.is_contiguous(memory_format=torch.channels_last)
    assert (y - normalized(x.double(), 4)).abs().max() < 1e-4


@pytest.mark.parametrize("value", [0.0, 0.9, -1.0, 1e4])
@pytest.mark.parametrize("memory_format", FORMATS)
def test_flat_images_become_zero_with_finite_gradients(value, memory_format):
    x = torch.full((1, 64, 64, 64), value).contiguous(memory_format=FORMATS[memory_format]).requires_grad_()
    y = InstanceNorm2d(64)(x)
    y.sum().backward()
    assert y.abs().max() < 1e-6
    assert x.grad.isfinite().all()


def test_a_single_pixel_becomes_zero():
    x = torch.randn(1, 4, 1, 1, requires_grad=True)
    y = InstanceNorm2d(4)(x)
    y.sum().backward()
    assert y.abs().max() == 0
    assert x.grad.isfinite().all()


def test_runs_in_deterministic_mode_and_on_meta():
    torch.use_deterministic_algorithms(True)
    try:
        InstanceNorm2d(4)(torch.randn(1, 4, 8, 8, requires_grad=True)).sum().backward()
    finally:
        torch.use_deterministic_algorithms(False)
    assert InstanceNorm2d(4)(torch.empty(1, 4, 8, 8, device="meta")).shape == (1, 4, 8, 8)


def test_plain_instance_norm_has_no_state_and_modes_agree():
    layer = InstanceNorm2d(4)
    x = torch.randn(2, 4, 8, 8)
    assert not layer.state_dict()
    assert torch.equal(layer.train()(x), layer.eval()(x))
    assert set(InstanceNorm2d(4, affine=True).state_dict()) == {"weight", "bias"}


@pytest.mark.parametrize(("channels", "groups"), [(64, 32), (48, 16), (20, 4), (7, 1), (1, 1)])
def test_group_norm_takes_any_number_of_channels(channels, groups):
    layer = GroupNorm2d(channels)
    assert layer.num_groups == groups
    x = torch.randn(2, channels, 4, 4)
    assert torch.allclose(layer(x), normalized(x, groups), atol=1e-5)


def test_names():
    assert isinstance(build_norm("batch", 4), nn.BatchNorm2d)
    assert isinstance(build_norm("none", 4), nn.Identity)
    assert [name for name in ("instance", "batch", "group", "none") if needs_bias(name)] == ["instance", "none"]
    with pytest.raises(ValueError, match="^norm must be one of instance, batch, group, none, got layer$"):
        build_norm("layer", 4)

"""Padding, upsampling and initialisation, each against a plain formula."""

import math

import pytest
import torch
import torch.nn.functional as nnf
from torch import nn

from i2i.networks.blocks.initialization import initialize
from i2i.networks.blocks.layers import BlurDownsample, PaddedConv2d, ResidualBlock, ShuffleConv2d, build_upsample
from i2i.networks.blocks.padding import pad


@pytest.fixture
def deterministic():
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


def test_reflect_and_replicate_by_hand():
    row = torch.tensor([1.0, 2.0, 3.0, 4.0])
    x = row.expand(1, 1, 4, 4)
    assert pad(x, 2, "reflect")[0, 0, 2].tolist() == [3, 2, 1, 2, 3, 4, 3, 2]
    assert pad(x, 2, "replicate")[0, 0, 2].tolist() == [1, 1, 1, 2, 3, 4, 4, 4]
    assert pad(x, 2, "zero")[0, 0, 2].tolist() == [0, 0, 1, 2, 3, 4, 0, 0]
    assert pad(x, 0, "reflect") is x


@pytest.mark.parametrize("mode", ["reflect", "replicate", "zero"])
@pytest.mark.parametrize("amount", [1, 3])
def test_deterministic_padding_has_the_same_values_and_gradients(deterministic, mode, amount):
    x = torch.randn(2, 3, 5, 4, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(2, 3, 5 + 2 * amount, 4 + 2 * amount, dtype=torch.float64)
    y = pad(x, amount, mode)
    (gradient,) = torch.autograd.grad((y * weights).sum(), x)

    torch.use_deterministic_algorithms(False)
    expected = pad(x, amount, mode)
    (expected_gradient,) = torch.autograd.grad((expected * weights).sum(), x)
    assert torch.equal(y, expected)
    assert torch.allclose(gradient, expected_gradient, atol=1e-12)


@pytest.mark.parametrize("mode", ["reflect", "replicate"])
def test_deterministic_padding_uses_no_padding_kernel(deterministic, mode):
    x = torch.randn(1, 1, 4, 4, requires_grad=True)
    seen, pending = set(), [pad(x, 1, mode).grad_fn]
    while pending:
        node = pending.pop()
        seen.add(type(node).__name__)
        pending += [following for following, _ in node.next_functions if following is not None]
    assert not [name for name in seen if "Pad" in name]


def test_padded_convolution_keeps_the_size_and_is_a_convolution():
    conv = PaddedConv2d(2, 3, 5, "reflect")
    x = torch.randn(1, 2, 6, 7)
    expected = nnf.conv2d(nnf.pad(x, (2, 2, 2, 2), mode="reflect"), conv.weight, conv.bias)
    assert conv(x).shape == (1, 3, 6, 7)
    assert torch.equal(conv(x), expected)
    with pytest.raises(ValueError, match="^padding must be one of reflect, replicate, zero, got mirror$"):
        PaddedConv2d(2, 3, 5, "mirror")


@pytest.mark.parametrize("method", ["transpose", "resize", "bilinear", "shuffle"])
@pytest.mark.parametrize("kernel_size", [3, 4])
@pytest.mark.parametrize("padding", ["reflect", "zero"])
def test_upsampling_doubles_any_size(method, kernel_size, padding):
    layer = build_upsample(method, 4, 3, kernel_size=kernel_size, padding=padding, bias=True)
    assert layer(torch.randn(2, 4, 3, 5)).shape == (2, 3, 6, 10)


def test_unknown_upsampling():
    with pytest.raises(ValueError, match="^upsample must be one of transpose, resize, bilinear, shuffle, got nearest$"):
        build_upsample("nearest", 4, 3, kernel_size=3, padding="zero", bias=True)


def test_resize_is_nearest_then_convolution():
    layer = build_upsample("resize", 2, 3, kernel_size=3, padding="zero", bias=False)
    x = torch.randn(1, 2, 4, 4)
    enlarged = x.repeat_interleave(2, 2).repeat_interleave(2, 3)
    assert torch.allclose(layer(x), nnf.conv2d(enlarged, layer.weight, padding=1), atol=1e-6)


def binomial(x, taps, border):
    """Every channel filtered by a kernel that sums to one, the border mirrored or repeated."""
    taps = torch.tensor(taps, dtype=x.dtype)
    kernel = torch.outer(taps, taps) / taps.sum() ** 2
    before = (len(taps) - 1) // 2
    padded = nnf.pad(x, (before, len(taps) - 1 - before) * 2, mode=border)
    return nnf.conv2d(padded, kernel.expand(x.shape[1], 1, -1, -1), groups=x.shape[1])


@pytest.mark.parametrize("size", [(6, 8), (7, 5), (2, 3)])
def test_blurred_halving_is_a_filter_and_every_second_pixel(size):
    x = torch.randn(2, 3, *size, dtype=torch.float64, requires_grad=True)
    expected = binomial(x, [1.0, 2.0, 1.0], "reflect")[..., ::2, ::2]
    y = BlurDownsample()(x)
    assert y.shape == (2, 3, -(-size[0] // 2), -(-size[1] // 2))
    assert torch.allclose(y, expected, atol=1e-12)
    weights = torch.randn_like(y)
    gradients = [torch.autograd.grad((z * weights).sum(), x)[0] for z in (y, expected)]
    assert torch.allclose(*gradients, atol=1e-12)


def test_bilinear_is_a_filter_over_zeros_then_a_convolution():
    layer = build_upsample("bilinear", 2, 3, kernel_size=4, padding="reflect", bias=True).double()
    x = torch.randn(1, 2, 4, 5, dtype=torch.float64)
    # Pixels apart by two, zeros between, filtered by [1, 3, 3, 1]; what is needed beyond the border repeats the edge.
    wide = nnf.pad(x, (1, 1, 1, 1), mode="replicate")
    apart = torch.zeros(1, 2, 12, 14, dtype=torch.float64)
    apart[..., ::2, ::2] = wide
    enlarged = 4 * binomial(apart, [1.0, 3.0, 3.0, 1.0], "reflect")[..., 1:9, 1:11]
    expected = nnf.conv2d(enlarged, layer.weight, layer.bias, padding=1)
    assert layer(x).shape == expected.shape == (1, 3, 8, 10)
    assert torch.allclose(layer(x), expected, atol=1e-12)


@pytest.mark.parametrize("init", ["normal", "xavier", "kaiming", "orthogonal"])
def test_a_new_shuffle_shows_no_checkerboard(init):
    layer = ShuffleConv2d(8, 5, 3, "zero")
    initialize(layer, init)
    y = layer(torch.randn(1, 8, 6, 6))
    for row, column in ((0, 1), (1, 0), (1, 1)):
        assert torch.allclose(y[..., row::2, column::2], y[..., ::2, ::2], atol=1e-6)
    assert len(layer.weight[::4].unique()) > 100


def test_a_shuffle_is_as_wide_as_the_convolution_it_stands_for():
    layer = ShuffleConv2d(64, 128, 3, "zero")
    initialize(layer, "xavier", 0.5)
    assert layer.weight.std().item() == pytest.approx(0.5 * math.sqrt(2 / (9 * (64 + 128))), rel=0.03)


def test_residual_block_adds_to_its_input():
    block = ResidualBlock(4, norm="none", padding="zero", dropout=0.5)
    x = torch.randn(1, 4, 6, 6)
    for conv in (block.second.conv.weight, block.second.conv.bias):
        nn.init.zeros_(conv)
    assert torch.equal(block(x), x)
    assert isinstance(block.dropout, nn.Dropout)


@pytest.mark.parametrize(
    ("init", "gain", "std"),
    [
        ("normal", 0.02, 0.02),
        ("normal", 0.1, 0.1),
        ("xavier", 0.5, 0.5 * math.sqrt(2 / (9 * (64 + 128)))),
        ("kaiming", 0.02, math.sqrt(2 / (9 * 64))),
        ("orthogonal", 2.0, 2.0 / math.sqrt(9 * 64)),
    ],
)
def test_initialisation(init, gain, std):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(64, 128, 3), nn.BatchNorm2d(128), nn.BatchNorm2d(128, affine=False))
    initialize(network, init, gain)
    conv, norm = network[0], network[1]
    assert conv.weight.std().item() == pytest.approx(std, rel=0.03)
    assert conv.weight.mean().abs() < 0.03 * std
    assert norm.weight.mean().item() == pytest.approx(1, abs=0.01)
    assert norm.weight.std().item() == pytest.approx(0.02, rel=0.25)
    assert conv.bias.abs().max() == norm.bias.abs().max() == 0
    if init == "orthogonal":
        rows = conv.weight.flatten(1)
        assert torch.allclose(rows @ rows.T, gain**2 * torch.eye(128), atol=1e-4)


def test_initialisation_refuses_the_unknown():
    with pytest.raises(ValueError, match="^init must be one of normal, xavier, kaiming, orthogonal, got he$"):
        initialize(nn.Conv2d(1, 1, 1), "he")
    with pytest.raises(ValueError, match="^init_gain must be greater than 0, got 0$"):
        initialize(nn.Conv2d(1, 1, 1), "normal", 0)

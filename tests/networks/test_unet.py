"""The U-Net generator: the published sizes, an independent recursive formula, every combination of options."""

import itertools

import pytest
import torch
import torch.nn.functional as nnf
from torch import Tensor, nn

from i2i.networks.unet import UNetGenerator


def written_out(weights: dict[str, Tensor], x: Tensor, num_levels: int) -> Tensor:
    """The generator with instance norm, level inside level, by functions alone."""

    def tensors(name: str) -> tuple[Tensor, Tensor]:
        return weights[f"{name}.weight"], weights[f"{name}.bias"]

    def norm(x: Tensor) -> Tensor:
        centred = x - x.mean((2, 3), keepdim=True)
        return centred / (centred.square().mean((2, 3), keepdim=True) + 1e-5).sqrt()

    def level(x: Tensor, i: int) -> Tensor:
        """From what enters level i on the way down to what leaves it on the way up."""
        inner = nnf.conv2d(x if i == 0 else nnf.leaky_relu(x, 0.2), *tensors(f"down.{i}.conv"), stride=2, padding=1)
        if i < num_levels - 1:
            inner = inner if i == 0 else norm(inner)
            inner = torch.cat([inner, level(inner, i + 1)], 1)
        outer = nnf.conv_transpose2d(inner.relu(), *tensors(f"up.{i}.conv"), stride=2, padding=1)
        return outer.tanh() if i == 0 else norm(outer)

    return level(x, 0)


@pytest.mark.parametrize("num_levels", [2, 3, 6])
def test_agrees_with_the_network_written_out(num_levels):
    torch.manual_seed(0)
    G = UNetGenerator(3, 2, num_downsamplings=num_levels, base_channels=3, norm="instance", dropout=0.0).double()
    x = torch.randn(1, 3, 64, 128, dtype=torch.float64, requires_grad=True)
    y, expected = G(x), written_out(G.state_dict(), x, num_levels)
    assert (y - expected).abs().max() < 1e-9
    (gradient,) = torch.autograd.grad(y.square().sum(), x)
    (expected_gradient,) = torch.autograd.grad(expected.square().sum(), x)
    assert (gradient - expected_gradient).abs().max() < 1e-9


@pytest.mark.parametrize(("num_levels", "count"), [(8, 54_413_955), (7, 41_828_995)])
def test_published_number_of_parameters(num_levels, count):
    with torch.device("meta"):
        G = UNetGenerator(3, 3, num_downsamplings=num_levels)
    assert sum(parameter.numel() for parameter in G.parameters()) == count
    # By hand: C64-C128-C256-C512-..., and back on twice the channels; biases at the last layer alone.
    widths = [64, 128, 256, *[512] * (num_levels - 3)]
    down = sum(16 * a * b for a, b in zip([3, *widths], widths, strict=False))
    up = sum(16 * 2 * a * b for a, b in zip(widths[:-1], [3, *widths], strict=False)) + 16 * 512 * 512 + 3
    norms = 2 * sum(widths[1:-1]) + 2 * sum(widths[:-1])
    assert down + up + norms == count


@pytest.mark.parametrize(("num_levels", "levels"), [(8, [4, 5, 6]), (7, [4, 5]), (5, []), (3, [])])
def test_dropout_is_where_the_paper_has_it(num_levels, levels):
    with torch.device("meta"):
        G = UNetGenerator(3, 3, num_downsamplings=num_levels)
        without = UNetGenerator(3, 3, num_downsamplings=num_levels, dropout=0.0)
    assert [i for i, up in enumerate(G.up) if isinstance(up.activation, nn.Dropout)] == levels
    assert all(up.activation.p == 0.5 for up in G.up if isinstance(up.activation, nn.Dropout))
    assert not any(isinstance(module, nn.Dropout) for module in without.modules())


@pytest.mark.parametrize(
    ("norm", "upsample"),
    list(itertools.product(["instance", "batch", "group", "none"], ["transpose", "resize", "bilinear", "shuffle"])),
)
@pytest.mark.parametrize("num_levels", [2, 5])
def test_every_combination_translates_its_smallest_image(norm, upsample, num_levels):
    torch.manual_seed(0)
    G = UNetGenerator(2, 3, num_downsamplings=num_levels, base_channels=4, norm=norm, upsample=upsample)
    x = torch.rand(1, 2, G.min_size, G.min_size + G.stride) * 2 - 1
    y = G(x)
    y.square().sum().backward()
    assert y.shape == (1, 3, *x.shape[2:])
    assert y.abs().max() <= 1
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in G.parameters())
    assert all(parameter.grad.abs().sum() > 0 for parameter in G.parameters() if parameter.ndim > 1)


def test_a_single_image_of_the_nominal_size_trains():
    # One value per channel at the innermost level: there batch norm would raise, instance norm erase it.
    torch.manual_seed(0)
    for norm in ("batch", "instance"):
        G = UNetGenerator(3, 3, num_downsamplings=5, base_channels=2, norm=norm)
        innermost = G.down[-1](torch.randn(1, 16, 2, 2))
        assert innermost.shape == (1, 16, 1, 1)
        assert innermost.abs().max() > 0
        G(torch.randn(1, 3, 32, 32)).sum().backward()


def test_skip_connections_carry_detail_past_the_bottleneck():
    torch.manual_seed(0)
    G = UNetGenerator(1, 1, num_downsamplings=4, base_channels=4, norm="none", init_gain=0.2).eval()
    nn.init.zeros_(G.up[1].conv.weight)
    x = torch.randn(1, 1, 16, 16)
    assert G(x).std() > 0
    with torch.no_grad():
        G.up[0].conv.weight[:4] = 0  # the outermost skip, the only path left
    assert G(x).std() == 0


def test_size_attributes_and_meta_device():
    with torch.device("meta"):
        G = UNetGenerator(3, 1)
        assert (G.stride, G.min_size, G.in_channels, G.out_channels) == (256, 256, 3, 1)
        assert G(torch.empty(2, 3, 256, 512)).shape == (2, 1, 256, 512)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_downsamplings": 1}, "num_downsamplings must be at least 2, got 1"),
        ({"base_channels": 0}, "base_channels must be at least 1, got 0"),
        ({"dropout": -0.5}, "dropout must be at least 0 and below 1, got -0.5"),
        ({"norm": "layer"}, "norm must be one of instance, batch, group, none, got layer"),
        ({"upsample": "cubic"}, "upsample must be one of transpose, resize, bilinear, shuffle, got cubic"),
        ({"init": "he"}, "init must be one of normal, xavier, kaiming, orthogonal, got he"),
    ],
)
def test_messages_start_with_the_argument(options, message):
    with pytest.raises(ValueError) as error:
        UNetGenerator(3, 3, **{"num_downsamplings": 3, "base_channels": 2} | options)
    assert str(error.value) == message

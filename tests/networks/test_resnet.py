"""The ResNet generator: the published sizes, an independent formula, every combination of options."""

import itertools

import pytest
import torch
import torch.nn.functional as nnf
from torch import Tensor

from i2i.networks.resnet import ResNetGenerator


def written_out(weights: dict[str, Tensor], x: Tensor, num_blocks: int, num_downsamplings: int) -> Tensor:
    """The generator with instance norm, reflection padding and transposed convolutions, by functions alone."""

    def conv(x: Tensor, name: str, border: int, **options) -> Tensor:
        x = nnf.pad(x, (border,) * 4, mode="reflect") if border else x
        return nnf.conv2d(x, weights[f"{name}.weight"], weights[f"{name}.bias"], **options)

    def norm(x: Tensor) -> Tensor:
        centred = x - x.mean((2, 3), keepdim=True)
        return centred / (centred.square().mean((2, 3), keepdim=True) + 1e-5).sqrt()

    x = norm(conv(x, "stem.conv", 3)).relu()
    for i in range(num_downsamplings):
        x = norm(conv(x, f"down.{i}.conv", 0, stride=2, padding=1)).relu()
    for i in range(num_blocks):
        y = norm(conv(x, f"blocks.{i}.first.conv", 1)).relu()
        x = x + norm(conv(y, f"blocks.{i}.second.conv", 1))
    for i in range(num_downsamplings):
        weight, bias = weights[f"up.{i}.conv.weight"], weights[f"up.{i}.conv.bias"]
        x = norm(nnf.conv_transpose2d(x, weight, bias, stride=2, padding=1, output_padding=1)).relu()
    return conv(x, "head", 3).tanh()


@pytest.mark.parametrize(("num_blocks", "num_downsamplings"), [(2, 2), (1, 0), (1, 3)])
@pytest.mark.parametrize("num_images", [1, 2])
def test_agrees_with_the_network_written_out(num_blocks, num_downsamplings, num_images):
    torch.manual_seed(0)
    G = ResNetGenerator(3, 2, num_blocks=num_blocks, base_channels=4, num_downsamplings=num_downsamplings).double()
    x = torch.randn(num_images, 3, 24, 16, dtype=torch.float64, requires_grad=True)
    expected = written_out(G.state_dict(), x, num_blocks, num_downsamplings)
    for memory_format in (torch.contiguous_format, torch.channels_last):
        y = G.to(memory_format=memory_format)(x.contiguous(memory_format=memory_format))
        assert (y - expected).abs().max() < 1e-9
        (gradient,) = torch.autograd.grad(y.square().sum(), x)
        (expected_gradient,) = torch.autograd.grad(expected.square().sum(), x, retain_graph=True)
        assert (gradient - expected_gradient).abs().max() < 1e-9


def test_antialiasing_blurs_after_the_convolution_instead_of_striding():
    torch.manual_seed(0)
    options = {"num_blocks": 1, "base_channels": 4, "norm": "none"}
    G = ResNetGenerator(3, 3, antialias=True, **options).double()
    x = torch.randn(1, 3, 16, 12, dtype=torch.float64)
    y = G.stem(x)
    for down in G.down:
        dense = nnf.conv2d(y, down.conv.weight, down.conv.bias, padding=1).relu()
        kernel = torch.tensor([[1.0, 2.0, 1.0], [2.0, 4.0, 2.0], [1.0, 2.0, 1.0]], dtype=torch.float64) / 16
        dense = nnf.pad(dense, (1, 1, 1, 1), mode="reflect")
        expected = nnf.conv2d(dense, kernel.expand(dense.shape[1], 1, 3, 3), stride=2, groups=dense.shape[1])
        y = down(y)
        assert torch.allclose(y, expected, atol=1e-12)
    plain = ResNetGenerator(3, 3, **options)
    assert {k: v.shape for k, v in plain.state_dict().items()} == {k: v.shape for k, v in G.state_dict().items()}


@pytest.mark.parametrize(("num_blocks", "count"), [(9, 11_378_179), (6, 7_837_699)])
def test_published_number_of_parameters(num_blocks, count):
    with torch.device("meta"):
        G = ResNetGenerator(3, 3, num_blocks=num_blocks)
    # By hand: c7s1-64 d128 d256, R256 x num_blocks, u128 u64 c7s1-3, every convolution with a bias.
    shapes = [(3, 64, 7), (64, 128, 3), (128, 256, 3), *[(256, 256, 3)] * (2 * num_blocks)]
    shapes += [(256, 128, 3), (128, 64, 3), (64, 3, 7)]
    assert sum(fan_in * fan_out * kernel**2 + fan_out for fan_in, fan_out, kernel in shapes) == count
    assert sum(parameter.numel() for parameter in G.parameters()) == count


def test_only_norms_without_a_shift_leave_biases_to_the_convolutions():
    for norm, has_bias in (("instance", True), ("none", True), ("batch", False), ("group", False)):
        G = ResNetGenerator(3, 3, num_blocks=1, base_channels=4, norm=norm)
        hidden = [G.stem, *G.down, G.blocks[0].first, G.blocks[0].second, *G.up]
        assert {block.conv.bias is not None for block in hidden} == {has_bias}
        assert G.head.bias is not None


@pytest.mark.parametrize(
    ("norm", "upsample", "padding"),
    list(
        itertools.product(
            ["instance", "batch", "group", "none"],
            ["transpose", "resize", "bilinear", "shuffle"],
            ["reflect", "replicate", "zero"],
        )
    ),
)
def test_every_combination_translates_its_smallest_image(norm, upsample, padding):
    options = {"norm": norm, "upsample": upsample, "padding": padding}
    G = ResNetGenerator(2, 3, num_blocks=1, base_channels=4, dropout=0.1, **options)
    x = torch.rand(1, 2, G.min_size, G.min_size + G.stride) * 2 - 1
    y = G(x)
    y.square().sum().backward()
    assert y.shape == (1, 3, *x.shape[2:])
    assert y.abs().max() <= 1
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in G.parameters())
    assert all(parameter.grad.abs().sum() > 0 for parameter in G.parameters() if parameter.ndim > 1)


@pytest.mark.parametrize("num_downsamplings", [0, 1, 2, 3])
@pytest.mark.parametrize("antialias", [False, True])
def test_size_attributes_are_enough(num_downsamplings, antialias):
    options = {"num_downsamplings": num_downsamplings, "antialias": antialias}
    G = ResNetGenerator(3, 3, num_blocks=1, base_channels=3, **options)
    assert G.stride == 2**num_downsamplings
    for size in (G.min_size, G.min_size + G.stride):
        assert G(torch.zeros(1, 3, size, size)).shape == (1, 3, size, size)


def test_the_same_seed_gives_the_same_network_and_dropout_only_matters_in_training():
    images = []
    for _ in range(2):
        torch.manual_seed(3)
        G = ResNetGenerator(3, 3, num_blocks=1, base_channels=4, dropout=0.5)
        images.append(G.eval()(torch.ones(1, 3, 8, 8)))
    assert torch.equal(*images)
    x = torch.randn(1, 3, 16, 16)
    assert torch.equal(G(x), G(x))
    assert not torch.equal(G.train()(x), G(x))


def test_training_is_repeatable_in_deterministic_mode():
    torch.use_deterministic_algorithms(True)
    try:
        G = ResNetGenerator(3, 3, num_blocks=1, base_channels=4)
        x = torch.randn(1, 3, 16, 16)
        gradients = [torch.autograd.grad(G(x).square().sum(), list(G.parameters())) for _ in range(2)]
    finally:
        torch.use_deterministic_algorithms(False)
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


def test_bfloat16_autocast_stays_near_float32():
    torch.manual_seed(0)
    G = ResNetGenerator(3, 3, num_blocks=2, base_channels=8)
    x = torch.rand(1, 3, 32, 32) * 2 - 1
    exact = G(x)
    with torch.autocast("cpu", torch.bfloat16):
        assert (G(x).float() - exact).abs().max() < 0.05


def test_runs_on_the_meta_device():
    with torch.device("meta"):
        assert ResNetGenerator(3, 1)(torch.empty(2, 3, 64, 128)).shape == (2, 1, 64, 128)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_blocks": 0}, "num_blocks must be at least 1, got 0"),
        ({"base_channels": 0}, "base_channels must be at least 1, got 0"),
        ({"num_downsamplings": -1}, "num_downsamplings must be at least 0, got -1"),
        ({"dropout": 1.0}, "dropout must be at least 0 and below 1, got 1.0"),
        ({"init_gain": -0.1}, "init_gain must be greater than 0, got -0.1"),
        ({"norm": "layer"}, "norm must be one of instance, batch, group, none, got layer"),
        ({"padding": "mirror"}, "padding must be one of reflect, replicate, zero, got mirror"),
        ({"upsample": "cubic"}, "upsample must be one of transpose, resize, bilinear, shuffle, got cubic"),
        ({"in_channels": 0}, "in_channels must be at least 1, got 0"),
        ({"out_channels": 0}, "out_channels must be at least 1, got 0"),
    ],
)
def test_messages_start_with_the_argument(options, message):
    with pytest.raises(ValueError) as error:
        ResNetGenerator(**{"in_channels": 3, "out_channels": 3, "base_channels": 4, "num_blocks": 1} | options)
    assert str(error.value) == message

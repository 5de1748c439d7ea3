"""The PatchGAN discriminator: its patch measured by gradients, an independent formula, sizes and options."""

import pytest
import torch
import torch.nn.functional as nnf
from torch import Tensor

from i2i.networks.patchgan import PatchGANDiscriminator


def written_out(weights: dict[str, Tensor], x: Tensor, num_layers: int) -> Tensor:
    """The discriminator with instance norm, by functions alone."""
    pixel = num_layers == 0
    border = 0 if pixel else 1
    for i in range(2 if pixel else num_layers + 1):
        stride = 2 if i < num_layers else 1
        weight, bias = weights[f"layers.{i}.conv.weight"], weights[f"layers.{i}.conv.bias"]
        x = nnf.conv2d(x, weight, bias, stride=stride, padding=border)
        if i > 0:
            centred = x - x.mean((2, 3), keepdim=True)
            x = centred / (centred.square().mean((2, 3), keepdim=True) + 1e-5).sqrt()
        x = nnf.leaky_relu(x, 0.2)
    return nnf.conv2d(x, weights["head.weight"], weights["head.bias"], padding=border)


@pytest.mark.parametrize("num_layers", [0, 1, 3, 5])
def test_agrees_with_the_network_written_out(num_layers):
    torch.manual_seed(0)
    D = PatchGANDiscriminator(6, num_layers=num_layers, base_channels=3).double()
    x = torch.randn(2, 6, 100, 131, dtype=torch.float64)
    assert (D(x) - written_out(D.state_dict(), x, num_layers)).abs().max() < 1e-9


@pytest.mark.parametrize(
    ("num_layers", "antialias", "patch"),
    [(0, False, 1), (1, False, 16), (2, False, 34), (3, False, 70), (4, False, 142), (5, False, 286)]
    + [(0, True, 1), (1, True, 18), (3, True, 84)],
)
def test_receptive_field_is_the_footprint_of_a_logit(num_layers, antialias, patch):
    torch.manual_seed(0)
    options = {"num_layers": num_layers, "base_channels": 2, "norm": "none", "antialias": antialias}
    D = PatchGANDiscriminator(1, **options).double()
    size = 2 * patch + 2 * D.min_size
    x = torch.randn(1, 1, size, size, dtype=torch.float64, requires_grad=True)
    logits = D(x)
    middle = logits.shape[2] // 2
    (gradient,) = torch.autograd.grad(logits[0, 0, middle, middle], x)
    rows = gradient[0, 0].abs().sum(1).nonzero().flatten()
    columns = gradient[0, 0].abs().sum(0).nonzero().flatten()
    assert D.receptive_field == patch
    assert rows[-1] - rows[0] + 1 == columns[-1] - columns[0] + 1 == patch


@pytest.mark.parametrize(
    ("options", "count"),
    [
        ({"norm": "instance"}, 2_764_737),  # CycleGAN
        ({"norm": "batch"}, 2_765_633),
        ({"norm": "batch", "in_channels": 6}, 2_768_705),  # pix2pix, conditional
        ({"norm": "batch", "num_layers": 0}, 3 * 64 + 64 + 64 * 128 + 2 * 128 + 128),
        ({"norm": "instance", "num_layers": 0}, 3 * 64 + 64 + 64 * 128 + 128 + 128 + 1),
    ],
)
def test_published_number_of_parameters(options, count):
    with torch.device("meta"):
        D = PatchGANDiscriminator(**{"in_channels": 3} | options)
    assert sum(parameter.numel() for parameter in D.parameters()) == count


def test_parameters_by_hand():
    shapes = [(3, 64), (64, 128), (128, 256), (256, 512), (512, 1)]
    assert sum(16 * a * b + b for a, b in shapes) == 2_764_737
    hidden_biases = 128 + 256 + 512
    assert 2_764_737 - hidden_biases + 2 * hidden_biases == 2_765_633


@pytest.mark.parametrize("num_layers", [0, 1, 2, 3, 4])
@pytest.mark.parametrize("antialias", [False, True])
def test_smallest_size_leaves_one_logit_and_one_pixel_less_none(num_layers, antialias):
    D = PatchGANDiscriminator(3, num_layers=num_layers, base_channels=2, norm="batch", antialias=antialias)
    assert D(torch.randn(2, 3, D.min_size, D.min_size)).shape == (2, 1, 1, 1)
    if num_layers:
        with pytest.raises(RuntimeError):
            D(torch.randn(2, 3, D.min_size - 1, D.min_size - 1))


@pytest.mark.parametrize("size", [(64, 64), (71, 95), (33, 100)])
@pytest.mark.parametrize("num_layers", [0, 2, 3])
@pytest.mark.parametrize("antialias", [False, True])
def test_number_of_logits_of_odd_sizes(size, num_layers, antialias):
    D = PatchGANDiscriminator(3, num_layers=num_layers, base_channels=2, antialias=antialias)
    expected = size if num_layers == 0 else tuple(length // 2**num_layers - 2 for length in size)
    assert D(torch.randn(1, 3, *size)).shape == (1, 1, *expected)


@pytest.mark.parametrize("norm", ["instance", "batch", "group", "none"])
@pytest.mark.parametrize("spectral_norm", [False, True])
@pytest.mark.parametrize("num_layers", [0, 3])
def test_every_combination_trains(norm, spectral_norm, num_layers):
    torch.manual_seed(0)
    D = PatchGANDiscriminator(4, num_layers=num_layers, base_channels=4, norm=norm, spectral_norm=spectral_norm)
    logits = D(torch.randn(2, 4, 40, 32))
    logits.square().mean().backward()
    assert logits.shape[:2] == (2, 1)
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in D.parameters())
    assert all(parameter.grad.abs().sum() > 0 for parameter in D.parameters() if parameter.ndim > 1)


def test_spectral_norm_brings_every_convolution_to_norm_one():
    torch.manual_seed(0)
    D = PatchGANDiscriminator(3, base_channels=4, norm="none", spectral_norm=True)
    x = torch.randn(1, 3, 32, 32)
    for _ in range(30):
        D(x)
    for conv in [layer.conv for layer in D.layers] + [D.head]:
        assert torch.linalg.matrix_norm(conv.weight.flatten(1), 2).item() == pytest.approx(1, rel=0.02)
    assert torch.equal(D.eval()(x), D(x))
    copy = PatchGANDiscriminator(3, base_channels=4, norm="none", spectral_norm=True).eval()
    copy.load_state_dict(D.state_dict())
    assert torch.equal(copy(x), D(x))


def test_a_patch_sees_nothing_outside_itself():
    D = PatchGANDiscriminator(1, num_layers=1, base_channels=2, norm="none")
    x = torch.randn(1, 1, 64, 64)
    changed = x.clone()
    changed[..., 40:, 40:] += 1
    assert torch.equal(D(x)[..., :5, :5], D(changed)[..., :5, :5])


def test_defaults_are_published_and_run_on_meta():
    with torch.device("meta"):
        D = PatchGANDiscriminator(3)
        assert D(torch.empty(1, 3, 256, 256)).shape == (1, 1, 30, 30)
        assert PatchGANDiscriminator(3, spectral_norm=True)(torch.empty(1, 3, 64, 64)).shape == (1, 1, 6, 6)
    assert (D.receptive_field, D.min_size, D.in_channels, D.out_channels) == (70, 24, 3, 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_layers": -1}, "num_layers must be at least 0, got -1"),
        ({"base_channels": 0}, "base_channels must be at least 1, got 0"),
        ({"in_channels": 0}, "in_channels must be at least 1, got 0"),
        ({"norm": "layer"}, "norm must be one of instance, batch, group, none, got layer"),
        ({"init_gain": 0.0}, "init_gain must be greater than 0, got 0.0"),
    ],
)
def test_messages_start_with_the_argument(options, message):
    with pytest.raises(ValueError) as error:
        PatchGANDiscriminator(**{"in_channels": 3, "base_channels": 2} | options)
    assert str(error.value) == message

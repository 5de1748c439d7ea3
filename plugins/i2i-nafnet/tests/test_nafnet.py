"""The contract of a generator, the published size, and an independent formula."""

import pytest
import torch
import torch.nn.functional as nnf
from i2i_nafnet import NAFNetGenerator
from i2i_nafnet.nafnet import NAFBlock
from torch import Tensor

from i2i.testing import check_generator

TINY = {"width": 4, "enc_blocks": [1, 1], "middle_blocks": 1, "dec_blocks": [1, 1]}


@pytest.mark.parametrize("options", [{}, {"residual": False}, {"enc_blocks": [0, 2, 1], "dec_blocks": [1, 0, 1]}])
def test_keeps_the_contract(options):
    check_generator(NAFNetGenerator, **TINY | options)


def test_the_published_scales_open_after_one_step():
    check_generator(NAFNetGenerator, after_steps=1, init_scale=0.0, **TINY)
    with pytest.raises(AssertionError, match="the gradient is zero everywhere in"):
        check_generator(NAFNetGenerator, init_scale=0.0, **TINY)


def test_number_of_parameters_follows_from_the_figures():
    with torch.device("meta"):
        network = NAFNetGenerator(3, 3)

    def conv(fan_in: int, fan_out: int, kernel: int = 1, bias: bool = True) -> int:
        return fan_in * fan_out * kernel**2 + bias * fan_out

    def block(c: int) -> int:
        mixing = 2 * c + conv(c, 2 * c) + conv(1, 2 * c, 3) + conv(c, c) + conv(c, c) + c
        return mixing + 2 * c + conv(c, 2 * c) + conv(c, c) + c

    widths = [32, 64, 128, 256]
    expected = conv(3, 32, 3) + conv(32, 3, 3) + 12 * block(512)
    for c, down, up in zip(widths, (2, 2, 4, 8), (2, 2, 2, 2), strict=True):
        expected += (down + up) * block(c) + conv(c, 2 * c, 2) + conv(2 * c, 4 * c, bias=False)
    assert sum(parameter.numel() for parameter in network.parameters()) == expected
    assert sum(len(stage) for stage in (*network.encoders, network.middle, *network.decoders)) == 36


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_block_agrees_with_its_formula_written_out(layout):
    torch.manual_seed(0)
    block = NAFBlock(3, 0.5).double().to(memory_format=layout)
    w = dict(block.named_parameters())
    with torch.no_grad():
        for parameter in w.values():
            parameter.copy_(torch.randn(parameter.shape))
    x = torch.randn(2, 3, 5, 4, dtype=torch.float64, requires_grad=True)

    def norm(x: Tensor, name: str) -> Tensor:
        x = x - x.mean(1, keepdim=True)
        x = x / (x.square().mean(1, keepdim=True) + 1e-6).sqrt()
        return x * w[f"{name}.weight"][:, None, None] + w[f"{name}.bias"][:, None, None]

    def mix(x: Tensor, name: str) -> Tensor:
        return torch.einsum("oi,nihw->nohw", w[f"{name}.weight"][..., 0, 0], x) + w[f"{name}.bias"][:, None, None]

    y = mix(norm(x, "norm1"), "expand1")
    windows = nnf.unfold(y, 3, padding=1).view(2, 6, 9, 5, 4)
    y = torch.einsum("ck,nckhw->nchw", w["depthwise.weight"].reshape(6, 9), windows)
    y = y + w["depthwise.bias"][:, None, None]
    y = y[:, :3] * y[:, 3:]
    y = y * mix(y.mean((2, 3), keepdim=True), "attention")
    middle = x + w["beta"] * mix(y, "project1")
    z = mix(norm(middle, "norm2"), "expand2")
    expected = middle + w["gamma"] * mix(z[:, :3] * z[:, 3:], "project2")

    found = block(x.contiguous(memory_format=layout))
    assert (found - expected).abs().max() < 1e-9
    factor = torch.randn(x.shape, dtype=torch.float64).contiguous(memory_format=layout)
    (gradient,) = torch.autograd.grad((found * factor).sum(), x)
    (expected_gradient,) = torch.autograd.grad((expected * factor).sum(), x)
    assert (gradient - expected_gradient).abs().max() < 1e-9


def test_the_residual_starts_near_the_input_and_yields_to_other_channels():
    torch.manual_seed(0)
    x = torch.rand(1, 3, 16, 16) * 2 - 1
    network = NAFNetGenerator(3, 3, **TINY)
    with torch.no_grad():
        network.tail.weight.zero_()
        network.tail.bias.zero_()
    assert (network(x) - 0.98 * x).abs().max() < 1e-6
    assert network(x.sign()).isfinite().all()
    assert NAFNetGenerator(3, 1, **TINY).residual is False


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 0}, "width must be at least 1, got 0"),
        ({"enc_blocks": [], "dec_blocks": []}, "enc_blocks must have at least one entry, got none"),
        ({"dec_blocks": [1]}, "dec_blocks must have as many entries as enc_blocks has, got [1]"),
        ({"enc_blocks": [1, -1]}, "enc_blocks must not be negative, got -1"),
        ({"middle_blocks": -2}, "middle_blocks must not be negative, got -2"),
    ],
)
def test_messages_start_with_the_argument(options, message):
    with pytest.raises(ValueError) as error:
        NAFNetGenerator(3, 3, **TINY | options)
    assert str(error.value) == message

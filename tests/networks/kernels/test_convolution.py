"""The faster convolutions against direct ones in float64: values, gradients, and gradients of gradients."""

import itertools
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
import torch.nn.functional as nnf
from torch import Tensor, nn

from i2i.networks.blocks.padding import Padding, pad, unpad
from i2i.networks.kernels import products, winograd
from i2i.networks.kernels.convolution import FastConvolutions, conv2d, pays
from i2i.networks.unet import UNetGenerator
from tests import fork_server

MODES: tuple[Padding, ...] = ("reflect", "replicate", "zero")
SHAPES = ((1, 8, 16), (2, 9, 11), (1, 32, 5))


@pytest.fixture(autouse=True)
def _any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(winograd, "MIN_TILES", 1)
    monkeypatch.setattr(winograd, "ROOM", 36 * 40 * 5)  # five tiles: several strips


def leaves(*shapes: tuple[int, ...], scale: float = 1.0) -> list[Tensor]:
    random = torch.Generator().manual_seed(0)
    return [(torch.randn(shape, generator=random) * scale).requires_grad_() for shape in shapes]


def doubled(tensors: list[Tensor]) -> list[Tensor]:
    return [tensor.detach().double().requires_grad_() for tensor in tensors]


def distance(one: Tensor, other: Tensor) -> float:
    return ((one - other).abs().max() / other.abs().max()).item()


def is_winograd(y: Tensor) -> bool:
    return type(y.grad_fn).__name__ == "_ConvolutionBackward"


@pytest.mark.parametrize("kernel", [(40, 3), (40, 4), (3, 7), (1, 4)], ids=["3x3", "4x4", "squares", "even"])
@pytest.mark.parametrize("mode", MODES)
def test_values_and_gradients_are_those_of_a_direct_convolution(kernel: tuple[int, int], mode: Padding) -> None:
    channels, size = kernel
    for (count, height, width), amount, last in itertools.product(SHAPES, (0, 1, 3), (False, True)):
        x, weight, bias = leaves((count, 32, height, width), (channels, 32, size, size), (channels,))
        if last:
            x = x.detach().to(memory_format=torch.channels_last).requires_grad_()
        if min(height, width) + 2 * amount < size:
            continue
        with FastConvolutions():
            y = conv2d(x, weight, bias, amount, mode)
        assert is_winograd(y) == (channels == 40)
        exact = doubled([x, weight, bias])
        expected = nnf.conv2d(pad(exact[0], amount, mode), exact[1], exact[2])
        (gradient,) = leaves(tuple(y.shape))
        y.backward(gradient.detach())
        expected.backward(gradient.detach().double())
        assert distance(y, expected) < 3e-5
        for own, other in zip((x, weight, bias), exact, strict=True):
            assert own.grad is not None and other.grad is not None
            assert distance(own.grad, other.grad) < 3e-5


def test_a_gradient_of_a_gradient() -> None:
    def penalty(call: Callable[..., Tensor], x: Tensor, weight: Tensor, bias: Tensor) -> list[Tensor]:
        (gradient,) = torch.autograd.grad(call(x, weight, bias, 1, "reflect").pow(2).sum(), x, create_graph=True)
        return list(torch.autograd.grad(gradient.pow(2).sum(), (x, weight, bias)))

    tensors = leaves((1, 32, 9, 8), (32, 32, 3, 3), (32,), scale=0.1)
    with FastConvolutions():
        assert is_winograd(conv2d(*tensors, 1, "reflect"))  # type: ignore[call-arg, arg-type]
        found = penalty(conv2d, *tensors)
    for own, other in zip(found, penalty(conv2d, *doubled(tensors)), strict=True):
        assert distance(own, other) < 1e-4


def test_all_3x3_convolutions_take_part_and_no_others() -> None:
    x = torch.randn(1, 32, 8, 8)
    options = [{"padding": 1}, {}, {"padding": (1, 1)}]
    others = [{"stride": 2}, {"dilation": 2}, {"groups": 2}, {"padding": (0, 1)}, {"padding": "same"}]
    for arguments, takes_part in [(o, True) for o in options] + [(o, False) for o in others]:
        conv = nn.Conv2d(32, 32, 3, **arguments)  # type: ignore[arg-type]
        with FastConvolutions():
            y = conv(x)
        assert is_winograd(y) == takes_part, arguments
        assert distance(y, conv(x)) < 1e-4
    with FastConvolutions():
        assert not is_winograd(nn.Conv2d(16, 64, 3)(torch.randn(1, 16, 8, 8)))  # too few channels
        assert not is_winograd(nn.Conv2d(32, 32, 3).double()(x.double()))
    assert not is_winograd(nn.Conv2d(32, 32, 3)(x))


# Arguments of a convolution, and those that only a transposed one has.
STEPS = (
    {},
    {"stride": 2, "padding": 1},
    {"stride": [2], "padding": [1]},
    {"stride": (2, 3), "padding": (1, 0), "dilation": (1, 2)},
)
TRANSPOSED = ({"stride": 2, "output_padding": 1}, {"stride": 3, "padding": 1, "output_padding": (1, 2), "dilation": 2})


@pytest.fixture
def multiplied(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The convolutions that were computed as products."""
    called: list[str] = []
    for name in ("convolve", "convolve_transposed"):
        real = getattr(products, name)
        spying = lambda *arguments, name=name, real=real: called.append(name) or real(*arguments)  # noqa: E731
        monkeypatch.setattr(products, name, spying)
    return called


@pytest.mark.parametrize("last", [False, True], ids=["contiguous", "channels_last"])
@pytest.mark.parametrize("count", [1, 3])
def test_products_give_values_and_gradients_of_both_convolutions(
    count: int, last: bool, monkeypatch: pytest.MonkeyPatch, multiplied: list[str]
) -> None:
    monkeypatch.setattr(products, "WEIGHTS", 1)
    cases = [(nnf.conv2d, (6, 5, 4, 3), step) for step in STEPS]
    cases += [(nnf.conv_transpose2d, (5, 6, 4, 3), step) for step in (*STEPS, *TRANSPOSED)]
    for (convolve, shape, step), bias_too in itertools.product(cases, (True, False)):
        x, weight, bias = leaves((count, 5, 9, 8), shape, (6,))
        if last:
            x = x.detach().to(memory_format=torch.channels_last).requires_grad_()
        own, exact = [x, weight, bias][: 2 + bias_too], doubled([x, weight, bias])[: 2 + bias_too]
        with FastConvolutions():
            y = convolve(*own, **step)
        assert y.is_contiguous(memory_format=torch.channels_last)
        expected = convolve(*exact, **step)
        (gradient,) = leaves(tuple(expected.shape))
        y.backward(gradient.detach())
        expected.backward(gradient.detach().double())
        assert distance(y, expected) < 1e-6
        for one, other in zip(own, exact, strict=True):
            assert one.grad is not None and other.grad is not None
            assert distance(one.grad, other.grad) < 1e-6
    assert len(multiplied) == 2 * len(cases)


def test_products_have_borders_and_gradients_of_gradients(
    monkeypatch: pytest.MonkeyPatch, multiplied: list[str]
) -> None:
    def penalty(x: Tensor, weight: Tensor, deconv: Tensor) -> list[Tensor]:
        y = nnf.conv_transpose2d(conv2d(x, weight, None, 2, "reflect"), deconv, stride=2)
        (gradient,) = torch.autograd.grad(y.pow(2).sum(), x, create_graph=True)
        return list(torch.autograd.grad(gradient.pow(2).sum(), (x, weight, deconv)))

    monkeypatch.setattr(products, "WEIGHTS", 1)
    tensors = leaves((2, 3, 4, 3), (6, 3, 3, 3), (6, 4, 3, 2), scale=0.3)
    with FastConvolutions():
        found = penalty(*tensors)
    assert multiplied == ["convolve", "convolve_transposed"]
    for own, other in zip(found, penalty(*doubled(tensors)), strict=True):
        assert distance(own, other) < 1e-5


def test_many_weights_for_few_pixels_become_products(multiplied: list[str]) -> None:
    def count(x: Tensor, *convs: nn.Module, fast: FastConvolutions | None = None) -> int:
        multiplied.clear()
        with fast or FastConvolutions(), torch.no_grad():
            for conv in convs:
                conv(x)
        return len(multiplied)

    conv, deconv = nn.Conv2d(128, 128, 4, 2, 1), nn.ConvTranspose2d(128, 128, 4, 2, 1)  # 262,144 weights, 16 pixels
    assert count(torch.randn(1, 128, 8, 8), conv) == count(torch.randn(1, 128, 4, 4), deconv) == 1
    assert count(torch.randn(4, 128, 4, 4), conv) == count(torch.randn(4, 128, 2, 2), deconv) == 1
    assert count(torch.randn(1, 128, 10, 8), conv) == count(torch.randn(1, 128, 5, 4), deconv) == 0
    assert count(torch.randn(4, 128, 5, 4), conv, deconv) == 1
    assert count(torch.randn(128, 4, 4), conv, deconv) == 0  # no batch
    grouped = nn.Conv2d(128, 128, 4, 2, 1, groups=2), nn.ConvTranspose2d(128, 128, 4, 2, 1, groups=2)
    assert count(torch.randn(1, 128, 4, 4), *grouped) == 0
    assert count(torch.randn(1, 128, 2, 2).double(), conv.double(), deconv.double()) == 0
    assert (
        count(torch.randn(1, 128, 2, 2), conv.float(), deconv.float(), fast=FastConvolutions(with_winograd=False)) == 0
    )


def test_what_pytorch_refuses_is_refused_in_its_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "WEIGHTS", 1)
    x, weight, bias = torch.randn(1, 8, 5, 5), torch.randn(8, 8, 3, 3), torch.randn(8)
    refused: list[tuple[tuple[Tensor, ...], dict[str, Any]]] = [
        ((x[:, :4], weight, bias), {}),
        ((x[:, :, :1], weight, bias), {"padding": (0, 2)}),
        ((x, weight[0], bias), {}),
        ((x, weight, bias[:1]), {"stride": 2}),
        ((x, weight, bias.double()), {"stride": 2}),
        ((x, weight, bias), {"stride": (1, 1, 1)}),
        ((x, weight, bias), {"stride": 0}),
        ((x, weight, bias), {"dilation": 0}),
        ((x, weight, bias), {"padding": -1}),
        ((x, weight, bias), {"padding": (5, 5), "stride": 1, "output_padding": 1}),
        ((x, weight, bias), {"padding": 9}),
    ]
    for (tensors, arguments), call in itertools.product(refused, (nnf.conv2d, nnf.conv_transpose2d)):
        if call is nnf.conv2d and "output_padding" in arguments:
            continue
        expected = outcome(call, *tensors, **arguments)
        with FastConvolutions():
            found = outcome(call, *tensors, **arguments)
        assert type(found) is type(expected), arguments
        if isinstance(found, Tensor) and isinstance(expected, Tensor):
            torch.testing.assert_close(found, expected)
        else:
            assert found == expected, arguments


def outcome(call: Callable[..., Tensor], *tensors: Tensor, **arguments: Any) -> Tensor | str:
    """The result, or what the error says."""
    try:
        return call(*tensors, **arguments)
    except RuntimeError as error:
        return str(error)


def test_more_output_padding_than_stride_is_left_to_pytorch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "WEIGHTS", 1)
    x, weight = leaves((1, 4, 5, 5), (4, 4, 3, 3))
    with FastConvolutions():
        y = nnf.conv_transpose2d(x, weight, dilation=2, output_padding=1)
    torch.testing.assert_close(y, nnf.conv_transpose2d(x, weight, dilation=2, output_padding=1))


def test_what_lies_in_used_memory_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two strips are summed into memory that another layer has left as it was."""
    monkeypatch.setattr(winograd, "ROOM", 36 * 32 * 40)
    x, weight = leaves((1, 32, 64, 16), (40, 32, 3, 3))
    fast, exact = FastConvolutions(), doubled([x, weight])
    fast._winograd.room(3, 36, 32, 40).fill_(torch.nan)
    with fast:
        y = conv2d(x, weight, None, 1, "zero")
        y.pow(2).sum().backward()
    nnf.conv2d(exact[0], exact[1], padding=1).pow(2).sum().backward()
    assert weight.grad is not None and exact[1].grad is not None
    assert distance(weight.grad, exact[1].grad) < 3e-5


def test_gradients_of_joined_images_reach_the_norms_of_a_unet_without_gaps() -> None:
    torch.manual_seed(0)
    unet, x = UNetGenerator(3, 3, num_downsamplings=4, base_channels=4, dropout=0), torch.randn(2, 3, 32, 32)
    seen: list[bool] = []
    for up in unet.up[1:]:
        up.norm.register_full_backward_pre_hook(
            lambda _, gradients: seen.append(gradients[0].is_contiguous(memory_format=torch.channels_last))
        )
    unet(x.to(memory_format=torch.channels_last)).pow(2).sum().backward()
    assert seen == [True] * 3
    found = [parameter.grad for parameter in unet.parameters()]
    unet.zero_grad()
    unet.double()(x.double()).pow(2).sum().backward()
    for one, parameter in zip(found, unet.parameters(), strict=True):
        assert one is not None and parameter.grad is not None
        assert distance(one, parameter.grad) < 1e-3


def test_a_kernel_is_transformed_once_for_as_long_as_its_weights_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    conv, x = nn.Conv2d(32, 32, 3), torch.randn(1, 32, 8, 8)
    fast = FastConvolutions()
    with fast, torch.no_grad():
        first = fast._winograd.kernel(conv.weight)
        conv(x)
        assert fast._winograd.kernel(conv.weight) is first
        conv.weight.mul_(2)
        assert distance(fast._winograd.kernel(conv.weight), 2 * first) < 1e-6
        y = conv(x)
    assert distance(y, conv(x)) < 1e-4
    with fast, torch.inference_mode():
        assert distance(conv(x), y) < 1e-6
        assert distance(nn.Conv2d(32, 32, 3)(x), y) > 0.1  # weights made here have no version


def test_weights_made_in_inference_mode_may_change() -> None:
    x = torch.randn(1, 32, 8, 8)
    with FastConvolutions(), torch.inference_mode():
        conv = nn.Conv2d(32, 32, 3, bias=False)
        y = conv(x)
        conv.weight.mul_(2)
        assert distance(conv(x), 2 * y) < 1e-6


def test_training_goes_on_from_what_inference_left() -> None:
    conv, x = nn.Conv2d(32, 32, 3), torch.randn(1, 32, 8, 8)
    with FastConvolutions():
        with torch.inference_mode():
            conv(x)
        conv(x).sum().backward()
    assert conv.weight.grad is not None


def test_defaults_of_the_process_do_not_matter() -> None:
    conv, x = nn.Conv2d(32, 32, 3), torch.randn(1, 32, 8, 8)
    with FastConvolutions(), torch.device("meta"):
        y = conv(x)
    assert distance(y, conv(x)) < 1e-4
    script = "import torch\nwith torch.device('meta'): from i2i.networks.kernels.winograd import _IMAGE_2D\n"
    done = fork_server.run(["-c", script + "assert not _IMAGE_2D.is_meta"])
    assert done.returncode == 0, done.stderr


def test_threads_enter_and_leave_in_any_order() -> None:
    fast, x, inside, left = FastConvolutions(), torch.randn(1, 32, 8, 8), threading.Event(), threading.Event()

    def first() -> bool:
        with fast:
            inside.set()
            left.wait(10)
            return is_winograd(nn.Conv2d(32, 32, 3)(x))

    def second() -> bool:
        inside.wait(10)
        with fast:
            left.set()
            return future.result() and is_winograd(nn.Conv2d(32, 32, 3)(x))

    with ThreadPoolExecutor(2) as pool:
        future = pool.submit(first)
        assert pool.submit(second).result()
    assert not is_winograd(nn.Conv2d(32, 32, 3)(x))


def test_winograd_pays_for_wide_networks_only() -> None:
    wide = nn.Conv2d(128, 256, 4)
    assert pays([nn.Identity(), nn.Sequential(nn.ReLU(), wide)])
    others = [nn.Conv2d(128, 64, 3), nn.Conv2d(128, 128, 3, stride=2), nn.Conv2d(128, 128, 1)]
    assert not pays([nn.Sequential(*others, nn.ConvTranspose2d(128, 128, 3))])


def test_unpad_is_the_transpose_of_pad() -> None:
    x = torch.randn(2, 3, 6, 5, dtype=torch.float64, requires_grad=True)
    for mode, amount in itertools.product(MODES, (0, 1, 2, 4)):
        bordered = pad(x, amount, mode)
        gradient = torch.randn_like(bordered).contiguous(memory_format=torch.channels_last)
        (expected,) = torch.autograd.grad(bordered, x, gradient)
        torch.testing.assert_close(unpad(gradient.clone(), amount, mode), expected)

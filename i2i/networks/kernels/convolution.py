"""Convolutions with borders, and faster ways to compute some of them on a CPU."""

import threading
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar, Token
from typing import Any

import torch
import torch.nn.functional as nnf
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from i2i.networks.blocks.padding import Padding, pad, unpad
from i2i.networks.kernels import products, winograd

WIDE = 128  # channels

_active: ContextVar["FastConvolutions | None"] = ContextVar("fast_convolutions", default=None)


def conv2d(x: Tensor, weight: Tensor, bias: Tensor | None, padding: int, mode: Padding) -> Tensor:
    """A convolution of stride 1 over an image with a border.

    Args:
        x: ``[N, C, H, W]``.
        weight: ``[K, C, h, w]``.
        bias: ``[K]``.
        padding: Width of the border.
        mode: Of the border.

    Returns:
        ``[N, K, H + 2 padding - h + 1, W + 2 padding - w + 1]``.
    """
    fast = _active.get()
    y = fast.conv2d(x, weight, bias, padding, mode) if fast is not None else None
    return nnf.conv2d(pad(x, padding, mode), weight, bias) if y is None else y


def active() -> AbstractContextManager[object]:
    """The convolutions that are active now, to be entered again where PyTorch leaves them for a while.

    It does so in ``Tensor.backward`` and ``torch.autograd.grad``, in which a forward may be computed again.
    """
    return _active.get() or nullcontext()


def pays(networks: Iterable[nn.Module]) -> bool:
    """Whether training these networks is faster with Winograd's algorithm, channels-last as it wants images to be.

    It is where there are wide convolutions, of 128 channels; the order costs narrow networks more than they gain.
    """
    modules = (module for network in networks for module in network.modules() if isinstance(module, nn.Conv2d))
    return any(
        conv.kernel_size in ((3, 3), (4, 4))
        and conv.stride == conv.dilation == (1, 1)
        and conv.groups == 1
        and min(conv.in_channels, conv.out_channels) >= WIDE
        for conv in modules
    )


class FastConvolutions(TorchFunctionMode):
    """Where it is entered, convolutions on a CPU take the fastest way known here, whoever calls them.

    The values are those of a direct convolution up to rounding: with Winograd's algorithm about ten times its errors in
    float32.

    Args:
        with_winograd: Whether 3x3 and 4x4 convolutions of stride 1 in float32 take it, and those with many weights for
            few pixels are products, whatever their stride and transposed ones, too.
    """

    def __init__(self, with_winograd: bool = True) -> None:
        super().__init__()
        self.with_winograd = with_winograd
        self._winograd = winograd.Winograd()
        self._entered = threading.local()  # a token belongs to the thread that made it

    def __enter__(self) -> "FastConvolutions":
        tokens: list[Token[FastConvolutions | None]] = self._entered.__dict__.setdefault("tokens", [])
        tokens.append(_active.set(self))
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        _active.reset(self._entered.tokens.pop())

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        y = None
        if func is torch.conv2d:
            y = self._conv2d(*args, **(kwargs or {}))
        elif func is torch.conv_transpose2d:
            y = self._conv_transpose2d(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {})) if y is None else y

    def _conv2d(
        self,
        input: Tensor,
        weight: Tensor,
        bias: Tensor | None = None,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
    ) -> Tensor | None:
        """The result of ``torch.conv2d`` with these arguments; ``None`` where there is no faster way than that."""
        steps = _pairs(stride, padding, dilation)
        if steps is None or groups != 1:
            return None
        stride, (rows, columns), dilation = steps
        if stride == dilation == (1, 1) and rows == columns:
            return self.conv2d(input, weight, bias, rows, "zero")
        if self._takes(input, weight, bias, len(weight)) and products.gains(input, weight, *steps):
            return products.convolve(input, weight, bias, *steps)
        return None

    def _conv_transpose2d(
        self,
        input: Tensor,
        weight: Tensor,
        bias: Tensor | None = None,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        groups: int = 1,
        dilation: Any = 1,
    ) -> Tensor | None:
        """As :meth:`_conv2d`, of ``torch.conv_transpose2d``."""
        steps = _pairs(stride, padding, output_padding, dilation)
        if steps is None or groups != 1 or not self._takes(input, weight, bias, weight.shape[1]):
            return None
        if not products.gains_transposed(input, weight, *steps):
            return None
        return products.convolve_transposed(input, weight, bias, *steps)

    def _takes(self, x: Tensor, weight: Tensor, bias: Tensor | None, channels: int) -> bool:
        """Whether ways in float32 are open to these, for a result of so many channels."""
        tensors = [x, weight] if bias is None else [x, weight, bias]
        return (
            self.with_winograd
            and all(one.device.type == "cpu" and one.dtype == torch.float32 for one in tensors)
            and x.ndim == weight.ndim == 4
            and (bias is None or bias.shape == (channels,))
        )

    def conv2d(self, x: Tensor, weight: Tensor, bias: Tensor | None, padding: int, mode: Padding) -> Tensor | None:
        """As the function of this name; ``None`` where there is no faster way than the direct one."""
        if x.device.type != "cpu" or x.dtype not in (torch.float32, torch.bfloat16) or x.ndim != 4:
            return None
        if self._takes(x, weight, bias, len(weight)):
            one, none, border = (1, 1), (0, 0), (padding, padding)
            if products.gains(x, weight, one, border, one):
                return products.convolve(pad(x, padding, mode), weight, bias, one, none, one)
            if winograd.gains(x, weight, padding):
                return self._winograd.convolve(x, weight, bias, padding, mode)
        if len(weight) <= 4 and weight.shape[1] >= winograd.MIN_CHANNELS and min(weight.shape[2:]) >= 3:
            dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype
            own_bias = None if bias is None else bias.to(dtype)
            y: Tensor = _Squares.apply(x.to(dtype), weight.to(dtype), own_bias, padding, mode)
            return y
        return None

    def release(self) -> None:
        """Gives the memory back that is kept while weights stay as they are."""
        self._winograd.release()


class _Squares(torch.autograd.Function):
    """Few channels of the result, such as an image's three, computed for 2x2 pixels at once: 12 fill the registers.

    Keeps the image without its border.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, padding: int, mode: Padding) -> Tensor:
        ctx.save_for_backward(x, weight, bias)
        ctx.padding, ctx.mode = padding, mode
        bordered = _even(pad(x, padding, mode), weight)
        values = nnf.conv2d(bordered, _shifted(weight), None if bias is None else bias.repeat_interleave(4), stride=2)
        height, width = (x.shape[dim] + 2 * padding - weight.shape[dim] + 1 for dim in (2, 3))
        return nnf.pixel_shuffle(values, 2)[:, :, :height, :width].clone(memory_format=torch.preserve_format)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, bias = ctx.saved_tensors
        needs = ctx.needs_input_grad[:3]
        if torch.is_grad_enabled():  # a gradient of this gradient is wanted
            found = winograd.differentiable(x, weight, bias, ctx.padding, ctx.mode, gradient, needs)
            return *found, None, None
        bordered = pad(x, ctx.padding, ctx.mode)
        odd = (0, gradient.shape[3] % 2, 0, gradient.shape[2] % 2)
        of_squares = nnf.pixel_unshuffle(nnf.pad(gradient, odd), 2).contiguous(memory_format=torch.channels_last)
        of_even, of_shifted, _ = torch.ops.aten.convolution_backward(
            *(of_squares, _even(bordered, weight), _shifted(weight), None, [2, 2], [0, 0], [1, 1], False, [0, 0], 1),
            [needs[0], needs[1], False],
        )
        of_x = of_weight = None
        if needs[0]:
            of_x = unpad(of_even[:, :, : bordered.shape[2], : bordered.shape[3]], ctx.padding, ctx.mode)
        if needs[1]:
            (rows, columns), places = weight.shape[2:], of_shifted.unflatten(0, (-1, 2, 2))
            parts = [places[:, i, j, :, i : i + rows, j : j + columns] for i, j in _PLACES]
            of_weight = torch.stack(parts).sum(0)
        return of_x, of_weight, gradient.sum((0, 2, 3)) if needs[2] else None, None, None


_PLACES = ((0, 0), (0, 1), (1, 0), (1, 1))  # of a pixel in its square


def _shifted(weight: Tensor) -> Tensor:
    """A kernel ``[K, C, h, w]`` for each pixel of a square, ``[4 K, C, h + 1, w + 1]``."""
    return torch.stack([nnf.pad(weight, (j, 1 - j, i, 1 - i)) for i, j in _PLACES], 1).flatten(0, 1)


def _even(bordered: Tensor, weight: Tensor) -> Tensor:
    """Adds zeros to an image until its result has even sides."""
    odd = [(bordered.shape[dim] - weight.shape[dim] + 1) % 2 for dim in (2, 3)]
    return nnf.pad(bordered, (0, odd[1], 0, odd[0])) if any(odd) else bordered


def _pairs(*values: Any) -> list[tuple[int, int]] | None:
    """What PyTorch takes for rows and columns, a number or a sequence of one or two; ``None`` where one is neither."""
    pairs = [tuple(value) if isinstance(value, tuple | list) else (value,) for value in values]
    if all(len(pair) in (1, 2) and all(isinstance(number, int) for number in pair) for pair in pairs):
        return [(pair[0], pair[-1]) for pair in pairs]
    return None

"""Convolutions with borders, and faster ways to compute some of them on a CPU."""

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar, Token
from typing import Any

import torch
import torch.nn.functional as nnf
from torch import Tensor
from torch.overrides import TorchFunctionMode

from i2i.networks import winograd
from i2i.networks.padding import Padding, pad

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


class FastConvolutions(TorchFunctionMode):
    """Where it is entered, convolutions on a CPU take the fastest way known here, whoever calls them.

    The values are those of a direct convolution up to rounding: with Winograd's algorithm about ten times its errors in
    float32.

    Args:
        with_winograd: Whether 3x3 and 4x4 convolutions in float32 take it.
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
        y = self._called(*args, **(kwargs or {})) if func is torch.conv2d else None
        return func(*args, **(kwargs or {})) if y is None else y

    def _called(
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
        paddings = _pair(padding)
        if groups != 1 or _pair(stride) != (1, 1) or _pair(dilation) != (1, 1) or paddings[0] != paddings[1]:
            return None
        return self.conv2d(input, weight, bias, paddings[0], "zero") if isinstance(paddings[0], int) else None

    def conv2d(self, x: Tensor, weight: Tensor, bias: Tensor | None, padding: int, mode: Padding) -> Tensor | None:
        """As the function of this name; ``None`` where there is no faster way than the direct one."""
        if x.device.type != "cpu" or x.dtype not in (torch.float32, torch.bfloat16) or x.ndim != 4:
            return None
        is_float32 = x.dtype == weight.dtype == torch.float32
        if self.with_winograd and is_float32 and winograd.gains(x, weight, padding):
            return self._winograd.convolve(x, weight, bias, padding, mode)
        if len(weight) <= 4 and weight.shape[1] >= winograd.MIN_CHANNELS and min(weight.shape[2:]) >= 3:
            return _by_squares(pad(x, padding, mode), weight, bias)
        return None

    def release(self) -> None:
        """Gives the memory back that is kept while weights stay as they are."""
        self._winograd.release()


def _by_squares(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Few channels of the result, such as an image's three, computed for 2x2 pixels at once: 12 fill the registers.

    Args:
        x: ``[N, C, H, W]``.
        weight: ``[K, C, h, w]``.
        bias: ``[K]``.
    """
    height, width = (size - kernel + 1 for size, kernel in zip(x.shape[2:], weight.shape[2:], strict=True))
    if height % 2 or width % 2:
        x = nnf.pad(x, (0, width % 2, 0, height % 2))
    shifted = [nnf.pad(weight, (right, 1 - right, below, 1 - below)) for below in (0, 1) for right in (0, 1)]
    squares = torch.stack(shifted, 1).flatten(0, 1)  # [4 K, C, h + 1, w + 1]
    values = nnf.conv2d(x, squares, None if bias is None else bias.repeat_interleave(4), stride=2)
    return nnf.pixel_shuffle(values, 2)[:, :, :height, :width]


def _pair(value: Any) -> tuple[Any, Any]:
    return tuple(value) if isinstance(value, tuple | list) and len(value) == 2 else (value, value)

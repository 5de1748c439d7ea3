"""The convolutions of a training step by themselves: a limit for any step that computes them like this."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

_FORWARD = torch.ops.aten.convolution.default
_BACKWARD = torch.ops.aten.convolution_backward.default
_BIAS = {_FORWARD: 2, _BACKWARD: 3}  # the place of the bias, or its shape: no part of the convolution


class Convolutions:
    """Notes the convolutions of a step, forward and backward, and repeats them with random numbers.

    Args:
        step: Takes the step, once.
        dtype: To repeat them in; the memory format is channels-last.
    """

    def __init__(self, step: Callable[[], None], dtype: torch.dtype) -> None:
        noted = _Notes()
        with noted:
            step()
        self._calls = [(key[0], _arguments(key, dtype, noted.device), count) for key, count in noted.counts.items()]

    def run(self) -> None:
        """Computes them all, without waiting for a GPU."""
        for function, arguments, count in self._calls:
            for _ in range(count):
                function(*arguments)


class _Notes(TorchDispatchMode):
    """Counts calls by function and arguments, tensors by their shapes."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[tuple[Any, ...]] = Counter()
        self.device = torch.device("cpu")

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in _BIAS:
            self.device = args[0].device
            self.counts[(func, *map(_frozen, args))] += 1
        return func(*args, **(kwargs or {}))


def _frozen(value: Any) -> Any:
    """An argument as part of a key."""
    if isinstance(value, Tensor):
        return value.shape
    return tuple(value) if isinstance(value, list) else value


def _arguments(key: tuple[Any, ...], dtype: torch.dtype, device: torch.device) -> list[Any]:
    function, *values = key
    arguments = [
        torch.randn(value, device=device).to(dtype, memory_format=torch.channels_last)
        if isinstance(value, torch.Size) and len(value) == 4
        else value
        for value in values
    ]
    arguments[_BIAS[function]] = None
    if function is _BACKWARD:
        arguments[-1] = [*arguments[-1][:2], False]
    return arguments

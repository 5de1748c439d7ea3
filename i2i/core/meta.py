"""Modules on torch's meta device, where tensors have shapes and neither memory nor numbers."""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from i2i.core.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor, nn

MAX_PARTS = 20_000  # modules and parameters; the largest networks that people train have some thousands


def on_meta(construct: Callable[[], Any]) -> Any:
    """Builds a module without memory; one that needs numbers while it is built is built on the CPU first.

    Args:
        construct: Builds it on torch's current device.

    Raises:
        ConfigError: As ``construct`` does.
        ValueError: As ``construct`` does, or it has more parts than :data:`MAX_PARTS`.
    """
    import torch

    with limited():
        try:
            with torch.device("meta"):
                return construct()
        except (ConfigError, ValueError):
            raise
        except Exception as error:  # a plugin's constructor may raise anything
            if "overflow" in str(error):  # of a size: what has none here has none elsewhere
                raise
        return construct().to("meta")


def filled(network: "nn.Module", construct: "Callable[[], nn.Module]", state: "Mapping[str, Tensor]") -> "nn.Module":
    """Gives a module its weights.

    Args:
        network: As :func:`on_meta` builds it; it takes the tensors themselves.
        construct: Builds it anew where it has buffers that are computed and not saved, which are then copied into.
        state: Its ``state_dict``.

    Raises:
        RuntimeError: The weights do not fit.
    """
    network.load_state_dict(state, assign=True)
    if any(tensor.is_meta for tensor in (*network.parameters(), *network.buffers())):
        network = construct()
        network.load_state_dict(state)
    return network


@contextmanager
def limited(values: float = math.inf) -> Iterator[None]:
    """Ends the construction of a module by a ``ValueError`` once it is larger than it may be.

    A layer's weights are counted before they are initialised, which is when they would take memory.

    Args:
        values: How many its weights and buffers may have, all in all; layers and weights are at most :data:`MAX_PARTS`.
    """
    from torch.nn import parameter
    from torch.nn.modules import module as hooks

    parts, left = 0, values

    def count(_owner: Any, _name: str, part: Any) -> None:
        nonlocal parts, left
        parts += 1
        if parts > MAX_PARTS:
            raise ValueError(f"more than {MAX_PARTS:,} layers and weights, so it is not built")
        if hasattr(part, "numel") and not parameter.is_lazy(part):
            left -= part.numel()
            if left < 0:
                raise ValueError(f"more than {values:,} numbers in its layers, so it is not built")

    registered = [
        hooks.register_module_module_registration_hook(count),
        hooks.register_module_parameter_registration_hook(count),
        hooks.register_module_buffer_registration_hook(count),
    ]
    try:
        yield
    finally:
        for hook in registered:
            hook.remove()


def weight_bytes(*modules: "nn.Module") -> int:
    """Returns the memory that the weights of modules take, on whatever device they are."""
    return sum(tensor.nbytes for module in modules for tensor in (*module.parameters(), *module.buffers()))

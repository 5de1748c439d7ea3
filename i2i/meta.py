"""Modules on torch's meta device, where tensors have shapes and neither memory nor numbers."""

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from i2i.errors import ConfigError

if TYPE_CHECKING:
    from torch import nn

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

    with _counted_parts():
        try:
            with torch.device("meta"):
                return construct()
        except (ConfigError, ValueError):
            raise
        except Exception as error:  # a plugin's constructor may raise anything
            if "overflow" in str(error):  # of a size: what has none here has none elsewhere
                raise
        return construct().to("meta")


@contextmanager
def _counted_parts() -> Iterator[None]:
    """Ends the construction of a module by a ``ValueError`` once it has more parts than any network is made of."""
    from torch.nn.modules.module import (
        register_module_module_registration_hook,
        register_module_parameter_registration_hook,
    )

    counter = itertools.count(1)

    def count(*_: Any) -> None:
        if next(counter) > MAX_PARTS:
            raise ValueError(f"more than {MAX_PARTS:,} layers and weights, so it is not built")

    hooks = [register_module_module_registration_hook(count), register_module_parameter_registration_hook(count)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def weight_bytes(*modules: "nn.Module") -> int:
    """Returns the memory that the weights of modules take, on whatever device they are."""
    return sum(tensor.nbytes for module in modules for tensor in (*module.parameters(), *module.buffers()))

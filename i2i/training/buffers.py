"""Buffers of networks at a moment: running statistics, vectors of spectral norms, whatever a forward writes."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import torch
from torch import Tensor, nn


class Snapshot:
    """The buffers of a module as they are now.

    Putting them back replaces tensors and never writes into them: a graph that still needs the newer ones keeps them.

    Args:
        module: Whose.
    """

    def __init__(self, module: nn.Module) -> None:
        self._values = [
            (part, name, buffer.clone())
            for part in module.modules()
            for name, buffer in part._buffers.items()
            if buffer is not None
        ]

    def restore(self) -> None:
        """Puts the buffers back."""
        for part, name, value in self._values:
            part._buffers[name] = value

    def restore_where(self, condition: Tensor) -> None:
        """Puts the buffers back if a flag on their device is not zero, without waiting for it."""
        for part, name, value in self._values:
            part._buffers[name] = torch.where(condition.bool(), value, cast(Tensor, part._buffers[name]))

    @contextmanager
    def replayed(self) -> Iterator[None]:
        """Lets a forward start from these buffers, and forgets what it makes of them."""
        now: list[tuple[nn.Module, str, Tensor | None]] = []
        for part, name, value in self._values:
            now.append((part, name, part._buffers[name]))
            part._buffers[name] = value.clone()
        try:
            yield
        finally:
            for part, name, buffer in now:
                part._buffers[name] = buffer

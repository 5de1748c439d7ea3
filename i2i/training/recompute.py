"""Memory for time: activations that are computed again for the backward pass instead of being kept.

Chen et al., "Training Deep Nets with Sublinear Memory Cost" (2016).
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, nullcontext
from functools import partial
from types import TracebackType
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from i2i.networks.kernels.convolution import active
from i2i.training.buffers import Snapshot


def checkpoint_gradients(network: nn.Module) -> None:
    """Makes a network keep only what enters its blocks, and compute the rest again.

    The blocks are the items of its innermost ``nn.ModuleList``, or else of its outermost ``nn.Sequential``; a network
    without either is one block. The results are the same, bit for bit.
    """
    for block in list(_listed(network)) or list(_chained(network)) or [network]:
        block.forward = partial(_checkpointed, block, block.forward)


def _listed(module: nn.Module) -> Iterator[nn.Module]:
    for child in module.children():
        if not isinstance(child, nn.ModuleList):
            yield from _listed(child)
            continue
        for item in child:
            inner = list(_listed(item))
            yield from inner or [item]


def _chained(module: nn.Module) -> Iterator[nn.Module]:
    for child in module.children():
        if isinstance(child, nn.Sequential):
            yield from child
        else:
            yield from _chained(child)


def _checkpointed(block: nn.Module, forward: Callable[..., Any], *inputs: Any, **options: Any) -> Any:
    if not torch.is_grad_enabled():
        return forward(*inputs, **options)
    before, convolutions = Snapshot(block), active()

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), _Replay(before, convolutions)

    return checkpoint(forward, *inputs, use_reentrant=False, context_fn=contexts, **options)


class _Replay(AbstractContextManager[None]):
    """Buffers and convolutions as they were, which a gradient of a gradient enters more than once."""

    def __init__(self, snapshot: Snapshot, convolutions: AbstractContextManager[object]) -> None:
        self._snapshot, self._convolutions = snapshot, convolutions
        self._entered: list[ExitStack] = []

    def __enter__(self) -> None:
        self._entered.append(ExitStack())
        self._entered[-1].enter_context(self._snapshot.replayed())
        self._entered[-1].enter_context(self._convolutions)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._entered.pop().__exit__(kind, error, trace)

"""Memory for time: activations that are computed again for the backward pass instead of being kept.

Chen et al., "Training Deep Nets with Sublinear Memory Cost" (2016).
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint


def checkpoint_gradients(network: nn.Module) -> None:
    """Makes a network keep only what enters its blocks, and compute the rest again.

    The blocks are the items of its outermost ``nn.ModuleList`` and ``nn.Sequential``; a network without any is one
    block. The results are the same, bit for bit.
    """
    for block in list(_blocks(network)) or [network]:
        block.forward = partial(_checkpointed, block, block.forward)


def _blocks(module: nn.Module) -> Iterator[nn.Module]:
    for child in module.children():
        if isinstance(child, nn.ModuleList | nn.Sequential):
            yield from child
        else:
            yield from _blocks(child)


def _checkpointed(block: nn.Module, forward: Callable[..., Any], *inputs: Any, **options: Any) -> Any:
    if not torch.is_grad_enabled():
        return forward(*inputs, **options)

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), still_statistics(block)

    return checkpoint(forward, *inputs, use_reentrant=False, context_fn=contexts, **options)


@contextmanager
def still_statistics(module: nn.Module, still: bool = True) -> Iterator[None]:
    """Keeps running statistics of batch normalisation as they are while images pass a second time."""
    norms = [part for part in module.modules() if isinstance(part, _BatchNorm)] if still else []
    before = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum, norm.num_batches_tracked = 0.0, None
    try:
        yield
    finally:
        for norm, (momentum, count) in zip(norms, before, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, count

"""Logits and feature maps of discriminators, one or a list."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor


def logits_of(output: Tensor | Sequence[Tensor]) -> list[Tensor]:
    """Returns a list: a discriminator gives logits or a list of them, one a scale."""
    return [output] if isinstance(output, Tensor) else list(output)


def mean_over_maps(
    loss: Callable[[Tensor, Tensor], Tensor], maps: Sequence[Tensor], targets: Sequence[Tensor]
) -> Tensor:
    """Compares lists of feature maps; each map counts the same."""
    return torch.stack([loss(one, target) for one, target in zip(maps, targets, strict=True)]).mean()


def accuracy(real: Any, fake: Any, boundary: float) -> dict[str, Tensor]:
    """Returns the shares of logits on the right side of a loss's boundary: near 0.5 D guesses, near 1 it has won."""
    return {
        "real": torch.cat([(logits > boundary).float().flatten() for logits in logits_of(real)]).mean(),
        "fake": torch.cat([(logits < boundary).float().flatten() for logits in logits_of(fake)]).mean(),
    }

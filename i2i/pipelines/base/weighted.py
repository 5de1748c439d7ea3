"""The losses that play one role."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn


def family_of(loss: Any) -> str:
    """Returns the family of a loss, a class or an object: the one that it names, or what its methods say."""
    named: str | None = getattr(loss, "family", None)
    return named or ("adversarial" if hasattr(loss, "discriminator") else "pairwise")


class WeightedLosses(nn.Module):
    """The losses that play one role, as one loss: the sum of each times its weight.

    Args:
        losses: Losses of one family.
        weights: One a loss.
    """

    def __init__(self, losses: Sequence[nn.Module], weights: Sequence[float]) -> None:
        super().__init__()
        self.losses = nn.ModuleList(losses)
        self.weights = tuple(weights)

    def forward(self, *arguments: Any) -> Tensor:
        """Returns the weighted sum; a pairwise loss takes prediction and target."""
        return self._sum(lambda loss: loss(*arguments))

    def generator(self, fake: Any, real: Any = None) -> Tensor:
        """Returns what the generator descends, of logits or lists of logits."""
        return self._sum(lambda loss: loss.generator(fake, real))

    def discriminator(self, real: Any, fake: Any) -> Tensor:
        """Returns what the discriminator descends, of logits or lists of logits."""
        return self._sum(lambda loss: loss.discriminator(real, fake))

    def penalty(self, discriminator: Callable[[Tensor], Any], real: Tensor, fake: Tensor) -> Tensor | None:
        """Returns the sum of the penalties, or ``None`` where no loss has one."""
        penalties = []
        for loss, weight in zip(self.losses, self.weights, strict=True):
            penalty: Callable[..., Tensor | None] | None = getattr(loss, "penalty", None)
            value = penalty(discriminator, real, fake) if penalty is not None else None
            if value is not None:
                penalties.append(weight * value)
        return torch.stack(penalties).sum() if penalties else None

    @property
    def has_penalty(self) -> bool:
        """Whether a loss may have a penalty, which differentiates the discriminator's gradient."""
        found = [loss for loss in self.losses if getattr(loss, "penalty", None) is not None]
        return any(getattr(loss, "has_penalty", True) for loss in found)

    @property
    def boundary(self) -> float:
        """The logit between real and fake of the first loss; 0 where it names none."""
        boundary: float = getattr(self.losses[0], "boundary", 0.0)
        return boundary

    def _sum(self, evaluate: Callable[[Any], Tensor]) -> Tensor:
        values = [weight * evaluate(loss) for loss, weight in zip(self.losses, self.weights, strict=True)]
        return torch.stack(values).sum()

"""How fast a moving average of weights forgets."""

from dataclasses import dataclass


@dataclass(frozen=True)
class StepDecay:
    """A decay a step: of step ``t`` (from 0) it is ``min(decay, (1 + t) / (10 + t))``.

    A short run's average is so not that of its initial weights.

    Attributes:
        decay: In [0, 1).
    """

    decay: float

    def at(self, step: int, images: int, batch_size: int) -> float:
        """Returns the decay of a step."""
        return min(self.decay, (1 + step) / (10 + step))


@dataclass(frozen=True)
class ImageDecay:
    """A half-life in images (StyleGAN2-ADA, Karras et al. 2020, arXiv:2006.06676, appendix C).

    Attributes:
        half_life: Images after which weights count half.
        ramp_up: The half-life is at most this share of the images seen so far; ``None`` for no limit.
    """

    half_life: float
    ramp_up: float | None = None

    def at(self, step: int, images: int, batch_size: int) -> float:
        """Returns the decay of a step that follows so many images."""
        half_life = self.half_life
        if self.ramp_up is not None:
            half_life = min(half_life, images * self.ramp_up)
        return float(0.5 ** (batch_size / max(half_life, 1e-8)))

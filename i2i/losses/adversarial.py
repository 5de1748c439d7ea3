"""The two-player losses of generative adversarial networks.

Each is written as three means over the logits of one map: of a real image for the discriminator, of a fake for the
discriminator, of a fake for the generator. The discriminator's loss is the sum of its two, not halved; a pipeline
whose paper halves it (pix2pix, CycleGAN) does so itself. Where a discriminator returns several maps, each counts the
same.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import ClassVar

import torch
import torch.nn.functional as nnf
from torch import Tensor, nn

from i2i.core.numerics import full_precision
from i2i.losses.penalties import Discriminator, gradient_penalty, r1_penalty

Logits = Tensor | Sequence[Tensor]


def _mean_over_maps(loss: Callable[[Tensor], Tensor], logits: Logits) -> Tensor:
    maps = [logits] if isinstance(logits, Tensor) else logits
    return torch.stack([loss(full_precision(values)) for values in maps]).mean()


class AdversarialLoss(nn.Module, ABC):
    """Base of the adversarial losses. All logits are ``[N, 1, h, w]``, or a list of such; all results scalars."""

    family: ClassVar[str] = "adversarial"

    @property
    def has_penalty(self) -> bool:
        """Whether ``penalty`` returns a value rather than None; known before the first image."""
        return False

    @abstractmethod
    def on_real(self, logits: Tensor) -> Tensor:
        """The discriminator's loss on the logits of real images, one map."""

    @abstractmethod
    def on_fake(self, logits: Tensor) -> Tensor:
        """The discriminator's loss on the logits of fakes, one map."""

    @abstractmethod
    def on_fooling(self, logits: Tensor) -> Tensor:
        """The generator's loss on the logits of its fakes, one map."""

    def generator(self, fake: Logits, real: Logits | None = None) -> Tensor:
        """The generator's loss.

        Args:
            fake: Logits of fakes, with gradient to the generator.
            real: Logits of real images, for losses that compare the two; unused by those here.
        """
        return _mean_over_maps(self.on_fooling, fake)

    def discriminator(self, real: Logits, fake: Logits) -> Tensor:
        """The discriminator's loss, the sum of its two parts.

        Args:
            real: Logits of real images.
            fake: Logits of fakes that carry no gradient to the generator.
        """
        return _mean_over_maps(self.on_real, real) + _mean_over_maps(self.on_fake, fake)

    def penalty(self, D: Discriminator, real: Tensor, fake: Tensor) -> Tensor | None:
        """The regulariser of the discriminator, already weighted; None where there is none.

        Differentiates through D twice, which ``torch.compile`` does not support.

        Args:
            D: Maps images to logits.
            real: Real images ``[N, C, H, W]``.
            fake: Fakes of the same shape.
        """
        return None


class Vanilla(AdversarialLoss):
    """Binary cross-entropy on logits, with the generator's non-saturating form.

    Goodfellow et al., "Generative Adversarial Nets" (2014), equation 1 and section 3: D maximises
    ``log s(D(x)) + log(1 - s(D(G(z))))`` with the sigmoid s, G maximises ``log s(D(G(z)))``.

    Args:
        real_label: D's target for real images; 0.9 is the one-sided smoothing of Salimans et al. (2016).
        fake_label: D's target for fakes. The generator always aims at 1.

    Raises:
        ValueError: If a label is not in [0, 1].
    """

    def __init__(self, real_label: float = 1.0, fake_label: float = 0.0) -> None:
        super().__init__()
        for name, label in (("real_label", real_label), ("fake_label", fake_label)):
            if not 0 <= label <= 1:
                raise ValueError(f"{name} must be between 0 and 1, got {label}")
        self.real_label = real_label
        self.fake_label = fake_label

    def on_real(self, logits: Tensor) -> Tensor:
        return nnf.binary_cross_entropy_with_logits(logits, torch.full_like(logits, self.real_label))

    def on_fake(self, logits: Tensor) -> Tensor:
        return nnf.binary_cross_entropy_with_logits(logits, torch.full_like(logits, self.fake_label))

    def on_fooling(self, logits: Tensor) -> Tensor:
        return nnf.softplus(-logits).mean()


class LSGAN(AdversarialLoss):
    """Least squares: D minimises ``(D(x) - b)^2 + (D(G(z)) - a)^2``, G minimises ``(D(G(z)) - b)^2``.

    Mao et al., "Least Squares Generative Adversarial Networks" (2017), equation 9 (c = b), without the paper's
    factors 1/2.

    Args:
        real_label: b, the target for real images and the generator's aim.
        fake_label: a, the target for fakes.
    """

    def __init__(self, real_label: float = 1.0, fake_label: float = 0.0) -> None:
        super().__init__()
        self.real_label = real_label
        self.fake_label = fake_label

    @property
    def boundary(self) -> float:
        """The logit half-way between real and fake."""
        return (self.real_label + self.fake_label) / 2

    def on_real(self, logits: Tensor) -> Tensor:
        return (logits - self.real_label).square().mean()

    def on_fake(self, logits: Tensor) -> Tensor:
        return (logits - self.fake_label).square().mean()

    def on_fooling(self, logits: Tensor) -> Tensor:
        return (logits - self.real_label).square().mean()


class Hinge(AdversarialLoss):
    """Hinge: D minimises ``max(0, 1 - D(x)) + max(0, 1 + D(G(z)))``, G minimises ``-D(G(z))``.

    Lim and Ye, "Geometric GAN" (2017); Miyato et al., "Spectral Normalization for Generative Adversarial Networks"
    (2018), equations 16 and 17.
    """

    def on_real(self, logits: Tensor) -> Tensor:
        return nnf.relu(1 - logits).mean()

    def on_fake(self, logits: Tensor) -> Tensor:
        return nnf.relu(1 + logits).mean()

    def on_fooling(self, logits: Tensor) -> Tensor:
        return -logits.mean()


class NonSaturating(AdversarialLoss):
    """The non-saturating logistic loss of StyleGAN, with the R1 penalty where asked for.

    With softplus f: D minimises ``f(-D(x)) + f(D(G(z)))``, G minimises ``f(-D(G(z)))``; the same values as
    ``Vanilla`` with plain labels. The penalty is ``gamma / 2 * E |grad D(x)|^2`` on real images: Mescheder et al.,
    "Which Training Methods for GANs do actually Converge?" (2018), equation 9.

    Args:
        r1: gamma; zero is no penalty.

    Raises:
        ValueError: If ``r1`` is negative.
    """

    def __init__(self, r1: float = 0.0) -> None:
        super().__init__()
        if not r1 >= 0:
            raise ValueError(f"r1 must be at least 0, got {r1}")
        self.r1 = r1

    @property
    def has_penalty(self) -> bool:
        return self.r1 > 0

    def on_real(self, logits: Tensor) -> Tensor:
        return nnf.softplus(-logits).mean()

    def on_fake(self, logits: Tensor) -> Tensor:
        return nnf.softplus(logits).mean()

    def on_fooling(self, logits: Tensor) -> Tensor:
        return nnf.softplus(-logits).mean()

    def penalty(self, D: Discriminator, real: Tensor, fake: Tensor) -> Tensor | None:
        return self.r1 / 2 * r1_penalty(D, real) if self.has_penalty else None


class WGAN(AdversarialLoss):
    """Wasserstein: D minimises ``D(G(z)) - D(x)``, G minimises ``-D(G(z))``.

    A gradient penalty keeps D near 1-Lipschitz. Arjovsky et al., "Wasserstein GAN" (2017); penalty of Gulrajani et al.,
    "Improved Training of Wasserstein GANs" (2017), equation 3; drift term of Karras et al., "Progressive Growing of
    GANs" (2018), appendix A.1.

    Args:
        gradient_penalty: lambda of ``lambda * E (|grad D(x')| - 1)^2`` on points x' between real and fake; zero is
            none.
        drift: epsilon of ``epsilon * E D(x)^2``, part of the discriminator's loss, which keeps its values near zero;
            ProGAN has 0.001.

    Raises:
        ValueError: If an argument is negative.
    """

    def __init__(self, gradient_penalty: float = 10.0, drift: float = 0.0) -> None:
        super().__init__()
        for name, value in (("gradient_penalty", gradient_penalty), ("drift", drift)):
            if not value >= 0:
                raise ValueError(f"{name} must be at least 0, got {value}")
        self.gradient_penalty = gradient_penalty
        self.drift = drift

    @property
    def has_penalty(self) -> bool:
        return self.gradient_penalty > 0

    def on_real(self, logits: Tensor) -> Tensor:
        return self.drift * logits.square().mean() - logits.mean()

    def on_fake(self, logits: Tensor) -> Tensor:
        return logits.mean()

    def on_fooling(self, logits: Tensor) -> Tensor:
        return -logits.mean()

    def penalty(self, D: Discriminator, real: Tensor, fake: Tensor) -> Tensor | None:
        return self.gradient_penalty * gradient_penalty(D, real, fake) if self.has_penalty else None

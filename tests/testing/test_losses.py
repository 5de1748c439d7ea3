"""check_loss and check_adversarial_loss pass sound classes and name the clause that a broken one breaks."""

import pytest
import torch
import torch.nn.functional as nnf
from torch import Tensor, nn

from i2i.testing import check_adversarial_loss, check_loss


class Distance(nn.Module):
    def forward(self, prediction, target):
        return (prediction.float() - target.float()).abs().mean()


class Summed(nn.Module):
    def forward(self, prediction, target):
        return (prediction - target).abs().sum()


class PerImage(nn.Module):
    def forward(self, prediction, target):
        return (prediction - target).abs().mean((1, 2, 3))


class RootAtZero(nn.Module):
    def forward(self, prediction, target):
        return (prediction.float() - target.float()).square().mean().sqrt()


class Detached(nn.Module):
    def forward(self, prediction, target):
        return (prediction.detach() - target).abs().mean()


class Inverted(nn.Module):
    def forward(self, prediction, target):
        return -(prediction - target).abs().mean()


class Weighted(Distance):
    def __init__(self, weight: float = 1.0) -> None:
        super().__init__()


class Overwrites(nn.Module):
    def forward(self, prediction, target):
        return (target.sub_(prediction.detach()) - prediction).abs().mean()


class Whole(nn.Module):
    def forward(self, prediction, target):
        return (prediction == target).sum()


def test_a_sound_loss_passes():
    check_loss(Distance)


@pytest.mark.parametrize(
    ("component", "clause"),
    [
        (Summed, "take the mean over the batch"),
        (PerImage, r"loss\(prediction, target\) gives torch.float32 of shape \[2\], expected one floating-point"),
        (RootAtZero, "the gradient is not finite where prediction and target agree"),
        (Detached, "gives a value without gradient"),
        (Inverted, "prefers a wrong prediction"),
        (Weighted, "names an argument 'weight'"),
        (Overwrites, "the same images give another value|changes the images"),
        (Whole, "gives torch.int64 of shape"),
    ],
)
def test_a_broken_loss_is_told_what_is_broken(component, clause):
    with pytest.raises(AssertionError, match=rf"^{component.__name__}: .*{clause}"):
        check_loss(component)


def _mean(function, logits):
    maps = [logits] if isinstance(logits, Tensor) else logits
    return torch.stack([function(values) for values in maps]).mean()


class Adversary(nn.Module):
    def generator(self, fake, real=None):
        return _mean(lambda logits: nnf.softplus(-logits).mean(), fake)

    def discriminator(self, real, fake):
        right = _mean(lambda logits: nnf.softplus(-logits).mean(), real)
        return right + _mean(lambda logits: nnf.softplus(logits).mean(), fake)


class Relativistic(Adversary):
    """Compares with the real logits where it has them."""

    def generator(self, fake, real=None):
        if real is None:
            return super().generator(fake)
        pairs = [(fake, real)] if isinstance(fake, Tensor) else zip(fake, real, strict=True)
        return torch.stack([nnf.softplus(right.mean() - wrong).mean() for wrong, right in pairs]).mean()


class OneSided(Adversary):
    def discriminator(self, real, fake):
        return self.generator(real)


class TakesNoList(Adversary):
    def generator(self, fake, real=None):
        return nnf.softplus(-fake).mean()


class SumsMaps(Adversary):
    def generator(self, fake, real=None):
        return super().generator(fake) * (1 if isinstance(fake, Tensor) else len(fake))


class SumsBatch(Adversary):
    def generator(self, fake, real=None):
        return super().generator(fake) * (len(fake) if isinstance(fake, Tensor) else len(fake[0]))


class Swapped(Adversary):
    def discriminator(self, real, fake):
        return super().discriminator(fake, real)


class WithoutPlayer(nn.Module):
    def generator(self, fake, real=None):
        return fake.mean()


class IdlePenalty(Adversary):
    def penalty(self, D, real, fake):
        return D(real).detach().mean()


class Penalty(Adversary):
    def penalty(self, D, real, fake):
        real = real.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(D(real).sum(), real, create_graph=True)
        return gradient.square().mean()


def test_sound_adversarial_losses_pass():
    for component in (Adversary, Relativistic, Penalty):
        check_adversarial_loss(component)


@pytest.mark.parametrize(
    ("component", "clause"),
    [
        (OneSided, r"descending discriminator\(real, fake\) does not lower the fake logits"),
        (TakesNoList, r"generator\(fake, real\) fails on lists of logits"),
        (SumsMaps, r"generator\(fake, real\) of the same map twice differs"),
        (SumsBatch, r"generator\(fake, real\) of every image twice differs"),
        (Swapped, r"descending discriminator\(real, fake\) does not raise the real logits"),
        (WithoutPlayer, "has no method 'discriminator'"),
        (IdlePenalty, r"penalty\(D, real, fake\) gives no gradient to D"),
    ],
)
def test_a_broken_adversarial_loss_is_told_what_is_broken(component, clause):
    with pytest.raises(AssertionError, match=rf"^{component.__name__}: .*{clause}"):
        check_adversarial_loss(component)

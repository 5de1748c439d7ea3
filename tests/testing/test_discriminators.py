"""check_discriminator passes a sound class and names the clause that a broken one breaks."""

import pytest
import torch
import torch.nn.functional as nnf
from torch import nn

from i2i.testing import check_discriminator


class Judge(nn.Module):
    """A sound discriminator."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(in_channels, 4, 4, 2, 1), nn.SiLU(), nn.Conv2d(4, 1, 4, 2, 1))

    def forward(self, x):
        return self.layers(x)


class Scales(Judge):
    def forward(self, x):
        return [self.layers(x), self.layers(nnf.avg_pool2d(x, 2))]


class LosesBatch(Judge):
    def forward(self, x):
        return self.layers(x).mean().reshape(1)


class GivesDict(Judge):
    def forward(self, x):
        return {"logits": self.layers(x)}


class DishonestJudge(Judge):
    min_size = 1


class OnceDifferentiable(Judge):
    def forward(self, x):
        return self.layers(_Double.apply(x))


class _Double(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return 2 * x

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient):
        return 2 * gradient


class BlindJudge(Judge):
    def forward(self, x):
        return self.layers(x.detach())


def test_sound_discriminators_pass():
    check_discriminator(Judge)
    check_discriminator(Scales)


@pytest.mark.parametrize(
    ("component", "clause"),
    [
        (LosesBatch, r"gives logits of shape \[1\] for 2 images of 64 pixels"),
        (GivesDict, "gives dict, expected a tensor of logits or a list of them"),
        (DishonestJudge, "fails on images of its min_size of 1 pixels"),
        (OnceDifferentiable, "cannot be differentiated again"),
        (BlindJudge, "its gradient cannot be differentiated again|no gradient reaches the images"),
    ],
)
def test_a_broken_discriminator_is_told_what_is_broken(component, clause):
    with pytest.raises(AssertionError, match=rf"^{component.__name__}: .*{clause}"):
        check_discriminator(component)

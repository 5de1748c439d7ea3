"""Losses that look at the prediction alone."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from i2i.core.numerics import full_precision


class TotalVariation(nn.Module):
    """Mean absolute difference of neighbours, rows and columns added: the anisotropic form of total variation.

    Rudin et al., "Nonlinear Total Variation Based Noise Removal Algorithms" (1992), with the sum of the two directions
    in place of the length of the gradient, which has no derivative where the image is flat. It discourages noise and
    checkerboards and keeps edges.
    """

    family: ClassVar[str] = "pairwise"

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Measures an image.

        Args:
            prediction: ``[N, C, H, W]``, any range.
            target: Ignored: a role of the pipeline hands its losses two images.

        Returns:
            A scalar, at least float32.
        """
        x = full_precision(prediction)
        steps = (x.diff(dim=2), x.diff(dim=3))
        # An image of one row has no neighbours above and below.
        return torch.stack([step.abs().sum() / max(step.numel(), 1) for step in steps]).sum()

"""Pixelwise distances between two images, each a mean over all values."""

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
import torch.nn.functional as nnf
from torch import Tensor, nn

from i2i.core.numerics import full_precision


class PixelLoss(nn.Module, ABC):
    """Base of the pixelwise losses: the mean of a function of each difference."""

    family: ClassVar[str] = "pairwise"

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Compares two images.

        Args:
            prediction: ``[N, C, H, W]``, any range.
            target: Of the same shape.

        Returns:
            A scalar, at least float32.

        Raises:
            ValueError: If the shapes differ, which arithmetic would silently broadcast.
        """
        if prediction.shape != target.shape:
            raise ValueError(f"prediction is {list(prediction.shape)}, target {list(target.shape)}: shapes must agree")
        return self.distance(full_precision(prediction), full_precision(target))

    @abstractmethod
    def distance(self, prediction: Tensor, target: Tensor) -> Tensor:
        """The mean distance of two tensors of one shape and at least float32."""


class L1(PixelLoss):
    """Mean absolute difference, ``mean |p - t|``; the reconstruction loss of pix2pix and CycleGAN."""

    def distance(self, prediction: Tensor, target: Tensor) -> Tensor:
        return nnf.l1_loss(prediction, target)


class L2(PixelLoss):
    """Mean squared difference, ``mean (p - t)^2``."""

    def distance(self, prediction: Tensor, target: Tensor) -> Tensor:
        return nnf.mse_loss(prediction, target)


class SmoothL1(PixelLoss):
    """Squared near zero, absolute beyond: ``mean d^2 / (2 beta)`` where ``|d| < beta``, else ``|d| - beta / 2``.

    Girshick, "Fast R-CNN" (2015), equation 3.

    Args:
        beta: Where the two forms meet.

    Raises:
        ValueError: If ``beta`` is not positive.
    """

    def __init__(self, beta: float = 1.0) -> None:
        super().__init__()
        if not beta > 0:
            raise ValueError(f"beta must be greater than 0, got {beta}")
        self.beta = beta

    def distance(self, prediction: Tensor, target: Tensor) -> Tensor:
        return nnf.smooth_l1_loss(prediction, target, beta=self.beta)


class Charbonnier(PixelLoss):
    """An absolute difference that is smooth at zero, ``mean sqrt((p - t)^2 + eps^2)``.

    Charbonnier et al. (1994); in the form and with the ``eps`` of Lai et al., "Deep Laplacian Pyramid Networks for
    Fast and Accurate Super-Resolution" (2017), section 3.2.

    Args:
        eps: Width of the smooth part, and the value of the loss at zero difference.

    Raises:
        ValueError: If ``eps`` is not positive.
    """

    def __init__(self, eps: float = 1e-3) -> None:
        super().__init__()
        if not eps > 0:
            raise ValueError(f"eps must be greater than 0, got {eps}")
        self.eps = eps

    def distance(self, prediction: Tensor, target: Tensor) -> Tensor:
        return torch.sqrt((prediction - target).square() + self.eps**2).mean()

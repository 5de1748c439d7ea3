"""Structural similarity as a loss.

Wang et al., "Image Quality Assessment: From Error Visibility to Structural Similarity" (2004), section III.
"""

from typing import ClassVar

import torch
import torch.nn.functional as nnf
from torch import Tensor, nn

from i2i.core.numerics import full_precision, without_autocast

_RANGE = 2.0  # of images in [-1, 1]


class SSIM(nn.Module):
    """One minus the structural similarity, averaged over pixels and channels: 0 for equal images, at most 2.

    Equation 13 with a Gaussian window, for images in [-1, 1]. Windows lie wholly inside the image.

    Args:
        window_size: Height and width of the window; the paper's is 11.
        sigma: Its standard deviation in pixels.
        k1: Constant of the luminance term.
        k2: Constant of the contrast term.

    Raises:
        ValueError: If an argument is out of range.
    """

    family: ClassVar[str] = "pairwise"

    window: Tensor

    def __init__(self, window_size: int = 11, sigma: float = 1.5, k1: float = 0.01, k2: float = 0.03) -> None:
        super().__init__()
        if window_size < 1 or window_size % 2 == 0:
            raise ValueError(f"window_size must be odd and at least 1, got {window_size}")
        for name, value in (("sigma", sigma), ("k1", k1), ("k2", k2)):
            if not value > 0:
                raise ValueError(f"{name} must be greater than 0, got {value}")
        self.window_size = window_size
        self.c1, self.c2 = (k1 * _RANGE) ** 2, (k2 * _RANGE) ** 2
        offsets = torch.arange(window_size, dtype=torch.float64) - window_size // 2
        window = torch.exp(-(offsets**2) / (2 * sigma**2))
        self.window = window / window.sum()  # no buffer: float64 has no place on every device

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Compares two images.

        Args:
            prediction: ``[N, C, H, W]`` in [-1, 1]; H and W at least ``window_size``.
            target: Of the same shape.

        Returns:
            A scalar in [0, 2], at least float32.

        Raises:
            ValueError: If the shapes differ, or the images are smaller than the window.
        """
        if prediction.shape != target.shape:
            raise ValueError(f"prediction is {list(prediction.shape)}, target {list(target.shape)}: shapes must agree")
        if min(prediction.shape[2:]) < self.window_size:
            height, width = prediction.shape[2:]
            raise ValueError(f"images of {height}x{width} are smaller than the window of {self.window_size} of ssim")
        # From 0 to 2: the luminance term compares means, and means nothing where black is below zero.
        x, y = full_precision(prediction) + 1, full_precision(target) + 1
        with without_autocast(x):
            mean_x, mean_y, square_x, square_y, product = self._blurred(x, y, x * x, y * y, x * y)
        variances = square_x - mean_x**2 + square_y - mean_y**2
        covariance = product - mean_x * mean_y
        luminance = (2 * mean_x * mean_y + self.c1) / (mean_x**2 + mean_y**2 + self.c1)
        return 1 - (luminance * (2 * covariance + self.c2) / (variances + self.c2)).mean()  # eq. 13

    def _blurred(self, *images: Tensor) -> tuple[Tensor, ...]:
        """Weighted means of the window around each pixel."""
        stacked = torch.stack(images)  # [5, N, C, H, W]
        x = stacked.reshape(-1, 1, *stacked.shape[3:])
        window = self.window.to(x.dtype).to(x.device)
        x = nnf.conv2d(nnf.conv2d(x, window.reshape(1, 1, -1, 1)), window.reshape(1, 1, 1, -1))
        return tuple(x.reshape(*stacked.shape[:3], *x.shape[2:]))

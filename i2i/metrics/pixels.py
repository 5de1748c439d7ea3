"""How near a translation is to the true partner, pixel by pixel."""

import torch
from torch import Tensor

from i2i.metrics.base import ImageMean

LARGEST_PSNR = 100.0


class L1Distance(ImageMean):
    """Mean absolute difference on the scale of 0 to 1: half of that of the tensors."""

    higher_is_better = False

    def per_image(self, translation: Tensor, target: Tensor) -> Tensor:
        return (translation - target).abs().flatten(1).mean(1) / 2


class PSNR(ImageMean):
    """Peak signal-to-noise ratio of each image in dB, averaged: ``-10 log10 mean (t - p)^2`` on the scale of 0 to 1.

    Equal images count as 100 dB, which is above what 8 bits can tell apart.
    """

    higher_is_better = True

    def per_image(self, translation: Tensor, target: Tensor) -> Tensor:
        error = ((translation - target) / 2).square().flatten(1).mean(1)  # [N]
        return (-10 * torch.log10(error)).clamp(max=LARGEST_PSNR)


class SSIM(ImageMean):
    """Structural similarity of each image, averaged (Wang et al. 2004): 1 is equal.

    Computed by torchmetrics: Gaussian windows of 11 x 11 with a deviation of 1.5, also at the border, where the image
    is mirrored; other programs leave the border out.
    """

    higher_is_better = True

    def per_image(self, translation: Tensor, target: Tensor) -> Tensor:
        from torchmetrics.functional.image import structural_similarity_index_measure

        # On the scale of 0 to 1: the luminance term compares means, and so depends on where zero is.
        seen, true = (translation + 1) / 2, (target + 1) / 2
        values = structural_similarity_index_measure(seen, true, data_range=1.0, reduction="none")
        assert isinstance(values, Tensor)  # a pair only where the full map is asked for
        return values.reshape(-1)

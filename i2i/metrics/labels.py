"""How well classes were recognised, for translations to label maps: one channel a class, the likeliest one wins.

Pixels to which the target gives no class do not count.
"""

import torch
from torch import Tensor
from torchmetrics import Metric

from i2i.metrics.base import ImageMean

_CLASSES = 256  # more than any one-hot domain has: class ids are bytes


class PixelAccuracy(ImageMean):
    """Share of pixels of the right class, averaged over the images."""

    higher_is_better = True
    needs_classes = True

    def per_image(self, translation: Tensor, target: Tensor) -> Tensor:
        labelled = (target.amax(1) > 0).flatten(1)  # [N, H W]
        right = (translation.argmax(1) == target.argmax(1)).flatten(1) & labelled
        return right.sum(1) / labelled.sum(1).clamp(min=1)


class MeanIoU(Metric):
    """Intersection over union of each class over all pixels of all images, averaged over the classes that occur.

    Attributes:
        higher_is_better: Yes.
        needs_classes: It means something for one-hot domains only.
    """

    higher_is_better = True
    needs_classes = True
    is_differentiable = False
    full_state_update = False
    intersection: Tensor
    union: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name in ("intersection", "union"):
            self.add_state(name, torch.zeros(_CLASSES, dtype=torch.long), dist_reduce_fx="sum")

    def update(self, translation: Tensor, target: Tensor) -> None:
        """Takes label maps in.

        Args:
            translation: ``[N, K, H, W]``, the larger the likelier.
            target: One-hot, of the same shape.

        Raises:
            ValueError: The shapes differ.
        """
        if translation.shape != target.shape:
            raise ValueError(f"translation is {list(translation.shape)}, target {list(target.shape)}")
        labelled = target.amax(1) > 0
        seen, true = translation.argmax(1)[labelled], target.argmax(1)[labelled]
        both = torch.bincount(true[seen == true], minlength=_CLASSES)
        self.intersection += both
        self.union += torch.bincount(seen, minlength=_CLASSES) + torch.bincount(true, minlength=_CLASSES) - both

    def compute(self) -> Tensor:
        """Returns the mean over the classes that occur."""
        occurs = self.union > 0
        return (self.intersection[occurs] / self.union[occurs]).mean()

"""What a metric is: a number about many translations, gathered image by image.

The shape is that of torchmetrics, whose metrics can be registered as they are: ``update(translation, target)``,
``compute()``, ``reset()``. In a group of processes ``compute`` speaks for all of them.
"""

from abc import abstractmethod

import torch
from torch import Tensor
from torchmetrics import Metric


class ImageMean(Metric):
    """A distance or likeness of each translation and its target, averaged over the images.

    Attributes:
        higher_is_better: Which way is good.
        needs_classes: Whether it means something for one-hot domains only.
        total: Sum over images.
        count: Images seen.
    """

    higher_is_better: bool
    needs_classes = False
    is_differentiable = False
    full_state_update = False
    total: Tensor
    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("total", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.long), dist_reduce_fx="sum")

    @abstractmethod
    def per_image(self, translation: Tensor, target: Tensor) -> Tensor:
        """Compares images ``[N, C, H, W]`` in [-1, 1]; returns ``[N]``."""

    def update(self, translation: Tensor, target: Tensor) -> None:
        """Takes images in.

        Args:
            translation: ``[N, C, H, W]`` in [-1, 1].
            target: What it should be, of the same shape.

        Raises:
            ValueError: The shapes differ.
        """
        if translation.shape != target.shape:
            raise ValueError(f"translation is {list(translation.shape)}, target {list(target.shape)}")
        values = self.per_image(translation.float(), target.float())
        self.total += values.double().sum().to(self.total)
        self.count += len(values)

    def compute(self) -> Tensor:
        """Returns the mean over all images."""
        return self.total / self.count

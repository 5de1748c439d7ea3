"""A metric is a number about many images, gathered image by image.

The shape is that of torchmetrics, whose metrics can be registered as they are. In a group of processes ``compute``
speaks for all of them.
"""

from abc import abstractmethod
from typing import ClassVar, Literal

import torch
import torchmetrics
from torch import Tensor


class Metric(torchmetrics.Metric):
    """Base of metrics.

    Attributes:
        compares: ``pairs``: ``update(images, targets)`` takes each image with what it should be. ``sets``:
            ``update(images, real=True)`` and ``update(images, real=False)`` take the images of both sides, which need
            not belong together. Images are ``[N, C, H, W]`` in [-1, 1].
        higher_is_better: Which way is good.
        needs_classes: Whether it means something for one-hot domains only.

    Example:
        >>> class Brightness(Metric):
        ...     compares, higher_is_better = "sets", False
        ...
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.add_state("sums", torch.zeros(2), dist_reduce_fx="sum")
        ...         self.add_state("counts", torch.zeros(2), dist_reduce_fx="sum")
        ...
        ...     def update(self, images, real):
        ...         self.sums[int(real)] += images.mean((1, 2, 3)).sum()
        ...         self.counts[int(real)] += len(images)
        ...
        ...     def compute(self):
        ...         return (self.sums / self.counts).diff().abs().squeeze()
    """

    compares: ClassVar[Literal["pairs", "sets"]] = "pairs"
    higher_is_better: bool
    needs_classes = False
    is_differentiable = False
    full_state_update = False


class ImageMean(Metric):
    """A distance or likeness of each image and its target, averaged over the images.

    Attributes:
        total: Sum over images.
        count: Images seen.
    """

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

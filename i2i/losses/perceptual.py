"""Likeness as a trained network sees it: of content by its feature maps, of style by their Gram matrices.

Johnson et al., "Perceptual Losses for Real-Time Style Transfer and Super-Resolution" (2016), section 3.2; Gatys et al.,
"Image Style Transfer Using Convolutional Neural Networks" (2016).
"""

from abc import ABC, abstractmethod
from typing import ClassVar, Literal

import torch
import torch.nn.functional as nnf
from torch import Tensor, nn

from i2i.core.numerics import full_precision, without_autocast
from i2i.networks.pretrained.backbones import Backbone, Layers, choose_levels


class FeatureLoss(nn.Module, ABC):
    """Base of the losses that compare the feature maps of a backbone.

    Args:
        backbone: A model of timm.
        layers: Which of its levels, and their weights.
        weights: Where its weights come from.

    Raises:
        ArgumentError: There is no such backbone or level, or the weights cannot be had.
    """

    family: ClassVar[str] = "pairwise"

    default_levels: ClassVar[tuple[int, ...]]

    def __init__(self, backbone: str = "vgg16.tv_in1k", layers: Layers = None, weights: str = "auto") -> None:
        super().__init__()
        levels = choose_levels(backbone, layers, self.default_levels)
        self.level_weights = tuple(levels.values())
        self.backbone = Backbone(backbone, weights, list(levels))

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Compares two images.

        Args:
            prediction: ``[N, 1 or 3, H, W]`` in [-1, 1].
            target: Of the same shape, but for the channels.

        Returns:
            A scalar, at least float32: the sum over the layers of weight times distance.

        Raises:
            ValueError: If numbers or sizes of images differ.
            DataError: If images have other channels.
        """
        if prediction.shape[0] != target.shape[0] or prediction.shape[2:] != target.shape[2:]:
            raise ValueError(f"prediction is {list(prediction.shape)}, target {list(target.shape)}: sizes must agree")
        with torch.no_grad():
            wanted = self.backbone(target)
        found = self.backbone(prediction)
        distances = [
            weight * self.distance_at(full_precision(one), full_precision(other))
            for weight, one, other in zip(self.level_weights, found, wanted, strict=True)
        ]
        return torch.stack(distances).sum()

    @abstractmethod
    def distance_at(self, prediction: Tensor, target: Tensor) -> Tensor:
        """The distance of two feature maps ``[N, C, h, w]`` of one level."""


class Perceptual(FeatureLoss):
    """Distance of feature maps, ``mean (phi(p) - phi(t))^2``: Johnson et al. (2016), equation 2.

    The default is the paper's, relu3_3 of VGG-16.

    Args:
        backbone: A model of timm; its name may end in the tag of a set of weights.
        layers: Names or indices of the backbone's levels, or a mapping from such to weights, which are 1 otherwise.
            ``null`` is the paper's choice on VGG-16, and the levels of the same numbers on other backbones.
        weights: ``auto`` takes those of the hub's cache or else downloads them; a path names a ``.safetensors`` or
            ``.pth`` file of the whole model; ``random`` is always the same, and for tests.
        distance: ``l2`` is the paper's; ``l1``, the mean absolute difference, is that of pix2pixHD and others.
    """

    default_levels = (2,)

    def __init__(
        self,
        backbone: str = "vgg16.tv_in1k",
        layers: Layers = None,
        weights: str = "auto",
        distance: Literal["l1", "l2"] = "l2",
    ) -> None:
        super().__init__(backbone, layers, weights)
        self.distance = distance

    def distance_at(self, prediction: Tensor, target: Tensor) -> Tensor:
        return nnf.l1_loss(prediction, target) if self.distance == "l1" else nnf.mse_loss(prediction, target)


class Style(FeatureLoss):
    """Distance of Gram matrices: which features occur together, wherever in the image.

    Johnson et al. (2016), equations 3 and 4; the default is the paper's, relu1_2, relu2_2, relu3_3 and relu4_3 of
    VGG-16. Here the squared differences are averaged over the entries of a matrix, where the paper sums them: values
    are small, and weights in a YAML large.

    Args:
        backbone: A model of timm; its name may end in the tag of a set of weights.
        layers: Names or indices of the backbone's levels, or a mapping from such to weights, which are 1 otherwise.
            ``null`` is the paper's choice on VGG-16, and the levels of the same numbers on other backbones.
        weights: ``auto`` takes those of the hub's cache or else downloads them; a path names a ``.safetensors`` or
            ``.pth`` file of the whole model; ``random`` is always the same, and for tests.
    """

    default_levels = (0, 1, 2, 3)

    def distance_at(self, prediction: Tensor, target: Tensor) -> Tensor:
        return nnf.mse_loss(gram_matrix(prediction), gram_matrix(target))


def gram_matrix(features: Tensor) -> Tensor:
    """``G_cd = sum_hw F_chw F_dhw / (C H W)``: Johnson et al. (2016), equation 3.

    Args:
        features: ``[N, C, H, W]``.

    Returns:
        ``[N, C, C]``, in the precision of the features even under autocast.
    """
    flat = features.flatten(2)  # [N, C, H W]
    with without_autocast(features):
        return flat @ flat.transpose(1, 2) / (flat.shape[1] * flat.shape[2])  # [N, C, C]

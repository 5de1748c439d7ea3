"""Normalisation layers by name.

Instance normalisation follows Ulyanov et al., "Instance Normalization: The Missing Ingredient for Fast Stylization"
(2016), without affine parameters and without running statistics, as CycleGAN uses it. Both it and group normalisation
(Wu and He, 2018) run PyTorch's group norm kernel on contiguous memory; instance normalisation of channels-last images
on a CPU runs the batch norm kernel, image by image. Two alternatives fail on the CPU (torch 2.15): the instance norm
kernel returns wrong gradients for a batch of one when the incoming gradient is channels_last, and the group norm kernel
for channels_last inputs takes the variance as E[x^2] - E[x]^2, which cancels when the mean is large.

Instance normalisation in float64, which is for comparing, has the reference's arithmetic to the last bit: training
amplifies the last bit 10^13-fold in 50 steps, in the reference itself as well.
"""

from math import gcd
from typing import Literal

import torch
from torch import Tensor, nn

from i2i.networks.blocks.arguments import check_choice

Norm = Literal["instance", "batch", "group", "none"]

_LARGEST_NUM_GROUPS = 32
_MOST_PIXELS = 1 << 18  # that a kernel may add up one by one: with 16 times as many, 0.4 % of the variance is wrong


class InstanceNorm2d(nn.Module):
    """Gives every channel of every image mean zero and variance one over its pixels.

    A flat channel, and so every channel of a single pixel, becomes zero.

    Args:
        num_features: Number of channels.
        eps: Added to the variance, so that flat images stay finite.
        affine: Learns a scale and a shift per channel. Without, the layer has no state at all.
    """

    def __init__(self, num_features: int, eps: float = 1e-5, affine: bool = False) -> None:
        super().__init__()
        self.num_features = num_features
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(num_features)) if affine else None
        self.bias = nn.Parameter(torch.zeros(num_features)) if affine else None

    def forward(self, x: Tensor) -> Tensor:
        """Normalises ``x`` of shape ``[N, num_features, H, W]``; the result is of the same shape."""
        if x.device.type == "meta" and x.shape[1] == self.num_features:
            return x.clone()  # shapes alone matter there, and torch computes those of group norm slowly, in Python
        if x.dtype == torch.float64:
            return self._as_batch_norm(x)
        is_channels_last = _is_channels_last(x) and x.device.type == "cpu"
        if is_channels_last and x.shape[2] * x.shape[3] <= _MOST_PIXELS:
            return self._image_by_image(x)
        y = torch.group_norm(x.contiguous(), self.num_features, self.weight, self.bias, self.eps)
        return y.contiguous(memory_format=torch.channels_last) if is_channels_last else y

    def _image_by_image(self, x: Tensor) -> Tensor:
        """The batch norm kernel keeps channels last, and its statistics are those of an image where there is one."""
        y = torch.cat([self._norm_of_one(image) for image in x.split(1)]) if len(x) > 1 else self._norm_of_one(x)
        if self.weight is None or self.bias is None:
            return y
        return y * self.weight[:, None, None] + self.bias[:, None, None]

    def _norm_of_one(self, image: Tensor) -> Tensor:
        y = torch.batch_norm(image, None, None, None, None, True, 0.0, self.eps, False)
        if y.dtype == torch.float32:
            # The kernel adds pixels up one by one; a matrix product adds in blocks, and tells what the mean lacks.
            with torch.no_grad():
                pixels = y.permute(0, 2, 3, 1).flatten(0, 2)  # [H W, C]
                pixels -= pixels.new_full((1, len(pixels)), 1 / len(pixels)) @ pixels
        if y.requires_grad:  # otherwise the kernel's gradient takes ten times as long
            y.register_hook(lambda gradient: gradient.contiguous(memory_format=torch.channels_last))
        return y

    def _as_batch_norm(self, x: Tensor) -> Tensor:
        """The instance norm kernel is a batch norm of one image; with pixels in one dimension its gradient is right."""
        count = x.shape[0]
        weight, bias = (None if p is None else p.repeat(count) for p in (self.weight, self.bias))
        flat = x.reshape(1, count * self.num_features, -1)  # [1, N C, H W]
        return torch.batch_norm(flat, weight, bias, None, None, True, 0.0, self.eps, False).reshape(x.shape)

    def extra_repr(self) -> str:
        return f"{self.num_features}, eps={self.eps}, affine={self.weight is not None}"


class GroupNorm2d(nn.GroupNorm):
    """Group normalisation with a scale and a shift per channel, for any number of channels.

    The number of groups is the greatest divisor that the number of channels shares with 32, the paper's choice.

    Args:
        num_channels: Number of channels.
        eps: Added to the variance, so that flat images stay finite.
    """

    def __init__(self, num_channels: int, eps: float = 1e-5) -> None:
        super().__init__(gcd(_LARGEST_NUM_GROUPS, num_channels), num_channels, eps)

    def forward(self, input: Tensor) -> Tensor:
        """Normalises ``[N, num_channels, H, W]``; the result is contiguous and of the same shape."""
        return torch.group_norm(input.contiguous(), self.num_groups, self.weight, self.bias, self.eps)


def _is_channels_last(x: Tensor) -> bool:
    return x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()


def build_norm(name: Norm, channels: int) -> nn.Module:
    """Makes the normalisation layer called ``name`` for ``channels`` channels.

    Raises:
        ValueError: If there is no such layer.
    """
    check_choice("norm", name, Norm)
    if name == "instance":
        return InstanceNorm2d(channels)
    if name == "batch":
        return nn.BatchNorm2d(channels)
    if name == "group":
        return GroupNorm2d(channels)
    return nn.Identity()


def needs_bias(name: Norm) -> bool:
    """Whether a convolution followed by this norm has a bias of its own: not where the norm learns a shift.

    Instance norm removes the bias again, so that it is idle; it is kept because the published CycleGAN networks have
    it.
    """
    return name in ("instance", "none")

"""Convolutions that pad, shrink, enlarge and normalise: what the image-to-image networks have in common.

Four ways to double the size: ``transpose``, a transposed convolution as published; ``resize``, nearest neighbour and
a convolution (Odena et al., "Deconvolution and Checkerboard Artifacts", 2016); ``bilinear``, bilinear enlargement and
a convolution padded with zeros, as in the published code of CUT (Park et al., "Contrastive Learning for Unpaired
Image-to-Image Translation", 2020); ``shuffle``, a convolution to four times the channels whose values become 2x2 pixels
(Shi et al., "Real-Time Single Image and Video Super-Resolution Using an Efficient Sub-Pixel Convolutional Neural
Network", 2016).

One way to halve it without aliasing: blur, then take every second pixel (Zhang, "Making Convolutional Networks
Shift-Invariant Again", 2019).
"""

from typing import Literal

import torch.nn.functional as nnf
from torch import Tensor, nn

from i2i.networks.blocks.arguments import check_choice
from i2i.networks.blocks.normalization import Norm, build_norm, needs_bias
from i2i.networks.blocks.padding import Padding, pad
from i2i.networks.kernels.convolution import conv2d

Upsample = Literal["transpose", "resize", "bilinear", "shuffle"]


class PaddedConv2d(nn.Conv2d):
    """A convolution over an image padded by half its kernel, so that an odd kernel with stride 1 keeps the size."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, pad_mode: Padding, bias: bool = True
    ) -> None:
        check_choice("padding", pad_mode, Padding)
        super().__init__(in_channels, out_channels, kernel_size, bias=bias)
        self.pad_amount = kernel_size // 2
        self.pad_mode = pad_mode

    def forward(self, input: Tensor) -> Tensor:
        return conv2d(input, self.weight, self.bias, self.pad_amount, self.pad_mode)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, pad={self.pad_amount} {self.pad_mode}"


class ResizeConv2d(PaddedConv2d):
    """Nearest-neighbour enlargement by two, then a convolution: ``[N, C, H, W] -> [N, C', 2H, 2W]``."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(nnf.interpolate(input, scale_factor=2, mode="nearest"))


class BilinearConv2d(PaddedConv2d):
    """Bilinear enlargement by two, then a convolution: ``[N, C, H, W] -> [N, C', 2H, 2W]``."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(nnf.interpolate(input, scale_factor=2, mode="bilinear", align_corners=False))


class BlurDownsample(nn.Module):
    """Blurs by the binomial filter [1, 2, 1] / 4 in both dimensions and keeps every second pixel.

    Zhang (2019), section 3.2, "anti-aliased strided convolution", with the filter Tri-3. The border is reflected, so
    height and width must be at least 2.
    """

    def forward(self, x: Tensor) -> Tensor:
        """``[N, C, H, W] -> [N, C, ceil(H / 2), ceil(W / 2)]``."""
        # The mean of two neighbours, twice, is the binomial filter.
        return nnf.avg_pool2d(nnf.avg_pool2d(pad(x, 1, "reflect"), 2, stride=1), 2, stride=2)


class ShuffleConv2d(PaddedConv2d):
    """A convolution to four values a pixel, laid out as 2x2 pixels: ``[N, C, H, W] -> [N, C', 2H, 2W]``."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, pad_mode: Padding, bias: bool = True
    ) -> None:
        super().__init__(in_channels, 4 * out_channels, kernel_size, pad_mode, bias)

    def forward(self, input: Tensor) -> Tensor:
        return nnf.pixel_shuffle(super().forward(input), 2)


def build_upsample(
    method: Upsample, in_channels: int, out_channels: int, *, kernel_size: int, padding: Padding, bias: bool
) -> nn.Module:
    """Makes a convolution that doubles height and width.

    Args:
        method: See the module docstring.
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel_size: Of the transposed convolution, 3 or 4; the other methods use 3.
        padding: Border mode of the methods other than ``transpose`` and ``bilinear``.
        bias: Whether the convolution has a bias.

    Raises:
        ValueError: If there is no such method.
    """
    check_choice("upsample", method, Upsample)
    if method == "resize":
        return ResizeConv2d(in_channels, out_channels, 3, padding, bias)
    if method == "bilinear":
        return BilinearConv2d(in_channels, out_channels, 3, "zero", bias)
    if method == "shuffle":
        return ShuffleConv2d(in_channels, out_channels, 3, padding, bias)
    # An odd kernel leaves the doubled size one pixel short.
    return nn.ConvTranspose2d(
        in_channels, out_channels, kernel_size, stride=2, padding=1, output_padding=kernel_size % 2, bias=bias
    )


class ConvBlock(nn.Module):
    """A convolution, its norm and its activation.

    Args:
        conv: The convolution.
        norm: The normalisation of its output, ``nn.Identity`` for none.
        activation: The activation, ``nn.Identity`` for none.
    """

    def __init__(self, conv: nn.Module, norm: nn.Module, activation: nn.Module) -> None:
        super().__init__()
        self.conv = conv
        self.norm = norm
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.norm(self.conv(x)))


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions whose result is added to the input, without an activation after the sum.

    Args:
        channels: Channels of input and output.
        norm: Normalisation of both convolutions.
        padding: Border mode of both convolutions.
        dropout: Rate between the two convolutions.
    """

    def __init__(self, channels: int, *, norm: Norm, padding: Padding, dropout: float = 0.0) -> None:
        super().__init__()
        bias = needs_bias(norm)
        self.first = ConvBlock(
            PaddedConv2d(channels, channels, 3, padding, bias), build_norm(norm, channels), nn.ReLU(inplace=True)
        )
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()
        self.second = ConvBlock(
            PaddedConv2d(channels, channels, 3, padding, bias), build_norm(norm, channels), nn.Identity()
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(self.dropout(self.first(x)))

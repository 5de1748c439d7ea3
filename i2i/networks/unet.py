"""The U-Net generator of pix2pix.

Isola et al., "Image-to-Image Translation with Conditional Adversarial Networks" (2017), section 6.1.1; the U-Net is
Ronneberger et al. (2015). Encoder C64-C128-C256-C512-C512-C512-C512-C512, and a decoder that mirrors it and sees the
encoder's features of each size.
"""

import torch
import torch.nn.functional as nnf
from torch import Tensor, nn

from i2i.networks.blocks.arguments import check_at_least, check_halvings, check_rate
from i2i.networks.blocks.initialization import Init, initialize
from i2i.networks.blocks.layers import ConvBlock, Upsample, build_upsample
from i2i.networks.blocks.normalization import Norm, build_norm, needs_bias

_LARGEST_MULTIPLIER = 8
_FIRST_LEVEL_WITH_DROPOUT = 4


class UNetGenerator(nn.Module):
    """Shrinks the image to a few pixels and enlarges it again, with a skip connection at each size.

    Level ``i`` halves the size on the way down, to ``[N, base * min(2**i, 8), H / 2**(i+1), W / 2**(i+1)]``, and
    doubles it on the way up. The defaults are the published pix2pix generator for 256x256 images; seven levels are
    its form for 128x128.

    As in the published code, and unlike the paper's list of layers, the outermost and the innermost encoder
    convolution have no norm: with a single image of the nominal size, the innermost map is one pixel, which a norm
    would make zero.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        num_downsamplings: Number of levels.
        base_channels: Channels of the outermost level; they double with each level up to eight times as many.
        norm: Normalisation of all convolutions but the outermost pair and the innermost of the encoder.
        upsample: How height and width are doubled.
        dropout: Rate in the decoder, from the fifth level to the last but one (three levels of eight).
        init: Distribution of the initial weights.
        init_gain: Its scale.

    Attributes:
        stride: Height and width of the input must be multiples of it.
        min_size: Smallest height and width, one pixel at the innermost level.

    Raises:
        ValueError: If an argument is out of range.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        num_downsamplings: int = 8,
        base_channels: int = 64,
        norm: Norm = "batch",
        upsample: Upsample = "transpose",
        dropout: float = 0.5,
        init: Init = "normal",
        init_gain: float = 0.02,
    ) -> None:
        super().__init__()
        check_at_least("in_channels", in_channels, 1)
        check_at_least("out_channels", out_channels, 1)
        check_halvings("num_downsamplings", num_downsamplings, 2)
        check_at_least("base_channels", base_channels, 1)
        check_rate("dropout", dropout)
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.num_downsamplings = num_downsamplings
        self.norm = norm
        self.upsample = upsample
        self.dropout = dropout
        self.stride = 2**num_downsamplings
        self.min_size = self.stride

        bias = needs_bias(norm)
        outermost, innermost = 0, num_downsamplings - 1
        widths = [base_channels * min(2**level, _LARGEST_MULTIPLIER) for level in range(num_downsamplings)]
        self.down = nn.ModuleList()
        self.up = nn.ModuleList()
        for level, width in enumerate(widths):
            outer = in_channels if level == outermost else widths[level - 1]
            conv = nn.Conv2d(outer, width, 4, stride=2, padding=1, bias=bias)
            with_norm = level not in (outermost, innermost)
            self.down.append(ConvBlock(conv, build_norm(norm if with_norm else "none", width), nn.Identity()))

            outer = out_channels if level == outermost else widths[level - 1]
            deconv = build_upsample(
                upsample,
                width if level == innermost else 2 * width,
                outer,
                kernel_size=4,
                padding="zero",
                bias=bias or level == outermost,
            )
            with_dropout = dropout and _FIRST_LEVEL_WITH_DROPOUT <= level < innermost
            self.up.append(
                ConvBlock(
                    deconv,
                    build_norm("none" if level == outermost else norm, outer),
                    nn.Dropout(dropout) if with_dropout else nn.Identity(),
                )
            )
        initialize(self, init, init_gain)

    def forward(self, x: Tensor) -> Tensor:
        """Translates images.

        Args:
            x: ``[N, in_channels, H, W]`` in [-1, 1]; H and W multiples of ``stride``.

        Returns:
            ``[N, out_channels, H, W]`` in [-1, 1].
        """
        features = [self.down[0](x)]  # [N, base, H / 2, W / 2]
        for down in self.down[1:]:
            features.append(down(nnf.leaky_relu(features[-1], 0.2)))

        x = self.up[-1](nnf.relu(features[-1]))
        for up, skip in zip(self.up[-2::-1], features[-2::-1], strict=True):
            if x.requires_grad and x.device.type == "cpu" and not x.is_contiguous():
                x.register_hook(_dense)
            x = up(nnf.relu(torch.cat([skip, x], dim=1)))
        return x.tanh()  # [N, out_channels, H, W]


def _dense(gradient: Tensor) -> Tensor:
    """Copies a gradient out of that of joined images, where pixels have gaps that slow the norms down on a CPU."""
    return gradient.contiguous(memory_format=torch.channels_last)

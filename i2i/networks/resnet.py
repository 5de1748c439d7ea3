"""The residual generator of CycleGAN.

Johnson et al., "Perceptual Losses for Real-Time Style Transfer and Super-Resolution" (2016), supplement; with the
sizes of Zhu et al., "Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial Networks" (2017), section
7.2: c7s1-64, d128, d256, R256 x 9, u128, u64, c7s1-3.
"""

from torch import Tensor, nn

from i2i.networks.blocks.arguments import check_at_least, check_halvings, check_rate
from i2i.networks.blocks.initialization import Init, initialize
from i2i.networks.blocks.layers import BlurDownsample, ConvBlock, PaddedConv2d, ResidualBlock, Upsample, build_upsample
from i2i.networks.blocks.normalization import Norm, build_norm, needs_bias
from i2i.networks.blocks.padding import Padding


class ResNetGenerator(nn.Module):
    """Shrinks the image, transforms it by residual blocks, enlarges it again.

    The defaults are the published CycleGAN generator for 256x256 images; at 128x128 the paper uses six blocks.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        num_blocks: Number of residual blocks.
        base_channels: Channels at full resolution; they double with each downsampling.
        num_downsamplings: How often height and width are halved before the blocks.
        norm: Normalisation after each convolution but the last.
        padding: Border mode of the first and last convolution, the residual blocks and the upsampling methods other
            than ``transpose`` and ``bilinear``. Convolutions that halve the size pad with zeros.
        upsample: How height and width are doubled.
        antialias: Halves the size by a blur after the convolution instead of by its stride (Zhang, 2019). With
            ``upsample: bilinear`` this is the generator of CUT.
        dropout: Rate inside the residual blocks; pix2pix uses 0.5 here.
        init: Distribution of the initial weights.
        init_gain: Its scale.

    Attributes:
        stride: Height and width of the input must be multiples of it.
        min_size: Smallest height and width: leaves 2x2 pixels to the residual blocks, so that there is a pixel to
            reflect and no norm sees a single value.

    Raises:
        ValueError: If an argument is out of range.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        num_blocks: int = 9,
        base_channels: int = 64,
        num_downsamplings: int = 2,
        norm: Norm = "instance",
        padding: Padding = "reflect",
        upsample: Upsample = "transpose",
        antialias: bool = False,
        dropout: float = 0.0,
        init: Init = "normal",
        init_gain: float = 0.02,
    ) -> None:
        super().__init__()
        check_at_least("in_channels", in_channels, 1)
        check_at_least("out_channels", out_channels, 1)
        check_at_least("num_blocks", num_blocks, 1)
        check_at_least("base_channels", base_channels, 1)
        check_halvings("num_downsamplings", num_downsamplings, 0)
        check_rate("dropout", dropout)
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.num_blocks = num_blocks
        self.num_downsamplings = num_downsamplings
        self.norm = norm
        self.padding = padding
        self.upsample = upsample
        self.antialias = antialias
        self.dropout = dropout
        self.stride = 2**num_downsamplings
        self.min_size = max(4, 2 * self.stride)

        bias = needs_bias(norm)
        widths = [base_channels * 2**level for level in range(num_downsamplings + 1)]

        def block(conv: nn.Module, channels: int) -> ConvBlock:
            return ConvBlock(conv, build_norm(norm, channels), nn.ReLU(inplace=True))

        def halving(fine: int, coarse: int) -> ConvBlock:
            conv = nn.Conv2d(fine, coarse, 3, stride=1 if antialias else 2, padding=1, bias=bias)
            activation = nn.ReLU(inplace=True)
            after = nn.Sequential(activation, BlurDownsample()) if antialias else activation
            return ConvBlock(conv, build_norm(norm, coarse), after)

        self.stem = block(PaddedConv2d(in_channels, widths[0], 7, padding, bias), widths[0])
        self.down = nn.ModuleList(halving(fine, coarse) for fine, coarse in zip(widths, widths[1:], strict=False))
        self.blocks = nn.ModuleList(
            ResidualBlock(widths[-1], norm=norm, padding=padding, dropout=dropout) for _ in range(num_blocks)
        )
        self.up = nn.ModuleList(
            block(build_upsample(upsample, coarse, fine, kernel_size=3, padding=padding, bias=bias), fine)
            for coarse, fine in zip(widths[::-1], widths[-2::-1], strict=False)
        )
        self.head = PaddedConv2d(widths[0], out_channels, 7, padding)
        initialize(self, init, init_gain)

    def forward(self, x: Tensor) -> Tensor:
        """Translates images.

        Args:
            x: ``[N, in_channels, H, W]`` in [-1, 1]; H and W multiples of ``stride`` and at least ``min_size``.

        Returns:
            ``[N, out_channels, H, W]`` in [-1, 1].
        """
        x = self.stem(x)  # [N, base, H, W]
        for down in self.down:
            x = down(x)  # [N, base * stride, H / stride, W / stride] after the last
        for block in self.blocks:
            x = block(x)
        for up in self.up:
            x = up(x)  # [N, base, H, W] after the last
        return self.head(x).tanh()

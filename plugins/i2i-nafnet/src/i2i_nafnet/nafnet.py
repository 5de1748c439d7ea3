"""NAFNet: a U-shaped network whose blocks have gates in the place of activation functions.

Chen et al., "Simple Baselines for Image Restoration" (2022, arXiv:2204.04676): the U-shape of section 3 with one added
skip connection a size, the block of section 4.

Made for restoration, here made to translate:

- The paper adds the network's output to its input and leaves the sum unbounded. Images of i2i lie in [-1, 1]. Clamping
  would stop the gradient at black and white, and ``tanh(x + network(x))`` would make the network learn to undo the tanh
  before it could leave pixels as they are. So the output is ``tanh(atanh(0.98 x) + network(x))``; without the residual,
  for domains that share no pixels, ``tanh(network(x))``.
- The authors start the scales of the residual branches, beta and gamma, at zero: the branches then get no gradient in
  the first step. Here they start at 0.01, which leaves a block near the identity and lets every weight learn at once.
- The simplified channel attention averages over the whole image. A network trained on small crops sees other averages
  on large images. Chu et al. (2022, arXiv:2112.04491) treat that; this class does not.
"""

import torch
import torch.nn.functional as nnf
from torch import Tensor, nn

_NEARLY_ONE = 0.98  # keeps atanh finite at black and white


class LayerNorm2d(nn.LayerNorm):
    """Layer normalisation over the channels of each pixel."""

    def forward(self, input: Tensor) -> Tensor:
        """Normalises ``[N, C, H, W]``."""
        return super().forward(input.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def simple_gate(x: Tensor) -> Tensor:
    """Multiplies one half of the channels with the other: ``[N, 2C, H, W] -> [N, C, H, W]``."""
    one, other = x.chunk(2, dim=1)
    return one * other


class NAFBlock(nn.Module):
    """Two residual branches: one mixes pixels, one mixes channels.

    Args:
        channels: Channels of input and output.
        init_scale: What the scales of the branches, beta and gamma, start at.
    """

    def __init__(self, channels: int, init_scale: float) -> None:
        super().__init__()
        self.norm1 = LayerNorm2d(channels, eps=1e-6)
        self.expand1 = nn.Conv2d(channels, 2 * channels, 1)
        self.depthwise = nn.Conv2d(2 * channels, 2 * channels, 3, padding=1, groups=2 * channels)
        self.attention = nn.Conv2d(channels, channels, 1)
        self.project1 = nn.Conv2d(channels, channels, 1)
        self.norm2 = LayerNorm2d(channels, eps=1e-6)
        self.expand2 = nn.Conv2d(channels, 2 * channels, 1)
        self.project2 = nn.Conv2d(channels, channels, 1)
        self.beta = nn.Parameter(torch.full((1, channels, 1, 1), init_scale))
        self.gamma = nn.Parameter(torch.full((1, channels, 1, 1), init_scale))

    def forward(self, x: Tensor) -> Tensor:
        y = simple_gate(self.depthwise(self.expand1(self.norm1(x))))  # [N, C, H, W]
        y = y * self.attention(y.mean((2, 3), keepdim=True))  # simplified channel attention
        x = x + self.beta * self.project1(y)
        return x + self.gamma * self.project2(simple_gate(self.expand2(self.norm2(x))))


class NAFNetGenerator(nn.Module):
    """Halves the image, doubling its channels, once per entry of ``enc_blocks``; then the same way back.

    The defaults are the authors' for denoising: 36 blocks, width 32.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        width: Channels at full size.
        enc_blocks: Number of blocks at each size on the way down.
        middle_blocks: Number of blocks at the smallest size.
        dec_blocks: Number of blocks at each size on the way up, the smallest size first; as many entries as
            ``enc_blocks``.
        residual: Whether the network learns what to add to its input: right for domains that share their pixels but for
            some, as horses and zebras, not for label maps and photographs. Without effect where the channels differ.
        init_scale: What the scales of the residual branches start at; the authors have 0.

    Attributes:
        stride: Height and width of the input must be multiples of it.
        min_size: Smallest height and width, one pixel in the middle.

    Raises:
        ValueError: If an argument is out of range.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        width: int = 32,
        enc_blocks: tuple[int, ...] = (2, 2, 4, 8),
        middle_blocks: int = 12,
        dec_blocks: tuple[int, ...] = (2, 2, 2, 2),
        residual: bool = True,
        init_scale: float = 0.01,
    ) -> None:
        super().__init__()
        if width < 1:
            raise ValueError(f"width must be at least 1, got {width}")
        if not enc_blocks:
            raise ValueError("enc_blocks must have at least one entry, got none")
        if len(dec_blocks) != len(enc_blocks):
            raise ValueError(f"dec_blocks must have as many entries as enc_blocks has, got {list(dec_blocks)}")
        counts = {"enc_blocks": min(enc_blocks), "middle_blocks": middle_blocks, "dec_blocks": min(dec_blocks)}
        for name, least in counts.items():
            if least < 0:
                raise ValueError(f"{name} must not be negative, got {least}")
        self.residual = residual and in_channels == out_channels
        self.stride = self.min_size = 2 ** len(enc_blocks)

        def stage(channels: int, num_blocks: int) -> nn.Sequential:
            return nn.Sequential(*(NAFBlock(channels, init_scale) for _ in range(num_blocks)))

        widths = [width * 2**level for level in range(len(enc_blocks) + 1)]
        self.head = nn.Conv2d(in_channels, width, 3, padding=1)
        self.encoders = nn.ModuleList(map(stage, widths[:-1], enc_blocks))
        self.downs = nn.ModuleList(nn.Conv2d(fine, 2 * fine, 2, stride=2) for fine in widths[:-1])
        self.middle = stage(widths[-1], middle_blocks)
        # Twice the channels become four pixels of half the channels.
        self.ups = nn.ModuleList(nn.Conv2d(2 * fine, 4 * fine, 1, bias=False) for fine in widths[-2::-1])
        self.decoders = nn.ModuleList(map(stage, widths[-2::-1], dec_blocks))
        self.tail = nn.Conv2d(width, out_channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Translates images.

        Args:
            x: ``[N, in_channels, H, W]`` in [-1, 1]; H and W multiples of ``stride``.

        Returns:
            ``[N, out_channels, H, W]`` in [-1, 1].
        """
        y = self.head(x)  # [N, width, H, W]
        skips = []
        for encoder, down in zip(self.encoders, self.downs, strict=True):
            y = encoder(y)
            skips.append(y)
            y = down(y)  # [N, width * stride, H / stride, W / stride] after the last
        y = self.middle(y)
        for up, decoder, skip in zip(self.ups, self.decoders, reversed(skips), strict=True):
            y = decoder(nnf.pixel_shuffle(up(y), 2) + skip)
        y = self.tail(y)  # [N, out_channels, H, W]
        return ((_NEARLY_ONE * x).atanh() + y if self.residual else y).tanh()

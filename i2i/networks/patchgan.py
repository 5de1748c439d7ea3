"""The PatchGAN discriminator of pix2pix and CycleGAN: judges overlapping patches, each by one logit.

Isola et al., "Image-to-Image Translation with Conditional Adversarial Networks" (2017), section 6.1.2:
C64-C128-C256-C512 for patches of 70x70 pixels, other sizes by the number of layers. Spectral normalisation is Miyato
et al. (2018), anti-aliasing Zhang (2019), as in the published code of CUT.
"""

from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm as parametrize_spectral_norm

from i2i.networks.blocks.arguments import check_at_least, check_halvings
from i2i.networks.blocks.initialization import Init, initialize
from i2i.networks.blocks.layers import BlurDownsample, ConvBlock
from i2i.networks.blocks.normalization import Norm, build_norm, needs_bias

_LARGEST_MULTIPLIER = 8


class PatchGANDiscriminator(nn.Module):
    """Gives each patch of an image one logit.

    The patch is 16x16 pixels for one layer, 34 for two, 70 for three, 142 for four, 286 for five. No layer at all is
    the paper's PixelGAN: 1x1 convolutions C64-C128 that judge each pixel by itself.

    The defaults are CycleGAN's; pix2pix has ``norm: batch``.

    Args:
        in_channels: Channels of the input; a conditional discriminator sees both images, stacked.
        num_layers: Number of 4x4 convolutions with stride 2, which two with stride 1 follow.
        base_channels: Channels of the first layer; they double with each layer up to eight times as many.
        norm: Normalisation of all convolutions but the first and the last.
        antialias: Halves the size by a blur after the convolution instead of by its stride; without effect where there
            is no layer.
        spectral_norm: Divides the weights of each convolution by an estimate of their largest singular value, which
            every forward pass in training mode refines.
        init: Distribution of the initial weights.
        init_gain: Its scale.

    Attributes:
        min_size: Smallest height and width that leave one logit.

    Raises:
        ValueError: If an argument is out of range.
    """

    def __init__(
        self,
        in_channels: int,
        *,
        num_layers: int = 3,
        base_channels: int = 64,
        norm: Norm = "instance",
        antialias: bool = False,
        spectral_norm: bool = False,
        init: Init = "normal",
        init_gain: float = 0.02,
    ) -> None:
        super().__init__()
        check_at_least("in_channels", in_channels, 1)
        check_halvings("num_layers", num_layers, 0)
        check_at_least("base_channels", base_channels, 1)
        self.in_channels = in_channels
        self.out_channels = 1
        self.num_layers = num_layers
        self.norm = norm
        self.antialias = antialias
        self.spectral_norm = spectral_norm
        pixel = num_layers == 0
        # Each stride halves, rounding down; each 4x4 convolution with stride 1 then takes one pixel.
        self.min_size = 1 if pixel else 3 * 2**num_layers

        self._kernel_size = kernel = 1 if pixel else 4
        self._strides = [1, 1] if pixel else [2] * num_layers + [1]
        padding = 0 if pixel else 1
        bias = needs_bias(norm)
        self.layers = nn.ModuleList()
        channels = in_channels
        for level, stride in enumerate(self._strides):
            width = base_channels * min(2**level, _LARGEST_MULTIPLIER)
            first = level == 0
            blurs = antialias and stride == 2
            conv = nn.Conv2d(channels, width, kernel, 1 if blurs else stride, padding, bias=first or bias)
            activation = nn.LeakyReLU(0.2, inplace=True)
            after = nn.Sequential(activation, BlurDownsample()) if blurs else activation
            self.layers.append(ConvBlock(conv, build_norm("none" if first else norm, width), after))
            channels = width
        # The published PixelGAN gives its last convolution the bias of the others, the PatchGAN always one.
        self.head = nn.Conv2d(channels, 1, kernel, 1, padding, bias=bias or not pixel)

        initialize(self, init, init_gain)
        if spectral_norm:
            for module in list(self.modules()):
                if isinstance(module, nn.Conv2d):
                    parametrize_spectral_norm(module)

    @property
    def receptive_field(self) -> int:
        """Height and width, in pixels, of the patch that one logit judges."""
        size = 1
        for stride in (1, *reversed(self._strides)):
            size = (size - 1) * stride + self._kernel_size
            if self.antialias and stride == 2:
                size += 2  # the blur's three pixels
        return size

    def forward(self, x: Tensor) -> Tensor:
        """Judges images.

        Args:
            x: ``[N, in_channels, H, W]`` in [-1, 1]; H and W at least ``min_size``.

        Returns:
            Logits ``[N, 1, h, w]``, unbounded; h is ``H // 2**num_layers - 2``, or H for the PixelGAN.
        """
        return self.logits_and_features(x)[0]

    def logits_and_features(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Judges images and shows what the logits stand on, which feature matching compares.

        Args:
            x: As for :meth:`forward`.

        Returns:
            The logits, and the output of each layer before the last.
        """
        features = []
        for layer in self.layers:
            x = layer(x)
            features.append(x)
        return self.head(x), features

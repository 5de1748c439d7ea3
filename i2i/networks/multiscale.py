"""Several discriminators, each of which judges the image at another scale.

Wang et al., "High-Resolution Image Synthesis and Semantic Manipulation with Conditional GANs" (2018; pix2pixHD),
section 3.2, "multi-scale discriminators": discriminators of one structure judge the image, half of it, a quarter.
"""

from collections.abc import Callable
from typing import Annotated, Any

import torch.nn.functional as nnf
from torch import Tensor, nn

from i2i.core.registry import Nested
from i2i.networks.blocks.arguments import check_halvings
from i2i.networks.patchgan import PatchGANDiscriminator


class MultiScaleDiscriminator(nn.Module):
    """Judges an image at several scales, by a discriminator of its own at each.

    Between two scales the image is averaged over 3x3 pixels with stride 2, pixels beyond the border left out, as in the
    published code.

    Args:
        in_channels: Channels of the input.
        num_scales: Number of discriminators; the first sees the whole size, each further one half of the size before.
        discriminator: What judges at each scale; ``null`` is the paper's, a ``patchgan`` with its defaults.

    Attributes:
        min_size: Smallest height and width that leave the last discriminator its own smallest.
        receptive_field: Height and width, in pixels of the input, of the patch that one logit of the last discriminator
            judges; ``None`` where the discriminators do not tell theirs.

    Raises:
        ValueError: If ``num_scales`` is below 1.
    """

    def __init__(
        self,
        in_channels: int,
        *,
        num_scales: int = 3,
        discriminator: Annotated[Callable[..., nn.Module] | None, Nested("discriminator")] = None,
    ) -> None:
        super().__init__()
        check_halvings("num_scales", num_scales, 1)
        build = discriminator or PatchGANDiscriminator
        self.in_channels = in_channels
        self.scales = nn.ModuleList(build(in_channels=in_channels) for _ in range(num_scales))
        last = self.scales[-1]
        # A pooled length is half of the length before, rounded up.
        self.min_size = (getattr(last, "min_size", 1) - 1) * 2 ** (num_scales - 1) + 1
        self.receptive_field: int | None = getattr(last, "receptive_field", None)
        for _ in range(num_scales - 1):
            if self.receptive_field is not None:
                self.receptive_field = 2 * self.receptive_field + 1

    def forward(self, x: Tensor) -> list[Tensor]:
        """Judges images.

        Args:
            x: ``[N, in_channels, H, W]`` in [-1, 1]; H and W at least ``min_size``.

        Returns:
            The logits of each scale, from the finest to the coarsest.
        """
        logits: list[Tensor] = []
        for D, image in zip(self.scales, self._pyramid(x), strict=True):
            logits += _as_list(D(image))
        return logits

    @property
    def logits_and_features(self) -> Callable[[Tensor], tuple[list[Tensor], list[Tensor]]]:
        """As :meth:`forward`, with the feature maps of all scales in one list; absent where a scale offers none."""
        # Looked up for its AttributeError: what is around a discriminator without features has none, either.
        judges: list[Any] = [D.logits_and_features for D in self.scales]

        def judge(x: Tensor) -> tuple[list[Tensor], list[Tensor]]:
            logits: list[Tensor] = []
            features: list[Tensor] = []
            for at_scale, image in zip(judges, self._pyramid(x), strict=True):
                own_logits, own_features = at_scale(image)
                logits += _as_list(own_logits)
                features += own_features
            return logits, features

        return judge

    def _pyramid(self, x: Tensor) -> list[Tensor]:
        images = [x]
        for _ in range(len(self.scales) - 1):
            images.append(nnf.avg_pool2d(images[-1], 3, stride=2, padding=1, count_include_pad=False))
        return images


def _as_list(logits: Any) -> list[Tensor]:
    return [logits] if isinstance(logits, Tensor) else list(logits)

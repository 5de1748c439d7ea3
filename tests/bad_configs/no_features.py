"""A discriminator that shows no feature maps; no_features.yaml asks for them."""

from torch import Tensor, nn

import i2i


@i2i.DISCRIMINATORS.register("plain")
class Plain(nn.Module):
    """One convolution."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, 1, 4, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)

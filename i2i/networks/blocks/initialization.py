"""Random initialisation of a network's weights.

The default, N(0, 0.02), is that of DCGAN, pix2pix and CycleGAN. Sub-pixel convolutions start with equal weights for
the four pixels they make, so that a new network shows no checkerboard (Aitken et al., "Checkerboard artifact free
sub-pixel convolution", 2017).
"""

from collections.abc import Callable
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from i2i.networks.blocks.arguments import check_choice, check_positive
from i2i.networks.blocks.layers import ShuffleConv2d

Init = Literal["normal", "xavier", "kaiming", "orthogonal"]

_NORM_WEIGHT_STD = 0.02


@torch.no_grad()
def initialize(network: nn.Module, method: Init = "normal", gain: float = 0.02) -> None:
    """Draws the weights of all convolutions, linear layers and affine norms from PyTorch's global random state.

    Biases become zero and the scales of norms N(1, 0.02).

    Args:
        network: Changed in place.
        method: Distribution of the weights of convolutions and linear layers.
        gain: Standard deviation of ``normal``, factor of ``xavier`` and ``orthogonal``. ``kaiming`` has none.

    Raises:
        ValueError: If there is no such method or the gain is not positive.
    """
    check_choice("init", method, Init)
    check_positive("init_gain", gain)
    draws: dict[str, Callable[[Tensor], Tensor]] = {
        "normal": partial(nn.init.normal_, std=gain),
        "xavier": partial(nn.init.xavier_normal_, gain=gain),
        "kaiming": nn.init.kaiming_normal_,
        "orthogonal": partial(nn.init.orthogonal_, gain=gain),
    }
    draw = draws[method]
    for module in network.modules():
        weight = getattr(module, "weight", None)
        # On the meta device there is nothing to draw, and torch would import its compiler for it: 1.5 s.
        if not isinstance(weight, nn.Parameter) or weight.is_meta:
            continue
        if weight.ndim == 1:
            nn.init.normal_(weight, 1.0, _NORM_WEIGHT_STD)
        elif isinstance(module, ShuffleConv2d):
            draw(weight[::4])
            weight.copy_(weight[::4].repeat_interleave(4, dim=0))
        else:
            draw(weight)
        bias = getattr(module, "bias", None)
        if isinstance(bias, nn.Parameter):
            nn.init.zeros_(bias)

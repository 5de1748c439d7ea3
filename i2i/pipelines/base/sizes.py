"""Images of any size through networks that want a multiple of their stride."""

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn


def fitted(network: nn.Module, x: Tensor) -> Tensor:
    """Applies a generator to images of any size: pads to its stride and least size, and crops back.

    Args:
        network: With attributes ``stride`` and ``min_size``, both 1 where absent.
        x: ``[N, C, H, W]``.

    Returns:
        ``[N, C_out, H, W]``.
    """
    height, width = x.shape[-2:]
    padded = padded_to(x, *multiple_of([network]))
    y: Tensor = network(padded)
    return y if padded is x else y[..., :height, :width]


def multiple_of(networks: Iterable[nn.Module]) -> tuple[int, int]:
    """Returns the least common stride of networks, and the largest of their least sizes."""
    strides, least = [1], [1]
    for network in networks:
        strides.append(getattr(network, "stride", 1))
        least.append(getattr(network, "min_size", 1))
    return math.lcm(*strides), max(least)


def padded_to(x: Tensor, stride: int, least: int) -> Tensor:
    """Mirrors images beyond their lower and right end, up to a multiple of ``stride`` that is at least ``least``."""
    bottom, right = (-(-max(length, least) // stride) * stride - length for length in x.shape[-2:])
    return _extended(_extended(x, bottom, -2), right, -1)


def _extended(x: Tensor, amount: int, dim: int) -> Tensor:
    """Mirrors the image beyond its end; where it is too small for that, repeats the edge.

    By slices: the padding kernels of CUDA have no deterministic backward.
    """
    length = x.shape[dim]
    if amount == 0:
        return x
    if amount < length:
        beyond = x.narrow(dim, length - 1 - amount, amount).flip(dim)
    else:
        beyond = x.narrow(dim, length - 1, 1).repeat_interleave(amount, dim)
    return torch.cat([x, beyond], dim)

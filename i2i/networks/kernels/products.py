"""Convolutions of few pixels as one matrix product.

The innermost layers of a U-Net have millions of weights for a handful of pixels: what takes time is to read them, and a
convolution's kernels first bring them into an order of their own, forward and backward. A product with the unfolded
image reads them once, as they lie (Chellapilla et al., "High Performance Convolutional Neural Networks for Document
Processing", 2006).
"""

import torch
import torch.nn.functional as nnf
from torch import Tensor

Pair = tuple[int, int]

WEIGHTS = 1 << 14  # for each pixel, at least: with fewer the unfolded image takes longer than it saves


def gains(x: Tensor, weight: Tensor, stride: Pair, padding: Pair, dilation: Pair) -> bool:
    """Whether a product gives this convolution, and faster."""
    if x.shape[1] != weight.shape[1] or min(*stride, *dilation) < 1 or min(padding) < 0:
        return False
    height, width = _sides(x, weight, stride, padding, dilation)
    return min(height, width) > 0 and _are_few(len(x) * height * width, weight)


def gains_transposed(
    x: Tensor, weight: Tensor, stride: Pair, padding: Pair, output_padding: Pair, dilation: Pair
) -> bool:
    """Whether a product gives this transposed convolution, and faster."""
    if x.shape[1] != len(weight) or min(*stride, *dilation) < 1 or min(*padding, *output_padding) < 0:
        return False
    # With more, which a dilation allows, folding would want further pixels.
    is_inside = all(more < step for more, step in zip(output_padding, stride, strict=True))
    sides = _sides_transposed(x, weight, stride, padding, output_padding, dilation)
    return is_inside and min(sides) > 0 and _are_few(len(x) * x.shape[2] * x.shape[3], weight)


def convolve(x: Tensor, weight: Tensor, bias: Tensor | None, stride: Pair, padding: Pair, dilation: Pair) -> Tensor:
    """A convolution.

    Args:
        x: ``[N, C, H, W]``.
        weight: ``[K, C, h, w]``.
        bias: ``[K]``.
        stride: Of rows and columns.
        padding: Rows and columns of zeros on each side.
        dilation: Distance between the kernel's points.

    Returns:
        ``[N, K, H', W']``, channels-last.
    """
    parts = nnf.unfold(x, _kernel(weight), dilation, padding, stride)  # [N, C h w, pixels]
    y = nnf.linear(parts.transpose(1, 2).flatten(0, 1), weight.flatten(1), bias)
    return y.view(len(x), *_sides(x, weight, stride, padding, dilation), -1).permute(0, 3, 1, 2)


def convolve_transposed(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: Pair, padding: Pair, output_padding: Pair, dilation: Pair
) -> Tensor:
    """A transposed convolution.

    Args:
        x: ``[N, C, H, W]``.
        weight: ``[C, K, h, w]``.
        bias: ``[K]``.
        stride: Of rows and columns.
        padding: Rows and columns that are cut off on each side.
        output_padding: Rows and columns that are added at the end.
        dilation: Distance between the kernel's points.

    Returns:
        ``[N, K, H', W']``, channels-last.
    """
    parts = (x.permute(0, 2, 3, 1).flatten(0, 2) @ weight.flatten(1)).unflatten(0, (len(x), -1))
    sides = _sides_transposed(x, weight, stride, padding, output_padding, dilation)
    y = nnf.fold(parts.transpose(1, 2), sides, _kernel(weight), dilation, padding, stride)
    y = y if bias is None else y + bias.view(-1, 1, 1)
    return y.contiguous(memory_format=torch.channels_last)


def _are_few(pixels: int, weight: Tensor) -> bool:
    return 0 < pixels * WEIGHTS <= weight.numel()


def _kernel(weight: Tensor) -> Pair:
    return weight.shape[2], weight.shape[3]


def _reach(weight: Tensor, dilation: Pair, i: int) -> int:
    """Rows or columns that a kernel spans."""
    return dilation[i] * (weight.shape[2 + i] - 1) + 1


def _sides(x: Tensor, weight: Tensor, stride: Pair, padding: Pair, dilation: Pair) -> Pair:
    """Height and width of a convolution's result."""
    height, width = ((x.shape[2 + i] + 2 * padding[i] - _reach(weight, dilation, i)) // stride[i] + 1 for i in range(2))
    return height, width


def _sides_transposed(
    x: Tensor, weight: Tensor, stride: Pair, padding: Pair, output_padding: Pair, dilation: Pair
) -> Pair:
    """Height and width of a transposed convolution's result."""
    height, width = (
        (x.shape[2 + i] - 1) * stride[i] - 2 * padding[i] + _reach(weight, dilation, i) + output_padding[i]
        for i in range(2)
    )
    return height, width

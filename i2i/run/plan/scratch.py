"""The copies that oneDNN's convolutions on a CPU make of what they read and write, in blocks of 16 channels.

As the profiler shows for torch 2.15 with AVX-512 (tests/run/plan/test_ledger.py): images and weights are copied into
blocks, the result is computed in blocks and copied out of them. Fewer than 16 channels are read as they are.
"""

from torch import Tensor

_BLOCK = 16


def copies_forward(x: Tensor, weight: Tensor, y: Tensor) -> list[int]:
    """Returns the bytes of each copy, the result's last; images are ``[N, C, H, W]``."""
    if x.shape[1] < _BLOCK:
        return [weight.nbytes // weight.shape[0] * _padded(weight.shape[0]), _images(y)]
    return [_images(x), _weight(weight), _images(y)]


def copies_backward(grad: Tensor, x: Tensor, weight: Tensor) -> tuple[list[int], list[int]]:
    """Returns the same for the gradients of the input and of the weight."""
    return [_images(grad), _weight(weight), _images(x)], [_images(grad), _images(x), _weight(weight)]


def _images(x: Tensor) -> int:
    return x.numel() // x.shape[1] * _padded(x.shape[1]) * x.itemsize


def _weight(weight: Tensor) -> int:
    one, other = weight.shape[:2]
    return weight.numel() // (one * other) * _padded(one) * _padded(other) * weight.itemsize


def _padded(channels: int) -> int:
    return -(-channels // _BLOCK) * _BLOCK

"""Padding of images by mode, deterministic where PyTorch is told to be.

CUDA's backward of reflection and replication padding adds atomically, in no fixed order, and refuses to run in
deterministic mode. There the same values are put together from slices, whose backward is plain copies and sums.
"""

from typing import Literal

import torch
import torch.nn.functional as nnf
from torch import Tensor

Padding = Literal["reflect", "replicate", "zero"]


def pad(x: Tensor, amount: int, mode: Padding) -> Tensor:
    """Adds a border of ``amount`` pixels on each of the four sides.

    Args:
        x: ``[N, C, H, W]``, with H and W greater than ``amount`` to reflect.
        amount: Width of the border; zero adds none.
        mode: ``reflect`` mirrors the image without repeating its edge, ``replicate`` repeats the edge.

    Returns:
        ``[N, C, H + 2 amount, W + 2 amount]``.
    """
    if amount == 0:
        return x
    if mode == "zero":
        return nnf.pad(x, (amount,) * 4)
    if torch.are_deterministic_algorithms_enabled():
        return _pad_by_slices(_pad_by_slices(x, amount, mode, dim=2), amount, mode, dim=3)
    if x.device.type == "cpu" and torch.is_autocast_enabled("cpu"):
        # A CPU's autocast has this on its list of what must be float32, and would convert there and back.
        with torch.autocast("cpu", enabled=False):
            return nnf.pad(x, (amount,) * 4, mode=mode)
    return nnf.pad(x, (amount,) * 4, mode=mode)


def _pad_by_slices(x: Tensor, amount: int, mode: Padding, dim: int) -> Tensor:
    size = x.shape[dim]
    if mode == "reflect":
        before = x.narrow(dim, 1, amount).flip(dim)
        after = x.narrow(dim, size - 1 - amount, amount).flip(dim)
    else:
        border = [amount if d == dim else -1 for d in range(x.ndim)]
        before = x.narrow(dim, 0, 1).expand(border)
        after = x.narrow(dim, size - 1, 1).expand(border)
    return torch.cat([before, x, after], dim)


def unpad(gradient: Tensor, amount: int, mode: Padding) -> Tensor:
    """The gradient of :func:`pad`: adds what belongs to the border to the pixels that it was made of.

    Args:
        gradient: ``[N, C, H + 2 amount, W + 2 amount]``, channels-last; overwritten.
        amount: As above.
        mode: As above.

    Returns:
        ``[N, C, H, W]``, channels-last.
    """
    if amount == 0:
        return gradient
    for dim in (2, 3):
        first, last = amount, gradient.shape[dim] - 1 - amount
        for distance in range(1, amount + 1) if mode != "zero" else ():
            inside = distance if mode == "reflect" else 0
            gradient.select(dim, first + inside).add_(gradient.select(dim, first - distance))
            gradient.select(dim, last - inside).add_(gradient.select(dim, last + distance))
    inner = gradient[:, :, amount:-amount, amount:-amount]
    return inner.contiguous(memory_format=torch.channels_last)

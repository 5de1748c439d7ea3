"""Shared numerics of the losses."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


def full_precision(x: Tensor) -> Tensor:
    """Widens float16 and bfloat16 to float32; means over an image lose too much in less. Others pass unchanged."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def without_autocast(x: Tensor) -> AbstractContextManager[object]:
    """Keeps the precision of a tensor's operations as it is, where autocast would lower it."""
    if not torch.amp.is_autocast_available(x.device.type):  # the meta device
        return nullcontext()
    return torch.autocast(x.device.type, enabled=False)

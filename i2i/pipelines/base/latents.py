"""Latents by seed, as users of NVIDIA's generators know them."""

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

MAX_SEED = 2**32 - 1


def latents_of(seeds: Iterable[int], shape: Sequence[int]) -> Tensor:
    """Returns the standard normal latents of seeds, ``[N, *shape]`` float32: the same on every machine.

    Args:
        seeds: Each from 0 to :data:`MAX_SEED`.
        shape: Of one latent.
    """
    drawn = [np.random.RandomState(seed).randn(1, *shape).astype(np.float32) for seed in seeds]
    return torch.from_numpy(np.concatenate(drawn))

"""An order that is random, and yet stays within a few shards at a time.

A shuffle buffer mixes what is read from a few shards at once, and to go on from the middle of a pass, all that was read
before must be read again. Where any image can be read alone, the same mixture is a formula of the number of images in
each shard, and going on at any place of it costs nothing.
"""

import numpy as np


def local_order(counts: np.ndarray, width: int, rng: np.random.Generator) -> np.ndarray:
    """Orders all images of some shards, each once.

    Shards stand in a random order on a ring, and an image of shard ``r`` is drawn at time ``r + u``, with ``u`` uniform
    in ``[0, width)``: at any time, ``width`` shards are open, in the mean one enters as another one leaves, and the
    images of a shard meet those of ``2 width - 1``. On the ring, the first images of a pass are as mixed as all others.

    Args:
        counts: Images of each shard, ``[S]``; they are numbered shard by shard.
        width: Shards that are open at a time.
        rng: Where the order comes from.

    Returns:
        Numbers of the images, int64 ``[sum(counts)]``.
    """
    shards, total = len(counts), int(counts.sum())
    if shards <= width:
        return rng.permutation(total)
    places = np.repeat(rng.permutation(shards), counts)  # of each image's shard on the ring
    times = (places + rng.random(total) * width) % shards
    return np.argsort(times, kind="stable")


def local_passes(counts: np.ndarray, width: int, length: int, rng: np.random.Generator) -> np.ndarray:
    """Lays orders of the same shards end to end; returns the first ``length`` numbers, none more often than needed."""
    passes = -(-length // int(counts.sum()))
    return np.concatenate([local_order(counts, width, rng) for _ in range(passes)])[:length]

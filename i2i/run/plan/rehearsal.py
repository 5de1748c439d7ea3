"""A training step before there is data: what training will step, and a batch of random images."""

import torch
from torch import Tensor

from i2i.pipelines.image_pool import ImagePool
from i2i.run.assembly import build_updater
from i2i.run.experiment import Experiment
from i2i.training.updater import Updater

_IMAGES = 1000  # of an epoch; decides the learning rate alone
_POOLED = 50  # images that a pool really holds in a forecast


def build(experiment: Experiment, device: torch.device) -> Updater:
    """Builds what training steps."""
    updater = build_updater(experiment, _IMAGES, _IMAGES, device, report=lambda _: None)
    updater.pipeline.train()
    return updater


def random_batch(experiment: Experiment) -> dict[str, Tensor]:
    """Returns a batch of the right shapes, labels included; on the CPU, where a loader leaves it."""
    return experiment.data.sample(experiment.settings.batch_size, "cpu")


def fill_pools(updater: Updater) -> int:
    """Fills the image pools, as they will be after some steps, with what they hold after the first.

    Returns:
        The bytes that are missing in a larger pool than :data:`_POOLED`, which keeps no more here.
    """
    missing = 0
    for pool in pools(updater):
        if pool.images:
            kept = min(pool.size, max(_POOLED, len(pool.images)))
            pool.images += [pool.images[0].clone() for _ in range(kept - len(pool.images))]
            missing += (pool.size - kept) * pool.images[0].nbytes
            pool.size = kept
    return missing


def pools(updater: Updater) -> list[ImagePool]:
    return [module for module in updater.pipeline.modules() if isinstance(module, ImagePool)]

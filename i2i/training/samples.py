"""Pictures of what a run makes of its data, while it trains."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from i2i.core.errors import I2IError
from i2i.data.loading.stream import SeededDataset, spread
from i2i.pipelines.base import Applied, View, latents_of
from i2i.training.precision import Precision
from i2i.training.updater import Updater

_FROM_NOISE = 8  # images from noise in a row, or one for each of the first ten classes


def sample_grid(updater: Updater, dataset: SeededDataset, count: int) -> np.ndarray | None:
    """Returns a labelled grid of images spread over a data set, uint8 ``[H, W, 3]``; ``None`` if none can be read.

    Args:
        updater: With the weights to show.
        dataset: Where the images come from.
        count: Of rows.
    """
    from i2i.images.files import make_grid

    columns: dict[str, list[Any]] = {}
    pipeline = updater.pipeline
    noise = {
        name: direction for name, direction in pipeline.directions.items() if direction.target and not direction.source
    }
    applied = Applied(updater.pipeline, Precision("fp32", updater.device))
    with torch.no_grad(), applied.policies():
        for row, index in enumerate(spread(len(dataset), count)):
            item = dataset[(0, index)]
            if isinstance(item, I2IError):  # training names it when it comes to it
                continue
            batch = {k: updater.to_device(v[None]) for k, v in item.items() if isinstance(v, Tensor)}
            updater.seed("sample", index)
            views = pipeline.previews(batch)
            names = _names(dataset)
            seeds = range(row * len(names), (row + 1) * len(names))
            for direction in noise.values():
                label = _labels(batch.get("label"), seeds, dataset.num_classes)
                images = applied.generated(latents_of(seeds, pipeline.latent_shape), label, seeds)
                views |= {name: View(direction.target, y[None]) for name, y in zip(names, images, strict=True)}
            for name, view in views.items():
                pictures = dataset.codecs[view.domain].show(view.images.float().cpu())
                columns.setdefault(name, []).append(np.concatenate(list(pictures), axis=1))
    return make_grid(columns) if columns else None


def _names(dataset: SeededDataset) -> list[str]:
    """Returns the names of the columns of images from noise: classes, where there are such."""
    classes = [str(name) for name in dataset.dataset.class_names]
    return [f"class {name}" for name in classes[:10]] or [f"made {1 + column}" for column in range(_FROM_NOISE)]


def _labels(label: Tensor | None, seeds: Sequence[int], num_classes: int) -> Tensor | None:
    """Returns the labels of images from noise: one class after another, or the item's attributes."""
    if label is None:
        return None
    if num_classes:
        return torch.arange(len(seeds)) % num_classes
    return label[:1].repeat(len(seeds), *[1] * (label.ndim - 1))

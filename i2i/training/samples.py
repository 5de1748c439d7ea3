"""Pictures of what a run makes of its data, while it trains."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from i2i.core.errors import I2IError
from i2i.data.loading.stream import SeededDataset, spread
from i2i.pipelines.policy import translating
from i2i.training.updater import Updater


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
    with torch.no_grad(), translating(pipeline, pipeline.norm_policy, pipeline.dropout_policy):
        for index in spread(len(dataset), count):
            item = dataset[(0, index)]
            if isinstance(item, I2IError):  # training names it when it comes to it
                continue
            batch = {k: updater.to_device(v[None]) for k, v in item.items() if isinstance(v, Tensor)}
            updater.seed("sample", index)
            for name, view in pipeline.previews(batch).items():
                picture = dataset.codecs[view.domain].show(view.images[0].float().cpu())
                columns.setdefault(name, []).append(picture)
    return make_grid(columns) if columns else None

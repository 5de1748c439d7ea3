"""Metrics on held-out images while a model trains, and which of its states was the best."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from i2i.core.errors import DataError
from i2i.core.progress import say
from i2i.data.loading.stream import SeededDataset
from i2i.images.codecs import Codec, LabelCodec
from i2i.pipelines.base import Applied, Direction, Pipeline, latents_of
from i2i.training import distributed
from i2i.training.precision import Precision

_TOGETHER = 8  # images that go through the networks at once, where they are of one size

Item = dict[str, Any]


class Validation:
    """Makes images in each direction and measures them.

    A metric compares ``pairs`` or ``sets`` (:class:`i2i.metrics.base.Metric`). Pairs need a true target: the item's
    ``a_truth`` or ``b_truth`` where the data set knows it, the other image of the pair in a paired set, the image
    itself where a direction reconstructs it. Sets need only images of the target domain, so they work on unpaired data
    and on directions that start from noise. Images are measured as files would hold them.

    Args:
        dataset: Held-out images, with the domains as the pipeline has them.
        metrics: By name; updated and reset here.
        directions: The pipeline's.
        names: The pipeline's direction -> suffix of its metrics' names, ``""`` where there is one.
        every: Steps between two measurements.
        best: The metric that chooses the best state, in the first direction that it measures; ``None`` for none.
        higher_is_better: Which way that metric is good.
        count: Images to measure.
        seed: Decides random numbers of the networks, and latents.
    """

    def __init__(
        self,
        dataset: SeededDataset,
        metrics: Mapping[str, Any],
        directions: Mapping[str, Direction],
        names: Mapping[str, str],
        every: int,
        best: str | None,
        higher_is_better: bool,
        count: int,
        seed: int,
    ) -> None:
        self.dataset, self.metrics = dataset, dict(metrics)
        self.directions = {name: direction for name, direction in directions.items() if direction.target}
        self.names, self.every, self.higher_is_better = dict(names), every, higher_is_better
        self.count, self.seed = count, seed
        self._broken: set[str] = set()
        named = [f"{best}{self.names[way]}" for way in self.directions if best in self._metrics_of(way)]
        self.best = named[0] if best is not None and named else None  # as it is logged

    def check(self) -> None:
        """Checks that each metric measures something.

        Raises:
            DataError: One does not, or no image can be read.
        """
        item = self._first()
        for direction in self.directions.values():
            pairs = [name for name, metric in self.metrics.items() if not _compares_sets(metric)]
            if direction.source and pairs and self.dataset.target_of(item, direction) is None:
                raise DataError(
                    f"these images have no true translation to compare with: their data set is unpaired "
                    f"({', '.join(pairs)})",
                    ["metrics that compare pairs need type: paired, labels or synthetic"],
                )
        idle = set(self.metrics).difference(*(self._metrics_of(direction) for direction in self.directions))
        if idle and all(not direction.source for direction in self.directions.values()):
            raise DataError(
                f"{', '.join(sorted(idle))}: compares pairs of images, and this pipeline makes images from noise",
                ["metrics that compare sets of images can measure it"],
            )
        if idle:
            hints = ["of label maps as a target: data.encoding=onehot"]
            raise DataError(f"{', '.join(sorted(idle))}: needs translations to one-hot classes", hints)

    def measure(self, pipeline: Pipeline, device: torch.device) -> dict[str, float]:
        """Returns each metric, over the images of all processes; the pipeline is left as it was.

        Raises:
            DataError: No image can be read.
        """
        results = {}
        # NCCL gathers what lies on a GPU; MPS knows no float64.
        home = device if device.type == "cuda" else torch.device("cpu")
        applied = Applied(pipeline, Precision("fp32", device))
        for name, direction in self.directions.items():
            metrics = self._metrics_of(name)
            for metric in metrics.values():
                metric.reset()
                if isinstance(metric, nn.Module):
                    metric.to(home)
            is_finite = True
            codec = self.dataset.codecs[direction.target]
            with torch.no_grad(), applied.policies():
                for item, y in self._made(applied, name, direction):
                    is_finite &= bool(torch.isfinite(y).all())
                    seen = _as_file(codec, y)[None].to(home)
                    for metric in metrics.values():
                        if _compares_sets(metric):
                            metric.update(seen, real=False)
                            metric.update(item[direction.target][None].to(home), real=True)
                        else:
                            target = self.dataset.target_of(item, direction)
                            assert target is not None  # check() has looked
                            metric.update(seen, target[None].to(home))
            is_broken = distributed.largest(int(not is_finite), device) > 0  # pixels of a file hide it
            for metric_name, metric in metrics.items():
                results[f"{metric_name}{self.names[name]}"] = math.nan if is_broken else float(metric.compute())
        return results

    def is_better(self, values: Mapping[str, float], than: float | None) -> bool:
        """Returns whether the metric that chooses beats its best value so far."""
        if self.best is None:
            return False
        value = values[self.best]
        return value == value and (than is None or (value > than if self.higher_is_better else value < than))

    def _made(self, applied: Applied, name: str, direction: Direction) -> Iterator[tuple[Item, Tensor]]:
        """Yields this process's items with what the pipeline makes in a direction, ``[C, H, W]`` each."""
        for group in self._groups(direction):
            seeds = [self.seed * 1_000_003 + index for index, _ in group]
            items = [item for _, item in group]
            if direction.source:
                made = applied.outputs([item[direction.source] for item in items], name, seeds.__getitem__)
                yield from ((item, y[0]) for item, y in zip(items, made, strict=True))
            else:
                z = latents_of((seed % 2**32 for seed in seeds), applied.pipeline.latent_shape)
                label = torch.stack([item["label"] for item in items]) if "label" in items[0] else None
                yield from zip(items, applied.generated(z, label, seeds), strict=True)

    def _groups(self, direction: Direction) -> Iterator[list[tuple[int, Item]]]:
        """Yields neighbours whose images are of one size, some at a time."""
        group: list[tuple[int, Item]] = []
        for index, item in self._share():
            domain = direction.source or direction.target
            if group and (len(group) == _TOGETHER or item[domain].shape != group[0][1][domain].shape):
                yield group
                group = []
            group.append((index, item))
        if group:
            yield group

    def _metrics_of(self, name: str) -> dict[str, Any]:
        """Returns the metrics that mean something in a direction."""
        direction = self.directions[name]
        codec = self.dataset.codecs[direction.target]
        has_classes = isinstance(codec, LabelCodec) and codec.encoding == "onehot"
        return {
            name: metric
            for name, metric in self.metrics.items()
            if (has_classes or not getattr(metric, "needs_classes", False))
            and (direction.source or _compares_sets(metric))
        }

    def _share(self) -> Iterator[tuple[int, Item]]:
        """Yields this process's images; all of them where a metric does not gather what the others have seen."""
        from torchmetrics import Metric

        is_gathered = all(isinstance(metric, Metric) for metric in self.metrics.values())
        first, every = (distributed.rank(), distributed.world_size()) if is_gathered else (0, 1)
        usable = 0
        for index in range(first, self.count, every):
            try:
                item = self._item(index)
            except DataError as error:
                self._pass_over(error)
                continue
            usable += 1
            yield index, item
        if distributed.largest(usable, torch.device("cpu")) == 0:
            raise DataError("none of the held-out images can be read")

    def _first(self) -> Item:
        """Returns the first image that can be read."""
        for index in range(self.count):
            try:
                return self._item(index)
            except DataError as error:
                failure = error
        raise failure

    def _pass_over(self, error: DataError) -> None:
        """Names an image that cannot be read, once."""
        if error.message not in self._broken:
            self._broken.add(error.message)
            say(f"validation: {error.message}; it is passed over")

    def _item(self, index: int) -> Item:
        item = self.dataset[(0, index)]
        if isinstance(item, DataError):
            raise item
        return item


def _compares_sets(metric: Any) -> bool:
    return getattr(metric, "compares", "pairs") == "sets"


def _as_file(codec: Codec, y: Tensor) -> Tensor:
    """Returns a result as a file would hold it, in the range of tensors."""
    return codec.encode(codec.fit(codec.decode(y))[0])

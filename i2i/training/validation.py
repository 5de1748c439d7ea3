"""Metrics on held-out images while a model trains, and which of its states was the best."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from i2i.core.errors import DataError
from i2i.core.progress import say
from i2i.data.loading.stream import SeededDataset
from i2i.images.codecs import LabelCodec
from i2i.pipelines.base import Direction, Pipeline
from i2i.pipelines.policy import translating
from i2i.training import distributed


class Validation:
    """Translates held-out images and measures the translations against their targets.

    The target is the item's ``a_truth`` or ``b_truth`` where the data set knows the true partner, and the other image
    of the pair in a paired set. Translations are measured as files would hold them.

    Args:
        dataset: Held-out images, with the domains as the pipeline has them.
        metrics: By name; updated and reset here.
        directions: The pipeline's direction -> suffix of its metrics' names, ``""`` where there is one.
        every: Steps between two measurements.
        best: The metric that chooses the best state, in the first direction that it measures; ``None`` for none.
        higher_is_better: Which way that metric is good.
        count: Images to measure.
        seed: Decides the noise of generators with dropout.
    """

    def __init__(
        self,
        dataset: SeededDataset,
        metrics: Mapping[str, Any],
        directions: Mapping[Direction, str],
        every: int,
        best: str | None,
        higher_is_better: bool,
        count: int,
        seed: int,
    ) -> None:
        self.dataset, self.metrics, self.directions = dataset, dict(metrics), dict(directions)
        self.every, self.higher_is_better = every, higher_is_better
        self.count, self.seed = count, seed
        self._broken: set[str] = set()
        named = [f"{best}{suffix}" for way, suffix in self.directions.items() if best in self._metrics_of(way)]
        self.best = named[0] if best is not None and named else None  # as it is logged

    def check(self) -> None:
        """Looks whether there are targets.

        Raises:
            DataError: There are none, a metric measures nothing, or no image can be read.
        """
        idle = set(self.metrics).difference(*(self._metrics_of(direction) for direction in self.directions))
        if idle:
            hints = ["of label maps as a target: data.encoding=onehot"]
            raise DataError(f"{', '.join(sorted(idle))}: needs translations to one-hot classes", hints)
        item = self._first()
        for direction in self.directions:
            self._pair(item, direction)

    def measure(self, pipeline: Pipeline, device: torch.device) -> dict[str, float]:
        """Returns each metric, over the images of all processes; the pipeline is left as it was.

        Raises:
            DataError: No image can be read.
        """
        results = {}
        policy = (pipeline.norm_policy, pipeline.dropout_policy)
        codecs = self.dataset.codecs
        # NCCL gathers what lies on a GPU; MPS knows no float64.
        home = device if device.type == "cuda" else torch.device("cpu")
        for direction, suffix in self.directions.items():
            codec = codecs[direction[2]]
            metrics = self._metrics_of(direction)
            for metric in metrics.values():
                metric.reset()
                if isinstance(metric, nn.Module):
                    metric.to(home)
            is_finite = True
            with torch.no_grad(), translating(pipeline, *policy):
                for index, item in self._share():
                    x, target = self._pair(item, direction)
                    torch.manual_seed(self.seed * 1_000_003 + index)
                    y = pipeline.translate(x[None].to(device), direction)
                    is_finite &= bool(torch.isfinite(y).all())
                    # As files hold it: a metric of what users get.
                    seen = codec.encode(codec.fit(codec.decode(y[0]))[0])[None].to(home)
                    for metric in metrics.values():
                        metric.update(seen, target[None].to(home))
            is_broken = distributed.largest(int(not is_finite), device) > 0  # pixels of a file hide it
            for name, metric in metrics.items():
                results[f"{name}{suffix}"] = math.nan if is_broken else float(metric.compute())
        return results

    def is_better(self, values: Mapping[str, float], than: float | None) -> bool:
        """Tells whether the metric that chooses beats its best value so far."""
        if self.best is None:
            return False
        value = values[self.best]
        return value == value and (than is None or (value > than if self.higher_is_better else value < than))

    def _metrics_of(self, direction: Direction) -> dict[str, Any]:
        """The metrics that mean something in a direction."""
        codec = self.dataset.codecs[direction[2]]
        has_classes = isinstance(codec, LabelCodec) and codec.encoding == "onehot"
        return {n: m for n, m in self.metrics.items() if has_classes or not getattr(m, "needs_classes", False)}

    def _share(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """This process's images; all of them where a metric does not gather what the others have seen."""
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

    def _first(self) -> dict[str, Any]:
        """The first image that can be read."""
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

    def _item(self, index: int) -> dict[str, Any]:
        item = self.dataset[(0, index)]
        if isinstance(item, DataError):
            raise item
        return item

    def _pair(self, item: dict[str, Any], direction: Direction) -> tuple[Tensor, Tensor]:
        target = self.dataset.target_of(item, direction)
        if target is None:
            raise DataError(
                "these images have no true translation to compare with: their data set is unpaired",
                ["metrics that compare need type: paired, labels or synthetic"],
            )
        return item[direction[0]], target

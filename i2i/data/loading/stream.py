"""Which images make up which step: a pure function of seed and step.

The data set is walked in shuffled passes laid end to end, and each step takes the next slice. Nothing needs to be
saved to continue at any step, no image is drawn more often than another, every batch is full, and no process can run
out of data before the others.
"""

import pickle
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from torch.utils import data
from torch.utils.data import Sampler

from i2i.core.errors import DataError
from i2i.core.plugins import load_plugin_file, loaded_files
from i2i.data.base import Dataset, adapted
from i2i.images.codecs import Codec

Draw = tuple[int, int]  # (epoch, index)
Value = TypeVar("Value")


class Use(Protocol):
    """A direction of a pipeline: the domains that it reads and makes."""

    @property
    def source(self) -> str: ...

    @property
    def target(self) -> str: ...


def generator_of(*key: int) -> np.random.Generator:
    """Returns a NumPy generator that depends on the key alone."""
    return np.random.default_rng(key)


class BatchStream(Sampler[list[Draw]]):
    """Yields each step's share of this process, from one step to another.

    Args:
        length: Images of the data set.
        batch_size: Images of a step, over all processes; or a function from a step to the number of images before it
            and that of its own.
        seed: Decides the order of every pass.
        start: First step.
        stop: Step before which the stream ends.
        rank: This process.
        world_size: Number of processes; divides the images of each step.
        dataset: Decides the order of a pass, and is told what comes; by default all images are shuffled.
    """

    def __init__(
        self,
        length: int,
        batch_size: int | Callable[[int], tuple[int, int]],
        seed: int,
        start: int,
        stop: int,
        rank: int = 0,
        world_size: int = 1,
        dataset: Dataset | None = None,
    ) -> None:
        self.length, self.seed = length, seed
        self._span = batch_size if callable(batch_size) else lambda step: (step * batch_size, batch_size)
        self.start, self.stop = start, stop
        self.rank, self.world_size = rank, world_size
        self.dataset = dataset
        self._orders: dict[int, np.ndarray] = {}
        self._told = -1  # the data set knows what comes before this position

    def __len__(self) -> int:
        return self.stop - self.start

    def __iter__(self) -> Iterator[list[Draw]]:
        for step in range(self.start, self.stop):
            before, count = self._span(step)
            self._tell(before)
            share = count // self.world_size
            first = before + self.rank * share
            yield [self.draw(position) for position in range(first, first + share)]

    def draw(self, position: int) -> Draw:
        """Returns the image at a position of the passes laid end to end."""
        epoch, place = divmod(position, self.length)
        return epoch, int(self._order(epoch)[place])

    def _order(self, epoch: int) -> np.ndarray:
        if epoch not in self._orders:
            rng = generator_of(self.seed, epoch)
            order = rng.permutation(self.length) if self.dataset is None else self.dataset.order(rng)
            # The lookahead crosses into the next epoch and returns: keep the previous order too.
            self._orders = dict([*list(self._orders.items())[-1:], (epoch, order)])
        return self._orders[epoch]

    def _tell(self, position: int) -> None:
        """Tells the data set what comes, again whenever a 32nd of that has been used."""
        count = min(self.dataset.lookahead, self.length) if self.dataset is not None else 0
        if self.dataset is not None and count and position >= self._told:
            epoch, place = divmod(position, self.length)
            rest = self._order(epoch)[place : place + count]
            more = self._order(epoch + 1)[: count - len(rest)] if len(rest) < count else rest[:0]
            self.dataset.expect(np.concatenate([rest, more]))
            self._told = position + max(count // 32, 1)


_MOST = 1.01  # of [-1, 1], with room for rounding
_CHECK = ["i2i.testing.check_dataset tells more"]


class SeededDataset(data.Dataset[dict[str, Any] | DataError]):
    """Gives a data set its random numbers: each item depends on seed, epoch and index alone.

    Args:
        dataset: The data set; one of another base is adapted.
        seed: The run's seed.
        swap: Exchange the domains ``a`` and ``b``.
    """

    def __init__(self, dataset: Any, seed: int, swap: bool = False) -> None:
        self.dataset, self.seed, self.swap = adapted(dataset), seed, swap

    @property
    def codecs(self) -> dict[str, Codec]:
        """What the tensors of each domain mean, exchanged where the domains are."""
        return self._renamed(dict(self.dataset.codecs))

    @property
    def num_classes(self) -> int:
        """Number of classes; 0 without."""
        return self.dataset.num_classes

    def sample(self, count: int, device: str = "meta") -> dict[str, torch.Tensor]:
        """Returns a random batch; see :meth:`i2i.data.base.Dataset.sample`."""
        return self._renamed(self.dataset.sample(count, device))

    @property
    def is_paired(self) -> bool | None:
        """Whether a and b of an item show the same thing; ``None`` where that is not known."""
        return self.dataset.is_paired

    def target_of(self, item: dict[str, Any], direction: Use) -> torch.Tensor | None:
        """Returns what a perfect result of a direction is: the item's truth, the other of the pair, or ``None``.

        Where source and target are one domain, it is the image itself.
        """
        if direction.source == direction.target:
            image: torch.Tensor = item[direction.source]
            return image
        other = item[direction.target] if self.is_paired else None
        truth: torch.Tensor | None = item.get(f"{direction.source}_truth", other)
        return truth

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, draw: Draw) -> dict[str, Any] | DataError:
        """Returns an item, or what is wrong with its files: an exception would lose its form between processes."""
        try:
            return self._item(*draw)
        except DataError as error:
            return error

    def _item(self, epoch: int, index: int) -> dict[str, Any]:
        item = self.dataset.get(index, self._rng(epoch, index))
        if "label" in item:
            item = {**item, "label": self._checked_label(item["label"])}
        return self._renamed(item)

    def check_batch(self, batch: Mapping[str, Any]) -> Iterator[str]:
        """Checks the first batch of a run against what the data set says of itself.

        Yields:
            Lines that are worth to be said.

        Raises:
            DataError: Training would take the images for something else.
        """
        for domain, codec in self.codecs.items():
            images = batch.get(domain)
            if not isinstance(images, torch.Tensor) or not images.is_floating_point() or images.ndim != 4:
                what = f"of {images.dtype}" if isinstance(images, torch.Tensor) else f"of {type(images).__name__}"
                raise DataError(f"the data set's {domain!r} is {what}, expected float32 [C, H, W]", _CHECK)
            if images.shape[1] != codec.channels:
                message = f"the data set's {domain!r} has {images.shape[1]} channels, and its codec {codec.channels}"
                raise DataError(message, _CHECK)
            if (most := float(images.abs().amax())) > _MOST:
                raise DataError(f"the data set's {domain!r} has values up to {most:g}, expected -1 to 1", _CHECK)
        if "label" in batch and not self.num_classes and not self.dataset.num_attributes:
            yield "labels: the data set names neither class_names nor attributes: they are ignored"

    def _checked_label(self, label: Any) -> torch.Tensor:
        """Refuses a class that there is not: networks would take it for none at all, without a word."""
        classes, attributes = self.num_classes, self.dataset.num_attributes
        value = torch.as_tensor(label)
        if classes and (value.ndim or not 0 <= int(value) < classes):
            raise ValueError(f"its label is {label}, expected a class from 0 to {classes - 1}")
        if attributes and not classes and value.shape != (attributes,):
            raise ValueError(f"its label has the shape {list(value.shape)}, expected {attributes} attributes")
        return value

    def _renamed(self, values: dict[str, Value]) -> dict[str, Value]:
        return {_swapped(key): value for key, value in values.items()} if self.swap else values

    def reseeded(self, seed: int) -> "SeededDataset":
        """Returns the same data set with other random numbers."""
        return SeededDataset(self.dataset, seed, self.swap)

    def paths_of(self, draw: Draw) -> list[str]:
        """Returns the files of an item, without reading them."""
        epoch, index = draw
        return list(self.dataset.paths_of(index, self._rng(epoch, index)))

    def _rng(self, epoch: int, index: int) -> np.random.Generator:
        # The trailing 1 keeps these apart from the generators that shuffle.
        return generator_of(self.seed, epoch, index, 1)

    def __getstate__(self) -> dict[str, Any]:
        # A process that is started afresh must run the plugin files before it can make sense of their classes.
        return {**self.__dict__, "dataset": pickle.dumps(self.dataset), "plugins": loaded_files()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        for plugin in state.pop("plugins"):
            load_plugin_file(plugin)
        self.__dict__.update(state, dataset=pickle.loads(state["dataset"]))


def spread(length: int, count: int) -> list[int]:
    """Indices over the whole of a data set, whose neighbours may be alike."""
    return [number * length // min(count, length) for number in range(min(count, length))]


def _swapped(key: str) -> str:
    for one, other in (("a", "b"), ("b", "a")):
        if key == one or key.startswith(f"{one}_"):
            return other + key[1:]
    return key

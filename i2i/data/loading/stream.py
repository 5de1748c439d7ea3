"""Which images make up which step: a pure function of seed and step.

The data set is walked in shuffled passes laid end to end, and step ``k`` takes the ``k``-th slice. Nothing needs to be
saved to continue at any step, no image is drawn more often than another, every batch is full, and no process can run
out of data before the others.
"""

import pickle
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset, Sampler

from i2i.core.errors import DataError
from i2i.core.plugins import load_plugin_file, loaded_files
from i2i.images.codecs import Codec, codecs_of

Draw = tuple[int, int]  # (epoch, index)


def generator_of(*key: int) -> np.random.Generator:
    """Returns a NumPy generator that depends on the key alone."""
    return np.random.default_rng(key)


class BatchStream(Sampler[list[Draw]]):
    """Yields each step's share of this process, from one step to another.

    Args:
        length: Images of the data set.
        batch_size: Images of a step, over all processes.
        seed: Decides the order of every pass.
        start: First step.
        stop: Step before which the stream ends.
        rank: This process.
        world_size: Number of processes; divides ``batch_size``.
        dataset: May have an order of its own, ``order(rng) -> [length]``, as one whose neighbours lie in one file: the
            numbers that ``get`` is to be given, each an image's, to which multiples of the length may be added that
            mean something to the data set. One with a ``lookahead`` above 0 is told of so many coming numbers, by
            ``expect(numbers)``, in good time.
    """

    def __init__(
        self,
        length: int,
        batch_size: int,
        seed: int,
        start: int,
        stop: int,
        rank: int = 0,
        world_size: int = 1,
        dataset: Any = None,
    ) -> None:
        self.length, self.batch_size, self.seed = length, batch_size, seed
        self.start, self.stop = start, stop
        self.rank, self.share = rank, batch_size // world_size
        self.dataset = dataset
        self._orders: dict[int, np.ndarray] = {}
        self._told = -1  # the data set knows what comes before this position

    def __len__(self) -> int:
        return self.stop - self.start

    def __iter__(self) -> Iterator[list[Draw]]:
        for step in range(self.start, self.stop):
            self._tell(step * self.batch_size)
            first = step * self.batch_size + self.rank * self.share
            yield [self.draw(position) for position in range(first, first + self.share)]

    def draw(self, position: int) -> Draw:
        """Returns the image at a position of the passes laid end to end."""
        epoch, place = divmod(position, self.length)
        return epoch, int(self._order(epoch)[place])

    def _order(self, epoch: int) -> np.ndarray:
        if epoch not in self._orders:
            rng, order = generator_of(self.seed, epoch), getattr(self.dataset, "order", None)
            kept = list(self._orders.items())[-1:]  # who looks ahead goes back once more
            self._orders = dict([*kept, (epoch, rng.permutation(self.length) if order is None else order(rng))])
        return self._orders[epoch]

    def _tell(self, position: int) -> None:
        """Tells the data set what comes, again whenever a 32nd of that has been used."""
        count = min(getattr(self.dataset, "lookahead", 0), self.length)
        if count and position >= self._told:
            epoch, place = divmod(position, self.length)
            rest = self._order(epoch)[place : place + count]
            more = self._order(epoch + 1)[: count - len(rest)] if len(rest) < count else rest[:0]
            self.dataset.expect(np.concatenate([rest, more]))
            self._told = position + max(count // 32, 1)


class SeededDataset(Dataset[dict[str, Any] | DataError]):
    """Gives a data set its random numbers: each item depends on seed, epoch and index alone.

    A data set with ``get(index, rng)`` draws from the generator that it receives. For any other the global generators
    are seeded before each item.

    Args:
        dataset: The data set.
        seed: The run's seed.
        swap: Exchange the domains ``a`` and ``b``.
    """

    def __init__(self, dataset: Any, seed: int, swap: bool = False) -> None:
        self.dataset, self.seed, self.swap = dataset, seed, swap

    @property
    def codecs(self) -> dict[str, Codec]:
        """What the tensors of each domain mean, exchanged where the domains are."""
        codecs = codecs_of(self.dataset)
        return {_swapped(domain): codec for domain, codec in codecs.items()} if self.swap else codecs

    @property
    def is_paired(self) -> bool | None:
        """Whether a and b of an item show the same thing; ``None`` where the data set does not tell."""
        paired: bool | None = getattr(self.dataset, "paired", getattr(self.dataset, "joint", None))
        return paired

    def target_of(self, item: dict[str, Any], direction: str) -> torch.Tensor | None:
        """Returns what a perfect translation of an item gives: its own truth, or the other of the pair, or ``None``."""
        source, target = direction[0], direction[2]
        truth: torch.Tensor | None = item.get(f"{source}_truth", item[target] if self.is_paired else None)
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
        rng = self._rng(epoch, index)
        if hasattr(self.dataset, "get"):
            item = self.dataset.get(index, rng)
        else:
            seed = int(rng.integers(2**32))
            random.seed(seed)
            np.random.seed(seed)
            torch.manual_seed(seed)
            item = self.dataset[index]
        return {_swapped(key): value for key, value in item.items()} if self.swap else item

    def reseeded(self, seed: int) -> "SeededDataset":
        """Returns the same data set with other random numbers."""
        return SeededDataset(self.dataset, seed, self.swap)

    def paths_of(self, draw: Draw) -> list[str]:
        """Names the files of an item, without reading them; its number where the data set does not tell."""
        epoch, index = draw
        find = getattr(self.dataset, "paths_of", None)
        return list(find(index, self._rng(epoch, index))) if find is not None else [f"item {index}"]

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

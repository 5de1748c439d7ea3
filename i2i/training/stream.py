"""Which images make up which step: a pure function of seed and step.

The data set is walked in shuffled passes laid end to end, and step ``k`` takes the ``k``-th slice. Nothing needs to be
saved to continue at any step, no image is drawn more often than another, every batch is full, and no process can run
out of data before the others.
"""

import random
import signal
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

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
    """

    def __init__(
        self, length: int, batch_size: int, seed: int, start: int, stop: int, rank: int = 0, world_size: int = 1
    ) -> None:
        self.length, self.batch_size, self.seed = length, batch_size, seed
        self.start, self.stop = start, stop
        self.rank, self.share = rank, batch_size // world_size
        self._order: tuple[int, np.ndarray] = (-1, np.empty(0))

    def __len__(self) -> int:
        return self.stop - self.start

    def __iter__(self) -> Iterator[list[Draw]]:
        for step in range(self.start, self.stop):
            first = step * self.batch_size + self.rank * self.share
            yield [self.draw(position) for position in range(first, first + self.share)]

    def draw(self, position: int) -> Draw:
        """Returns the image at a position of the passes laid end to end."""
        epoch, place = divmod(position, self.length)
        if self._order[0] != epoch:
            self._order = (epoch, generator_of(self.seed, epoch).permutation(self.length))
        return epoch, int(self._order[1][place])


class SeededDataset(Dataset[dict[str, Any]]):
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

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, draw: Draw) -> dict[str, Any]:
        epoch, index = draw
        # The trailing 1 keeps these apart from the generators that shuffle.
        rng = generator_of(self.seed, epoch, index, 1)
        if hasattr(self.dataset, "get"):
            item = self.dataset.get(index, rng)
        else:
            seed = int(rng.integers(2**32))
            random.seed(seed)
            np.random.seed(seed)
            torch.manual_seed(seed)
            item = self.dataset[index]
        return {_swapped(key): value for key, value in item.items()} if self.swap else item


def _swapped(key: str) -> str:
    for one, other in (("a", "b"), ("b", "a")):
        if key == one or key.startswith(f"{one}_"):
            return other + key[1:]
    return key


def build_loader(dataset: SeededDataset, stream: BatchStream, workers: int, pin_memory: bool) -> DataLoader[Any]:
    """Returns a loader that yields one collated batch a step."""
    return DataLoader(
        dataset,
        batch_sampler=stream,
        num_workers=workers,
        pin_memory=pin_memory,
        worker_init_fn=_quiet_worker,
        generator=torch.Generator(),  # the loader would otherwise draw from the global one
    )


def _quiet_worker(_: int) -> None:
    """Leaves Ctrl-C to the main process, and the cores to each other."""
    import cv2

    cv2.setNumThreads(0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)

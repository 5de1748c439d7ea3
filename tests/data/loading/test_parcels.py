"""Batches arrive as the items were, through memory that is used again."""

import gc
import multiprocessing
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch.utils.data import default_collate

from i2i.data.loading import loader as loading
from i2i.data.loading import parcels
from i2i.data.loading.loader import Loader
from i2i.data.loading.parcels import Parcel
from i2i.data.loading.stream import BatchStream, SeededDataset

LENGTH = 24


class Items:
    """Items of all kinds; ``odd`` ones differ in size."""

    def __init__(self, odd: bool = False, size: int = 3) -> None:
        self.odd, self.size = odd, size

    def __len__(self) -> int:
        return LENGTH

    def get(self, index, rng):
        width = self.size + (index % 2 if self.odd else 0)
        return {
            "path": f"{index}.png",
            "a": torch.full((2, self.size, width), float(index)),
            "label": torch.tensor(index),
            "flag": torch.tensor([index % 2 == 0]),
            "half": torch.full((5,), index, dtype=torch.bfloat16),
            "turned": torch.arange(6.0).reshape(2, 3).T + index,
            "number": index,
            "nested": {"x": torch.tensor([index])},
        }

    def paths_of(self, index, rng):
        return (f"{index}.png",)


@pytest.fixture
def seen(monkeypatch) -> Iterator[list[object]]:
    """What arrives from loader processes, before it is copied out."""
    kinds: list[object] = []
    real = Loader._next

    def spying(self, *arguments):
        loaded = real(self, *arguments)
        if loaded is not None:
            kinds.append(loaded["batch"])
        return loaded

    monkeypatch.setattr(Loader, "_next", spying)
    yield kinds


def load(dataset, workers, batch_size=3, steps=20):
    stream = BatchStream(LENGTH, batch_size, seed=1, start=0, stop=steps)
    return list(Loader(SeededDataset(dataset, seed=1), workers).batches(stream))


def expected(dataset, batch_size=3, steps=20):
    seeded = SeededDataset(dataset, seed=1)
    stream = BatchStream(LENGTH, batch_size, seed=1, start=0, stop=steps)
    return [default_collate([seeded[draw] for draw in draws]) for draws in stream]


def assert_same(batches, others):
    assert len(batches) == len(others)
    for one, other in zip(batches, others, strict=True):
        assert list(one) == list(other)
        for key, value in other.items():
            if isinstance(value, dict):
                assert_same([one[key]], [value])
            elif isinstance(value, torch.Tensor):
                assert one[key].dtype == value.dtype
                assert torch.equal(one[key], value)
            else:
                assert one[key] == value


@pytest.mark.parametrize("workers", [1, 2])
def test_batches_are_what_torch_makes_of_the_items(workers, seen):
    assert_same(load(Items(), workers), expected(Items()))  # all are kept: what is used again must have been copied
    assert len(seen) == 20 and all(isinstance(one, Parcel) for one in seen)


@pytest.mark.parametrize("method", [pytest.param("spawn", marks=pytest.mark.slow), "forkserver"])
def test_processes_started_afresh_share_the_slots(method, seen, monkeypatch):
    monkeypatch.setattr(
        multiprocessing.context._default_context, "_actual_context", multiprocessing.get_context(method)
    )
    assert_same(load(Items(), 1, steps=8), expected(Items(), steps=8))
    assert all(isinstance(one, Parcel) for one in seen)


def test_what_does_not_fit_goes_torchs_way(seen, monkeypatch):
    monkeypatch.setattr(parcels, "_SLOT_BYTES", 1 << 10)
    assert_same(load(Items(size=20), 1), expected(Items(size=20)))
    assert not any(isinstance(one, Parcel) for one in seen)


def test_where_nothing_is_shared_all_goes_torchs_way(seen, monkeypatch):
    monkeypatch.setattr(parcels, "_memory", lambda size: None)
    assert_same(load(Items(), 2), expected(Items()))
    assert not any(isinstance(one, Parcel) for one in seen)


def test_sizes_may_change_from_batch_to_batch(seen):
    assert_same(load(Items(odd=True), 2, batch_size=1), expected(Items(odd=True), batch_size=1))
    assert all(isinstance(one, Parcel) for one in seen)


def test_pinning_copies_every_tensor_out(monkeypatch):
    """There is no GPU here: what would be pinned is counted."""
    pinned = []
    real = torch.empty
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self: pinned.append("rest") or self)

    def empty(*shape, pin_memory=False, **options):
        if pin_memory:
            pinned.append("slot")
        return real(*shape, **options)

    monkeypatch.setattr(torch, "empty", empty)
    monkeypatch.setattr(Loader, "_checked", lambda self, step, loaded, _: loaded["batch"].pin_memory())
    assert_same(load(Items(), 1, steps=4), expected(Items(), steps=4))
    assert pinned.count("slot") == 4 * 5 and pinned.count("rest") == 4


def test_a_slot_that_was_written_over_is_noticed(monkeypatch):
    """Were a process to run further ahead than there are slots, no wrong batch would be trained on."""
    monkeypatch.setattr(loading, "IN_FLIGHT", 9)
    real = Loader._next

    def late(self, *arguments):
        loaded = real(self, *arguments)
        time.sleep(0.5)  # the process uses it
        return loaded

    monkeypatch.setattr(Loader, "_next", late)
    with pytest.raises(RuntimeError, match="written over a batch"):
        load(Items(), 1)


def test_nothing_stays_open():
    def descriptors():
        gc.collect()
        return len(list(Path("/proc/self/fd").iterdir()))

    load(Items(), 2, steps=4)
    before = descriptors()
    for _ in range(3):
        load(Items(), 2, steps=4)
    assert descriptors() <= before + 1

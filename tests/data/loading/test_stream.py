import random
from collections import Counter
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from i2i.core.errors import DataError
from i2i.data.base import Dataset
from i2i.data.loading.loader import Loader
from i2i.data.loading.stream import BatchStream, SeededDataset
from i2i.images.codecs import ImageCodec


def draws(stream):
    return [draw for batch in stream for draw in batch]


def test_every_image_is_drawn_once_a_pass():
    passes = draws(BatchStream(length=7, batch_size=3, seed=0, start=0, stop=7))  # 21 draws: three passes
    assert Counter(index for _, index in passes) == Counter(dict.fromkeys(range(7), 3))
    assert [epoch for epoch, _ in passes] == [0] * 7 + [1] * 7 + [2] * 7
    orders = [[index for epoch, index in passes if epoch == one] for one in range(3)]
    assert orders[0] != orders[1] != orders[2]


def test_a_batch_larger_than_the_data_is_full():
    assert [len(batch) for batch in BatchStream(length=3, batch_size=8, seed=0, start=0, stop=2)] == [8, 8]


def test_starting_late_continues_the_same_stream():
    whole = draws(BatchStream(10, 4, seed=3, start=0, stop=12))
    late = draws(BatchStream(10, 4, seed=3, start=5, stop=12))
    assert late == whole[5 * 4 :]


def test_ranks_share_each_batch():
    whole = list(BatchStream(10, 4, seed=3, start=0, stop=6))
    ranks = [list(BatchStream(10, 4, seed=3, start=0, stop=6, rank=rank, world_size=2)) for rank in range(2)]
    assert [one + other for one, other in zip(*ranks, strict=True)] == whole


def test_seeds_differ():
    assert draws(BatchStream(50, 1, 0, 0, 50)) != draws(BatchStream(50, 1, 1, 0, 50))


class Plain:
    """A plugin's data set that knows nothing of generators and draws from the global ones."""

    def __len__(self):
        return 6

    def __getitem__(self, index):
        noise = [random.random(), float(np.random.rand()), float(torch.rand(()))]
        return {"a": torch.tensor([index, *noise], dtype=torch.float64)}


class WithGenerator(Plain):
    def get(self, index, rng):
        return {"a": torch.tensor([index, rng.random()], dtype=torch.float64)}


@pytest.mark.parametrize("kind", [Plain, WithGenerator])
def test_items_do_not_depend_on_the_number_of_workers(kind):
    def load(workers):
        stream = BatchStream(6, 2, seed=1, start=0, stop=6)
        loader = Loader(SeededDataset(kind(), seed=1), workers)
        return torch.cat([batch["a"] for batch in loader.batches(stream)])

    alone = load(0)
    assert torch.equal(alone, load(1))
    assert torch.equal(alone, load(2))
    assert len(torch.unique(alone[:, 1])) == 12  # another draw of the same image has other noise


def test_swapping_exchanges_the_domains():
    class Named:
        def __getitem__(self, index):
            return {"a": 1, "b": 2, "a_path": "one", "b_path": "two", "a_mask": 3, "apple": 4}

    item = SeededDataset(Named(), seed=0, swap=True)[(0, 0)]
    assert item == {"b": 1, "a": 2, "b_path": "one", "a_path": "two", "b_mask": 3, "apple": 4}


class Labelled(Dataset):
    codecs: ClassVar[Any] = {"image": ImageCodec(1)}

    def __init__(self, label, **declared):
        self.label = label
        for name, value in declared.items():
            setattr(self, name, value)

    def __len__(self):
        return 3

    def get(self, index, rng):
        return {"image": torch.zeros(1, 2, 2), "label": self.label, "path": "p"}


@pytest.mark.parametrize(
    ("label", "declared", "message"),
    [
        (3, {"class_names": "abc"}, "its label is 3, expected a class from 0 to 2"),
        (-1, {"class_names": "abc"}, "its label is -1"),
        (torch.tensor([1]), {"class_names": "abc"}, "expected a class"),
        (torch.ones(3), {"attributes": ["x", "y"]}, "expected 2 attributes"),
        (torch.tensor(1), {"attributes": ["x", "y"]}, "expected 2 attributes"),
    ],
)
def test_labels_that_the_data_set_does_not_declare_are_refused(label, declared, message):
    with pytest.raises(ValueError, match=message):
        SeededDataset(Labelled(label, **declared), 0)[0, 1]


@pytest.mark.parametrize(
    ("label", "declared"), [(2, {"class_names": "abc"}), (torch.ones(2), {"attributes": ["x", "y"]}), (9, {})]
)
def test_other_labels_pass(label, declared):
    assert SeededDataset(Labelled(label, **declared), 0)[0, 1]["label"].equal(torch.as_tensor(label))


class Declared(Dataset):
    codecs: ClassVar = {"image": ImageCodec(1)}

    def __len__(self):
        return 1

    def get(self, index, rng):
        raise AssertionError


IMAGES = torch.zeros(2, 1, 4, 4)


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        ({}, "'image' is of NoneType"),
        ({"image": IMAGES.to(torch.uint8)}, "'image' is of torch.uint8"),
        ({"image": IMAGES.repeat(1, 3, 1, 1)}, "'image' has 3 channels, and its codec 1"),
        ({"image": IMAGES + 255}, "'image' has values up to 255, expected -1 to 1"),
    ],
)
def test_a_first_batch_that_is_not_what_the_data_set_says(batch, message):
    with pytest.raises(DataError, match=message):
        list(SeededDataset(Declared(), 0).check_batch(batch))


def test_labels_without_names_are_told():
    told = list(SeededDataset(Declared(), 0).check_batch({"image": IMAGES, "label": torch.zeros(2)}))
    assert told == ["labels: the data set names neither class_names nor attributes: they are ignored"]
    assert not list(SeededDataset(Declared(), 0).check_batch({"image": IMAGES - 1}))

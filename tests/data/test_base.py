"""The base of data sets: what a subclass gets for nothing, and views of data sets that have another base."""

from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from i2i.data.base import Adapted, Dataset, adapted
from i2i.images.codecs import ImageCodec


class Small(Dataset):
    codecs: ClassVar[Any] = {"a": ImageCodec(3), "b": ImageCodec(1)}
    size = (6, 4)

    def __len__(self):
        return 5

    def get(self, index, rng):
        return {"a": torch.full((3, 6, 4), float(rng.random())), "b": torch.zeros(1, 6, 4)}


def test_a_subclass_needs_no_more_than_codecs_length_and_get():
    data = Small()
    assert data.channels == {"a": 3, "b": 1}
    assert (data.num_classes, data.num_attributes, data.splits, data.notes, data.is_paired) == (0, 0, (), (), None)
    assert sorted(data.order(np.random.default_rng(0))) == [0, 1, 2, 3, 4]
    assert torch.equal(data[2]["a"], data[2]["a"]) and not torch.equal(data[2]["a"], data[3]["a"])
    assert data.paths_of(3, np.random.default_rng(0)) == ("item 3",)
    data.scan(), data.expect(np.arange(3))


@pytest.mark.parametrize("index", [-1, 5])
def test_there_is_no_item_beyond_the_end(index):
    with pytest.raises(IndexError):
        Small()[index]


@pytest.mark.parametrize("method", ["__len__", "get"])
def test_what_is_missing_is_named(method):
    class Lacking(Dataset):
        codecs: ClassVar[Any] = {"a": ImageCodec(3)}

    with pytest.raises(NotImplementedError, match=f"Lacking has no {method}"):
        getattr(Lacking(), method)(*([] if method == "__len__" else [0, None]))


def test_a_sample_has_the_shapes_of_a_batch():
    data = Small()
    batch = data.sample(2)
    assert {k: (tuple(v.shape), v.device.type) for k, v in batch.items()} == {
        "a": ((2, 3, 6, 4), "meta"),
        "b": ((2, 1, 6, 4), "meta"),
    }
    real = data.sample(3, "cpu")
    assert real["a"].shape == (3, 3, 6, 4) and -1 <= real["a"].min() < real["a"].max() <= 1
    assert torch.equal(real["a"], data.sample(3, "cpu")["a"])


def test_a_sample_has_labels():
    data = Small()
    data.class_names = ("x", "y", "z")
    label = data.sample(50, "cpu")["label"]
    assert label.dtype == torch.int64 and set(label.tolist()) == {0, 1, 2}
    assert data.sample(2)["label"].shape == (2,) and data.sample(2)["label"].device.type == "meta"
    data.class_names, data.attributes = (), ("old", "smiling")
    assert data.sample(4, "cpu")["label"].shape == (4, 2)


def test_without_a_size_there_is_no_sample():
    data = Small()
    data.size = None
    with pytest.raises(ValueError, match="no fixed size"):
        data.sample(2)


class Old:
    """As for i2i 0.1: no base, channels as a mapping."""

    channels: ClassVar[Any] = {"a": 3, "b": 3}
    size = (8, 8)
    paired = True
    notes: ClassVar[Any] = ["converted"]

    def __len__(self):
        return 4

    def __getitem__(self, index):
        return {"a": torch.rand(3), "index": index, "noise": np.random.random()}

    def paths_of(self, index, rng):
        return [f"{index}.png"]


def test_what_another_base_has_is_used_and_what_it_lacks_has_a_default():
    view = adapted(Old())
    assert isinstance(view, Adapted) and view.channels == {"a": 3, "b": 3} and view.size == (8, 8)
    assert view.is_paired is True and view.notes == ("converted",) and view.num_classes == 0 and len(view) == 4
    assert view.paths_of(2, np.random.default_rng(0)) == ("2.png",)
    assert view.sample(2)["b"].shape == (2, 3, 8, 8)
    assert adapted(view) is view and adapted(small := Small()) is small


def test_global_random_numbers_come_from_the_generator_that_is_given():
    view = adapted(Old())
    one, other = (view.get(1, np.random.default_rng(5)) for _ in range(2))
    assert torch.equal(one["a"], other["a"]) and one["noise"] == other["noise"]
    assert view.get(1, np.random.default_rng(6))["noise"] != one["noise"]

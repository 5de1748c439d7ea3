"""The contract of data sets."""

import pickle
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import default_collate

from i2i.data.base import Dataset, adapted
from i2i.data.loading.stream import SeededDataset
from i2i.images.codecs import codec_of, codecs_of
from i2i.testing.clauses import Subject, seeded


def check_dataset(component: Callable[..., Any], **arguments: Any) -> None:
    """Checks a data set: channels, items and their ranges, and that randomness comes from where it should.

    Args:
        component: The class.
        **arguments: What a YAML would give; where it reads files, of a folder that holds some.

    Raises:
        AssertionError: Names the clause that is broken.
    """
    subject = Subject(component, arguments)
    dataset = subject.build()
    channels = getattr(dataset, "channels", None)
    counts = list(channels.values()) if isinstance(channels, Mapping) else []
    subject.require(
        bool(counts) and all(isinstance(count, int) and count > 0 for count in counts),
        f"the attribute 'channels' is {channels!r}, expected a mapping such as {{'a': 3, 'b': 3}}",
    )
    counted = dict(channels or {})
    with subject.doing("its codecs cannot be told"):
        own = codecs_of(dataset)
    for name, codec in own.items():
        with subject.doing(f"the codec of {name!r} does not describe itself"):
            described = codec_of(codec.describe()).channels
        subject.require(
            described == codec.channels == counted[name],
            f"the codec of {name!r} has {codec.channels} channels, 'channels' says {counted[name]}",
        )
    with subject.doing("cannot be sent to a worker process (pickle)"):
        pickle.loads(pickle.dumps(dataset))
    with subject.doing("its length cannot be told"):
        length = len(dataset)
    subject.require(length > 0, "is empty")

    size = getattr(dataset, "size", None)
    items = []
    for index in dict.fromkeys((0, length // 2, length - 1)):
        item = _item(subject, dataset, (0, index), disturbance=1)
        _check_item(subject, item, counted, size)
        _check_label(subject, item, adapted(dataset))
        items.append(item)
        again = _item(subject, dataset, (0, index), disturbance=2)
        source = "the generator given to get()" if hasattr(dataset, "get") else "the global random states"
        subject.require(_same(item, again), f"item {index} read twice differs: all randomness must come from {source}")
    subject.require(all(item.keys() == items[0].keys() for item in items), "items have different keys")
    with subject.doing("an item cannot be made part of a batch"):
        default_collate(items[:1])
    with subject.doing("cannot be sent to a worker process (pickle) once it was read"):
        pickle.loads(pickle.dumps(dataset))


def _item(subject: Subject, dataset: Any, draw: tuple[int, int], disturbance: int) -> Mapping[str, Any]:
    """Reads an item as the trainer does, whatever happened to the global random states before."""
    with _disturbed(disturbance), subject.doing(f"item {draw[1]} cannot be read"):
        item: Any = SeededDataset(dataset, seed=0)[draw]
    subject.require(isinstance(item, Mapping), f"an item is {type(item).__name__}, expected a dict")
    return item


@contextmanager
def _disturbed(seed: int) -> Iterator[None]:
    """Changes the global random states, and puts them back."""
    states = random.getstate(), np.random.get_state()
    random.seed(seed)
    np.random.seed(seed)
    try:
        with seeded(seed):
            yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])


def _check_item(subject: Subject, item: Mapping[str, Any], channels: Mapping[str, int], size: Any) -> None:
    for name, count in channels.items():
        image = item.get(name)
        subject.require(isinstance(image, Tensor), f"an item has no tensor {name!r}, which 'channels' names")
        assert isinstance(image, Tensor)  # for the type checker
        shown, shape = f"{name!r} of an item", list(image.shape)
        subject.require(len(shape) == 3 and shape[0] == count, f"{shown} has shape {shape}, expected [{count}, H, W]")
        if size is not None:
            subject.require(shape[1:] == list(size), f"{shown} has shape {shape}, but the attribute 'size' is {size}")
        subject.require(image.dtype == torch.float32, f"{shown} is {image.dtype}, expected float32")
        low, high = float(image.min()), float(image.max())
        subject.require(low >= -1 and high <= 1, f"{shown} has values in [{low:.3g}, {high:.3g}], expected [-1, 1]")
        key = "path" if name == "image" else f"{name}_path"
        subject.require(isinstance(item.get(key), str), f"{key!r} of an item is {item.get(key)!r}, expected text")


def _check_label(subject: Subject, item: Mapping[str, Any], dataset: Dataset) -> None:
    """Checks the type of an item's label, where it has one; its range has been checked as it was read."""
    label = item.get("label")
    if label is None:
        has_labels = bool(dataset.num_classes or dataset.num_attributes)
        subject.require(not has_labels, "declares classes or attributes, and an item has no 'label'")
        return
    shown = f"'label' of an item is {label!r}"
    if dataset.num_attributes:
        is_row = isinstance(label, Tensor) and label.is_floating_point()
        subject.require(is_row, f"{shown}, expected a float tensor, one number for each attribute")
        return
    is_scalar = isinstance(label, Tensor) and label.dtype == torch.int64 and label.ndim == 0
    subject.require(is_scalar, f"{shown}, expected an int64 scalar tensor")
    subject.require(bool(dataset.num_classes), f"{shown}, but the attribute 'num_classes' is {dataset.num_classes}")


def _same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return one.keys() == other.keys() and all(
        torch.equal(one[key], other[key]) if isinstance(one[key], Tensor) else one[key] == other[key] for key in one
    )

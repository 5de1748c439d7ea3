"""The files of a YAML's data set, in all its splits, and of its validation, read as training would read them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from i2i.core.config.build import make
from i2i.core.config.document import Node, load_config, merge
from i2i.core.errors import DataError, I2IError
from i2i.core.registry import DATASETS
from i2i.data.finding.files import list_images
from i2i.data.folder import Folder
from i2i.data.two_domains import TwoDomains
from i2i.run.checks import DATA_KEYS, Data, load_plugins, make_data
from i2i.run.doctor.subject import Group, Subject
from i2i.run.held_out import check_validation


def examine_config(config: str, overrides: list[str]) -> Subject:
    """Finds the files that a YAML's ``data`` and ``validation`` name.

    Raises:
        ConfigError: They are wrong.
        DataError: The files are not there, or the data set has none.
    """
    root = load_config(config, overrides)
    load_plugins(root)
    data = make_data(root)
    held_out = check_validation(root, data)
    datasets = [*_splits(data), *([held_out.dataset] if held_out else [])]
    kind = data.node.plain()["type"]
    if not isinstance(data.dataset, TwoDomains | Folder):
        raise I2IError(
            f"{config}: the data set {kind!r} has no files that could be examined",
            ["a folder of images can be: doctor FOLDER"],
        )
    subject = Subject(f"{config}, {data.dataset.root}")
    seen = set()
    for dataset in datasets:
        place = (Path(dataset.root).resolve(), dataset.split)
        if place not in seen:
            seen.add(place)
            _add(subject, dataset)
    if subject.count == 0:
        raise DataError(f"{config}: no images")
    for folder in dict.fromkeys(root for root, _ in seen):
        subject.look_around(folder)
    return subject


def _splits(data: Data) -> Iterator[Any]:
    """The data set as it is trained on, and its other splits."""
    yield data.dataset
    for split in getattr(data.dataset, "splits", ()):
        if split != data.dataset.split:
            change = Node({"split": Node(split, data.node.place, ("split",))}, data.node.place)
            yield make(DATASETS, merge(data.node, change).without(DATA_KEYS))


def _add(subject: Subject, dataset: Any) -> None:
    root, split = Path(dataset.root), dataset.split
    least = dataset.transforms.least_size
    if isinstance(dataset, Folder):
        paths = dataset.list_files()
        folder = root / split if (root / split).is_dir() else root
        subject.add(Group(split, split, paths, codec=dataset.codecs["image"], least=least), folder)
        return
    a, b = dataset.find()
    before = len(subject.groups)
    if a.half and b.half:
        paths = a.paths or list(map(str, list_images(a.folder)))
        subject.add(Group(split, split, paths, halves=((a.codec, a.half), (b.codec, b.half))), a.folder)
    else:
        listed = bool(a.paths)
        pairings = len(subject.pairings)
        subject.add_sides((a, b), split, root, dataset.joint and not listed)
        if listed and dataset.joint:
            subject.pair_rows(*subject.groups[before:])
        for pairing in subject.pairings[pairings:]:
            pairing.refuses_sizes = not dataset.transforms.equalizes_sizes
    for group in subject.groups[before:]:
        group.least = least

"""The classic sets by name: how they are laid out, what their two domains are, how many images were published."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class KnownSet:
    """A published set.

    Attributes:
        layout: ``side_by_side`` is the layout of pix2pix (``train/1.jpg`` holds both), ``folders`` that of CycleGAN
            (``trainA``, ``trainB``).
        domains: Names of a (left, A) and b (right, B).
        counts: Images in each published folder; empty where they are not certain.
        classes: Of its label maps, by name.
        is_offered: Whether ``prepare_data`` gets it.
    """

    layout: Literal["side_by_side", "folders"]
    domains: tuple[str, str]
    counts: Mapping[str, int] = field(default_factory=dict)
    classes: str | None = None
    is_offered: bool = True


def _folders(a: str, b: str, train: tuple[int, int], test: tuple[int, int]) -> KnownSet:
    counts = {"trainA": train[0], "trainB": train[1], "testA": test[0], "testB": test[1]}
    return KnownSet("folders", (a, b), counts)


KNOWN_SETS: Mapping[str, KnownSet] = {
    "maps": KnownSet("side_by_side", ("aerial", "map"), {"train": 1096, "val": 1098}),
    "facades": KnownSet("side_by_side", ("photo", "label"), {"train": 400, "val": 100, "test": 106}),
    "cityscapes": KnownSet("side_by_side", ("photo", "label"), {"train": 2975, "val": 500}, "cityscapes"),
    "camvid": KnownSet("folders", ("photo", "label"), {}, "camvid"),
    "edges2shoes": KnownSet("side_by_side", ("edges", "shoe"), {"train": 49825, "val": 200}),
    "edges2handbags": KnownSet("side_by_side", ("edges", "handbag"), {"train": 138567, "val": 200}),
    "horse2zebra": _folders("horse", "zebra", (1067, 1334), (120, 140)),
    "apple2orange": _folders("apple", "orange", (995, 1019), (266, 248)),
    "summer2winter_yosemite": _folders("summer", "winter", (1231, 962), (309, 238)),
    "monet2photo": _folders("monet", "photo", (1072, 6287), (121, 751)),
    "vangogh2photo": _folders("vangogh", "photo", (400, 6287), (400, 751)),
    "cezanne2photo": _folders("cezanne", "photo", (525, 6287), (58, 751)),
    "ukiyoe2photo": _folders("ukiyoe", "photo", (562, 6287), (263, 751)),
    "iphone2dslr_flower": KnownSet("folders", ("iphone", "dslr")),
}


def known_set(root: str) -> tuple[str, KnownSet] | None:
    """Recognises a known set by the last part of a path."""
    name = root.replace("\\", "/").rstrip("/").rpartition("/")[2].lower()
    return (name, KNOWN_SETS[name]) if name in KNOWN_SETS else None

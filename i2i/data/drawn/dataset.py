"""The embedded data set: pictures drawn on the fly from a seed, at any size, without files.

A domain is a function of (seed, size) that returns both sides of a scene, so every picture has a true partner: what a
perfect translation would give.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from i2i.data.base import Dataset
from i2i.data.drawn import animals, maps, streets
from i2i.data.drawn.painting import MIN_SIZE, Scene
from i2i.images.codecs import Codec, ImageCodec, LabelClass, LabelCodec
from i2i.images.files import save_image

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class _Domain:
    names: tuple[str, str]
    draw: Callable[[int, int], tuple[Scene, Scene]]
    classes: tuple[LabelClass, ...] = ()
    labelled: Literal["a", "b"] = "a"  # the side that shows the classes


Domain = Literal["animals", "maps", "streets"]
_DOMAINS: dict[str, _Domain] = {
    "animals": _Domain(("plain", "striped"), animals.draw_partners),
    "maps": _Domain(("aerial", "map"), maps.draw_partners, maps.CLASSES, "b"),
    "streets": _Domain(("label", "street"), streets.draw_partners, streets.CLASSES),
}
_SPLITS = {"train": 0, "test": 1}
_SPLIT_BITS = 40  # the seeds of a split share what is above these bits: no length makes splits meet


class Synthetic(Dataset):
    """Drawn pictures of two domains, by default without pairs.

    ==========  ==========================  ===========================
    domain      a                           b
    ==========  ==========================  ===========================
    animals     plain                       striped
    maps        aerial view                 vector map
    streets     label map, in colours       street
    ==========  ==========================  ===========================

    Items are ``{"a", "b": float32 [3, S, S] in [-1, 1], "a_path", "b_path": str}`` and, for judging translations,
    ``a_truth, b_truth`` (the true partner, equal outside the mask) and ``a_mask, b_mask`` (bool [1, S, S], where the
    domains differ). The paths are names only. An item depends on its index alone, and so is the same in every epoch.

    Attributes:
        domains: Names of a and b.
        size: Height and width of the items.
        classes: Names and colours of the ids that scenes of ``draw`` carry; empty where they carry none.
        codecs: What the tensors of a and b mean.
        splits: The splits that there are.
    """

    splits = tuple(_SPLITS)
    size: tuple[int, int]

    def __init__(
        self,
        domain: Domain = "animals",
        size: int = 64,
        length: int = 1000,
        split: Literal["train", "test"] = "train",
        paired: bool = False,
        load_size: int | None = None,
        crop_size: int | None = None,
        encoding: Literal["palette", "onehot"] = "palette",
    ) -> None:
        """
        Args:
            domain: What is drawn, see above.
            size: Side of the square pictures in pixels, at least 32; details show well from 64.
            length: Number of items.
            split: ``train`` or ``test``, which have no picture in common.
            paired: Whether b is the true partner of a, rather than another scene.
            load_size: In place of ``size``, as other data sets call it. Nothing is resized: pictures are drawn anew.
            crop_size: In place of ``size`` and ``load_size``. Nothing is cropped.
            encoding: Of maps and label maps: the classes' colours, or a channel of 0 and 1 a class.

        Raises:
            ValueError: An argument is out of range.
        """
        if domain not in _DOMAINS:
            raise ValueError(f"domain must be one of {', '.join(_DOMAINS)}, got {domain!r}")
        if split not in _SPLITS:
            raise ValueError(f"split must be one of {', '.join(_SPLITS)}, got {split!r}")
        if length < 1:
            raise ValueError(f"length must be at least 1, got {length}")
        for name, side in (("size", size), ("load_size", load_size), ("crop_size", crop_size)):
            if side is not None and side < MIN_SIZE:
                raise ValueError(f"{name} must be at least {MIN_SIZE}, got {side}")
        if encoding == "onehot" and not _DOMAINS[domain].classes:
            raise ValueError(f"encoding must be palette: {domain} have no classes")
        side = crop_size or load_size or size
        self.codecs: dict[str, Codec] = {"a": ImageCodec(3), "b": ImageCodec(3)}
        if encoding == "onehot":
            self.codecs[_DOMAINS[domain].labelled] = LabelCodec(_DOMAINS[domain].classes)
        self.domains = _DOMAINS[domain].names
        self.classes = _DOMAINS[domain].classes
        self.size = (side, side)
        self.length, self.split, self.is_paired = length, split, paired
        self._domain = domain

    def __len__(self) -> int:
        return self.length

    def get(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        """Draws an item; the generator is not used.

        Raises:
            IndexError: The index is not in 0 ... length - 1.
        """
        import torch

        (a, a_truth), (b, b_truth) = self.draw(index)
        a_path, b_path = (f"synthetic/{self._domain}/{self.split}/{name}/{index:06}.png" for name in self.domains)
        item: dict[str, Any] = {
            "a": self._encode("a", a),
            "b": self._encode("b", b),
            "a_path": a_path,
            "b_path": b_path,
        }
        item |= {"a_truth": self._encode("b", a_truth), "b_truth": self._encode("a", b_truth)}
        item |= {f"{side}_mask": torch.from_numpy(scene.mask[None].copy()) for side, scene in (("a", a), ("b", b))}
        return item

    def _encode(self, side: str, scene: Scene) -> "torch.Tensor":
        codec = self.codecs[side]
        if isinstance(codec, ImageCodec):
            return codec.encode(scene.image)
        assert scene.ids is not None  # only domains with classes have such codecs
        return codec.encode(scene.ids[..., None])

    def draw(self, index: int) -> tuple[tuple[Scene, Scene], tuple[Scene, Scene]]:
        """Draws the scenes of an item: (a, its partner), (b, its partner).

        Raises:
            IndexError: The index is not in 0 ... length - 1.
        """
        if not 0 <= index < self.length:
            raise IndexError(f"index must be from 0 to {self.length - 1}, got {index}")
        draw, seed = _DOMAINS[self._domain].draw, (_SPLITS[self.split] << _SPLIT_BITS) + 2 * index
        a, a_truth = draw(seed, self.size[0])
        if self.is_paired:
            return (a, a_truth), (a_truth, a)
        b_truth, b = draw(seed + 1, self.size[0])
        return (a, a_truth), (b, b_truth)


def write_split(
    folder: str | os.PathLike[str],
    count: int,
    split: Literal["train", "test"] = "test",
    size: int = 64,
    domain: Domain = "animals",
    paired: bool = False,
) -> tuple[Path, Path]:
    """Writes the first items of a split as PNG files, such as ``plain/000012.png`` and ``striped/000012.png``.

    Args:
        folder: Where the folders of the two domains are made; files of the same name are replaced.
        count: Number of items.
        split: As for ``Synthetic``.
        size: As for ``Synthetic``.
        domain: As for ``Synthetic``.
        paired: Whether files of one name are true partners.

    Returns:
        The folders of a and b.

    Raises:
        ValueError: An argument is out of range.
        DataError: A file cannot be written.
    """
    dataset = Synthetic(domain, size, count, split, paired)
    a_folder, b_folder = (Path(folder) / name for name in dataset.domains)
    for side in (a_folder, b_folder):
        side.mkdir(parents=True, exist_ok=True)
    for index in range(count):
        (a, _), (b, _) = dataset.draw(index)
        save_image(a_folder / f"{index:06}.png", a.image)
        save_image(b_folder / f"{index:06}.png", b.image)
    return a_folder, b_folder

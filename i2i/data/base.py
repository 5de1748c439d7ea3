"""What datasets of two domains share: finding and checking files, loading, augmentation, the items they give."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np

from i2i.data.domains import known_set
from i2i.data.files import Survey, list_images, survey
from i2i.data.sides import Layout, Side, find_sides, find_splits
from i2i.data.transforms import Transforms, evaluation_spec
from i2i.decoding import Refused, fit_channels
from i2i.errors import DataError
from i2i.images import load_image, to_tensor

_SHOWN = 10  # files that a message names


class TwoDomains(ABC):
    """Images of two domains, a and b.

    Items are ``{"a", "b": float32 [C, H, W] in [-1, 1], "a_path", "b_path": str}``. Everything random about an item is
    drawn from the generator given to ``get``. The constructor touches no file: ``scan`` does, on first use.

    Attributes:
        channels: Channels of a and b.
        domains: Names of a and b where the set is a known one, else ``("a", "b")``.
        size: Height and width of the items where the transforms fix them, else ``None``.
        notes: After a scan: how many files of which folder need which conversion, a line each.
    """

    joint: ClassVar[bool]  # whether a and b of an item belong together, and so get one geometry

    def __init__(
        self,
        root: str,
        split: str = "train",
        load_size: int | tuple[int, int] | None = 286,
        crop_size: int | tuple[int, int] | None = 256,
        transforms: str | list[dict[str, Any]] = "resize_crop_flip",
        eval_transforms: str | list[dict[str, Any]] | None = None,
        channels: int | tuple[int, int] = 3,
        layout: Layout = "auto",
        folders: tuple[str, str] | None = None,
        check: bool = True,
    ) -> None:
        """
        Args:
            root: The set's folder.
            split: ``train``, ``val`` or ``test``; all but ``train`` are loaded without anything random.
            load_size: What images are resized to before a crop, a number or [height, width]; null keeps their sizes.
            crop_size: What is cut out in training, and what other splits are resized to.
            transforms: ``resize_crop_flip`` or another preset (``resize_crop``, ``resize_flip``, ``resize``,
                ``crop_flip``, ``crop``, ``flip``, ``none``), or a list of albumentations transforms.
            eval_transforms: The same for the other splits; null resizes to ``crop_size`` where ``transforms`` resizes.
            channels: 1, 3 or 4, or one number for a and one for b.
            layout: ``side_by_side`` (both in one file, left half a), ``folders``, or ``auto`` to see.
            folders: Names of the folders of a and b where they are not A and B or another usual pair.
            check: Whether to look at every file before the first item.
        """
        sizes = {"load_size": load_size, "crop_size": crop_size}
        for name, size in sizes.items():
            for number in (size,) if isinstance(size, int) else size or ():
                if number < 1:
                    raise ValueError(f"{name} must be at least 1, got {number}")
        both = (channels, channels) if isinstance(channels, int) else tuple(channels)
        if any(number not in (1, 3, 4) for number in both):
            raise ValueError(f"channels must be 1, 3 or 4, got {channels}")
        self.root, self.split = root, split
        self._layout: Layout = layout
        self._folders, self._check = folders, check
        self.channels = {"a": both[0], "b": both[1]}
        known = known_set(root)
        self.domains = known[1].domains if known else ("a", "b")
        training = self._transforms(transforms, load_size, crop_size, "transforms")
        calm = evaluation_spec(transforms) if eval_transforms is None else eval_transforms
        evaluation = self._transforms(calm, load_size, crop_size, "eval_transforms")
        self.transforms = training if split == "train" else evaluation
        self.size = self.transforms.size
        self.notes: tuple[str, ...] = ()
        self._sides: tuple[Side, Side] | None = None

    @property
    def splits(self) -> list[str]:
        """Which of train, val and test the set has."""
        return find_splits(self.root, self._layout, self._folders)

    def scan(self) -> None:
        """Lists, matches and checks the files, once.

        Raises:
            DataError: No such folder, an unknown layout, no images, images without a partner, or unusable files.
        """
        if self._sides is not None:
            return
        a, b = find_sides(self.root, self.split, self._layout, self._folders, self.channels)
        a.paths = [str(path) for path in list_images(a.folder)]
        b.paths = a.paths if b.half else [str(path) for path in list_images(b.folder)]
        for side in (a, b):
            if not side.paths:
                raise DataError(f"{str(side.folder.absolute())!r} holds no images")
        a.paths, b.paths = self.match(a, b)
        for side in (a, b):
            if self.split == "train" and len(side.paths) < 2:
                raise DataError(f"{str(side.folder.absolute())!r} holds 1 image, training needs at least 2")
        if self._check:
            self._check_files(a, b)
        self._sides = (a, b)

    def match(self, a: Side, b: Side) -> tuple[list[str], list[str]]:
        """Returns the files of the two sides, as they lie on disk, in an order that belongs together.

        Raises:
            DataError: Files have no partner.
        """
        return a.paths, b.paths

    @abstractmethod
    def choose(self, index: int, counts: tuple[int, int], rng: np.random.Generator) -> tuple[int, int]:
        """Which file of a and which of b make the item ``index``; ``counts`` are how many files they have."""

    def __len__(self) -> int:
        return max(len(side.paths) for side in self._scanned())

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.get(index, np.random.default_rng(index))

    def get(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        """Loads an item.

        Args:
            index: 0 to ``len(self) - 1``.
            rng: Where all that is random about the item comes from.

        Raises:
            DataError: A file cannot be used; names it.
            IndexError: No such item.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"item {index} of {len(self)}")
        a, b = self._scanned()
        i, j = self.choose(index, (len(a.paths), len(b.paths)), rng)
        paths = {"a": a.paths[i], "b": b.paths[j]}
        if self.joint and paths["a"] == paths["b"]:
            whole = _load_halves(paths["a"], a, b)[0]
            images = {"a": _side(whole, a, paths["a"]), "b": _side(whole, b, paths["b"])}
        else:
            images = {"a": _load(paths["a"], a), "b": _load(paths["b"], b)}
        if self.joint:
            place = " and ".join(dict.fromkeys(paths.values()))
            if images["a"].shape[:2] != images["b"].shape[:2] and not self.transforms.equalizes_sizes:
                raise _different_sizes(paths, {name: image.shape[1::-1] for name, image in images.items()})
            images = self.transforms(images, rng, place)
        else:
            images = {name: self.transforms({"a": image}, rng, paths[name])["a"] for name, image in images.items()}
        return {
            **{name: to_tensor(image) for name, image in images.items()},
            **{f"{name}_path": path for name, path in paths.items()},
        }

    def _scanned(self) -> tuple[Side, Side]:
        self.scan()
        assert self._sides is not None
        return self._sides

    def _transforms(self, spec: Any, load_size: Any, crop_size: Any, argument: str) -> Transforms:
        targets = {"a": "image", "b": "image"} if self.joint else {"a": "image"}
        return Transforms(spec, load_size, crop_size, targets, argument)

    def _check_files(self, a: Side, b: Side) -> None:
        if a.half:
            surveys = [(a, _survey_halves(a, b))]
            self._check_shapes(a, surveys[0][1])
        else:
            surveys = [(side, survey(side.paths, side.channels)) for side in (a, b)]
        problems = [problem for _, result in surveys for problem in result.problems]
        height, width = self.transforms.least_size
        problems += [
            (path, f"is {w} x {h} pixels, smaller than the crop of {width} x {height}: load_size enlarges it")
            for side, result in surveys
            for path, (w, h) in result.sizes.items()
            if h < height or w // (2 if side.half else 1) < width
        ]
        if problems:
            total = sum(len(side.paths) for side, _ in surveys)
            lines = [f"{path}: {reason}" for path, reason in problems[:_SHOWN]]
            if len(problems) > _SHOWN:
                lines.append(f"and {len(problems) - _SHOWN} more")
            raise DataError(f"{len(problems)} of {total} images of split {self.split!r} cannot be used", lines)
        self.notes = tuple(
            f"{count} of {len(side.paths)} images in {side.folder.name}: {note}"
            for side, result in surveys
            for note, count in sorted(result.notes.items())
        )
        if self.joint and not a.half and not self.transforms.equalizes_sizes:
            for one, other in zip(a.paths, b.paths, strict=True):
                sizes = {"a": surveys[0][1].sizes[one], "b": surveys[1][1].sizes[other]}
                if sizes["a"] != sizes["b"]:
                    raise _different_sizes({"a": one, "b": other}, sizes)

    def _check_shapes(self, side: Side, result: Survey) -> None:
        """Files with two halves are wide; others are more likely a folder of single images."""
        if self._layout == "auto" and result.sizes and all(width <= height for width, height in result.sizes.values()):
            raise DataError(
                f"{str(side.folder.absolute())!r} holds images that are no wider than high, so hardly two halves each",
                ["if they are: data.layout=side_by_side", "if not, two folders are needed, one for each domain"],
            )


def _load(path: str, side: Side) -> np.ndarray:
    if side.half is None:
        return load_image(path, side.channels)[0]
    return _side(_load_halves(path, side)[0], side, path)


def _load_halves(path: str, *sides: Side) -> tuple[np.ndarray, tuple[str, ...]]:
    """Loads a file whose halves are fitted to their channels later; transparency is kept for those who want it."""
    return load_image(path, 4 if any(side.channels == 4 for side in sides) else None)


def _side(whole: np.ndarray, side: Side, path: str) -> np.ndarray:
    """Cuts a side's half out of ``[H, W, C]``."""
    height, width, _ = whole.shape
    if width % 2:
        raise DataError(f"{path}: has two halves side by side, but its width of {width} pixels is odd")
    half = whole[:, : width // 2] if side.half == "left" else whole[:, width // 2 :]
    try:
        return np.ascontiguousarray(fit_channels(half, side.channels)[0])
    except Refused as error:
        raise DataError(f"{path}: its {side.half} half {error}", error.hints) from error


def _survey_halves(a: Side, b: Side) -> Survey:
    def load(path: str) -> tuple[str, ...]:
        whole, notes = _load_halves(path, a, b)
        for side in (a, b):
            _side(whole, side, path)
        return notes

    channels = {a.channels, b.channels}
    result = survey(a.paths, 4 if 4 in channels else min(channels), load)
    odd = [path for path, (width, _) in result.sizes.items() if width % 2]
    result.problems += [(path, f"its width of {result.sizes[path][0]} pixels cannot be halved") for path in odd]
    return result


def _different_sizes(paths: dict[str, str], sizes: Any) -> DataError:
    (wa, ha), (wb, hb) = sizes["a"], sizes["b"]
    return DataError(
        f"{paths['a']}: is {wa} x {ha} pixels, its partner {paths['b']} is {wb} x {hb}",
        ["resize both to one size: transforms=resize_crop_flip with a load_size, or a Resize as the first transform"],
    )

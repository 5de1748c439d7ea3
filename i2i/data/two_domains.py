"""What datasets of two domains share: checking files, loading, augmentation, the items they give."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np

from i2i.core.errors import DataError
from i2i.data.augment.transforms import Spec, Transforms, evaluation_spec
from i2i.data.finding.files import Survey, UnusableFiles, fingerprint, list_images, survey, too_small, unusable
from i2i.data.finding.matching import match_by_name
from i2i.data.finding.sides import Layout, Side
from i2i.data.loading.caching import Cacheable
from i2i.images.codecs import Codec, load_halves

Size = int | tuple[int, int] | None


class TwoDomains(Cacheable):
    """Images or labels of two domains, a and b.

    Items are ``{"a", "b": float32 [C, H, W], "a_path", "b_path": str}``. Everything random about an item is drawn from
    the generator given to ``get``. The constructor touches no file: ``scan`` does, on first use.

    Attributes:
        codecs: What files and tensors of a and b mean.
        joint: Whether a and b of an item belong together, and so get one geometry.
        domains: Names of a and b where they are known, else ``("a", "b")``.
        size: Height and width of the items where the transforms fix them, else ``None``.
        notes: After a scan: how many files of which folder need which conversion, a line each.
    """

    def __init__(
        self,
        root: str,
        split: str,
        codecs: Mapping[str, Codec],
        joint: bool,
        domains: tuple[str, str],
        load_size: Size,
        crop_size: Size,
        transforms: Spec,
        eval_transforms: Spec | None,
        layout: Layout,
        check: bool,
    ) -> None:
        """
        Args:
            root: The set's folder.
            split: ``train``, ``val`` or ``test``; all but ``train`` are loaded without anything random.
            codecs: Of a and b.
            joint: Whether items are pairs.
            domains: Names of a and b.
            load_size: What images are resized to before a crop, a number or (height, width); ``None`` keeps sizes.
            crop_size: What is cut out in training, and what other splits are resized to.
            transforms: A preset or a list; see :class:`i2i.data.augment.transforms.Transforms`.
            eval_transforms: The same for other splits; ``None`` resizes to ``crop_size`` where ``transforms`` resizes.
            layout: What the user said about the files.
            check: Whether to look at every file before the first item.
        """
        for name, size in {"load_size": load_size, "crop_size": crop_size}.items():
            for number in (size,) if isinstance(size, int) else size or ():
                if number < 1:
                    raise ValueError(f"{name} must be at least 1, got {number}")
        self.root, self.split, self.joint, self.domains = root, split, joint, domains
        self.is_paired = joint
        self.codecs = dict(codecs)
        self._layout, self._check = layout, check
        training = self._transforms(transforms, load_size, crop_size, "transforms")
        calm = evaluation_spec(transforms) if eval_transforms is None else eval_transforms
        evaluation = self._transforms(calm, load_size, crop_size, "eval_transforms")
        both = training if split == "train" else evaluation
        # Without pairs, each domain has its own geometry, and so a pipeline of its own.
        self.transforms = both[0]
        self._own_transforms = dict(zip("ab", both * (2 if joint else 1), strict=True))
        self.size = self.transforms.size
        self.notes: tuple[str, ...] = ()
        self._sides: tuple[Side, Side] | None = None

    @property
    def fingerprint(self) -> int:
        """A number of the files' names and sizes: other files have another."""
        a, b = self._scanned()
        return fingerprint(self.root, [*a.paths, *b.paths])

    @property
    @abstractmethod
    def splits(self) -> list[str]:
        """Which of train, val and test the set has."""

    @abstractmethod
    def find(self) -> tuple[Side, Side]:
        """Finds both sides of the split, with their files where a list names them.

        Raises:
            DataError: They are not there.
        """

    def scan(self) -> None:
        """Lists, matches and checks the files, once.

        Raises:
            DataError: No such folder, an unknown layout, no images, images without a partner, or that do not fit.
            UnusableFiles: Some cannot be used; the data set can, and refuses them when they come up.
        """
        if self._sides is not None:
            return
        a, b = self.find()
        if not a.paths:
            _list(a, b)
            if self.joint and not a.half:
                a.paths, b.paths = match_by_name(a, b)
        for side in (a, b):
            if self.split == "train" and len(side.paths) < 2:
                raise DataError(f"{str(side.folder.absolute())!r} holds 1 image, training needs at least 2")
        broken: list[tuple[str, str]] = []
        if self._check:
            broken = self._check_files(a, b)
        else:
            for side in (a, b):
                side.codec.settle(survey(side.paths[:1], None, lambda path: (), needs_pixels=True).depths)
        self._sides = (a, b)
        if broken:
            raise UnusableFiles(broken, len({*a.paths, *b.paths}), self.split)

    def __len__(self) -> int:
        return max(len(side.paths) for side in self._scanned())

    def get(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        """Loads an item.

        Without pairs, an epoch is as long as the larger domain. In training b is then drawn at random, so that chance
        and not the order of the files decides what meets; in other splits the smaller domain repeats.

        Args:
            index: 0 to ``len(self) - 1``.
            rng: Where all that is random about the item comes from.

        Raises:
            DataError: A file cannot be used; names it.
            IndexError: No such item.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"item {index} of {len(self)}")
        return self._item(index, rng)

    def _item(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        """Loads the item of an index that :meth:`_places` understands."""
        one, other = self._places(index, rng)
        a, b = self._scanned()
        return self._finished(self._arrays(one, other), {"a": a.paths[one], "b": b.paths[other]}, rng)

    def _finished(
        self, arrays: dict[str, np.ndarray], paths: dict[str, str], rng: np.random.Generator
    ) -> dict[str, Any]:
        """Makes an item of the prepared images of two files."""
        if self.joint:
            place = " and ".join(dict.fromkeys(paths.values()))
            if arrays["a"].shape[:2] != arrays["b"].shape[:2] and not self.transforms.equalizes_sizes:
                raise _different_sizes(paths, {name: array.shape[1::-1] for name, array in arrays.items()})
            arrays = self.transforms.finish(arrays, rng, place)
        else:
            arrays = {n: self._own_transforms[n].finish({n: array}, rng, paths[n])[n] for n, array in arrays.items()}
        return {
            **{name: self.codecs[name].encode(array) for name, array in arrays.items()},
            **{f"{name}_path": str(path) for name, path in paths.items()},
        }

    def paths_of(self, index: int, rng: np.random.Generator) -> tuple[str, str]:
        """Returns the files of an item; the first number of the generator decides where chance does."""
        a, b = self._scanned()
        one, other = self._places(index, rng)
        return a.paths[one], b.paths[other]

    @property
    def num_images(self) -> int:
        """How many images the domains have together."""
        return sum(len(side.paths) for side in self._scanned())

    def load(self, number: int) -> np.ndarray:
        """Loads one image, decoded and resized, as it is before anything random; those of b follow those of a.

        Raises:
            DataError: Its file cannot be used; names it.
        """
        a, b = self._scanned()
        count = len(a.paths)
        name, side, place = ("a", a, number) if number < count else ("b", b, number - count)
        array, _ = side.codec.load(side.paths[place], side.half)
        return self._own_transforms[name].prepare(name, array, side.paths[place])

    def _arrays(self, one: int, other: int) -> dict[str, np.ndarray]:
        """Loads the images at these places of a and b as :meth:`load` does, or takes them from the cache."""
        a, b = self._scanned()
        if self.cache is None:
            return self._loaded(a.paths[one], b.paths[other])
        numbers = {"a": one, "b": len(a.paths) + other}
        found = {name: self.cache.get(number) for name, number in numbers.items()}
        missing = [name for name, array in found.items() if array is None]
        if len(missing) == 2:
            fresh = self._loaded(a.paths[one], b.paths[other])
        else:
            fresh = {name: self.load(numbers[name]) for name in missing}
        for name, array in fresh.items():
            self.cache.put(numbers[name], array)
        return {name: fresh[name] if array is None else array for name, array in found.items()}

    def _loaded(self, one: str, other: str) -> dict[str, np.ndarray]:
        """Loads a file of each domain, or both halves of one, which is decoded once."""
        a, b = self._scanned()
        if a.half and b.half and one == other:
            halves, _ = load_halves(one, [(a.codec, a.half), (b.codec, b.half)])
            arrays = dict(zip("ab", halves, strict=True))
        else:
            arrays = {name: s.codec.load(path, s.half)[0] for name, s, path in (("a", a, one), ("b", b, other))}
        paths = {"a": one, "b": other}
        return {name: self._own_transforms[name].prepare(name, array, paths[name]) for name, array in arrays.items()}

    def _places(self, index: int, rng: np.random.Generator) -> tuple[int, int]:
        """Where the files of an item stand in the lists of a and b."""
        a, b = self._scanned()
        other = index
        if not self.joint:
            other = int(rng.integers(len(b.paths))) if self.split == "train" else index % len(b.paths)
        return index % len(a.paths), other

    def _scanned(self) -> tuple[Side, Side]:
        self.scan()
        assert self._sides is not None
        return self._sides

    def _transforms(self, spec: Any, load_size: Size, crop_size: Size, argument: str) -> list[Transforms]:
        targets = {name: codec.target for name, codec in self.codecs.items()}
        groups = [targets] if self.joint else [{name: target} for name, target in targets.items()]
        return [Transforms(spec, load_size, crop_size, group, argument) for group in groups]

    def _check_files(self, a: Side, b: Side) -> list[tuple[str, str]]:
        """Looks at every file; returns those that cannot be used, with the reasons."""
        surveys = [(a, _survey_halves(a, b))] if a.half else [(side, _survey(side)) for side in (a, b)]
        if a.half:
            self._check_shapes(a, surveys[0][1])
        broken = [problem for _, result in surveys for problem in result.problems]
        small = [
            problem
            for side, result in surveys
            for problem in too_small(result.sizes, self.transforms.least_size, 2 if side.half else 1)
        ]
        if small:
            raise unusable(broken + small, sum(len(side.paths) for side, _ in surveys), self.split)
        notes = [
            f"{count} of {len(side.paths)} images in {side.folder.name}: {note}"
            for side, result in surveys
            for note, count in sorted(result.notes.items())
        ]
        for side, result in [(a, surveys[0][1]), (b, surveys[-1][1])]:
            note = side.codec.settle(result.depths)
            notes += [f"images in {side.folder.name}: {note}"] if note else []
        self.notes = tuple(dict.fromkeys(notes))
        if self.joint and not a.half and not self.transforms.equalizes_sizes:
            for one, other in zip(a.paths, b.paths, strict=True):
                sizes = {"a": surveys[0][1].sizes.get(one), "b": surveys[1][1].sizes.get(other)}
                if None not in sizes.values() and sizes["a"] != sizes["b"]:
                    raise _different_sizes({"a": one, "b": other}, sizes)
        return broken

    def _check_shapes(self, side: Side, result: Survey) -> None:
        """Files with two halves are wide; others are more likely a folder of single images."""
        if self._layout == "auto" and result.sizes and all(width <= height for width, height in result.sizes.values()):
            raise DataError(
                f"{str(side.folder.absolute())!r} holds images that are no wider than high, so hardly two halves each",
                ["if they are: data.layout=side_by_side", "if not, two folders are needed, one for each domain"],
            )


def _list(a: Side, b: Side) -> None:
    a.paths = [str(path) for path in list_images(a.folder) if path.name.endswith(a.ending)]
    b.paths = a.paths if b.half else [str(path) for path in list_images(b.folder) if path.name.endswith(b.ending)]
    for side in (a, b):
        if not side.paths:
            kind = f"{side.ending} files" if side.ending else "images"
            raise DataError(f"{str(side.folder.absolute())!r} holds no {kind}")


def _survey(side: Side) -> Survey:
    channels = None if side.codec.needs_pixels else side.codec.channels
    return survey(side.paths, channels, lambda path: side.codec.load(path)[1], side.codec.needs_pixels)


def _survey_halves(a: Side, b: Side) -> Survey:
    assert a.half and b.half
    sides = [(a.codec, a.half), (b.codec, b.half)]
    channels = {codec.channels for codec, _ in sides if not codec.needs_pixels}
    needs_pixels = any(codec.needs_pixels for codec, _ in sides)
    wanted = None if needs_pixels else 4 if 4 in channels else min(channels)
    result = survey(a.paths, wanted, lambda path: load_halves(path, sides)[1], needs_pixels)
    odd = [path for path, (width, _) in result.sizes.items() if width % 2]
    result.problems += [(path, f"its width of {result.sizes[path][0]} pixels cannot be halved") for path in odd]
    return result


def _different_sizes(paths: dict[str, str], sizes: Any) -> DataError:
    (wa, ha), (wb, hb) = sizes["a"], sizes["b"]
    return DataError(
        f"{paths['a']}: is {wa} x {ha} pixels, its partner {paths['b']} is {wb} x {hb}",
        ["resize both to one size: transforms=resize_crop_flip with a load_size, or a Resize as the first transform"],
    )

"""Images of one folder, with or without classes: for generators that start from noise."""

from collections import Counter
from pathlib import Path
from typing import Any, Literal

import numpy as np

from i2i.core.errors import ArgumentError, DataError
from i2i.data.augment.transforms import Transforms, evaluation_spec
from i2i.data.finding.file_lists import FileList
from i2i.data.finding.files import UnusableFiles, fingerprint, list_images, survey, too_small, unusable
from i2i.data.finding.sides import SPLITS, check_root, found_there
from i2i.data.loading.caching import Cacheable
from i2i.data.pictures import check_ranges
from i2i.images.codecs import ImageCodec


class Folder(Cacheable):
    """The images of a folder and of the folders in it.

    Items are ``{"image": float32 [C, H, W] in [-1, 1], "path": str}`` and, where classes are asked for, ``"label"``, an
    int64 scalar. Everything random about an item is drawn from the generator given to ``get``. The constructor touches
    no file: ``scan`` does, on first use.

    Attributes:
        codecs: What files and tensors of the images mean.
        size: Height and width of the items where the transforms fix them, else ``None``.
        notes: After a scan: how many files need which conversion, a line each.
    """

    def __init__(
        self,
        root: str,
        classes: int | Literal["auto"] | list[str] | None = None,
        split: str = "train",
        load_size: int | tuple[int, int] | None = None,
        crop_size: int | tuple[int, int] | None = 64,
        transforms: str | list[dict[str, Any]] = "resize",
        eval_transforms: str | list[dict[str, Any]] | None = None,
        channels: int = 3,
        files: str | None = None,
        depth: Literal[8, 16, 32] | None = None,
        value_range: tuple[float, float] | None = None,
        check: bool = True,
    ) -> None:
        """
        Args:
            root: The set's folder. A split is the folder of its name; a root without such folders is ``train``.
            classes: Null for images without labels. ``auto`` takes the folders' names for classes, in order (numbers by
                value); a number says how many they are, a list their names, so that nothing need be looked at to know.
            split: ``train``, ``val`` or ``test``; all but ``train`` are loaded without anything random.
            load_size: What images are resized to before a crop, a number or [height, width]; null keeps their sizes.
            crop_size: What is cut out in training, and what ``resize`` resizes to where there is no crop.
            transforms: A preset such as ``resize`` or ``resize_flip``, or a list of albumentations transforms.
            eval_transforms: The same for the other splits; null resizes to ``crop_size`` where ``transforms`` resizes.
            channels: Of the images.
            files: In place of folders, a CSV with the column image and, for classes, label; relative to root, and so
                are the paths in it.
            depth: Bits of a channel in images that are written; 32 are floats. Null is that of the files.
            value_range: Which values in files are darkest and brightest; floats need it.
            check: Whether to look at every file before the first item.
        """
        for name, size in (("load_size", load_size), ("crop_size", crop_size)):
            if any(number < 1 for number in ((size,) if isinstance(size, int) else size or ())):
                raise ValueError(f"{name} must be at least 1, got {size}")
        if channels < 1:
            raise ValueError(f"channels must be at least 1, got {channels}")
        if isinstance(classes, int) and classes < 1 or classes == []:
            raise ValueError(f"classes must be at least 1, got {classes}")
        if isinstance(classes, list) and len(set(classes)) < len(classes):
            twice = next(name for name, count in Counter(classes).items() if count > 1)
            raise ArgumentError(f"the class {twice!r} is listed twice", ("classes",))
        if depth == 32 and value_range is None:
            raise ArgumentError("depth 32 needs a value_range: [lowest, highest]", ("depth",))
        self.root, self.split = root, split
        self._wanted, self._check = classes, check
        self._files = FileList(root, files, ("image",), True, ("label",) if classes else ()) if files else None
        self.codecs = {"image": ImageCodec(channels, depth, check_ranges(value_range)["a"])}
        spec: Any = transforms
        if split != "train":
            spec = evaluation_spec(transforms) if eval_transforms is None else eval_transforms
        argument = "transforms" if split == "train" or eval_transforms is None else "eval_transforms"
        self.transforms = Transforms(spec, load_size, crop_size, {"image": "image"}, argument)
        self.size = self.transforms.size
        self.notes: tuple[str, ...] = ()
        self._paths: list[str] | None = None
        self._labels: list[int] = []
        self._names: tuple[str, ...] = tuple(classes) if isinstance(classes, list) else ()

    @property
    def splits(self) -> list[str]:
        """Which of train, val and test the set has."""
        if self._files:
            return self._files.splits
        found = [split for split in SPLITS if (Path(self.root) / split).is_dir()]
        return found or ["train"] * Path(self.root).is_dir()

    @property
    def num_classes(self) -> int:
        """How many classes there are; 0 without labels. Files are only looked at where the YAML does not say it."""
        return self._wanted if isinstance(self._wanted, int) else len(self.classes)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the labels."""
        if self._wanted and not self._names:
            self.scan()
        return self._names

    @property
    def class_names(self) -> tuple[str, ...]:  # type: ignore[override]
        """Names of the classes, in the order of the labels."""
        return self.classes

    def scan(self) -> None:
        """Lists and checks the files, once.

        Raises:
            DataError: No such folder or split, no images, images without a class or too small, other classes than were
                declared.
            UnusableFiles: Some cannot be used; the data set can, and refuses them when they come up.
        """
        if self._paths is not None:
            return
        base = check_root(self.root)
        paths, names = self._read_list() if self._files else self._walk(base)
        if self.split == "train" and len(paths) < 2:
            raise DataError(f"{str(base.absolute())!r} holds 1 image, training needs at least 2")
        if self._wanted:
            self._settle_classes(names, base)
            index = {name: label for label, name in enumerate(self._names)}
            self._labels = [index[name] for name in names]
        codec = self.codecs["image"]
        if self._check:
            result = survey(paths, codec.channels, lambda path: codec.load(path)[1])
            small = too_small(result.sizes, self.transforms.least_size)
            if small:
                raise unusable(result.problems + small, len(paths), self.split)
            told = [f"{count} of {len(paths)} images: {note}" for note, count in sorted(result.notes.items())]
        else:
            result, told = survey(paths[:1], None, lambda path: (), needs_pixels=True), []
        note = codec.settle(result.depths)
        self.notes = (*told, f"images: {note}") if note else tuple(told)
        self._paths = paths
        if self._check and result.problems:
            raise UnusableFiles(result.problems, len(paths), self.split)

    def list_files(self) -> list[str]:
        """Lists the images of the split, without looking into them.

        Raises:
            DataError: No such folder or split, or no images.
        """
        return (self._read_list() if self._files else self._walk(check_root(self.root)))[0]

    def __len__(self) -> int:
        self.scan()
        assert self._paths is not None
        return len(self._paths)

    @property
    def fingerprint(self) -> int:
        """A number of the files' names and sizes: other files have another."""
        assert len(self) and self._paths is not None
        return fingerprint(self.root, self._paths)

    def paths_of(self, index: int, rng: np.random.Generator) -> tuple[str, ...]:
        """Returns the file of an item."""
        assert len(self) and self._paths is not None
        return (self._paths[index],)

    @property
    def num_images(self) -> int:
        """How many images there are."""
        return len(self)

    def load(self, number: int) -> np.ndarray:
        """Loads an image, decoded and resized, as it is before anything random.

        Raises:
            DataError: Its file cannot be used; names it.
        """
        assert len(self) and self._paths is not None
        path = self._paths[number]
        return self.transforms.prepare("image", self.codecs["image"].load(path)[0], path)

    def get(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        """Loads an item.

        Args:
            index: 0 to ``len(self) - 1``.
            rng: Where all that is random about the item comes from.

        Raises:
            DataError: The file cannot be used; names it.
            IndexError: No such item.
        """
        import torch

        if not 0 <= index < len(self):
            raise IndexError(f"item {index} of {len(self)}")
        assert self._paths is not None
        path, codec = self._paths[index], self.codecs["image"]
        image = self.cache.get(index) if self.cache else None
        if image is None:
            image = self.load(index)
            if self.cache:
                self.cache.put(index, image)
        image = self.transforms.finish({"image": image}, rng, path)["image"]
        item: dict[str, Any] = {"image": codec.encode(image), "path": path}
        if self._wanted:
            item["label"] = torch.tensor(self._labels[index])
        return item

    def _read_list(self) -> tuple[list[str], list[str]]:
        assert self._files is not None
        found = self._files.read(self.split)
        if self._wanted and "label" not in found:
            raise DataError(f"{self._files.files[0]}: the header has no column label, which classes need")
        return found["image"], found.get("label", [])

    def _walk(self, base: Path) -> tuple[list[str], list[str]]:
        """Lists the images of the split, and the first folder that each lies in."""
        splits = self.splits
        folder = base / self.split
        if not folder.is_dir():
            if self.split != "train" or splits != ["train"]:
                hints = [found_there(base), f"splits found: {', '.join(splits)}"]
                raise DataError(f"{str(base.absolute())!r} has no split {self.split!r}", hints)
            folder = base
        found = list(list_images(folder))
        if not found:
            raise DataError(f"{str(folder.absolute())!r} holds no images")
        if not self._wanted:
            return list(map(str, found)), []
        loose = [path for path in found if path.parent == folder]
        if loose:
            raise DataError(
                f"{loose[0]}: lies in no folder that names its class, like {len(loose)} of {len(found)} images",
                ["without classes: leave out data.classes", "classes from a list: data.files=FILE.csv"],
            )
        return list(map(str, found)), [path.relative_to(folder).parts[0] for path in found]

    def _settle_classes(self, names: list[str], base: Path) -> None:
        found = sorted(set(names))
        if all(name.isascii() and name.isdigit() for name in found):
            found.sort(key=int)
        if not self._names:
            if isinstance(self._wanted, int) and len(found) != self._wanted:
                listed = ", ".join(found[:8]) + (", …" if len(found) > 8 else "")
                place = f"{str(base.absolute())!r}, split {self.split!r}"
                raise DataError(f"{place}: {len(found)} classes, not {self._wanted}", [f"found: {listed}"])
            self._names = tuple(found)
        unknown = [name for name in found if name not in self._names]
        if unknown:
            raise DataError(
                f"{str(base.absolute())!r} has classes that data.classes does not list: {', '.join(unknown[:8])}",
                [f"listed: {', '.join(self._names[:8])}{', …' if len(self._names) > 8 else ''}"],
            )

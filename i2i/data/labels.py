"""Label maps and photographs: the labels -> photo of pix2pix (Isola et al. 2017, sections 4.2 and 6.2), and back."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from i2i.core.errors import ArgumentError, DataError
from i2i.data.finding.classes import parse_classes
from i2i.data.finding.file_lists import FileList
from i2i.data.finding.sides import SPLITS, Side, check_root, found_there, locate
from i2i.data.known.sets import known_set
from i2i.data.pictures import check_ranges, sides_of_lists
from i2i.data.two_domains import TwoDomains
from i2i.images.codecs import ImageCodec, LabelCodec

LabelLayout = Literal["auto", "cityscapes", "folders", "side_by_side"]
SCHEME = Literal["camvid", "cityscapes", "cityscapes_ids"]
FOLDER_NAMES = (("labels", "images"), ("label", "image"), ("masks", "images"), ("annotations", "images"))
_CITYSCAPES = (("gtFine", "_gtFine_labelIds.png"), ("leftImg8bit", "_leftImg8bit.png"))


class Labels(TwoDomains):
    """Label maps (a) and photographs (b); ``data.direction: b2a`` learns from photographs to labels.

    Label files hold class ids, in 8-bit gray or as indices into a palette, or the classes' colours. They are never
    interpolated, and get the photograph's geometry. Items are ``{"a", "b": float32 [C, H, W], "a_path", "b_path"}``,
    where a is 0 or 1 in a channel a class, or the classes' colours in [-1, 1].
    """

    def __init__(
        self,
        root: str,
        classes: int | SCHEME | list[str | dict[str, Any]] | None = None,
        encoding: Literal["onehot", "palette"] = "onehot",
        colours: Literal["exact", "nearest"] = "exact",
        ignore: list[int] | Literal["others"] | None = None,
        paired: bool = True,
        split: str = "train",
        load_size: int | tuple[int, int] | None = 286,
        crop_size: int | tuple[int, int] | None = 256,
        transforms: str | list[dict[str, Any]] = "resize_crop_flip",
        eval_transforms: str | list[dict[str, Any]] | None = None,
        channels: int = 3,
        layout: LabelLayout = "auto",
        folders: tuple[str, str] | None = None,
        labels_half: Literal["left", "right"] = "right",
        files: str | tuple[str, str] | None = None,
        depth: Literal[8, 16, 32] | None = None,
        value_range: tuple[float, float] | None = None,
        check: bool = True,
    ) -> None:
        """
        Args:
            root: The set's folder.
            classes: How many there are (ids from 0), their names (ids from 0), a list of ``{id, name, colour, also}``
                where ``also`` lists further ids of the class, or ``camvid``, ``cityscapes`` (19 classes and void) or
                ``cityscapes_ids`` (all 34); by default those of the set that the root's name or the layout tells.
            encoding: ``onehot``, a channel a class, or ``palette``, the classes' colours.
            colours: ``nearest`` reads coloured label maps whose colours were changed by JPEG or by resizing.
            ignore: Ids of no class: 0 in every channel, black in colours. ``others`` for all that are not a class's.
            paired: Whether the photograph of an item is the label map's own, or, for CycleGAN, any.
            split: ``train``, ``val`` or ``test``; all but ``train`` are loaded without anything random.
            load_size: What both are resized to before a crop, a number or [height, width]; null keeps their sizes.
            crop_size: What is cut out in training, and what other splits are resized to.
            transforms: A preset such as ``resize_crop_flip``, or a list of albumentations transforms.
            eval_transforms: The same for the other splits; null resizes to ``crop_size`` where ``transforms`` resizes.
            channels: Of the photographs.
            layout: ``cityscapes`` (gtFine and leftImg8bit), ``folders`` (labels and images, same stem),
                ``side_by_side`` (both in one file), or ``auto`` to see.
            folders: Names of the folders of labels and photographs where they are not labels and images.
            labels_half: Which half of side-by-side files holds the labels; the published cityscapes has them right.
            files: In place of folders, a CSV with the columns a (labels) and b, or two text lists; relative to root,
                and so are the paths in them.
            depth: Bits of a channel in photographs that are written; 32 are floats. Null is that of the files.
            value_range: Which values in photographs are darkest and brightest; floats need it.
            check: Whether to read every label map and look at every photograph before the first item.
        """
        if channels < 1:
            raise ValueError(f"channels must be at least 1, got {channels}")
        if files is not None and (folders is not None or layout != "auto"):
            raise ArgumentError("files stands in place of folders and layout", ("files",))
        photo = ImageCodec(channels, depth, check_ranges(value_range)["b"])
        if depth == 32 and photo.value_range is None:
            raise ArgumentError("depth 32 needs a value_range: [lowest, highest]", ("depth",))
        known = known_set(root)
        default = known[1].classes if known else "cityscapes" if layout == "cityscapes" else None
        if classes is None and default is None:
            raise ArgumentError("classes must be given: how many there are, their names, or a published set's name")
        parsed = parse_classes(classes if classes is not None else default or "")
        unwanted: Sequence[int] | Literal["others"] = ignore or ()
        for index, id in enumerate(() if isinstance(unwanted, str) else unwanted):
            if not 0 <= id <= 255:
                raise ArgumentError(f"a class id is an integer from 0 to 255, got {id}", ("ignore", index))
            if any(id in (one.id, *(more for more, _ in one.also)) for one in parsed):
                raise ArgumentError(f"id {id} is that of a class", ("ignore", index))
        codecs = {"a": LabelCodec(parsed, encoding, colours, unwanted), "b": photo}
        super().__init__(
            root,
            split,
            codecs,
            paired,
            ("label", "photo"),
            load_size,
            crop_size,
            transforms,
            eval_transforms,
            "auto" if layout == "auto" else "side_by_side" if layout == "side_by_side" else "folders",
            check,
        )
        self._label_layout: LabelLayout = layout
        self._folders, self._labels_half = folders, labels_half
        self._files = FileList(root, files, ("a", "b"), paired) if files else None

    @property
    def splits(self) -> list[str]:
        return self._files.splits if self._files else [split for split in SPLITS if self._locate(split)]

    def find(self) -> tuple[Side, Side]:
        """Finds the label maps and the photographs.

        Raises:
            DataError: The root or the split is missing, or the layout is unknown or ambiguous; says what is there.
        """
        if self._files:
            return sides_of_lists(self._files, self.split, self)
        base = check_root(self.root)
        found = self._locate(self.split)
        if len(found) > 1:
            raise DataError(
                f"{str(base.absolute())!r} holds {self.split!r} in more than one layout",
                [f"say which: data.layout={' or data.layout='.join(found)}"],
            )
        if not found:
            raise self._unknown_layout(base)
        ((layout, (labels, photos)),) = found.items()
        codec, photo = self.codecs["a"], self.codecs["b"]
        if layout == "side_by_side":
            other: Literal["left", "right"] = "left" if self._labels_half == "right" else "right"
            return Side(labels, self._labels_half, codec), Side(labels, other, photo)
        endings = [ending for _, ending in _CITYSCAPES] if layout == "cityscapes" else ["", ""]
        return Side(labels, None, codec, endings[0]), Side(photos, None, photo, endings[1])

    def _locate(self, split: str) -> dict[str, tuple[Path, Path]]:
        """The layouts that a split has, with the folders of labels and photographs."""
        found: dict[str, tuple[Path, Path]] = {}
        base, wanted = Path(self.root), self._label_layout
        if wanted in ("auto", "cityscapes") and not self._folders:
            labels, photos = (base / name / split for name, _ in _CITYSCAPES)
            if labels.is_dir() and photos.is_dir():
                found["cityscapes"] = labels, photos
        if wanted in ("auto", "folders"):
            for names in (self._folders,) if self._folders else FOLDER_NAMES:
                pair = locate(self.root, split, "folders", names)
                if pair and pair[1] and "folders" not in found:
                    found["folders"] = pair[0], pair[1]
        if wanted in ("auto", "side_by_side") and not self._folders:
            single = locate(self.root, split, "side_by_side")
            if single:
                found["side_by_side"] = single[0], single[0]
        return found

    def _unknown_layout(self, base: Path) -> DataError:
        hints = [found_there(base)]
        if self.splits:
            hints.append(f"splits found: {', '.join(self.splits)}")
        a, b = self._folders or FOLDER_NAMES[0]
        hints.append(
            f"understood as two folders: {self.split}/{a}/ and {self.split}/{b}/, with files of the same names"
        )
        if not self._folders:
            (labels, label_ending), (photos, photo_ending) = _CITYSCAPES
            hints += [
                "other names: data.folders=[label_folder,photo_folder]",
                f"understood as cityscapes: {labels}/{self.split}/CITY/*{label_ending} and "
                f"{photos}/{self.split}/CITY/*{photo_ending}",
                f"understood as side by side: {self.split}/*.jpg, labels in the {self._labels_half} half",
            ]
        wanted = f"{a!r} and {b!r} of split {self.split!r}" if self._folders else f"split {self.split!r}"
        return DataError(f"{str(base.absolute())!r} has no {wanted}", hints)

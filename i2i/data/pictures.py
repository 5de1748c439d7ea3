"""Pictures of two domains, in pairs or without: their arguments and layouts."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, TypeVar

from i2i.core.errors import ArgumentError
from i2i.data.finding.file_lists import FileList
from i2i.data.finding.sides import Layout, Side, check_root, find_sides, find_splits
from i2i.data.known.sets import known_set
from i2i.data.two_domains import TwoDomains
from i2i.images.codecs import Codec, ImageCodec
from i2i.images.codecs.image import Depth

Domain = Literal["a", "b"]
Range = tuple[float, float]
_Value = TypeVar("_Value")


class Pictures(TwoDomains):
    """Images of two domains in [-1, 1]; see :class:`TwoDomains`."""

    is_joint: ClassVar[bool]

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
        files: str | tuple[str, str] | None = None,
        depth: Literal[8, 16, 32] | tuple[Literal[8, 16, 32], Literal[8, 16, 32]] | None = None,
        value_range: tuple[float, float] | dict[Literal["a", "b"], tuple[float, float]] | None = None,
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
            channels: Of the images, or one number for a and one for b: 1 gray, 3 colour, 4 with transparency; any
                number for .npy and TIFF bands.
            layout: ``side_by_side`` (both in one file, left half a), ``folders``, or ``auto`` to see.
            folders: Names of the folders of a and b where they are not A and B or another usual pair.
            files: In place of folders, a CSV with the columns a and b, or two text lists; relative to root, and so are
                the paths in them.
            depth: Bits of a channel in translations, one number or two; 32 are floats. Null is that of the files.
            value_range: Which values in files are darkest and brightest, for both or as {a: [...], b: [...]}; floats
                need it. Null is all that 8 or 16 bits hold.
            check: Whether to look at every file before the first item.
        """
        codecs = picture_codecs(channels, depth, value_range)
        if files is not None and (folders is not None or layout != "auto"):
            raise ArgumentError("files stands in place of folders and layout", ("files",))
        known = known_set(root)
        super().__init__(
            root,
            split,
            codecs,
            self.is_joint,
            known[1].domains if known else ("a", "b"),
            load_size,
            crop_size,
            transforms,
            eval_transforms,
            layout,
            check,
        )
        self._folders = folders
        self._files = FileList(root, files, ("a", "b"), self.is_joint) if files else None

    @property
    def splits(self) -> list[str]:
        return self._files.splits if self._files else find_splits(self.root, self._layout, self._folders)

    def find(self) -> tuple[Side, Side]:
        if self._files is None:
            return find_sides(self.root, self.split, self._layout, self._folders, self.codecs)
        return sides_of_lists(self._files, self.split, self)


class Paired(Pictures):
    """Aligned pairs: both halves of one file, or two folders whose files have the same names but for the suffix.

    pix2pix, Isola et al. 2017, section 6.2 and appendix.

    Both images of a pair get the same geometry. Images without a partner are an error that lists them.
    """

    is_joint: ClassVar[bool] = True


class Unpaired(Pictures):
    """Two folders of images that do not belong together, or the halves of side-by-side files taken apart.

    CycleGAN, Zhu et al. 2017, section 7.1 (training details).

    An epoch is as long as the larger domain. In training, b is drawn at random, so that chance and not the order of the
    files decides which images meet; in other splits, item i is the i-th image of each, the smaller domain repeated.
    """

    is_joint: ClassVar[bool] = False


def picture_codecs(
    channels: int | tuple[int, int],
    depth: Depth | None | tuple[Depth, Depth],
    value_range: Range | Mapping[Domain, Range] | None,
) -> dict[str, Codec]:
    """Returns the codecs of a and b that a data set's arguments describe; see :class:`Pictures`.

    Raises:
        ValueError: They describe none.
    """
    counts = _of_both(channels)
    if any(number < 1 for number in counts.values()):
        raise ValueError(f"channels must be at least 1, got {channels}")
    depths, ranges = _of_both(depth), check_ranges(value_range)
    for name, bits in depths.items():
        if bits == 32 and ranges[name] is None:
            raise ArgumentError("depth 32 needs a value_range: [lowest, highest]", ("depth",))
    return {name: ImageCodec(counts[name], depths[name], ranges[name]) for name in counts}


def sides_of_lists(files: FileList, split: str, dataset: TwoDomains) -> tuple[Side, Side]:
    """Returns both sides with the files that lists name.

    Raises:
        DataError: The lists or their files are not there.
    """
    base = check_root(dataset.root)
    paths = files.read(split)
    a, b = (Side(base, None, dataset.codecs[name], paths=paths[name]) for name in "ab")
    return a, b


def check_ranges(value_range: Range | Mapping[Domain, Range] | None) -> dict[Domain, Range | None]:
    """Returns the range of each domain.

    Raises:
        ArgumentError: One is empty.
    """
    if isinstance(value_range, Mapping):
        ranges: dict[Domain, Range | None] = {"a": value_range.get("a"), "b": value_range.get("b")}
    else:
        ranges = {"a": value_range, "b": value_range}
    for name, limits in ranges.items():
        if limits is not None and not float("-inf") < limits[0] < limits[1] < float("inf"):
            path = ("value_range", name) if isinstance(value_range, Mapping) else ("value_range",)
            raise ArgumentError(f"value_range is [lowest, highest], got {list(limits)}", path)
    return {name: limits and (float(limits[0]), float(limits[1])) for name, limits in ranges.items()}


def _of_both(value: _Value | tuple[_Value, _Value]) -> dict[Domain, _Value]:
    a, b = value if isinstance(value, tuple | list) else (value, value)
    return {"a": a, "b": b}

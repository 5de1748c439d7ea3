"""What the data sets of two domains of pictures have in common: their arguments and layouts."""

from typing import Any, ClassVar

from i2i.codecs import ImageCodec
from i2i.data.base import TwoDomains
from i2i.data.domains import known_set
from i2i.data.sides import Layout, Side, find_sides, find_splits


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
        both = (channels, channels) if isinstance(channels, int) else tuple(channels)
        if any(number not in (1, 3, 4) for number in both):
            raise ValueError(f"channels must be 1, 3 or 4, got {channels}")
        codecs = {name: ImageCodec(count) for name, count in zip("ab", both, strict=True)}
        known = known_set(root)
        domains = known[1].domains if known else ("a", "b")
        super().__init__(
            root,
            split,
            codecs,
            self.is_joint,
            domains,
            load_size,
            crop_size,
            transforms,
            eval_transforms,
            layout,
            check,
        )
        self._folders = folders

    @property
    def splits(self) -> list[str]:
        return find_splits(self.root, self._layout, self._folders)

    def find(self) -> tuple[Side, Side]:
        return find_sides(self.root, self.split, self._layout, self._folders, self.codecs)

"""What is to be examined: the groups of files that a data set consists of, and which of them are partners."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from i2i.core.errors import DataError
from i2i.data.finding.files import is_image_name, list_images
from i2i.data.finding.matching import partners
from i2i.data.finding.sides import FOLDER_NAMES, SPLITS, Side, locate
from i2i.data.labels import Labels
from i2i.images.codecs import Codec, Half, ImageCodec
from i2i.images.files import describe_os_error

_GUESSED = FOLDER_NAMES[:2]  # folders of these names may hold pairs, or images that do not belong together
_ENOUGH = 0.5  # of names that agree, for a guess that the images are pairs


@dataclass
class Group:
    """Files that are of one kind.

    Attributes:
        name: Such as ``trainA``.
        split: ``train``, ``val`` or ``test``; empty where there are no splits.
        paths: The files.
        is_labels: Whether they are label maps.
        codec: How training reads them; ``None`` where that is not known.
        halves: Of side-by-side files, how training reads each half.
        least: Height and width that training needs at least.
    """

    name: str
    split: str
    paths: Sequence[str]
    is_labels: bool = False
    codec: Codec | None = None
    halves: tuple[tuple[Codec, Half], ...] = ()
    least: tuple[int, int] = (1, 1)


@dataclass
class Pairing:
    """Two groups whose files are partners.

    Attributes:
        a: A group.
        b: The other.
        rows: Row in a and row in b of each pair.
        alone: Files without a partner.
        is_certain: Whether they must be pairs, or only look like it.
        refuses_sizes: Whether training refuses pairs of different sizes.
    """

    a: Group
    b: Group
    rows: list[tuple[int, int]]
    alone: list[str]
    is_certain: bool
    refuses_sizes: bool = False


@dataclass
class Subject:
    """A data set to be examined.

    Attributes:
        name: What to call it.
        groups: Its files.
        pairings: Which of them belong together.
        others: Suffix -> how many files that are no images, of these folders; ``hidden`` counts hidden ones.
        folders: Where the files were looked for.
        outside: Images that lie elsewhere.
        trouble: What kept files from being matched, each with hints.
    """

    name: str
    groups: list[Group] = field(default_factory=list)
    pairings: list[Pairing] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)
    folders: set[Path] = field(default_factory=set)
    outside: list[str] = field(default_factory=list)
    trouble: list[DataError] = field(default_factory=list)

    @property
    def count(self) -> int:
        return sum(len(group.paths) for group in self.groups)

    def add(self, group: Group, folder: Path) -> None:
        """Adds files of a folder."""
        self.groups.append(group)
        self.folders.add(folder)

    def add_sides(self, sides: tuple[Side, Side], split: str, root: Path, is_certain: bool | None) -> None:
        """Adds a split's two domains.

        Args:
            sides: As a data set finds them; their files are listed here.
            split: Its name.
            root: The set's folder.
            is_certain: Whether they are pairs; ``None`` where their names are to tell.
        """
        for side in sides:
            side.paths = side.paths or _list(side)
            self.folders.add(side.folder)
        groups = [
            Group(
                _name(side.folder, root, f"{split} {letter}"),
                split,
                side.paths,
                side.codec.target == "mask",
                side.codec,
            )
            for letter, side in zip("ab", sides, strict=True)
        ]
        self.groups += groups
        if is_certain is False:
            return
        try:
            rows, alone = _pairs(*sides)
        except DataError as error:
            self.trouble += [error] if is_certain else []
            return
        if is_certain or len(rows) >= max(1, _ENOUGH * min(len(side.paths) for side in sides)):
            self.pairings.append(Pairing(groups[0], groups[1], rows, alone, bool(is_certain)))

    def pair_rows(self, a: Group, b: Group) -> None:
        """Pairs two groups row by row, as lists of files do."""
        self.pairings.append(Pairing(a, b, [(row, row) for row in range(len(a.paths))], [], True))

    def look_around(self, root: Path) -> None:
        """Counts what else lies in the set's folder."""
        for folder, folders, names in os.walk(root):
            folders[:] = [name for name in folders if not name.startswith(".") and name != "__MACOSX"]
            is_read = not self.folders.isdisjoint((Path(folder), *Path(folder).parents))
            for name in names:
                if name.startswith("."):
                    self.others["hidden"] += 1
                elif not is_image_name(name):
                    self.others[Path(name).suffix.lower() or "no suffix"] += 1
                elif not is_read:
                    self.outside.append(str(Path(folder, name)))


def examine_path(path: Path) -> Subject:
    """Finds the files of a folder, or takes one file.

    Raises:
        DataError: There is nothing, it may not be read, or it holds no images.
    """
    try:
        is_folder = path.is_dir()
        if not is_folder and not path.is_file():
            raise DataError(f"DATA {path}: {'is neither a file nor a folder' if path.exists() else 'no such file'}")
    except OSError as error:
        raise DataError(f"DATA {path}: {describe_os_error(error)}") from error
    if not is_folder:
        return Subject(str(path), [Group(path.name, "", [str(path)])])
    subject = Subject(str(path))
    for split in SPLITS:
        _add_split(subject, path, split)
    if not subject.groups:
        splits = [split for split in SPLITS if (path / split).is_dir()]
        for split in splits or [""]:
            paths = list(map(str, list_images(path / split)))
            if paths:
                subject.add(Group(split or path.resolve().name or str(path), split, paths), path / split)
    subject.look_around(path)
    return subject


def _add_split(subject: Subject, root: Path, split: str) -> None:
    """Adds a split of one of the layouts that data sets have, if there is one."""
    for layout in ("cityscapes", "folders"):
        labels = Labels(str(root), classes=2, split=split, layout=layout)
        if split in labels.splits:
            subject.add_sides(labels.find(), split, root, True)
            _forget_codecs(subject)
            return
    try:
        found = locate(str(root), split)
    except DataError:  # side by side as well: what is not in the two folders is told as lying outside
        found = locate(str(root), split, "folders")
    if found is None:
        return
    a, b = found
    if b is None:
        subject.add(Group(_name(a, root, split), split, list(map(str, list_images(a)))), a)
        return
    is_guess = any(a.name.endswith(one) and b.name.endswith(other) for one, other in _GUESSED)
    codec = ImageCodec(3)
    subject.add_sides((Side(a, None, codec), Side(b, None, codec)), split, root, None if is_guess else True)
    _forget_codecs(subject)


def _forget_codecs(subject: Subject) -> None:
    """A folder alone does not tell channels and classes."""
    for group in subject.groups:
        group.codec = None


def _list(side: Side) -> list[str]:
    return [str(path) for path in list_images(side.folder) if path.name.endswith(side.ending)]


def _name(folder: Path, root: Path, split: str) -> str:
    try:
        name = folder.relative_to(root).as_posix()
        return split if name == "." else name
    except ValueError:
        return str(folder)


def _pairs(a: Side, b: Side) -> tuple[list[tuple[int, int]], list[str]]:
    """Matches the files of two sides; returns the rows of each pair, and the files without a partner."""
    pairs, only_a, only_b = partners(a, b)
    rows_a, rows_b = ({path: row for row, path in enumerate(side.paths)} for side in (a, b))
    return [(rows_a[one], rows_b[other]) for one, other in pairs], [*only_a, *only_b]

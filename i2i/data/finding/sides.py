"""Where the two domains of a set lie: in two folders, or side by side in each file."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from i2i.core.errors import DataError
from i2i.data.finding.files import is_image_name
from i2i.data.known.sets import known_set
from i2i.images.codecs import Codec, Half

Layout = Literal["auto", "side_by_side", "folders"]
FOLDER_NAMES = (("A", "B"), ("a", "b"), ("images", "labels"), ("image", "label"), ("input", "target"))
SPLITS = ("train", "val", "test")


@dataclass
class Side:
    """The files of one domain.

    Attributes:
        folder: Where they lie.
        half: Which half of each file is this domain's; ``None`` for the whole.
        codec: What its files hold.
        ending: What the names of its files end in, beyond what partners share; empty for all images.
        paths: The files, once they are listed.
    """

    folder: Path
    half: Half | None
    codec: Codec
    ending: str = ""
    paths: Sequence[str] = field(default_factory=list)


def locate(
    root: str, split: str, layout: Layout = "auto", folders: tuple[str, str] | None = None
) -> tuple[Path, Path | None] | None:
    """Finds a split's two folders, or its one folder of files with both sides.

    Args:
        root: The set's folder.
        split: ``train``, ``val``, ``test`` or a name of the set's own.
        layout: Which layout to look for.
        folders: Names of the folders of a and b, where they are not among ``FOLDER_NAMES``.

    Returns:
        ``(a, b)``, ``(both, None)``, or ``None`` where nothing is found.

    Raises:
        DataError: Both layouts are there.
    """
    base = Path(root)
    pair = None if layout == "side_by_side" else _locate_folders(base, split, folders)
    single = None if layout == "folders" or folders else _locate_single(base, split)
    if pair and single:
        raise DataError(
            f"{str(base.absolute())!r} holds {split!r} both as two folders and side by side",
            ["say which: data.layout=folders or data.layout=side_by_side"],
        )
    return pair or ((single, None) if single else None)


def find_splits(root: str, layout: Layout = "auto", folders: tuple[str, str] | None = None) -> list[str]:
    """Lists which of train, val and test a set has."""
    return [split for split in SPLITS if locate(root, split, layout, folders)]


def find_sides(
    root: str, split: str, layout: Layout, folders: tuple[str, str] | None, codecs: Mapping[str, Codec]
) -> tuple[Side, Side]:
    """Finds both domains of a split; files are not listed yet.

    Raises:
        DataError: The root or the split is missing, or the layout is unknown or ambiguous; says what is there.
    """
    base = check_root(root)
    found = locate(root, split, layout, folders)
    if found is None:
        raise _unknown_layout(base, split, layout, folders)
    a, b = found
    if b is None:
        return Side(a, "left", codecs["a"]), Side(a, "right", codecs["b"])
    return Side(a, None, codecs["a"]), Side(b, None, codecs["b"])


def _locate_folders(base: Path, split: str, folders: tuple[str, str] | None) -> tuple[Path, Path] | None:
    for names in (folders,) if folders else FOLDER_NAMES:
        for pattern in ("{split}{name}", "{split}/{name}", "{name}/{split}", "{name}"):
            if pattern == "{name}" and split != "train":
                continue
            a, b = (base / pattern.format(split=split, name=name) for name in names)
            if a.is_dir() and b.is_dir():
                return a, b
    return None


def _locate_single(base: Path, split: str) -> Path | None:
    folder = base / split
    return folder if folder.is_dir() and _has_images(folder) else None


def _has_images(folder: Path) -> bool:
    with os.scandir(folder) as entries:
        return any(is_image_name(entry.name) for entry in entries)


def check_root(root: str) -> Path:
    """Returns the set's folder.

    Raises:
        DataError: There is none; says where to get it.
    """
    base = Path(root)
    if base.is_dir():
        return base
    hints = [f"say where it is: data.root=/path/to/{base.name}"]
    known = known_set(str(base))
    if known and known[1].is_offered:
        hints.insert(0, f"get it: python tools/prepare_data.py {known[0]}")
    hints.append("or begin with configs/cyclegan_animals.yaml, which needs no files")
    kind = "is a file, not a folder" if base.exists() else ""
    raise DataError(f"{str(base.absolute())!r} {kind}" if kind else f"no folder {str(base.absolute())!r}", hints)


def _unknown_layout(base: Path, split: str, layout: Layout, folders: tuple[str, str] | None) -> DataError:
    hints = [found_there(base)]
    splits = find_splits(str(base), layout, folders)
    if splits:
        hints.append(f"splits found: {', '.join(splits)}")
    a, b = folders or ("A", "B")
    if layout != "side_by_side":
        hints.append(f"understood as two folders: {split}{a}/ and {split}{b}/, {split}/{a}/ and {split}/{b}/")
        if not folders:
            hints.append("other names: data.folders=[photos,drawings]")
    if layout != "folders" and not folders:
        hints.append(f"understood as side by side: {split}/*.jpg, the left half a, the right half b")
    wanted = f"{a!r} and {b!r} of split {split!r}" if folders else f"split {split!r}"
    return DataError(f"{str(base.absolute())!r} has no {wanted}", hints)


def found_there(base: Path) -> str:
    """Says in a hint what a folder holds."""
    try:
        names = sorted(path.name + "/" * path.is_dir() for path in base.iterdir() if not path.name.startswith("."))
    except OSError:
        names = []
    listed = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
    return f"found there: {listed or 'nothing'}"

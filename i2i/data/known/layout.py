"""Finds a data set's folders in what an archive or a user holds, brings them together, and checks them."""

import os
import shutil
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path

from i2i.core.errors import DataError
from i2i.core.progress import Progress, Say
from i2i.data.finding.files import list_images
from i2i.data.known.sources import Source

SEARCH_DEPTH = 3  # how many folders deep an archive may wrap its data


def check_layout(source: Source, folder: Path, place: str, say: Say) -> dict[str, int]:
    """Counts a data set's images and reads the header of each.

    Args:
        source: What the data set should be.
        folder: Where it lies.
        place: What to call it in errors.
        say: Takes lines of progress.

    Returns:
        The number of images in each folder.

    Raises:
        DataError: If a folder is missing or empty, a published number is not met, or a header cannot be read.
    """
    images = {name: images_of(source, folder, name) for name in source.names}
    problems = []
    for name, paths in images.items():
        expected = source.folders.get(name)
        top = name.partition("/")[0]
        missing = name if (folder / top).is_dir() else top
        if not (folder / name).is_dir():
            if name in source.required and f"{missing} is missing" not in problems:
                problems.append(f"{missing} is missing")
        elif not paths:
            problems.append(f"{name} holds no images")
        elif expected is not None and len(paths) != expected:
            problems.append(f"{name} holds {len(paths)} images, not {expected}")
    if problems:
        raise DataError(f"{place}: not the data set {source.name}: {'; '.join(problems)}")

    broken = []
    with Progress("checking images", sum(map(len, images.values())), say, count="images") as progress:
        for path in (path for paths in images.values() for path in paths):
            if not _is_image(path):
                broken.append(path.relative_to(folder).as_posix())
            progress.advance(1)
    if broken:
        shown = ", ".join(broken[:5]) + (f" and {len(broken) - 5} more" if len(broken) > 5 else "")
        raise DataError(f"{place}: cannot be read as images: {shown}")
    return {name: len(paths) for name, paths in images.items() if paths}


def take_folders(tree: Path, path: Path, source: Source, result: Path, say: Say) -> None:
    """Brings a data set's folders together.

    Args:
        tree: Where they lie, up to ``SEARCH_DEPTH`` deep. If it is ``path`` itself, they are copied, else moved.
        path: The archive or folder that the user knows, for errors.
        source: The data set.
        result: Where they go.
        say: Takes lines of progress.

    Raises:
        DataError: If there is none of them, one is there twice, or the result would lie inside what it is copied from.
    """
    found = _locate(tree, path, source)
    for name, origin in found.items():
        if (result / name).exists():
            raise DataError(f"{path}: holds {name}, but so does another of the files given")
        (result / name).parent.mkdir(exist_ok=True)
        if tree != path:
            origin.rename(result / name)
        elif result.resolve().is_relative_to(origin.resolve()):
            raise DataError(f"{origin}: the data set cannot be laid out inside the folder it comes from")
        else:
            _copy(origin, result / name, say)
    if tree != path:
        for extra in _parent(found).iterdir():  # licences and notes
            if extra.is_file() and not (result / extra.name).exists():
                extra.rename(result / extra.name)


def _parent(found: Mapping[str, Path]) -> Path:
    return next(iter(found.values())).parent


def _locate(tree: Path, path: Path, source: Source) -> dict[str, Path]:
    """Finds a data set's folders, wherever in the tree an archive has put them."""
    wanted = _tops(source.names)
    required = _tops(source.required)
    level = [tree]
    for _ in range(SEARCH_DEPTH):
        hits = [
            _under_aliases(parent, source) or {name: parent / name for name in wanted if (parent / name).is_dir()}
            for parent in level
        ]
        hits = [hit for hit in hits if hit]
        hits = [hit for hit in hits if hit.keys() >= required.keys()] or hits
        if len(hits) > 1:
            both = " and ".join(_parent(hit).relative_to(tree).as_posix() for hit in hits[:2])
            raise DataError(f"{path}: holds the folders of {source.name} more than once, in {both}")
        if hits:
            return hits[0]
        if level == [tree] and tree == path and tree.resolve().name in wanted:
            return {tree.resolve().name: tree}
        level = sorted(child for parent in level for child in parent.iterdir() if child.is_dir())
    seen = ", ".join(sorted(child.relative_to(tree).as_posix() for child in tree.glob("*/"))[:8]) or "none"
    raise DataError(
        f"{path}: not the data set {source.name}: it has none of the folders {', '.join(wanted)} (top folders: {seen})"
    )


def _tops(names: Iterable[str]) -> dict[str, None]:
    """The folders that hold some folders, in order."""
    return dict.fromkeys(name.partition("/")[0] for name in names)


def _under_aliases(parent: Path, source: Source) -> dict[str, Path]:
    """The folders in the data set's other layout; none if nothing has a name of that layout alone."""
    found = {alias: name for alias, name in source.aliases.items() if (parent / alias).is_dir()}
    return {name: parent / alias for alias, name in found.items()} if found.keys() - _tops(source.names) else {}


def images_of(source: Source, folder: Path, name: str) -> list[Path]:
    """The images that count of a data set's folder ``name``, none if there is no such folder.

    Args:
        source: The data set.
        folder: Where it lies.
        name: One of its folders.
    """
    if not (folder / name).is_dir():
        return []
    return [path for path in list_images(folder / name) if path.name.endswith(source.endings.get(name, ""))]


def _is_image(path: Path) -> bool:
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # large images are welcome
            with Image.open(path):
                return True
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return False


def _copy(origin: Path, target: Path, say: Say) -> None:
    files = set(list_images(origin))  # also those behind links to folders
    for parent, folders, names in os.walk(origin):
        folders[:] = [name for name in folders if not name.startswith(".")]
        files.update(Path(parent, name) for name in names if not name.startswith("."))
    with Progress(f"copying {origin}", sum(path.stat().st_size for path in files), say) as progress:
        for path in sorted(files):
            copy = target / path.relative_to(origin)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
            progress.advance(copy.stat().st_size)

"""What there is to translate: a file, the images of a folder, or those that a glob matches.

Folders are walked one at a time: work starts before the walk has ended, and a million files take no more memory than
the names of the largest folder, some 100 bytes each.
"""

import fnmatch
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from i2i.core.errors import DataError
from i2i.data.finding.files import SUFFIXES, is_image_name
from i2i.images.files import describe_os_error

VIDEO_SUFFIXES = frozenset(
    (".mp4", ".m4v", ".mov", ".mkv", ".avi", ".webm", ".mpg", ".mpeg", ".wmv", ".flv", ".3gp", ".ogv", ".mts", ".m2ts")
)

Identity = tuple[int, int]  # of a folder, whatever path leads to it
Refuse = Callable[[str, str], None]


@dataclass(frozen=True)
class Inputs:
    """Where to look, and for what.

    Attributes:
        root: The folder that names are relative to: INPUT itself, a file's folder, or a glob's part without wildcards.
        pattern: The rest of a glob, part by part, where ``**`` is any number of folders.
        file: The name of the single file that INPUT is, if it is one.
    """

    root: Path
    pattern: tuple[str, ...]
    file: str | None = None

    def folders(self, skip: Path, refuse: Refuse) -> Iterator[tuple[str, list[str]]]:
        """Walks the folders that hold images to translate.

        Hidden files and folders are left out. Links to folders are followed, except to a folder that contains the link.

        Args:
            skip: A folder that is not entered: the outputs are no inputs.
            refuse: Receives the name and the reason where a folder cannot be read.

        Yields:
            A folder's name relative to the root, with ``/`` and empty for the root itself, and its images' names.
        """
        if self.file is not None:
            yield "", [self.file]
        else:
            yield from self._walk("", frozenset((0,)), (), skip, refuse)

    def _walk(
        self, folder: str, states: frozenset[int], parents: tuple[Identity, ...], skip: Path, refuse: Refuse
    ) -> Iterator[tuple[str, list[str]]]:
        """Walks below a folder; ``states`` are the parts of the pattern that its entries may match."""
        states = self._with_skipped(states)
        files: list[str] = []
        folders: list[tuple[str, frozenset[int]]] = []
        try:
            path = self.root / folder
            identity = _identity(path)
            if identity in parents or identity == _identity_or_none(skip):
                return
            with os.scandir(path) as entries:
                for entry in entries:
                    if entry.name.startswith(".") or entry.name == "__MACOSX":
                        continue
                    if _is_folder(entry):
                        following = self._following(states, entry.name)
                        if following:
                            folders.append((entry.name, following))
                    elif is_image_name(entry.name) and self._is_match(states, entry.name):
                        files.append(entry.name)
        except OSError as error:
            refuse(folder or ".", describe_os_error(error))
            return
        if files:
            yield folder, files
        for name, following in sorted(folders):
            inner = f"{folder}/{name}" if folder else name
            yield from self._walk(inner, following, (*parents, identity), skip, refuse)

    @cached_property
    def _expressions(self) -> tuple[re.Pattern[str], ...]:
        return tuple(re.compile(fnmatch.translate(part)) for part in self.pattern)

    def _with_skipped(self, states: frozenset[int]) -> frozenset[int]:
        """Adds the parts that come into reach because ``**`` may stand for no folder at all."""
        found = set(states)
        for index, part in enumerate(self.pattern):
            if index in found and part == "**":
                found.add(index + 1)
        return frozenset(found)

    def _following(self, states: frozenset[int], name: str) -> frozenset[int]:
        """Returns the parts that the entries of a folder called ``name`` may match."""
        last = len(self.pattern) - 1
        stay = {index for index in states if self.pattern[index] == "**"}
        return frozenset(stay | {i + 1 for i in states - stay if i < last and self._expressions[i].match(name)})

    def _is_match(self, states: frozenset[int], name: str) -> bool:
        last = len(self.pattern) - 1
        return last in states and (self.pattern[last] == "*" or self._expressions[last].match(name) is not None)


def find_inputs(text: str, recursive: bool = True) -> Inputs:
    """Finds out what INPUT means; nothing is listed yet.

    Args:
        text: A file, a folder, or a glob, in which ``**`` is any number of folders. What exists is never a glob.
        recursive: Whether a folder's folders belong to it.

    Raises:
        DataError: There is nothing of this name, or it is a video.
    """
    if not text:
        raise DataError("INPUT is empty", ["expected a file, a folder, or a glob in quotes"])
    path = Path(text)
    with suppress(RuntimeError):  # no home: then the name is meant as it stands
        path = path.expanduser()  # the shell leaves ~ alone in quotes
    try:
        is_folder = path.is_dir()
        exists = path.exists()
    except OSError as error:
        raise DataError(f"INPUT {text}: {describe_os_error(error)}") from error
    if is_folder:
        return Inputs(path, ("**", "*") if recursive else ("*",))
    if path.suffix.lower() in VIDEO_SUFFIXES:
        raise DataError(f"INPUT {text}: is a video; only images can be translated", ["take it apart into images first"])
    if exists:
        if not path.is_file():
            raise DataError(f"INPUT {text}: is neither a file nor a folder")
        return Inputs(path.parent, (), path.name)
    return _find_glob(text, path)


def no_images(text: str, inputs: Inputs, unreadable: Sequence[tuple[str, str]] = ()) -> DataError:
    """Says that INPUT has no images.

    Args:
        text: INPUT.
        inputs: What it means.
        unreadable: Folders that could not be searched, and why.
    """
    hints = [f"{inputs.root / name}: {reason}" for name, reason in unreadable[:3]]
    if inputs.pattern not in (("*",), ("**", "*")):
        return DataError(f"INPUT {text}: matches no images", [*hints, "to reach into folders: '**/*.jpg'"])
    if inputs.pattern == ("*",):
        hints.append("--no-recursive leaves out its folders")
    return DataError(f"INPUT {text}: the folder holds no images", [*hints, f"images: {', '.join(sorted(SUFFIXES))}"])


def _find_glob(text: str, path: Path) -> Inputs:
    magic = [index for index, part in enumerate(path.parts) if set(part) & set("*?[")]
    if not magic:
        raise DataError(f"INPUT {text}: no such file or folder")
    root = Path(*path.parts[: magic[0]])
    if not root.is_dir():
        raise DataError(f"INPUT {text}: no folder {str(root.absolute())!r}")
    pattern = path.parts[magic[0] :]
    return Inputs(root, (*pattern, "*") if pattern[-1] == "**" else pattern)


def _identity(path: Path) -> Identity:
    status = path.stat()
    return status.st_dev, status.st_ino


def _identity_or_none(path: Path) -> Identity | None:
    try:
        return _identity(path)
    except OSError:  # it is made later, or never
        return None


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False

"""Where translations go, and what they are called."""

import os
import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from i2i.core.errors import DataError
from i2i.images.codecs import Codec
from i2i.images.files import WRITERS, describe_os_error, save_image
from i2i.inference.jobs.inputs import Inputs
from i2i.inference.jobs.scratch import Scratch

LOSSY = frozenset(("jpg", "jpeg", "webp", "avif"))


@dataclass(frozen=True)
class Target:
    """Where translations go.

    Attributes:
        folder: OUTPUT, or the folder that the file OUTPUT lies in.
        format: A key of ``WRITERS``.
        file: The name of the file that OUTPUT is, if it is one.
        is_chosen: Whether the user named the format.
    """

    folder: Path
    format: str
    file: str | None = None
    is_chosen: bool = True

    def fitted(self, codec: Codec) -> "Target":
        """Returns the target with a format that holds the translations, where the user left it open.

        Args:
            codec: Of the translations.

        Raises:
            DataError: The user has named one that does not.
        """
        if self.format in codec.formats:
            return self
        if not self.is_chosen:
            return replace(self, format=codec.formats[0])
        output = self.folder / (self.file or "")
        raise DataError(
            f"OUTPUT {output}: {self.format} does not hold what this model makes: {codec.about}",
            [f"formats that do: {', '.join(codec.formats)}"],
        )

    def prepare(self, codec: Codec) -> tuple[Scratch, bool]:
        """Makes the folder, and proves with a tiny image that translations can be written.

        Args:
            codec: Of the translations.

        Returns:
            Makes files in it; whether it takes names that differ only by case for the same name.

        Raises:
            DataError: The folder cannot be written, or the format does not hold such images.
        """
        try:
            if self.file is None:
                self.folder.mkdir(parents=True, exist_ok=True)
            scratch = Scratch(self.folder)
        except OSError as error:
            reason = describe_os_error(error, "written")
            raise DataError(f"OUTPUT {self.folder}: cannot be written: {reason}") from error
        probe = scratch.part(self.folder / f"probe.{self.format}")
        try:
            save_image(probe, codec.blank(), self.format, palette=codec.palette, is_atomic=False)
            return scratch, probe.with_name(probe.name.swapcase()).exists()
        except DataError as error:
            scratch.close()
            reason = error.message.removeprefix(f"{probe}: ")
            raise DataError(f"OUTPUT {self.folder}: {reason}") from error
        finally:
            with suppress(OSError):
                probe.unlink(missing_ok=True)


def find_target(text: str, inputs: Inputs, format: str | None = None, overwrite: bool = False) -> Target:
    """Finds out what OUTPUT means; nothing is made yet.

    It is a file if it has a suffix, and a folder if it has none, ends in a slash, or is one already.

    Args:
        text: OUTPUT.
        inputs: What is translated.
        format: Of the files; by default OUTPUT's suffix, or png.
        overwrite: Whether a file OUTPUT may be replaced.

    Raises:
        DataError: OUTPUT would mix with INPUT, is a file for many images, exists, or has no suffix of an image.
    """
    if not text:
        raise DataError("OUTPUT is empty", ["expected a folder, or a file where INPUT is one image"])
    try:
        return _find_target(text, Path(text), inputs, format, overwrite)
    except OSError as error:
        raise DataError(f"OUTPUT {text}: {describe_os_error(error)}") from error


def _find_target(text: str, path: Path, inputs: Inputs, format: str | None, overwrite: bool) -> Target:
    if path.is_dir() or text.endswith(("/", os.sep)) or not path.suffix:
        if path.exists() and not path.is_dir():
            raise DataError(f"OUTPUT {text}: is a file, not a folder")
        if inputs.file is None:
            _check_apart(text, path, inputs.root)
        return Target(path, format or "png", is_chosen=format is not None)
    if inputs.file is None:
        raise DataError(
            f"OUTPUT {text}: is a file, by its suffix, but INPUT is many images",
            [f"expected a folder; if it shall be called so: {text}/"],
        )
    suffix = path.suffix[1:].lower()
    if suffix not in WRITERS:
        raise DataError(f"OUTPUT {text}: images cannot be written as {suffix!r}, only as {', '.join(WRITERS)}")
    if format is not None and WRITERS[format] != WRITERS[suffix]:
        raise DataError(f"OUTPUT {text}: its suffix contradicts --format {format}", ["leave one of them out"])
    if not path.parent.is_dir():
        raise DataError(f"OUTPUT {text}: no folder {str(path.parent.absolute())!r}")
    if path.exists():
        if path.samefile(inputs.root / inputs.file):
            raise DataError(f"OUTPUT {text}: is INPUT itself; originals are never replaced")
        if not overwrite:
            raise DataError(f"OUTPUT {text}: exists already", ["replace it with --overwrite"])
    return Target(path.parent, suffix, path.name)


def _check_apart(text: str, output: Path, root: Path) -> None:
    """Refuses a folder in which translations would mix with originals; inside of INPUT it is left out of the walk."""
    inside, outside = root.resolve(), output.resolve()
    if inside == outside:
        raise DataError(f"OUTPUT {text}: is INPUT's own folder, where originals and translations would mix")
    if inside.is_relative_to(outside):
        raise DataError(f"OUTPUT {text}: contains INPUT, where originals and translations would mix")


@dataclass(frozen=True)
class Named:
    """An input's name and its output's, in one folder.

    Attributes:
        name: The input's.
        output: The output's.
        keeps_suffix: Whether the output's name holds the input's suffix.
    """

    name: str
    output: str
    keeps_suffix: bool


def output_names(names: Iterable[str], format: str) -> Iterator[Named]:
    """Names the outputs of one folder, each after its input's stem; inputs that would share a name keep their suffix.

    Names that differ only by case, or in how they encode an accent, count as the same: they are on some file systems.
    The result does not depend on the order of the names. A million names are compared by hashes, 16 bytes a name.
    """
    names = sorted(names)
    stems = np.fromiter((hash(folded(_stem(name))) for name in names), np.int64, len(names))
    keeps = _is_repeated(stems)  # whose outputs keep their suffix
    if keeps.any():
        wholes = np.fromiter((hash(folded(name)) for name in names), np.int64, len(names))
        added = keeps
        while added.any():  # a.jpg.png may now be taken by a.jpg, when a.jpg.webp wants it
            added = np.isin(stems, wholes[added]) & ~keeps
            keeps = keeps | added
    del stems
    for name, keep in zip(names, keeps, strict=True):
        yield Named(name, f"{name if keep else _stem(name)}.{format}", bool(keep))


def _is_repeated(values: np.ndarray) -> np.ndarray:
    """Tells of each value whether there is another like it."""
    ordered = np.sort(values)
    return np.isin(values, ordered[1:][ordered[1:] == ordered[:-1]])


def folded(name: str) -> str:
    """Returns what two names have in common when some file system takes them for the same."""
    return name.lower() if name.isascii() else unicodedata.normalize("NFC", name).casefold()


def _stem(name: str) -> str:
    stem = name.rpartition(".")[0]  # for a million names, a Path each is slow
    return stem if stem.strip(".") else name  # .x and ..x have no suffix

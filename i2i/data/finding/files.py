"""Finding image files, and checking them before training time is spent."""

import os
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import ImageFile, TiffImagePlugin

from i2i.core.errors import DataError, first_of
from i2i.images.codecs.image import Depth
from i2i.images.decoding import MODE_NOTES, Refused, identify, is_deep, orientation
from i2i.images.files import describe_os_error, load_image, open_regular
from i2i.images.rasters import is_raster, raster_header

SUFFIXES = frozenset(
    ("jpg", "jpeg", "jpe", "jfif", "png", "webp", "tif", "tiff", "bmp", "dib", "gif")
    + ("ppm", "pgm", "pbm", "pnm", "avif", "npy")
)
SHOWN = 10  # files that a message names
_BATCH = 256  # files that a thread checks at a time


def is_image_name(name: str) -> bool:
    """Whether a file name has an image's suffix and is not hidden (``.x``, macOS' ``._x``)."""
    stem, _, suffix = name.rpartition(".")
    return bool(stem) and not name.startswith(".") and suffix.lower() in SUFFIXES


def list_images(folder: str | os.PathLike[str], recursive: bool = True) -> Iterator[Path]:
    """Lists the image files of a folder: its own by name, then those of its folders by name.

    Names are ordered by code point, so the order is the same on every platform. One folder at a time is held in memory.
    Links to folders are followed, except to a folder that contains the link.

    Args:
        folder: Where to look.
        recursive: Whether to look into the folders inside.

    Raises:
        DataError: The folder, or one inside, does not exist or may not be read.
    """
    yield from _walk(Path(folder), recursive, ())


def _walk(folder: Path, recursive: bool, parents: tuple[tuple[int, int], ...]) -> Iterator[Path]:
    try:
        status = folder.stat()
        identity = (status.st_dev, status.st_ino)
        if identity in parents:
            return
        files, folders = [], []
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith(".") or entry.name == "__MACOSX":
                    continue
                if _is_folder(entry):
                    folders.append(entry.name)
                elif is_image_name(entry.name):
                    files.append(entry.name)
    except FileNotFoundError as error:
        raise DataError(f"no folder {str(folder.absolute())!r}") from error
    except NotADirectoryError as error:
        raise DataError(f"{folder}: is a file, not a folder") from error
    except OSError as error:
        raise DataError(f"{folder}: {describe_os_error(error)}") from error
    for name in sorted(files):
        yield folder / name
    if recursive:
        for name in sorted(folders):
            yield from _walk(folder / name, recursive, (*parents, identity))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False


@dataclass
class Survey:
    """What a look at many image files has shown.

    Attributes:
        problems: File and reason of each that cannot be used.
        notes: How many files need which conversion.
        sizes: Width and height of each usable file, EXIF rotation counted in.
        depths: How many files have samples of 8 and of 16 bits; 32 stands for floats and all other numbers.
    """

    problems: list[tuple[str, str]] = field(default_factory=list)
    notes: Counter[str] = field(default_factory=Counter)
    sizes: dict[str, tuple[int, int]] = field(default_factory=dict)
    depths: Counter[Depth] = field(default_factory=Counter)


def check_images(paths: Iterable[str | os.PathLike[str]], channels: int | None = 3) -> list[tuple[str, str]]:
    """Lists the files that cannot be used, each with the reason; see ``survey``."""
    return survey(list(map(str, paths)), channels).problems


def survey(
    paths: Sequence[str],
    channels: int | None = 3,
    load: Callable[[str], tuple[str, ...]] | None = None,
    needs_pixels: bool = False,
) -> Survey:
    """Looks at every file's header and at its end; decodes only what these leave in doubt.

    Damage inside the compressed pixels of a file that has its end is not seen.

    Args:
        paths: Image files.
        channels: As for ``load_image``.
        load: Loads a file in doubt as it will be loaded later, and returns the conversions; ``load_image`` unless said.
        needs_pixels: Whether every file is in doubt.
    """
    confirm = load or (lambda path: load_image(path, channels)[1])
    result = Survey()
    batches = [paths[start : start + _BATCH] for start in range(0, len(paths), _BATCH)]
    with ThreadPoolExecutor(min(8, 2 * (os.cpu_count() or 1))) as pool:  # more than cores: cold disks make threads wait
        for batch in pool.map(lambda batch: [_look(path, channels, confirm, needs_pixels) for path in batch], batches):
            for path, size, depth, notes, reason in batch:
                if reason:
                    result.problems.append((path, reason))
                else:
                    result.notes.update(notes)
                    result.sizes[path] = size
                    result.depths[depth] += 1
    return result


def unusable(problems: Sequence[tuple[str, str]], total: int, split: str) -> DataError:
    """Names the files that cannot be used: the first few, and how many there are."""
    lines = first_of([f"{path}: {reason}" for path, reason in problems], SHOWN)
    return DataError(f"{len(problems)} of {total} images of split {split!r} cannot be used", lines)


class UnusableFiles(DataError):
    """Files of a data set that cannot be read; all others can be used, and these are refused when they come up.

    Args:
        problems: File and reason of each.
        total: Files looked at.
        split: Of the data set.
    """

    def __init__(self, problems: Sequence[tuple[str, str]], total: int, split: str) -> None:
        error = unusable(problems, total, split)
        super().__init__(error.message, error.hints)
        self.problems, self.total = tuple(problems), total


def too_small(sizes: Mapping[str, tuple[int, int]], crop: tuple[int, int], halves: int = 1) -> list[tuple[str, str]]:
    """Lists the files that a crop of (height, width) does not fit into, each with the reason."""
    height, width = crop
    reason = "is {} x {} pixels, smaller than the crop of {} x {}: load_size enlarges it"
    return [
        (path, reason.format(w, h, width, height))
        for path, (w, h) in sizes.items()
        if h < height or w // halves < width
    ]


def fingerprint(root: str, paths: Iterable[str]) -> int:
    """Returns a number that depends on names, relative to a folder, order and sizes of files."""
    value = 0
    for path in paths:
        size = os.stat(path).st_size if os.path.exists(path) else -1  # noqa: PTH116, PTH110 (a million Paths are slow)
        value = zlib.crc32(f"{os.path.relpath(path, root)} {size}\n".encode(errors="surrogateescape"), value)
    return value


def _look(
    path: str, channels: int | None, confirm: Callable[[str], tuple[str, ...]], needs_pixels: bool
) -> tuple[str, tuple[int, int], Depth, tuple[str, ...], str]:
    depth: Depth
    try:
        with open_regular(path) as stream:
            if is_raster(stream):
                size, dtype = raster_header(stream)
                depth = 8 if dtype == np.uint8 else 16 if dtype == np.uint16 else 32
                return path, size, depth, confirm(path), ""
            image = identify(stream)
            rotation = orientation(image)
            sideways = rotation >= 5 and image.format != "TIFF"  # Pillow has turned a TIFF's size already
            size = image.size[::-1] if sideways else image.size
            notes = None if needs_pixels else _expected_notes(image, channels)
            depth = 16 if is_deep(image) or image.mode.startswith("I") else 8
            if notes is None or not _is_complete(image, stream):
                return path, size, depth, confirm(path), ""
        return path, size, depth, (*notes, "EXIF rotation") if rotation > 1 else notes, ""
    except Refused as error:
        return path, (0, 0), 8, (), str(error)
    except DataError as error:
        return path, (0, 0), 8, (), error.message.removeprefix(f"{path}: ")
    except OSError as error:
        return path, (0, 0), 8, (), describe_os_error(error)


def _expected_notes(image: ImageFile.ImageFile, channels: int | None) -> tuple[str, ...] | None:
    """Conversions that a header announces; ``None`` where only the pixels tell: transparency, colour in one channel."""
    gray = image.mode in ("1", "L") or image.mode.startswith("I;16")
    if "transparency" in image.info or not (gray or image.mode in ("RGB", "P", "CMYK", "YCbCr")):
        return None
    if channels not in (1, 3, None) or (channels == 1 and not gray):
        return None
    notes = (MODE_NOTES[image.mode],) if image.mode in MODE_NOTES else ()
    return (*notes, "gray to RGB") if gray and channels == 3 else notes


def _is_complete(image: ImageFile.ImageFile, stream: BinaryIO) -> bool:
    """Whether a file ends as its format demands; ``False`` where that is not known."""
    if image.format == "WEBP":
        return True  # opening it has read it to its end
    length = stream.seek(0, os.SEEK_END)
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        tags = image.tag_v2
        for starts, counts in ((273, 279), (324, 325)):  # strips, tiles
            ends = [a + b for a, b in zip(tags.get(starts, ()), tags.get(counts, ()), strict=False)]
            if ends:
                return max(ends) <= length
        return False
    stream.seek(max(length - 12, 0))
    end = stream.read()
    if image.format in ("JPEG", "MPO"):
        return end.endswith(b"\xff\xd9")
    return image.format == "PNG" and end.endswith(b"IEND\xaeB`\x82")

"""Lays out a known data set: fetch or take its archives, unpack, verify, and only then move into place.

Everything happens in ``ROOT/.NAME.partial``, so ``ROOT/NAME`` exists whole or not at all. ``ROOT/NAME/SOURCE.json``
records what it was made from; the archives' SHA-256 in it are compared when the same archives come again.
"""

import contextlib
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from i2i.core.errors import DataError
from i2i.core.progress import Progress, Say
from i2i.data.known.archives import Limits, unpack
from i2i.data.known.download import Downloader, DownloadError
from i2i.data.known.layout import check_layout, images_of, take_folders
from i2i.data.known.sources import Source

RECORD = "SOURCE.json"


@dataclass(frozen=True)
class Prepared:
    """A data set in its place.

    Attributes:
        folder: Where it lies.
        counts: Images in each of its folders.
        was_ready: Whether it had been prepared before.
    """

    folder: Path
    counts: dict[str, int]
    was_ready: bool

    def __str__(self) -> str:
        counts = ", ".join(f"{folder} {count}" for folder, count in self.counts.items())
        return f"{self.folder}: {'already prepared' if self.was_ready else 'ready'}, images: {counts}"


def prepare(
    source: Source,
    root: Path,
    given: Sequence[Path] = (),
    *,
    downloader: Downloader | None = None,
    limits: Limits | None = None,
    say: Say = print,
) -> Prepared:
    """Makes ``root/source.name`` hold the data set.

    Args:
        source: The data set.
        root: The folder of all data sets; made if absent.
        given: Archives or unpacked folders to take instead of downloading. They are left as they are.
        downloader: How to download.
        limits: What archives may hold at most.
        say: Takes lines that tell what goes on.

    Raises:
        DataError: If the data cannot be had, are damaged, or are not what they should be. ``root/source.name`` is then
            as it was before, and what was downloaded is kept.
    """
    folder = root / source.name
    try:
        counts = _counts_in_place(source, folder, say)
        if counts is not None:
            return Prepared(folder, counts, was_ready=True)
        for path in given:
            if not path.exists():
                raise DataError(f"{path}: no such file or folder")
        if not given and not source.urls:
            raise DataError(
                f"{source.name}: cannot be downloaded by a program; get it by hand and pass it with --from",
                hints=[*source.by_hand, f"then: prepare_data {source.name} --from FILE…"],
            )
        with _workspace(root, source.name) as work:
            return _prepare_in(work, source, folder, given, downloader or Downloader(), limits, say)
    except BrokenPipeError:  # of `say`, not of the data
        raise
    except OSError as error:
        raise DataError(f"{error.filename or root}: {error.strerror or error}") from error


def _prepare_in(
    work: Path,
    source: Source,
    folder: Path,
    given: Sequence[Path],
    downloader: Downloader,
    limits: Limits | None,
    say: Say,
) -> Prepared:
    counts = _counts_in_place(source, folder, say)  # another process may just have finished
    if counts is not None:
        return Prepared(folder, counts, was_ready=True)
    archive = folder.parent / source.archive_name
    is_fetched = not given and not archive.exists()
    url = _download(source, archive, downloader, say) if is_fetched else None
    if not given and not is_fetched:
        say(f"{archive}: is here already and is used")
    try:
        origins, counts = _assemble(work, source, folder, list(given) or [archive], url, limits, say)
    except DataError as error:
        again = [] if given else [f"{archive} is kept; delete it to download it again"]
        raise DataError(error.message, [*error.hints, *again]) from error
    date = datetime.now(UTC).isoformat(timespec="seconds")
    record = {"name": source.name, "date": date, "origins": origins, "counts": counts}
    (work / "result" / RECORD).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    if folder.exists():  # holds at most the record of an earlier time
        folder.rename(work / "before")
    (work / "result").rename(folder)
    if is_fetched:
        archive.unlink()
    return Prepared(folder, counts, was_ready=False)


def _assemble(
    work: Path, source: Source, folder: Path, inputs: list[Path], url: str | None, limits: Limits | None, say: Say
) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """Unpacks or copies into ``work / "result"`` and checks it; returns where it is from and what it holds."""
    is_published = inputs == [folder.parent / source.archive_name]
    result = work / "result"
    result.mkdir()
    origins: list[dict[str, Any]] = []
    for index, path in enumerate(inputs):
        if path.is_dir():
            origins.append({"folder": str(path.resolve())})
            tree = path
        else:
            origin = {"file": path.name, "url": url, "size": path.stat().st_size, "sha256": _sha256(path, say)}
            _compare(origin, source, folder, path, is_published)
            origins.append(origin)
            tree = work / str(index)
            with Progress(f"unpacking {path.name}", path.stat().st_size, say) as progress:
                unpack(path, tree, limits, progress.advance)
        take_folders(tree, path, source, result, say)

    names = ", ".join(map(str, inputs))
    return origins, check_layout(source, result, names, say)


def _download(source: Source, archive: Path, downloader: Downloader, say: Say) -> str:
    try:
        return downloader.fetch(source.urls, archive, say)
    except DownloadError as error:
        way_on = f"with the file downloaded elsewhere: prepare_data {source.name} --from FILE"
        raise DataError(f"{source.name}: {error.message}; {way_on}", error.hints) from error


def _counts_in_place(source: Source, folder: Path, say: Say) -> dict[str, int] | None:
    """The counts of a data set that is already there; ``None`` if its place is free."""
    if not folder.exists() or (folder.is_dir() and {path.name for path in folder.iterdir()} <= {RECORD}):
        return None
    ways_on = [f"move {folder} away, or choose another folder with --root"]
    if not folder.is_dir():
        raise DataError(f"{folder}: is in the way, a data set's folder goes there", ways_on)
    recorded = _read_record(folder).get("counts")
    try:
        if recorded is None:
            return check_layout(source, folder, str(folder), say)
        if not isinstance(recorded, Mapping):
            raise DataError(f"{folder / RECORD}: damaged, 'counts' is not a mapping")
        counts = {name: len(images_of(source, folder, name)) for name in recorded}
        changed = [
            f"{name} holds {n} images, not {recorded[name]}" for name, n in counts.items() if n != recorded[name]
        ]
        if changed:
            raise DataError(f"{folder}: no longer what was prepared: {'; '.join(changed)}")
    except DataError as error:
        keep = f"or delete all in it but {RECORD}: the archive is then compared with the one used before"
        raise DataError(error.message, [*ways_on, keep] if recorded else ways_on) from error
    return counts


def _read_record(folder: Path) -> dict[str, Any]:
    path = folder / RECORD
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise DataError(f"{path}: damaged ({error})", ["delete it if the data set itself is whole"]) from error
    return record if isinstance(record, dict) else {}


def _compare(origin: Mapping[str, Any], source: Source, folder: Path, path: Path, is_published: bool) -> None:
    """Compares an archive with the published checksum, and with the one recorded when it was used before."""
    if is_published and source.sha256 not in (None, origin["sha256"]):
        raise DataError(f"{path}: SHA-256 is {origin['sha256']}, not the published {source.sha256}")
    record = _read_record(folder)
    for earlier in record.get("origins", ()):
        if earlier.get("file") == origin["file"] and earlier.get("sha256") != origin["sha256"]:
            raise DataError(
                f"{path}: not the archive used on {record.get('date')}: SHA-256 is {origin['sha256']}, "
                f"it was {earlier.get('sha256')}",
                [f"delete {folder / RECORD} to accept it"],
            )


def _sha256(path: Path, say: Say) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file, Progress(f"hashing {path.name}", path.stat().st_size, say) as progress:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
            progress.advance(len(chunk))
    return digest.hexdigest()


@contextlib.contextmanager
def _workspace(root: Path, name: str) -> Iterator[Path]:
    """An empty folder beside the result, for one process at a time, gone afterwards."""
    work = root / f".{name}.partial"
    work.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        if sys.platform != "win32":
            import fcntl

            handle = os.open(work, os.O_RDONLY)
            stack.callback(os.close, handle)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise DataError(f"{root / name}: another prepare_data is at work on it") from error
            except OSError:  # a file system without locks
                pass
        stack.callback(shutil.rmtree, work, ignore_errors=True)
        for leftover in work.iterdir():  # of a process that was killed
            shutil.rmtree(leftover)
        yield work

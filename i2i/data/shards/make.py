"""Turns a folder of images into shards: the files as they are, in a random order, with an index beside each tar."""

import io
import re
import shutil
import tarfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from i2i.core.errors import DataError
from i2i.core.files.atomic import write_bytes
from i2i.core.files.locks import try_lock
from i2i.data.finding.files import list_images, survey
from i2i.data.finding.matching import match_by_name
from i2i.data.finding.sides import SPLITS, Side, check_root, found_there, locate
from i2i.data.shards.index import BLOCK, index_path, read_headers
from i2i.images.codecs import ImageCodec
from i2i.images.decoding import Damaged
from i2i.images.files import describe_os_error, load_image

_UNITS = {"": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9}
_DIGITS = 6

Files = tuple[tuple[str, Path], ...]  # what belongs to one key: what follows it in the shard, and the file


@dataclass
class Plan:
    """What shards are made of.

    Attributes:
        groups: Name of a group of shards, such as ``train`` or ``trainA`` -> the files of each key.
        left_out: Files that are no images, and those that lost their partner with them, each with the reason.
    """

    groups: dict[str, list[tuple[str, Files]]] = field(default_factory=dict)
    left_out: list[tuple[str, str]] = field(default_factory=list)

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(path.stat().st_size for items in self.groups.values() for _, files in items for _, path in files)


def parse_size(text: str) -> int:
    """Reads a size such as ``256MB`` or ``1.5GB``, in bytes.

    Raises:
        DataError: It is none.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kMG]B|)", text.strip(), re.IGNORECASE)
    units = {unit.lower(): factor for unit, factor in _UNITS.items()}
    size = int(float(found[1]) * units[found[2].lower()]) if found else 0
    if size < 1:
        raise DataError(f"--shard-size {text}: expected a size such as 256MB or 1GB")
    return size


def plan_shards(root: str, paired: bool) -> Plan:
    """Lists the images of a set and sees which of them can be used.

    Args:
        root: A folder as ``paired`` and ``unpaired`` take it.
        paired: Whether two folders hold pairs; files that are side by side always do.

    Raises:
        DataError: There are no splits, or files have no partner.
    """
    base, plan = check_root(root), Plan()
    for split in SPLITS:
        found = locate(root, split)
        if found is None:
            continue
        a, b = found
        if b is None:
            _add(plan, split, [(str(path), (("ab", path),)) for path in list_images(a)], a)
        elif paired:
            sides = [Side(folder, None, ImageCodec(3), paths=list(map(str, list_images(folder)))) for folder in (a, b)]
            pairs = zip(*match_by_name(*sides), strict=True)
            _add(plan, split, [(one, (("a", Path(one)), ("b", Path(other)))) for one, other in pairs], a)
        else:
            for name, folder in (("A", a), ("B", b)):
                _add(plan, split + name, [(str(path), (("", path),)) for path in list_images(folder)], folder)
    if not plan.groups:
        hints = [found_there(base), "understood: trainA/ and trainB/, or train/ with both side by side in each file"]
        raise DataError(f"{str(base.absolute())!r} holds no images in train, val or test", hints)
    return plan


def write_shards(
    plan: Plan, target: Path, shard_size: int, advance: Callable[[int], None] = lambda amount: None
) -> dict[str, int]:
    """Writes all shards and their indexes, or nothing.

    Args:
        plan: What goes in.
        target: The folder, which does not exist yet.
        shard_size: Bytes that a shard is filled up to.
        advance: Told the number of bytes written since the last call.

    Returns:
        How many shards each group has.

    Raises:
        DataError: The folder exists, is being made by another process, or cannot be written.
    """
    check_target(target)
    try:
        with _workplace(target) as folder:
            counts = {}
            for group, items in plan.groups.items():
                rng = np.random.default_rng(0)  # neighbours in a folder are often alike; those in a shard should not be
                shuffled = [items[place] for place in rng.permutation(len(items))]
                parts = list(_filled(shuffled, shard_size))
                for number, part in enumerate(parts):
                    _write(folder / f"{group}-{number:0{_DIGITS}}.tar", part, advance)
                counts[group] = len(parts)
            folder.rename(target)
            return counts
    except OSError as error:
        raise DataError(f"{target}: {describe_os_error(error, 'written')}") from error


def check_target(target: Path) -> None:
    """Sees whether shards can be written to a folder.

    Raises:
        DataError: It exists already.
    """
    if target.exists():
        raise DataError(f"{target}: exists already", ["another OUT, or remove it first"])


def write_index(shard: Path) -> int:
    """Writes the index of a shard beside it; returns how many files that holds.

    Raises:
        DataError: The shard is damaged, or the index cannot be written.
    """
    beside = Path(index_path(str(shard)))
    index = read_headers(shard)
    try:
        write_bytes(beside, index.to_json())
    except OSError as error:
        raise DataError(f"{beside}: {describe_os_error(error, 'written')}") from error
    return len(index.members)


def urls_of(group: str, count: int) -> str:
    """Returns the names of a group's shards as ``data.urls`` takes them."""
    return f"{group}-{{{0:0{_DIGITS}}..{count - 1:0{_DIGITS}}}}.tar"


def _add(plan: Plan, group: str, items: Sequence[tuple[str, Files]], folder: Path) -> None:
    """Adds the items whose files are images, each under a key of its own."""
    paths = [str(path) for _, files in items for _, path in files]
    problems = dict(survey(paths, None, _confirm).problems)
    taken: set[str] = set()
    kept = []
    for first, files in items:
        broken = [str(path) for _, path in files if str(path) in problems]
        if broken:
            whole = [str(path) for _, path in files if str(path) not in problems]
            plan.left_out += [(path, problems[path]) for path in broken]
            plan.left_out += [(path, f"its partner {broken[0]} cannot be used") for path in whole]
            continue
        kept.append((_key(Path(first).relative_to(folder), taken), files))
    if kept:
        plan.groups[group] = kept


def _key(path: Path, taken: set[str]) -> str:
    """Makes a key of a file's place: without dots, at which keys end, and unlike all others."""
    stem = path.with_name(path.stem.replace(".", "_")).as_posix()
    key, number = stem, 1
    while key in taken:
        number += 1
        key = f"{stem}_{number}"
    taken.add(key)
    return key


def _confirm(path: str) -> tuple[str, ...]:
    """Decodes a file; whether its channels suit is for training to say."""
    try:
        return load_image(path, None, any_type=True)[1]
    except DataError as error:
        if isinstance(error.__cause__, Damaged | OSError):
            raise
        return ()


def _filled(items: Sequence[tuple[str, Files]], size: int) -> Iterator[list[tuple[str, Files]]]:
    """Cuts a list into parts that make tars of at most that many bytes, or of one item."""
    part: list[tuple[str, Files]] = []
    filled = 0
    for key, files in items:
        length = sum(BLOCK + -(-path.stat().st_size // BLOCK) * BLOCK for _, path in files)
        if part and filled + length > size:
            yield part
            part, filled = [], 0
        part.append((key, files))
        filled += length
    yield part


def _write(path: Path, items: Sequence[tuple[str, Files]], advance: Callable[[int], None]) -> None:
    with tarfile.open(path, "w") as archive:
        for key, files in items:
            for part, source in files:
                content = source.read_bytes()
                name = ".".join(filter(None, (key, part, source.suffix.removeprefix(".").lower())))
                info = tarfile.TarInfo(name)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
                advance(len(content))
    write_index(path)


@contextmanager
def _workplace(target: Path) -> Iterator[Path]:
    """Makes a folder beside the target that is gone afterwards, and that of a killed process before."""
    target.parent.mkdir(parents=True, exist_ok=True)
    folder = target.with_name(f".{target.name}.making")
    with ExitStack() as stack:
        lock = stack.enter_context(target.with_name(f".{target.name}.lock").open("ab"))
        if try_lock(lock.fileno()) is False:
            raise DataError(f"{target}: another process is making it")
        stack.callback(Path(lock.name).unlink, missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        yield folder

"""Which files of the shards make up a domain, in a form that holds millions of them."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, overload

import numpy as np

from i2i.core.errors import DataError, first_of
from i2i.data.finding.files import SHOWN, SUFFIXES, is_image_name
from i2i.data.shards.index import Member, ShardIndex
from i2i.images.files import Embedded

PARTS: tuple[tuple[str, ...], ...] = (("a", "b"), ("input", "target"), ("ab",))
"""How pairs are named where ``parts`` does not say: two files of a key, or one with both side by side."""


@dataclass(frozen=True)
class Shard:
    """A shard.

    Attributes:
        url: Its path or address.
        size: Its length in bytes.
    """

    url: str
    size: int

    @property
    def is_remote(self) -> bool:
        return "://" in self.url


Read = Callable[[Shard, Member], bytes]


class Files(NamedTuple):
    """Files of a shard as bytes and arrays: in objects of Python, ten million would take gigabytes.

    Attributes:
        places: Where each begins, and its length, int64 ``[N, 2]``.
        lengths: Of the names, in bytes, int64 ``[N]``.
        names: All of them, without anything between.
    """

    places: np.ndarray
    lengths: np.ndarray
    names: bytes


def pack(members: Sequence[Member]) -> Files:
    """Makes the compact form of some files."""
    names = [name.encode("utf-8", "surrogateescape") for name, _, _ in members]
    places = np.array([(offset, size) for _, offset, size in members], np.int64).reshape(-1, 2)
    return Files(places, np.array([len(name) for name in names], np.int64), b"".join(names))


class ShardFile(Embedded):
    """A file in a shard; its name is ``SHARD/MEMBER``."""

    def __new__(cls, shard: Shard, member: Member, read: Read) -> "ShardFile":
        self = super().__new__(cls, f"{shard.url}/{member[0]}")
        self._arguments = shard, member, read
        return self

    _arguments: tuple[Shard, Member, Read]

    def read(self) -> bytes:
        shard, member, read = self._arguments
        return read(shard, member)


class Members(Sequence[str]):
    """The files of one domain, which are numbered shard by shard.

    Args:
        shards: The shards, each with those of its files that belong to the domain.
        read: Reads a file.

    Attributes:
        shards: The shards.
        counts: How many files of each, ``[S]``.
    """

    def __init__(self, shards: Iterable[tuple[Shard, Files]], read: Read) -> None:
        pairs = list(shards)
        self.shards, self._read = [shard for shard, _ in pairs], read
        files = [one for _, one in pairs]
        self.counts = np.array([len(one.places) for one in files], np.int64)
        self._ends = self.counts.cumsum()
        self._places = np.concatenate([one.places for one in files])
        self._name_ends = np.concatenate([one.lengths for one in files]).cumsum()
        self._names = b"".join(one.names for one in files)

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        index = range(len(self))[index]  # negative numbers, and those that are too large
        first = int(self._name_ends[index - 1]) if index else 0
        name = self._names[first : int(self._name_ends[index])].decode("utf-8", "surrogateescape")
        offset, size = self._places[index].tolist()
        return ShardFile(self.shards[int(self.shards_of(index))], (name, offset, size), self._read)

    def shards_of(self, numbers: int | np.ndarray) -> np.ndarray:
        """Returns which shard each file lies in."""
        return np.searchsorted(self._ends, numbers, side="right")

    @property
    def checksum(self) -> int:
        """A number that depends on the files' names, places and sizes."""
        import zlib

        value = zlib.crc32(self._names)
        return zlib.crc32(np.ascontiguousarray(self._places).tobytes(), zlib.crc32(self.counts.tobytes(), value))


def find_parts(index: ShardIndex, place: str) -> tuple[str, ...]:
    """Returns what the files of a pair are called in a shard.

    Raises:
        DataError: They have none of the usual names; tells which ones they have.
    """
    extensions = {split_name(name)[1] for name, _, _ in index.members}
    for parts in PARTS:
        if any(_is_part(extension, part) for extension in extensions for part in parts):
            return parts
    hints = ["say which files make a pair: data.parts=[jpg,png], or data.parts=[a,b] for KEY.a.jpg and KEY.b.jpg"]
    if any(is_image_name(name.rpartition("/")[2]) for name, _, _ in index.members):
        hints.append("single images, which are no pairs: data.paired=false, with data.urls={a: ..., b: ...}")
    found = ", ".join(f"KEY.{extension}" for extension in sorted(extensions)[:8])
    raise DataError(f"{place}: holds no pairs KEY.a.* and KEY.b.*; found there: {found or 'nothing'}", hints)


def select_pairs(index: ShardIndex, place: str, parts: Sequence[str]) -> tuple[list[list[Member]], list[str]]:
    """Finds the pairs of a shard.

    Args:
        index: Of the shard.
        place: Its name, for messages.
        parts: What follows the key in the names of a and b; a single one for files that hold both.

    Returns:
        The files of each part, in the order of the keys; and what is wrong with those that have no partner.

    Raises:
        DataError: A key has two files of one part, or there are no pairs at all.
    """
    found: dict[str, dict[str, Member]] = {}
    for member in index.members:
        key, extension = split_name(member[0])
        part = next((part for part in parts if _is_part(extension, part)), None)
        if part is None or not key.rpartition("/")[2]:
            continue
        own = found.setdefault(key, {})
        if part in own:
            raise DataError(f"{place}: holds {own[part][0]!r} and {member[0]!r}, which are the same part of a pair")
        own[part] = member
    if not found:
        raise DataError(f"{place}: holds no files {' or '.join(f'KEY.{part}.*' for part in parts)}")
    orphans = [
        f"{place}/{member[0]}: has no partner {key.rpartition('/')[2]}.{next(p for p in parts if p not in own)}.*"
        for key, own in found.items()
        if len(own) < len(parts)
        for member in own.values()
    ]
    return [[own[part] for own in found.values() if len(own) == len(parts)] for part in parts], orphans


def select_images(index: ShardIndex, place: str, part: str | None) -> list[Member]:
    """Finds the images of a shard: all of them, or those of one part.

    Raises:
        DataError: There are none.
    """
    visible = [member for member in index.members if not member[0].rpartition("/")[2].startswith(".")]
    if part is None:
        chosen = [member for member in visible if is_image_name(member[0].rpartition("/")[2])]
    else:
        chosen = [member for member in visible if _is_part(split_name(member[0])[1], part)]
    if not chosen:
        raise DataError(f"{place}: holds no {'images' if part is None else f'files KEY.{part}.*'}")
    return chosen


def refuse_orphans(orphans: Sequence[str], total: int) -> None:
    """Names files without a partner.

    Raises:
        DataError: There are some.
    """
    if orphans:
        raise DataError(f"{len(orphans)} of {total} files have no partner in their shard", first_of(orphans, SHOWN))


def split_name(name: str) -> tuple[str, str]:
    """Splits a member's name into its key, which ends at the first dot after the last slash, and its extension."""
    folder, slash, base = name.rpartition("/")
    key, _, extension = base.partition(".")
    return folder + slash + key, extension.lower()


def _is_part(extension: str, part: str) -> bool:
    rest = extension.removeprefix(part)
    return rest == "" or (rest != extension and rest[:1] == "." and rest[1:] in SUFFIXES)

"""Where each file lies in a tar, so that any of them can be read alone.

Shards are tar files in WebDataset's form: ``KEY.EXTENSION``, where the key ends at the first dot of the file's name,
and files of one key belong together. An index is read from ``set-000.idx.json`` beside ``set-000.tar``, or made of the
headers in the tar. Nothing is ever unpacked.
"""

import itertools
import json
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from i2i.core.errors import DataError, I2IError
from i2i.images.files import describe_os_error

BLOCK = tarfile.BLOCKSIZE
FORMAT = 1
_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d+)\.\.(\d+)")
_ELSEWHERE = re.compile(r"^[/\\]|^[A-Za-z]:|(?:^|[/\\])\.\.(?:[/\\]|$)")
_CONTROL = re.compile(r"[\x00-\x1f]")
_PLAIN = (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE)
_REMAKE = "make the index anew: python tools/make_shards.py --index SHARD"

Member = tuple[str, int, int]  # name, where its content begins, its length in bytes


class ShardError(I2IError):
    """A shard that cannot be had any more, or has changed: no other image may take the place of its images."""


@dataclass(frozen=True)
class ShardIndex:
    """What a shard holds.

    Attributes:
        size: The shard's length in bytes.
        members: Its files, in order.
    """

    size: int
    members: list[Member]

    def to_json(self) -> bytes:
        """Returns the content of an index file."""
        return json.dumps({"format": FORMAT, "size": self.size, "members": self.members}).encode()

    @classmethod
    def from_json(cls, text: bytes, place: str) -> "ShardIndex":
        """Reads the content of an index file.

        Args:
            text: The content.
            place: What to name in errors.

        Raises:
            DataError: It is none, or one that no tar can have.
        """
        try:
            document = json.loads(text)
            if document["format"] != FORMAT:
                raise DataError(f"{place}: has format {document['format']!r}, this version reads {FORMAT}", [_REMAKE])
            size, members = int(document["size"]), [(str(n), int(o), int(s)) for n, o, s in document["members"]]
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"{place}: is not the index of a shard ({error})", [_REMAKE]) from error
        for name, offset, length in members:
            check_name(name, place)
            if not BLOCK <= offset <= offset + length <= size:
                raise DataError(f"{place}: places {name!r} outside of the shard", [_REMAKE])
        return cls(size, members)


def index_path(shard: str) -> str:
    """Returns where the index of a shard lies, a path or an address."""
    return shard.removesuffix(".tar") + ".idx.json"


def expand_braces(text: str) -> list[str]:
    """Expands ``{000..127}`` and ``{a,b}``, as shells do.

    Raises:
        ValueError: A range that counts down or is endless, or braces that hold neither.
    """
    found = _BRACES.search(text)
    if found is None:
        return [text]
    span = _RANGE.fullmatch(found[1])
    if span:
        first, last = int(span[1]), int(span[2])
        if not 0 <= last - first < 10**6:
            raise ValueError(f"{found[0]} is no range from a number to a larger one")
        width = max(len(span[1]), len(span[2])) if span[1].startswith("0") or span[2].startswith("0") else 0
        choices = [str(number).zfill(width) for number in range(first, last + 1)]
    elif "," in found[1]:
        choices = found[1].split(",")
    else:
        raise ValueError(f"{found[0]} is neither a range such as {{000..127}} nor a list such as {{a,b}}")
    rests = expand_braces(text[found.end() :])
    return [text[: found.start()] + choice + rest for choice, rest in itertools.product(choices, rests)]


def read_index(shard: Path) -> ShardIndex:
    """Reads the index of a shard on this machine, from the file beside it or else from its headers.

    Raises:
        DataError: The shard is missing, damaged, or another one than its index was made of.
    """
    beside = Path(index_path(str(shard)))
    if beside == shard or not beside.is_file():
        return read_headers(shard)
    try:
        index, size = ShardIndex.from_json(beside.read_bytes(), str(beside)), shard.stat().st_size
    except OSError as error:
        raise DataError(f"{shard}: {describe_os_error(error)}") from error
    if size != index.size:
        what = "cut short" if size < index.size else "changed"
        raise DataError(f"{shard}: is {what}: it has {size:,} bytes, its index {index.size:,}", [_REMAKE])
    return index


def read_headers(shard: Path, name: str | None = None) -> ShardIndex:
    """Makes a shard's index of its headers; contents are not read.

    Args:
        shard: The file.
        name: What to call it in errors, if not by its path.

    Raises:
        DataError: It is no tar, is cut short or damaged, or holds links or names that lead elsewhere.
    """
    name = name or str(shard)
    try:
        with shard.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(0)
            _check_kind(file.read(BLOCK), name)
            file.seek(0)
            with tarfile.open(fileobj=file, mode="r:") as archive:
                members = list(_members(archive, size, name))
                _check_end(file, archive.offset, name, len(members))
    except OSError as error:
        raise DataError(f"{name}: {describe_os_error(error)}") from error
    except (tarfile.TarError, ValueError, EOFError, OverflowError) as error:
        raise DataError(f"{name}: is damaged or cut short ({error})") from error
    return ShardIndex(size, members)


def check_name(name: str, place: str) -> None:
    """Refuses a member's name that leads out of the shard, or that cannot be shown.

    Raises:
        DataError: It does.
    """
    if _ELSEWHERE.search(name):
        raise DataError(f"{place}: the member {name!r} leads out of the shard")
    if not name or _CONTROL.search(name):
        raise DataError(f"{place}: the member {name!r} has no usable name")


def check_content(file: BinaryIO, place: str, member: Member) -> bytes:
    """Reads a file of an open shard, and sees whether it is still where the index says.

    Raises:
        ShardError: It is not.
    """
    name, offset, size = member
    file.seek(offset - BLOCK)
    header = file.read(BLOCK)
    content = file.read(size)
    try:
        is_there = tarfile.TarInfo.frombuf(header, "utf-8", "surrogateescape").size == size == len(content)
    except tarfile.TarError:
        is_there = False
    if not is_there:
        raise ShardError(f"{place}: {name!r} is not where the index says: the shard has changed or is cut short")
    return content


def _members(archive: tarfile.TarFile, size: int, place: str) -> Iterator[Member]:
    while (member := archive.next()) is not None:
        archive.members.clear()  # type: ignore[attr-defined]  # missing in the stubs
        if member.isdir():
            continue
        name = member.name.removeprefix("./")
        check_name(name, place)
        if member.type not in _PLAIN or member.issparse():
            raise DataError(f"{place}: the member {name!r} is a link, a device or a file with holes, not a plain file")
        if member.offset_data + member.size > size:
            raise DataError(f"{place}: is cut short inside of {name!r}")
        yield name, member.offset_data, member.size


def _check_kind(head: bytes, place: str) -> None:
    if not head:
        raise DataError(f"{place}: is empty (0 bytes)")
    if head.startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")):
        raise DataError(f"{place}: is compressed, which leaves no file readable alone", ["unpack it: gunzip FILE"])
    if head.startswith(b"PK"):
        raise DataError(f"{place}: is a zip archive, not a tar")


def _check_end(file: BinaryIO, offset: int, place: str, count: int) -> None:
    """Looks for what ``tarfile`` passes over: no end mark, damage that looks like the end, more behind the end."""
    file.seek(offset)
    mark = file.read(BLOCK)
    if len(mark) < BLOCK:
        raise DataError(f"{place}: is cut short: it ends after {count} files without an end mark")
    if any(mark):
        raise DataError(f"{place}: is damaged: what follows its first {count} files is no header")
    while chunk := file.read(1 << 20):
        if any(chunk):
            raise DataError(f"{place}: goes on behind its end mark: are these two tars in one file?")

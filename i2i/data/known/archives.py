"""Unpacks zip and tar.gz archives from strangers.

Nothing is written outside the target folder, nothing but plain files and folders is made, nothing is overwritten, and
both what an archive declares and what really comes out of it stay within limits. Damage is an error, never a shorter
data set.
"""

import contextlib
import gzip
import io
import lzma
import os
import re
import stat
import struct
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, NoReturn

from i2i.core.errors import DataError
from i2i.core.progress import human_size

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

CHUNK = 1 << 20
# The readers of the standard library meet a malformed header with any of these.
_DAMAGE = (
    EOFError,
    ValueError,
    struct.error,
    zlib.error,
    lzma.LZMAError,
    gzip.BadGzipFile,
    tarfile.TarError,
    zipfile.BadZipFile,
)


@dataclass(frozen=True)
class Limits:
    """What an archive may hold at most.

    Attributes:
        total_bytes: Bytes unpacked.
        entries: Files and folders.
        ratio: Bytes unpacked to bytes packed; images hardly shrink, label maps and text at most some fifty times.
        free_bytes: Bytes unpacked below which the ratio is not looked at.
    """

    total_bytes: int = 100 * 10**9
    entries: int = 1_000_000
    ratio: float = 200.0
    free_bytes: int = 10 * 10**6


def unpack(
    archive: Path, target: Path, limits: Limits | None = None, advance: Callable[[int], None] = lambda amount: None
) -> None:
    """Unpacks an archive into a folder that does not yet hold any of its files.

    Folders and files that only macOS or the like puts into archives are left out.

    Args:
        archive: A zip or tar.gz file, told by content, not by name.
        target: The folder; made if absent.
        limits: What is refused for its size.
        advance: Told the number of bytes of the *archive* dealt with since the last call.

    Raises:
        DataError: If the archive is of another kind, damaged, cut short, encrypted, too large, or holds anything but
            files and folders with harmless, distinct names.
    """
    limits = limits or Limits()
    with archive.open("rb") as file:
        head = file.read(512)
        file.seek(0)
        writer = _Writer(archive, target, limits)
        try:
            if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
                _unpack_zip(file, writer, advance)
            elif head.startswith(b"\x1f\x8b"):
                _unpack_tar(file, writer, advance)
            elif re.match(rb"\s*<(!doctype|html|head|\?xml)", head, re.IGNORECASE):
                raise DataError(f"{archive}: is a web page, not an archive; the server probably answered with an error")
            else:
                raise DataError(f"{archive}: {'is empty' if not head else 'is neither a zip nor a tar.gz archive'}")
        except _DAMAGE as error:
            raise DataError(f"{archive}: the archive is damaged or cut short ({error})") from error
        except RuntimeError as error:  # a compression method that is unknown or not built in
            raise DataError(f"{archive}: cannot be unpacked ({error})") from error


class _Writer:
    """Creates an archive's files under the target, one safe name after the other."""

    def __init__(self, archive: Path, target: Path, limits: Limits) -> None:
        self.archive = archive
        self.target = target
        self.entries = 0
        self.max_entries = limits.entries
        packed = archive.stat().st_size
        self.budget = min(limits.total_bytes, max(limits.free_bytes, int(limits.ratio * packed)))
        self.written = 0
        self.names: dict[str, str] = {}
        target.mkdir(parents=True, exist_ok=True)

    def refuse(self, why: str) -> NoReturn:
        raise DataError(
            f"{self.archive}: not unpacked, {why}",
            hints=["if you trust the archive, unpack it yourself and pass the folder with --from"],
        )

    def count_entry(self) -> None:
        self.entries += 1
        if self.entries > self.max_entries:
            self.refuse(f"it holds more than {self.max_entries} entries")

    def check_total(self, total: int) -> None:
        if total > self.budget:
            self.refuse(f"its content is larger than {human_size(self.budget)}, the most for an archive of this size")

    def path_of(self, name: str) -> Path | None:
        """Where the entry goes; ``None`` for litter."""
        # Some Windows tools write backslashes; on Windows they separate, so they are taken as separators everywhere.
        parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".")]
        if name.startswith(("/", "\\")) or (parts and re.fullmatch(r"[A-Za-z]:", parts[0])):
            self.refuse(f"the entry {name!r} has an absolute path")
        if ".." in parts:
            self.refuse(f"the entry {name!r} leads out of the folder")
        if any(ord(character) < 32 for character in name):
            self.refuse(f"the entry {name!r} has control characters in its name")
        if not parts or "__MACOSX" in parts or parts[-1] == ".DS_Store" or parts[-1].startswith("._"):
            return None
        if os.name == "nt":
            parts = [re.sub(r'[:<>|"?*]', "_", part).rstrip(". ") or "_" for part in parts]
        for depth in range(1, len(parts) + 1):
            # The prefixes too: A/x.jpg and a/y.jpg would share one folder on some systems and have two on others.
            path = "/".join(parts[:depth])
            taken = self.names.setdefault(unicodedata.normalize("NFC", path).casefold(), path)
            if taken != path:
                self.refuse(f"the entries {taken!r} and {path!r} would be one file on systems that ignore case")
        return self.target.joinpath(*parts)

    def make_folder(self, path: Path) -> None:
        try:
            path.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError):
            self.refuse(f"the entry {path.relative_to(self.target).as_posix()!r} is both a file and a folder")

    def make_file(self, path: Path, source: IO[bytes], declared: int) -> None:
        self.make_folder(path.parent)
        entry = path.relative_to(self.target).as_posix()
        with contextlib.ExitStack() as stack:
            try:
                file = stack.enter_context(path.open("xb"))
            except FileExistsError:
                self.refuse(f"it holds {entry!r} more than once")
            size = 0
            while chunk := source.read(CHUNK):
                size += len(chunk)
                self.written += len(chunk)
                self.check_total(self.written)
                file.write(chunk)
        if size != declared:
            raise EOFError(f"{entry}: {size} of {declared} bytes")


def _unpack_zip(file: IO[bytes], writer: _Writer, advance: Callable[[int], None]) -> None:
    with zipfile.ZipFile(file) as archive:
        infos = archive.infolist()
        for _ in infos:
            writer.count_entry()
        writer.check_total(sum(info.file_size for info in infos))
        for info in infos:
            kind = stat.S_IFMT(info.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                writer.refuse(f"the entry {info.filename!r} is a link or a device")
            if info.flag_bits & 1:
                writer.refuse(f"the entry {info.filename!r} is encrypted")
            path = writer.path_of(info.filename)
            if path is None:
                continue
            if info.is_dir():
                writer.make_folder(path)
            else:
                with archive.open(info) as source:
                    writer.make_file(path, source, info.file_size)
            advance(info.compress_size)


def _unpack_tar(file: IO[bytes], writer: _Writer, advance: Callable[[int], None]) -> None:
    with gzip.GzipFile(fileobj=file) as unzipped:
        stream = _Metered(unzipped, writer)
        seen = 0
        declared = 0
        # As a stream: nothing is read twice, and no name can point back into what was already unpacked.
        with tarfile.open(fileobj=stream, mode="r|") as archive:
            for member in _members(archive):
                writer.count_entry()
                declared += member.size
                writer.check_total(declared)
                if not (member.isreg() or member.isdir()):
                    writer.refuse(f"the entry {member.name!r} is a link or a device")
                path = writer.path_of(member.name)
                if path is not None and member.isdir():
                    writer.make_folder(path)
                elif path is not None:
                    content = archive.extractfile(member)
                    assert content is not None  # regular files always have content
                    writer.make_file(path, content, member.size)
                advance(file.tell() - seen)
                seen = file.tell()
        # tarfile stops at its end mark; the checksum of the whole stream lies behind it.
        while stream.read(CHUNK):
            pass


class _Metered(io.RawIOBase):
    """A stream that may not yield more than the archive may hold: headers, padding and trailing bytes count as well."""

    def __init__(self, stream: gzip.GzipFile, writer: _Writer) -> None:
        self.stream = stream
        self.writer = writer
        self.total = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        size = self.stream.readinto(buffer)
        self.total += size
        self.writer.check_total(self.total)
        return size


def _members(archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """The entries in order, without the list that ``tarfile`` keeps of them."""
    while (member := archive.next()) is not None:
        yield member
        archive.members.clear()  # type: ignore[attr-defined]  # missing in the stubs

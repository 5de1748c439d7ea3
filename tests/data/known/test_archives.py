"""Archives: sound ones come out whole; hostile and broken ones are refused and leave nothing outside the folder."""

import gzip
import io
import os
import stat
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from i2i.core.errors import DataError
from i2i.data.known.archives import Limits, unpack

CONTENT = {"set/trainA/1.jpg": os.urandom(3000), "set/trainA/2.jpg": b"two", "set/trainB/1.jpg": b""}


def write_zip(path: Path, files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content, method)
    return path


def write_tar(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


Write = Callable[[Path, dict[str, bytes]], Path]
both_kinds = pytest.mark.parametrize("write", [write_zip, write_tar])


def files_below(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refused(archive: Path, target: Path, *words: str, limits: Limits | None = None) -> None:
    before = {path for path in archive.parent.rglob("*") if target not in path.parents and path != target}
    with pytest.raises(DataError) as caught:
        unpack(archive, target, limits)
    assert str(caught.value).startswith(f"{archive}: ")
    assert "\n" not in caught.value.message
    for word in words:
        assert word in caught.value.message
    after = {path for path in archive.parent.rglob("*") if target not in path.parents and path != target}
    assert before == after, "something was written outside the target"


@both_kinds
def test_unpacks_everything_and_reports_how_far_it_is(tmp_path: Path, write: Write) -> None:
    archive = write(tmp_path / "named_as_you_like", CONTENT)
    advances: list[int] = []
    unpack(archive, tmp_path / "out", advance=advances.append)
    assert files_below(tmp_path / "out") == CONTENT
    assert min(advances) >= 0
    assert 0 < sum(advances) <= archive.stat().st_size


@both_kinds
def test_leaves_out_litter(tmp_path: Path, write: Write) -> None:
    litter = {"__MACOSX/set/trainA/._1.jpg": b"x", "set/.DS_Store": b"x", "set/trainA/._1.jpg": b"x"}
    unpack(write(tmp_path / "a", CONTENT | litter), tmp_path / "out")
    assert files_below(tmp_path / "out") == CONTENT


@both_kinds
@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("../outside.jpg", "leads out of the folder"),
        ("set/../../outside.jpg", "leads out of the folder"),
        ("..\\outside.jpg", "leads out of the folder"),
        ("/tmp/outside.jpg", "absolute path"),
        ("\\\\host\\share\\outside.jpg", "absolute path"),
        ("C:\\outside.jpg", "absolute path"),
        ("set/a\nb.jpg", "control characters"),
    ],
)
def test_refuses_names_that_lead_elsewhere(tmp_path: Path, write: Write, name: str, why: str) -> None:
    refused(write(tmp_path / "a", {name: b"evil"}), tmp_path / "out", repr(name), why)
    assert files_below(tmp_path / "out") == {}


def test_colons_are_no_drives(tmp_path: Path) -> None:
    # Pictures named after the time they were taken.
    unpack(write_zip(tmp_path / "a", {"2010-01-01 12:00:00.jpg": b"x", "a:b.jpg": b"y"}), tmp_path / "out")
    assert len(files_below(tmp_path / "out")) == 2


@both_kinds
def test_refuses_names_that_differ_in_case_only(tmp_path: Path, write: Write) -> None:
    refused(
        write(tmp_path / "a", {"set/A.jpg": b"1", "set/a.jpg": b"2"}), tmp_path / "out", "'set/A.jpg'", "'set/a.jpg'"
    )
    refused(write(tmp_path / "b", {"set/1.jpg": b"1", "SET/2.jpg": b"2"}), tmp_path / "out2", "'set'", "'SET'")


def test_refuses_duplicates(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("x.jpg", b"one")
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("x.jpg", b"two")
    refused(tmp_path / "a.zip", tmp_path / "zip", "'x.jpg' more than once")
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as tar:
        for _ in range(2):
            tar.addfile(tarfile.TarInfo("./x.jpg"))
    refused(tmp_path / "a.tar.gz", tmp_path / "tar", "'x.jpg' more than once")


@both_kinds
def test_refuses_a_name_that_is_file_and_folder(tmp_path: Path, write: Write) -> None:
    refused(write(tmp_path / "a", {"x": b"1", "x/y.jpg": b"2"}), tmp_path / "out", "'x' is both a file and a folder")


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE])
def test_refuses_links_and_devices_in_tar(tmp_path: Path, kind: bytes) -> None:
    secret = tmp_path / "secret"
    secret.write_text("mine")
    with tarfile.open(tmp_path / "a", "w:gz") as archive:
        link = tarfile.TarInfo("set")
        link.type = kind
        link.linkname = str(tmp_path)
        archive.addfile(link)
        through = tarfile.TarInfo("set/secret")
        through.size = 4
        archive.addfile(through, io.BytesIO(b"evil"))
    refused(tmp_path / "a", tmp_path / "out", "'set' is a link or a device")
    assert secret.read_text() == "mine"


def test_refuses_links_in_zip(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("set/link")
    link.create_system = 3
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    refused(tmp_path / "a", tmp_path / "out", "'set/link' is a link or a device")


@both_kinds
def test_refuses_bombs(tmp_path: Path, write: Write) -> None:
    bomb = write(tmp_path / "a", {"zeros.png": bytes(12_000_000)})
    assert bomb.stat().st_size < 20_000
    refused(bomb, tmp_path / "out", "larger than 10.0 MB")
    assert sum(map(len, files_below(tmp_path / "out").values())) <= 10_000_000
    unpack(bomb, tmp_path / "fine", Limits(ratio=2000))
    refused(bomb, tmp_path / "out2", "larger than 5.0 MB", limits=Limits(total_bytes=5_000_000, ratio=2000))
    many = write(tmp_path / "b", {f"{n}.jpg": b"" for n in range(20)})
    refused(many, tmp_path / "out3", "more than 10 entries", limits=Limits(entries=10))


def test_does_not_believe_declared_sizes(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "a", {"zeros.png": bytes(300_000)})
    # The size stands in the local and in the central header; both claim 10 bytes now.
    archive.write_bytes(archive.read_bytes().replace(struct.pack("<L", 300_000), struct.pack("<L", 10)))
    refused(archive, tmp_path / "out")
    assert sum(map(len, files_below(tmp_path / "out").values())) <= 10


def test_refuses_a_bomb_hidden_behind_the_end_of_a_tar(tmp_path: Path) -> None:
    archive = write_tar(tmp_path / "a", CONTENT)
    archive.write_bytes(archive.read_bytes() + gzip.compress(bytes(12_000_000)))
    refused(archive, tmp_path / "out", "larger than 10.0 MB")


@both_kinds
def test_names_the_file_that_is_cut_short(tmp_path: Path, write: Write) -> None:
    whole = write(tmp_path / "whole", {f"{n}.jpg": os.urandom(2000) for n in range(5)}).read_bytes()
    for index, size in enumerate((0, 3, 300, len(whole) // 2, len(whole) - 4)):
        cut = tmp_path / f"cut{index}"
        cut.write_bytes(whole[:size])
        refused(cut, tmp_path / f"out{index}")


@both_kinds
def test_notices_changed_bytes(tmp_path: Path, write: Write) -> None:
    data = bytearray(write(tmp_path / "a", {"x.jpg": os.urandom(5000)}).read_bytes())
    data[2500] ^= 0xFF
    (tmp_path / "a").write_bytes(data)
    refused(tmp_path / "a", tmp_path / "out", "damaged or cut short")


def test_refuses_encryption(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "a", {"x.jpg": b"secret"}, zipfile.ZIP_STORED)
    data = archive.read_bytes()
    central = data.index(b"PK\x01\x02")
    archive.write_bytes(data[:6] + b"\x01" + data[7 : central + 8] + b"\x01" + data[central + 9 :])
    refused(archive, tmp_path / "out", "'x.jpg' is encrypted")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "is empty"),
        (b"\n<!DOCTYPE html><html>not found</html>", "is a web page, not an archive"),
        (b"Rar!\x1a\x07\x01", "neither a zip nor a tar.gz"),
        (gzip.compress(b"no tar at all" * 100, mtime=0), "damaged or cut short"),
        (b"PK\x03\x04" + bytes(100), "damaged or cut short"),
    ],
)
def test_tells_what_is_no_archive(tmp_path: Path, content: bytes, why: str) -> None:
    (tmp_path / "a.zip").write_bytes(content)
    refused(tmp_path / "a.zip", tmp_path / "out", why)

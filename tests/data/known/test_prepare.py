"""Laying data sets out from archives and folders the user has, and the command around it."""

import io
import json
import os
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from i2i.cli import main
from i2i.core.errors import DataError
from i2i.data.known.archives import Limits
from i2i.data.known.prepare import prepare
from i2i.data.known.sources import SOURCES, UNPAIRED, Source, find_source

COUNTS = {"trainA": 3, "trainB": 2, "testA": 1, "testB": 1}
HORSES = Source(name="horse2zebra", about="", folders=COUNTS)
QUIET: dict[str, Any] = {"say": lambda line: None}


def picture(seed: int = 0, kind: str = "JPEG") -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 8), (seed % 256, 40, 90)).save(file, kind)
    return file.getvalue()


def horse_files(prefix: str = "horse2zebra/", counts: dict[str, int] = COUNTS) -> dict[str, bytes]:
    return {f"{prefix}{folder}/{n}.jpg": picture(n) for folder, count in counts.items() for n in range(count)}


def write_zip(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def write_files(root: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


def record(folder: Path) -> dict[str, Any]:
    result: dict[str, Any] = json.loads((folder / "SOURCE.json").read_text())
    return result


def fails(source: Source, root: Path, given: list[Path], *words: str, **options: Any) -> DataError:
    """The preparation fails, says so in one line, and leaves neither a data set nor a working folder."""
    with pytest.raises(DataError) as caught:
        prepare(source, root, given, **QUIET, **options)
    assert "\n" not in caught.value.message
    for word in words:
        assert word in str(caught.value)
    assert not (root / source.name / "trainA").exists()
    assert not list(root.glob(".*")), "the working folder is left behind"
    return caught.value


@pytest.mark.parametrize("prefix", ["horse2zebra/", "", "a/b/"])
def test_lays_out_an_archive(tmp_path: Path, prefix: str) -> None:
    archive = write_zip(tmp_path / "mine.zip", horse_files(prefix) | {f"{prefix}LICENSE": b"free"})
    prepared = prepare(HORSES, tmp_path / "data", [archive], **QUIET)
    assert (prepared.folder, prepared.counts, prepared.was_ready) == (tmp_path / "data/horse2zebra", COUNTS, False)
    assert {path.name for path in prepared.folder.iterdir()} == {*UNPAIRED, "SOURCE.json", "LICENSE"}
    assert (prepared.folder / "trainA/2.jpg").read_bytes() == picture(2)
    assert archive.exists()
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["horse2zebra"]
    origin = record(prepared.folder)["origins"][0]
    assert origin["file"] == "mine.zip"
    assert origin["url"] is None
    assert origin["size"] == archive.stat().st_size
    assert len(origin["sha256"]) == 64
    assert record(prepared.folder)["counts"] == COUNTS


def test_a_second_time_says_so_and_changes_nothing(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "mine.zip", horse_files())
    first = prepare(HORSES, tmp_path, [archive], **QUIET)
    before = (first.folder / "SOURCE.json").stat()
    archive.unlink()
    for given in ([], [archive]):
        second = prepare(HORSES, tmp_path, given, **QUIET)
        assert second.was_ready
        assert "already prepared, images: trainA 3, trainB 2, testA 1, testB 1" in str(second)
    assert (first.folder / "SOURCE.json").stat().st_mtime_ns == before.st_mtime_ns


def test_accepts_a_data_set_laid_out_by_hand(tmp_path: Path) -> None:
    write_files(tmp_path, horse_files())
    assert prepare(HORSES, tmp_path, **QUIET).was_ready


def test_a_paired_set_from_tar_with_some_optional_folders(tmp_path: Path) -> None:
    source = Source("edges", "", {"train": None}, optional=("val", "test"))
    with tarfile.open(tmp_path / "edges.tar.gz", "w:gz") as archive:
        for name in ("edges/train/1.jpg", "edges/train/2.jpg", "edges/val/1.jpg"):
            member = tarfile.TarInfo(name)
            member.size = len(picture())
            archive.addfile(member, io.BytesIO(picture()))
    assert prepare(source, tmp_path, [tmp_path / "edges.tar.gz"], **QUIET).counts == {"train": 2, "val": 1}


def test_copies_a_folder_and_leaves_it_alone(tmp_path: Path) -> None:
    mine = write_files(tmp_path / "mine", horse_files("") | {"unrelated.bin": b"x", "trainA/.hidden": b"x"})
    (mine / "trainB").rename(tmp_path / "elsewhere")
    (mine / "trainB").mkdir()
    (mine / "trainB/more").symlink_to(tmp_path / "elsewhere")
    prepared = prepare(HORSES, tmp_path / "data", [mine], **QUIET)
    assert prepared.counts == COUNTS
    assert {path.name for path in prepared.folder.iterdir()} == {*UNPAIRED, "SOURCE.json"}
    assert not (prepared.folder / "trainB/more").is_symlink()
    assert not (prepared.folder / "trainA/.hidden").exists()
    assert len([path for path in mine.rglob("*") if path.is_file()]) == sum(COUNTS.values()) - 2 + 2
    assert record(prepared.folder)["origins"] == [{"folder": str(mine)}]


def test_a_root_inside_the_folder_given(tmp_path: Path) -> None:
    mine = write_files(tmp_path / "mine", horse_files(""))
    assert prepare(HORSES, mine / "datasets", [mine], **QUIET).counts == COUNTS
    fails(HORSES, mine / "trainA" / "datasets", [mine], "cannot be laid out inside the folder it comes from")


def test_several_archives_and_folders_together(tmp_path: Path) -> None:
    files = horse_files("")
    first = write_zip(tmp_path / "a.zip", {k: v for k, v in files.items() if "A/" in k} | {"README": b"a"})
    second = write_zip(tmp_path / "b.zip", {k: v for k, v in files.items() if "testB/" in k} | {"README": b"b"})
    third = write_files(tmp_path, {k: v for k, v in files.items() if "trainB/" in k}) / "trainB"
    assert prepare(HORSES, tmp_path / "data", [first, second, third], **QUIET).counts == COUNTS
    fails(HORSES, tmp_path / "other", [first, first], "holds trainA, but so does another")


def test_refuses_what_is_not_the_data_set(tmp_path: Path) -> None:
    root = tmp_path / "data"
    short = write_zip(tmp_path / "short.zip", horse_files(counts=COUNTS | {"trainA": 2, "testB": 0}))
    fails(HORSES, root, [short], f"{short}: ", "trainA holds 2 images, not 3; testB is missing")
    other = write_zip(tmp_path / "other.zip", {"maps/train/1.jpg": picture()})
    fails(HORSES, root, [other], f"{other}: ", "none of the folders trainA, trainB, testA, testB (top folders: maps)")
    twice = write_zip(tmp_path / "twice.zip", horse_files("one/") | horse_files("two/"))
    fails(HORSES, root, [twice], "more than once, in one and two")
    broken = write_zip(tmp_path / "broken.zip", horse_files() | {"horse2zebra/trainA/0.jpg": b"GIF? no"})
    fails(HORSES, root, [broken], "broken.zip: cannot be read as images: trainA/0.jpg")
    fails(HORSES, root, [tmp_path / "absent.zip"], "absent.zip: no such file or folder")
    bomb = write_zip(tmp_path / "bomb.zip", horse_files())
    fails(HORSES, root, [bomb], "bomb.zip: not unpacked", limits=Limits(total_bytes=100))
    (tmp_path / "cut.zip").write_bytes(bomb.read_bytes()[:-30])
    fails(HORSES, root, [tmp_path / "cut.zip"], "cut.zip: the archive is damaged or cut short")


def test_empty_folders_are_refused_where_no_count_is_published(tmp_path: Path) -> None:
    source = Source("x", "", dict.fromkeys(UNPAIRED))
    files = horse_files(counts=COUNTS | {"trainB": 0}) | {"horse2zebra/trainB/Thumbs.db": b"x"}
    fails(source, tmp_path, [write_zip(tmp_path / "a.zip", files)], "trainB holds no images")


def test_never_touches_a_folder_that_is_in_the_way(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "mine.zip", horse_files())
    mine = write_files(tmp_path / "horse2zebra", {"notes.txt": b"mine"})
    error = fails(HORSES, tmp_path, [archive], "trainA is missing")
    assert "--root" in str(error)
    assert [path.name for path in mine.iterdir()] == ["notes.txt"]
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "horse2zebra").write_text("a file")
    fails(HORSES, tmp_path / "root", [archive], "is in the way")


def test_notices_a_data_set_that_lost_images_and_compares_the_archive_used_again(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "mine.zip", horse_files())
    folder = prepare(HORSES, tmp_path, [archive], **QUIET).folder
    (folder / "trainA/0.jpg").unlink()
    with pytest.raises(DataError, match="no longer what was prepared: trainA holds 2 images, not 3") as caught:
        prepare(HORSES, tmp_path, [archive], **QUIET)
    assert "delete all in it but SOURCE.json" in str(caught.value)

    for path in sorted(folder.rglob("*"), reverse=True):
        if path.name != "SOURCE.json":
            path.rmdir() if path.is_dir() else path.unlink()
    good = archive.read_bytes()
    write_zip(archive, horse_files() | {"horse2zebra/extra.txt": b"changed"})
    error = fails(HORSES, tmp_path, [archive], "mine.zip: not the archive used on 20", "SHA-256")
    assert f"delete {folder / 'SOURCE.json'} to accept it" in str(error)
    archive.write_bytes(good)
    assert prepare(HORSES, tmp_path, [archive], **QUIET).counts == COUNTS


def test_clears_what_a_killed_process_left_but_not_what_a_living_one_uses(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "mine.zip", horse_files())
    work = write_files(tmp_path / ".horse2zebra.partial", {"0/trainA/old.jpg": b"old", "result/x.jpg": b"old"})
    fcntl = pytest.importorskip("fcntl")
    handle = os.open(work, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    with pytest.raises(DataError, match="another prepare_data is at work on it"):
        prepare(HORSES, tmp_path, [archive], **QUIET)
    assert (work / "0/trainA/old.jpg").exists()
    os.close(handle)
    assert prepare(HORSES, tmp_path, [archive], **QUIET).counts == COUNTS
    assert not work.exists()


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_root(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "mine.zip", horse_files())
    (tmp_path / "root").mkdir(mode=0o500)
    fails(HORSES, tmp_path / "root", [archive], "Permission denied")


def test_progress_is_a_bar_on_a_terminal_and_lines_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = write_zip(tmp_path / "mine.zip", horse_files())
    lines: list[str] = []
    prepare(HORSES, tmp_path / "plain", [archive], say=lines.append)
    assert [line.split(" (")[0] for line in lines] == ["hashing mine.zip", "unpacking mine.zip", "checking images"]
    lines.clear()
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stderr", terminal)
    prepare(HORSES, tmp_path / "bar", [archive], say=lines.append)
    assert lines == []
    assert "checking images: 100%" in terminal.getvalue()


def test_known_data_sets() -> None:
    assert dict(SOURCES["horse2zebra"].folders) == {"trainA": 1067, "trainB": 1334, "testA": 120, "testB": 140}
    assert dict(SOURCES["maps"].folders) == {"train": 1096, "val": 1098}
    assert dict(SOURCES["facades"].folders) == {"train": 400, "val": 100, "test": 106}
    for name, source in SOURCES.items():
        assert source.name == name
        assert source.urls or source.by_hand
        assert all(url.endswith(source.archive_name.removeprefix(name)) for url in source.urls)
        assert source.required
        assert set(source.endings) <= set(source.names)
        assert set(source.aliases.values()) <= set(source.names)
    with pytest.raises(DataError, match="hors2zebra: .*did you mean 'horse2zebra'"):
        find_source("hors2zebra")


@pytest.mark.parametrize("order", ["name first", "name last", "name between"])
def test_command(
    tmp_path: Path, order: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SOURCES, "tiny", Source("tiny", "", COUNTS))
    archive = str(write_zip(tmp_path / "mine.zip", horse_files()))
    root = str(tmp_path / "data")
    words = {
        "name first": ("tiny", "--root", root, "--from", archive),
        "name last": ("--root", root, "--from", archive, "tiny"),
        "name between": ("--from", archive, "--root", root, "tiny"),
    }[order]
    assert main("prepare_data", words) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[-1] == f"{root}/tiny: ready, images: trainA 3, trainB 2, testA 1, testB 1"
    assert err == ""
    assert main("prepare_data", ["tiny", "--root", root]) == 0
    assert "already prepared" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--from", "x.zip"], "<command line>: NAME is missing"),
        ([], "<command line>: NAME is missing"),
        (["map"], "map: not a data set this command knows, did you mean 'maps'?"),
        (["cityscapes"], "cityscapes: cannot be downloaded by a program; get it by hand and pass it with --from"),
        (["maps", "--from", "absent.zip"], "absent.zip: no such file or folder"),
    ],
)
def test_command_errors(words: list[str], message: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main("prepare_data", [*words, "--root", str(tmp_path / "data")]) == 2
    assert capsys.readouterr().err.startswith(message)
    assert not (tmp_path / "data").exists()

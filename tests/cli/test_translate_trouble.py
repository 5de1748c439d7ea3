"""Disks that are full or read-only, files that vanish or change, links: told, and the same command goes on."""

import errno
import itertools
import os
import re
import resource
import shutil
import subprocess

import pytest

from i2i.core.plugins import sha256
from i2i.inference.jobs.jobs import Files
from tests.bundles import make_image, pixels
from tests.cli.translating import check_end, check_truth, contents, lines, refusals, seen, translate, unfinished
from tests.inference.bundle.test_hostile_bundles import ESCAPE, assemble, parts

GIVEN_UP = r"given up after \d+ failures in a row, the last one: its translation cannot be written: "


def mounted(folder, *options):
    """Mounts a file system in memory, or skips the test."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", ",".join(options), "none", str(folder)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("file systems cannot be mounted here")
    return folder


@pytest.fixture
def small_disk(tmp_path):
    folder = mounted(tmp_path / "disk", "size=256k")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def make_many(folder, count=40, size=(32, 32)):
    for index in range(count):
        make_image(folder / f"{index:02}.png", size, seed=index)
    return folder


@pytest.fixture
def expected(model, tmp_path):
    """What a job makes of 40 images."""
    assert translate(model, make_many(tmp_path / "in"), tmp_path / "expected") == 0
    return contents(tmp_path / "expected")


def test_a_disk_that_is_full_until_space_is_made(model, expected, small_disk, tmp_path, capsys):
    ballast, out = small_disk / "ballast", small_disk / "out"
    ballast.write_bytes(bytes(256 * 1024 - 16 * 4096))
    capsys.readouterr()
    assert translate(model, tmp_path / "in", out) == 1
    assert re.fullmatch(f"OUTPUT {out}: {GIVEN_UP}no space left on device\n", capsys.readouterr().err)
    assert 0 < len(seen(out)) < 40 and not unfinished(out)
    check_truth(out, {sha256(model): expected})
    assert translate(model, tmp_path / "in", out) in (1, 2)
    ballast.unlink()
    assert translate(model, tmp_path / "in", out) == 0
    check_end(out, expected)


def test_a_disk_that_is_full_from_the_start(model, expected, small_disk, tmp_path, capsys):
    with pytest.raises(OSError, match="No space left"), (small_disk / "ballast").open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    capsys.readouterr()
    assert translate(model, tmp_path / "in", small_disk / "out") == 2
    assert capsys.readouterr().err.startswith(f"OUTPUT {small_disk}/out: cannot be written: no space left on device")
    (small_disk / "ballast").unlink()
    assert translate(model, tmp_path / "in", small_disk / "out") == 0
    check_end(small_disk / "out", expected)


def test_a_disk_that_is_read_only_for_a_while(model, expected, small_disk, tmp_path, capsys):
    out = small_disk / "out"
    assert translate(model, tmp_path / "in/*[02468].png", out) == 0
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    assert translate(model, tmp_path / "in", out) == 2
    assert capsys.readouterr().err == f"OUTPUT {out}: cannot be written: read-only file system\n"
    subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
    assert translate(model, tmp_path / "in", out) == 0
    assert "translated 20, skipped 20 (done before)" in capsys.readouterr().out
    check_end(out, expected)


def test_a_folder_of_output_on_another_disk(model, small_disk, tmp_path):
    make_many(tmp_path / "in/deep", 3)
    make_image(tmp_path / "in/a.png")
    (tmp_path / "out").mkdir()
    (small_disk / "deep").mkdir()
    (tmp_path / "out/deep").symlink_to(small_disk / "deep")
    assert translate(model, tmp_path / "in", tmp_path / "out") == 0
    assert sorted(path.name for path in (small_disk / "deep").iterdir()) == ["00.png", "01.png", "02.png"]
    assert translate(model, tmp_path / "in", tmp_path / "plain") == 0
    assert {path.name: path.read_bytes() for path in (tmp_path / "out/deep").iterdir()} == {
        path.name: path.read_bytes() for path in (tmp_path / "plain/deep").iterdir()
    }


def test_files_above_a_limit_of_size(model, tmp_path):
    """As quotas do: small translations go on, larger ones are refused by name."""
    make_many(tmp_path / "in", 4)
    make_image(tmp_path / "in/large.png", (256, 256))
    assert translate(model, tmp_path / "in", tmp_path / "expected") == 0
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (16384, before[1]))
    try:
        assert translate(model, tmp_path / "in", tmp_path / "out") == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert refusals(tmp_path / "out") == {"large.png": "its translation cannot be written: file too large"}
    assert translate(model, tmp_path / "in", tmp_path / "out") == 0
    check_end(tmp_path / "out", contents(tmp_path / "expected"))


@pytest.mark.parametrize("number", [errno.EACCES, errno.EDQUOT, errno.EIO])
def test_a_manifest_that_cannot_be_written(number, model, expected, tmp_path, monkeypatch, capsys):
    write, out, calls = os.write, tmp_path / "out", []

    def fail(file, data):
        if b'"bundle"' in data:
            calls.append(data)
            if len(calls) > 5:
                raise OSError(number, os.strerror(number))
        return write(file, data)

    monkeypatch.setattr(os, "write", fail)
    assert translate(model, tmp_path / "in", out) == 1
    reason = "may not be written" if number == errno.EACCES else os.strerror(number).lower()
    assert re.search(GIVEN_UP + reason, capsys.readouterr().err)
    assert len(seen(out)) == 5 == len(lines(out / "manifest.jsonl"))
    monkeypatch.undo()
    assert translate(model, tmp_path / "in", out) == 0
    check_end(out, expected)


def test_an_output_that_is_removed_under_the_job(model, expected, tmp_path, monkeypatch, capsys):
    write, out, calls = Files.write, tmp_path / "out", []

    def remove(*arguments):
        calls.append(arguments)
        if len(calls) == 5:
            shutil.rmtree(out)
        return write(*arguments)

    monkeypatch.setattr("i2i.inference.jobs.folders.usable_cores", lambda: 1)
    monkeypatch.setattr(Files, "write", remove)
    assert translate(model, tmp_path / "in", out) == 1
    assert re.search(GIVEN_UP + r"the folder was removed meanwhile", capsys.readouterr().err)
    assert not out.exists()
    monkeypatch.undo()
    assert translate(model, tmp_path / "in", out) == 0
    check_end(out, expected)


def test_inputs_that_vanish_or_change(model, tmp_path, monkeypatch):
    make_many(tmp_path / "in", 40)
    write, calls = Files.write, itertools.count()

    def meddle(*arguments):
        if next(calls) == 0:  # several threads write
            (tmp_path / "in/39.png").unlink()
            make_image(tmp_path / "in/38.png", (20, 20), seed=99)
            make_image(tmp_path / "in/00.png", (20, 20), seed=98)  # is translated as it was
        return write(*arguments)

    monkeypatch.setattr(Files, "write", meddle)
    assert translate(model, tmp_path / "in", tmp_path / "out") == 1
    assert refusals(tmp_path / "out") == {"39.png": "no such file"}
    monkeypatch.undo()
    assert translate(model, tmp_path / "in", tmp_path / "out") == 0
    assert translate(model, tmp_path / "in", tmp_path / "plain") == 0
    check_end(tmp_path / "out", contents(tmp_path / "plain"))


def test_originals_behind_links_are_never_replaced(model, tmp_path):
    originals = {}
    for name in ("a.png", "b.png", "deep/c.png", "other/c.png"):
        originals[name] = make_image(tmp_path / "in" / name, seed=len(originals)).read_bytes()
    out = tmp_path / "out"
    out.mkdir()
    (out / "a.png").symlink_to(tmp_path / "in/b.png")
    os.link(tmp_path / "in/a.png", out / "b.png")
    (out / "deep").symlink_to(tmp_path / "in/other")
    (out / "other").symlink_to(tmp_path / "in/other")
    assert translate(model, tmp_path / "in", out) == 1
    assert contents(tmp_path / "in") == originals and not lines(out / "manifest.jsonl")
    assert translate(model, tmp_path / "in", out, "--overwrite") == 1
    assert contents(tmp_path / "in") == originals
    assert refusals(out) == {
        "deep/c.png": "deep/c.png lies outside of OUTPUT, where a link leads to, and is not in the manifest",
        "other/c.png": "its translation would replace the original: other/c.png",
    }
    assert not (out / "a.png").is_symlink()
    pixels(out / "a.png")


def test_a_link_that_leads_nowhere_is_somebodys(model, tmp_path):
    make_image(tmp_path / "in/a.png")
    (tmp_path / "out").mkdir()
    (tmp_path / "out/a.png").symlink_to(tmp_path / "nowhere")
    assert translate(model, tmp_path / "in", tmp_path / "out") == 1
    assert (tmp_path / "out/a.png").is_symlink()
    assert translate(model, tmp_path / "in", tmp_path / "out", "--overwrite") == 0
    assert not (tmp_path / "out/a.png").is_symlink() and not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("kind", ["a link", "a link that leads nowhere", "no regular file"])
@pytest.mark.parametrize("name", ["manifest.jsonl", "refused.jsonl"])
def test_a_list_that_is_no_file_of_the_folder_is_refused(name, kind, model, photos, tmp_path, capsys):
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere.jsonl"
    out.mkdir()
    (photos / "bad.png").touch()
    if kind == "no regular file":
        (out / name).mkdir()
    else:
        (out / name).symlink_to(elsewhere)
    if kind == "a link":
        elsewhere.touch()
    assert translate(model, photos, out) == 2
    expected = f"{out / name}: is {kind.split(' that')[0]}, and a list of this folder lies in it as a file"
    assert capsys.readouterr().err.startswith(expected)
    assert not elsewhere.exists() or not elsewhere.read_bytes()
    assert not seen(out) and not unfinished(out)
    (out / name).rmdir() if kind == "no regular file" else (out / name).unlink()
    assert translate(model, photos, out) == 1
    assert refusals(out) == {"bad.png": "is empty (0 bytes)"} and len(lines(out / "manifest.jsonl")) == 3


def test_nothing_that_others_have_named_reaches_the_terminal_raw(model, tmp_path, capsys):
    header, metadata, content = parts(model)
    bundle = assemble(tmp_path / "model.safetensors", header, metadata | {"name": f"a{ESCAPE}\r\nb"}, content)
    for name in (f"{ESCAPE}.png", f"{ESCAPE}.jpg"):
        make_image(tmp_path / "in" / name)
    (tmp_path / "in" / f"bad{ESCAPE}\n.png").touch()
    assert translate(bundle, tmp_path / "in", tmp_path / "out") == 1
    output = capsys.readouterr()
    shown = r"\x1b]0;owned\x07\x1b[2J"
    assert f"a{shown}\\r\\nb, step 0: a2b on " in output.out
    assert f"keep their suffix, as in {shown}.jpg.png\n" in output.out
    assert f"    {tmp_path}/in/bad{shown}\\n.png: is empty" in output.out
    assert all(line.isprintable() for line in (output.out + output.err).split("\n"))

"""Where files are made: gone with the job, and never with another's."""

import errno
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from i2i.core.errors import DataError
from i2i.core.files.locks import locked, try_lock
from i2i.inference.jobs import workshop as module
from i2i.inference.jobs.workshop import Workshop


def listing(folder):
    return sorted(path.name for path in (folder / ".i2i").iterdir()) if (folder / ".i2i").exists() else []


def test_it_is_gone_with_the_job(tmp_path):
    with Workshop(tmp_path) as first:
        first.part().touch()
        with Workshop(tmp_path) as second:
            assert first.is_alone and not second.is_alone and len(listing(tmp_path)) == 2
        assert len(listing(tmp_path)) == 1
    assert not list(tmp_path.iterdir())


def test_what_a_killed_job_has_left_is_removed_and_no_more(tmp_path):
    code = f"""if True:
        import os, pathlib
        from i2i.inference.jobs.workshop import Workshop
        Workshop(pathlib.Path({str(tmp_path)!r})).part().touch()
        os._exit(1)"""
    subprocess.run([sys.executable, "-c", code], check=False)
    (tmp_path / ".i2i" / ("0" * 32)).mkdir()  # killed before it had its lock
    (tmp_path / "precious").mkdir()
    with Workshop(tmp_path) as living:
        assert living.is_alone and len(listing(tmp_path)) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["precious"]


def test_what_no_job_has_left_stays(tmp_path):
    """Folders of other names, without a lock, with folders in them, links: here and behind them."""
    workshops, elsewhere = tmp_path / "out/.i2i", tmp_path / "elsewhere"
    mine = {
        workshops / "documents/lock", workshops / ("A" * 32) / "lock", workshops / ("1" * 32) / "text",
        workshops / ("2" * 32) / "deep/text", workshops / ("2" * 32) / "lock", elsewhere / "lock", elsewhere / "text",
    }  # fmt: skip
    for path in mine:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (workshops / ("3" * 32)).symlink_to(elsewhere)
    (workshops / ("4" * 32)).mkdir()
    (workshops / ("4" * 32) / "lock").symlink_to(elsewhere / "lock")
    (workshops / ("4" * 32) / "text").touch()
    before = sorted(tmp_path.rglob("*"))
    Workshop(tmp_path / "out").close()
    assert sorted(tmp_path.rglob("*")) == before


def test_what_was_killed_while_it_was_removed_is_removed(tmp_path, monkeypatch):
    """The lock goes last, so that the next job knows what it finds."""
    left = Workshop(tmp_path)
    for _ in range(3):
        left.part().touch()
    unlink, calls = Path.unlink, []

    def die(path, missing_ok=False):
        calls.append(path)
        if len(calls) == 3:
            raise KeyboardInterrupt
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", die)
    with pytest.raises(KeyboardInterrupt):
        left.close()
    monkeypatch.undo()
    assert len(listing(tmp_path)) == 1
    Workshop(tmp_path).close()
    assert not list(tmp_path.iterdir())


def test_jobs_that_come_and_go_do_not_disturb_each_other(tmp_path):
    def job(_):
        with Workshop(tmp_path) as workshop:
            part = workshop.part()
            part.write_text("made")
            workshop.place(part, tmp_path / part.name)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(job, range(200)))
    assert not (tmp_path / ".i2i").exists()
    assert [path.read_text() for path in tmp_path.iterdir()] == ["made"] * 200


def test_a_folder_on_another_disk(tmp_path, monkeypatch):
    replace = Path.replace

    def across(path, target):
        if path.parent.parent.name == ".i2i":
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", across)
    with Workshop(tmp_path) as workshop:
        part = workshop.part()
        part.write_text("made")
        workshop.place(part, tmp_path / "there")
        assert (tmp_path / "there").read_text() == "made"
        monkeypatch.setattr(module.shutil, "copyfile", lambda *_: (_ for _ in ()).throw(OSError(28, "full")))
        with pytest.raises(OSError, match="full"):
            workshop.place(part, tmp_path / "there")
    assert [path.name for path in tmp_path.iterdir()] == ["there"]


def test_where_the_file_system_has_no_locks_nothing_of_others_is_removed(tmp_path, monkeypatch):
    fcntl = pytest.importorskip("fcntl")
    monkeypatch.setattr(fcntl, "flock", lambda *_: (_ for _ in ()).throw(OSError(errno.ENOLCK, "no locks")))
    with Workshop(tmp_path) as first, Workshop(tmp_path) as second:
        assert second.is_alone and len(listing(tmp_path)) == 2 and first.part().parent != second.part().parent
        with locked(os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)):
            pass


def test_a_name_that_is_taken(tmp_path):
    (tmp_path / ".i2i").touch()
    with pytest.raises(DataError, match=r"\.i2i: is a link or a file, and must be a folder in OUTPUT"):
        Workshop(tmp_path)
    with pytest.raises(FileNotFoundError):
        Workshop(tmp_path / "nowhere")


def test_a_lock_is_of_one_at_a_time_and_vanishes_with_its_process(tmp_path):
    path = tmp_path / "file"
    code = f"""if True:
        import os, sys
        from i2i.core.files.locks import try_lock
        print(try_lock(os.open({str(path)!r}, os.O_RDWR | os.O_CREAT)), flush=True)
        sys.stdin.read()"""
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "True\n"
    file = os.open(path, os.O_RDWR)
    assert try_lock(file) is False
    process.kill()
    process.communicate()
    with locked(file):
        assert try_lock(os.open(path, os.O_RDWR)) is False
    assert try_lock(os.open(path, os.O_RDWR)) is True

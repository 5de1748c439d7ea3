"""Where files are made: beside their target, and gone with the next job at the latest, never with another's."""

import os
import shutil
import subprocess
import sys

import pytest

from i2i.inference.jobs.scratch import Scratch

KILLED = """
import os, pathlib, sys
from i2i.inference.jobs.scratch import Scratch
Scratch(pathlib.Path(sys.argv[1])).part(pathlib.Path(sys.argv[1], "deep/a.png")).touch()
os._exit(1)
"""


def left(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.part"))


def test_a_part_lies_beside_its_target_and_says_whose_it_is(tmp_path):
    with Scratch(tmp_path) as scratch:
        part = scratch.part(tmp_path / "deep/a.png")
        assert part.parent == tmp_path / "deep" and part.parent.is_dir()
        assert part.name.startswith(".a.png.") and f".{os.getpid()}-" in part.name and part.suffix == ".part"
        assert scratch.part(tmp_path / "deep/a.png") == part != scratch.part(tmp_path / "a.png")


@pytest.mark.parametrize("letter", ["a", "ü", "漢", "🐴"])
def test_long_names_have_parts_of_their_own(tmp_path, letter):
    names = [letter * (240 // len(letter.encode())) + end for end in ("1.png", "2.png")]
    with Scratch(tmp_path) as scratch:
        one, two = (scratch.part(tmp_path / name) for name in names)
        one.touch()
        two.touch()
        assert one != two


def test_parts_of_a_killed_job_are_removed_where_the_next_one_writes(tmp_path):
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    stays = [".a.png.elsewhere.7-000000.part", "mine.part", ".b.png.part", ".a.png"]
    for name in stays:
        (tmp_path / "deep" / name).touch()
    (tmp_path / "deep" / left(tmp_path / "deep")[0].replace("a.png", "folder")).mkdir()
    with Scratch(tmp_path) as scratch:
        assert scratch.is_alone
        scratch.part(tmp_path / "b.png")
        assert len(list((tmp_path / "deep").iterdir())) == 6, "nothing was written there yet"
        scratch.part(tmp_path / "deep/b.png")
    found = {path.name for path in (tmp_path / "deep").iterdir() if path.is_file()}
    assert found == set(stays) and len(list((tmp_path / "deep").iterdir())) == 5


@pytest.mark.skipif(os.name != "posix", reason="folders cannot be locked")
def test_a_living_job_keeps_its_parts(tmp_path):
    with Scratch(tmp_path) as first, Scratch(tmp_path) as second, Scratch(tmp_path) as third:
        assert (first.is_alone, second.is_alone, third.is_alone) == (True, False, False)
        part = first.part(tmp_path / "a.png")
        part.touch()
        assert second.part(tmp_path / "a.png") != part and part.exists()
        first.close = lambda: None
        os.close(first._lock)
        with Scratch(tmp_path) as fourth:  # the first has ended, the others live
            assert not fourth.is_alone
    with Scratch(tmp_path) as last:
        last.part(tmp_path / "b.png")
        assert last.is_alone and not part.exists()


def test_an_output_that_was_removed_is_not_made_again(tmp_path):
    (tmp_path / "out").mkdir()
    with Scratch(tmp_path / "out") as scratch:
        shutil.rmtree(tmp_path / "out")
        with pytest.raises(OSError, match="removed meanwhile"):
            scratch.part(tmp_path / "out/a.png")
        assert not (tmp_path / "out").exists()
    with pytest.raises(OSError, match="No such file"):
        Scratch(tmp_path / "nowhere")

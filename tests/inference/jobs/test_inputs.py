"""What INPUT means, and which files a walk finds."""

import os

import pytest

from i2i.core.errors import DataError
from i2i.inference.jobs.inputs import find_inputs


@pytest.fixture
def place(tmp_path):
    names = ("b.png", "a.JPG", "notes.txt", ".hidden.png", "x/c.png", "x/y/d.webp", "x/y/z/e.jpg", "w/f.jpg",
             ".h/g.png", "__MACOSX/h.png", "we[ir]d.png")  # fmt: skip
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def found(text, recursive=True, skip="nowhere", refused=None):
    inputs = find_inputs(str(text), recursive)
    walk = inputs.folders(inputs.root / skip, lambda *refusal: refused.append(refusal))
    return [f"{folder}/{name}" if folder else name for folder, names in walk for name in sorted(names)]


def test_a_folder_is_walked_folder_by_folder(place):
    assert found(place) == ["a.JPG", "b.png", "we[ir]d.png", "w/f.jpg", "x/c.png", "x/y/d.webp", "x/y/z/e.jpg"]
    assert found(place, recursive=False) == ["a.JPG", "b.png", "we[ir]d.png"]


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("*.png", ["b.png", "we[ir]d.png"]),
        ("*", ["a.JPG", "b.png", "we[ir]d.png"]),
        ("x/*", ["c.png"]),
        ("*/*.png", ["x/c.png"]),
        ("**/*.jpg", ["w/f.jpg", "x/y/z/e.jpg"]),
        ("x/**", ["c.png", "y/d.webp", "y/z/e.jpg"]),
        ("x/**/y/**/*", ["y/d.webp", "y/z/e.jpg"]),
        ("**/y/*", ["x/y/d.webp"]),
        ("**/**/[bc].png", ["b.png", "x/c.png"]),
        ("?/c.png", ["x/c.png"]),
        ("*/y/../y/*", []),
        ("we[ir]d.png", ["we[ir]d.png"]),  # what exists is no glob
        ("we[[]ir]*", ["we[ir]d.png"]),
    ],
)
def test_globs(place, pattern, names):
    assert found(place / pattern) == names


def test_globs_are_relative_to_their_fixed_part(place, monkeypatch):
    monkeypatch.chdir(place)
    assert find_inputs("x/y/**/*.jpg").root.as_posix() == "x/y"
    assert find_inputs("*.png").root.as_posix() == "."
    assert found("*/*.jpg") == ["w/f.jpg"]
    monkeypatch.setenv("HOME", str(place))
    assert found("~/w/*") == ["f.jpg"]


def test_a_single_file_may_have_any_suffix(place):
    assert found(place / "notes.txt") == ["notes.txt"]


def test_outputs_are_not_entered_even_through_a_link(place):
    (place / "link").symlink_to(place / "x/y")
    assert found(place, skip="x/y") == ["a.JPG", "b.png", "we[ir]d.png", "w/f.jpg", "x/c.png"]


def test_links_are_followed_but_not_in_circles(place):
    (place / "w/around").symlink_to(place)
    (place / "w/self").symlink_to("self")
    (place / "w/x").symlink_to(place / "x/y")
    assert [name for name in found(place) if name.startswith("w/")] == ["w/f.jpg", "w/x/d.webp", "w/x/z/e.jpg"]


def test_work_starts_before_the_walk_has_ended(place, monkeypatch):
    scanned = []
    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: scanned.append(path) or scandir(path))
    walk = find_inputs(str(place)).folders(place / "out", lambda *_: None)
    next(walk)
    assert len(scanned) == 1


def test_neither_file_nor_folder(place):
    os.mkfifo(place / "pipe")
    with pytest.raises(DataError, match="pipe: is neither a file nor a folder"):
        find_inputs(str(place / "pipe"))
    with pytest.raises(DataError, match="file name too long"):
        find_inputs("x" * 300)

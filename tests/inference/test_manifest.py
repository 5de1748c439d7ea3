"""The lists that an output folder keeps."""

import json
import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from i2i.inference.manifest import Manifest, Refusals

OPTIONS = {"direction": "a2b", "format": "png"}


def opened(path, bundle="abc", options=OPTIONS):
    return Manifest(path, bundle, options)


@pytest.fixture
def path(tmp_path):
    manifest = opened(tmp_path / "manifest.jsonl")
    manifest.append("a.png", "a.jpg", 100, (4, 3))
    manifest.append("b.png", "b.jpg", 200, (4, 3))
    manifest.close()
    return tmp_path / "manifest.jsonl"


def test_done_is_the_same_input_bundle_and_options(path):
    manifest = opened(path)
    assert manifest.is_done("a.png", "a.jpg", 100)
    assert not manifest.is_done("a.png", "a.jpg", 101)
    assert not manifest.is_done("a.png", "b.jpg", 100)
    assert not manifest.is_done("c.png", "c.jpg", 100)
    assert not opened(path, bundle="other").is_done("a.png", "a.jpg", 100)
    assert not opened(path, options={"direction": "b2a", "format": "png"}).is_done("a.png", "a.jpg", 100)


def test_what_is_listed_stays_listed_whatever_the_options(path):
    manifest = opened(path, bundle="other")
    assert manifest.listed_input("a.png", "a.jpg") is True
    assert manifest.listed_input("a.png", "a.webp") is False
    assert manifest.listed_input("c.png", "c.jpg") is None


def test_the_last_line_of_an_output_counts(path):
    manifest = opened(path, bundle="other")
    manifest.append("a.png", "a.jpg", 100, (4, 3))
    manifest.close()
    assert opened(path, bundle="other").is_done("a.png", "a.jpg", 100)
    assert not opened(path).is_done("a.png", "a.jpg", 100)
    assert opened(path).is_done("b.png", "b.jpg", 200)


@pytest.mark.parametrize("kept", range(1, 160, 7))
def test_any_cut_is_repaired(path, kept):
    whole = path.read_bytes()
    path.write_bytes(whole[:kept])
    manifest = opened(path)
    manifest.append("c.png", "c.jpg", 300, (4, 3))
    manifest.close()
    entries = [json.loads(line) for line in path.read_text().splitlines()]
    assert entries[-1]["output"] == "c.png"
    assert all(line + b"\n" in whole for line in path.read_bytes().splitlines()[:-1])


def test_lines_of_threads_do_not_mix(path):
    manifest = opened(path)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: manifest.append(f"{i}.png", f"{i}.jpg" * 50, i, (1, 1)), range(500)))
    manifest.close()
    assert len({json.loads(line)["output"] for line in path.read_text().splitlines()}) == 502


def test_a_line_that_does_not_fit_onto_the_disk_leaves_nothing(path, monkeypatch):
    before = path.read_bytes()
    manifest = opened(path)
    write = os.write
    monkeypatch.setattr(os, "write", lambda file, data: write(file, data[:10]))
    with pytest.raises(OSError, match="No space left"):
        manifest.append("c.png", "c.jpg", 300, (4, 3))
    assert path.read_bytes() == before


def test_refusals_are_all_in_the_file_and_the_first_in_memory(tmp_path):
    (tmp_path / "refused.jsonl").write_text("of an earlier run")
    refusals = Refusals(tmp_path / "refused.jsonl", shown=2)
    assert not refusals.path.exists()
    for index in range(5):
        refusals.add(f"{index}.png", "is empty")
    refusals.close()
    assert refusals.count == 5 and refusals.first == [("0.png", "is empty"), ("1.png", "is empty")]
    assert len((tmp_path / "refused.jsonl").read_text().splitlines()) == 5

"""The lists that an output folder keeps."""

import errno
import json
import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from i2i.core.errors import DataError
from i2i.inference.jobs.manifest import Manifest, Refusals

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

    def until_full(file, data):
        if path.stat().st_size > len(before):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(file, data[:10])

    monkeypatch.setattr(os, "write", until_full)
    with pytest.raises(OSError, match="No space left"):
        manifest.append("c.png", "c.jpg", 300, (4, 3))
    assert path.read_bytes() == before


def test_what_another_job_lists_is_noticed(path):
    first, second = opened(path), opened(path, bundle="other")
    assert first.listed_input("c.png", "c.jpg") is None
    second.append("c.png", "c.jpg", 300, (4, 3))
    assert first.listed_input("c.png", "c.jpg") is True and not first.is_done("c.png", "c.jpg", 300)
    assert second.is_done("c.png", "c.jpg", 300)
    second.append("a.png", "a.jpg", 100, (4, 3))
    assert not first.is_done("a.png", "a.jpg", 100)
    first.append("a.png", "a.jpg", 100, (4, 3))
    assert first.is_done("a.png", "a.jpg", 100) and not second.is_done("a.png", "a.jpg", 100)


def test_what_is_about_to_be_replaced_is_done_by_nobody_and_listed_all_the_same(path):
    opened(path, bundle="other").append("a.png", "a.jpg", 100, (4, 3), is_made=False)
    for manifest in (opened(path), opened(path, bundle="other")):
        assert not manifest.is_done("a.png", "a.jpg", 100) and manifest.listed_input("a.png", "a.jpg") is True
    assert json.loads(path.read_text().splitlines()[-1])["bundle"] is None


@pytest.mark.parametrize("few", [1, 3, 1 << 16])
def test_however_long_the_list_the_last_line_counts(few, tmp_path, monkeypatch):
    """In memory the older part is a sorted array, the latest a dictionary."""
    monkeypatch.setattr("i2i.inference.jobs.manifest._FEW", few)
    manifest, expected = opened(tmp_path / "manifest.jsonl"), {}
    writer = opened(tmp_path / "manifest.jsonl")
    for index in range(60):
        expected[f"{index * 7 % 11}.png"] = (f"{index % 3}.jpg", index)
        writer.append(f"{index * 7 % 11}.png", *expected[f"{index * 7 % 11}.png"], (1, 1))
        for known in (manifest, opened(tmp_path / "manifest.jsonl")) if index % 5 == 0 else ():
            for output, (name, size) in expected.items():
                assert known.is_done(output, name, size) and not known.is_done(output, name, size + 1)
            assert known.listed_input("11.png", "0.jpg") is None


def test_a_list_that_is_held_is_neither_repaired_nor_written_by_others(path):
    """What looks cut off may be a line that another job is just writing."""
    manifest = opened(path)
    with ThreadPoolExecutor(2) as pool:
        with manifest.held():
            with path.open("ab") as half:
                half.write(b'{"input": "c.jp')
            opening = pool.submit(opened, path)
            other = pool.submit(lambda: opening.result().append("d.png", "d.jpg", 4, (1, 1)))
            with pytest.raises(TimeoutError):
                opening.result(0.2)
            assert path.read_bytes().endswith(b'{"input": "c.jp')
        other.result(10)
    entries = [json.loads(line) for line in path.read_text().splitlines()]
    assert [entry["output"] for entry in entries] == ["a.png", "b.png", "d.png"]


def test_a_line_cut_off_by_a_job_that_was_killed_meanwhile_does_not_spoil_the_next(path):
    manifest = opened(path)
    with path.open("ab") as half:
        half.write(b'{"input": "c.jp')
    assert manifest.is_done("b.png", "b.jpg", 200)
    manifest.append("d.png", "d.jpg", 4, (1, 1))
    assert [json.loads(line)["output"] for line in path.read_text().splitlines()] == ["a.png", "b.png", "d.png"]


def test_a_list_that_the_system_takes_in_parts_is_whole(path, monkeypatch):
    write = os.write
    monkeypatch.setattr(os, "write", lambda file, data: write(file, data[:10]))
    opened(path).append("c.png", "c.jpg", 300, (4, 3))
    assert opened(path).is_done("c.png", "c.jpg", 300)


@pytest.mark.parametrize("action", ["removed", "replaced", "moved, with a link to it,"])
def test_a_list_that_is_removed_meanwhile_ends_the_job(action, path):
    manifest = opened(path)
    if action.startswith("moved"):
        path.rename(path.with_name("moved"))
        path.symlink_to("moved")
    else:
        path.unlink()
    if action == "replaced":
        path.touch()
    with pytest.raises(OSError, match="manifest.jsonl was removed or replaced meanwhile"):
        manifest.append("c.png", "c.jpg", 300, (4, 3))


@pytest.mark.parametrize(
    "text",
    [
        '{"file": "x.bin"}',
        "[[[[" * 100_000,
        '{"input": "", "output": [], "bundle": 1, "options": 1, "size": 1, "input_bytes": 1}\n',
        '{"input": "", "output": "", "bundle": 1, "options": 1, "size": 1, "input_bytes": -1}\n',
        '{"input": "", "output": "", "bundle": 1, "options": 1, "size": 1, "input_bytes": 99999999999999999999}\n',
    ],
    ids=range(5),
)
def test_the_file_of_something_else_is_left_as_it_is(text, tmp_path):
    (tmp_path / "manifest.jsonl").write_text(text)
    with pytest.raises(DataError, match="is not a list of translations"):
        opened(tmp_path / "manifest.jsonl")
    assert (tmp_path / "manifest.jsonl").read_text() == text


def test_refusals_are_all_in_the_file_and_the_first_in_memory(tmp_path):
    (tmp_path / "refused.jsonl").write_text("of an earlier run")
    refusals = Refusals(tmp_path / "refused.jsonl", shown=2)
    assert not refusals.path.exists()
    for index in range(5):
        refusals.add(f"{index}.png", "is empty")
    refusals.close()
    assert refusals.count == 5 and refusals.first == [("0.png", "is empty"), ("1.png", "is empty")]
    assert len((tmp_path / "refused.jsonl").read_text().splitlines()) == 5


def test_refusals_of_jobs_that_run_together_are_all_kept(tmp_path):
    first = Refusals(tmp_path / "refused.jsonl")
    first.add("a.png", "is empty")
    second = Refusals(tmp_path / "refused.jsonl", keep=True)
    second.add("b.png", "is empty")
    first.add("c.png", "is empty")
    listed = [json.loads(line)["input"] for line in (tmp_path / "refused.jsonl").read_text().splitlines()]
    assert listed == ["a.png", "b.png", "c.png"]


def test_a_list_of_refusals_that_becomes_a_link_is_not_followed(tmp_path):
    refusals = Refusals(tmp_path / "refused.jsonl")
    (tmp_path / "refused.jsonl").symlink_to(tmp_path / "elsewhere")
    refusals.add("a.png", "is empty")
    assert refusals.path is None and refusals.count == 1 and not (tmp_path / "elsewhere").exists()

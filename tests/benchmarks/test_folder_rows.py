"""The benchmarks of translate's start and of folders run, at a tiny size."""

import json

import pytest


def rows_of(path):
    return {row["name"]: row for row in json.loads(path.read_text())["rows"]}


def test_start_up_is_measured(bench, tmp_path):
    done = bench("startup", "--repeats", "1", "--only", "help", "--json", str(tmp_path / "figures.json"))
    assert done.returncode == 0, done.stderr
    rows = rows_of(tmp_path / "figures.json")
    assert rows.keys() == {"tools/train.py --help", "tools/translate.py --help"}
    assert all(0 < row["values"]["ours"][0] < 60 and row["goal"] for row in rows.values())


@pytest.mark.slow
def test_a_first_image_is_measured(bench, tmp_path):
    options = ("--repeats", "1", "--width", "4", "--only", "image", "--json", str(tmp_path / "figures.json"))
    done = bench("startup", *options)
    assert done.returncode == 0, done.stderr
    (row,) = rows_of(tmp_path / "figures.json").values()
    assert len(row["values"]) == 2 and row["result"][0] > 0.5 and "import torch alone" in row["note"]


@pytest.mark.slow
def test_listing_is_measured(bench, tmp_path):
    options = ("--repeats", "1", "--count", "200", "--folder", str(tmp_path), "--json", str(tmp_path / "figures.json"))
    done = bench("listing", *options)
    assert done.returncode == 0, done.stderr
    rows = rows_of(tmp_path / "figures.json")
    assert 0 < rows["translate 200 files: first output"]["values"]["ours"][0] < 60
    assert abs(rows["translate 200 files: memory of listing"]["values"]["ours"][0]) < 100  # MB
    assert "data set of 20 files: time" in rows


@pytest.mark.slow
def test_a_folder_is_measured_without_the_original(bench, tmp_path):
    options = ("--quick", "--precisions", "fp32", "--devices", "cpu", "--json", str(tmp_path / "figures.json"))
    done = bench("folder", *options)
    assert done.returncode == 0, done.stderr
    (row,) = rows_of(tmp_path / "figures.json").values()
    assert row["values"].keys() == {"ours"} and 0 < row["more"]["each"]["ours"][0] < 10
    assert "--upstream" in row["note"] and "translated 10, skipped 0" in row["more"]["said"]


def test_what_is_no_checkout_of_the_original_is_told_at_once(bench, tmp_path):
    done = bench("folder", "--upstream", str(tmp_path))
    assert done.returncode == 2 and "no checkout" in done.stderr

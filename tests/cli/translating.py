"""Runs the command, and reads what it leaves behind."""

import json
import time

from i2i.cli import main
from tests.bundles import pixels


def translate(*arguments):
    return main("translate", [str(argument) for argument in arguments])


def tree(folder):
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    return names - {"manifest.jsonl", "refused.jsonl"}


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def refusals(folder):
    return {entry["input"]: entry["reason"] for entry in lines(folder / "refused.jsonl")}


def contents(folder):
    return {name: (folder / name).read_bytes() for name in tree(folder)}


def wait_for(condition):
    deadline = time.monotonic() + 60
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.001)
    assert condition()


def seen(folder):
    """What others see of a folder: name -> content."""
    paths = [path for path in folder.rglob("*") if path.is_file() and path.suffix not in (".jsonl", ".part")]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def unfinished(folder):
    """Files that jobs are making, or have left."""
    return list(folder.rglob("*.part"))


def check_truth(folder, expected):
    """Checks that each file is whole, and made as its last line in the manifest says."""
    path = folder / "manifest.jsonl"
    whole = path.read_text().splitlines(keepends=True) if path.exists() else []
    listed = {entry["output"]: entry for entry in map(json.loads, (line for line in whole if line.endswith("\n")))}
    for name, data in seen(folder).items():
        pixels(folder / name)
        made_by = [bundle for bundle, results in expected.items() if results[name] == data]
        assert made_by, f"{name} is of no model"
        assert listed[name]["bundle"] in (*made_by, None), f"{name} is not what the manifest says"


def check_end(folder, expected):
    """Checks that the folder is what an undisturbed job makes, without leftovers."""
    assert seen(folder) == expected
    assert contents(folder).keys() == expected.keys(), "something is left over"
    assert not unfinished(folder)
    listed = [entry["output"] for entry in lines(folder / "manifest.jsonl")]
    assert set(listed) == set(expected)
    return listed

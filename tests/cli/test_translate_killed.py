"""A job that is killed, at whatever moment: nothing half made is ever seen, and the next goes on to the same files."""

import json
import os
import random
import signal
import sys
import time

import pytest

from i2i.plugins import sha256
from tests.bundles import make_bundle, make_image, pixels
from tests.cli.translating import contents, lines

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="jobs are forked, their threads counted in /proc")


@pytest.fixture(scope="module")
def work(model, forks, tmp_path_factory):
    """Images, two models, and the folders that undisturbed jobs make: hash of the model -> name -> content."""
    root = tmp_path_factory.mktemp("work")
    for index in range(40):
        make_image(root / f"few/{index % 2}/{index}.png" if index < 3 else root / f"many/{index}.png", seed=index)
    models = [model, make_bundle(root / "other.safetensors", "cyclegan", "trainer.seed=7")]
    expected = {"few": {}, "many": {}}
    for name, results in expected.items():
        for one in models:
            out = root / f"{name}_{one.stem}"
            assert forks.run(one, root / name, out) == 0
            results[sha256(one)] = contents(out)
    return root, models, expected


def seen(folder):
    """What others see of a folder: name -> content."""
    paths = [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".jsonl"]
    names = {path.relative_to(folder).as_posix(): path for path in paths}
    return {name: path.read_bytes() for name, path in names.items() if not name.startswith(".i2i/")}


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
    assert not (folder / ".i2i").exists()
    listed = [entry["output"] for entry in lines(folder / "manifest.jsonl")]
    assert set(listed) == set(expected)
    return listed


def every_change(forks, work, out, prepare, stride):
    """Kills the second model's job at every ``stride``-th change that it makes; returns how many kills there were."""
    root, (first, second), expected = work
    number = kills = 0
    while True:
        folder = out / str(number)
        prepare(folder)
        code = forks.run(second, root / "few", folder, die_at=number)
        check_truth(folder, expected["few"])
        # The model that had the folder before must not take the other's files for its own, nor the other way round.
        for one in (first, second) if kills % 2 else (second, first):
            assert forks.run(one, root / "few", folder) == 0, forks.log.read_text()[-1000:]
            check_end(folder, expected["few"][sha256(one)])
        if code == 0:
            return kills
        assert code == -signal.SIGKILL
        kills += 1
        number += stride


@pytest.mark.parametrize("stride", [5, pytest.param(1, marks=pytest.mark.slow)])
def test_killed_at_each_change_of_a_file(stride, forks, work, tmp_path):
    assert every_change(forks, work, tmp_path, lambda folder: None, stride) >= 25 // stride


@pytest.mark.parametrize("stride", [7, pytest.param(1, marks=pytest.mark.slow)])
def test_killed_at_each_change_while_it_replaces(stride, forks, work, tmp_path):
    root, (first, _), _ = work
    kills = every_change(forks, work, tmp_path, lambda folder: forks.run(first, root / "few", folder), stride)
    assert kills >= 30 // stride


@pytest.mark.parametrize("kills", [5, pytest.param(60, marks=pytest.mark.slow)])
def test_killed_at_random_moments(kills, forks, work, tmp_path):
    root, (model, _), expected = work
    moments, killed, jobs = random.Random(kills), 0, 0
    while killed < kills:
        folder, code, jobs = tmp_path / str(jobs), -signal.SIGKILL, jobs + 1
        while code == -signal.SIGKILL and killed < kills:
            pid = forks.start(model, root / "many", folder)
            time.sleep(moments.uniform(0, 0.3))
            os.kill(pid, signal.SIGKILL)
            code = forks.wait(pid)
            killed += code == -signal.SIGKILL
            check_truth(folder, expected["many"])
        assert forks.run(model, root / "many", folder) == 0
        check_end(folder, expected["many"][sha256(model)])

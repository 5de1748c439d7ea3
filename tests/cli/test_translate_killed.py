"""A job that is killed, at whatever moment: nothing half made is ever seen, and the next goes on to the same files."""

import os
import random
import signal
import time

import pytest

from i2i.core.plugins import sha256
from tests.cli.translating import check_end, check_truth, wait_for


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


@pytest.mark.parametrize("stride", [9, pytest.param(1, marks=pytest.mark.slow)])
def test_killed_at_each_change_of_a_file(stride, forks, work, tmp_path):
    assert every_change(forks, work, tmp_path, lambda folder: None, stride) >= 20 // stride


@pytest.mark.parametrize("stride", [11, pytest.param(1, marks=pytest.mark.slow)])
def test_killed_at_each_change_while_it_replaces(stride, forks, work, tmp_path):
    root, (first, _), _ = work
    kills = every_change(forks, work, tmp_path, lambda folder: forks.run(first, root / "few", folder), stride)
    assert kills >= 20 // stride


@pytest.mark.parametrize("kills", [3, pytest.param(60, marks=pytest.mark.slow)])
def test_killed_at_random_moments(kills, forks, work, tmp_path):
    root, (model, _), expected = work
    moments, killed, jobs = random.Random(kills), 0, 0
    while killed < kills:
        folder, code, jobs = tmp_path / str(jobs), -signal.SIGKILL, jobs + 1

        def made(folder=folder):
            return len(list(folder.glob("*.png")))

        while code == -signal.SIGKILL and killed < kills:
            wanted = min(made() + moments.randrange(5), len(expected["many"][sha256(model)]))
            pid = forks.start(model, root / "many", folder)
            wait_for(lambda wanted=wanted: made() >= wanted)
            time.sleep(moments.uniform(0, 0.01))
            os.kill(pid, signal.SIGKILL)
            code = forks.wait(pid)
            killed += code == -signal.SIGKILL
            check_truth(folder, expected["many"])
        assert forks.run(model, root / "many", folder) == 0
        check_end(folder, expected["many"][sha256(model)])

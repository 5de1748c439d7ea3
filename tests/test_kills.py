"""A run that is killed at any moment and resumed ends with the weights of a run that nobody killed."""

import json
import os
import subprocess
import sys

import pytest


def kill(repository, tmp_path, *arguments):
    """Kills in a process of its own: pytest's has threads, which do not survive a fork."""
    figures = tmp_path / "kills.json"
    command = [sys.executable, str(repository / "benchmarks/kills.py"), "--json", str(figures), *arguments]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=tmp_path, env={**os.environ, "TMPDIR": str(tmp_path)}
    )
    assert figures.exists(), done.stderr
    return json.loads(figures.read_text()), done


def test_a_run_survives_six_kills(repository, tmp_path):
    figures, done = kill(repository, tmp_path, "--kills", "6", "--only", "in two parts")
    assert done.returncode == 0, done.stdout
    assert figures["total"]["survived"] == figures["total"]["tried"] == 6


@pytest.mark.slow
def test_all_kinds_of_runs_survive_forty_kills(repository, tmp_path):
    figures, done = kill(repository, tmp_path, "--kills", "40", "--each", "7", "--seed", "1")
    assert done.returncode == 0, done.stdout
    total, rows = figures["total"], figures["rows"]
    assert total["survived"] == total["tried"] == 40
    assert total["inside"] >= 10, "kills inside of writes"
    assert len(rows) == 7 and all(row["tried"] >= 3 for row in rows.values())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("broken", "told"),
    [
        # What must be noticed: a state that is not restored, one that is restored wrongly, a file left behind.
        ("from i2i.training.updater import Updater as U\nload = U._load\n"
         "def _load(self, state):\n    load(self, state)\n    [o.state.clear() for o in self.optimizers.values()]\n"
         "U._load = _load\n", "from step"),
        ("import i2i.run_folder as r\nr.remove_leftovers = lambda folder: None\n", "left behind"),
    ],
    ids=["state", "leftover"],
)  # fmt: skip
def test_a_broken_resume_is_noticed(repository, tmp_path, broken, told):
    script = tmp_path / "broken.py"
    path = str(repository / "benchmarks")
    script.write_text(
        f"import sys\nsys.path.insert(0, {path!r})\nimport kills\n{broken}\n"
        "sys.argv[1:] = ['--kills', '12', '--each', '12', '--only', 'in two parts', '--seed', '2']\n"
        "sys.exit(kills.main())\n"
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    assert told in done.stdout and "0 of 12 kills survived" in done.stdout

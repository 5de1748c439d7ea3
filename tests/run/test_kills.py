"""A run that is killed at any moment and resumed ends with the weights of a run that nobody killed."""

import json
import os

import pytest

from i2i.training.checkpoints import Checkpoints
from tests import fork_server
from tests.run.test_run import log_of, state_of, train


def kill(repository, tmp_path, *arguments):
    """Kills in a process of its own: pytest's has threads, which do not survive a fork."""
    figures = tmp_path / "kills.json"
    command = [repository / "benchmarks/kills.py", "--json", figures, *arguments]
    done = fork_server.run(command, cwd=tmp_path, env={**os.environ, "TMPDIR": str(tmp_path)})
    assert figures.exists(), done.stderr
    return json.loads(figures.read_text()), done


@pytest.mark.parametrize("kills", [2, pytest.param(6, marks=pytest.mark.slow)])
def test_a_run_survives_kills(repository, tmp_path, kills):
    figures, done = kill(repository, tmp_path, "--kills", str(kills), "--only", "in two parts")
    assert done.returncode == 0, done.stdout
    assert figures["total"]["survived"] == figures["total"]["tried"] == kills


def test_a_run_that_died_between_its_first_model_and_its_first_checkpoint_begins_anew(
    repository, tmp_path, monkeypatch
):
    steps = ["trainer.steps=3", "trainer.checkpoint_every=2"]
    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "save", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        assert train(repository, tmp_path, *steps) == 130
    assert (tmp_path / "model.safetensors").exists()
    assert train(repository, tmp_path, *steps, "--resume", "auto") == 0
    assert state_of(tmp_path, 3)["step"] == 3 and [entry["step"] for entry in log_of(tmp_path)] == [1, 2, 3]


def test_a_model_that_had_checkpoints_is_not_begun_anew(repository, finished, capsys):
    for path in (finished / "checkpoints").iterdir():
        path.unlink()
    assert train(repository, finished, "trainer.steps=8", "--resume", "auto") == 2
    assert "holds a model, and no checkpoint to continue from" in capsys.readouterr().err


@pytest.mark.slow
def test_all_kinds_of_runs_survive_fifty_kills(repository, tmp_path):
    figures, done = kill(repository, tmp_path, "--kills", "50", "--each", "7", "--seed", "1")
    assert done.returncode == 0, done.stdout
    total, rows = figures["total"], figures["rows"]
    assert total["survived"] == total["tried"] == 50
    assert total["inside"] >= 5, "kills inside of writes"
    assert len(rows) == 9 and all(row["runs"] for row in rows.values())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("broken", "told"),
    [
        # What must be noticed: a state that is not restored, one that is restored wrongly, a file left behind.
        ("from i2i.training.updater import Updater as U\nload = U._load\n"
         "def _load(self, state):\n    load(self, state)\n    [o.state.clear() for o in self.optimizers.values()]\n"
         "U._load = _load\n", "from step"),
        ("import i2i.run.folder as r\nr.remove_leftovers = lambda folder: None\n", "left behind"),
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
    done = fork_server.run([script], cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    assert told in done.stdout and "0 of 12 kills survived" in done.stdout

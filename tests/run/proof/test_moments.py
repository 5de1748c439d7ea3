"""A process dies at its moment and not before."""

import json

import pytest

from i2i.run.proof.moments import Moment, was_killed
from tests import fork_server

# Writes three files step by step as a run does, each death in a fork of one process.
SCRIPT = """
import json, os, sys
from pathlib import Path
from i2i.core.files.atomic import append, write_bytes
from i2i.run.proof.moments import Executioner, Moment

def run(folder, moment):
    executioner = Executioner(moment, folder)
    (folder / "checkpoints").mkdir(parents=True)
    for step in (1, 2, 3):
        executioner.on_log(step, {})
        append(folder / "log", bytes(30_000))
        write_bytes(folder / "model", b"x" * 50_000, durable=True)
        write_bytes(folder / f"checkpoints/{step}", b"y" * 50_000, durable=True)
        for old in (folder / "checkpoints").glob(str(step - 1)):
            old.unlink()

found = {}
for name, moment in json.loads(sys.argv[2]).items():
    folder = Path(sys.argv[1], name)
    child = os.fork()
    if child == 0:
        run(folder, Moment(**moment))
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    found[name] = [code, {str(p.relative_to(folder)): p.stat().st_size for p in folder.rglob("*") if p.is_file()}]
print(json.dumps(found))
"""
MOMENTS = {
    "step": {"step": 2},
    "open": {"step": 2, "point": "open"},
    "half": {"step": 2, "point": "half", "size": 20_000},
    "sync": {"step": 2, "point": "sync"},
    "rename": {"step": 2, "point": "rename"},
    "renamed": {"step": 2, "point": "renamed"},
    "prune": {"step": 1, "point": "prune"},
    "bundle": {"step": 3, "point": "half", "folder": ".", "size": 7_000},
    "at_once": {"step": 0, "point": "open", "folder": "."},
    "never": {"step": 4},
}


@pytest.fixture(scope="module")
def deaths(tmp_path_factory, repository):
    arguments = [str(tmp_path_factory.mktemp("moments")), json.dumps(MOMENTS)]
    done = fork_server.run(["-c", SCRIPT, *arguments], cwd=repository)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


WHOLE = 50_000


@pytest.mark.parametrize(
    ("name", "left"),
    [
        ("step", {"model": WHOLE, "checkpoints/1": WHOLE}),
        ("open", {"model": WHOLE, "checkpoints/1": WHOLE}),
        ("half", {"model": WHOLE, "checkpoints/1": WHOLE, "checkpoints/*.tmp": 20_000}),
        ("sync", {"model": WHOLE, "checkpoints/1": WHOLE, "checkpoints/*.tmp": WHOLE}),
        ("rename", {"model": WHOLE, "checkpoints/1": WHOLE, "checkpoints/*.tmp": WHOLE}),
        ("renamed", {"model": WHOLE, "checkpoints/1": WHOLE, "checkpoints/2": WHOLE}),
        ("prune", {"model": WHOLE, "checkpoints/1": WHOLE, "checkpoints/2": WHOLE}),
        ("bundle", {"model": WHOLE, "*.tmp": 7_000, "checkpoints/2": WHOLE}),
        ("at_once", {"log": 30_000}),
        ("never", {"model": WHOLE, "checkpoints/3": WHOLE}),
    ],
)
def test_what_a_death_leaves_behind(deaths, name, left):
    code, files = deaths[name]
    assert was_killed(code) == (name != "never"), code
    named = {path: path for path in files if not path.endswith(".tmp")}
    parts = {path: path.rpartition(".")[0].rpartition("/")[0] for path in files if path.endswith(".tmp")}
    named |= {path: f"{parent}/*.tmp" if parent else "*.tmp" for path, parent in parts.items()}
    found = {named[path]: size for path, size in files.items() if path != "log" or name == "at_once"}
    assert found == left


def test_a_moment_says_what_it_is():
    assert str(Moment(3)) == "after step 3"
    assert str(Moment(3, "half")) == "inside the next write of a checkpoint from step 3 on: half-written"
    assert "a bundle" in str(Moment(3, "rename", ".")) and "deleted" in str(Moment(3, "prune"))

"""Checkpoints: whole or absent, damage found wherever it is, the one before taken instead."""

import errno
import os
from pathlib import Path

import pytest
import torch

from i2i.core.errors import CheckpointError
from i2i.run.folder import prepared
from i2i.training.checkpoints import Checkpoints, load
from i2i.training.state_files import write_state
from tests.core.files.hostile_pickles import equal
from tests.core.files.test_torch_files import damages
from tests.run.test_run import train


def state_of(step, **others):
    weights = {"G": {"w": torch.full((300,), float(step))}}
    optimizers = {"G": {"state": {}, "param_groups": [{"lr": 0.1, "params": [0]}]}}
    return {"step": step, "config": {"trainer": {"steps": 9}}, "networks": weights, "optimizers": optimizers, **others}


@pytest.fixture(scope="module")
def real(repository, tmp_path_factory):
    """The last two checkpoints of a run."""
    folder = tmp_path_factory.mktemp("run")
    assert train(repository, folder, "trainer.steps=2", "trainer.checkpoint_every=1", "trainer.ema=0.9") == 0
    return folder / "checkpoints"


@pytest.mark.parametrize("count", [10, pytest.param(400, marks=pytest.mark.slow)])
def test_damage_anywhere_leads_back_to_the_one_before(real, tmp_path, count):
    names = ["step_00000001.safetensors", "step_00000002.safetensors"]
    before, newest = (load(real / name) for name in names)
    (tmp_path / names[0]).write_bytes((real / names[0]).read_bytes())
    content = (real / names[1]).read_bytes()
    foreign = [
        b"",
        b"\0" * len(content),
        b"no checkpoint",
        content + b"x",
        (real / "../model.safetensors").read_bytes(),
    ]
    passed_over = unharmed = 0
    for damaged in [*foreign, *damages(content, count, seed=1)]:
        (tmp_path / names[1]).write_bytes(damaged)
        said = []
        state = Checkpoints(tmp_path).load_newest(said.append)
        if said:
            passed_over += 1
            assert len(said) == 1 and names[1] in said[0] and said[0].endswith("it is passed over")
            assert equal(state, before)
        else:
            unharmed += 1
            assert equal(state, newest)
    assert passed_over > count and passed_over > unharmed


def test_where_none_can_be_read_it_says_so(tmp_path):
    for step in (1, 2):
        (tmp_path / f"step_{step:08d}.safetensors").write_bytes(b"gone")
    said = []
    with pytest.raises(CheckpointError, match="none of 2 checkpoints can be read"):
        Checkpoints(tmp_path).load_newest(said.append)
    assert len(said) == 2


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"step": -1}, "step"),
        ({"step": True}, "step"),
        ({"step": "5"}, "step"),
        ({"step": 2**60}, "step"),
        ({"step": torch.tensor(5)}, "step"),
        ({"config": None}, "config"),
        ({"config": {}}, "config.trainer"),
        ({"config": {"trainer": 5}}, "config.trainer"),
        ({"config": {"trainer": {}, "x": torch.ones(2)}}, "config.x"),
        ({"config": {"trainer": {"x": [torch.ones(2)]}}}, "config.trainer.x"),
        ({"config": {"trainer": {}, 5: 5}}, "config.5"),
        ({"networks": []}, "networks"),
        ({"networks": {5: 5}}, "networks.5"),
        ({"optimizers": {"G": 5}}, "optimizers.G"),
        ({"optimizers": {"G": {"state": [], "param_groups": []}}}, "optimizers.G.state"),
        ({"pipeline": []}, "pipeline"),
        ({"pipeline": [5]}, "pipeline.0"),
        ({"best": {"step": 1, "other": 2}}, "best.other"),
        ({"best": {"value": "x"}}, "best.value"),
        ({"left_out": []}, "left_out"),
    ],
)
def test_parts_of_other_types_are_named(tmp_path, change, where):
    path = tmp_path / "step_00000005.safetensors"
    write_state(path, state_of(5) | change)
    with pytest.raises(CheckpointError, match="not a checkpoint of i2i") as error:
        load(path)
    assert f": {where}" in error.value.message and "\n" not in error.value.message


@pytest.mark.parametrize("content", [[1], torch.ones(2), {}, None])
def test_other_files_of_torch_are_named(tmp_path, content):
    torch.save(content, tmp_path / "x.ckpt")
    with pytest.raises(CheckpointError, match="not a checkpoint of i2i"):
        load(tmp_path / "x.ckpt")


class Own:
    """What a plugin might keep."""


@pytest.mark.parametrize("change", [{"pipeline": Own()}, {"config": {"trainer": {"x": (1, 2)}}}, {"step": None}])
def test_what_could_not_be_loaded_again_is_not_saved(tmp_path, change):
    checkpoints = Checkpoints(tmp_path, keep=1)
    checkpoints.save(1, state_of(1))
    with pytest.raises(RuntimeError, match="could not be loaded again"):
        checkpoints.save(2, state_of(2) | change)
    assert [path.name for path in tmp_path.iterdir()] == ["step_00000001.safetensors"]


def at_event(monkeypatch, number, action):
    """Acts at the n-th thing that a save asks of the file system."""
    count = [0]

    def counted(function):
        def run(*arguments, **options):
            count[0] += 1
            if count[0] == number:
                action()
            return function(*arguments, **options)

        return run

    real_open = Path.open

    def opened(path, mode="r", *arguments):
        file = counted(real_open)(path, mode, *arguments)
        if "x" not in mode:
            return file

        class File:
            write = staticmethod(counted(file.write))

            def __enter__(self):
                return self

            def __exit__(self, *_):
                file.close()

            def __getattr__(self, name):
                return getattr(file, name)

        return File()

    monkeypatch.setattr(Path, "open", opened)
    for owner, name in ((os, "fsync"), (Path, "replace"), (Path, "unlink"), (Path, "mkdir")):
        monkeypatch.setattr(owner, name, counted(getattr(owner, name)))


def saved(folder, monkeypatch, number, action):
    with monkeypatch.context() as patched:
        at_event(patched, number, action)
        Checkpoints(folder, keep=2).save(3, state_of(3))


def full_disk():
    raise OSError(errno.ENOSPC, "No space left on device")


def kill():
    os._exit(9)


@pytest.fixture
def two(tmp_path):
    folder = tmp_path / "run/checkpoints"
    for step in (1, 2):
        Checkpoints(folder).save(step, state_of(step))
    return folder


def test_a_failure_at_any_point_of_a_save_leaves_whole_files(two, monkeypatch):
    number, failures = 0, 0
    while True:
        number += 1
        try:
            saved(two, monkeypatch, number, full_disk)
        except (OSError, RuntimeError):  # torch makes the latter of the former
            failures += 1
        else:
            break
        state = Checkpoints(two).load_newest(pytest.fail)
        assert equal(state, state_of(state["step"])) and state["step"] in (2, 3)
        assert not [path for path in two.iterdir() if path.suffix == ".tmp"]
        (two / "step_00000003.safetensors").unlink(missing_ok=True)
        Checkpoints(two).save(1, state_of(1))
    assert failures > 6  # opening, three writes, flushing, renaming …


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_kill_at_any_point_of_a_save_leaves_whole_files(two, monkeypatch):
    number = 0
    while True:
        number += 1
        child = os.fork()
        if child == 0:
            try:
                saved(two, monkeypatch, number, kill)
            finally:
                os._exit(0)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        state = Checkpoints(two).load_newest(pytest.fail)
        assert equal(state, state_of(state["step"])) and state["step"] in (2, 3)
        with prepared(two.parent, {}, state):
            pass
        assert not [path for path in two.iterdir() if path.suffix == ".tmp"]
        if code == 0:
            break
        assert code == 9
        (two / "step_00000003.safetensors").unlink(missing_ok=True)
        Checkpoints(two).save(1, state_of(1))
    assert number > 8


def test_leftovers_of_a_kill_are_removed_everywhere_in_the_run_folder(tmp_path):
    for place in (tmp_path, tmp_path / "checkpoints", tmp_path / "samples"):
        place.mkdir(exist_ok=True)
        (place / f".{'0a' * 16}.tmp").write_bytes(b"half")
        (place / ".mine.tmp").write_bytes(b"whole")
    with prepared(tmp_path, {}, None):
        pass
    left = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {"config.yaml", ".lock", ".mine.tmp", "checkpoints/.mine.tmp", "samples/.mine.tmp"}


def test_newer_checkpoints_are_set_aside(two):
    Checkpoints(two).continue_from(1)
    assert sorted(path.name for path in two.iterdir()) == [
        "step_00000001.safetensors",
        "step_00000002.safetensors.set_aside",
    ]

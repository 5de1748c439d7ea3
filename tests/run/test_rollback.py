"""``on_nan: rollback``: back to the last checkpoint, and on from there on another way."""

import json

import pytest
import torch

from i2i.training.updater import Updater
from tests.run.test_run import assert_same, log_of, state_of, train

TRAINER = ["trainer.on_nan=rollback", "trainer.steps=6", "trainer.checkpoint_every=2"]


@pytest.fixture
def spoiled(monkeypatch):
    """Makes a batch of a step not finite, for the first so many ways that come to it."""
    take, met = Updater.step, []

    def spoil(step, ways):
        def spoiled_take(self, batch):
            met.append(batch["a"].clone() if self.num_steps + 1 == step else None)
            if self.num_steps + 1 == step and self.num_rollbacks < ways:
                batch = {**batch, "a": batch["a"] * float("nan")}
            return take(self, batch)

        monkeypatch.setattr(Updater, "step", spoiled_take)
        return met

    return spoil


def test_the_run_goes_back_and_on_with_other_images(repository, tmp_path, capsys, spoiled):
    met = spoiled(step=5, ways=1)
    assert train(repository, tmp_path, *TRAINER) == 0
    first, second = (batch for batch in met if batch is not None)
    assert not torch.equal(first, second), "the same step on another way"
    said = capsys.readouterr().out
    assert "is not finite; back from step 4 to 4, and on with other images" in said and "image: synthetic/" in said
    state = state_of(tmp_path, 6)
    assert state["detour"] == 1 and all(torch.isfinite(value).all() for value in state["networks"].values())
    assert [entry["step"] for entry in log_of(tmp_path)] == list(range(1, 7)), "each step once"


def test_before_the_first_checkpoint_it_goes_back_to_the_start(repository, tmp_path, capsys, spoiled):
    spoiled(step=2, ways=1)
    assert train(repository, tmp_path, *TRAINER) == 0
    assert "back from step 1 to 0" in capsys.readouterr().out
    assert [entry["step"] for entry in log_of(tmp_path)] == list(range(1, 7))


def test_a_run_that_was_killed_on_a_detour_takes_the_same_one(repository, tmp_path, spoiled):
    spoiled(step=5, ways=2)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    arguments = [*TRAINER, "trainer.keep_checkpoints=9"]
    assert train(repository, whole, *arguments) == 0
    assert train(repository, parts, *arguments, "--resume", str(whole / "checkpoints/step_00000004.safetensors")) == 0
    one, other = (state_of(folder, 6) for folder in (whole, parts))
    assert one["detour"] == 2
    assert_same(one, other)


def test_a_run_without_trouble_is_the_same_with_and_without(repository, tmp_path):
    assert train(repository, tmp_path / "stop", *TRAINER[1:]) == 0
    assert train(repository, tmp_path / "rollback", *TRAINER) == 0
    one, other = (state_of(tmp_path / name, 6) for name in ("stop", "rollback"))
    for part in ("networks", "optimizers", "pipeline"):
        assert_same(one[part], other[part])


def test_where_every_way_ends_alike_the_run_ends(repository, tmp_path, capsys, spoiled):
    spoiled(step=3, ways=100)
    assert train(repository, tmp_path, *TRAINER) == 1
    error = capsys.readouterr().err
    assert "step 3: " in error and "5 ways on from step 2 ended like this" in error
    assert json.loads((tmp_path / "log.jsonl").read_text().splitlines()[-1])["step"] == 2


def test_a_full_disk_does_not_end_a_rollback(repository, tmp_path, spoiled, monkeypatch):
    from i2i.training.logs.run_log import RunLog

    spoiled(step=5, ways=1)
    truncate, calls = RunLog._truncate, []

    def full(self, start):
        calls.append(start)
        if start:
            raise OSError(28, "No space left on device")
        truncate(self, start)

    monkeypatch.setattr(RunLog, "_truncate", full)
    assert train(repository, tmp_path, *TRAINER) == 0
    assert calls == [0, 4]


def test_where_a_run_ended_it_goes_on_elsewhere_with_other_settings(repository, tmp_path, capsys, spoiled):
    spoiled(step=5, ways=1)
    old, new = tmp_path / "old", tmp_path / "new"
    arguments = ["trainer.steps=6", "trainer.checkpoint_every=2"]
    assert train(repository, old, *arguments) == 1
    hint = capsys.readouterr().err.splitlines()[-1]
    assert f"--resume {old} --out NEW_FOLDER" in hint and "trainer.on_nan=skip" in hint
    assert train(repository, old, *arguments, "trainer.on_nan=skip", "--resume", "auto") == 2
    assert "trainer.on_nan: nothing in the run, skip now" in capsys.readouterr().err
    before = (old / "config.yaml").read_bytes()
    assert train(repository, new, *arguments, "trainer.on_nan=skip", "optimizer.lr=1e-5", "--resume", str(old)) == 0
    said = capsys.readouterr().out
    assert "from here on trainer.on_nan: skip, was nothing" in said and "resumed at step 4" in said
    assert (old / "config.yaml").read_bytes() == before and state_of(new, 6)["left_out"] == 2

"""Training runs from the command line: files, resuming, stopping."""

import json
import shutil
import signal
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from i2i.cli import main
from i2i.run.experiment import Experiment
from i2i.training.checkpoints import load
from tests import fork_server

TINY = """generator.base_channels=4 generator.num_blocks=1 discriminator.base_channels=4 data.length=10
          trainer.log_every=1 trainer.checkpoint_every=4 trainer.sample_every=6 pipeline.pool_size=3
          trainer.sample_count=1 trainer.precision=fp32""".split()
UNET = [o for o in TINY if "num_blocks" not in o and "pool" not in o]


def train(repository, folder, *arguments, config="cyclegan"):
    tiny = TINY if config == "cyclegan" else UNET
    return main("train", [str(repository / f"configs/tiny/{config}.yaml"), "--out", str(folder), *tiny, *arguments])


def log_of(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def state_of(folder, step):
    return load(folder / f"checkpoints/step_{step:08d}.safetensors")


def assert_same(one, other, path=""):
    """Compares nested states bit for bit."""
    assert type(one) is type(other), path
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other), path
    elif isinstance(one, dict):
        assert one.keys() == other.keys(), path
        for key in one:
            assert_same(one[key], other[key], f"{path}.{key}")
    elif isinstance(one, list | tuple):
        assert len(one) == len(other), path
        for index, (a, b) in enumerate(zip(one, other, strict=True)):
            assert_same(a, b, f"{path}.{index}")
    else:
        assert one == other, path


def test_a_run_folder_holds_what_the_contract_names(eight_steps):
    names = {path.relative_to(eight_steps).as_posix() for path in eight_steps.rglob("*") if path.is_file()}
    assert {"config.yaml", "log.jsonl", "model.safetensors", "checkpoints/step_00000004.safetensors"} <= names
    assert {"checkpoints/step_00000008.safetensors", "samples/step_00000006.png", "samples/step_00000008.png"} <= names
    assert any(name.startswith("events.out.tfevents") for name in names)
    assert not [name for name in names if name.endswith(".tmp")]
    entries = log_of(eight_steps)
    assert [entry["step"] for entry in entries] == list(range(1, 9))
    wanted = {"G_adversarial", "cycle_x", "identity_y", "D_X", "D_Y_accuracy_real", "D_X_accuracy_fake", "lr_generator",
              "images_per_second", "data_wait", "epoch"}  # fmt: skip
    assert wanted <= entries[0].keys()
    assert Experiment.load(eight_steps / "config.yaml").settings.steps == 8, "the resolved copy is a config again"


def test_tensorboard_shows_losses_accuracy_rates_speed_and_samples(eight_steps):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(eight_steps))
    events.Reload()
    tags = events.Tags()
    assert {
        "loss/G_adversarial",
        "loss/cycle_x",
        "loss/identity_x",
        "loss/D_X",
        "accuracy/D_X_accuracy_real",
        "accuracy/D_Y_accuracy_fake",
        "learning_rate/lr_generator",
        "learning_rate/lr_discriminator",
        "speed/images_per_second",
        "speed/data_wait",
    } <= set(tags["scalars"])
    assert tags["images"] == ["samples"]
    assert [event.step for event in events.Scalars("loss/D_X")] == list(range(1, 9))


@pytest.mark.parametrize("config", ["cyclegan", "pix2pix"])
def test_resuming_gives_the_weights_of_a_run_never_stopped(repository, tmp_path, config):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    common = ["trainer.steps=7", "schedule.constant=3", "schedule.decay=4", "trainer.batch_size=3"]
    assert train(repository, whole, *common, config=config) == 0
    # As if killed after step 4: the last checkpoint, log lines beyond it, and a line cut in the middle remain.
    shutil.copytree(whole, parts)
    (parts / "checkpoints/step_00000007.safetensors").unlink()
    with (parts / "log.jsonl").open("a") as log:
        log.write('{"step": 8, "cyc')
    assert train(repository, parts, *common, "--resume", "auto", config=config) == 0
    assert_same(state_of(whole, 7), state_of(parts, 7))
    assert_same(load_file(whole / "model.safetensors"), load_file(parts / "model.safetensors"))
    entries = log_of(parts)
    assert [entry["step"] for entry in entries] == list(range(1, 8))
    timing = ("images_per_second", "data_wait")
    assert [{k: v for k, v in e.items() if k not in timing} for e in log_of(whole)] == [
        {k: v for k, v in e.items() if k not in timing} for e in entries
    ]


def test_the_number_of_workers_changes_nothing(repository, tmp_path):
    for workers in (0, 2):
        assert train(repository, tmp_path / str(workers), "trainer.steps=4", f"data.workers={workers}") == 0
    one, other = (state_of(tmp_path / str(workers), 4) for workers in (0, 2))
    assert_same({**one, "config": None}, {**other, "config": None})


def test_a_longer_run_continues(repository, finished, capsys):
    assert train(repository, finished, "trainer.steps=9", "--resume", "auto") == 0
    assert "resumed at step 8" in capsys.readouterr().out
    assert log_of(finished)[-1]["step"] == 9


def test_a_finished_run_is_left_alone(repository, finished, capsys):
    before = {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in finished.rglob("*")}
    assert train(repository, finished, "trainer.steps=8", "--resume", "auto") == 0
    assert "finished already, at step 8" in capsys.readouterr().out
    assert {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in finished.rglob("*")} == before


def test_auto_in_an_empty_folder_starts_afresh(repository, tmp_path):
    assert train(repository, tmp_path / "new", "trainer.steps=1", "--resume", "auto") == 0


def test_a_folder_with_a_run_is_refused_by_default(repository, finished, capsys):
    assert train(repository, finished, "trainer.steps=8") == 2
    error = capsys.readouterr().err
    assert "already holds a run" in error and "--resume auto" in error and "--out DIR" in error


def test_a_changed_key_is_refused_and_both_values_are_shown(repository, finished, capsys):
    assert train(repository, finished, "trainer.steps=9", "losses.cycle.weight=3", "--resume", "auto") == 2
    assert "losses.cycle.weight: 10 in the run, 3 now" in capsys.readouterr().err
    assert train(repository, finished, "trainer.steps=3", "--resume", "auto") == 2
    assert "trainer.steps: 8 in the run, 3 now" in capsys.readouterr().err


def test_an_unreadable_newest_checkpoint_falls_back(repository, finished, capsys):
    newest = finished / "checkpoints/step_00000008.safetensors"
    newest.write_bytes(newest.read_bytes()[:1000])
    assert train(repository, finished, "trainer.steps=8", "--resume", "auto") == 0
    output = capsys.readouterr().out
    assert "step_00000008.safetensors: not a checkpoint" in output and "resumed at step 4" in output


def test_only_the_newest_checkpoints_are_kept(repository, tmp_path):
    keep = ["trainer.steps=4", "trainer.checkpoint_every=1", "trainer.keep_checkpoints=2"]
    assert train(repository, tmp_path, *keep) == 0
    assert sorted(p.name for p in (tmp_path / "checkpoints").iterdir()) == [f"step_{s:08d}.safetensors" for s in (3, 4)]


def test_accumulation_changes_the_loss_only_by_rounding(repository, tmp_path):
    for parts in (1, 4):
        arguments = ["trainer.steps=1", "trainer.batch_size=4", f"trainer.accumulate={parts}", "pipeline.pool_size=0"]
        assert train(repository, tmp_path / str(parts), *arguments) == 0
    one, other = (log_of(tmp_path / str(parts))[0] for parts in (1, 4))
    for name in ("G_adversarial", "cycle_x", "identity_y", "D_X", "D_Y"):
        assert one[name] == pytest.approx(other[name], rel=1e-4)
    first, second = (state_of(tmp_path / str(parts), 1)["networks"] for parts in (1, 4))
    # Adam's first step is the sign of the gradient: nearly all signs must agree.
    same = [torch.isclose(first[k], second[k], atol=1e-6).float().mean() for k in first if first[k].ndim == 4]
    assert min(same) > 0.95


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_run_with_a_checkpoint(repository, tmp_path, number):
    command = [repository / "tools/train.py", repository / "configs/tiny/cyclegan.yaml", "--out", tmp_path, *TINY,
               "trainer.steps=100000", "trainer.checkpoint_every=100000"]  # fmt: skip
    process = fork_server.start(command, cwd=Path("/"))
    deadline = time.monotonic() + 120
    while not (tmp_path / "log.jsonl").exists() or not (tmp_path / "log.jsonl").read_text():
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.05)
    process.send_signal(number)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + number, errors
    (checkpoint,) = (tmp_path / "checkpoints").iterdir()
    step = load(checkpoint)["step"]
    assert f"stopped at step {step}, checkpoint written" in output
    assert (tmp_path / "model.safetensors").exists()


def test_nan_stops_before_it_reaches_the_weights(repository, tmp_path, capsys):
    code = train(repository, tmp_path, "trainer.steps=20", "optimizer.lr=1e18", "trainer.checkpoint_every=1")
    error = capsys.readouterr().err
    assert code == 1
    assert "is not finite" in error and "image: synthetic/" in error and "trainer.on_nan=skip" in error
    newest = max((tmp_path / "checkpoints").iterdir())
    networks = load(newest)["networks"]
    assert all(torch.isfinite(value.float()).all() for value in networks.values())


def test_nan_can_be_skipped(repository, tmp_path, capsys):
    arguments = ["trainer.steps=6", "optimizer.lr=1e18", "trainer.on_nan=skip"]
    assert train(repository, tmp_path, *arguments) == 0
    assert "the update is left out" in capsys.readouterr().out


def test_missing_data_names_the_ways_on(repository, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main("train", [str(repository / "configs/cyclegan_horse2zebra.yaml")]) == 2
    error = capsys.readouterr().err
    assert "data.root: no folder" in error
    assert "prepare_data.py horse2zebra" in error and "data.root=" in error and "cyclegan_animals.yaml" in error
    assert not (tmp_path / "runs").exists()


def test_the_default_folder_is_numbered(repository, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = str(repository / "configs/tiny/pix2pix.yaml")
    for _ in range(2):
        assert main("train", [config, *UNET, "trainer.steps=1"]) == 0
    assert sorted(path.name for path in (tmp_path / "runs/pix2pix").iterdir()) == ["001", "002"]


def test_options_and_overrides_come_in_any_order(repository, tmp_path):
    config = str(repository / "configs/tiny/cyclegan.yaml")
    arguments = ["trainer.steps=1", "--out", str(tmp_path / "run"), *TINY, config, "--resume", "auto", "trainer.seed=3"]
    assert main("train", arguments) == 0


def test_usage_errors_exit_with_2(repository, capsys):
    assert main("train", ["trainer.steps=1"]) == 2
    assert "expected one CONFIG" in capsys.readouterr().err
    assert main("train", ["nowhere.yaml"]) == 2
    assert "nowhere.yaml: no such file" in capsys.readouterr().err


def test_the_device_must_exist(repository, tmp_path, capsys):
    assert train(repository, tmp_path / "r", "trainer.device=cuda:99") == 2
    assert "'cuda:99' is not available here" in capsys.readouterr().err

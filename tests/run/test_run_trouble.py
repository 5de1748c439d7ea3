"""What must not be lost when a run meets trouble."""

import json
import os
import pickle
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from i2i.cli import main
from i2i.run.folder import _claim
from i2i.training.checkpoints import Checkpoints
from i2i.training.state_files import write_state
from tests import fork_server
from tests.run.test_run import TINY, UNET, log_of, state_of, train


def checkpoints_of(folder):
    return sorted(path.name for path in (folder / "checkpoints").glob("step_*.safetensors"))


def test_going_on_from_an_older_checkpoint_sets_the_newer_aside(repository, tmp_path):
    every = ["trainer.steps=3", "trainer.checkpoint_every=1", "trainer.keep_checkpoints=3"]
    assert train(repository, tmp_path, *every) == 0
    old = str(tmp_path / "checkpoints/step_00000001.safetensors")
    assert train(repository, tmp_path, *every, "--resume", old) == 0
    assert checkpoints_of(tmp_path) == [f"step_0000000{step}.safetensors" for step in (1, 2, 3)]
    assert len(list((tmp_path / "checkpoints").glob("*.set_aside"))) == 2
    assert [entry["step"] for entry in log_of(tmp_path)] == [1, 2, 3]


def test_a_checkpoint_is_not_continued_in_the_folder_of_another_run(repository, tmp_path, finished, capsys):
    assert train(repository, tmp_path / "other", "trainer.steps=1", "trainer.seed=2") == 0
    before = (tmp_path / "other/config.yaml").read_bytes()
    checkpoint = str(finished / "checkpoints/step_00000008.safetensors")
    assert train(repository, tmp_path / "other", "trainer.steps=9", "--resume", checkpoint) == 2
    assert "already holds a run" in capsys.readouterr().err
    assert (tmp_path / "other/config.yaml").read_bytes() == before


def test_a_checkpoint_that_lies_in_no_run_needs_a_folder(repository, tmp_path, finished, capsys):
    loose = tmp_path / "loose.ckpt"
    (finished / "checkpoints/step_00000008.safetensors").rename(loose)
    arguments = [str(repository / "configs/tiny/cyclegan.yaml"), *TINY, "trainer.steps=9", "--resume", str(loose)]
    assert main("train", arguments) == 2
    assert "--out DIR" in capsys.readouterr().err
    assert main("train", [*arguments, "--out", str(tmp_path / "new")]) == 0
    assert state_of(tmp_path / "new", 9)["step"] == 9


def test_runs_that_start_together_get_folders_of_their_own(tmp_path):
    assert [_claim(tmp_path / "runs/x/001").name for _ in range(3)] == ["001", "002", "003"]


def test_a_checkpoint_of_something_else_is_refused(repository, tmp_path, capsys):
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    write_state(folder / "step_00000001.safetensors", {"step": 1})
    assert train(repository, tmp_path, "trainer.steps=2", "--resume", "auto") == 2
    error = capsys.readouterr().err
    assert "none of 1 checkpoints can be read" in error


def test_a_failed_save_does_not_end_the_run(repository, tmp_path, capsys, monkeypatch):
    def full(self, step, state):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Checkpoints, "save", full)
    assert train(repository, tmp_path, "trainer.steps=2", "trainer.checkpoint_every=1") == 1
    output = capsys.readouterr().out
    assert output.count("saving failed, training goes on") == 2
    assert log_of(tmp_path)[-1]["step"] == 2


def test_a_save_that_works_again_is_a_good_end(repository, tmp_path, monkeypatch):
    save = Checkpoints.save

    def full_at_1(self, step, state):
        if step == 1:
            raise RuntimeError("enforce fail at inline_container.cc")
        return save(self, step, state)

    monkeypatch.setattr(Checkpoints, "save", full_at_1)
    assert train(repository, tmp_path, "trainer.steps=2", "trainer.checkpoint_every=1") == 0


def test_a_run_without_its_last_checkpoint_has_its_model(repository, tmp_path, monkeypatch):
    """Killed between the two: the checkpoint must be the one that is missing."""
    monkeypatch.setattr(Checkpoints, "save", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    assert train(repository, tmp_path, "trainer.steps=1") == 130
    assert (tmp_path / "model.safetensors").exists()


def test_an_update_left_out_leaves_the_running_statistics_as_they_were(repository, tmp_path):
    arguments = ["trainer.steps=3", "trainer.on_nan=skip", "optimizer.lr=1e25", "generator.norm=batch"]
    assert train(repository, tmp_path, *arguments) == 1  # such weights make images of no numbers
    networks = state_of(tmp_path, 3)["networks"]
    assert any("running_mean" in name for name in networks)
    assert all(torch.isfinite(value.float()).all() for value in networks.values())
    for line in (tmp_path / "log.jsonl").read_text().splitlines():
        json.loads(line, parse_constant=lambda constant: pytest.fail(f"{constant} is no JSON"))


@pytest.mark.parametrize("workers", [0, 2])
def test_an_image_that_breaks_in_training_is_named_in_one_line(repository, tmp_path, workers):
    root = tmp_path / "data"
    for side in ("trainA", "trainB"):
        (root / side).mkdir(parents=True)
        for index in range(3):
            Image.fromarray(np.full((40, 40, 3), 60 * index, np.uint8)).save(root / side / f"{index}.png")
    broken = root / "trainA/1.png"
    data = bytearray(broken.read_bytes())
    data[60] ^= 0xFF  # inside the pixels: header and end are whole
    broken.write_bytes(data)
    arguments = [
        f"data={{type: unpaired, root: {root}, load_size: 36, crop_size: 32, workers: {workers}, max_broken: 0}}"
    ]
    tiny = [o for o in TINY if not o.startswith("data.")]
    config = repository / "configs/tiny/cyclegan.yaml"
    command = [repository / "tools/train.py", config, *tiny, *arguments, "trainer.steps=6"]
    done = fork_server.run([*command, "--out", tmp_path / "run"])
    assert done.returncode == 1, done.stderr
    lines = [line for line in done.stderr.splitlines() if not line.startswith(" ")]
    assert len(lines) == 1 and str(broken) in lines[0]


def test_a_signal_to_the_whole_group_spares_the_checkpoint(repository, tmp_path):
    """As batch systems stop jobs: the loader's processes receive it, too."""
    command = [repository / "tools/train.py", repository / "configs/tiny/cyclegan.yaml", "--out", tmp_path, *TINY]
    command += ["trainer.steps=100000", "trainer.checkpoint_every=100000", "data.workers=2"]
    process = fork_server.start(command, start_new_session=True)
    deadline = time.monotonic() + 120
    while not (tmp_path / "log.jsonl").exists() or not (tmp_path / "log.jsonl").read_text():
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGTERM)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 143, errors
    assert len(checkpoints_of(tmp_path)) == 1
    assert "checkpoint written" in output


def test_images_of_several_sizes_in_one_batch_are_told(repository, tmp_path, capsys):
    root = tmp_path / "data"
    for side in ("trainA", "trainB"):
        (root / side).mkdir(parents=True)
        for index, size in enumerate((32, 40, 48)):
            Image.fromarray(np.zeros((size, size, 3), np.uint8)).save(root / side / f"{index}.png")
    tiny = [o for o in TINY if not o.startswith("data.")]
    data = f"data={{type: unpaired, root: {root}, transforms: flip}}"
    config = str(repository / "configs/tiny/cyclegan.yaml")
    arguments = [config, *tiny, data, "trainer.batch_size=3", "trainer.steps=2", "--out", str(tmp_path / "run")]
    assert main("train", arguments) == 1
    assert "the images of a batch differ in size" in capsys.readouterr().err


def test_images_smaller_than_the_crop_are_told_before_training(repository, tmp_path, capsys):
    root = tmp_path / "data"
    for side in ("trainA", "trainB"):
        (root / side).mkdir(parents=True)
        for index in range(2):
            Image.fromarray(np.zeros((20, 40, 3), np.uint8)).save(root / side / f"{index}.png")
    tiny = [o for o in TINY if not o.startswith("data.")]
    data = f"data={{type: unpaired, root: {root}, transforms: crop_flip, crop_size: 32}}"
    config = str(repository / "configs/tiny/cyclegan.yaml")
    assert main("train", [config, *tiny, data, "--out", str(tmp_path / "run")]) == 2
    assert "is 40 x 20 pixels, smaller than the crop of 32 x 32" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


DATASET_PLUGIN = """
import i2i, torch
@i2i.DATASETS.register("NAME")
class Gray:
    def __init__(self):
        self.channels = {"a": 3, "b": 3}
    def __len__(self):
        return 2
    def __getitem__(self, index):
        return {"a": torch.zeros(3, 8, 8), "b": torch.zeros(3, 8, 8)}
"""


def test_a_plugin_data_set_reaches_processes_that_are_started_afresh(tmp_path):
    from i2i.core.plugins import load_plugin_file
    from i2i.core.registry import DATASETS
    from i2i.data.loading.stream import SeededDataset

    plugin = tmp_path / "afresh.py"
    plugin.write_text(DATASET_PLUGIN.replace("NAME", "gray_afresh"))
    load_plugin_file(plugin)
    packed = pickle.dumps(SeededDataset(DATASETS.get("gray_afresh")(), seed=0))
    code = f"import pickle; print(len(pickle.loads({packed!r})))"
    done = fork_server.run(["-c", code], cwd=Path(__file__).parents[2])
    assert done.stdout.strip() == "2", done.stderr


def test_the_bundle_names_the_plugin_that_was_run_not_what_became_of_the_file(repository, tmp_path):
    from i2i.core.plugins import sha256
    from i2i.inference.bundle.bundle import read_info
    from i2i.run.experiment import Experiment
    from i2i.run.start import train as run

    plugin = tmp_path / "mine.py"
    plugin.write_text(
        "import i2i\nfrom i2i.networks.unet import UNetGenerator\n"
        "@i2i.GENERATORS.register('mine_for_the_bundle')\nclass Mine(UNetGenerator):\n    pass\n"
    )
    digest = sha256(plugin)
    config = str(repository / "configs/tiny/pix2pix.yaml")
    node = "generator={type: mine_for_the_bundle, num_downsamplings: 3, base_channels: 4}"
    experiment = Experiment.load(config, [*UNET, node, f"plugins=[{plugin}]", "trainer.steps=1"])
    plugin.write_text("raise SystemExit\n")
    assert run(experiment, tmp_path / "run", report=lambda _: None) == (0, tmp_path / "run")
    assert read_info(tmp_path / "run/model.safetensors").networks["G"]["owner"] == {"file": "mine.py", "sha256": digest}


def test_auto_does_not_replace_a_model_whose_checkpoints_are_gone(repository, finished, capsys):
    shutil.rmtree(finished / "checkpoints")
    before = (finished / "model.safetensors").read_bytes()
    assert train(repository, finished, "trainer.steps=8", "--resume", "auto") == 2
    assert "holds a model, and no checkpoint to continue from" in capsys.readouterr().err
    assert (finished / "model.safetensors").read_bytes() == before


def test_a_reader_that_goes_away_does_not_end_training(repository, tmp_path):
    command = [repository / "tools/train.py", repository / "configs/tiny/cyclegan.yaml", *TINY, "trainer.steps=4"]
    reading, writing = os.pipe()
    process = fork_server.start([*command, "--out", tmp_path / "run"], stdout=writing)
    os.close(writing)
    os.close(reading)
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    assert log_of(tmp_path / "run")[-1]["step"] == 4


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names on this system")
def test_a_pipe_named_like_an_image_is_refused_at_once(repository, tmp_path, capsys):
    for side in ("trainA", "trainB"):
        (tmp_path / side).mkdir()
        for index in range(2):
            Image.new("RGB", (40, 40)).save(tmp_path / side / f"{index}.png")
    os.mkfifo(tmp_path / "trainA/pipe.png")
    arguments = [str(repository / "configs/cyclegan_horse2zebra.yaml"), f"data.root={tmp_path}", "data.max_broken=0"]
    assert main("train", [*arguments, "--out", str(tmp_path / "run")]) == 2
    assert "pipe.png: is not a regular file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("optimizer.lr=-1", "<command line> optimizer.lr: invalid learning rate: -1"),
        ("optimizer.betas=[0.5,2]", "<command line> optimizer.betas: invalid beta parameter at index 1: 2"),
        ("trainer.seed=9999999999", "<command line> trainer.seed: seed must be below 2147483648"),
        ("trainer.device=cuda:99", "<command line> trainer.device: the device 'cuda:99' is not available here"),
        ("trainer.precision=fp16", "<command line> trainer.precision: precision fp16 needs a GPU"),
        ("losses.cycle.wait=3", "<command line> losses.cycle.wait: unknown key"),
        ("optimizer.fused=true optimizer.foreach=true", "optimizer: cannot be built: RuntimeError: "),
        ("name=..", "<command line> name: expected a name that can be a folder's"),
    ],
)
def test_values_of_the_command_line_are_blamed_on_it(repository, tmp_path, capsys, override, message):
    assert train(repository, tmp_path / "run", "trainer.steps=1", *override.split()) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_full_disk_under_samples_and_log_does_not_end_a_run(repository, tmp_path, monkeypatch, capsys):
    from i2i.core.errors import DataError
    from i2i.training.logs.run_log import RunLog

    def full(*_):
        raise DataError("sample.png: cannot be written: no space left on device")

    monkeypatch.setattr(RunLog, "sample", full)
    assert train(repository, tmp_path, "trainer.steps=3", "trainer.sample_every=1") == 0
    assert "the samples cannot be written, training goes on" in capsys.readouterr().out
    assert state_of(tmp_path, 3)["step"] == 3


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried")]
)
def test_memory_that_does_not_suffice_is_told_with_ways_on(repository, tmp_path, monkeypatch, capsys, error):
    from i2i.training.updater import Updater

    def step(*_):
        raise error

    monkeypatch.setattr(Updater, "step", step)
    assert train(repository, tmp_path, "trainer.steps=3") == 1
    shown = capsys.readouterr().err
    assert "step 1: the memory of cpu does not suffice" in shown and "trainer.accumulate=2" in shown


def test_a_plugin_that_leaves_is_reported(repository, tmp_path, capsys):
    plugin = tmp_path / "leaves.py"
    plugin.write_text("import sys\nsys.exit(0)\n")
    assert train(repository, tmp_path / "run", "trainer.steps=1", f"plugins=[{plugin}]") == 2
    assert "leaves.py' fails: SystemExit" in capsys.readouterr().err


def test_an_empty_folder_name_is_no_folder(repository, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert main("train", [str(repository / "configs/tiny/cyclegan.yaml"), "--out", ""]) == 2
    assert "--out: is empty" in capsys.readouterr().err and not list(tmp_path.iterdir())


def test_a_checkpoint_that_is_not_there_is_said_to_be_so(repository, tmp_path, capsys):
    config = str(repository / "configs/tiny/cyclegan.yaml")
    assert main("train", [config, "--resume", str(tmp_path / "nowhere.ckpt")]) == 2
    assert "no such checkpoint or run folder" in capsys.readouterr().err


def test_a_folder_in_which_a_run_trains_is_not_trained_in_twice(repository, tmp_path, capsys):
    command = [repository / "tools/train.py", repository / "configs/tiny/cyclegan.yaml", "--out", tmp_path, *TINY]
    first = fork_server.start([*command, "trainer.steps=100000", "data.workers=2"])
    try:
        deadline = time.monotonic() + 120
        while not list(tmp_path.glob("checkpoints/*.safetensors")):
            assert time.monotonic() < deadline and first.poll() is None
            time.sleep(0.05)
        assert train(repository, tmp_path, "trainer.steps=100000", "data.workers=2", "--resume", "auto") == 2
        assert "another process trains in this folder" in capsys.readouterr().err
    finally:
        first.kill()
        first.wait()
    left = max(int(path.stem[5:]) for path in tmp_path.glob("checkpoints/*.safetensors"))
    # At once: its loaders, which live on for a moment, must not keep the folder.
    again = ["trainer.steps=100000", "data.workers=2", "--resume", "auto", "--max-hours", "0.0005"]
    assert train(repository, tmp_path, *again) == 0
    assert log_of(tmp_path)[-1]["step"] >= left

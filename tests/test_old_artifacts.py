"""What i2i 0.1.0 made goes on working: YAMLs, run folders with their ``.ckpt``, bundles.

``tests/artifacts/i2i-0.1.0.tar.xz`` was made by that version: a CycleGAN at step 3 of 6 with what it had at step 6, a
Pix2Pix from labels to streets, and what both made of an image.
"""

import json
import shutil
import tarfile

import numpy as np
import pytest
import yaml
from safetensors.torch import load_file

import i2i
from i2i.cli import main
from i2i.training.checkpoints import Checkpoints, load
from tests.bundles import pixels
from tests.conftest import REPOSITORY


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    folder = tmp_path_factory.mktemp("old")
    with tarfile.open(REPOSITORY / "tests/artifacts/i2i-0.1.0.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.fixture
def old(unpacked, tmp_path):
    return shutil.copytree(unpacked, tmp_path / "old")


def log_of(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("name", ["cyclegan", "pix2pix"])
@pytest.mark.parametrize("file", ["given.yaml", "config.yaml"])
def test_configurations_are_understood(old, name, file, capsys):
    assert main("train", [str(old / name / file), "--dry-run"]) == 0


def test_a_run_goes_on_from_its_checkpoint_to_what_the_old_version_made(old, capsys):
    folder, before = old / "cyclegan", load_file(old / "cyclegan/model.safetensors")
    expected = log_of(folder)[-1]
    assert main("train", [str(folder / "given.yaml"), "--out", str(folder), "--resume", "auto"]) == 0
    assert "resumed at step 3" in capsys.readouterr().out
    found = log_of(folder)[-1]
    assert found["step"] == expected["step"] == 6
    losses = expected.keys() - {"images_per_second", "data_wait", "time"}
    assert {key: found[key] for key in losses} == pytest.approx({key: expected[key] for key in losses}, rel=1e-4)
    after = load_file(folder / "model.safetensors")
    assert after.keys() == before.keys()
    for name, value in before.items():
        np.testing.assert_allclose(after[name], value, rtol=1e-4, atol=1e-6, err_msg=name)
    names = sorted(path.name for path in (folder / "checkpoints").iterdir())
    assert names == ["step_00000003.ckpt", "step_00000006.safetensors"]


def test_an_old_checkpoint_holds_all_parts(old):
    state = load(old / "cyclegan/checkpoints/step_00000003.ckpt")
    assert state["step"] == 3 and len(state["pipeline"][0]["pool_x._extra_state"]["images"]) == 1
    assert state["ema"] and state["optimizers"].keys() == {"generator", "discriminator"}


def test_old_checkpoints_make_room_for_new_ones(old):
    folder = old / "cyclegan/checkpoints"
    state = load(folder / "step_00000003.ckpt")
    Checkpoints(folder, keep=1).save(4, state | {"step": 4})
    assert [path.name for path in folder.iterdir()] == ["step_00000004.safetensors"]


@pytest.mark.parametrize(
    ("name", "direction", "made"),
    [("cyclegan", "a2b", "translated"), ("cyclegan", "b2a", "translated_b2a"), ("pix2pix", "b2a", "translated")],
)
def test_bundles_translate_as_before(old, tmp_path, name, direction, made):
    output, where = tmp_path / "out", ["--device", "cpu", "--precision", "fp32", "--direction", direction]
    assert main("translate", [str(old / name), str(old / "input"), str(output), *where]) == 0
    found, expected = (pixels(folder / "blocks.png").astype(int) for folder in (output, old / name / made))
    assert found.shape == expected.shape and np.ptp(expected) > 3
    assert abs(found - expected).max() <= 1


def test_the_programming_interface_reads_old_bundles(old):
    translator = i2i.Translator.load(old / "cyclegan", device="cpu")
    assert sorted(translator.info.directions) == ["a2b", "b2a"]
    assert translator(pixels(old / "input/blocks.png")).shape == (30, 32, 3)


def test_training_starts_from_old_bundles(old, tmp_path):
    given = yaml.safe_load((old / "cyclegan/given.yaml").read_text())
    given |= {"init_from": str(old / "cyclegan"), "trainer": {**given["trainer"], "steps": 1}}
    given["discriminator"] = {"type": "patchgan", "num_layers": 1, "base_channels": 2}
    (tmp_path / "new.yaml").write_text(yaml.safe_dump(given))
    assert main("train", [str(tmp_path / "new.yaml"), "--out", str(tmp_path / "run")]) == 0


def test_the_report_of_an_old_run_is_made(old):
    assert main("report", [str(old / "cyclegan")]) == 0
    assert "cyclegan" in (old / "cyclegan/report.html").read_text()

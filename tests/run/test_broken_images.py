"""Images that cannot be read, before and while a run trains."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from i2i.cli import main
from tests.run.test_run import assert_same, log_of, state_of

NETWORKS = """generator.base_channels=4 generator.num_blocks=1 discriminator.base_channels=4
              trainer.sample_count=1 trainer.precision=fp32""".split()
COUNT = 6


@pytest.fixture
def photos(tmp_path):
    """Two folders of images."""
    rng = np.random.default_rng(0)
    for side in ("trainA", "trainB", "testA", "testB"):
        (tmp_path / "photos" / side).mkdir(parents=True)
        for index in range(COUNT):
            pixels = rng.integers(0, 256, (40, 40, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / side / f"{index}.png")
    return tmp_path / "photos"


def damage(path):
    """Inside the compressed pixels: header and end are whole, so only decoding finds it."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)


def train(repository, photos, folder, *arguments):
    data = f"data={{type: unpaired, root: {photos}, load_size: 36, crop_size: 32}}"
    config = str(repository / "configs/tiny/cyclegan.yaml")
    return main("train", [config, "--out", str(folder), *NETWORKS, data, "trainer.log_every=1", *arguments])


@pytest.mark.parametrize("workers", [0, 2])
def test_a_damaged_image_is_named_counted_and_listed(repository, photos, tmp_path, capsys, workers):
    damage(photos / "trainA/1.png")
    arguments = ["trainer.steps=6", "trainer.checkpoint_every=3", f"data.workers={workers}"]
    assert train(repository, photos, tmp_path / "run", *arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    said = [line for line in lines if "1.png: damaged PNG file" in line]
    assert len(said) == 2 and "another image takes its place" in said[0], "when it is met, and at the end"
    assert "unusable files that were passed over: 1" in lines
    counts = [entry.get("broken_images", 0) for entry in log_of(tmp_path / "run")]
    assert counts[-1] == 1 and sorted(counts) == counts
    assert len(state_of(tmp_path / "run", 6)["broken"]) == 1


def test_a_resumed_run_passes_over_the_same(repository, photos, tmp_path, capsys):
    damage(photos / "trainA/1.png")
    arguments = ["trainer.steps=6", "trainer.checkpoint_every=3"]
    assert train(repository, photos, tmp_path / "whole", *arguments) == 0
    capsys.readouterr()
    half = tmp_path / "whole/checkpoints/step_00000003.safetensors"
    assert train(repository, photos, tmp_path / "parts", *arguments, "--resume", str(half)) == 0
    assert capsys.readouterr().out.count("1.png: damaged") == 1, "only listed again"
    assert_same(state_of(tmp_path / "whole", 6), state_of(tmp_path / "parts", 6))


def test_beyond_the_limit_the_run_ends_with_what_it_had(repository, photos, tmp_path, capsys):
    for index in (1, 4):
        damage(photos / f"trainA/{index}.png")
    arguments = ["trainer.steps=50", "trainer.checkpoint_every=1000", "data.max_broken=1"]
    assert train(repository, photos, tmp_path / "run", *arguments) == 1
    error = capsys.readouterr().err
    assert "2 unusable files are more than data.max_broken=1" in error
    assert "1.png" in error and "4.png" in error
    steps = log_of(tmp_path / "run")[-1]["step"]
    assert state_of(tmp_path / "run", steps)["step"] == steps, "nothing that was trained is lost"


def test_what_headers_show_is_told_before_the_start(repository, photos, tmp_path, capsys):
    (photos / "trainB/2.png").write_bytes(b"no image")
    assert train(repository, photos, tmp_path / "run", "trainer.steps=2") == 0
    assert f"data: {photos}/trainB/2.png: is text, not an image; it is passed over" in capsys.readouterr().out
    assert train(repository, photos, tmp_path / "none", "trainer.steps=2", "data.max_broken=0") == 2
    error = capsys.readouterr().err
    assert "1 of 12 images of split 'train' cannot be used" in error and "data.max_broken=0" in error
    assert not (tmp_path / "none").exists()


def test_a_set_that_is_mostly_unusable_is_refused_whatever_the_limit(repository, photos, tmp_path, capsys):
    for path in [*(photos / "trainA").iterdir(), *(photos / "trainB").iterdir()][: COUNT + 1]:
        path.write_bytes(b"no image")
    assert train(repository, photos, tmp_path / "run", "trainer.steps=2", "data.max_broken=100") == 2
    assert "7 of 12 images of split 'train' cannot be used" in capsys.readouterr().err


def test_a_pair_with_a_broken_half_is_passed_over(repository, photos, tmp_path, capsys):
    for side in "AB":
        (photos / "train" / side).parent.mkdir(exist_ok=True)
        (photos / f"train{side}").rename(photos / "train" / side)
    damage(photos / "train/B/3.png")
    config = str(repository / "configs/tiny/pix2pix.yaml")
    data = f"data={{type: paired, root: {photos}, load_size: 36, crop_size: 32}}"
    networks = "generator.base_channels=4 discriminator.base_channels=4".split()
    arguments = ["trainer.steps=6", "trainer.batch_size=2", *networks, data, "--out", str(tmp_path / "run")]
    assert main("train", [config, *arguments]) == 0
    assert "B/3.png: damaged PNG file" in capsys.readouterr().out
    networks = state_of(tmp_path / "run", 6)["networks"]
    assert all(torch.isfinite(value.float()).all() for value in networks.values())
    assert json.loads((tmp_path / "run/log.jsonl").read_text().splitlines()[-1])["broken_images"] == 1


def paired(repository, photos, folder, *arguments):
    config = str(repository / "configs/tiny/pix2pix.yaml")
    data = f"data={{type: paired, root: {photos}, load_size: 36, crop_size: 32}}"
    networks = "generator.base_channels=4 discriminator.base_channels=4".split()
    return main("train", [config, "--out", str(folder), *networks, data, "trainer.batch_size=1", *arguments])


@pytest.fixture
def pairs(photos):
    for split in ("train", "test"):
        (photos / split).mkdir()
        for side in "AB":
            (photos / f"{split}{side}").rename(photos / split / side)
    return photos


MEASURED = "validation={split: test, every: 4, metrics: [l1]}"


@pytest.mark.parametrize("is_seen_at_once", [True, False])
def test_held_out_images_that_cannot_be_read_are_passed_over(repository, pairs, tmp_path, capsys, is_seen_at_once):
    if is_seen_at_once:
        (pairs / "test/A/0.png").write_bytes(b"no image")
    else:
        damage(pairs / "test/A/0.png")
    assert paired(repository, pairs, tmp_path / "run", "trainer.steps=8", MEASURED) == 0
    assert capsys.readouterr().out.count("0.png: ") == (2 if is_seen_at_once else 1)
    assert log_of(tmp_path / "run")[-1]["val_l1"] > 0


def test_what_a_metric_raises_costs_no_checkpoint(repository, pairs, tmp_path, capsys, monkeypatch):
    from i2i.training.validation import Validation

    monkeypatch.setattr(Validation, "measure", lambda *_: 1 / 0)
    assert paired(repository, pairs, tmp_path / "run", "trainer.steps=8", MEASURED) == 1
    assert "after step 4: ZeroDivisionError" in capsys.readouterr().err
    assert state_of(tmp_path / "run", 4)["step"] == 4

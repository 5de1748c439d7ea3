"""The same weights bit for bit, whoever loads the images; and images of one colour, which have no variance."""

import itertools
import math

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from i2i.cli import main
from i2i.data.drawn.dataset import Synthetic
from i2i.images.files import save_image
from tests.run.test_run import assert_same, log_of, state_of

KINDS = {"cyclegan": "unpaired", "pix2pix": "paired"}
SMALL = """generator.base_channels=4 discriminator.base_channels=4 trainer.log_every=1 trainer.sample_every=100
           trainer.checkpoint_every=100 trainer.sample_count=1""".split()


def train(repository, folder, config, data, *arguments):
    node = f"data={{type: {KINDS[config]}, load_size: 40, crop_size: 32, transforms: resize_crop_flip, {data}}}"
    config = repository / f"configs/tiny/{config}.yaml"
    # A data set of another type has none of the config's arguments.
    return main("train", [str(config), "--out", str(folder), *SMALL, node, *arguments])


def write_domains(root, count, paired, picture):
    """Writes ``picture(index, side)`` for both sides, in the folders that unpaired and paired sets have."""
    for side in "AB":
        folder = root / (side if paired else f"train{side}")
        folder = folder / "train" if paired else folder
        folder.mkdir(parents=True)
        for index in range(count):
            save_image(folder / f"{index:03}.png", picture(index, side))


def drawn(size):
    dataset = Synthetic("animals", size, 8, paired=True)
    scenes = [dataset.draw(index) for index in range(8)]
    return lambda index, side: scenes[index][side == "B"][0].image


@pytest.mark.parametrize("config", ["pix2pix", pytest.param("cyclegan", marks=pytest.mark.slow)])
def test_the_number_of_workers_changes_no_bit_of_augmented_files(repository, tmp_path, config):
    write_domains(tmp_path / "data", 6, config == "pix2pix", drawn(48))
    places = [tmp_path / f"{workers}" for workers in (0, 1, 2)]
    for workers, place in enumerate(places):
        data = f"root: {tmp_path / 'data'}, workers: {workers}"
        assert train(repository, place, config, data, "trainer.steps=5") == 0
    states = [{**state_of(place, 5), "config": None} for place in places]
    bundles = [load_file(place / "model.safetensors") for place in places]
    for state, bundle in zip(states[1:], bundles[1:], strict=True):
        assert_same(states[0], state)
        assert_same(bundles[0], bundle)


QUICK = [("cyclegan", "bf16", "instance"), ("pix2pix", "fp32", "batch")]  # each pipeline, precision and norm once


@pytest.mark.parametrize(
    ("config", "precision", "norm"),
    [
        pytest.param(*run, marks=[] if run in QUICK else pytest.mark.slow)
        for run in itertools.product(KINDS, ("fp32", "bf16"), ("instance", "batch"))
    ],
)
def test_images_of_one_colour_train_without_nan(repository, tmp_path, config, precision, norm):
    colours = {"A": [0, 128, 255, 31], "B": [255, 0, 77, 128]}

    def flat(index, side):
        return np.full((48, 48, 3), colours[side][index], np.uint8)

    write_domains(tmp_path / "data", 4, config == "pix2pix", flat)
    arguments = ["trainer.steps=8", f"trainer.precision={precision}", "trainer.batch_size=1", f"generator.norm={norm}"]
    arguments += [f"discriminator.norm={norm}", "optimizer.lr=1e-3"]
    assert train(repository, tmp_path / "run", config, f"root: {tmp_path / 'data'}", *arguments) == 0
    entries = log_of(tmp_path / "run")
    assert len(entries) == 8
    assert all(value is not None and math.isfinite(value) for entry in entries for value in entry.values())
    state = state_of(tmp_path / "run", 8)
    held = [
        *state["networks"].values(),
        *(m for o in state["optimizers"].values() for s in o["state"].values() for m in s.values()),
    ]
    assert len(held) > 50 and all(torch.isfinite(tensor).all() for tensor in held)

"""Metrics that compare two sets of images: on unpaired data and on images from noise."""

import numpy as np
import pytest
import torch

from i2i import Generator, Metric, Translator
from i2i.cli import main
from i2i.core.registry import METRICS
from i2i.data.drawn.digits import Digits
from i2i.images.files import save_image
from tests.bundles import pixels
from tests.run.test_run import TINY, log_of

SETS = "validation={every: 2, count: 5, metrics: [gap], best: gap, split: test}"


class Gap(Metric):
    """The difference of mean brightness, from 0 to 2."""

    compares, higher_is_better = "sets", False

    def __init__(self):
        super().__init__()
        self.add_state("sums", torch.zeros(2, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("counts", torch.zeros(2), dist_reduce_fx="sum")

    def update(self, images, real):
        self.sums[int(real)] += images.double().mean((1, 2, 3)).sum()
        self.counts[int(real)] += len(images)

    def compute(self):
        return (self.sums / self.counts).diff().abs().squeeze()


@pytest.fixture(autouse=True)
def gap():
    METRICS.register("gap")(Gap)


def train(config, folder, *more):
    return main("train", [config, "--out", str(folder), "trainer.precision=fp32", "trainer.steps=2", SETS, *more])


def test_unpaired_images_are_measured_in_both_directions(repository, tmp_path):
    for domain in "AB":
        (tmp_path / f"photos/test{domain}").mkdir(parents=True)
        (tmp_path / f"photos/train{domain}").mkdir(parents=True)
        for index in range(6):
            image = np.random.default_rng(index).integers(0, 200 if domain == "A" else 256, (32, 32, 3), np.uint8)
            for split in ("train", "test"):
                save_image(tmp_path / f"photos/{split}{domain}/{index}.png", image, "png")
    data = f"data={{type: unpaired, root: {tmp_path / 'photos'}, load_size: 32, crop_size: 32}}"
    tiny = [one for one in TINY if not one.startswith("data.")]
    assert train(str(repository / "configs/tiny/cyclegan.yaml"), tmp_path / "run", *tiny, data) == 0
    entry = log_of(tmp_path / "run")[-1]
    translator = Translator.load(tmp_path / "run", device="cpu")
    for direction, source, target in (("a2b", "A", "B"), ("b2a", "B", "A")):
        images = {one: [pixels(tmp_path / f"photos/test{one}/{i}.png") for i in range(5)] for one in (source, target)}
        made = np.mean([translator(image, direction).mean() for image in images[source]])
        real = np.mean([image.mean() for image in images[target]])
        assert entry[f"val_gap_{direction}"] == pytest.approx(abs(made - real) / 127.5, abs=2e-5)
    assert (tmp_path / "run/best.safetensors").exists()


def test_images_from_noise_are_measured(repository, tmp_path):
    """The latents are those of the seeds, the labels those of the real images."""
    assert train(str(repository / "configs/tiny/gan.yaml"), tmp_path) == 0
    data = Digits(16, 256, "test")
    generator = Generator.load(tmp_path, device="cpu")
    made = np.mean([generator([index], int(data[index]["label"])).mean() for index in range(5)])
    real = np.mean([(data[index]["image"].numpy() + 1).mean() * 127.5 for index in range(5)])
    assert log_of(tmp_path)[-1]["val_gap"] == pytest.approx(abs(made - real) / 127.5, abs=2e-5)


def test_pairs_cannot_be_compared_without_them(repository, tmp_path, capsys):
    config = str(repository / "configs/tiny/gan.yaml")
    assert train(config, tmp_path, "validation.metrics=[psnr]", "validation.best=psnr") == 2
    assert "psnr: compares pairs of images, and this pipeline makes images from noise" in capsys.readouterr().err


def test_sets_and_pairs_may_be_measured_together(repository, tmp_path):
    both = "validation.metrics=[gap, l1]"
    assert train(str(repository / "configs/tiny/pix2pix.yaml"), tmp_path, both, "data.length=5", "data.size=32") == 0
    entry = log_of(tmp_path)[-1]
    assert entry["val_gap"] <= 2 * entry["val_l1"] + 1e-6, "a mean difference is no more than the mean of differences"

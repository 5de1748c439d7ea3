"""Tiny models and images for tests of translation."""

from pathlib import Path

import numpy as np
from PIL import Image

from i2i.inference.bundle.bundle import save_bundle
from i2i.run.experiment import Experiment

REPOSITORY = Path(__file__).resolve().parents[1]


def make_bundle(path, config="cyclegan", *overrides):
    """Writes the bundle of an untrained tiny model."""
    narrow = ["generator.base_channels=4", "generator.num_blocks=1"] if config == "cyclegan" else []
    experiment = Experiment.load(REPOSITORY / f"configs/tiny/{config}.yaml", [*narrow, *overrides])
    pipeline = experiment.build_pipeline()
    save_bundle(path, experiment.bundle_info(pipeline, 0), pipeline)
    return path


def make_image(path, size=(16, 16), mode="RGB", seed=0, **options):
    """Writes an image of smooth random colours; ``size`` is width and height."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), np.uint8)
    Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC).convert(mode).save(path, **options)
    return path


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image)

"""A run with a cache is the same run."""

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file

from i2i.run.experiment import Experiment
from i2i.run.start import train


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    root = tmp_path_factory.mktemp("photographs")
    rng = np.random.default_rng(2)
    for number in range(6):
        for side in ("trainA", "trainB"):
            (root / side).mkdir(exist_ok=True)
            Image.fromarray(rng.integers(0, 256, (48, 40, 3), dtype=np.uint8)).save(root / side / f"{number}.jpg")
    return root


def run(root, out, *overrides):
    lines = []
    keys = ["data.type=unpaired", f"data.root={root}", "data.load_size=20", "data.crop_size=16"]
    config = {
        "name": "cached",
        "pipeline": {"type": "cyclegan"},
        "generator": {"type": "resnet", "num_blocks": 1, "base_channels": 2},
        "discriminator": {"type": "patchgan", "num_layers": 1, "base_channels": 2},
        "losses": {"adversarial": {"type": "lsgan"}, "cycle": {"type": "l1", "weight": 10}},
        "data": {"type": "unpaired", "root": str(root)},
        "trainer": {"steps": 12, "device": "cpu", "precision": "fp32"},
    }
    code, folder = train(Experiment.load(config, [*keys, *overrides]), out, report=lines.append)
    assert code == 0
    return load_file(folder / "model.safetensors"), [line for line in lines if "cache" in line or "draft" in line]


def test_weights_are_the_same_with_and_without(photographs, tmp_path):
    expected, told = run(photographs, tmp_path / "off", "data.cache=off")
    assert told == ["cache: off"]
    for name, override in {"all": "data.cache=1", "some": "data.cache=6e-6", "auto": "data.workers=1"}.items():
        weights, told = run(photographs, tmp_path / name, override)
        assert len(told) == 1 and told[0].startswith("cache: 5 of 12" if name == "some" else "cache: 12 images, ")
        assert weights.keys() == expected.keys()
        assert all((weights[key] == value).all() for key, value in expected.items())


def test_draft_is_used_or_said_to_be_of_no_use(photographs, tmp_path):
    expected, _ = run(photographs, tmp_path / "whole")
    weights, told = run(photographs, tmp_path / "draft", "data.draft=true")
    assert told[0].startswith("cache: ")
    assert any((weights[key] != value).any() for key, value in expected.items()), "other pixels make other weights"
    _, told = run(photographs, tmp_path / "crop", "data.draft=true", "data.transforms=crop_flip")
    assert told[0] == "draft: off, it needs a data set of files and a preset that begins with a resize"

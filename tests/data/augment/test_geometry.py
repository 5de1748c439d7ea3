"""Presets do without the library, and give what it gives, bit for bit."""

import random

import numpy as np
import pytest

from i2i.data.augment.augmentation import build_compose
from i2i.data.augment.transforms import PRESETS, Transforms, preset
from i2i.images.files import unit_float

RNG = np.random.default_rng(3)


def by_library(nodes, targets, images, seed):
    """What albumentations makes of the list that a preset stands for, as its documentation says to call it."""
    if not nodes:
        return {name: unit_float(image) if image.dtype == np.uint16 else image for name, image in images.items()}
    compose = build_compose(nodes, {name: target for name, target in targets.items() if name != "a"}, ())
    inputs = {name: unit_float(image) if image.dtype == np.uint16 else image for name, image in images.items()}
    drawn = int(np.random.default_rng(seed).integers(2**63))
    compose.set_random_state(np.random.default_rng(drawn), random.Random(drawn))
    outputs = compose(image=inputs["a"], **{name: image for name, image in inputs.items() if name != "a"})
    outputs["a"] = outputs.pop("image")
    return {name: outputs[name] if outputs[name].dtype == np.uint8 else np.clip(outputs[name], 0, 1) for name in images}


def assert_equal(transforms, nodes, targets, images, seeds):
    for seed in seeds:
        expected = by_library(nodes, targets, images, seed)
        found = transforms(images, np.random.default_rng(seed), "x.png")
        assert found.keys() == expected.keys()
        for name, image in expected.items():
            assert found[name].dtype == image.dtype
            np.testing.assert_array_equal(found[name], image)


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("size", [(60, 80), (40, 40), (30, 90), (90, 33), (32, 32)])
def test_presets_give_what_the_library_gives(name, size):
    if "crop" in name and "resize" not in name and min(size) < 32:
        size = (35, 90)
    images = {"a": RNG.integers(0, 256, (*size, 3), dtype=np.uint8)}
    assert_equal(Transforms(name, 40, 32, {"a": "image"}), preset(name, 40, 32), {"a": "image"}, images, range(8))


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5, 6, 9])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("size", [(60, 80), (20, 30)])
def test_channels_and_types(channels, dtype, size):
    image = RNG.random((*size, channels))
    image = image.astype(dtype) if dtype == np.float32 else (image * np.iinfo(dtype).max).astype(dtype)
    transforms = Transforms("resize_crop_flip", (40, 44), (32, 24), {"a": "image"})
    nodes = preset("resize_crop_flip", (40, 44), (32, 24))
    assert_equal(transforms, nodes, {"a": "image"}, {"a": image}, range(4))


@pytest.mark.parametrize("size", [(60, 80), (20, 30), (60, 20)])
def test_labels_beside_an_image(size):
    targets = {"a": "image", "b": "mask"}
    images = {
        "a": RNG.integers(0, 256, (*size, 3), dtype=np.uint8),
        "b": RNG.integers(0, 30, (*size, 1), dtype=np.uint8),
    }
    nodes = preset("resize_crop_flip", 40, 32)
    assert_equal(Transforms("resize_crop_flip", 40, 32, targets), nodes, targets, images, range(8))


def test_chance_is_the_librarys_over_many_draws():
    images = {"a": np.arange(9 * 11 * 3, dtype=np.uint16).astype(np.uint8).reshape(9, 11, 3)}
    assert_equal(Transforms("crop_flip", None, 4, {"a": "image"}), preset("crop_flip", None, 4), {}, images, range(300))


def test_what_is_prepared_is_not_changed_by_what_follows(monkeypatch):
    class InPlace:
        """A transform of the kind that works in the memory it is given."""

        def set_random_state(self, *_):
            pass

        def __call__(self, image):
            image[:] = 0
            return {"image": image}

    monkeypatch.setattr(Transforms, "_compose", lambda self: InPlace())
    kept = np.ones((6, 6, 3), np.uint8)
    kept.flags.writeable = False
    transforms = Transforms([{"type": "CoarseDropout"}], None, None, {"a": "image"})
    assert not transforms.finish({"a": transforms.prepare("a", kept, "x")}, RNG, "x")["a"].any()
    assert kept.all()


def test_presets_never_import_the_library():
    import subprocess
    import sys

    code = (
        "import sys, numpy as np; from i2i.data.augment.transforms import Transforms;"
        "Transforms('resize_crop_flip', 8, 4, {'a': 'image'})"
        "({'a': np.zeros((9, 9, 3), np.uint8)}, np.random.default_rng(0), '');"
        "sys.exit('albumentations' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

"""A model as a function of images."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from PIL import Image

from i2i.core.errors import DataError, I2IError
from i2i.inference.translator import Translator
from i2i.training.precision import Precision
from tests.bundles import make_bundle, make_image


@pytest.fixture(scope="module")
def translator(tmp_path_factory):
    return Translator.load(make_bundle(tmp_path_factory.mktemp("model") / "m.safetensors"), device="cpu")


@pytest.fixture(scope="module")
def noisy(tmp_path_factory):
    """With batch normalisation by the image's own statistics, and with dropout as noise."""
    deep = ("generator.num_downsamplings=6", "data.size=64")  # a shallower one has no dropout
    bundle = make_bundle(tmp_path_factory.mktemp("model") / "m.safetensors", "pix2pix", *deep)
    return Translator.load(bundle, device="cpu")


@pytest.fixture(scope="module")
def photo():
    return np.random.default_rng(0).integers(0, 256, (21, 34, 3), np.uint8)


def test_files_arrays_and_pillow_images_give_the_same(translator, photo, tmp_path):
    Image.fromarray(photo).save(tmp_path / "photo.png")
    expected = translator(photo)
    assert expected.shape == photo.shape and expected.dtype == np.uint8
    opaque = Image.fromarray(photo).convert("RGBA")
    for image in (tmp_path / "photo.png", str(tmp_path / "photo.png"), Image.fromarray(photo), opaque):
        np.testing.assert_array_equal(translator(image), expected)


def test_gray_becomes_rgb_and_16_bit_stays_deep(translator, photo, tmp_path):
    gray = photo[..., 0]
    expected = translator(np.repeat(gray[..., None], 3, axis=2))
    for image in (gray, gray[..., None], Image.fromarray(gray), gray.astype(np.uint16) * 257):
        np.testing.assert_array_equal(translator(image), expected)
    bits = Image.fromarray(gray > 100)
    np.testing.assert_array_equal(translator(bits), translator((gray > 100).astype(np.uint8) * 255))
    palette = make_image(tmp_path / "palette.png", mode="P")
    with Image.open(palette) as image:
        np.testing.assert_array_equal(translator(image), translator(palette))


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (Image.new("RGBA", (4, 4)), "the image has transparent pixels, 3 channels are needed"),
        (np.zeros((4, 4, 3), np.float32), "the image holds float32 values, of which black and white are not known"),
        (Image.new("F", (4, 4)), "the image holds float32 values, of which black and white are not known"),
        (np.zeros((4, 4, 5), np.uint8), "the image has 5 channels, 3 are needed"),
        (np.zeros(4, np.uint8), "the image is an array of shape [4] of uint8"),
        ("nowhere.png", "nowhere.png: no such file"),
    ],
)
def test_what_does_not_fit_is_refused(translator, image, message):
    with pytest.raises(DataError) as caught:
        translator(image)
    assert caught.value.message.startswith(message)


def test_directions(translator, noisy, photo):
    assert (translator(photo, "a2b") != translator(photo, "b2a")).any()
    np.testing.assert_array_equal(translator(photo), translator(photo, "a2b"))
    with pytest.raises(I2IError, match="this model translates a2b only, not b2a"):
        noisy(photo, "b2a")
    with pytest.raises(I2IError, match="this model translates a2b and b2a only, not up"):
        translator(photo, "up")


@pytest.mark.parametrize("size", [(1, 1), (5, 9), (32, 32), (37, 53)])
def test_a_batch_gives_what_its_images_give_alone(translator, noisy, size):
    images = list(np.random.default_rng(1).integers(0, 256, (3, *size, 3), np.uint8))
    for model in (translator, noisy):
        alone = [model.batch([image])[0] for image in images]
        np.testing.assert_array_equal(model.batch(images), np.stack(alone))
        np.testing.assert_array_equal(model.batch(images[::-1]), np.stack(alone[::-1]))


def test_on_a_cpu_images_pass_alone_since_convolutions_round_by_batch(translator, photo, monkeypatch):
    seen = []
    translate = translator.pipeline.translate
    monkeypatch.setattr(translator.pipeline, "translate", lambda x, *rest: seen.append(len(x)) or translate(x, *rest))
    translator.batch([photo] * 3)
    assert seen == [1, 1, 1]


def test_noise_is_the_images_own_and_leaves_the_process_alone(noisy, photo):
    torch.manual_seed(3)
    before = torch.get_rng_state()
    first = noisy(photo)
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(4)
    np.testing.assert_array_equal(noisy(photo), first)
    noisy.info.seed += 1
    assert (noisy(photo) != first).any()


def test_translators_that_work_at_the_same_time_do_not_share_their_noise(noisy, photo, monkeypatch):
    expected = noisy(photo)
    other = Translator(noisy.info, noisy.pipeline, "cpu")
    translate, is_seeded, is_done = noisy.pipeline.translate, threading.Event(), threading.Event()

    def amid(x, *rest):
        if threading.current_thread() is threading.main_thread():
            pool.submit(other, 255 - photo)
            is_seeded.wait(0.3)
        else:
            is_seeded.set()
            is_done.wait(5)
        return translate(x, *rest)

    monkeypatch.setattr(noisy.pipeline, "translate", amid)
    with ThreadPoolExecutor(1) as pool:
        found = noisy(photo)
        is_done.set()
    np.testing.assert_array_equal(found, expected)


def test_a_single_colour_is_translated_exactly(tmp_path):
    """Its rounding errors are all that an instance norm could make larger, and does, by 300 a layer."""
    overrides = "generator.base_channels=32", "generator.num_blocks=1"
    wide = Translator.load(make_bundle(tmp_path / "m.safetensors", "cyclegan", *overrides), device="cpu")
    flat = np.full((96, 96, 3), (9, 99, 200), np.uint8)
    other = np.random.default_rng(0).integers(0, 256, flat.shape, np.uint8)
    fast = Precision("winograd", wide.device)
    exact, found = (list(wide.outputs([flat, other, flat], "a2b", own)) for own in (None, fast))
    assert torch.equal(found[0], exact[0]) and torch.equal(found[2], exact[2])
    assert not torch.equal(found[1], exact[1])

"""Label maps as inputs and as outputs of the command."""

import numpy as np
import pytest
import torch
from PIL import Image

from i2i.core.errors import DataError
from i2i.data.finding.classes import SCHEMES
from i2i.images.codecs import LabelCodec
from i2i.images.files import save_image
from i2i.inference.translator import Translator
from tests.bundles import make_bundle, make_image, pixels
from tests.cli.translating import refusals, translate, tree

DATA = "data={type: labels, root: camvid, load_size: 32, crop_size: 32}"
CAMVID = LabelCodec(SCHEMES["camvid"])
IDS = np.random.default_rng(0).integers(0, 12, (21, 34, 1)).astype(np.uint8)


@pytest.fixture(scope="module")
def to_photo(tmp_path_factory):
    return make_bundle(tmp_path_factory.mktemp("model") / "to_photo.safetensors", "pix2pix", DATA)


@pytest.fixture(scope="module")
def to_labels(tmp_path_factory):
    return make_bundle(tmp_path_factory.mktemp("model") / "m.safetensors", "pix2pix", DATA, "data.direction=b2a")


def test_every_way_to_write_a_label_map_gives_the_same_photograph(to_photo, tmp_path):
    (tmp_path / "in").mkdir()
    save_image(tmp_path / "in/gray.png", IDS)
    save_image(tmp_path / "in/palette.png", IDS, palette=CAMVID.palette)
    save_image(tmp_path / "in/colour.png", CAMVID.palette[IDS[..., 0]])
    np.save(tmp_path / "in/array.npy", IDS[..., 0].astype(np.int64))
    assert translate(to_photo, tmp_path / "in", tmp_path / "out") == 0
    assert tree(tmp_path / "out") == {"gray.png", "palette.png", "colour.png", "array.png"}
    translator = Translator.load(to_photo, device="cpu")
    expected = translator(IDS)
    assert expected.shape == (21, 34, 3) and expected.dtype == np.uint8 and expected.std() > 1
    for name in tree(tmp_path / "out"):
        np.testing.assert_array_equal(pixels(tmp_path / "out" / name), expected)
    with Image.open(tmp_path / "in/palette.png") as image:
        np.testing.assert_array_equal(translator(image), expected)
    np.testing.assert_array_equal(translator(IDS[..., 0].astype(np.int32)), expected)
    with pytest.raises(DataError, match="the image holds ids that are no class: 99"):
        translator(np.full((8, 8), 99, np.uint8))


def test_networks_see_the_label_map_one_hot_with_whole_classes_beyond_the_edge(to_photo, monkeypatch):
    translator = Translator.load(to_photo, device="cpu")
    seen = []
    network = translator.pipeline.members["G"]
    network.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    translator(IDS)
    (x,) = seen
    assert x.shape == (1, 12, 32, 64)  # a multiple of the stride
    assert ((x == 0) | (x == 1)).all() and (x.sum(1) == 1).all()
    np.testing.assert_array_equal(x[0, :, :21, :34].argmax(0), IDS[..., 0])


def test_a_batch_gives_what_its_label_maps_give_alone(tmp_path):
    data = f"{DATA[:-1]}, paired: false}}"
    model = make_bundle(tmp_path / "m.safetensors", "cyclegan", data, "losses.identity.weight=0")
    translator = Translator.load(model, device="cpu")
    maps = list(np.random.default_rng(1).integers(0, 12, (3, 24, 32, 1)).astype(np.uint8))
    photos = np.concatenate([translator.batch([one]) for one in maps])
    assert photos.shape == (3, 24, 32, 3)
    ids = translator.batch(list(photos), "b2a")
    assert ids.shape == (3, 24, 32, 1)
    translator._alone = False  # as on a GPU
    assert np.abs(translator.batch(maps).astype(int) - photos).max() <= 1
    assert (translator.batch(list(photos), "b2a") == ids).mean() > 0.99


def test_what_is_no_label_map_is_refused_by_name(to_photo, tmp_path):
    make_image(tmp_path / "in/photo.png", (16, 16))
    save_image(tmp_path / "in/unknown.png", np.full((8, 8, 1), 12, np.uint8))
    assert translate(to_photo, tmp_path / "in", tmp_path / "out") == 1
    reasons = refusals(tmp_path / "out")
    assert "pixels have colours of no class" in reasons["photo.png"]
    assert reasons["unknown.png"] == "holds ids that are no class: 12 (64 pixels)"


@pytest.mark.parametrize("suffix", ["png", "tiff", "bmp", "npy"])
def test_photographs_become_class_ids(to_labels, suffix, tmp_path):
    photo = make_image(tmp_path / "in/photo.jpg", (34, 21))
    arguments = [] if suffix == "png" else ["--format", suffix]
    assert translate(to_labels, tmp_path / "in", tmp_path / "out", *arguments) == 0
    path = tmp_path / f"out/photo.{suffix}"
    expected = Translator.load(to_labels, device="cpu")(photo)
    assert expected.shape == (21, 34, 1) and expected.dtype == np.uint8 and expected.max() < 12
    np.testing.assert_array_equal(CAMVID.load(path)[0], expected)
    if suffix != "npy":
        with Image.open(path) as image:
            assert image.mode == "P"
            np.testing.assert_array_equal(np.asarray(image), expected[..., 0])
            np.testing.assert_array_equal(np.asarray(image.convert("RGB")), CAMVID.palette[expected[..., 0]])


def test_class_ids_are_those_of_the_networks_highest_channel(to_labels, tmp_path):
    photo = make_image(tmp_path / "photo.png", (32, 32))
    translator = Translator.load(to_labels, device="cpu")
    found = []
    translator.pipeline.members["G"].register_forward_hook(lambda module, inputs, output: found.append(output))
    ids = translator(photo)
    assert torch.equal(found[0].argmax(1)[0], torch.from_numpy(ids[..., 0].astype(np.int64)))


def test_lossy_formats_are_refused_before_anything_is_made(to_labels, tmp_path, capsys):
    make_image(tmp_path / "in/photo.png", (16, 16))
    assert translate(to_labels, tmp_path / "in", tmp_path / "out", "--format", "jpg") == 2
    assert capsys.readouterr().err == (
        f"OUTPUT {tmp_path}/out: jpg does not hold what this model makes: label maps, whose class ids no lossy format "
        "keeps\n    formats that do: png, tiff, tif, bmp, npy\n"
    )
    assert not (tmp_path / "out").exists()


def test_the_labels_half_of_a_published_file(tmp_path):
    overrides = ["data={type: labels, root: cityscapes, colours: nearest, load_size: 32, crop_size: 32}"]
    model = make_bundle(tmp_path / "m.safetensors", "pix2pix", *overrides)
    classes = LabelCodec(SCHEMES["cityscapes"], colours="nearest")
    ids = np.kron(np.array([[7, 11], [23, 26]]), np.ones((16, 16), int)).astype(np.uint8)
    photo = np.random.default_rng(0).integers(0, 256, (32, 32, 3)).astype(np.uint8)
    (tmp_path / "in").mkdir()
    both = Image.fromarray(np.hstack([photo, classes.palette[ids]]))
    both.save(tmp_path / "in/1.jpg", quality=95, subsampling=0)
    save_image(tmp_path / "ids.png", ids[..., None])
    assert translate(model, tmp_path / "in", tmp_path / "out", "--half", "right") == 0
    assert translate(model, tmp_path / "ids.png", tmp_path / "expected.png") == 0
    difference = pixels(tmp_path / "out/1.png").astype(int) - pixels(tmp_path / "expected.png")
    assert np.abs(difference).mean() < 2

"""Images whose header claims too much are refused before they are decoded, wherever images are read."""

import numpy as np
import pytest
import tifffile

from i2i.cli import main
from i2i.cli.parts.pixels import _pixels
from i2i.core.errors import DataError
from i2i.inference.translator import Translator
from tests.bundles import make_bundle, make_image
from tests.cli.translating import refusals, translate, tree


@pytest.mark.parametrize(
    ("text", "number"), [("200M", 200_000_000), ("1.5g", 1_500_000_000), ("64k", 64_000), ("12", 12), ("1e6", 10**6)]
)
def test_numbers(text, number):
    assert _pixels(text) == number


@pytest.mark.parametrize("text", ["", "M", "0", "-5", "12Q", "nan", "inf"])
def test_no_numbers(text, tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        main("translate", ["m", "in", "out", f"--max-pixels={text}"])
    assert stopped.value.code == 2
    assert f"expected a number of pixels such as 200M, got {text!r}" in capsys.readouterr().err


def test_translate_refuses_pictures_and_arrays(tmp_path):
    data = f"data={{type: unpaired, root: {tmp_path}, channels: 1}}"
    model = make_bundle(tmp_path / "gray.safetensors", "cyclegan", data)
    for name, size in (("small", (16, 16)), ("large", (20, 16))):
        make_image(tmp_path / f"in/{name}.png", size, "L")
        np.save(tmp_path / f"in/{name}-array.npy", np.zeros(size[::-1], np.uint8))
        tifffile.imwrite(tmp_path / f"in/{name}-scan.tif", np.zeros(size[::-1], np.uint8))
    assert translate(model, tmp_path / "in", tmp_path / "out", "--max-pixels", "300") == 1
    reason = "20 x 16 pixels are more than the 300 that are allowed"
    assert refusals(tmp_path / "out") == dict.fromkeys(("large.png", "large-array.npy", "large-scan.tif"), reason)
    assert len(tree(tmp_path / "out")) == 3


def test_from_python(tmp_path):
    model = make_bundle(tmp_path / "m.safetensors")
    photo = make_image(tmp_path / "photo.png", (20, 16))
    assert Translator.load(model, max_pixels=320)(photo).shape == (16, 20, 3)
    with pytest.raises(DataError, match=r"photo\.png: 20 x 16 pixels are more than the 319 that are allowed"):
        Translator.load(model, max_pixels=319)(photo)


def test_labels_and_halves(tmp_path):
    data = f"data={{type: labels, root: {tmp_path}, classes: 3}}"
    model = make_bundle(tmp_path / "labels.safetensors", "pix2pix", data)
    np.save(tmp_path / "ids.npy", np.zeros((16, 20), np.uint8))
    make_image(tmp_path / "wide.png", (20, 16))
    translator = Translator.load(model, max_pixels=319)
    with pytest.raises(DataError, match="more than the 319"):
        translator(tmp_path / "ids.npy")
    with pytest.raises(DataError, match="more than the 319"):
        translator.codecs("a2b")[0].load(tmp_path / "wide.png", "left")

"""The demos of the domains with labels; that of the animals is run by the tests of the README."""

import json

import numpy as np
import pytest

from i2i.cli import main
from i2i.cli.demo import DEMOS
from i2i.data.drawn.dataset import Synthetic
from i2i.images.files import load_image
from i2i.run.demo.judges import JUDGES, judge_maps
from tests.conftest import REPOSITORY

TINY = [
    "trainer.steps=2",
    "generator.base_channels=4",
    "discriminator.base_channels=4",
    "data.length=8",
    "data.size=32",
]


def test_each_demo_has_a_config_and_a_judge():
    assert set(DEMOS) == set(JUDGES) == {"animals", "maps", "streets"}
    for name, demo in DEMOS.items():
        assert f"domain: {name}" in (REPOSITORY / "configs" / f"{demo.config}.yaml").read_text()


@pytest.mark.parametrize("name", ["maps", pytest.param("streets", marks=pytest.mark.slow)])
def test_a_demo_ends_with_pictures_and_figures(name, tmp_path, capsys):
    code = main("demo", [name, *TINY, "--out", str(tmp_path / "run")])
    output = capsys.readouterr().out
    assert code == 0, output
    assert len(list((tmp_path / "run/translated/a2b").glob("*.png"))) == 64
    assert load_image(tmp_path / "run/before_after.png")[0].shape[1] > 3 * 128  # source, translation, truth
    assert str(tmp_path / "run/before_after.png") in output
    figures = json.loads((tmp_path / "run/judgement.json").read_text())
    assert 0 <= figures["pixel_accuracy"] < 1 and 0 < figures["l1"] < 1
    assert f"{figures['pixel_accuracy']:.1%}" in output


def test_an_unknown_demo_is_named_with_a_hint(capsys):
    assert main("demo", ["map"]) == 2
    error = capsys.readouterr().err
    assert "'map'" in error and "did you mean 'maps'" in error and "animals, maps, streets" in error


def test_the_judge_of_maps_tells_the_truth_from_a_guess():
    dataset = Synthetic("maps", 32, 4, "test", paired=True)
    truth = [dataset.draw(index)[0][1] for index in range(4)]
    figures, text = judge_maps(dataset, {"a2b": [scene.image for scene in truth]})
    assert figures["pixel_accuracy"] == 1 and figures["mean_iou"] == 1 and figures["l1"] == 0
    assert "100.0%" in text

    land = [np.full_like(scene.image, dataset.classes[0].colour) for scene in truth]
    share = np.mean([(scene.ids == 0).mean() for scene in truth])
    figures, _ = judge_maps(dataset, {"a2b": land})
    assert figures["pixel_accuracy"] == pytest.approx(share)
    present = len({number for scene in truth for number in np.unique(scene.ids)})
    assert figures["mean_iou"] == pytest.approx(share / present)  # of land its share, of the others nothing

    darker = [(scene.image.astype(int) - 10).clip(0).astype(np.uint8) for scene in truth]
    figures, _ = judge_maps(dataset, {"a2b": darker})
    assert figures["l1"] == pytest.approx(10 / 255) and figures["psnr"] == pytest.approx(20 * np.log10(25.5))
    assert figures["pixel_accuracy"] > 0.95


@pytest.mark.slow
def test_the_judge_of_streets_tells_the_truth_from_wrong_labels():
    dataset = Synthetic("streets", 64, 12, "test", paired=True)
    truth = [dataset.draw(index)[0][1].image for index in range(12)]
    figures, _ = JUDGES["streets"](dataset, {"a2b": truth})
    assert figures["pixel_accuracy"] == figures["true_pixel_accuracy"] > 0.88
    others, _ = JUDGES["streets"](dataset, {"a2b": truth[-1:] + truth[:-1]})
    assert others["pixel_accuracy"] == figures["wrong_pixel_accuracy"] < 0.8
    assert others["true_pixel_accuracy"] == figures["true_pixel_accuracy"]

"""Every shipped YAML is a good one; the tiny ones train."""

import pytest

from i2i.cli import main
from i2i.core.registry import PIPELINES
from i2i.run.experiment import Experiment
from tests.conftest import REPOSITORY

CONFIGS = sorted((REPOSITORY / "configs").rglob("*.yaml"))
TINY = [path for path in CONFIGS if path.parent.name == "tiny"]


def some(paths):
    """Leaves to the quick suite the tiny config of each pipeline."""
    return [path if path in TINY and path.stem in PIPELINES.names() else pytest.param(path, marks=pytest.mark.slow)
            for path in paths]  # fmt: skip


def test_configs_were_found_in_each_folder():
    folders = {path.parent for path in CONFIGS}
    assert folders == {REPOSITORY / "configs", REPOSITORY / "configs/tiny"}
    assert {"cyclegan", "pix2pix"} <= {path.stem for path in TINY}
    published = {"cyclegan_horse2zebra", "cyclegan_maps", "pix2pix_maps", "pix2pix_facades", "cyclegan_animals"}
    assert published <= {path.stem for path in CONFIGS}


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_it_is_sound(path):
    assert Experiment.load(path).name


@pytest.mark.parametrize("path", some(CONFIGS), ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_it_is_checked_and_planned_without_data(path, capsys):
    assert main("train", [str(path), "--dry-run", "--no-measure"]) == 0
    plan = capsys.readouterr().out
    assert "parameters" in plan and "?" not in plan


@pytest.mark.parametrize("path", some(TINY), ids=lambda path: path.stem)
def test_tiny_ones_train(path, tmp_path):
    assert main("train", [str(path), "--out", str(tmp_path / "run")]) == 0
    assert (tmp_path / "run/model.safetensors").exists()


def test_the_published_recipe_is_the_papers(capsys):
    """Zhu et al. 2017, section 4 and appendix: ResNet-9, 70x70 PatchGAN, LSGAN, lambda 10, Adam, 100 + 100 epochs."""
    experiment = Experiment.load(REPOSITORY / "configs/cyclegan_horse2zebra.yaml")
    main("train", [str(REPOSITORY / "configs/cyclegan_horse2zebra.yaml"), "--dry-run", "--no-measure"])
    plan = capsys.readouterr().out
    assert "11,378,179" in plan  # as the reference prints: 11.378 M
    assert "2,764,737" in plan  # 2.765 M
    assert "70 px" in plan
    assert "1x3x256x256" in plan and "1x1x30x30" in plan
    assert (experiment.schedule.constant, experiment.schedule.decay) == (100, 100)
    assert experiment.pipeline_node.plain() == {"type": "cyclegan", "pool_size": 50}


def test_pix2pix_facades_translates_labels_to_photographs():
    experiment = Experiment.load(REPOSITORY / "configs/pix2pix_facades.yaml")
    assert experiment.directions == {"b2a": "a2b"}
    assert experiment.network_plans["G"].arguments["num_downsamplings"] == 8
    assert experiment.network_plans["D"].arguments["in_channels"] == 6

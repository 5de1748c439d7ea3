"""Networks that were trained before: as a start, as a part that stays, for all of a pipeline."""

import pytest
import torch

from i2i.cli import main
from i2i.core.config.document import load_config
from i2i.inference.bundle.bundle import load_bundle, read_state
from i2i.run.experiment import Experiment
from i2i.training.checkpoints import load
from i2i.training.state_files import write_state
from tests.bundles import make_bundle
from tests.run.test_run import TINY, UNET, state_of, train


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return make_bundle(tmp_path_factory.mktemp("trained") / "model.safetensors", "cyclegan", "trainer.seed=5")


def test_all_networks_start_from_a_bundle(repository, tmp_path, trained, capsys):
    assert train(repository, tmp_path, "trainer.steps=1", f"init_from={trained}", "optimizer.lr=0") == 0
    state = state_of(tmp_path, 1)["networks"]
    for letter in "GF":
        for name, value in read_state(trained, letter).items():
            assert torch.equal(state[f"{letter}.{name}"], value)
    assert "G, F; new: D_X, D_Y" in capsys.readouterr().out


def test_a_run_folder_will_do_and_the_resolved_path_is_absolute(repository, tmp_path, monkeypatch):
    assert train(repository, tmp_path / "first", "trainer.steps=1") == 0
    monkeypatch.chdir(tmp_path)
    assert train(repository, tmp_path / "second", "trainer.steps=1", "init_from=first") == 0
    resolved = load_config(tmp_path / "second/config.yaml").plain()["init_from"]
    assert resolved == str(tmp_path / "first")
    assert train(repository, tmp_path / "second", "trainer.steps=2", "init_from=first", "--resume", "auto") == 0


def test_a_trained_generator_that_stays(repository, tmp_path, trained, capsys):
    node = f"generator={{bundle: {trained}, frozen: true}}"
    overrides = [o for o in TINY if not o.startswith("generator")]
    experiment = Experiment.load(repository / "configs/tiny/cyclegan.yaml", [*overrides, node])
    assert {plan.type for letter, plan in experiment.network_plans.items() if letter in "GF"} == {"resnet"}
    assert experiment.network_plans["G"].arguments["num_blocks"] == 1, "the bundle knows its own arguments"
    assert experiment.build_pipeline().frozen == {"G", "F"}


def test_frozen_generators_are_untouched_by_training(repository, tmp_path, trained):
    overrides = [o for o in TINY if not o.startswith("generator")]
    config = str(repository / "configs/tiny/cyclegan.yaml")
    node = f"generator={{bundle: {trained}, frozen: true}}"
    assert main("train", [config, "--out", str(tmp_path), *overrides, node, "trainer.steps=2"]) == 0
    state = state_of(tmp_path, 2)
    for letter in "GF":
        for name, value in read_state(trained, letter).items():
            assert torch.equal(state["networks"][f"{letter}.{name}"], value)
    assert list(state["optimizers"]) == ["discriminator"]
    _, pipeline = load_bundle(tmp_path / "model.safetensors")
    assert torch.equal(pipeline.G.stem.conv.weight, read_state(trained, "G")["stem.conv.weight"])


def test_one_network_alone_may_be_taken_from_another_pipeline(repository, tmp_path):
    """A pix2pix bundle holds G; its weights start the G of another pix2pix, whose config says nothing of its type."""
    source = make_bundle(tmp_path / "source.safetensors", "pix2pix", *[o for o in UNET if "generator" in o])
    overrides = [o for o in UNET if not o.startswith("generator")]
    experiment = Experiment.load(
        repository / "configs/tiny/pix2pix.yaml", [*overrides, f"generator={{bundle: {source}}}"]
    )
    assert torch.equal(experiment.build_pipeline().G.down[0].conv.weight, read_state(source, "G")["down.0.conv.weight"])
    assert not experiment.build_pipeline().frozen


@pytest.mark.parametrize(
    ("override", "place", "message"),
    [
        ("generator={bundle: nowhere.safetensors}", "generator.bundle", "no such run folder or bundle"),
        ("generator={bundle: TRAINED, num_blocks: 2}", "generator.num_blocks", "unknown key beside 'bundle'"),
        ("generator={bundle: TRAINED, frozen: yes}", "generator.frozen", "expected true or false"),
        ("generator.frozen=true", "generator.frozen", "a frozen network needs trained weights"),
        ("discriminator={bundle: TRAINED}", "discriminator.bundle", "holds no discriminator"),
        ("init_from=nowhere", "init_from", "no such run folder or bundle"),
        ("init_from=[1]", "init_from", "expected the path"),
    ],
)
def test_mistakes_are_placed(repository, tmp_path, capsys, trained, override, place, message):
    rest = [o for o in TINY if not o.startswith(("generator", "discriminator"))]
    config = str(repository / "configs/tiny/cyclegan.yaml")
    assert main("train", [config, "--out", str(tmp_path), *rest, override.replace("TRAINED", str(trained))]) == 2
    shown = capsys.readouterr().err
    assert f"<command line> {place}" in shown and message in shown, shown


def test_a_run_goes_on_when_its_start_is_gone(repository, tmp_path, trained):
    from shutil import copy

    start = copy(trained, tmp_path / "start.safetensors")
    assert train(repository, tmp_path / "run", "trainer.steps=1", f"init_from={start}") == 0
    (tmp_path / "start.safetensors").unlink()
    assert train(repository, tmp_path / "run", "trainer.steps=2", "--resume", "auto") == 0


def test_what_init_from_does_not_hold_cannot_be_frozen(repository, tmp_path, capsys, trained):
    arguments = ["trainer.steps=1", f"init_from={trained}", "discriminator.frozen=true"]
    assert train(repository, tmp_path, *arguments) == 2
    assert "discriminator.frozen: a frozen network needs trained weights" in capsys.readouterr().err


def test_something_must_be_left_to_train(repository, tmp_path, capsys, trained):
    node = f"generator={{bundle: {trained}, frozen: true}}"
    rest = [o for o in TINY if not o.startswith(("generator", "discriminator"))]
    config = str(repository / "configs/tiny/cyclegan.yaml")
    assert (
        main(
            "train", [config, "--out", str(tmp_path), *rest, node, f"init_from={trained}", "discriminator.frozen=true"]
        )
        == 2
    )
    assert "nothing to train" in capsys.readouterr().err


def test_a_checkpoint_of_other_networks_changes_nothing(repository, tmp_path, capsys):
    assert train(repository, tmp_path / "run", "trainer.steps=2", "trainer.checkpoint_every=1") == 0
    newest = tmp_path / "run/checkpoints/step_00000002.safetensors"
    state = load(newest)
    del state["networks"]["G.head.weight"]
    write_state(tmp_path / "run/checkpoints/step_00000001.safetensors", state)
    before = (tmp_path / "run/config.yaml").read_bytes()
    more = [
        "trainer.steps=4",
        "trainer.checkpoint_every=1",
        "--resume",
        str(newest.with_name("step_00000001.safetensors")),
    ]
    assert train(repository, tmp_path / "run", *more) == 2
    assert "does not fit the networks" in capsys.readouterr().err
    assert (tmp_path / "run/config.yaml").read_bytes() == before and newest.exists()


def test_weights_of_another_width_are_refused_before_anything_is_written(repository, tmp_path, capsys, trained):
    arguments = ["trainer.steps=1", f"init_from={trained}", "generator.base_channels=8"]
    assert train(repository, tmp_path / "run", *arguments) == 2
    shown = capsys.readouterr().err
    assert "<command line> init_from: the weights of G do not fit" in shown and "there it is resnet" in shown
    assert not (tmp_path / "run").exists()


def test_channels_of_a_bundle_must_be_those_of_the_data(repository, tmp_path, capsys, trained):
    config = tmp_path / "gray.yaml"
    config.write_text(
        f"extends: {repository}/configs/tiny/cyclegan.yaml\ngenerator: {{bundle: {trained}}}\n"
        "data: {type: unpaired, root: nowhere, load_size: 32, crop_size: 32, channels: 1}\n"
    )
    assert main("train", [str(config), "--dry-run"]) == 2
    assert (
        f"{config}:2 generator.bundle: its G does not fit: in_channels: 3, but G has 1 there" in capsys.readouterr().err
    )


def test_a_bundle_in_an_extending_yaml_replaces_the_typed_node(repository, tmp_path, trained):
    config = tmp_path / "mine.yaml"
    text = f"extends: {repository}/configs/tiny/cyclegan.yaml\ngenerator: {{bundle: {trained}}}\n"
    config.write_text(text)
    assert load_config(config).plain()["generator"] == {"bundle": str(trained)}
    config.write_text(f"extends: {tmp_path}/base.yaml\ngenerator: {{type: unet, base_channels: 4}}\n")
    (tmp_path / "base.yaml").write_text(text)
    assert load_config(config).plain()["generator"] == {"type": "unet", "base_channels": 4}

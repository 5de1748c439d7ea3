"""Components inside components: checked, built, described, kept in bundles."""

import json
import math
from collections.abc import Callable
from typing import Annotated

import pytest
import torch
from torch import nn

from i2i.core.config.build import check_and_build, check_arguments, complete_arguments, constructor_arguments, describe
from i2i.core.config.build import parameters_of as parameters
from i2i.core.config.document import node_of, parse
from i2i.core.errors import CheckpointError, ConfigError
from i2i.core.registry import GENERATORS, Nested
from i2i.inference.bundle.bundle import load_bundle, read_info, save_bundle
from i2i.networks.patchgan import PatchGANDiscriminator
from i2i.run.experiment import Experiment
from i2i.testing import check_generator


class Twice(nn.Module):
    """Applies a generator, and a second one to what it made.

    Args:
        in_channels: Of the first.
        out_channels: Of both.
        generator: What is applied.
        second: What is applied then; ``null`` for another like the first.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        generator: Annotated[Callable[..., nn.Module], Nested("generator")],
        second: Annotated[Callable[..., nn.Module] | None, Nested("generator")] = None,
    ) -> None:
        super().__init__()
        self.first = generator(in_channels=in_channels, out_channels=out_channels)
        self.second = (second or generator)(in_channels=out_channels, out_channels=out_channels)
        self.stride = math.lcm(self.first.stride, self.second.stride)
        self.min_size = max(self.first.min_size, self.second.min_size)

    def forward(self, x):
        return self.second(self.first(x))


RESNET = {"type": "resnet", "base_channels": 4, "num_blocks": 1}
UNET = {"type": "unet", "base_channels": 4, "num_downsamplings": 3}


@pytest.fixture
def twice(monkeypatch):
    monkeypatch.setattr(GENERATORS, "_local", {})
    GENERATORS.register("twice", owner="i2i")(Twice)


def experiment_with(generator):
    document = {
        "pipeline": {"type": "pix2pix"},
        "generator": generator,
        "discriminator": {"type": "patchgan", "num_layers": 1, "base_channels": 4},
        "losses": {"adversarial": {"type": "lsgan"}, "reconstruction": {"type": "l1"}},
        "data": {"type": "synthetic", "size": 32, "length": 4, "paired": True},
        "trainer": {"steps": 1},
    }
    return Experiment(parse(json.dumps(document), "test.yaml"))


def test_a_nested_node_becomes_a_function_that_takes_the_channels():
    built = check_and_build(Twice, node_of({"generator": RESNET, "in_channels": 1, "out_channels": 3}))
    first, second = (tuple(next(part.parameters()).shape) for part in (built.first, built.second))
    assert (first[1], second[1]) == (1, 3)
    built = check_and_build(
        Twice, node_of({"generator": RESNET, "second": UNET}), {"in_channels": 3, "out_channels": 3}
    )
    assert type(built.second).__name__ == "UNetGenerator"
    assert check_and_build(Twice, node_of({"generator": RESNET, "second": None}), {"in_channels": 3, "out_channels": 3})


@pytest.mark.parametrize(
    ("generator", "path", "message"),
    [
        ({**RESNET, "num_blocs": 1}, "generator.num_blocs", "unknown key, did you mean 'num_blocks'?"),
        ({"type": "resnett"}, "generator.type", "no generator is named 'resnett', did you mean 'resnet'?"),
        ({"type": "twice", "generator": {"type": "twice"}}, "generator.generator", "needs 'generator'"),
        ({}, "generator", "the generator has no 'type'"),
        (None, "generator", "expected a generator such as {type: NAME}, got null"),
    ],
)
def test_all_problems_have_their_place(twice, generator, path, message):
    node = parse(json.dumps({"generator": generator, "second": 3}), "test.yaml")
    problems = check_arguments(Twice, node, ("in_channels", "out_channels"))
    assert [(".".join(problem.path), problem.message) for problem in problems] == [
        (path, message),
        ("second", "expected a generator such as {type: NAME}, got 3"),
    ]
    assert problems[0].place == "test.yaml:1"


def test_channels_that_contradict_what_is_around_them():
    node = node_of({"generator": {**RESNET, "out_channels": 1}})
    with pytest.raises(ConfigError, match="generator.out_channels: 1, but what is around this generator passes 3"):
        check_and_build(Twice, node, {"in_channels": 3, "out_channels": 3})


def test_complete_arguments_are_plain_and_hold_the_defaults_of_what_is_nested():
    arguments = complete_arguments(Twice, node_of({"generator": RESNET}), {"in_channels": 3, "out_channels": 1})
    assert json.loads(json.dumps(arguments)) == arguments
    assert (arguments["in_channels"], arguments["second"]) == (3, None)
    inner = arguments["generator"]
    assert inner == {**inner, **RESNET, "norm": "instance"}
    assert "in_channels" not in inner
    assert callable(constructor_arguments(Twice, node_of(arguments))["generator"])


def test_its_words():
    annotation = parameters(Twice)["generator"].annotation
    assert describe(annotation) == "a generator, {type: NAME, ...}"


def test_the_contract_check_takes_nested_components():
    check_generator(Twice, generator=RESNET)


def test_a_plan_and_a_bundle_keep_what_is_nested(twice, tmp_path):
    experiment = experiment_with({"type": "twice", "generator": RESNET, "second": UNET})
    pipeline = experiment.build_pipeline()
    path = tmp_path / "model.safetensors"
    save_bundle(path, experiment.bundle_info(pipeline, 1), pipeline)
    arguments = read_info(path).networks["G"]["arguments"]
    assert arguments["second"]["num_downsamplings"] == 3
    assert arguments["generator"]["norm"] == "instance"
    _, loaded = load_bundle(path)
    x = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(loaded.G.eval()(x), pipeline.G.eval()(x))


def test_a_bundle_whose_nested_part_is_not_here_says_so(twice, tmp_path):
    experiment = experiment_with({"type": "twice", "generator": RESNET})
    pipeline = experiment.build_pipeline()
    info = experiment.bundle_info(pipeline, 1)
    info.networks["G"]["arguments"]["generator"]["type"] = "of_a_plugin"
    save_bundle(tmp_path / "model.safetensors", info, pipeline)
    with pytest.raises(CheckpointError, match="no generator is named 'of_a_plugin'"):
        load_bundle(tmp_path / "model.safetensors")


def test_a_range_inside_is_placed_where_it_stands():
    node = parse("type: multiscale\ndiscriminator:\n  type: patchgan\n  base_channels: 0\n", "test.yaml")
    from i2i.networks.multiscale import MultiScaleDiscriminator

    message = r"^test.yaml:4 discriminator.base_channels: base_channels must be at least 1, got 0$"
    with pytest.raises(ConfigError, match=message):
        check_and_build(MultiScaleDiscriminator, node, {"in_channels": 3})


def test_from_python_any_function_will_do():
    from i2i.networks.multiscale import MultiScaleDiscriminator

    D = MultiScaleDiscriminator(3, num_scales=2, discriminator=lambda in_channels: nn.Conv2d(in_channels, 1, 1))
    assert isinstance(D.scales[1], nn.Conv2d)
    assert isinstance(MultiScaleDiscriminator(3, num_scales=1).scales[0], PatchGANDiscriminator)

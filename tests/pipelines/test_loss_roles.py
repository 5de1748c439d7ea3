"""The optional roles of losses, by hand; several losses in one role; losses that need a backbone."""

import itertools

import pytest
import timm
import torch
from safetensors.torch import save_file

from i2i.core.config.document import node_of
from i2i.core.errors import ConfigError
from i2i.core.registry import PIPELINES
from i2i.losses.perceptual import Perceptual, Style
from i2i.networks.pretrained import backbones
from i2i.run.experiment import Experiment
from tests.pipelines import test_pipelines
from tests.pipelines.test_pipelines import batch_of, experiment_of, now_of

BACKBONE = {"backbone": "test_resnet", "weights": "random"}
REQUIRED = {"pix2pix": {"reconstruction": {"type": "l1"}}, "cyclegan": {"cycle": {"type": "l1"}}}


def losses_of(pipeline, phase, batch):
    shared = pipeline(now_of(batch))
    return shared, test_pipelines.losses_of(pipeline, phase, batch, shared).losses


def with_roles(name, **roles):
    return experiment_of(name, losses={"adversarial": {"type": "lsgan"}, **REQUIRED[name], **roles})


def test_pix2pix_compares_fake_and_target():
    pipeline = with_roles(
        "pix2pix",
        perceptual={"type": "perceptual", **BACKBONE, "weight": 3},
        style={"type": "style", **BACKBONE, "weight": 1e4},
    ).build_pipeline()
    batch = batch_of()
    shared, losses = losses_of(pipeline, "G", batch)
    expected = {
        "G_perceptual": 3 * Perceptual(**BACKBONE)(shared["fake"], batch["b"]),
        "G_style": 1e4 * Style(**BACKBONE)(shared["fake"], batch["b"]),
    }
    for name, value in expected.items():
        assert losses[name].item() == pytest.approx(value.item(), rel=1e-5)
        assert value > 0


def test_cyclegan_keeps_the_content_of_the_source_and_takes_the_style_of_the_target():
    pipeline = with_roles(
        "cyclegan", perceptual={"type": "perceptual", **BACKBONE}, style={"type": "style", **BACKBONE, "weight": 10}
    ).build_pipeline()
    batch = batch_of()
    shared, losses = losses_of(pipeline, "G", batch)
    content, style = Perceptual(**BACKBONE), Style(**BACKBONE)
    expected = {
        "perceptual_y": content(shared["fake_y"], batch["a"]),
        "perceptual_x": content(shared["fake_x"], batch["b"]),
        "style_y": 10 * style(shared["fake_y"], batch["b"]),
        "style_x": 10 * style(shared["fake_x"], batch["a"]),
    }
    for name, value in expected.items():
        assert losses[name].item() == pytest.approx(value.item(), rel=1e-5)


@pytest.mark.parametrize("num_scales", [1, 2])
def test_feature_matching_by_hand(num_scales):
    judge = {"type": "patchgan", "num_layers": 1, "base_channels": 4}
    discriminator = (
        {"type": "multiscale", "num_scales": num_scales, "discriminator": judge} if num_scales > 1 else judge
    )
    plain = with_roles("pix2pix", feature_matching={"type": "l1", "weight": 10}).root.plain()
    experiment = Experiment(node_of({**plain, "discriminator": discriminator}))
    pipeline = experiment.build_pipeline()
    batch = batch_of()
    shared, losses = losses_of(pipeline, "G", batch)
    scales = pipeline.D.scales if num_scales > 1 else [pipeline.D]
    seen = [[], []]
    for images, found in zip((shared["fake"], batch["b"]), seen, strict=True):
        x = torch.cat([batch["a"], images], 1)
        for scale in scales:
            values = x
            for layer in scale.layers:
                values = layer(values)
                found.append(values)
            x = torch.nn.functional.avg_pool2d(x, 3, 2, 1, count_include_pad=False)
    assert len(seen[0]) == 2 * num_scales
    expected = sum(float((f - r).abs().mean()) for f, r in zip(*seen, strict=True)) / len(seen[0])
    assert losses["G_feature_matching"].item() == pytest.approx(10 * expected, rel=1e-5)

    gradients = torch.autograd.grad(losses["G_feature_matching"], list(pipeline.G.parameters()), allow_unused=True)
    assert any(gradient is not None and gradient.abs().sum() > 0 for gradient in gradients)


ROLES = [
    (name, role, spec)
    for name in PIPELINES.names()
    if name in REQUIRED
    for role, spec in PIPELINES.get(name).losses.items()
]


@pytest.mark.parametrize(("name", "role", "spec"), ROLES, ids=[f"{name}-{role}" for name, role, _ in ROLES])
def test_a_role_may_be_played_by_several_losses(name, role, spec):
    if "adversarial" in spec.families:
        nodes = [{"type": "lsgan", "weight": 0.5}, {"type": "hinge", "weight": 2}]
    else:
        nodes = [{"type": "l1", "weight": 0.5}, {"type": "charbonnier", "weight": 2}]
    batch = batch_of()
    values = []
    for chosen in (nodes, nodes[:1], nodes[1:]):
        pipeline = with_roles(name, **{role: chosen}).build_pipeline()
        values.append({})
        for phase in pipeline.phases:
            values[-1] |= losses_of(pipeline, phase.name, batch)[1]
    both, one, other = values
    moved = [key for key in both if not torch.equal(one[key], other[key])]
    assert moved, f"{role} plays no part"
    for key in moved:
        assert both[key].item() == pytest.approx(one[key].item() + other[key].item(), rel=1e-5)


def test_roles_that_nobody_plays_cost_nothing():
    for name, zero in itertools.product(REQUIRED, (None, {"type": "perceptual", **BACKBONE, "weight": 0})):
        pipeline = with_roles(name, **({"perceptual": zero} if zero else {})).build_pipeline()
        assert set(pipeline.objectives) == {"adversarial", *REQUIRED[name]}
        assert not any("perceptual" in key for key in losses_of(pipeline, "G", batch_of())[1])


def test_weights_are_read_once_and_only_when_the_run_is_built(tmp_path, monkeypatch):
    path = tmp_path / "weights.safetensors"
    save_file(timm.create_model("test_resnet").state_dict(), path)
    read = []
    load = backbones._loaded
    monkeypatch.setattr(backbones, "_loaded", lambda name, source: read.append(source) or load(name, source))
    node = {"backbone": "test_resnet", "weights": str(path)}
    experiment = with_roles("pix2pix", perceptual={"type": "perceptual", **node}, style={"type": "style", **node})
    assert not read
    pipeline = experiment.build_pipeline()
    assert read == [path]
    assert losses_of(pipeline, "G", batch_of())[1]["G_style"] > 0
    assert not [key for key in pipeline.state_dict() if "backbone" in key]


def test_the_resolved_config_names_weights_by_an_absolute_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_file(timm.create_model("test_resnet").state_dict(), "weights.safetensors")
    node = {"type": "style", "backbone": "test_resnet", "weights": "weights.safetensors"}
    losses = with_roles("pix2pix", style=[node, {**node, "weights": "random"}]).resolved()["losses"]
    assert [loss["weights"] for loss in losses["style"]] == [str(tmp_path / "weights.safetensors"), "random"]


def test_domains_a_backbone_cannot_see_are_told_before_training(tmp_path):
    data = {"type": "unpaired", "root": str(tmp_path), "channels": [4, 3], "load_size": 36, "crop_size": 32}
    losses = {
        "adversarial": {"type": "lsgan"},
        "cycle": {"type": "l1"},
        "perceptual": {"type": "perceptual", **BACKBONE},
    }
    with pytest.raises(ConfigError, match="the backbone 'test_resnet' sees gray or RGB images, got 4 channels"):
        experiment_of("cyclegan", data=data, losses=losses)
    data["channels"] = [1, 3]  # gray and RGB are compared
    experiment_of("cyclegan", data=data, losses=losses)

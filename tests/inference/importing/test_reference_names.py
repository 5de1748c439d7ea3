"""Weights of the reference code load by rule and give the reference's outputs."""

import pytest
import torch
from torch import nn

from i2i.core.errors import CheckpointError
from i2i.inference.importing.reference_names import (
    fit_reference,
    load_reference,
    patchgan_layers,
    reference_filters,
    reference_layers,
    rename,
    resnet_layers,
    to_reference,
    unet_layers,
)
from i2i.networks.patchgan import PatchGANDiscriminator
from i2i.networks.resnet import ResNetGenerator
from i2i.networks.unet import UNetGenerator

GOLDEN = [
    "generator_resnet_9blocks_instance",
    "generator_resnet_6blocks_batch",
    "generator_unet_256_instance",
    "generator_unet_128_batch",
    "discriminator_basic_instance",
    "discriminator_n_layers_batch",
    "discriminator_pixel_instance",
]


def build(metadata: dict, dropout: float = 0.0) -> nn.Module:
    """Our network of a golden file's description."""
    architecture, norm = metadata["architecture"], metadata["norm"]
    if architecture.startswith("resnet"):
        num_blocks = int(architecture.removeprefix("resnet_").removesuffix("blocks"))
        options = {"num_blocks": num_blocks, "base_channels": metadata["ngf"], "norm": norm, "dropout": dropout}
        return ResNetGenerator(3, 3, **options)
    if architecture.startswith("unet"):
        levels = {"unet_128": 7, "unet_256": 8}[architecture]
        return UNetGenerator(3, 3, num_downsamplings=levels, base_channels=metadata["ngf"], norm=norm, dropout=dropout)
    num_layers = 0 if architecture == "pixel" else metadata["n_layers"]
    return PatchGANDiscriminator(6, num_layers=num_layers, base_channels=metadata["ndf"], norm=norm)


@pytest.mark.parametrize("name", GOLDEN)
def test_forward_agrees_with_the_reference(golden, name):
    tensors, metadata = golden(name)
    weights = {key.removeprefix("weights."): value for key, value in tensors.items() if key.startswith("weights.")}
    network = build(metadata).eval()
    load_reference(network, weights)
    with torch.no_grad():
        output = network(tensors["input"])
    assert (output - tensors["output"]).abs().max() <= 1e-5 * tensors["output"].abs().max()

    back = to_reference(network)
    assert back.keys() == weights.keys()
    assert all(torch.equal(back[key], value) for key, value in weights.items())


def networks() -> dict[str, nn.Module]:
    torch.manual_seed(0)
    return {
        "resnet": ResNetGenerator(3, 3, num_blocks=2, base_channels=2),
        "resnet batch dropout": ResNetGenerator(3, 3, num_blocks=1, base_channels=2, norm="batch", dropout=0.5),
        "unet": UNetGenerator(3, 3, num_downsamplings=5, base_channels=2, norm="instance"),
        "unet batch": UNetGenerator(3, 3, num_downsamplings=6, base_channels=2),
        "patchgan": PatchGANDiscriminator(3, base_channels=2),
        "patchgan batch": PatchGANDiscriminator(3, base_channels=2, num_layers=4, norm="batch"),
        "cut": ResNetGenerator(3, 3, num_blocks=2, base_channels=2, antialias=True, upsample="bilinear"),
        "cut, blurred down": ResNetGenerator(3, 3, num_blocks=1, base_channels=2, norm="batch", antialias=True),
        "cut, smooth up": ResNetGenerator(3, 3, num_blocks=1, base_channels=2, upsample="bilinear", dropout=0.5),
        "cut patchgan": PatchGANDiscriminator(3, base_channels=2, antialias=True),
        "pixel": PatchGANDiscriminator(3, base_channels=2, num_layers=0, norm="batch"),
    }


@pytest.mark.parametrize("name", networks())
def test_there_and_back(name):
    network = networks()[name]
    weights = to_reference(network)
    assert len([name for name in weights if not name.endswith(".filt")]) == len(network.state_dict())
    for parameter in (other := networks()[name]).parameters():
        nn.init.zeros_(parameter)
    load_reference(other, {f"module.{key}": value for key, value in weights.items()})
    assert all(torch.equal(value, network.state_dict()[key]) for key, value in other.state_dict().items())


def test_names_by_hand():
    assert resnet_layers(9)["model.10.conv_block.1"] == "blocks.0.first.conv"
    assert resnet_layers(9)["model.18.conv_block.6"] == "blocks.8.second.norm"
    assert resnet_layers(9, dropout=True)["model.18.conv_block.6"] == "blocks.8.second.conv"
    assert resnet_layers(9)["model.26"] == resnet_layers(6)["model.23"] == "head"
    assert resnet_layers(9)["model.19"] == resnet_layers(6)["model.16"] == "up.0.conv"
    assert unet_layers(8)["model.model.1.model.3.model.6"] == "up.2.norm"
    assert unet_layers(3)["model.model.1.model.3.model.4"] == "up.2.norm"
    assert patchgan_layers(3)["model.11"] == patchgan_layers(0)["net.5"] == "head"
    # Of CUT: in each block that halves, a blur after the activation; in each that doubles, an enlargement before all.
    cut = resnet_layers(9, antialias=True, bilinear=True)
    assert [cut[f"model.{i}"] for i in (4, 7, 8, 11)] == ["down.0.conv", "down.0.blur", "down.1.conv", "down.1.blur"]
    assert cut["model.12.conv_block.1"] == "blocks.0.first.conv" and cut["model.30"] == "head"
    assert [cut[f"model.{i}"] for i in (21, 22, 25, 26)] == ["up.0.blur", "up.0.conv", "up.1.blur", "up.1.conv"]
    judge = patchgan_layers(3, antialias=True)
    assert [judge[f"model.{i}"] for i in (0, 2, 3, 6, 7)] == [
        *("layers.0.conv", "layers.0.blur", "layers.1.conv", "layers.1.blur", "layers.2.conv")
    ]
    assert judge["model.14"] == "head"
    assert rename("module.model.1.weight", resnet_layers(9)) == "stem.conv.weight"
    assert rename("model.0.weight", resnet_layers(9)) is None


@pytest.mark.parametrize("layers", [resnet_layers(9), resnet_layers(6, 3, True), unet_layers(8), patchgan_layers(4)])
def test_no_two_layers_share_a_name(layers):
    assert len(set(layers.values())) == len(layers)


def test_statistics_of_instance_norms_are_left_out():
    network = networks()["resnet"]
    weights = to_reference(network)
    for buffer, value in (("running_mean", torch.zeros(2)), ("running_var", torch.ones(2))):
        weights[f"model.2.{buffer}"] = value
    weights["model.2.num_batches_tracked"] = torch.tensor(7)
    load_reference(network, weights)


def test_files_from_before_the_batch_counter_load():
    network = networks()["unet batch"]
    weights = {key: value for key, value in to_reference(network).items() if "num_batches" not in key}
    load_reference(network, weights)


def test_networks_without_norm_have_no_biases_in_the_reference():
    network = ResNetGenerator(3, 3, num_blocks=1, base_channels=2, norm="none")
    weights = {key: value for key, value in to_reference(network).items() if key in ("model.17.bias", "model.18.bias")}
    weights |= {key: value for key, value in to_reference(network).items() if key.endswith("weight")}
    nn.init.ones_(network.stem.conv.bias)
    load_reference(network, weights)
    assert network.stem.conv.bias.abs().max() == 0


def test_filters_of_cut_are_compared_and_left_out():
    network = networks()["cut"]
    weights = to_reference(network)
    filters = reference_filters(network)
    assert sorted(filters) == [f"model.{i}.filt" for i in (11, 14, 18, 7)]
    row = torch.tensor([1.0, 2.0, 1.0]) / 4
    assert torch.equal(filters["model.7.filt"], torch.outer(row, row).expand(4, 1, 3, 3))
    row = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 4
    assert torch.equal(filters["model.14.filt"], torch.outer(row, row).expand(8, 1, 4, 4))
    assert sorted(fit_reference(network, weights).left_out) == sorted(filters)
    weights["model.7.filt"] = torch.full((4, 1, 3, 3), 1 / 9)
    with pytest.raises(
        CheckpointError, match=r"tensor model.7.filt \[4, 1, 3, 3\] is another filter than \[1, 2, 1\]$"
    ):
        load_reference(network, weights)


def test_problems_are_named_together_and_nothing_is_loaded():
    network = networks()["patchgan batch"]
    before = {key: value.clone() for key, value in network.state_dict().items()}
    weights = {f"module.{key}": torch.ones_like(value) for key, value in to_reference(network).items()}
    weights["module.model.0.weight"] = torch.zeros(2, 4, 4, 4)
    del weights["module.model.12.running_mean"]
    weights["module.extra.weight"] = torch.zeros(3)
    with pytest.raises(CheckpointError) as error:
        load_reference(network, weights)
    assert str(error.value).splitlines() == [
        "weights do not fit PatchGANDiscriminator: check its options",
        "    tensor module.model.0.weight is [2, 4, 4, 4], expected [2, 3, 4, 4]",
        "    unexpected tensor module.extra.weight [3]",
        "    missing tensor model.12.running_mean [16]",
    ]
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def test_a_long_list_of_problems_is_cut():
    with pytest.raises(CheckpointError, match=r"and \d+ more$"):
        load_reference(networks()["resnet"], {})


@pytest.mark.parametrize(
    "network",
    [
        ResNetGenerator(3, 3, num_blocks=1, base_channels=2, padding="zero"),
        ResNetGenerator(3, 3, num_blocks=1, base_channels=2, upsample="resize"),
        UNetGenerator(3, 3, num_downsamplings=2, base_channels=2, upsample="shuffle"),
        PatchGANDiscriminator(3, base_channels=2, spectral_norm=True),
        nn.Conv2d(1, 1, 1),
    ],
    ids=lambda network: type(network).__name__,
)
def test_networks_the_reference_does_not_have(network):
    with pytest.raises(CheckpointError, match=f"^{type(network).__name__}: the reference code has no network"):
        reference_layers(network)

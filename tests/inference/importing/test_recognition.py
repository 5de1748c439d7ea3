"""Which network a state dict is told to be, on the reference's own tensors and on ours under its names."""

import pytest

from i2i.inference.importing.recognition import recognise, what_else
from i2i.inference.importing.reference_names import to_reference
from tests.inference.importing.checkpoints import patchgan, resnet, unet

# What the golden files were built with, as our arguments.
GOLDEN = {
    "generator_resnet_9blocks_instance": ("resnet", {"num_blocks": 9, "base_channels": 4, "norm": "instance"}),
    "generator_resnet_6blocks_batch": ("resnet", {"num_blocks": 6, "base_channels": 4, "norm": "batch"}),
    "generator_unet_256_instance": ("unet", {"num_downsamplings": 8, "base_channels": 2, "norm": "instance"}),
    "generator_unet_128_batch": ("unet", {"num_downsamplings": 7, "base_channels": 4, "norm": "batch"}),
    "discriminator_basic_instance": ("patchgan", {"num_layers": 3, "base_channels": 4, "norm": "instance"}),
    "discriminator_pixel_instance": ("patchgan", {"num_layers": 0, "base_channels": 4, "norm": "instance"}),
}


def shapes_of(tensors):
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


@pytest.mark.parametrize("name", [*GOLDEN, "discriminator_n_layers_batch"])
def test_the_references_own_tensors(golden, name):
    tensors, metadata = golden(name)
    shapes = {key.removeprefix("weights."): tuple(v.shape) for key, v in tensors.items() if key.startswith("weights.")}
    guess = recognise(shapes)
    layers = {"num_layers": metadata.get("n_layers"), "base_channels": 4, "norm": "batch"}
    type_, expected = GOLDEN.get(name, ("patchgan", layers))
    assert guess.type == type_ and guess.kind == name.partition("_")[0]
    assert {key: guess.arguments[key] for key in expected} == expected
    assert guess.arguments["in_channels"] == tensors["input"].shape[1]
    assert guess.arguments.get("out_channels", 1) == tensors["output"].shape[1]
    assert list(guess.assumed) == (["norm"] if expected["norm"] == "instance" else [])


@pytest.mark.parametrize("norm", ["instance", "batch", "none"])
@pytest.mark.parametrize("dropout", [0.0, 0.5])
@pytest.mark.parametrize(
    ("antialias", "upsample"), [(False, "transpose"), (True, "bilinear"), (True, "transpose"), (False, "bilinear")]
)
@pytest.mark.parametrize(("num_blocks", "num_downsamplings"), [(1, 1), (3, 2), (2, 3)])
def test_every_resnet(norm, dropout, antialias, upsample, num_blocks, num_downsamplings):
    options = {"num_blocks": num_blocks, "num_downsamplings": num_downsamplings, "norm": norm, "dropout": dropout}
    G = resnet(4, 2, base_channels=3, antialias=antialias, upsample=upsample, **options)
    tensors = to_reference(G)
    if norm == "none":  # the reference gives such convolutions no bias
        head = max(int(name.split(".")[1]) for name in tensors)
        tensors = {k: v for k, v in tensors.items() if not k.endswith("bias") or k == f"model.{head}.bias"}
    guess = recognise(shapes_of(tensors))
    expected = {**options, "in_channels": 4, "out_channels": 2, "base_channels": 3}
    expected |= {"antialias": True} if antialias else {}
    expected |= {"upsample": upsample} if upsample != "transpose" else {}
    assert (guess.kind, guess.type, guess.arguments) == ("generator", "resnet", expected)


@pytest.mark.parametrize("levels", [2, 3, 5, 8])
@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_every_unet(levels, norm):
    guess = recognise(shapes_of(to_reference(unet(3, 1, num_downsamplings=levels, norm=norm))))
    expected = {"in_channels": 3, "out_channels": 1, "num_downsamplings": levels, "base_channels": 2, "norm": norm}
    assert (guess.kind, guess.type, guess.arguments) == ("generator", "unet", expected)


@pytest.mark.parametrize("num_layers", [0, 1, 3, 5])
@pytest.mark.parametrize("norm", ["instance", "batch"])
@pytest.mark.parametrize("antialias", [False, True])
def test_every_patchgan(num_layers, norm, antialias):
    guess = recognise(shapes_of(to_reference(patchgan(6, num_layers=num_layers, norm=norm, antialias=antialias))))
    expected = {"in_channels": 6, "num_layers": num_layers, "base_channels": 4, "norm": norm}
    expected |= {"antialias": True} if antialias and num_layers else {}
    assert (guess.kind, guess.type, guess.arguments) == ("discriminator", "patchgan", expected)


def test_running_statistics_are_of_instance_norm_where_there_is_no_scale():
    shapes = shapes_of(to_reference(resnet())) | {"model.2.running_mean": (4,), "model.2.running_var": (4,)}
    guess = recognise(shapes)
    assert guess.arguments["norm"] == "instance" and not guess.assumed


@pytest.mark.parametrize(
    ("names", "what"),
    [
        (["mlp_0.0.weight", "mlp_0.0.bias", "mlp_0.2.weight"], "the feature head of CUT"),
        (
            ["encoder.convs.0.conv1.0.weight", "decoder.convs.0.conv1.conv.modulation.weight"],
            "a StyleGAN2 network of CUT",
        ),
        (["convs.0.0.weight", "convs.1.conv1.0.weight", "final_linear.0.weight"], "a StyleGAN2 discriminator of CUT"),
    ],
)
def test_what_is_known_and_of_no_use_has_its_name(names, what):
    shapes = dict.fromkeys(names, (4, 4, 3, 3))
    assert recognise(shapes) is None
    assert what_else(shapes).startswith(what)


@pytest.mark.parametrize(
    "shapes",
    [
        {},
        {"fc.weight": (10, 512), "layer1.0.conv1.weight": (64, 64, 3, 3)},
        {"model.1.weight": (4,), "model.5.conv_block.1.weight": (4, 4, 3, 3)},
        {"model.1.weight": (4, 3, 7, 7), "model.5.conv_block.1.weight": (4,)},
        {"model.model.0.weight": (4,), "model.model.3.weight": (), "model.model.1.model.1.weight": (1,)},
        {"net.0.weight": ()},
        {"model.0.weight": (4, 3, 4, 4), "model.2.weight": (8, 4, 4, 4)},
        {"model.0.weight": (4, 3, 3, 3), "model.2.weight": (8, 4, 3, 3), "model.5.weight": (1, 8, 3, 3)},
        {f"model.{i}.weight": (1, 1, 7, 7) for i in range(60)} | {"model.60.conv_block.1.weight": (1, 1, 3, 3)},
    ],
)
def test_the_unknown_is_not_taken_for_something(shapes):
    assert recognise(shapes) is None and what_else(shapes) is None


def test_half_a_network_is_still_told():
    tensors = to_reference(resnet(norm="batch"))
    for gone in ("model.5.weight", "model.8.bias", "model.11.conv_block.6.running_mean"):
        shapes = {name: shape for name, shape in shapes_of(tensors).items() if name != gone}
        assert recognise(shapes).arguments["num_blocks"] == 2

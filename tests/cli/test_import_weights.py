"""The import_weights command: what other projects saved translates and trains here as it did there."""

import hashlib
import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file

from i2i.cli import main
from i2i.inference.bundle.bundle import load_bundle, read_info
from i2i.inference.importing.reference_names import to_reference
from i2i.run.experiment import Experiment
from tests.bundles import REPOSITORY, make_image, pixels
from tests.inference.importing.checkpoints import OPTIONS, patchgan, resnet, save, save_cyclegan, unet

CYCLEGAN = REPOSITORY / "configs/tiny/cyclegan.yaml"
PIX2PIX = REPOSITORY / "configs/tiny/pix2pix.yaml"


def ways_of(info):
    """The pipeline's own name of each direction."""
    return {name: direction.own for name, direction in info.directions.items()}


def run(*arguments):
    return main("import_weights", [str(argument) for argument in arguments])


def imported(*arguments):
    """Imports, and returns the bundle's metadata and networks."""
    assert run(*arguments) == 0
    info, pipeline = load_bundle([word for word in arguments if not str(word).startswith("--")][-1])
    return info, pipeline.eval().members


def image(channels=3, size=32, seed=0):
    return torch.rand(1, channels, size, size, generator=torch.Generator().manual_seed(seed)) * 2 - 1


@torch.no_grad()
def same(one, other, x):
    return torch.equal(one(x), other(x))


def test_a_folder_with_both_directions_becomes_one_bundle(tmp_path, capsys):
    theirs = save_cyclegan(tmp_path / "horses")
    info, networks = imported(tmp_path / "horses", tmp_path / "new/horses.safetensors")
    assert ways_of(info) == {"a2b": "a2b", "b2a": "b2a"} and info.channels == {"a": 3, "b": 3}
    assert (info.name, info.step, info.pipeline["type"]) == ("horses", 0, "cyclegan")
    assert (info.norm_policy, info.dropout_policy) == ("running", "off")
    # The original's D_A judges what G_A makes, which is domain b: the paper's D_Y.
    for letter, name in (("G", "G_A"), ("F", "G_B"), ("D_Y", "D_A"), ("D_X", "D_B")):
        assert same(networks[letter], theirs[name], image())
    out = capsys.readouterr().out
    assert "G: latest_net_G_A.pth: resnet, in_channels 3, out_channels 3, num_blocks 2, base_channels 4," in out
    assert "D_X: latest_net_D_B.pth: patchgan, in_channels 3, num_layers 3, base_channels 4, norm instance" in out
    assert out.count("    assumed norm instance: it leaves no tensors") == 4
    assert out.count("--architecture '{norm: none}'") == out.count("--architecture '{type: patchgan, norm: none}'") == 2
    assert "norm policy running: " in out and "dropout policy off: " in out
    assert out.splitlines()[-1] == str(tmp_path / "new/horses.safetensors")


@pytest.mark.parametrize(("direction", "name"), [("a2b", "G_A"), ("b2a", "G_B")])
def test_translate_gives_what_the_network_gives(tmp_path, direction, name):
    theirs = save_cyclegan(tmp_path / "horses", norm="batch")
    bundle = tmp_path / "horses.safetensors"
    imported(tmp_path / "horses", bundle)
    photo = make_image(tmp_path / "photo.png", (32, 24))
    words = [bundle, photo, tmp_path / "made.png", "--direction", direction, "--device", "cpu"]
    assert main("translate", list(map(str, words))) == 0
    x = torch.from_numpy(pixels(photo).astype(np.float32)).permute(2, 0, 1)[None] / 127.5 - 1
    with torch.no_grad():
        expected = ((theirs[name](x)[0].permute(1, 2, 0).numpy() + 1) * 127.5).round()
    assert expected.std() > 20
    assert np.abs(pixels(tmp_path / "made.png") - expected).max() <= 1


@pytest.mark.parametrize(
    "name",
    [
        *("generator_resnet_9blocks_instance", "generator_resnet_6blocks_batch"),
        *("generator_unet_256_instance", "generator_unet_128_batch"),
    ],
)
def test_the_references_own_weights_give_its_own_output(golden, tmp_path, name):
    tensors, _ = golden(name)
    weights = {key.removeprefix("weights."): value for key, value in tensors.items() if key.startswith("weights.")}
    torch.save(weights, tmp_path / "latest_net_G.pth")
    _, networks = imported(tmp_path, tmp_path / "model.safetensors")
    with torch.no_grad():
        output = networks["G"](tensors["input"])
    assert (output - tensors["output"]).abs().max() <= 1e-5 * tensors["output"].abs().max()


def test_one_generator_and_its_conditional_judge_are_a_pix2pix(tmp_path, capsys):
    G, D = unet(norm="batch"), patchgan(6, norm="batch", num_layers=2)
    save(tmp_path / "in/latest_net_G.pth", G)
    save(tmp_path / "in/latest_net_D.pth", D)
    info, networks = imported(tmp_path / "in", tmp_path / "model.safetensors")
    assert info.pipeline == {"type": "pix2pix", "norm_policy": "running", "dropout_policy": "off"}
    assert same(networks["G"], G, image()) and same(networks["D"], D, image(6))
    assert info.networks["G"]["arguments"]["dropout"] == 0.5
    assert "assumed dropout 0.5: it leaves no tensors, and is as in the original's pix2pix" in capsys.readouterr().out


def test_the_options_beside_the_weights_say_what_tensors_cannot(tmp_path, capsys):
    save(tmp_path / "in/latest_net_G.pth", unet(1, 3, norm="batch"))
    (tmp_path / "in/train_opt.txt").write_text(OPTIONS)
    info, _ = imported(tmp_path / "in", tmp_path / "model.safetensors")
    # BtoA: the user's b is what the network takes.
    assert ways_of(info) == {"b2a": "a2b"} and info.channels == {"a": 3, "b": 1}
    assert (info.name, info.size) == ("facades_label2photo", [64, 64])
    assert info.networks["G"]["arguments"]["dropout"] == 0.5
    out = capsys.readouterr().out
    assert "assumed" not in out and "direction BtoA, as the original's options say" in out
    info, _ = imported(tmp_path / "in", tmp_path / "model.safetensors", "--overwrite", "--direction=a2b")
    assert ways_of(info) == {"a2b": "a2b"} and info.channels == {"a": 1, "b": 3}
    (tmp_path / "in/train_opt.txt").write_text(
        OPTIONS.replace("resize_and_crop", "none").replace("facades_", "\x1b[2J")
    )
    info, _ = imported(tmp_path / "in", tmp_path / "model.safetensors", "--overwrite")
    assert info.size is None and info.name == "model"
    (tmp_path / "in/train_opt.txt").write_text("no_dropout: True\n")
    info, _ = imported(tmp_path / "in", tmp_path / "model.safetensors", "--overwrite")
    assert info.networks["G"]["arguments"]["dropout"] == 0


def test_the_options_never_outweigh_the_tensors(tmp_path, capsys):
    save(tmp_path / "in/latest_net_G.pth", G := resnet(dropout=0.0))
    (tmp_path / "in/train_opt.txt").write_text(OPTIONS)  # batch norm, and dropout
    info, networks = imported(tmp_path / "in", tmp_path / "model.safetensors")
    assert same(networks["G"], G, image()) and info.networks["G"]["arguments"]["dropout"] == 0
    said = "latest_net_G.pth: train_opt.txt says norm batch, and instance was taken"
    assert said in capsys.readouterr().out


def test_one_way_back_is_the_papers_f(tmp_path):
    F = save_cyclegan(tmp_path / "in")["G_B"]
    info, networks = imported(tmp_path / "in/latest_net_G_B.pth", tmp_path / "m.safetensors")
    assert ways_of(info) == {"b2a": "b2a"} and list(info.networks) == ["F"]
    assert same(networks["F"], F, image())


@pytest.mark.parametrize(("norm", "direction"), [("instance", "a2b"), ("batch", "b2a")])
def test_turned_cyclegans_keep_their_judges(tmp_path, norm, direction):
    theirs = save_cyclegan(tmp_path / "in", norm=norm)
    info, networks = imported(tmp_path / "in", tmp_path / "m.safetensors", f"--direction={direction}")
    assert next(iter(info.directions)) == direction
    network = {"a2b": "G_A", "b2a": "G_B"} if direction == "a2b" else {"b2a": "G_A", "a2b": "G_B"}
    own = {"a2b": "G", "b2a": "F"}
    for user, way in ways_of(info).items():
        assert same(networks[own[way]], theirs[network[user]], image())


def test_cut_becomes_half_a_cyclegan_and_its_head_stays_out(tmp_path, capsys):
    G, D = resnet(antialias=True, upsample="bilinear"), patchgan(3, antialias=True)
    save(tmp_path / "in/latest_net_G.pth", G)
    save(tmp_path / "in/latest_net_D.pth", D)
    torch.save({"mlp_0.0.weight": torch.zeros(4, 3), "mlp_0.0.bias": torch.zeros(4)}, tmp_path / "in/latest_net_F.pth")
    info, networks = imported(tmp_path / "in", tmp_path / "cut.safetensors")
    assert info.pipeline["type"] == "cyclegan" and ways_of(info) == {"a2b": "a2b"}
    assert list(info.networks) == ["G", "D_Y"]
    assert same(networks["G"], G, image()) and same(networks["D_Y"], D, image())
    out = capsys.readouterr().out
    assert "left out: latest_net_F.pth: it is the feature head of CUT (net_F), which compares patches" in out
    assert "    left out: 4 tensors without use here (filt)" in out
    with safe_open(tmp_path / "cut.safetensors", "pt") as file:
        assert not [name for name in file.keys() if "filt" in name]  # noqa: SIM118
    assert main("translate", [str(tmp_path / name) for name in ("cut.safetensors", "in", "out")]) == 2  # no images


def test_statistics_of_old_instance_norms_are_left_out(tmp_path, capsys):
    tensors = to_reference(G := resnet())
    for name in ("model.2", "model.5", "model.10.conv_block.2"):
        size = len(tensors[f"{name.rpartition('.')[0]}.{int(name[-1]) - 1}.bias"])
        tensors |= {f"{name}.running_mean": torch.ones(size), f"{name}.running_var": torch.full((size,), 4.0)}
    torch.save({f"module.{name}": tensor for name, tensor in tensors.items()}, tmp_path / "latest_net_G.pth")
    _, networks = imported(tmp_path, tmp_path / "old.safetensors")
    assert same(networks["G"], G, image())
    out = capsys.readouterr().out
    assert "left out: 6 tensors without use here (running_mean, running_var), model.2.running_mean first" in out
    assert "assumed" not in out  # statistics without a scale are instance norm's


def test_an_architecture_replaces_what_was_inferred(tmp_path, capsys):
    tensors = to_reference(G := resnet(norm="none"))
    torch.save(tensors, tmp_path / "G.pth")  # has biases: is taken for instance norm
    info, networks = imported(tmp_path / "G.pth", tmp_path / "a.safetensors")
    assert info.networks["G"]["arguments"]["norm"] == "instance" and not same(networks["G"], G, image())
    assert "assumed norm instance" in capsys.readouterr().out
    info, networks = imported(tmp_path / "G.pth", tmp_path / "b.safetensors", "--architecture={norm: none}")
    assert "assumed" not in capsys.readouterr().out
    assert info.networks["G"]["arguments"]["norm"] == "none" and same(networks["G"], G, image())


def test_our_own_names_load_into_what_the_user_names(tmp_path):
    G = unet(3, 2, norm="group", upsample="resize")
    save_file(G.state_dict(), tmp_path / "G.safetensors")
    node = "{type: unet, in_channels: 3, out_channels: 2, num_downsamplings: 5, base_channels: 2, norm: group, "
    info, networks = imported(
        tmp_path / "G.safetensors", tmp_path / "m.safetensors", f"--architecture={node} upsample: resize}}"
    )
    assert same(networks["G"], G, image()) and info.channels == {"a": 3, "b": 2}


def test_policies_are_the_users(tmp_path, capsys):
    save(tmp_path / "G.pth", resnet(norm="batch", dropout=0.5))
    info, _ = imported(tmp_path / "G.pth", tmp_path / "m.safetensors", "--norm-policy=batch", "--dropout=on")
    assert (info.norm_policy, info.dropout_policy) == ("batch", "on")
    out = capsys.readouterr().out
    assert "norm policy batch: batch normalisation by the statistics of the image itself" in out
    assert "dropout policy on: dropout as noise" in out


@pytest.mark.parametrize("config", [CYCLEGAN, PIX2PIX])
def test_training_goes_on_from_it(tmp_path, config):
    if config == CYCLEGAN:
        theirs = save_cyclegan(tmp_path / "in")
        letters = {"G": "G_A", "F": "G_B", "D_X": "D_B", "D_Y": "D_A"}
        fitting = ["generator.num_blocks=2"]
    else:
        theirs = {"G": unet(norm="batch"), "D": patchgan(6, norm="batch")}
        for name, network in theirs.items():
            save(tmp_path / f"in/latest_net_{name}.pth", network)
        letters = {"G": "G", "D": "D"}
        fitting = ["generator={type: unet, num_downsamplings: 5, base_channels: 2}", "discriminator.norm=batch"]
    bundle = tmp_path / "m.safetensors"
    imported(tmp_path / "in", bundle)
    judge = ["discriminator.base_channels=4", "discriminator.num_layers=3"]
    narrow = ["generator.base_channels=4"] if config == CYCLEGAN else []
    for words in (
        [f"init_from={bundle}", *fitting, *narrow, *judge],
        [f"generator={{bundle: {bundle}}}", f"discriminator={{bundle: {bundle}}}"],
    ):
        pipeline = Experiment.load(config, words).build_pipeline().eval()
        for letter, name in letters.items():
            assert same(pipeline.members[letter], theirs[name], image(6 if name == "D" else 3))


def test_a_bundle_says_where_it_is_from_and_is_the_same_twice(tmp_path):
    path = save(tmp_path / "secret_folder/100_net_G.pth", resnet())
    for name in ("one", "two"):
        imported(path, tmp_path / f"{name}/model.safetensors")
    assert (tmp_path / "one/model.safetensors").read_bytes() == (tmp_path / "two/model.safetensors").read_bytes()
    info = read_info(tmp_path / "one/model.safetensors")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert info.networks["G"]["source"] == {"file": "100_net_G.pth", "sha256": digest, "epoch": "100"}
    with safe_open(tmp_path / "one/model.safetensors", "pt") as file:
        assert "secret_folder" not in json.dumps(file.metadata())


def test_tensors_that_do_not_fit_are_named(tmp_path, capsys):
    tensors = to_reference(resnet(norm="batch"))
    tensors["model.4.weight"] = torch.zeros(9, 4, 3, 3)
    del tensors["model.10.conv_block.2.running_mean"]
    torch.save(tensors | {"model.3.weight": torch.zeros(2)}, tmp_path / "G.pth")
    assert run(tmp_path / "G.pth", tmp_path / "m.safetensors") == 2
    assert capsys.readouterr().err.splitlines() == [
        f"{tmp_path / 'G.pth'}: taken for resnet with in_channels 3, out_channels 3, num_blocks 2, base_channels 4, "
        "num_downsamplings 2, norm batch, dropout 0.0, which does not fit in 3 tensors",
        "    tensor model.4.weight is [9, 4, 3, 3], expected [8, 4, 3, 3]",
        "    unexpected tensor model.3.weight [2]",
        "    missing tensor model.10.conv_block.2.running_mean [16]",
        "    if it is another network, say which: --architecture '{type: NAME, …}'",
    ]
    assert not (tmp_path / "m.safetensors").exists()


def unknown(folder):
    torch.save({"features.0.weight": torch.zeros(8, 3, 3, 3)}, folder / "G.pth")


def two_generators(folder):
    for name in ("one", "two"):
        save(folder / f"{name}.pth", resnet())


def strangers(folder):
    save(folder / "G_A.pth", resnet(3, 1))
    save(folder / "G_B.pth", resnet(3, 3))


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (unknown, [], "G.pth: its tensors are of no network known here; the first are features.0.weight [8, 3, 3, 3]"),
        (
            lambda f: save(f / "D.pth", patchgan()),
            [],
            "no generator among the files, and nothing translates without one",
        ),
        (two_generators, [], "two generators for the same direction: "),
        (strangers, [], "the generators are not of one model, by their channels: G_A.pth 3 to 1, G_B.pth 3 to 3"),
        (lambda f: save(f / "G.pth", resnet()), ["--dropout=on"], "--dropout on: the generators have no dropout"),
        (lambda f: save(f / "G.pth", resnet()), ["--architecture={nrom: none}"], "unknown key, did you mean 'norm'?"),
        (lambda f: save(f / "G.pth", resnet()), ["--architecture=resnext"], "did you mean 'resnet'?"),
        (lambda f: save(f / "G.pth", resnet()), ["--architecture={norm: 3}"], "norm: expected one of 'instance'"),
        (lambda f: save(f / "G.pth", resnet()), ["--architecture=[1]"], "expected a network such as"),
        (lambda f: save(f / "G.pth", resnet()), ["--architecture={a"], "not valid YAML"),
        (lambda f: save(f / "G.pth", resnet()), ["--architecture={num_blocks: 0}"], "num_blocks must be at least 1"),
        (
            lambda f: save(f / "G.pth", resnet()),
            ["--architecture={type: resnet, base_channels: 100000000000000}"],
            "--architecture: cannot be built: RuntimeError: Storage size calculation overflowed",
        ),
        (lambda f: save(f / "G.pth", resnet()), ["--architecture=unet"], "taken for unet with in_channels 3"),
    ],
)
def test_what_cannot_be_imported_is_told_and_leaves_nothing(tmp_path, capsys, make, options, message):
    (tmp_path / "in").mkdir()
    make(tmp_path / "in")
    assert run(tmp_path / "in", tmp_path / "out.safetensors", *options) == 2
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error and "internal error" not in error
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_nothing_is_replaced_unless_asked(tmp_path, capsys):
    path = save(tmp_path / "G.pth", resnet())
    out = tmp_path / "m.safetensors"
    out.write_bytes(b"precious")
    assert run(path, out) == 2
    assert capsys.readouterr().err == f"OUT {out}: is there already\n    --overwrite replaces it\n"
    assert out.read_bytes() == b"precious"
    assert run(path, out, "--overwrite") == 0 and read_info(out).name == "m"


def test_outputs_that_cannot_be(tmp_path, capsys):
    source = tmp_path / "G.safetensors"
    save_file(to_reference(resnet()), source)
    (tmp_path / "folder.safetensors").mkdir()
    (tmp_path / "file").touch()
    for out, message in (
        (tmp_path / "m.pth", "a bundle's name ends in .safetensors"),
        (tmp_path / "folder.safetensors", "is a folder"),
        (source, "is one of the files to import"),
        (tmp_path / "file/m.safetensors", "cannot be written: "),
    ):
        assert run(source, out, "--overwrite") == 2
        assert message in capsys.readouterr().err


def test_gray_translations_of_colours(tmp_path):
    save(tmp_path / "G.pth", G := resnet(3, 1))
    imported(tmp_path / "G.pth", tmp_path / "m.safetensors")
    photo = make_image(tmp_path / "photo.png", (16, 16))
    assert main("translate", [str(tmp_path / "m.safetensors"), str(photo), str(tmp_path / "gray.png")]) == 0
    with Image.open(tmp_path / "gray.png") as made:
        assert made.mode == "L" and made.size == (16, 16)
    assert G.out_channels == 1


def test_what_others_have_named_is_shown_as_text(tmp_path, capsys):
    """File names, options and names of tensors come from strangers."""
    escape = "\x1b[2J"
    save(tmp_path / f"{escape}_net_G.pth", unet())
    (tmp_path / "train_opt.txt").write_text(f"norm: {escape}\n")
    assert run(tmp_path / f"{escape}_net_G.pth", tmp_path / "out.safetensors") == 0
    out = capsys.readouterr().out
    assert "G: \\x1b[2J_net_G.pth: unet, " in out
    assert "train_opt.txt says norm \\x1b[2J, and batch was taken" in out
    assert escape not in out


def test_values_that_are_no_numbers_are_told(tmp_path, capsys):
    G = resnet()
    for number, (name, tensor) in enumerate(G.state_dict().items()):
        if name.endswith("weight"):
            tensor.view(-1)[0] = float("nan") if number else float("inf")
    save(tmp_path / "G.pth", G)
    assert run(tmp_path / "G.pth", tmp_path / "m.safetensors") == 0
    told = "G.pth: holds NaN or infinite values, and translates to such: model.1.weight, model.4.weight, "
    assert f"{told}model.7.weight and 7 more" in capsys.readouterr().out
    save(tmp_path / "G.pth", resnet())
    assert run(tmp_path / "G.pth", tmp_path / "m.safetensors", "--overwrite") == 0
    assert "NaN" not in capsys.readouterr().out


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")]
)
@pytest.mark.parametrize(
    "where", ["i2i.inference.importing.assembly.import_network", "i2i.inference.bundle.bundle.save_bundle"]
)
def test_too_little_memory_is_told(tmp_path, capsys, monkeypatch, where, error):
    def full(*_):
        raise error

    save(tmp_path / "G.pth", resnet())
    monkeypatch.setattr(where, full)
    assert run(tmp_path / "G.pth", tmp_path / "m.safetensors") == 2
    assert capsys.readouterr().err == f"{tmp_path / 'm.safetensors'}: not enough memory to import the weights\n"

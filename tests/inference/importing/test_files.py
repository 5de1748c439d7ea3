"""Which files are taken, and the tensors in them."""

import time

import pytest
import torch
from safetensors.torch import save_file

from i2i.core.errors import CheckpointError
from i2i.inference.importing.files import find_sources, read_tensors
from i2i.inference.importing.options import read_options
from tests.bundles import make_bundle
from tests.inference.importing.checkpoints import OPTIONS, resnet, save

WEIGHTS = {"model.1.weight": torch.arange(6.0).reshape(2, 3), "model.1.bias": torch.zeros(2)}


def touch(folder, *names):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).touch()
    return folder


def names(sources):
    return [(source.name, source.way, source.epoch) for source in sources]


def test_a_folder_of_several_epochs_gives_the_latest(tmp_path):
    touch(tmp_path, "latest_net_G_A.pth", "latest_net_G_B.pth", "100_net_G_A.pth", "95_net_G_A.pth", "loss_log.txt")
    sources, notes = find_sources([tmp_path])
    assert names(sources) == [("latest_net_G_A.pth", "A", "latest"), ("latest_net_G_B.pth", "B", "latest")]
    assert notes == [f"{tmp_path}: epoch latest was taken; --epoch chooses another: 95, 100"]
    sources, notes = find_sources([tmp_path], "95")
    assert names(sources) == [("95_net_G_A.pth", "A", "95")] and not notes
    with pytest.raises(CheckpointError, match=r"holds no epoch '7'\n    it holds 95, 100, latest$"):
        find_sources([tmp_path], "7")


def test_without_a_latest_the_highest_is_taken(tmp_path):
    touch(tmp_path, "9_net_G.pth", "10_net_G.pth", "iter_5_net_G.pth")
    assert names(find_sources([tmp_path])[0]) == [("10_net_G.pth", "", "10")]


@pytest.mark.parametrize(
    ("name", "way"),
    [
        ("latest_net_G.pth", ""),
        ("latest_net_D_B.pth", "B"),
        ("my_run_net_G_A.pth", "A"),
        ("netG_A2B.pth", "A"),
        ("netG_B2A.pth", "B"),
        ("G_BA.pt", "B"),
        ("generator_ab.safetensors", "A"),
        ("horse-G_A.pth", "A"),
        ("bag_a.pth", ""),
        ("london_gb.pth", ""),
        ("photo-db.pth", ""),
        ("rgb.pth", ""),
        ("shop.d_b.pth", ""),
        ("model_GB.pth", ""),
        ("Generator-B2A.pth", "B"),
        ("net_G_ab.pt", "A"),
        ("NETG_B.pth", "B"),
        ("G-b2a.pth", "B"),
        ("photo.pth", ""),
    ],
)
def test_which_way_a_name_says(tmp_path, name, way):
    touch(tmp_path, name)
    assert [source.way for source in find_sources([tmp_path / name])[0]] == [way]


def test_what_is_not_there_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"nothing: no such file or folder$"):
        find_sources([tmp_path / "nothing"])
    with pytest.raises(CheckpointError, match=r"holds no weights\n    expected files such as latest_net_G.pth"):
        find_sources([touch(tmp_path / "empty", "notes.txt")])


@pytest.mark.parametrize(
    "stored",
    [
        WEIGHTS,
        {f"module.{name}": tensor for name, tensor in WEIGHTS.items()},
        {f"module._orig_mod.{name}": tensor for name, tensor in WEIGHTS.items()},
        {f"netG.{name}": tensor for name, tensor in WEIGHTS.items()},
        {"state_dict": WEIGHTS, "epoch": 3, "args": {"lr": 0.1}},
        {"model": {"netG": WEIGHTS}, "optimizer": {"state": {0: {"exp_avg": torch.zeros(2, 3), "step": 1}}}},
    ],
)
@pytest.mark.parametrize("zipped", [True, False])
def test_one_state_dict_is_found_where_it_is(tmp_path, stored, zipped):
    torch.save(stored, tmp_path / "G.pth", _use_new_zipfile_serialization=zipped)
    found = read_tensors(tmp_path / "G.pth")
    assert found.keys() == WEIGHTS.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in WEIGHTS.items())


def test_safetensors_are_read(tmp_path):
    save_file(WEIGHTS, tmp_path / "G.safetensors")
    assert torch.equal(read_tensors(tmp_path / "G.safetensors")["model.1.weight"], WEIGHTS["model.1.weight"])


@pytest.mark.filterwarnings("ignore:Validating sparse:UserWarning")
@pytest.mark.parametrize(
    ("stored", "message"),
    [
        ({"G_A": WEIGHTS, "G_B": WEIGHTS}, "holds 2 state dicts: G_A, G_B"),
        ({"epoch": 3}, "holds no state dict"),
        ([1, 2], "holds no state dict"),
        ({"a.weight": torch.eye(2).to_sparse()}, "the tensor a.weight is sparse"),
        ({"a.weight": torch.zeros(2, 2, dtype=torch.int8)}, "the tensor a.weight is of torch.int8, and weights are"),
        ({"a.weight": torch.zeros(2, 2), "b.weight": torch.zeros(1 << 40, 0)}, "has no values"),
        ({"a.weight": torch.zeros(2, 2), "b.weight": torch.zeros(2, device="meta")}, "has no values"),
    ],
)
def test_what_holds_no_weights_is_refused(tmp_path, stored, message):
    torch.save(stored, tmp_path / "G.pth")
    with pytest.raises(CheckpointError) as error:
        read_tensors(tmp_path / "G.pth")
    assert str(error.value).startswith(f"{tmp_path / 'G.pth'}: ") and message in str(error.value)


def test_a_bundle_and_a_damaged_file_are_refused(tmp_path):
    with pytest.raises(CheckpointError, match=r"is a bundle already\n    translate takes it as it is$"):
        read_tensors(make_bundle(tmp_path / "model.safetensors"))
    whole = save(tmp_path / "G.pth", resnet()).read_bytes()
    for name, data in (("cut.pth", whole[: len(whole) // 2]), ("page.pth", b"<html>"), ("x.safetensors", whole)):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(CheckpointError, match=f"^{tmp_path / name}: "):
            read_tensors(tmp_path / name)


def test_a_file_that_would_run_code_does_not(tmp_path):
    class Shell:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    torch.save({"model.1.weight": Shell()}, tmp_path / "G.pth")
    with pytest.raises(CheckpointError):
        read_tensors(tmp_path / "G.pth")
    assert not (tmp_path / "ran").exists()


def test_options_are_read_as_the_original_writes_them(tmp_path):
    (tmp_path / "test_opt.txt").write_text("                     name: other\n")
    (tmp_path / "train_opt.txt").write_text(OPTIONS)
    name, options = read_options(tmp_path)
    assert name == "train_opt.txt"
    expected = {"norm": "batch", "direction": "BtoA", "no_dropout": "False", "crop_size": "64", "batch_size": "1"}
    expected |= {"name": "facades_label2photo", "isTrain": "True", "preprocess": "resize_and_crop"}
    assert options == expected
    (tmp_path / "train_opt.txt").write_text("name: a [b]\n\tnorm: [x] \t[default: [y]]  \nsize:\n: 3\na b: 4\n")
    assert read_options(tmp_path) == ("train_opt.txt", {"name": "a [b]", "norm": "[x]"})
    (tmp_path / "train_opt.txt").write_bytes(b"\xff\xfe\0")
    assert read_options(tmp_path) == ("test_opt.txt", {"name": "other"})
    assert read_options(tmp_path / "nothing") == ("", {})


@pytest.mark.parametrize("line", ["name: " + " " * 500_000 + "x", " " * 500_000, "name: x" + "[default: " * 50_000])
def test_options_of_strangers_take_no_time(tmp_path, line):
    (tmp_path / "train_opt.txt").write_text(line)
    started = time.monotonic()
    read_options(tmp_path)
    assert time.monotonic() - started < 2

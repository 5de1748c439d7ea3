"""Bundles: what they say, and what happens to damaged and hostile ones."""

import copy
import json
import subprocess
import sys

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from i2i.cli import main
from i2i.core.errors import CheckpointError
from i2i.inference.bundle.bundle import DirectionInfo, load_bundle, read_info
from tests.run.test_run import train


@pytest.fixture(scope="module")
def bundle(repository, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundle") / "run"
    assert train(repository, folder, "trainer.steps=1") == 0
    return folder / "model.safetensors"


def parts_of(path):
    with safe_open(str(path), framework="pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (no mapping)
        metadata = {key: json.loads(value) for key, value in file.metadata().items()}
        del metadata["sha256"]  # what is changed on purpose has another
        return tensors, metadata


def write(path, tensors, values):
    save_file(tensors, str(path), {key: json.dumps(value) for key, value in values.items()})
    return path


def test_it_says_how_to_be_used(bundle):
    info = read_info(bundle)
    assert info.directions == {
        "a2b": DirectionInfo("a2b", ["G"], "a", "b"),
        "b2a": DirectionInfo("b2a", ["F"], "b", "a"),
    }
    assert info.channels == {"a": 3, "b": 3}
    assert info.value_range == [-1.0, 1.0]
    assert (info.norm_policy, info.dropout_policy) == ("running", "off")
    assert set(info.networks) == {"G", "F"}
    assert info.networks["G"]["arguments"]["num_blocks"] == 1
    assert info.networks["G"]["arguments"]["norm"] == "instance"  # defaults too: they may change with the code
    assert info.config["trainer"]["steps"] == 1
    assert info.versions["torch"] == torch.__version__


def test_pix2pix_keeps_the_papers_policies(repository, tmp_path):
    assert train(repository, tmp_path / "run", "trainer.steps=1", config="pix2pix") == 0
    info = read_info(tmp_path / "run/model.safetensors")
    assert (info.norm_policy, info.dropout_policy) == ("batch", "on")
    arguments = ["trainer.steps=1", "pipeline={type: pix2pix, norm_policy: running, dropout_policy: off}"]
    assert train(repository, tmp_path / "other", *arguments, config="pix2pix") == 0
    info = read_info(tmp_path / "other/model.safetensors")
    assert (info.norm_policy, info.dropout_policy) == ("running", "off")


def test_b2a_training_gives_a_model_of_that_direction(repository, tmp_path):
    arguments = ["trainer.steps=1", "data.direction=b2a"]
    assert train(repository, tmp_path / "run", *arguments, config="pix2pix") == 0
    assert read_info(tmp_path / "run/model.safetensors").directions == {"b2a": DirectionInfo("a2b", ["G"], "b", "a")}


def damage(values, path, value):
    values = copy.deepcopy(values)
    target = values
    for key in path[:-1]:
        target = target[key]
    if value is None:
        del target[path[-1]]
    else:
        target[path[-1]] = value
    return values


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("networks", "G", "kind"), "gene"),
        (("networks", "G", "kind"), None),
        (("networks", "G", "type"), "nowhere"),
        (("networks", "G", "type"), None),
        (("networks", "G", "owner"), None),
        (("networks", "G", "arguments"), None),
        (("networks", "G", "arguments", "num_blocks"), 0),
        (("networks", "G", "arguments", "num_blocks"), "many"),
        (("networks", "G", "arguments", "base_channels"), 5),
        (("networks", "G"), None),
        (("networks",), None),
        (("directions",), {}),
        (("directions",), {"c2d": "a2b"}),
        (("directions",), ["a2b"]),
        (("channels",), {}),
        (("channels", "a"), -3),
        (("channels", "a"), "three"),
        (("pipeline",), {"type": "os.system"}),
        (("pipeline",), {}),
        (("pipeline", "pool_size"), "x"),
        (("norm_policy",), "nonsense"),
        (("format",), 99),
        (("format",), None),
        (("step",), None),
        (("value_range",), "wide"),
    ],
)
def test_damaged_metadata_is_an_error_of_one_line(bundle, tmp_path, path, value):
    tensors, values = parts_of(bundle)
    damaged = write(tmp_path / "damaged.safetensors", tensors, damage(values, path, value))
    with pytest.raises(CheckpointError) as error:
        load_bundle(damaged)
    assert str(damaged) in error.value.message and "\n" not in error.value.message


@pytest.mark.parametrize("content", [b"", b"no safetensors", b"\xff" * 100, b"\x08\0\0\0\0\0\0\0{}      "])
def test_files_that_are_no_bundles(tmp_path, content):
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    with pytest.raises(CheckpointError):
        load_bundle(path)


def test_missing_and_foreign_weights_are_named(bundle, tmp_path):
    tensors, values = parts_of(bundle)
    name = next(key for key in tensors if key.startswith("G."))
    for changed in (
        {key: value for key, value in tensors.items() if key != name},
        {**tensors, name: torch.zeros(1)},
        {**tensors, "G.more": torch.zeros(1)},
    ):
        with pytest.raises(CheckpointError, match="do not fit each other"):
            load_bundle(write(tmp_path / "x.safetensors", changed, values))


def test_half_precision_weights_are_widened(bundle, tmp_path):
    tensors, values = parts_of(bundle)
    half = write(tmp_path / "half.safetensors", {key: value.half() for key, value in tensors.items()}, values)
    _, pipeline = load_bundle(half)
    assert {parameter.dtype for parameter in pipeline.parameters()} == {torch.float32}


def test_a_folder_without_a_model_says_what_it_expected(tmp_path, capsys):
    (tmp_path / "photo").mkdir()
    from PIL import Image

    Image.new("RGB", (8, 8)).save(tmp_path / "photo/a.png")
    assert main("translate", [str(tmp_path), str(tmp_path / "photo"), str(tmp_path / "out")]) == 2
    assert "holds no model.safetensors" in capsys.readouterr().err


def test_where_a_bundle_lies_is_told_without_torch():
    """Its file is read and hashed while torch is imported."""
    code = (
        "import sys, i2i.inference.bundle.place, i2i.core.plugins\nsys.exit(bool({'torch', 'numpy'} & {*sys.modules}))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0

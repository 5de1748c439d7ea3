"""Where the weights of backbones come from, and what holds them."""

import gc
import io
import os
import pickle
import time

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from i2i.core.errors import ArgumentError
from i2i.losses.perceptual import Perceptual, Style
from i2i.networks.pretrained import backbones
from i2i.networks.pretrained.backbones import Backbone
from i2i.networks.pretrained.weights import check_weights

NAME = "test_resnet"


@pytest.fixture
def model():
    with torch.random.fork_rng():
        torch.manual_seed(7)
        return timm.create_model(NAME).eval()


@pytest.fixture
def file(model, tmp_path):
    path = tmp_path / "weights.safetensors"
    save_file(model.state_dict(), path)
    return path


def first_map(backbone):
    return backbone(torch.linspace(-1, 1, 3 * 32 * 32).reshape(1, 3, 32, 32))[0]


def first_map_of(model):
    x = torch.linspace(-1, 1, 3 * 32 * 32).reshape(1, 3, 32, 32)  # mean and std of this one are 0.5: x stays as it is
    with torch.no_grad():
        return model.act1(model.bn1(model.conv1(x)))


@pytest.mark.parametrize("kind", ["safetensors", "pth", "checkpoint"])
def test_a_local_file(kind, model, file, tmp_path):
    if kind != "safetensors":
        file = tmp_path / "weights.pth"
        state = model.state_dict()
        torch.save(state if kind == "pth" else {"state_dict": {f"module.{k}": v for k, v in state.items()}}, file)
    found = first_map(Backbone(NAME, str(file), [0]))
    assert torch.allclose(found, first_map_of(model), atol=1e-6)
    assert not torch.allclose(found, first_map(Backbone(NAME, "random", [0])))


def test_the_cache_of_the_hub(model, tmp_path, monkeypatch):
    config = timm.get_pretrained_cfg(NAME)
    home = tmp_path / f"models--{config.hf_hub_id.replace('/', '--')}"
    (home / "refs").mkdir(parents=True)
    (home / "refs/main").write_text("0" * 40)
    snapshot = home / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    save_file(model.state_dict(), snapshot / "model.safetensors")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    check_weights(NAME, "auto")
    assert torch.allclose(first_map(Backbone(NAME, "auto", [0])), first_map_of(model), atol=1e-6)


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_without_network_and_cache_it_says_so_at_once(device, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    started = time.monotonic()
    with pytest.raises(ArgumentError) as error, torch.device(device):
        Perceptual(NAME)
    assert time.monotonic() - started < 5
    assert str(error.value).startswith("weights: those of 'test_resnet' are not in the cache of the hub and cannot be")
    assert error.value.path == ("weights",)
    assert "weights: PATH, a .safetensors or .pth file of this backbone" in error.value.hints


def test_a_backbone_that_was_never_trained():
    with pytest.raises(ArgumentError, match=r"^weights: "):
        check_weights("test_vit_relpos", "auto")


@pytest.mark.parametrize("how", ["other", "part", "damaged", "text"])
def test_a_file_that_does_not_fit_is_never_taken(how, model, file, tmp_path):
    state = model.state_dict()
    if how == "other":
        state = timm.create_model("test_convnext").state_dict()
    elif how == "part":
        del state["layer2.0.conv1.weight"]
    path = tmp_path / "wrong.safetensors"
    save_file(state, path)
    if how == "damaged":
        path.write_bytes(path.read_bytes()[:-50])
    if how == "text":
        path = tmp_path / "wrong.pth"
        path.write_text("not weights")
    with pytest.raises(ArgumentError, match=r"^weights: .*wrong\.\w+ does not hold those of 'test_resnet': ") as error:
        Perceptual(NAME, weights=str(path))
    assert "\n" not in str(error.value)


def test_a_file_that_would_run_code_is_refused_before_timm_sees_it(tmp_path, monkeypatch):
    create, read = timm.create_model, []
    monkeypatch.setattr(timm, "create_model", lambda name, **k: read.append(k.get("pretrained")) or create(name, **k))

    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "owned"),)

    path = tmp_path / "wrong.pth"
    buffer = io.BytesIO()
    torch.save({"weight": torch.zeros(1), "x": Evil()}, buffer)
    path.write_bytes(buffer.getvalue())
    with pytest.raises(ArgumentError, match="does not hold those of"):
        Perceptual(NAME, weights=str(path))
    path.write_bytes(pickle.dumps(Evil(), protocol=2))
    with pytest.raises(ArgumentError, match="does not hold those of"):
        Perceptual(NAME, weights=str(path))
    assert not (tmp_path / "owned").exists()
    assert read
    assert True not in read


def tensors_of(loss):
    return dict(loss.backbone.net.named_parameters())


def test_losses_share_what_is_the_same(file):
    content, style = Perceptual(NAME, ["layer1"], str(file)), Style(NAME, ["layer2"], str(file))
    mine, theirs = tensors_of(content), tensors_of(style)
    assert set(mine) < set(theirs)
    assert all(mine[name] is theirs[name] for name in mine)
    other = tensors_of(Perceptual(NAME, ["layer1"], "random"))
    assert not any(mine[name] is other[name] for name in mine)
    x, y = torch.rand(2, 1, 3, 32, 32)
    content(x.double(), y.double())  # which widens what both hold
    assert style(x, y).dtype == torch.float32
    assert all(mine[name].data_ptr() == theirs[name].data_ptr() for name in mine)
    assert next(iter(mine.values())).dtype == torch.float32


def test_what_no_loss_holds_is_let_go(file):
    loss = Perceptual(NAME, weights=str(file))
    assert (NAME, file.resolve()) in backbones._alive
    del loss
    gc.collect()
    assert (NAME, file.resolve()) not in backbones._alive


def test_a_backbone_is_no_part_of_the_model():
    loss = nn.ModuleList([Style(NAME, weights="random")])
    assert not loss.state_dict()
    assert loss.load_state_dict({}).missing_keys == []
    x = torch.rand(1, 3, 32, 32)
    before = loss[0](x, -x)
    loss.train()  # a batch norm in training mode would see other statistics
    assert torch.equal(loss[0](x, -x), before)
    assert not any(parameter.requires_grad for parameter in loss.parameters())
    assert list(loss.parameters()), "moved with the loss, and counted"


def test_random_weights_do_not_depend_on_what_was_drawn_before_nor_change_what_is_drawn_after():
    torch.manual_seed(1)
    one = first_map(Backbone(NAME, "random", [0]))
    gc.collect()
    torch.manual_seed(2)
    expected = torch.rand(1)
    torch.manual_seed(2)
    other = first_map(Backbone(NAME, "random", [0]))
    assert torch.equal(one, other)
    assert torch.equal(torch.rand(1), expected)


def test_on_the_meta_device_nothing_is_read(file, monkeypatch):
    monkeypatch.setattr(backbones, "_loaded", None)
    with torch.device("meta"):
        loss = Style(NAME, weights=str(file))
        assert loss(torch.empty(2, 3, 32, 32), torch.empty(2, 3, 32, 32)).is_meta

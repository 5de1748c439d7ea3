"""Which precision a job translates in, what it says about it, and several devices."""

import re

import numpy as np
import pytest
import torch

from i2i.inference.jobs import calibration
from i2i.inference.translator import Translator
from i2i.pipelines.base import Applied
from i2i.training.precision import Precision
from tests.bundles import make_image, pixels
from tests.cli.translating import contents, lines, translate

LINE = r"precision bf16: [\d.]+ % of values within 1 of fp32, none beyond \d+ \(first {}\)"


@pytest.fixture
def six(tmp_path):
    for index in range(6):
        make_image(tmp_path / f"in/{index}.png", seed=index)
    return tmp_path / "in"


@pytest.fixture
def tempted(monkeypatch):
    """A CPU that would rather compute in bfloat16; returns a function that says whether this is near enough."""
    monkeypatch.setattr(Precision, "candidates", classmethod(lambda cls, device: (cls("bf16", device),)))
    monkeypatch.setattr(calibration, "_GAIN", float("inf"))

    def will_do(answer):
        monkeypatch.setattr(calibration, "_SHARE", 0.0 if answer else 2.0)
        monkeypatch.setattr(calibration, "_FARTHEST", 255)

    will_do(True)
    return will_do


@pytest.fixture
def computed(monkeypatch):
    """The precisions of all forward passes."""
    names = []
    outputs = Applied.outputs

    def remembered(self, images, direction, seed_of, arithmetic):
        names.extend([arithmetic.name] * len(images))
        return outputs(self, images, direction, seed_of, arithmetic)

    monkeypatch.setattr(Applied, "outputs", remembered)
    return names


def precisions(out):
    return [entry["options"]["precision"] + "+" * entry["options"].get("calibrated", False) for entry in lines(out)]


def test_a_faster_one_is_taken_where_it_is_near_enough(model, six, tmp_path, tempted, computed, capsys):
    out = tmp_path / "out"
    assert translate(model, six, out, "--device", "cpu") == 0
    assert re.search(LINE.format("4 images"), capsys.readouterr().out)
    assert computed == ["fp32"] * 4 + ["bf16"] * 6, "the images that were compared are not translated again"
    assert precisions(out / "manifest.jsonl") == ["bf16+"] * 6
    expected = Translator.load(model, device="cpu", precision="bf16")
    for index in range(6):
        np.testing.assert_array_equal(pixels(out / f"{index}.png"), expected(six / f"{index}.png"))


def test_fp32_is_taken_where_no_other_is_near_enough(model, six, tmp_path, tempted, computed, capsys):
    tempted(False)
    out = tmp_path / "out"
    assert translate(model, six, out, "--device", "cpu") == 0
    assert re.search("precision fp32: bf16 has .* within 1 of fp32", capsys.readouterr().out)
    assert computed == ["fp32"] * 4 + ["bf16"] * 4 + ["fp32"] * 2
    assert precisions(out / "manifest.jsonl") == ["fp32+"] * 6
    assert translate(model, six, tmp_path / "exact", "--precision", "fp32") == 0
    assert contents(out) == contents(tmp_path / "exact")


def test_few_images_are_translated_exactly_without_comparing(model, photos, tmp_path, tempted, computed, capsys):
    assert translate(model, photos, tmp_path / "out", "--device", "cpu") == 0
    assert computed == ["fp32"] * 3 and "within" not in capsys.readouterr().out
    assert precisions(tmp_path / "out/manifest.jsonl") == ["fp32"] * 3


@pytest.mark.parametrize("first", [True, False])
def test_a_job_that_goes_on_keeps_its_precision(first, model, six, tmp_path, tempted, computed, capsys):
    """Whatever a calibration would say now."""
    out = tmp_path / "out"
    tempted(first)
    assert translate(model, six, out, "--device", "cpu") == 0
    before = contents(out)
    (out / "3.png").unlink()
    for index in range(6, 11):
        make_image(six / f"{index}.png", seed=index)
    computed.clear()
    tempted(not first)
    capsys.readouterr()
    assert translate(model, six, out, "--device", "cpu") == 0
    assert computed == ["bf16" if first else "fp32"] * 6
    assert "translated 6, skipped 5" in capsys.readouterr().out
    assert contents(out).items() >= before.items()
    assert set(precisions(out / "manifest.jsonl")) == {"bf16+" if first else "fp32+"}


def test_what_is_exact_is_not_done_again_by_auto_and_what_is_not_is_by_fp32(model, six, tmp_path, tempted, capsys):
    out = tmp_path / "out"
    assert translate(model, six / "[01].png", out, "--precision", "fp32", "--device", "cpu") == 0
    assert translate(model, six, out, "--device", "cpu") == 0
    assert translate(model, six / "[1-5].png", out, "--precision", "bf16", "--device", "cpu") == 0
    assert translate(model, six, out, "--precision", "fp32", "--device", "cpu") == 0
    said = re.findall(r"translated \d+, skipped \d+", capsys.readouterr().out)
    assert said == [
        "translated 2, skipped 0",
        "translated 4, skipped 2",  # exactly: no more than the four are left
        "translated 5, skipped 0",
        "translated 5, skipped 1",
    ]


def test_a_forced_one_says_its_error(model, six, tmp_path, computed, capsys):
    out = tmp_path / "out"
    assert translate(model, six / "0.png", out, "--precision", "bf16", "--device", "cpu") == 0
    assert re.search(LINE.format("image"), capsys.readouterr().out)
    assert translate(model, six, out, "--precision", "bf16", "--device", "cpu") == 0
    assert re.search(LINE.format("4 images"), capsys.readouterr().out)
    assert computed == ["fp32", "bf16"] + ["fp32"] * 4 + ["bf16"] * 5
    assert precisions(out / "manifest.jsonl") == ["bf16"] * 6
    computed.clear()
    assert translate(model, six, out, "--precision", "bf16", "--device", "cpu") == 0
    assert not computed and "within" not in capsys.readouterr().out


@pytest.mark.parametrize("precision", ["fp32", "winograd", "auto"])
def test_two_devices_make_what_one_makes(precision, model, six, tmp_path, capsys, tempted):
    threads = torch.get_num_threads()
    for name, device in (("one", "cpu"), ("two", "cpu,cpu")):
        assert translate(model, six, tmp_path / name, "--device", device, "--precision", precision) == 0
    assert "on cpu, cpu, " in capsys.readouterr().out
    assert contents(tmp_path / "two") == contents(tmp_path / "one")
    inputs = [entry["input"] for entry in lines(tmp_path / "two/manifest.jsonl")]
    assert sorted(inputs) == [f"{index}.png" for index in range(6)]
    assert torch.get_num_threads() == threads


def test_devices_that_cannot_be(model, six, tmp_path, capsys):
    assert translate(model, six, tmp_path / "out", "--device", "cuda:7,cuda:7") == 2
    assert "--device names cuda:7 twice" in capsys.readouterr().err
    assert translate(model, six, tmp_path / "out", "--device", "cpu,gpu") == 2
    assert "no device is named 'gpu'" in capsys.readouterr().err

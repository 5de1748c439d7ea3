"""The plan as a user reads it."""

import re

import pytest
import torch

from i2i.cli import main
from i2i.run.plan import outlook, units
from i2i.run.plan.forecast import Forecast
from i2i.run.plan.timing import Timing
from tests.conftest import REPOSITORY

TINY = str(REPOSITORY / "configs/tiny/pix2pix.yaml")
SMALL = [
    "generator.base_channels=4",
    "generator.num_downsamplings=3",
    "discriminator.base_channels=4",
    "trainer.device=cpu",
]
PAIRED = "data={type: paired, root: nowhere/%s, load_size: 36, crop_size: 32}"


def plan(capsys, *arguments, config=TINY):
    assert main("train", [config, "--dry-run", *SMALL, *arguments]) == 0
    captured = capsys.readouterr()
    assert "Traceback" not in captured.out + captured.err
    return captured.out


@pytest.fixture
def fixed_time(monkeypatch):
    """Steps that take 0.9 seconds."""
    plan = Forecast(1, {"weights": 1}, 1)
    monkeypatch.setattr(outlook, "forecast", lambda *_: plan)
    monkeypatch.setattr(outlook, "measure", lambda *_: Timing(0.9, 3, 1, None))


def test_all_figures_are_there_and_nothing_is_written(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    out = plan(capsys, PAIRED % "here", "trainer.steps=20")
    assert re.search(r"G +unet +1x3x32x32 +1x3x32x32 +[\d,]+ .* (M|G)FLOP", out)
    assert re.search(r"a training step of 2 images of 32x32 on cpu, (fp32|bf16)", out)
    assert re.search(r"compute +[\d.]+ MFLOP", out)
    assert re.search(r"memory +\d+ MiB +predicted peak", out)
    assert re.search(r"time +[\d.]+ (ms|s) +measured: median of \d+ steps on random images, after 1 to warm up", out)
    assert re.search(r"the run: [\d.]+ (ms|s|minutes), 20 steps", out)
    assert list(tmp_path.iterdir()) == []


def test_the_run_is_steps_times_seconds(capsys, fixed_time):
    assert "the run: 1.00 hours, 4,000 steps;" in plan(capsys, "trainer.steps=4000")
    # 10 epochs of 64 drawn images in twos
    assert "the run: 4.80 minutes, 320 steps: 10 epochs of 64 images;" in plan(
        capsys, "trainer={steps: null, epochs: 10}"
    )


def test_known_sets_are_as_long_as_they_were_published(capsys, fixed_time):
    epochs = "trainer={steps: null, epochs: 4, batch_size: 1}"
    out = plan(capsys, PAIRED % "maps", epochs)
    assert "the run: 1.10 hours, 4,384 steps: 4 epochs of 1,096 images, as maps was published" in out
    out = plan(capsys, PAIRED % "unheard_of", epochs)
    assert "the run: 1.00 hours, 4,000 steps for each 1,000 images (4 epochs; " in out


def test_no_measure_takes_no_step(capsys, monkeypatch):
    monkeypatch.setattr(outlook, "measure", lambda *_: pytest.fail("took a step"))
    out = plan(capsys, "--no-measure")
    assert "predicted peak" in out and "time" not in out
    assert "the run: 20 steps\n" in out


def test_no_measure_alone_is_refused(capsys):
    assert main("train", [TINY, "--no-measure"]) == 2
    assert "--no-measure: goes with --dry-run" in capsys.readouterr().err


def test_images_without_a_common_size(capsys):
    out = plan(capsys, "data={type: paired, root: nowhere, load_size: null, crop_size: null, transforms: none}")
    assert "the data set does not fix the size of its images" in out


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without")
def test_a_device_that_is_not_here(capsys):
    out = plan(capsys, "trainer.device=cuda", "trainer.precision=fp16")
    assert "on cpu, fp32: the device 'cuda' is not available here" in out
    assert "predicted peak" in out and "measured" not in out


def test_a_step_that_does_not_fit_is_not_tried(capsys, monkeypatch):
    monkeypatch.setattr(outlook, "_free_memory", lambda _: 2**16)
    out = plan(capsys)
    assert re.search(r"time +\? +not measured: [\d.]+ \w+ do not fit into the [\d.]+ \w+ that are free", out)


@pytest.mark.parametrize("error", [RuntimeError("can't allocate\n memory"), torch.OutOfMemoryError("no room")])
def test_a_step_that_fails_is_told(capsys, monkeypatch, error):
    def fail(*_):
        raise error

    monkeypatch.setattr("i2i.training.updater.Updater.step", fail)
    out = plan(capsys)
    text = " ".join(str(error).split())
    assert f"compute and memory are not known: {text}" in out
    assert f"not measured: {text}" in out


def test_a_network_that_needs_numbers(capsys, tmp_path):
    (tmp_path / "blocks.py").write_text(
        "import torch\nfrom i2i import GENERATORS\n"
        "@GENERATORS.register('numeric')\n"
        "class Numeric(torch.nn.Module):\n"
        "    def __init__(self, in_channels: int, out_channels: int):\n"
        "        super().__init__()\n"
        "        self.layer = torch.nn.Conv2d(in_channels, out_channels, 1)\n"
        "    def forward(self, x):\n"
        "        return self.layer(x) * float(x.detach().numpy().max())\n"
    )
    config = tmp_path / "own.yaml"
    config.write_text(f"extends: {TINY}\nplugins: [blocks.py]\ngenerator: {{type: numeric}}\n")
    assert main("train", [str(config), "--dry-run"]) == 0
    captured = capsys.readouterr()
    assert "compute and memory are not known:" in captured.out
    assert "median of" in captured.out
    assert captured.err == ""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (units.flops(113.6e9), "114 GFLOP"),
        (units.flops(1.884e12), "1.88 TFLOP"),
        (units.flops(5e5), "0.50 MFLOP"),
        (units.memory(2**30), "1.00 GiB"),
        (units.memory(300.4 * 2**20), "300 MiB"),
        (units.duration(0.0123), "12.3 ms"),
        (units.duration(59), "59.0 s"),
        (units.duration(90 * 60), "1.50 hours"),
        (units.duration(72 * 3600), "72.0 hours (3.0 days)"),
        (units.duration(2400 * 3600), "2,400 hours (100.0 days)"),
    ],
)
def test_units(text, expected):
    assert text == expected

"""Metrics on held-out images while training, and the best state kept."""

import json
import math
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from safetensors import safe_open

from i2i.cli import main
from i2i.data.drawn.dataset import Synthetic
from i2i.data.loading.stream import SeededDataset
from i2i.images.codecs import ImageCodec
from i2i.inference.bundle.bundle import load_bundle
from i2i.inference.translator import Translator
from i2i.pipelines.base import Channels, Direction, NetworkRole, Phase, Pipeline
from i2i.training.validation import Validation
from tests.run.test_run import TINY, UNET, assert_same, log_of, state_of, train

EACH = "validation={split: test, every: 2, count: 5, metrics: [psnr, l1], best: l1}"


WAYS = {"a2b": Direction(("G",), "a", "b")}


def measured(folder):
    return {entry["step"]: entry for entry in log_of(folder) if "val_l1_a2b" in entry or "val_l1" in entry}


def metrics_of(bundle):
    with safe_open(str(bundle), "pt") as file:
        return json.loads(file.metadata()["metrics"]), json.loads(file.metadata()["step"])


def test_metrics_are_those_of_the_translations_that_users_get(repository, tmp_path):
    """Measured again by hand: held-out images through the bundle, files' 8 bits against the true partners."""
    assert train(repository, tmp_path, "trainer.steps=5", EACH, config="pix2pix") == 0
    entries = measured(tmp_path)
    assert sorted(entries) == [2, 4, 5], "every 2 steps and at the end"
    translator = Translator.load(tmp_path)
    dataset = Synthetic(size=32, length=10, split="test", paired=True)
    errors = []
    for index in range(5):
        (a, truth), _ = dataset.draw(index)
        torch.manual_seed(0 * 1_000_003 + index)  # the generator's noise
        errors.append(translator(a.image).astype(float) - truth.image)
    l1 = np.mean([np.abs(error).mean() / 255 for error in errors])
    # Dropout draws other noise for another image's seed; the mean over pixels hardly depends on it.
    assert entries[5]["val_l1"] == pytest.approx(l1, rel=0.05)
    metrics, step = metrics_of(tmp_path / "model.safetensors")
    assert step == 5 and metrics["l1"] == pytest.approx(entries[5]["val_l1"], abs=1e-6)


def test_without_noise_the_metrics_are_exact(repository, tmp_path):
    quiet = ["generator.dropout=0", "pipeline.norm_policy=running"]
    assert train(repository, tmp_path, "trainer.steps=2", EACH, *quiet, config="pix2pix") == 0
    translator = Translator.load(tmp_path)
    dataset = Synthetic(size=32, length=10, split="test", paired=True)
    psnr = []
    for index in range(5):
        (a, truth), _ = dataset.draw(index)
        difference = (translator(a.image).astype(float) - truth.image) / 255
        psnr.append(-10 * math.log10((difference**2).mean()))
    assert measured(tmp_path)[2]["val_psnr"] == pytest.approx(np.mean(psnr), abs=1e-3)


def test_the_best_state_is_kept_beside_the_last(repository, tmp_path):
    assert train(repository, tmp_path, "trainer.steps=8", EACH, config="cyclegan") == 0
    entries = measured(tmp_path)
    assert {"val_psnr_a2b", "val_psnr_b2a", "val_l1_b2a"} <= entries[2].keys(), "both directions are measured"
    best = min(entries, key=lambda step: entries[step]["val_l1_a2b"])
    metrics, step = metrics_of(tmp_path / "best.safetensors")
    assert step == best and metrics["l1_a2b"] == pytest.approx(entries[best]["val_l1_a2b"], abs=1e-6)
    assert metrics_of(tmp_path / "model.safetensors")[1] == 8
    assert load_bundle(tmp_path / "best.safetensors")[0].step == best


def test_training_is_the_same_with_and_without_validation(repository, tmp_path):
    assert train(repository, tmp_path / "with", "trainer.steps=4", EACH, config="pix2pix") == 0
    assert train(repository, tmp_path / "without", "trainer.steps=4", config="pix2pix") == 0
    one, other = (state_of(tmp_path / name, 4)["networks"] for name in ("with", "without"))
    assert_same(one, other)


def test_a_resumed_run_remembers_average_and_best(repository, tmp_path):
    more = ["trainer.steps=7", EACH, "trainer.ema=0.9", "trainer.checkpoint_every=3"]
    assert train(repository, tmp_path / "whole", *more, config="pix2pix") == 0
    assert train(repository, tmp_path / "parts", *more, "--max-hours", "1e-9", config="pix2pix") == 0
    stopped = max(int(path.stem[5:]) for path in (tmp_path / "parts/checkpoints").glob("*.safetensors"))
    assert stopped < 7, "the time limit stopped it"
    assert train(repository, tmp_path / "parts", *more, "--resume", "auto", config="pix2pix") == 0
    one, other = (state_of(tmp_path / name, 7) for name in ("whole", "parts"))
    assert one["best"]["step"] > 0 and one["ema"]
    assert_same({k: v for k, v in one.items() if k != "config"}, {k: v for k, v in other.items() if k != "config"})
    for name in ("model.safetensors", "best.safetensors"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "parts" / name).read_bytes()


def test_bundles_hold_the_average(repository, tmp_path):
    assert train(repository, tmp_path, "trainer.steps=3", "trainer.ema=0.5") == 0
    state = state_of(tmp_path, 3)
    with safe_open(str(tmp_path / "model.safetensors"), "pt") as file:
        for name, average in state["ema"].items():
            assert torch.equal(file.get_tensor(name), average), name
    assert not torch.equal(state["ema"]["G.stem.conv.weight"], state["networks"]["G.stem.conv.weight"])


class Unpaired:
    channels = {"a": 3, "b": 3}
    codecs = {"a": ImageCodec(3), "b": ImageCodec(3)}

    def __len__(self):
        return 2

    def get(self, index, rng):
        return {"a": torch.zeros(3, 8, 8), "b": torch.zeros(3, 8, 8)}


def test_unpaired_images_have_no_target():
    from i2i.core.errors import DataError

    validation = Validation(SeededDataset(Unpaired(), 0), {"plain": Plain()}, WAYS, {"a2b": ""}, 1, None, True, 2, 0)
    with pytest.raises(DataError, match="no true translation"):
        validation.check()


class Paired(Unpaired):
    paired = True

    def get(self, index, rng):
        return {"a": torch.zeros(3, 8, 8), "b": torch.full((3, 8, 8), index - 0.5)}


class Plain:
    """A metric that keeps the contract and no more: no module, no device, no gathering."""

    def __init__(self):
        self.seen = []

    def update(self, translation, target):
        self.seen.append(float((translation - target).mean()))

    def compute(self):
        return sum(self.seen) / len(self.seen)

    def reset(self):
        self.seen = []


class Constant(Pipeline):
    networks: ClassVar[Any] = {"generator": NetworkRole("generator", {"G": Channels(("a",), ("b",))})}
    losses: ClassVar[Any] = {}
    phases = (Phase("G", ("G",), "generator"),)
    directions = WAYS

    def __init__(self, value):
        super().__init__({"G": torch.nn.Identity()}, {})
        self.value = value

    def translate(self, x, direction, rng):
        return torch.full_like(x, self.value)


def test_a_metric_needs_no_more_than_its_contract():
    validation = Validation(SeededDataset(Paired(), 0), {"plain": Plain()}, WAYS, {"a2b": ""}, 1, None, True, 2, 0)
    for _ in range(2):
        measured = validation.measure(Constant(1.0), torch.device("cpu"))
        assert measured["plain"] == pytest.approx(1 - (-0.5 + 0.5) / 2)


def test_translations_that_are_no_numbers_measure_as_none():
    """Pixels of a file would hide it."""
    from i2i.metrics.pixels import PSNR

    validation = Validation(SeededDataset(Paired(), 0), {"psnr": PSNR()}, WAYS, {"a2b": ""}, 1, "psnr", True, 2, 0)
    measured = validation.measure(Constant(float("nan")), torch.device("cpu"))
    assert math.isnan(measured["psnr"]) and not validation.is_better(measured, None)


def test_bundles_tell_metrics_of_their_own_weights_only(repository, tmp_path):
    arguments = ["trainer.steps=5", "trainer.checkpoint_every=3", "trainer.keep_checkpoints=9"]
    measured = EACH.replace("every: 2", "every: 4")
    assert train(repository, tmp_path, *arguments, measured, "--max-hours", "1e-9", config="pix2pix") == 0
    assert metrics_of(tmp_path / "model.safetensors") == ({}, 1), "step 1 was not measured"
    again = [*arguments, measured, "--resume", "auto"]
    assert train(repository, tmp_path, *again, config="pix2pix") == 0
    metrics, step = metrics_of(tmp_path / "model.safetensors")
    assert step == 5 and metrics["l1"] == pytest.approx(measured_at(tmp_path, 5)["val_l1"], abs=1e-6)


def measured_at(folder, step):
    return next(entry for entry in log_of(folder) if entry["step"] == step and "val_l1" in entry)


def test_a_best_state_that_could_not_be_written_is_not_forgotten(repository, tmp_path, monkeypatch, capsys):
    from i2i.run import start as run

    save = run.save_bundle

    def full(path, *rest):
        if path.name == "best.safetensors":
            raise OSError(28, "No space left on device")
        save(path, *rest)

    monkeypatch.setattr(run, "save_bundle", full)
    assert train(repository, tmp_path, "trainer.steps=4", EACH, config="pix2pix") == 1
    assert "saving failed" in capsys.readouterr().out
    assert state_of(tmp_path, 4)["best"]["step"] == 0, "what is not there is not the best"


def test_a_run_that_goes_on_elsewhere_chooses_its_best_anew(repository, tmp_path):
    assert train(repository, tmp_path / "old", "trainer.steps=4", EACH, config="pix2pix") == 0
    checkpoint = str(tmp_path / "old/checkpoints/step_00000004.safetensors")
    more = ["trainer.steps=6", EACH, "--resume", checkpoint]
    assert train(repository, tmp_path / "new", *more, config="pix2pix") == 0
    assert (tmp_path / "new/best.safetensors").exists()


@pytest.mark.parametrize(
    ("values", "than", "higher", "expected"),
    [(1.0, None, True, True), (1.0, 2.0, True, False), (1.0, 2.0, False, True), (float("nan"), None, True, False)],
)
def test_which_value_is_better(values, than, higher, expected):
    validation = Validation(SeededDataset(Unpaired(), 0), {"x": Plain()}, WAYS, {"a2b": ""}, 1, "x", higher, 2, 0)
    assert validation.is_better({"x": values}, than) is expected


@pytest.mark.parametrize(
    ("validation", "place", "message"),
    [
        ("{split: tset}", "validation.split", "did you mean 'test'?"),
        ("{split: test, best: fid}", "validation.best", "no metric here is named 'fid'"),
        ("{split: test, metrics: [psnt]}", "validation.metrics.0", "did you mean 'psnr'?"),
        ("{split: test, metrics: [psnr, psnr]}", "validation.metrics.1", "stands twice"),
        ("{split: test, every: 0}", "validation.every", "at least 1"),
        ("{split: test, evry: 5}", "validation.evry", "did you mean 'every'?"),
        ("[psnr]", "validation", "expected a mapping"),
        ("{split: test, data: {size: 8}}", "validation.data.size", "size must be at least 32"),
    ],
)
def test_mistakes_are_placed(repository, tmp_path, capsys, validation, place, message):
    assert train(repository, tmp_path, "trainer.steps=1", f"validation={validation}") == 2
    shown = capsys.readouterr().err
    assert f"<command line> {place}" in shown and message in shown, shown


def test_label_maps_are_measured_as_classes(repository, tmp_path):
    """Street -> labels, by the classes of the files that translate writes."""
    swapped = [
        "data={type: synthetic, domain: streets, encoding: onehot, size: 32, length: 10, paired: true, direction: b2a}",
        "validation={split: test, every: 2, count: 3, metrics: [pixel_accuracy, mean_iou], best: mean_iou}",
    ]
    quiet = ["generator.dropout=0", "pipeline.norm_policy=running", "trainer.steps=2"]
    narrow = [o for o in UNET if not o.startswith("data")]
    config = str(repository / "configs/tiny/pix2pix.yaml")
    assert main("train", [config, "--out", str(tmp_path), *narrow, *swapped, *quiet]) == 0
    translator = Translator.load(tmp_path)
    dataset = Synthetic("streets", size=32, length=10, split="test", paired=True)
    right = []
    for index in range(3):
        (label, _), (street, _) = dataset.draw(index)
        right.append((translator(street.image)[..., 0] == label.ids).mean())
    assert measured_keys(tmp_path)["val_pixel_accuracy"] == pytest.approx(np.mean(right), abs=1e-5)


def test_metrics_of_classes_are_for_one_hot_targets(repository, tmp_path, capsys):
    of_classes = "validation={split: test, every: 1, count: 2, metrics: [mean_iou], best: mean_iou}"
    assert train(repository, tmp_path / "pictures", "trainer.steps=1", of_classes) == 2
    assert "mean_iou: needs translations to one-hot classes" in capsys.readouterr().err
    # Labels -> street -> labels: the metric has a meaning in the second direction, and chooses by that.
    streets = "data={type: synthetic, domain: streets, encoding: onehot, size: 32, length: 10}"
    rest = [o for o in TINY if not o.startswith("data")]
    config = str(repository / "configs/tiny/cyclegan.yaml")
    arguments = [config, "--out", str(tmp_path / "labels"), *rest, streets, "losses.identity.weight=0", of_classes]
    assert main("train", [*arguments, "trainer.steps=1"]) == 0
    (entry,) = (entry for entry in log_of(tmp_path / "labels") if "val_mean_iou_b2a" in entry)
    assert "val_mean_iou_a2b" not in entry and (tmp_path / "labels/best.safetensors").exists()


def measured_keys(folder):
    return next(entry for entry in log_of(folder) if "val_mean_iou" in entry)

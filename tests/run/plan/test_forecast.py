"""What is foretold of a step, against what torch's profiler sees of the same step, and against formulas."""

import pytest
import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from i2i.cli import main
from i2i.run.experiment import Experiment
from i2i.run.plan.forecast import forecast
from i2i.run.plan.rehearsal import build, fill_pools, random_batch
from tests.conftest import REPOSITORY

CPU = torch.device("cpu")
SMALL = {
    "cyclegan": ["generator.num_blocks=1", "generator.base_channels=16", "data.size=64", "pipeline.pool_size=3"],
    "pix2pix": ["generator.base_channels=16", "generator.num_downsamplings=5", "data.size=64"],
}


def load(name, *overrides):
    fixed = [*SMALL[name], "trainer.precision=fp32"]  # auto is another arithmetic on another processor
    return Experiment.load(REPOSITORY / f"configs/tiny/{name}.yaml", [*fixed, *overrides])


def bytes_of(tensors):
    return sum(tensor.nbytes for tensor in tensors)


def lasting(updater, batch):
    """Bytes of what stays between two steps."""
    parameters = list(updater.pipeline.parameters())
    states = [t for o in updater.optimizers.values() for state in o.state.values() for t in state.values()]
    pooled = [
        image for pool in ("pool_x", "pool_y") for image in getattr(getattr(updater.pipeline, pool, None), "images", ())
    ]
    gradients = [p.grad for p in parameters if p.grad is not None]
    return bytes_of([*parameters, *updater.pipeline.buffers(), *states, *pooled, *gradients, *batch.values()])


def peak_of_profile(step):
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        step()
    events = [e for e in profiler.profiler.kineto_results.events() if e.name() == "[memory]"]
    live = peak = 0
    for event in sorted(events, key=lambda e: e.start_ns()):
        live += event.nbytes()
        peak = max(peak, live)
    return peak


@pytest.mark.parametrize(
    ("name", "overrides"),
    [
        pytest.param("cyclegan", [], marks=pytest.mark.slow),
        pytest.param("cyclegan", ["trainer.accumulate=2"], marks=pytest.mark.slow),
        pytest.param("cyclegan", ["trainer.gradient_checkpointing=true"], marks=pytest.mark.slow),
        ("pix2pix", ["trainer.batch_size=4"]),
    ],
)
def test_the_peak_is_that_of_a_real_step(name, overrides):
    experiment = load(name, *overrides)
    updater, batch = build(experiment, CPU), random_batch(experiment)
    updater.step(batch)
    fill_pools(updater)
    real = lasting(updater, batch) + peak_of_profile(lambda: updater.step(batch))
    # The real one includes the copies that convolutions work on, a few images.
    assert 0.9 * real < forecast(experiment, CPU).peak < 1.02 * real


def test_parts_are_what_their_names_say():
    experiment = load("cyclegan")
    networks = experiment.meta_networks
    count = sum(p.numel() for network in networks.values() for p in network.parameters())
    generators = sum(p.numel() for letter in "GF" for p in networks[letter].parameters())
    parts = forecast(experiment, CPU).parts
    assert parts["weights"] == pytest.approx(4 * count, rel=0.02)  # rounded up to 64 bytes each
    assert parts["optimizer"] == pytest.approx(2 * 4 * count, rel=0.04)  # Adam: two moments
    assert parts["batch"] == 2 * 2 * 3 * 64 * 64 * 4
    assert parts["pool"] == 2 * 3 * 3 * 64 * 64 * 4
    assert "average" not in parts
    averaged = forecast(load("cyclegan", "trainer.ema=0.9"), CPU).parts
    assert averaged["average"] == pytest.approx(4 * generators, rel=0.02)
    assert "optimizer" not in forecast(load("pix2pix", "optimizer={type: sgd, lr: 0.1}"), CPU).parts


@pytest.mark.slow
def test_settings_that_save_memory_do():
    def foretell(*overrides):
        resnet = "generator={type: resnet, num_blocks: 6, base_channels: 16}"
        fixed = [resnet, "data.size=64", "trainer.batch_size=4", "trainer.precision=fp32"]
        return forecast(Experiment.load(REPOSITORY / "configs/tiny/pix2pix.yaml", [*fixed, *overrides]), CPU)

    plain, parts = foretell(), foretell("trainer.accumulate=4")
    again, short = foretell("trainer.gradient_checkpointing=true"), foretell("trainer.precision=bf16")
    assert parts.parts["activations"] < 0.5 * plain.parts["activations"]
    assert again.parts["activations"] < 0.75 * plain.parts["activations"]
    assert short.parts["activations"] < 0.9 * plain.parts["activations"]
    assert again.flops > 1.1 * plain.flops


def test_arithmetic_is_three_forwards_for_what_is_trained():
    """Backward takes two products where forward takes one; the first layer has no gradient of its input."""
    experiment = load("pix2pix", "trainer.batch_size=1")
    forward = {}
    for letter, network in experiment.meta_networks.items():
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            network(torch.empty([1, *experiment.trial.calls[letter].input[1:]], device="meta"))
        forward[letter] = counter.get_total_flops()
    # D learns from real and fake, then judges the fake for G: that is forward, and the gradient of its input.
    most = 3 * forward["G"] + 3 * 2 * forward["D"] + 2 * forward["D"]
    assert 0.9 * most < forecast(experiment, CPU).flops <= most


def test_frozen_networks_need_no_optimizer(tmp_path, capsys):
    tiny = str(REPOSITORY / "configs/tiny/pix2pix.yaml")
    assert main("train", [tiny, *SMALL["pix2pix"], "--out", str(tmp_path), "trainer.steps=1"]) == 0
    capsys.readouterr()
    experiment = load("pix2pix")
    frozen = Experiment.load(
        tiny, [f"generator={{bundle: {tmp_path / 'model.safetensors'}, frozen: true}}", "data.size=64"]
    )
    plan, plain = forecast(frozen, CPU), forecast(experiment, CPU)
    judge = sum(p.numel() for p in experiment.meta_networks["D"].parameters())
    assert plan.parts["optimizer"] == pytest.approx(2 * 4 * judge, rel=0.1)
    assert plan.flops < plain.flops


@pytest.mark.parametrize(
    ("name", "override"),
    [
        ("pix2pix", "losses.adversarial.type=wgan"),
        ("pix2pix", "trainer={ema: 0.9, clip_norm: 1}"),
        ("cyclegan", "pipeline.pool_size=1"),
    ],
)
def test_all_kinds_of_steps_can_be_foretold(name, override):
    assert forecast(load(name, override), CPU).peak > 0


def test_nothing_is_left_behind(capfd):
    """Neither warnings about fake tensors nor a change of the experiment."""
    experiment = load("pix2pix", "trainer.ema=0.9")
    forecast(experiment, CPU)
    assert capfd.readouterr().err == ""
    updater = build(experiment, CPU)
    assert all(type(parameter) is torch.nn.Parameter for parameter in updater.pipeline.parameters())
    updater.step(random_batch(experiment))


@pytest.mark.parametrize(
    "more",
    [
        pytest.param(["trainer.batch_size=6", "trainer.accumulate=6"], marks=pytest.mark.slow),
        pytest.param(["trainer.batch_size=12"], marks=pytest.mark.slow),
    ],
)
def test_many_take_as_much_as_few_do_in_proportion(monkeypatch, more):
    """The line through a few parts, or images, ends where a forecast of them all does."""
    experiment = load("cyclegan", *more)
    quick = forecast(experiment, CPU)
    monkeypatch.setattr("i2i.run.plan.forecast._FEW_PARTS", 16)
    monkeypatch.setattr("i2i.run.plan.forecast._FEW_IMAGES", 16)
    exact = forecast(experiment, CPU)
    assert quick.flops == exact.flops
    assert quick.peak == pytest.approx(exact.peak, rel=0.05)


@pytest.mark.slow
def test_numbers_beyond_all_reason_are_foretold_at_once():
    huge = ["pipeline.pool_size=1000000000", "trainer.batch_size=1000000000000", "trainer.accumulate=1000000000"]
    parts = forecast(load("cyclegan", *huge), CPU).parts
    image = 3 * 64 * 64 * 4  # bytes
    assert parts["pool"] == pytest.approx(2 * 10**9 * image, rel=1e-3)
    assert parts["batch"] == pytest.approx(2 * 10**12 * image, rel=1e-3)


@pytest.mark.slow
def test_weights_are_not_made_for_a_forecast(monkeypatch):
    experiment = Experiment.load(REPOSITORY / "configs/tiny/cyclegan.yaml", ["generator.base_channels=4000"])
    monkeypatch.setattr(Experiment, "build_pipeline", lambda _: pytest.fail("weights were made"))
    generators = 2 * 4 * sum(p.numel() for p in experiment.meta_networks["G"].parameters())
    assert forecast(experiment, torch.device("cpu")).parts["weights"] >= generators > 80e9

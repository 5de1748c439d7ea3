"""Compiled networks: the same step, on the paths that allow it, and never where it was not asked for."""

import copy
import json
import re

import pytest
import torch
import torch._dynamo
from torch._dynamo.utils import counters
from torch._inductor import config as inductor

from i2i.core.errors import ArgumentErrors
from i2i.run.experiment import Experiment
from i2i.run.start import train
from i2i.training.compilation import Compilation, obstacle, twice_differentiated
from i2i.training.precision import Precision
from i2i.training.settings import TrainerSettings
from tests.training.test_updater import batch_of, updater_of, weights_of

CPU = torch.device("cpu")
TRACED = "aot_eager"  # all of torch.compile but the C++ compiler, in seconds
WGAN = {"adversarial": {"type": "wgan", "gradient_penalty": 10.0}}


@pytest.fixture(autouse=True)
def afresh():
    torch._dynamo.reset()
    counters.clear()
    yield
    torch._dynamo.reset()


def compiled(updater, backend=TRACED):
    lines = []
    updater.compilation = Compilation(updater.pipeline, updater.precision, lines.append, backend)
    return lines


def gradients_of(updater):
    return {name: p.grad for name, p in updater.pipeline.members.named_parameters()}


def assert_the_same_step(backend):
    plain, fast = updater_of(), updater_of()
    lines = compiled(fast, backend)
    expected, found = plain.step(batch_of()), fast.step(batch_of())
    assert not lines and set(fast.compilation.letters) == {"G", "F", "D_X", "D_Y"}
    for name, value in expected.items():
        assert torch.allclose(found[name], value, rtol=1e-4, atol=1e-6), name
    gradients = gradients_of(fast)
    for name, gradient in gradients_of(plain).items():
        # A bias before an instance norm has no gradient but rounding.
        assert (gradients[name] - gradient).norm() <= 1e-3 * gradient.norm() + 1e-5, name
    assert counters["stats"]["unique_graphs"] >= 4 and not counters["graph_break"], "each network is one graph"
    assert fast.compilation.pop_seconds(1) > 0 and "step 1: compiled in" in lines[0]
    fast.step(batch_of(1))
    assert fast.compilation.pop_seconds(2) == 0, "nothing is compiled again"


@pytest.mark.slow
def test_a_compiled_step_is_the_same_step():
    assert_the_same_step(TRACED)


@pytest.mark.slow
def test_a_step_in_compiled_code_is_the_same_step():
    if reason := obstacle(Precision("fp32", CPU)):
        pytest.skip(reason)
    assert_the_same_step("inductor")


@pytest.mark.slow
def test_a_size_that_changes_is_compiled_once_more_for_all_sizes():
    updater = updater_of()
    compiled(updater)
    for step, size in enumerate((32, 40, 48, 56, 64)):
        updater.step(batch_of(step, size))
        if step == 1:
            before = counters["stats"]["unique_graphs"]
    assert counters["stats"]["unique_graphs"] == before <= 12


@pytest.mark.slow
def test_only_steps_run_compiled_code():
    updater = updater_of(ema=0.5)
    names = set(updater.pipeline.members.state_dict())
    compiled(updater)
    updater.step(batch_of())
    updater.compilation.pop_seconds(1)
    graphs = counters["stats"]["unique_graphs"]
    with torch.no_grad():
        updater.pipeline.previews(batch_of(1, 48))
        copy.deepcopy(updater.pipeline.members)["G"](batch_of(2, 56)["a"])
        with updater.average.in_place():
            updater.pipeline.translate(batch_of()["a"], "a2b", torch.Generator())
    assert counters["stats"]["unique_graphs"] == graphs > 0
    assert set(weights_of(updater)) == names


def test_a_step_that_fails_leaves_nothing_compiled_behind():
    updater = updater_of()
    compiled(updater)
    with pytest.raises(KeyError):
        updater.step({"a": batch_of()["a"]})
    assert all(network._compiled_call_impl is None for network in updater.pipeline.members.values())


@pytest.mark.parametrize(
    ("loss", "eager"),
    [
        ({"type": "lsgan"}, ()),
        ({"type": "wgan", "gradient_penalty": 0.0}, ()),
        ({"type": "wgan", "gradient_penalty": 10.0}, ("D_X", "D_Y")),
        ({"type": "non_saturating", "r1": 1.0}, ("D_X", "D_Y")),
        ([{"type": "lsgan"}, {"type": "wgan"}], ("D_X", "D_Y")),
    ],
)
def test_a_penalty_leaves_discriminators_as_they_are(loss, eager):
    assert twice_differentiated(updater_of(losses={"adversarial": loss}).pipeline) == eager


def test_a_step_with_a_penalty_is_taken():
    plain, fast = updater_of(losses=WGAN), updater_of(losses=WGAN)
    lines = compiled(fast)
    assert fast.compilation.letters == ("G", "F")
    assert lines == ["compile: not D_X, D_Y: a penalty differentiates their gradient"]
    expected, found = plain.step(batch_of()), fast.step(batch_of())
    assert torch.allclose(found["D_X_penalty"], expected["D_X_penalty"], rtol=1e-3)
    assert counters["stats"]["unique_graphs"] >= 2


def test_without_a_compiler_networks_run_as_they_are():
    updater = updater_of()
    with inductor.patch({"cpp.cxx": ("/nowhere/g++",), "force_disable_caches": True}):
        (line,) = compiled(updater, "inductor")
    assert line.startswith("compile: off, it needs a C++ compiler, such as g++; the variable CXX names another (")
    assert "/nowhere/g++" in line and "\n" not in line
    assert updater.compilation.letters == ()
    plain = updater_of()
    for one in (updater, plain):
        one.step(batch_of())
    assert all(torch.equal(value, weights_of(updater)[name]) for name, value in weights_of(plain).items())


@pytest.mark.parametrize(
    ("precision", "why"),
    [("winograd", "precision winograd brings its own"), ("bf16", "compiled bfloat16 gave gradients")],
)
def test_what_cannot_be_compiled_on_a_cpu_runs_as_it_is(precision, why):
    updater = updater_of(precision=precision)
    (line,) = compiled(updater)
    assert line.startswith(f"compile: off, {why}") and not updater.compilation.letters


def test_recomputation_is_not_compiled():
    with pytest.raises(ArgumentErrors, match="compile must be false with gradient_checkpointing"):
        TrainerSettings(steps=1, compile=True, gradient_checkpointing=True)


@pytest.mark.slow
def test_compiling_is_told_and_does_not_count_as_speed(monkeypatch, repository, tmp_path):
    monkeypatch.setattr(Compilation.__init__, "__defaults__", (TRACED,))
    overrides = ["trainer.compile=true", "trainer.steps=2", "trainer.log_every=1", "trainer.precision=fp32"]
    experiment, lines = Experiment.load(repository / "configs/tiny/cyclegan.yaml", overrides), []
    code, folder = train(experiment, tmp_path / "run", report=lines.append)
    told = [re.fullmatch(r"step 1: compiled in (\d+) s", line) for line in lines]
    assert code == 0 and sum(map(bool, told)) == 1
    seconds = next(float(one[1]) for one in told if one)
    first, _ = (json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines())
    assert seconds >= 1 and 2 / first["images_per_second"] < seconds, "a step of two images, without compiling"

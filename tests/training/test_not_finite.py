"""NaN and infinity never reach weights, whether the host finds them at once or the device while it runs ahead."""

import pytest
import torch

from i2i.pipelines.base import Terms, each_of
from i2i.pipelines.image_pool import ImagePool
from i2i.training.updater import Updater
from i2i.training.verdicts import NotFinite
from tests.training.test_updater import PATCHGAN, UNET, batch_of, updater_of, weights_of

NAN = float("nan")
PARTS = {
    "cyclegan": ("cyclegan", {"generator": {"type": "resnet", "num_blocks": 1, "base_channels": 4, "norm": "batch"}}),
    "pix2pix": ("pix2pix", {"generator": UNET, "discriminator": PATCHGAN | {"norm": "batch"}}),
}


def fused_updater(pipeline, parts, pool=4, **trainer):
    """With Adam's fused kernel, which can leave an update out by itself; the CPU has one, too."""
    updater = updater_of(pipeline, **parts, **trainer)
    for module in updater.pipeline.modules():
        if isinstance(module, ImagePool):
            module.size = pool  # 4 are full after the first batch: from then on chance decides
    for name, optimizer in updater.optimizers.items():
        fused = torch.optim.Adam(optimizer.param_groups[0]["params"], lr=1e-3, fused=True)
        fused.param_groups[0]["initial_lr"] = 1e-3
        updater.optimizers[name] = fused
    return updater


@pytest.fixture
def ahead(monkeypatch):
    """Lets the host run ahead of the CPU as it does of a GPU."""

    def runs_ahead(self, optimizer):
        return optimizer.param_groups[0]["fused"]

    return lambda: monkeypatch.setattr(Updater, "_runs_ahead", runs_ahead)


def broken_batch(seed):
    batch = batch_of(seed)
    batch["a"][0, 0, 0, 0] = NAN
    return batch | {"a_path": ["broken.png", "other.png"], "b_path": ["b.png"]}


BATCHES = [batch_of, batch_of, broken_batch, batch_of, broken_batch, batch_of, batch_of]


def state_of(updater):
    state = updater.state()
    pool = [image for one in state["pipeline"] for extra in one.values() for image in extra["images"]]
    moments = [
        value for o in state["optimizers"].values() for one in o["state"].values() for _, value in sorted(one.items())
    ]
    return [*state["networks"].values(), *pool, *moments]


@pytest.mark.parametrize(("pipeline", "parts"), PARTS.values(), ids=PARTS)
def test_the_device_leaves_out_what_the_host_would(pipeline, parts, ahead, capsys):
    at_once = fused_updater(pipeline, parts, on_nan="skip", ema=0.9)
    for seed, make in enumerate(BATCHES):
        at_once.step(make(seed))
    said = capsys.readouterr().out
    ahead()
    later = fused_updater(pipeline, parts, on_nan="skip", ema=0.9)
    for seed, make in enumerate(BATCHES):
        later.step(make(seed))
    for one, other in zip(state_of(at_once), state_of(later), strict=True):
        assert torch.equal(one, other)
    assert all(torch.isfinite(value.float()).all() for value in state_of(later))
    assert later.left_out == at_once.left_out == 4, "two phases of two steps"
    assert capsys.readouterr().out.splitlines() == said.splitlines(), "the same is told of the same steps"
    assert "step 3: " in said and "image: broken.png" in said


@pytest.mark.parametrize(("pipeline", "parts"), PARTS.values(), ids=PARTS)
def test_steps_before_and_after_are_those_of_a_run_without_the_broken_ones(pipeline, parts, ahead):
    """The optimizers must not have counted the updates left out; nothing here is random."""
    parts = {**parts, "generator": parts["generator"] | {"dropout": 0.0}}
    ahead()
    whole, clean = (fused_updater(pipeline, parts, pool=0, on_nan="skip") for _ in range(2))
    for seed, make in enumerate(BATCHES[:4]):
        whole.step(make(seed))
        if make is batch_of:
            clean.step(make(seed))
    for (name, one), other in zip(whole.pipeline.members.state_dict().items(), weights_of(clean).values(), strict=True):
        assert torch.equal(one, other), name


@pytest.mark.parametrize("is_ahead", [False, True])
def test_loss_step_and_images_are_named_in_the_step(is_ahead, ahead):
    if is_ahead:
        ahead()
    updater = fused_updater("cyclegan", {})
    updater.step(batch_of(0))
    before = weights_of(updater)
    with pytest.raises(NotFinite, match=r"^step 2: .*\bcycle_x\b.* is not finite") as caught:
        updater.step(broken_batch(1))
    assert "image: broken.png" in caught.value.hints and "image: b.png" in caught.value.hints
    for name, value in weights_of(updater).items():
        assert torch.equal(value, before[name]), name


def test_a_loss_that_is_infinite_with_finite_gradients_is_left_out():
    """An infinity that no gradient shows, as of a loss that is clamped beyond it."""
    updater = updater_of(on_nan="skip")
    loss = type(updater.pipeline).loss

    def infinite(self, phase, *rest):
        terms = Terms.joined(each_of(loss(self, phase, *rest), phase))
        name = next(iter(terms.losses))
        return Terms({**terms.losses, name: terms.losses[name] + float("inf")}, keep=terms.keep)

    type(updater.pipeline).loss = infinite
    try:
        before = weights_of(updater)
        assert updater.step(batch_of()) == {}
    finally:
        type(updater.pipeline).loss = loss
    assert all(torch.equal(value, before[name]) for name, value in weights_of(updater).items())


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize(("pipeline", "parts"), [*PARTS.values(), ("cyclegan", {})], ids=[*PARTS, "instance"])
def test_flat_images_train(pipeline, parts, precision):
    updater = updater_of(pipeline, **parts, precision=precision)
    for value in (0.0, 1.0, -1.0, 0.3):
        flat = {key: torch.full((4, 3, 32, 32), value) for key in "ab"}
        scalars = updater.step(flat)
        assert scalars and all(torch.isfinite(scalar) for scalar in scalars.values())
    assert all(torch.isfinite(value.float()).all() for value in weights_of(updater).values())


class HalfPrecision:
    """A CPU that scales losses as a GPU does for fp16: the scaler has a form for it."""

    @staticmethod
    def updater(**trainer):
        updater = updater_of(**trainer)
        updater.scalers = {phase.name: torch.amp.GradScaler("cpu") for phase in updater.phases}
        return updater


def spoiled(updater, phase, monkeypatch, gradient_only):
    """Makes a phase's gradient infinite, and its loss as well unless told otherwise."""
    loss = type(updater.pipeline).loss

    def infinite(self, name, *rest):
        terms = Terms.joined(each_of(loss(self, name, *rest), name))
        if name != phase:
            return terms
        value = sum(terms.losses.values())
        if gradient_only:
            value.register_hook(lambda gradient: gradient * float("inf"))
            return Terms({"loss": value})
        return Terms({"loss": value * float("inf")})

    monkeypatch.setattr(type(updater.pipeline), "loss", infinite)


def test_a_scaled_run_goes_on_after_an_update_that_was_refused(monkeypatch):
    updater = HalfPrecision.updater(on_nan="rollback")
    updater.step(batch_of(0))
    state = updater.state()
    with pytest.raises(NotFinite):
        updater.step(broken_batch(1))
    updater.load({**state, "step": 1})
    assert updater.step(batch_of(2))


def test_a_gradient_that_overflows_at_any_scale_is_told_though_the_other_phase_is_fine(monkeypatch):
    updater = HalfPrecision.updater()
    spoiled(updater, "G", monkeypatch, gradient_only=True)
    with pytest.raises(NotFinite, match="the gradient of G is not finite"):
        for seed in range(40):
            updater.step(batch_of(seed))
    assert 20 < updater.num_steps < 40, "some overflows are nothing to tell of"

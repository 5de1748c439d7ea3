"""What the trainer does around an objective: averages, clipping, memory for time, networks that stay as they are."""

import copy

import pytest
import torch

from i2i.core.config.document import node_of
from i2i.networks.kernels import winograd
from i2i.run.experiment import Experiment
from i2i.training.updater import Updater
from tests.training.timelines import timeline_of

RESNET = {"type": "resnet", "num_blocks": 1, "base_channels": 4}
UNET = {"type": "unet", "num_downsamplings": 3, "base_channels": 4}
COUNT = 4


PATCHGAN = {"type": "patchgan", "num_layers": 1, "base_channels": 4}


def updater_of(pipeline="cyclegan", generator=RESNET, discriminator=PATCHGAN, losses=None, make=None, **trainer):
    compared = {"cyclegan": "cycle", "pix2pix": "reconstruction"}[pipeline]
    document = {
        "pipeline": {"type": pipeline},
        "generator": generator,
        "discriminator": discriminator,
        "losses": {"adversarial": {"type": "lsgan"}, compared: {"type": "l1", "weight": 10}, **(losses or {})},
        "data": {"type": "synthetic", "size": 32, "paired": pipeline == "pix2pix"},
        "optimizer": {"type": "adam", "lr": 1e-3},
        "trainer": {"steps": 9, "batch_size": COUNT, "device": "cpu", "precision": "fp32", **trainer},
    }
    experiment = Experiment(node_of(document))
    builders = {
        role: make or (lambda ps, role=role: experiment.build_optimizer(role, ps))
        for role in experiment.optimizer_roles
    }
    pipeline = experiment.build_pipeline()
    updater = Updater(pipeline, builders, timeline_of(), experiment.settings, torch.device("cpu"))
    pipeline.train()
    return updater


def batch_of(seed=0, size=32):
    rng = torch.Generator().manual_seed(seed)
    return {key: torch.rand(COUNT, 3, size, size, generator=rng) * 2 - 1 for key in "ab"}


def weights_of(updater):
    return copy.deepcopy(updater.pipeline.members.state_dict())


def test_the_average_follows_its_formula():
    updater = updater_of(ema=0.2)
    expected = weights_of(updater)
    for step in range(4):
        updater.step(batch_of(step))
        decay = min(0.2, (1 + step) / (10 + step))  # 0.1, 0.18…, then 0.2
        now = weights_of(updater)
        expected = {name: decay * old + (1 - decay) * now[name] for name, old in expected.items()}
    averages = updater.average.networks.state_dict()
    assert {name.split(".")[0] for name in averages} == {"G", "F"}, "discriminators do not translate"
    for name, average in averages.items():
        assert torch.allclose(average, expected[name], rtol=1e-5, atol=1e-7), name


def test_the_average_is_used_in_place_and_training_goes_on_with_the_weights():
    updater = updater_of(ema=0.9)
    updater.step(batch_of())
    trained = updater.pipeline.members["G"]
    with updater.average.in_place():
        assert updater.pipeline.members["G"] is updater.average.networks["G"]
        assert updater.pipeline.G is updater.average.networks["G"], "also by its letter"
    assert updater.pipeline.members["G"] is trained
    assert not any(p.requires_grad for p in updater.average.networks.parameters())
    plain = updater_of()
    plain.step(batch_of())
    for name, value in weights_of(plain).items():
        assert torch.equal(value, weights_of(updater)[name]), "averaging changes nothing in training"


def gradients_of(updater):
    return {name: p.grad for name, p in updater.pipeline.members.named_parameters() if p.grad is not None}


def test_gradients_are_clipped_to_the_norm_over_all_networks_of_a_phase():
    free, clipped = updater_of(), updater_of(clip_norm=1e-3)
    for updater in (free, clipped):
        updater.step(batch_of())
    for letters in (("G.", "F."), ("D_X.", "D_Y.")):
        before = {k: g for k, g in gradients_of(free).items() if k.startswith(letters)}
        after = {k: g for k, g in gradients_of(clipped).items() if k.startswith(letters)}
        norm = torch.sqrt(sum(g.square().sum() for g in before.values()))
        assert norm > 1e-3, "there is something to clip"
        if letters[0] == "G.":  # the discriminators of the second phase have seen the same fakes in both
            for name, gradient in after.items():
                assert torch.allclose(gradient, before[name] * 1e-3 / norm, rtol=1e-3, atol=1e-9), name
        total = torch.sqrt(sum(g.square().sum() for g in after.values()))
        assert total == pytest.approx(1e-3, rel=1e-3)


def test_gradients_below_the_norm_are_left_alone():
    free, clipped = updater_of(), updater_of(clip_norm=1e6)
    for updater in (free, clipped):
        updater.step(batch_of())
    for name, value in weights_of(free).items():
        assert torch.equal(value, weights_of(clipped)[name]), name


MULTISCALE = {"type": "multiscale", "num_scales": 2, "discriminator": PATCHGAN}
CHECKPOINTED = {
    "resnet": ("cyclegan", {"generator": RESNET | {"norm": "batch"}}),
    "unet": ("cyclegan", {"generator": UNET}),
    "pix2pix": ("pix2pix", {"generator": UNET}),
    "spectral norm": ("pix2pix", {"discriminator": PATCHGAN | {"spectral_norm": True}}),
    "gradient penalty": (
        "pix2pix",
        {"discriminator": PATCHGAN | {"norm": "instance"}, "losses": {"adversarial": {"type": "wgan"}}},
    ),
    "R1": ("cyclegan", {"losses": {"adversarial": {"type": "non_saturating", "r1": 1.0}}}),
    "features": (
        "pix2pix",
        {"discriminator": MULTISCALE, "losses": {"feature_matching": {"type": "l1", "weight": 10}}},
    ),
}


@pytest.mark.parametrize(
    ("pipeline", "parts"),
    [
        pytest.param(*case, marks=[] if name in ("R1", "unet") else pytest.mark.slow)
        for name, case in CHECKPOINTED.items()
    ],
    ids=CHECKPOINTED,
)
def test_gradient_checkpointing_changes_no_bit(pipeline, parts):
    """Dropout draws the same numbers again; statistics and the vectors of spectral norms count each image once."""
    kept, recomputed = (updater_of(pipeline, **parts, gradient_checkpointing=on) for on in (False, True))
    for updater in (kept, recomputed):
        for step in range(3):
            updater.step(batch_of(step))
    for name, value in weights_of(kept).items():
        assert torch.equal(value, weights_of(recomputed)[name]), name


def test_gradient_checkpointing_computes_again_by_the_same_convolutions(monkeypatch):
    """PyTorch leaves its function modes in ``Tensor.backward``, and so does each convolution that is told by one."""
    monkeypatch.setattr(winograd, "MIN_TILES", 1)
    monkeypatch.setattr(winograd, "MIN_CHANNELS", 4)
    adversarial = {"adversarial": {"type": "wgan"}}
    kept, recomputed = (
        updater_of("pix2pix", losses=adversarial, precision="winograd", gradient_checkpointing=on)
        for on in (False, True)
    )
    for updater in (kept, recomputed):
        for step in range(2):
            updater.step(batch_of(step))
    for name, value in weights_of(kept).items():
        assert torch.equal(value, weights_of(recomputed)[name]), name


@pytest.mark.parametrize("precision", ["fp32", "winograd", "bf16"])
def test_one_of_two_generators_may_be_frozen(precision):
    """Its identity loss has no gradient."""
    updater = updater_of(losses={"identity": {"type": "l1"}}, precision=precision)
    updater.pipeline.frozen = frozenset({"G"})
    updater.pipeline.G.requires_grad_(False)
    builders = dict.fromkeys(("generator", "discriminator"), make_adam)
    partly = Updater(updater.pipeline, builders, updater.timeline, updater.settings, updater.device)
    partly.pipeline.train()
    before = weights_of(partly)
    assert {"identity_x", "identity_y", "cycle_x"} <= partly.step(batch_of()).keys()
    after = weights_of(partly)
    changed = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"F", "D_X", "D_Y"}


def test_a_checkpoint_of_a_run_in_another_memory_format_goes_on():
    """Adam's fused kernel takes the order of the weights in memory for that of its moments."""

    def resumed(memory_format):
        updater = updater_of(make=lambda ps: make_adam(ps, fused=True))
        updater.step(batch_of())
        state = copy.deepcopy(updater.state()) | {"step": 1}
        for optimizer in state["optimizers"].values():
            for values in optimizer["state"].values():
                for key, value in values.items():
                    if value.ndim == 4:
                        values[key] = value.to(memory_format=memory_format)
        updater.load(state)
        updater.step(batch_of(1))
        return weights_of(updater)

    expected, found = resumed(torch.contiguous_format), resumed(torch.channels_last)
    for name, value in expected.items():
        assert torch.equal(value, found[name]), name


def generators_forward(updater):
    return updater.pipeline(updater.now(batch_of(), "forward"))


def discriminators_features(updater):
    return updater.pipeline.D_X.logits_and_features(batch_of()["a"])


@pytest.mark.parametrize("forward", [generators_forward, discriminators_features])
def test_gradient_checkpointing_keeps_less(forward):
    def kept_bytes(**trainer):
        generator = RESNET | {"num_blocks": 6, "base_channels": 8}
        discriminator = MULTISCALE | {"discriminator": PATCHGAN | {"num_layers": 2, "base_channels": 16}}
        updater = updater_of(generator=generator, discriminator=discriminator, **trainer)
        sizes = {}

        def pack(tensor):
            sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            assert forward(updater)
        return sum(sizes.values())

    assert kept_bytes(gradient_checkpointing=True) < 0.6 * kept_bytes()


def test_running_statistics_count_an_image_once_however_the_batch_is_parted():
    """With parts, the shared forward is computed again for the phase that differentiates it."""
    updater = updater_of("pix2pix", UNET | {"dropout": 0.0}, accumulate=2)
    updater.step(batch_of())
    counts = [v for k, v in weights_of(updater).items() if k.startswith("G.") and k.endswith("num_batches_tracked")]
    assert counts and all(int(count) == 2 for count in counts), "two parts, each seen once"


def test_a_frozen_network_stays_as_it_is_and_in_evaluation_mode():
    updater = updater_of("pix2pix", UNET)
    updater.pipeline.frozen = frozenset({"G"})
    frozen = Updater(
        updater.pipeline, {"generator": torch.optim.Adam, "discriminator": make_adam}, updater.timeline,
        updater.settings, updater.device,
    )  # fmt: skip
    frozen.pipeline.train()
    assert not any(module.training for module in frozen.pipeline.G.modules())
    assert all(module.training for module in frozen.pipeline.D.modules())
    assert list(frozen.optimizers) == ["discriminator"], "nothing to optimize in the generator"
    before = weights_of(frozen)
    scalars = frozen.step(batch_of())
    assert "D" in scalars and "G_adversarial" not in scalars
    after = weights_of(frozen)
    changed = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"D"}, "also the running statistics of the frozen network"


def make_adam(parameters, **options):
    optimizer = torch.optim.Adam(parameters, lr=1e-3, **options)
    optimizer.param_groups[0]["initial_lr"] = 1e-3
    return optimizer


def test_an_update_with_a_nan_is_left_out_with_batch_norm_in_the_shared_graph():
    """D is left out first; the graph that G then needs must not have been written into."""
    updater = updater_of("pix2pix", UNET, on_nan="skip")
    updater.step(batch_of())
    before = weights_of(updater)
    broken = batch_of(1)
    broken["a"][0, 0, 0, 0] = float("nan")
    assert updater.step(broken) == {}
    after = weights_of(updater)
    assert all(torch.equal(before[name], after[name]) for name in before), "weights and running statistics"
    assert updater.step(batch_of(2)), "the next step is taken"


def test_an_update_that_was_taken_keeps_its_running_statistics_when_another_is_left_out(monkeypatch):
    updater = updater_of("pix2pix", UNET, discriminator=PATCHGAN | {"norm": "batch"}, on_nan="skip")
    loss = type(updater.pipeline).loss

    def broken(self, phase, *rest):
        terms = loss(self, phase, *rest)
        return terms if phase == "D" else type(terms)({"G": sum(terms.losses.values()) * float("nan")})

    monkeypatch.setattr(type(updater.pipeline), "loss", broken)
    scalars = updater.step(batch_of())
    assert "D" in scalars and "G" not in scalars
    counts = {k: int(v) for k, v in weights_of(updater).items() if k.startswith("D.") and k.endswith("tracked")}
    assert counts and set(counts.values()) == {2}, "D saw real and fake; what G's phase showed it is forgotten"

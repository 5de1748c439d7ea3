"""What every pipeline promises the trainer."""

import copy

import pytest
import torch

from i2i.core.errors import ConfigError
from i2i.core.registry import PIPELINES
from i2i.pipelines.base import Now, Terms, each_of, fitted
from i2i.pipelines.image_pool import ImagePool
from i2i.run.experiment import Experiment
from i2i.training.updater import Updater
from tests.conftest import REPOSITORY
from tests.training.timelines import timeline_of

SIZE = 32
TINY = {
    "resnet": {"base_channels": 4, "num_blocks": 1},
    "unet": {"base_channels": 4, "num_downsamplings": 3},
    "patchgan": {"base_channels": 4, "num_layers": 2},
}


def experiment_of(pipeline, generator="resnet", discriminator="patchgan", adversarial="lsgan", **changes):
    import yaml

    roles = {"adversarial": {"type": adversarial}}
    roles[{"pix2pix": "reconstruction", "cyclegan": "cycle"}[pipeline]] = {"type": "l1", "weight": 10}
    document = {
        "pipeline": {"type": pipeline},
        "generator": {"type": generator, **TINY.get(generator, {})},
        "discriminator": {"type": discriminator, **TINY.get(discriminator, {})},
        "losses": roles,
        "data": {"type": "synthetic", "size": SIZE, "length": 4, "paired": True},
        "trainer": {"steps": 1, "batch_size": 2, "device": "cpu", "precision": "fp32"},
    } | changes
    from i2i.core.config.document import parse

    return Experiment(parse(yaml.safe_dump(document), "test"))


def batch_of(seed=0, count=2, size=SIZE):
    rng = torch.Generator().manual_seed(seed)
    return {key: torch.rand(count, 3, size, size, generator=rng) * 2 - 1 for key in "ab"}


def updater_of(experiment):
    optimizers = {
        role: lambda parameters, role=role: experiment.build_optimizer(role, parameters)
        for role in experiment.optimizer_roles
    }
    device = torch.device("cpu")
    return Updater(experiment.build_pipeline(), optimizers, timeline_of(steps=1), experiment.settings, device)


def generator_seeded(seed=0):
    torch.manual_seed(seed)
    return torch.Generator().manual_seed(seed)


def now_of(batch, seed=0):
    return Now(batch, generator_seeded(seed))


def losses_of(pipeline, phase, batch, shared=None, seed=0):
    """What a phase gives, as one."""
    shared = pipeline(now_of(batch)) if shared is None else shared
    return Terms.joined(each_of(pipeline.loss(phase, now_of(batch, seed), shared), phase))


def tiny(name, *overrides):
    return Experiment.load(REPOSITORY / f"configs/tiny/{name}.yaml", ["trainer.precision=fp32", *overrides])


@pytest.mark.parametrize("name", PIPELINES.names())
def test_losses_are_pure(name):
    experiment = tiny(name)
    pipeline = experiment.build_pipeline().train()
    batch = experiment.data.sample(4, "cpu")
    for phase in pipeline.phases:
        shared = pipeline(now_of(batch))
        seen = {k: v.detach() for k, v in shared.items()} if phase.constant_shared else shared
        before = copy.deepcopy(pipeline.state_dict())
        one = losses_of(pipeline, phase.name, batch, seen, 1).losses
        other = losses_of(pipeline, phase.name, batch, seen, 1).losses
        assert {k: v.item() for k, v in one.items()} == {k: v.item() for k, v in other.items()}
        after = pipeline.state_dict()
        assert all(
            torch.equal(before[k], after[k])
            for k in before
            if isinstance(before[k], torch.Tensor) and "running" not in k and "num_batches" not in k
        )
        assert repr(before.get("pool_x._extra_state")) == repr(after.get("pool_x._extra_state"))


@pytest.mark.parametrize("name", PIPELINES.names())
def test_a_phase_gives_gradients_to_its_networks_alone(name, monkeypatch):
    experiment = tiny(name, "trainer.batch_size=4")
    updater = updater_of(experiment)
    receiving, take = {}, Updater._take

    def look(self, phase, *rest):
        members = self.pipeline.members
        with_gradients = {letter for letter in members if any(p.grad is not None for p in members[letter].parameters())}
        receiving[phase.name] = with_gradients
        taken = take(self, phase, *rest)
        self.pipeline.zero_grad(set_to_none=True)
        return taken

    monkeypatch.setattr(Updater, "_take", look)
    updater.step(experiment.data.sample(4, "cpu"))
    assert receiving == {phase.name: set(phase.trains) for phase in updater.pipeline.phases}


def test_pix2pix_judges_the_fake_of_before_by_the_discriminator_of_after():
    """D steps first; G's loss must come from the updated D (section 3.3)."""
    updater = updater_of(experiment_of("pix2pix"))
    batch, pipeline = batch_of(), updater.pipeline.train()
    fake = copy.deepcopy(pipeline)(now_of(batch))["fake"].detach()  # without dropout, so not random
    logged = updater.step(batch)
    expected = ((pipeline.D(torch.cat([batch["a"], fake], 1)) - 1) ** 2).mean()  # LSGAN, by hand
    assert logged["G_adversarial"].item() == pytest.approx(expected.item(), rel=1e-5)
    assert float(logged["G_reconstruction"]) == pytest.approx(10 * float((fake - batch["b"]).abs().mean()), rel=1e-5)


def test_cyclegan_losses_by_hand():
    pipeline = experiment_of("cyclegan", losses={
        "adversarial": {"type": "lsgan", "weight": 2},
        "cycle": [{"type": "l1", "weight": 10}, {"type": "l2", "weight": 3}],
        "identity": {"type": "l1", "weight": 5},
    }).build_pipeline()  # fmt: skip
    batch = batch_of()
    x, y, G, F = batch["a"], batch["b"], pipeline.G, pipeline.F
    losses = losses_of(pipeline, "G", batch).losses
    cycle = F(G(x)) - x
    expected = {
        "G_adversarial": 2 * ((pipeline.D_Y(G(x)) - 1) ** 2).mean(),
        "F_adversarial": 2 * ((pipeline.D_X(F(y)) - 1) ** 2).mean(),
        "cycle_x": 10 * cycle.abs().mean() + 3 * (cycle**2).mean(),
        "identity_x": 5 * (F(x) - x).abs().mean(),
        "identity_y": 5 * (G(y) - y).abs().mean(),
    }
    for name, value in expected.items():
        assert losses[name].item() == pytest.approx(value.item(), rel=1e-5), name


def test_an_identity_of_weight_zero_costs_nothing():
    roles = {"adversarial": {"type": "lsgan"}, "cycle": {"type": "l1"}, "identity": {"type": "l1", "weight": 0}}
    assert "identity" not in experiment_of("cyclegan", losses=roles).build_pipeline().objectives


class TestImagePool:
    def images(self, *values):
        return torch.tensor(values, dtype=torch.float32).reshape(-1, 1, 1, 1)

    def exchange(self, pool, images, seed):
        shown, places = pool.query(images, torch.Generator().manual_seed(seed))
        pool.commit(images, places)
        return shown.flatten().tolist()

    def test_it_passes_images_until_it_is_full(self):
        pool = ImagePool(3)
        assert self.exchange(pool, self.images(1, 2), 0) == [1, 2]
        assert self.exchange(pool, self.images(3), 1) == [3]
        assert [float(image) for image in pool.images] == [1, 2, 3]

    def test_then_half_of_the_images_are_of_the_past_and_change_places(self):
        pool = ImagePool(50)
        self.exchange(pool, self.images(*range(50)), 0)
        past = 0
        for step in range(50, 1050):
            (shown,) = self.exchange(pool, self.images(step), step)
            held = {float(image) for image in pool.images}
            past += shown != step
            assert (shown in held) is False or shown == step
            assert (step in held) == (shown != step)
        assert 430 < past < 570  # 500 +- 4 standard deviations

    def test_reading_changes_nothing(self):
        pool = ImagePool(2)
        self.exchange(pool, self.images(1, 2), 0)
        before = [float(image) for image in pool.images]
        for seed in range(20):
            pool.query(self.images(9, 8, 7), torch.Generator().manual_seed(seed))
        assert [float(image) for image in pool.images] == before

    def test_size_zero_passes_all(self):
        assert self.exchange(ImagePool(0), self.images(4, 5), 0) == [4, 5]


@pytest.mark.parametrize("size", [(32, 32), (37, 53), (5, 100), (1, 1), (64, 31)])
@pytest.mark.parametrize("direction", ["a2b", "b2a"])
def test_translating_keeps_any_size(size, direction):
    pipeline = experiment_of("cyclegan").build_pipeline().eval()
    x = torch.rand(1, 3, *size) * 2 - 1
    with torch.no_grad():
        assert pipeline.translate(x, direction, torch.Generator()).shape == x.shape


def test_padding_is_invisible_where_it_is_not_needed():
    net = experiment_of("cyclegan").build_pipeline().G.eval()
    x = torch.rand(1, 3, 36, 40)
    with torch.no_grad():
        assert torch.equal(fitted(net, x), net(x))


def test_padding_mirrors_the_edge():
    class Records(torch.nn.Module):
        stride, min_size = 4, 1

        def forward(self, x):
            self.seen = x
            return x

    net = Records()
    x = torch.arange(6.0).reshape(1, 1, 1, 6).expand(1, 1, 5, 6)
    assert torch.equal(fitted(net, x), x)
    assert net.seen.shape == (1, 1, 8, 8)
    assert net.seen[0, 0, 0].tolist() == [0, 1, 2, 3, 4, 5, 4, 3]


def test_a_network_that_gives_another_size_is_refused_before_training(tmp_path):
    plugin = tmp_path / "halving.py"
    plugin.write_text(
        "import torch, i2i\n"
        "@i2i.GENERATORS.register('halving')\n"
        "class Halving(torch.nn.Module):\n"
        "    def __init__(self, in_channels: int, out_channels: int):\n"
        "        super().__init__()\n"
        "        self.conv = torch.nn.Conv2d(in_channels, out_channels, 2, stride=2)\n"
        "    def forward(self, x):\n"
        "        return self.conv(x)\n"
    )
    with pytest.raises(ConfigError, match=r"G makes \[1, 3, 16, 16\] of images of 32x32, expected \[1, 3, 32, 32\]"):
        experiment_of("cyclegan", "halving", plugins=[str(plugin)])


def test_every_pipeline_has_a_tiny_config():
    stems = {path.stem for path in (REPOSITORY / "configs/tiny").glob("*.yaml")}
    assert set(PIPELINES.names()) <= stems


def test_padding_agrees_with_torch():
    class Records(torch.nn.Module):
        stride, min_size = 8, 8

        def forward(self, x):
            self.seen = x
            return x

    for size in ((9, 13), (7, 8), (15, 5)):
        net, x = Records(), torch.rand(2, 3, *size)
        fitted(net, x)
        bottom, right = -size[0] % 8, -size[1] % 8
        mode = "reflect" if bottom < size[0] and right < size[1] else None
        if mode:
            assert torch.equal(net.seen, torch.nn.functional.pad(x, (0, right, 0, bottom), mode=mode))
        assert net.seen.shape[-2:] == (size[0] + bottom, size[1] + right)


def test_accuracy_of_a_perfect_discriminator_is_one_for_every_loss():
    """LSGAN's labels are 0 and 1: its boundary lies between them, not at 0."""
    from i2i.losses.adversarial import LSGAN, Hinge, Vanilla
    from i2i.pipelines.base import WeightedLosses, accuracy

    noise = 0.1 * torch.randn(2, 1, 8, 8)
    for loss, real, fake in (
        (LSGAN(), 1.0, 0.0),
        (LSGAN(1.0, -1.0), 1.0, -1.0),
        (Vanilla(), 3.0, -3.0),
        (Hinge(), 1, -1),
    ):
        boundary = WeightedLosses([loss], [1.0]).boundary
        hits = accuracy(real + noise, [fake + noise], boundary)
        assert (float(hits["real"]), float(hits["fake"])) == (1.0, 1.0)
        swapped = accuracy(fake + noise, real + noise, boundary)
        assert (float(swapped["real"]), float(swapped["fake"])) == (0.0, 0.0)


def test_channels_that_differ_between_domains_are_told_before_training(tmp_path):
    data = {"type": "unpaired", "root": str(tmp_path), "channels": [3, 1], "load_size": 36, "crop_size": 32}
    roles = {"adversarial": {"type": "lsgan"}, "cycle": {"type": "l1"}, "identity": {"type": "l1"}}
    with pytest.raises(ConfigError, match=r"losses.identity: needs domains of as many channels, and a has 3, b 1"):
        experiment_of("cyclegan", data=data, losses=roles)
    del roles["identity"]
    assert experiment_of("cyclegan", data=data, losses=roles).data.channels == {"a": 3, "b": 1}

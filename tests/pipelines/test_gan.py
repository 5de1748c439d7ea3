"""GAN against a loop of plain PyTorch, step by step as its papers have it."""

import copy

import pytest
import torch
import torch.nn.functional as nnf
from torch import nn

from i2i.data.drawn.digits import Digits
from i2i.losses.adversarial import NonSaturating
from i2i.networks.mlp import MLPDiscriminator, MLPGenerator
from i2i.pipelines.base import WeightedLosses
from i2i.pipelines.gan import GAN
from i2i.training.schedules import Constant, Timeline
from i2i.training.settings import TrainerSettings
from i2i.training.timetable import Timetable
from i2i.training.updater import Updater
from tests.training.lines import with_initial

SIZE, COUNT = 8, 4


def networks_of(num_classes=0):
    torch.manual_seed(0)
    G = MLPGenerator(1, SIZE, z_dim=3, widths=(8,), num_classes=num_classes)
    D = MLPDiscriminator(1, SIZE, widths=(8,), dropout=0.0, num_classes=num_classes)
    return {"G": G, "D": D}


def updater_of(networks, **arguments):
    pipeline = GAN(networks, {"adversarial": WeightedLosses([NonSaturating()], [1.0])}, **arguments)
    settings = TrainerSettings(steps=9, batch_size=COUNT, device="cpu", precision="fp32")
    make = with_initial(lambda ps: torch.optim.SGD(ps, lr=0.1))
    timeline = Timeline(Constant(), 9, Timetable(pipeline.stages(COUNT)), 1)
    updater = Updater(pipeline, {"generator": make, "discriminator": make}, timeline, settings, torch.device("cpu"))
    pipeline.train()
    return updater


def batch_of(step, labelled):
    rng = torch.Generator().manual_seed(step)
    batch = {"image": torch.rand(COUNT, 1, SIZE, SIZE, generator=rng) * 2 - 1}
    return batch | ({"label": torch.arange(COUNT) % 3} if labelled else {})


def descend(network, loss, rate):
    gradients = torch.autograd.grad(loss, list(network.parameters()), allow_unused=True)
    with torch.no_grad():
        for parameter, gradient in zip(network.parameters(), gradients, strict=True):
            if gradient is not None:  # the last bias has no part in a slope
                parameter -= rate * gradient


@pytest.mark.parametrize("num_classes", [0, 3])
@pytest.mark.parametrize("r1", [0.0, 2.0])
def test_steps_are_those_of_the_papers(num_classes, r1):
    """Goodfellow et al. 2014, algorithm 1; R1 (Mescheder et al. 2018, eq. 9) every second step, doubled, rate x 2/3."""
    networks = networks_of(num_classes)
    G, D = (copy.deepcopy(networks[letter]) for letter in "GD")
    updater = updater_of(networks, r1=r1, r1_every=2)
    every_rate = 0.1 * (2 / 3 if r1 else 1)
    for step in range(4):
        batch = batch_of(step, num_classes)
        x, label = batch["image"], batch.get("label")
        rng = updater.seed("forward")
        z = torch.randn(COUNT, 3, generator=rng)
        updater.step(batch)
        with torch.no_grad():
            fake = G(z, label)
        descend(D, nnf.softplus(-D(x, label)).mean() + nnf.softplus(D(fake, label)).mean(), every_rate)
        if r1 and step % 2 == 0:
            real = x.clone().requires_grad_()
            (slope,) = torch.autograd.grad(D(real, label).sum(), real, create_graph=True)
            descend(D, 2 * r1 / 2 * slope.square().sum([1, 2, 3]).mean(), every_rate)
        descend(G, nnf.softplus(-D(G(z, label), label)).mean(), 0.1)
    for own, expected in ((networks["G"], G), (networks["D"], D)):
        for (name, value), other in zip(own.state_dict().items(), expected.state_dict().values(), strict=True):
            assert torch.allclose(value, other, rtol=1e-4, atol=1e-6), name


def test_labels_change_what_is_made_and_how_it_is_judged():
    networks = networks_of(3)
    z, x = torch.randn(1, 3).expand(3, 3), torch.rand(1, 1, SIZE, SIZE).expand(3, 1, SIZE, SIZE)
    label = torch.arange(3)
    for made in (networks["G"](z, label), networks["D"](x, label)):
        assert len({tuple(one.flatten().tolist()) for one in made}) == 3


def test_networks_for_labels_need_them():
    G = networks_of(3)["G"]
    with pytest.raises(ValueError, match="built for labels and gets none"):
        G(torch.randn(2, 3))
    with pytest.raises(ValueError, match=r"expected classes \[N\]"):
        G(torch.randn(2, 3), torch.zeros(2, 3))
    G = MLPGenerator(1, 8, z_dim=3, widths=(4,), num_attributes=2)
    with pytest.raises(ValueError, match="expected 2 attributes"):
        G(torch.randn(2, 3), torch.zeros(2, 3))
    assert G(torch.randn(2, 3), torch.zeros(2, 2)).shape == (2, 1, 8, 8)


@pytest.mark.parametrize("arguments", [{"r1": -1.0}, {"r1": float("nan")}, {"r1_every": 0}])
def test_arguments_out_of_range(arguments):
    with pytest.raises(ValueError, match="r1"):
        GAN(networks_of(), {}, **arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        {"size": 0},
        {"widths": ()},
        {"widths": (4, 0)},
        {"z_dim": 0},
        {"num_classes": 2, "num_attributes": 2},
        {"num_classes": -1},
    ],
)
def test_generators_out_of_range(arguments):
    with pytest.raises(ValueError, match=r"must be|num_classes or"):
        MLPGenerator(**({"out_channels": 1, "size": 8} | arguments))


def test_oblong_images():
    assert MLPGenerator(3, (4, 6), z_dim=2, widths=(4,))(torch.randn(5, 2)).shape == (5, 3, 4, 6)
    assert MLPDiscriminator(3, (4, 6), widths=(4,))(torch.randn(5, 3, 4, 6)).shape == (5, 1)


def test_a_few_hundred_steps_bring_images_nearer_to_digits():
    """Not what is made well: only that both networks learn, and from the right images."""
    data = Digits(size=SIZE, length=512)
    images = torch.stack([data[i]["image"] for i in range(512)])
    updater = updater_of(networks_of())
    make = with_initial(lambda ps: torch.optim.Adam(ps, lr=1e-3, betas=(0.5, 0.99)))
    updater.optimizers = {
        name: make(list(updater.pipeline.members[letter].parameters()))
        for name, letter in (("generator", "G"), ("discriminator", "D"))
    }

    def distance():
        with torch.no_grad():
            made = updater.pipeline.G(torch.randn(256, 3, generator=torch.Generator().manual_seed(1)))
        return (made.mean(0) - images.mean(0)).abs().mean().item()

    before = distance()
    for step in range(300):
        updater.step({"image": images[torch.randint(512, (32,), generator=torch.Generator().manual_seed(step))]})
    assert distance() < before / 2


class Plain(nn.Module):
    z_dim = (2, 4, 4)

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 1, 3, padding=1)

    def forward(self, z):
        return torch.tanh(self.conv(z))


def test_a_latent_may_have_a_shape_of_its_own():
    pipeline = GAN({"G": Plain(), "D": nn.Sequential(nn.Flatten(), nn.LazyLinear(1))}, {})
    assert pipeline.latent_shape == (2, 4, 4)
    assert pipeline.generate(torch.randn(3, *pipeline.latent_shape)).shape == (3, 1, 4, 4)

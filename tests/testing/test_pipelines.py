"""check_pipeline passes a sound class and names the clause that a broken one breaks."""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import nn

from i2i.pipelines.base import Channels, Direction, LossRole, NetworkRole, Phase, Pipeline, Terms, View
from i2i.testing import check_pipeline


class Regression(Pipeline):
    """A sound pipeline: one network, one loss."""

    networks: ClassVar[Mapping[str, NetworkRole]] = {
        "generator": NetworkRole("generator", {"G": Channels(("a",), ("b",))})
    }
    losses: ClassVar[Mapping[str, LossRole]] = {"reconstruction": LossRole(("pairwise",))}
    phases = (Phase("G", ("G",), "generator"),)
    directions: ClassVar[Any] = {"a2b": Direction(("G",), "a", "b")}

    def __init__(self, networks: Any, losses: Any, gain: float = 1.0) -> None:
        super().__init__(networks, losses, "running", "off")
        self.gain = gain
        self.register_buffer("count", torch.zeros(()))

    def forward(self, now):
        return {"fake": self.G(now.batch["a"])}

    def loss(self, phase, now, shared):
        return Terms({"G": self.gain * self.objectives["reconstruction"](shared["fake"], now.batch["b"])})

    def commit(self, phase, keep):
        self.count += 1

    def previews(self, batch):
        return {"input": View("a", batch["a"]), "output": View("b", self.G(batch["a"]))}


class Impure(Regression):
    def loss(self, phase, now, shared):
        self.count += 1
        return super().loss(phase, now, shared)


class Restless(Regression):
    def loss(self, phase, now, shared):
        terms = super().loss(phase, now, shared)
        return Terms({"G": terms.losses["G"] * np.random.default_rng().uniform(1, 2)})


class TwoPhases(Regression):
    """Both differentiate the shared forward: the framework computes it again."""

    phases = (Phase("G", ("G",), "generator"), Phase("again", ("G",), "generator"))


class TrainsNobody(Regression):
    phases = (Phase("G", ("H",), "generator"),)


class StrangeOptimizer(Regression):
    phases = (Phase("G", ("G",), "encoder"),)


class NeedsLosses(Regression):
    def __init__(self, networks: Any, losses: Any) -> None:
        super().__init__(networks, losses)
        self.main = losses["reconstruction"]


class NoGradient(Regression):
    def loss(self, phase, now, shared):
        return Terms({"G": (self.G(now.batch["a"]) * 0).sum()})


class NoLoss(Regression):
    def loss(self, phase, now, shared):
        return Terms({})


class NoTerms(Regression):
    def loss(self, phase, now, shared):
        pass


class KeepsAScalar(Regression):
    def loss(self, phase, now, shared):
        terms = super().loss(phase, now, shared)
        return Terms(terms.losses, keep={"loss": terms.losses["G"].detach()})


class NoDirection(Regression):
    directions: ClassVar[Any] = {}


class DirectionOfNobody(Regression):
    directions: ClassVar[Any] = {"a2b": Direction((), "a", "b")}


class NoTranslate(Regression):
    """Two networks in one direction, and no translate."""

    networks: ClassVar[Mapping[str, NetworkRole]] = {
        "first": NetworkRole("generator", {"E": Channels(("a",), ("a",))}),
        "generator": NetworkRole("generator", {"G": Channels(("a",), ("b",))}),
    }
    directions: ClassVar[Any] = {"a2b": Direction(("E", "G"), "a", "b")}


class ForgetsWeights(Regression):
    """Needs a network of training when it is used."""

    networks: ClassVar[Mapping[str, NetworkRole]] = NoTranslate.networks

    def translate(self, x, direction, rng):
        return self.G(self.E(x))


class NoPipeline(nn.Module):
    pass


def test_a_sound_pipeline_passes():
    check_pipeline(Regression)
    check_pipeline(Regression, gain=2.0)
    check_pipeline(TwoPhases)


@pytest.mark.parametrize(
    ("component", "clause"),
    [
        (Impure, "loss of phase 'G' with all losses changes state"),
        (Restless, "loss of phase 'G' with all losses differs under the same random numbers"),
        (TrainsNobody, "phase 'G' trains H, which no role makes"),
        (NoLoss, "gives Terms without a loss"),
        (NoTerms, "the loss of phase 'G' gives NoneType, expected Terms"),
        (KeepsAScalar, "keeps 'loss', no tensor"),
        (NoDirection, "has no directions"),
        (DirectionOfNobody, r"direction 'a2b' has the networks \(\), expected letters"),
        (NoTranslate, "direction 'a2b' with E and G alone fails: NotImplementedError"),
        (ForgetsWeights, "direction 'a2b' with G alone fails: AttributeError"),
        (StrangeOptimizer, "phase 'G' has the optimizer of 'encoder', which is no role"),
        (NeedsLosses, "cannot be built with no arguments: KeyError"),
        (NoGradient, "loss of phase 'G' with all losses gives no gradient to G"),
        (NoPipeline, "is no subclass of i2i.Pipeline"),
    ],
)
def test_a_broken_pipeline_is_told_what_is_broken(component, clause):
    with pytest.raises(AssertionError, match=rf"^{component.__name__}: .*{clause}"):
        check_pipeline(component)

"""Pipelines of one weight, whose steps can be followed by hand."""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import nn

from i2i.pipelines.base import Channels, Direction, LossRole, NetworkRole, Phase, Pipeline, Stage, Terms
from i2i.training.schedules import Constant, Timeline
from i2i.training.settings import TrainerSettings
from i2i.training.timetable import Timetable
from i2i.training.updater import Updater


class Weight(nn.Module):
    """x -> w x."""

    def __init__(self, value: float = 1.0) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor(value))

    def forward(self, x):
        return self.w * x


class Line(Pipeline):
    """Phases are given; each descends w mean(x), so that its gradient is mean(x) of what it sees."""

    networks: ClassVar[Mapping[str, NetworkRole]] = {
        "generator": NetworkRole("generator", {"G": Channels(("x",), ("x",))}),
        "other": NetworkRole("generator", {"H": Channels(("x",), ("x",))}),
    }
    losses: ClassVar[Mapping[str, LossRole]] = {}
    directions: ClassVar[Any] = {"a2b": Direction(("G",), "x", "x")}

    def __init__(self, phases, stages=None, averaged=()):
        super().__init__({"G": Weight(), "H": Weight()}, {}, "running", "off")
        self.phases, self._stages = phases, stages
        self.seen, self.committed, self.forwards = [], [], 0

    def stages(self, batch_size):
        return self._stages or (Stage(0, batch_size),)

    def forward(self, now):
        self.forwards += 1
        return {"y": self.G(now.batch["x"])}

    def loss(self, phase, now, shared):
        self.seen.append((phase, now.step, now.images, len(now.batch["x"])))
        letter = next(one.trains[0] for one in self.phases if one.name == phase)
        return Terms({phase: self.members[letter](now.batch["x"]).mean()})

    def commit(self, phase, keep):
        self.committed.append((phase, dict(keep)))


def updater_of(pipeline, optimizer=None, steps=100, **trainer):
    settings = TrainerSettings(**{"steps": steps, "batch_size": 4, "device": "cpu", "precision": "fp32", **trainer})
    make = optimizer or (lambda ps: torch.optim.SGD(ps, lr=1.0))
    names = dict.fromkeys(phase.optimizer for phase in pipeline.phases)
    timeline = Timeline(Constant(), steps, Timetable(pipeline.stages(settings.batch_size)), length=8)
    updater = Updater(pipeline, dict.fromkeys(names, with_initial(make)), timeline, settings, torch.device("cpu"))
    pipeline.train()
    return updater


def with_initial(make):
    def build(parameters):
        optimizer = make(parameters)
        for group in optimizer.param_groups:
            group["initial_lr"] = group["lr"]
        return optimizer

    return build


def batch(*values):
    return {"x": torch.tensor(values, dtype=torch.float32).view(-1, 1, 1, 1)}


G = ("G",)
MAIN = Phase("main", G, "generator")

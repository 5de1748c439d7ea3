"""Learning-rate schedules: pure functions of training progress, so a resumed run needs no schedule state.

``factor(t)`` multiplies the learning rate; ``t`` counts epochs or steps, as the schedule's ``unit`` says. With epochs
the rate changes once an epoch, as in the reference implementations.
"""

import math
from typing import Literal

from i2i.training.timetable import Moment, Timetable

Unit = Literal["epochs", "steps"]


class Schedule:
    """Base of all schedules.

    Args:
        unit: What the numbers count.
    """

    def __init__(self, unit: Unit) -> None:
        self.unit = unit

    @property
    def length(self) -> int | None:
        """The planned end in units, or ``None`` for schedules without one."""
        return None

    def factor(self, t: float) -> float:
        """Returns the multiple of the learning rate at ``t`` units, where ``t >= 0``."""
        raise NotImplementedError


class Constant(Schedule):
    """Keeps the learning rate."""

    def __init__(self, unit: Unit = "epochs") -> None:
        super().__init__(unit)

    def factor(self, t: float) -> float:
        return 1.0


class Linear(Schedule):
    """Keeps the rate, then lets it fall linearly towards zero (CycleGAN, section 4).

    Zero would come one unit after the end, as in the reference: the last unit still trains.

    Args:
        constant: Units at the full rate.
        decay: Units of decay.
    """

    def __init__(self, constant: int = 100, decay: int = 100, unit: Unit = "epochs") -> None:
        super().__init__(unit)
        _at_least("constant", constant, 0)
        _at_least("decay", decay, 0)
        if constant + decay == 0:
            raise ValueError("constant and decay are both 0: the schedule has no length")
        self.constant, self.decay = constant, decay

    @property
    def length(self) -> int:
        return self.constant + self.decay

    def factor(self, t: float) -> float:
        return max(0.0, 1.0 - max(0.0, t + 1 - self.constant) / (self.decay + 1))


class Cosine(Schedule):
    """Falls from 1 to ``end`` along half a cosine (Loshchilov and Hutter 2017, eq. 5, without restarts).

    Args:
        duration: Units until the end.
        warmup: Units of linear rise before.
        end: The last factor.
    """

    def __init__(self, duration: int, warmup: int = 0, end: float = 0.0, unit: Unit = "epochs") -> None:
        super().__init__(unit)
        _at_least("duration", duration, 1)
        _at_least("warmup", warmup, 0)
        _at_least("end", end, 0)
        if warmup >= duration:
            raise ValueError(f"warmup must be shorter than the duration of {duration}, got {warmup}")
        self.duration, self.warmup, self.end = duration, warmup, end

    @property
    def length(self) -> int:
        return self.duration

    def factor(self, t: float) -> float:
        if t < self.warmup:
            return (t + 1) / (self.warmup + 1)
        progress = min(1.0, (t - self.warmup) / (self.duration - self.warmup))
        return self.end + (1 - self.end) * 0.5 * (1 + math.cos(math.pi * progress))


class Step(Schedule):
    """Multiplies the rate by ``gamma`` every so many units.

    Args:
        every: Units between two drops.
        gamma: The factor of each.
    """

    def __init__(self, every: int = 50, gamma: float = 0.1, unit: Unit = "epochs") -> None:
        super().__init__(unit)
        _at_least("every", every, 1)
        _at_least("gamma", gamma, 0)
        self.every, self.gamma = every, gamma

    def factor(self, t: float) -> float:
        return self.gamma ** (t // self.every)


class MultiStep(Schedule):
    """Multiplies the rate by ``gamma`` at each milestone.

    Args:
        milestones: Units at which the rate drops.
        gamma: The factor of each drop.
    """

    def __init__(self, milestones: list[int], gamma: float = 0.1, unit: Unit = "epochs") -> None:
        super().__init__(unit)
        _at_least("gamma", gamma, 0)
        self.milestones, self.gamma = sorted(milestones), gamma

    def factor(self, t: float) -> float:
        return self.gamma ** sum(t >= milestone for milestone in self.milestones)


class Exponential(Schedule):
    """Multiplies the rate by ``gamma`` every unit.

    Args:
        gamma: The factor.
    """

    def __init__(self, gamma: float, unit: Unit = "epochs") -> None:
        super().__init__(unit)
        _at_least("gamma", gamma, 0)
        self.gamma = gamma

    def factor(self, t: float) -> float:
        return self.gamma**t


def _at_least(name: str, value: float, least: float) -> None:
    if not value >= least:
        raise ValueError(f"{name} must be at least {least}, got {value}")


class Timeline:
    """A run as it goes on: learning rates and images at each step.

    A schedule that has an end is stretched or shortened to end with the run.

    Args:
        schedule: Of the learning rates.
        steps: The run's length.
        timetable: Which images a step sees.
        length: Images of the data set: an epoch.

    Attributes:
        scaled_from: The steps that the schedule was planned for, where it is not the run's length.
    """

    def __init__(self, schedule: Schedule, steps: int, timetable: Timetable, length: int) -> None:
        self.schedule, self.steps, self.timetable = schedule, steps, timetable
        self._length = length
        self._scale: float | None = None  # units a step, where the schedule is scaled
        self.scaled_from: float | None = None
        if schedule.length is None:
            return
        planned: float = schedule.length
        if schedule.unit == "epochs":
            images = schedule.length * length
            whole = max(0, timetable.steps_for(images) - 1)
            planned = whole + (images - timetable.at(whole).images) / timetable.at(whole).stage.batch_size
        if abs(planned - steps) >= 1:  # less is what rounding up to whole steps leaves
            self.scaled_from = planned
            self._scale = schedule.length / steps

    def at(self, step: int) -> Moment:
        """Returns the images before a step, and its stage."""
        return self.timetable.at(step)

    def epoch(self, step: int) -> float:
        """Returns how often the data set was seen before a step."""
        return self.timetable.at(step).images / self._length

    def factor(self, step: int) -> float:
        """Returns the multiple of the learning rate at a step, counted from 0."""
        if self.schedule.unit == "steps":
            return self.schedule.factor(step * (self._scale or 1.0))
        t = self.epoch(step) if self._scale is None else step * self._scale
        # The tolerance keeps 3 * (1 / 3) in epoch 1.
        return self.schedule.factor(math.floor(t + 1e-9))

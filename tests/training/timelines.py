"""Timelines of runs with one batch size."""

from i2i.pipelines.base import Stage
from i2i.training.schedules import Constant, Schedule, Timeline
from i2i.training.timetable import Timetable


def timeline_of(schedule: Schedule | None = None, *, steps: int = 9, batch_size: int = 1, length: int = 1) -> Timeline:
    return Timeline(schedule or Constant(), steps, Timetable([Stage(0, batch_size)]), length)

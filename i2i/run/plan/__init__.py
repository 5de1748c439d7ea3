"""What a run will be, told before it starts: shapes, arithmetic, memory, time."""

from collections.abc import Iterator

from i2i.run.experiment import Experiment
from i2i.run.plan.description import describe
from i2i.run.plan.outlook import describe_outlook


def describe_plan(experiment: Experiment, is_measured: bool = True) -> Iterator[str]:
    """Describes a run line by line, without reading a file of its data or writing one.

    Args:
        experiment: Of which.
        is_measured: Whether to take real steps on random images, for up to about half a minute.
    """
    yield from describe(experiment)
    yield ""
    yield from describe_outlook(experiment, is_measured)

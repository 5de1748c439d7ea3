"""Which images a step sees: stages with batch sizes of their own, laid end to end. A pure function of the step."""

from collections.abc import Sequence
from dataclasses import dataclass

from i2i.pipelines.base import Stage


@dataclass(frozen=True)
class Moment:
    """Where the run is at a step.

    Attributes:
        images: Images before the step, over all processes.
        stage: The stage of the step.
        is_first: Whether the step is the first one of its stage.
    """

    images: int
    stage: Stage
    is_first: bool


class Timetable:
    """Steps and images of a run.

    Args:
        stages: In order; the first begins at image 0.

    Raises:
        ValueError: They are not in order.
    """

    def __init__(self, stages: Sequence[Stage]) -> None:
        if not stages or stages[0].first_image != 0:
            raise ValueError("the first stage must begin at image 0")
        self.stages = tuple(stages)
        self._starts = [(0, 0)]  # of each stage: its first step, and the images before it
        for stage, following in zip(self.stages, self.stages[1:], strict=False):
            if following.first_image <= stage.first_image:
                raise ValueError(
                    f"a stage begins at image {following.first_image}, not after the one before it, "
                    f"which begins at image {stage.first_image}"
                )
            step, images = self._starts[-1]
            count = max(0, -(-(following.first_image - images) // stage.batch_size))
            self._starts.append((step + count, images + count * stage.batch_size))

    def at(self, step: int) -> Moment:
        """Returns where the run is at a step, counted from 0."""
        index = max(i for i, (start, _) in enumerate(self._starts) if start <= step)
        first, images = self._starts[index]
        stage = self.stages[index]
        return Moment(images + (step - first) * stage.batch_size, stage, step == first)

    def steps_for(self, images: int) -> int:
        """Returns the least number of steps that see so many images."""
        last = max(i for i, (_, before) in enumerate(self._starts) if before < max(images, 1))
        first, before = self._starts[last]
        return first - (before - images) // self.stages[last].batch_size

    def unreached(self, steps: int) -> list[Stage]:
        """Returns the stages that a run of so many steps never comes to."""
        return [stage for stage, (first, _) in zip(self.stages, self._starts, strict=True) if first >= max(steps, 1)]

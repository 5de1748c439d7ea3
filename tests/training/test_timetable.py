"""Stages laid end to end: steps and images against a loop that takes one step after the other."""

import numpy as np
import pytest

from i2i.pipelines.base import Stage
from i2i.training.schedules import Constant, Timeline
from i2i.training.timetable import Timetable


def walk(stages, steps):
    """Yields (images before, stage, is_first) step by step, as a person would count."""
    images, current = 0, None
    for _ in range(steps):
        stage = next(one for one in reversed(stages) if one.first_image <= images)
        yield images, stage, stage is not current
        current = stage
        images += stage.batch_size


def random_stages(rng):
    starts = [0, *sorted(rng.choice(np.arange(1, 200), rng.integers(0, 5), replace=False).tolist())]
    return [Stage(start, int(rng.integers(1, 17))) for start in starts]


@pytest.mark.parametrize("seed", range(30))
def test_steps_and_images_are_those_of_a_walk(seed):
    stages = random_stages(np.random.default_rng(seed))
    timetable, images_after = Timetable(stages), []
    walked = list(walk(stages, 250))
    last_stages = []
    for step, (images, stage, is_first) in enumerate(walked):
        moment = timetable.at(step)
        assert moment.images == images
        if moment.stage is not stage:  # a stage that is shorter than a step is passed over, and one counts as the other
            raise AssertionError((step, moment, stage))
        assert moment.is_first == is_first
        images_after.append(images + stage.batch_size)
        last_stages.append(stage)
    for images in range(1, images_after[-1] + 1, 7):
        assert timetable.steps_for(images) == 1 + next(i for i, seen in enumerate(images_after) if seen >= images)
    for steps in (1, 5, 40):
        seen = {id(stage) for stage in last_stages[:steps]}
        begun = max(stages.index(stage) for stage in last_stages[:steps])
        assert all(id(stage) not in seen for stage in timetable.unreached(steps))
        assert {id(stage) for stage in timetable.unreached(steps)} == {id(s) for s in stages[begun + 1 :]}


@pytest.mark.parametrize("starts", [[], [5], [0, 5, 5], [0, 8, 4]])
def test_stages_out_of_order_are_refused(starts):
    with pytest.raises(ValueError, match="begin"):
        Timetable([Stage(start, 1) for start in starts])


@pytest.mark.parametrize("values", [(-1, 1), (0, 0), (0, 1, False, -0.5), (0, 1, False, float("nan"))])
def test_stages_out_of_range_are_refused(values):
    with pytest.raises(ValueError, match="of a stage must be at least"):
        Stage(*values)


def test_an_epoch_ends_where_as_many_images_are_seen():
    timeline = Timeline(Constant(), 20, Timetable([Stage(0, 4), Stage(10, 3)]), length=10)
    assert [timeline.at(step).images for step in range(5)] == [0, 4, 8, 12, 15]

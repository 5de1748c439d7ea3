import json
import math

import pytest

from i2i.training.schedules import Constant, Cosine, Exponential, Linear, MultiStep, Step
from tests.training.timelines import timeline_of


def test_linear_agrees_with_the_reference(golden_folder):
    expected = json.loads((golden_folder / "linear_schedule_100_100.json").read_text())
    timeline = timeline_of(Linear(100, 100), steps=200 * 7, length=7)
    for epoch, rate in enumerate(expected):
        for step in (7 * epoch, 7 * epoch + 6):  # the first and the last step of an epoch
            assert 2e-4 * timeline.factor(step) == pytest.approx(rate, rel=1e-12)


def test_linear_by_hand():
    schedule = Linear(constant=2, decay=3)
    assert [schedule.factor(t) for t in range(5)] == pytest.approx([1, 1, 3 / 4, 2 / 4, 1 / 4])


def test_a_short_run_scales_the_schedule_and_says_so():
    timeline = timeline_of(Linear(100, 100), steps=10, length=1000)
    assert timeline.scaled_from == 200_000
    assert [timeline.factor(step) for step in range(5)] == [1.0] * 5
    assert timeline.factor(9) == pytest.approx(1 - (9 * 20 + 1 - 100) / 101)


def test_a_long_run_stretches_the_schedule_and_says_so():
    """Else the learning rate would be 0 from the schedule's end on."""
    timeline = timeline_of(Linear(10, 10, unit="steps"), steps=40, length=1000)
    assert timeline.scaled_from == 20
    assert timeline.factor(19) == pytest.approx(1 - (9.5 + 1 - 10) / 11)
    assert timeline.factor(39) > 0


@pytest.mark.parametrize(("length", "batch_size", "epochs"), [(14, 2, 2), (17, 3, 30), (1067, 1, 200), (7, 4, 3)])
def test_a_run_as_planned_is_not_scaled(length, batch_size, epochs):
    steps = math.ceil(epochs * length / batch_size)
    timeline = timeline_of(Linear(epochs - 1, 1), steps=steps, batch_size=batch_size, length=length)
    assert timeline.scaled_from is None


def test_fractional_epochs_change_once_each():
    timeline = timeline_of(Linear(1, 3), steps=10, batch_size=2, length=5)
    assert [round(timeline.factor(step), 3) for step in range(10)] == [1, 1, 1, 0.75, 0.75, 0.5, 0.5, 0.5, 0.25, 0.25]


def test_steps_as_unit():
    timeline = timeline_of(Cosine(duration=10, unit="steps"), steps=10, length=3)
    assert timeline.factor(5) == pytest.approx(0.5 * (1 + math.cos(math.pi * 0.5)))


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (Constant(), [1, 1, 1]),
        (Step(every=1, gamma=0.5), [1, 0.5, 0.25]),
        (MultiStep(milestones=[2, 1], gamma=0.1), [1, 0.1, 0.01]),
        (Exponential(gamma=0.9), [1, 0.9, 0.81]),
        (Cosine(duration=4, warmup=2), [1 / 3, 2 / 3, 1.0]),
    ],
)
def test_the_other_schedules(schedule, expected):
    assert [schedule.factor(t) for t in range(3)] == pytest.approx(expected)


def test_warmup_must_end():
    with pytest.raises(ValueError, match="^warmup must be shorter than the duration of 4"):
        Cosine(duration=4, warmup=4)

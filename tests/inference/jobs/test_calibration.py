"""What a precision costs, and which is chosen."""

import numpy as np
import pytest
import torch

from i2i.images.codecs import ImageCodec, LabelClass, LabelCodec
from i2i.inference.jobs import calibration
from i2i.inference.jobs.calibration import Calibration
from i2i.training.precision import Precision

CPU = torch.device("cpu")
FASTER = Precision("bf16", CPU)
CLASSES = LabelCodec([LabelClass(7, "a", (1, 2, 3)), LabelClass(9, "b", (4, 5, 6))])


class Stand:
    """Stands in for a translator: gray images, of which values are off by so many levels in any precision but fp32."""

    def __init__(self, off=(), codec=None, fails="", seconds=None):
        self.device, self.codec, self.fails = CPU, codec or ImageCodec(1), fails
        self.off, self.seconds, self.calls = off, seconds or {}, []

    def codecs(self, direction):
        return self.codec, self.codec

    def outputs(self, images, direction, precision):
        self.calls.append(precision.name)
        if precision.name == self.fails:
            raise RuntimeError("not\nfinite")
        clock.now += self.seconds.get(precision.name, 1)
        (image,) = images
        if isinstance(self.codec, LabelCodec):
            y = torch.zeros(1, 2, *image.shape[:2])
            y[0, 0] = 1
            y[0, :, 0, 0] = torch.tensor([0.0, 1.0]) if precision.name != "fp32" and self.off else y[0, :, 0, 0]
            yield y
            return
        levels = torch.full((image.size,), 100.0)
        if precision.name != "fp32":
            levels[: len(self.off)] += torch.tensor(self.off, dtype=torch.float32)
        yield levels.reshape(1, 1, *image.shape[:2]) / 127.5 - 1


class clock:
    now = 0.0

    @staticmethod
    def perf_counter():
        return clock.now


@pytest.fixture(autouse=True)
def time_that_stands_still(monkeypatch):
    monkeypatch.setattr(calibration, "time", clock)


def choose(translator, count=1, size=1000):
    images = [np.zeros((size // 10, 10, 1), np.uint8)] * count
    made = Calibration(translator, "a2b", images)
    precision, line = made.choose([FASTER])
    return precision.name, line, made


FAST = {"fp32": 1, "bf16": 0.5}


@pytest.mark.parametrize(
    ("off", "name", "line"),
    [
        ([], "bf16", "precision bf16: 100 % of values within 1 of fp32, none beyond 0 (first image)"),
        ([1] * 1000, "bf16", "precision bf16: 100 % of values within 1 of fp32, none beyond 1 (first image)"),
        ([-4] * 5, "bf16", "precision bf16: 99.5 % of values within 1 of fp32, none beyond 4 (first image)"),
        ([2] * 6, "fp32", "precision fp32: bf16 has 99.4 % of values within 1 of fp32, none beyond 2 (first image)"),
        ([-5], "fp32", "precision fp32: bf16 has 99.9 % of values within 1 of fp32, none beyond 5 (first image)"),
    ],
)
def test_the_bounds_are_those_of_the_contract(off, name, line):
    assert choose(Stand(off, seconds=FAST))[:2] == (name, line)


def test_all_images_count_and_nothing_is_rounded_up_to_100():
    _, line, _ = choose(Stand([2], seconds=FAST), count=4, size=100_000)
    assert line == "precision bf16: 99.99 % of values within 1 of fp32, none beyond 2 (first 4 images)"


@pytest.mark.parametrize(("seconds", "name"), [(0.5, "bf16"), (0.74, "bf16"), (0.76, "fp32"), (2, "fp32")])
def test_what_is_hardly_faster_is_not_chosen(seconds, name):
    chosen, line, _ = choose(Stand(seconds={"fp32": 1, "bf16": seconds}))
    assert chosen == name
    assert name == "bf16" or line == "precision fp32: bf16 is no faster"


def test_what_fails_is_not_chosen():
    assert choose(Stand(fails="bf16"))[:2] == ("fp32", "precision fp32: bf16 has not finite")
    assert choose(Stand(fails="fp32"))[:2] == ("fp32", "precision fp32: bf16 has no image to compare")


def test_class_ids_are_right_or_wrong():
    assert choose(Stand(codec=CLASSES, seconds=FAST))[0] == "bf16"
    assert choose(Stand([1], CLASSES, seconds=FAST), size=100_000)[0] == "fp32"


def test_translations_are_kept():
    translator = Stand([3], seconds=FAST)
    *_, made = choose(translator, count=3)
    assert translator.calls == ["fp32"] * 3 + ["bf16"] * 3
    assert [result[0, 0, 0] for result in made.results(FASTER).values()] == [103] * 3
    assert [result[0, 0, 0] for result in made.results(made.exact).values()] == [100] * 3

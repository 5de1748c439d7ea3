"""The decay of the moving average, in steps and in images."""

import math

import pytest

from i2i.core.errors import ArgumentErrors
from i2i.training.decay import ImageDecay, StepDecay
from i2i.training.settings import TrainerSettings


def test_after_the_half_life_weights_count_half_whatever_the_batch_size():
    for batch_size in (1, 4, 100):
        decay = ImageDecay(half_life=1000)
        steps = 1000 // batch_size
        share = math.prod(decay.at(step, step * batch_size, batch_size) for step in range(steps))
        assert share == pytest.approx(0.5)


def test_the_half_life_grows_with_the_images_seen():
    """StyleGAN2-ADA: the half-life is min(half-life, images seen * ramp-up), the decay 0.5 ** (batch / half-life)."""
    decay = ImageDecay(half_life=10_000, ramp_up=0.05)
    assert decay.at(0, 0, 32) == 0, "the first average is the weights themselves"
    assert decay.at(100, 3200, 32) == pytest.approx(0.5 ** (32 / 160))
    assert decay.at(10**6, 10**8, 32) == pytest.approx(0.5 ** (32 / 10_000))


def test_settings_tell_which():
    def decay_of(ema):
        return TrainerSettings(steps=5, ema=ema).decay

    assert decay_of(None) is None
    assert decay_of(0.99) == StepDecay(0.99)
    assert decay_of({"half_life": 5000}) == ImageDecay(5000, None)
    assert decay_of({"half_life": 5000, "ramp_up": 0.05}) == ImageDecay(5000, 0.05)
    for wrong in ({"half_life": 0}, {"ramp_up": 0.05}, {"half_life": 5, "ramp_up": 0}, 1.0, -0.1):
        with pytest.raises(ArgumentErrors):
            decay_of(wrong)

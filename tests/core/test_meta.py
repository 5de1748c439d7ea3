import pytest
import torch
from torch import nn

from i2i.core.meta import MAX_PARTS, on_meta, weight_bytes


def test_a_module_takes_no_memory():
    layer = on_meta(lambda: nn.Linear(10**6, 10**6))
    assert layer.weight.is_meta
    assert weight_bytes(layer) == 4 * (10**12 + 10**6)


def test_one_that_needs_numbers_gets_them():
    def construct():
        layer = nn.Linear(2, 2)
        layer.gain = float(layer.weight.detach().sum())
        return layer

    layer = on_meta(construct)
    assert layer.weight.is_meta and isinstance(layer.gain, float)


@pytest.mark.slow
def test_a_module_without_end_is_not_built():
    with pytest.raises(ValueError, match="more than 20,000 layers and weights"):
        on_meta(lambda: nn.Sequential(*(nn.Linear(1, 1) for _ in range(10**9))))
    nn.Sequential(*(nn.ReLU() for _ in range(MAX_PARTS + 1)))  # outside there is no limit


def test_a_size_beyond_all_numbers_is_not_tried_with_memory(monkeypatch):
    with pytest.raises(RuntimeError, match="overflow"):
        on_meta(lambda: nn.Linear(2**40, 2**40))
    assert torch.empty(1).device.type == "cpu"

"""What a phase keeps for commit, of several parts."""

import pytest
import torch

from i2i.core.errors import TrainingError
from i2i.training.kept import merged


def test_images_are_put_together_and_means_are_averaged():
    parts = [{"fake": torch.full((2, 1), float(i)), "mean": torch.tensor([i, 2.0])} for i in range(3)]
    kept = merged(parts, ["mean"])
    assert kept["fake"].flatten().tolist() == [0, 0, 1, 1, 2, 2]
    assert kept["mean"].tolist() == [1, 2]
    half = merged([{"mean": torch.tensor(1.0, dtype=torch.bfloat16)}], ["mean"])
    assert half["mean"].dtype == torch.float32, "what autocast makes of it is no type for a sum"


def test_one_part_is_as_it_is_and_detached():
    value = torch.ones(2, requires_grad=True) * 2
    kept = merged([{"fake": value}], [])
    assert kept["fake"].data_ptr() == value.data_ptr() and not kept["fake"].requires_grad


def test_a_scalar_must_be_a_mean():
    with pytest.raises(TrainingError, match="kept as a scalar") as error:
        merged([{"hits": torch.tensor(1.0)}], [])
    assert "averaged_state = ('hits',)" in error.value.hints[0]


def test_parts_must_keep_the_same():
    with pytest.raises(TrainingError, match="different values"):
        merged([{"a": torch.ones(1)}, {"b": torch.ones(1)}], [])

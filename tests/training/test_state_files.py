"""Training state as tensors and JSON: what goes in comes out, of the same types."""

import collections
import json

import pytest
import torch

from i2i.core.errors import CheckpointError
from i2i.core.files.tensor_files import read_values, write_tensor_file
from i2i.training.state_files import read_state, write_state
from tests.core.files.hostile_pickles import equal

STATES = {
    "nested": {"a": {"b": [1, (2.5, None, True), {"c": "text"}]}},
    "tensors": {"w": torch.arange(6.0).view(2, 3), "list": [torch.ones(()), torch.zeros(0, 4, dtype=torch.int64)]},
    "types": {
        name: torch.zeros(2).to(getattr(torch, name)) for name in "float16 bfloat16 float64 uint8 bool int16".split()
    },
    "numbers as keys": {"state": {0: {"step": torch.tensor(3.0)}, 17: {}}},
    "mixed keys": {1: "a", "1": "b", None: "c"},
    "not finite": {"best": float("-inf"), "nan": float("inf")},
    "dollars": {"$tensor": "not one", "inner": {"$tuple": [1], "other": 2}, "$float": "nan"},
    "slashes": {"a/b": torch.ones(1), "a": {"b": torch.zeros(1)}},
    "large": {"n": 2**80, "f": 0.1 + 0.2},
    "empty": {},
}


@pytest.mark.parametrize("state", STATES.values(), ids=STATES)
def test_what_goes_in_comes_out(tmp_path, state):
    path = tmp_path / "x.safetensors"
    write_state(path, state)
    assert equal(read_state(path), state)


def test_nan_comes_back(tmp_path):
    write_state(tmp_path / "x", {"best": float("nan")})
    assert read_state(tmp_path / "x")["best"] != read_state(tmp_path / "x")["best"]


def test_order_and_equal_bytes(tmp_path):
    state = {"z": 1, "a": torch.ones(3), "m": {"y": 2, "b": 3}}
    for name in "xy":
        write_state(tmp_path / name, state)
    assert (tmp_path / "x").read_bytes() == (tmp_path / "y").read_bytes()
    assert list(read_state(tmp_path / "x")) == ["z", "a", "m"] and list(read_state(tmp_path / "x")["m"]) == ["y", "b"]


class Own:
    pass


@pytest.mark.parametrize("value", [Own(), {1, 2}, b"bytes", [Own], collections.deque([1]), torch.float16])
def test_what_is_no_data_is_refused_with_its_place(tmp_path, value):
    with pytest.raises(TypeError, match=r"pipeline/0/pool(/0)? holds "):
        write_state(tmp_path / "x", {"pipeline": [{"pool": value}]})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"$tensor": "w"}, "no mapping"),
        ({"a": {"$tensor": "missing"}}, "missing"),
        ({"a": {"$tensor": ["w"]}}, "not a checkpoint"),
        ({"a": {"$items": [[{"$tuple": [[1], 2]}, 3]]}}, "not a checkpoint"),
        ({"a": {"$items": 5}}, "not a checkpoint"),
        ({"a": {"$float": "one"}}, "not a checkpoint"),
        ([1], "no training state"),
        (None, "no training state"),
    ],
)
def test_trees_of_strangers_end_in_one_line(tmp_path, tree, message):
    path = tmp_path / "x.safetensors"
    write_tensor_file(path, {"w": torch.ones(1)}, {"format": 2, "state": tree})
    with pytest.raises(CheckpointError, match=message) as error:
        read_state(path)
    assert "\n" not in error.value.message


def test_another_format_is_named(tmp_path):
    write_tensor_file(tmp_path / "x", {}, {"format": 99, "state": {}})
    with pytest.raises(CheckpointError, match="no training state"):
        read_state(tmp_path / "x")
    assert json.dumps(read_values(tmp_path / "x", "checkpoint")["format"]) == "99"

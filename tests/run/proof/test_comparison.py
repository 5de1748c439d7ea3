"""What counts as the same run."""

import json

import pytest
import torch
from torch import tensor

from i2i.run.proof.comparison import compare_runs, log_differences, state_differences
from i2i.training.state_files import write_state

NAN = float("nan")


@pytest.mark.parametrize(
    ("one", "other", "told"),
    [
        ({"w": tensor([1.0, 2.0])}, {"w": tensor([1.0, 2.5])}, ["w: 1 of 2 values differ, by up to 0.5"]),
        ({"a": {"b": [1, tensor(3)]}}, {"a": {"b": [1, tensor(5)]}}, ["a.b.1: 1 of 1 values differ, by up to 2"]),
        ({"w": tensor([1.0])}, {"w": tensor([1.0], dtype=torch.float64)}, ["w: float32 [1] and float64 [1]"]),
        ({"w": tensor([1.0])}, {"w": tensor([[1.0]])}, ["w: float32 [1] and float32 [1, 1]"]),
        ({"w": 1, "v": 2}, {"w": 1, "u": 2}, ["v: is there in one run only", "u: is there in one run only"]),
        ({"step": 3}, {"step": 4}, ["step: 3 and 4"]),
        ({"l": [1, 2]}, {"l": [1]}, ["l: [1, 2] and [1]"]),
        ({"w": tensor([0.0])}, {"w": tensor([-0.0])}, ["w: 0 of 1 values differ, by up to 0"]),
        ({"w": tensor([1.0])}, {"w": tensor([NAN])}, ["w: 1 of 1 values differ, by up to inf"]),
        ({"w": tensor([True, False])}, {"w": tensor([True, True])}, ["w: 1 of 2 values differ, by up to 1"]),
    ],
)
def test_differences_are_told_by_name_and_size(one, other, told):
    assert state_differences(one, other) == told


def test_equal_states_have_none():
    state = {"w": tensor([1.0, NAN]), "b": tensor([1.5], dtype=torch.bfloat16), "s": tensor(2), "best": {"value": NAN}}
    state |= {"empty": torch.empty(0), "list": [1, (2, None)], "view": torch.arange(6).reshape(2, 3).T}
    copied = {**state, **{k: v.clone() for k, v in state.items() if isinstance(v, torch.Tensor)}}
    assert state_differences(state, copied) == []


def test_the_first_entry_that_differs_is_told():
    one = [{"step": 1, "D": 1.0}, {"step": 2, "D": 0.5, "G": 2.0}]
    assert log_differences(one, one) == []
    assert log_differences(one, [one[0], {"step": 2, "D": 0.25, "G": 2.0}]) == [
        "log.jsonl, from step 2 on: D 0.5 and 0.25"
    ]
    assert log_differences(one, one[:1]) == ["log.jsonl: 2 and 1 entries"]


def run_folder(folder, weight, speed, bundle):
    (folder / "checkpoints").mkdir(parents=True)
    state = {"step": 2, "config": {"trainer": {}}, "networks": {"G.w": tensor([weight])}, "optimizers": {}}
    write_state(folder / "checkpoints/step_00000002.safetensors", state)
    (folder / "log.jsonl").write_text(json.dumps({"step": 2, "D": 1.0, "images_per_second": speed}) + "\n")
    (folder / "model.safetensors").write_bytes(bundle)
    return folder


def test_runs_are_compared_by_state_log_and_bundle(tmp_path):
    whole = run_folder(tmp_path / "whole", 1.0, 3.0, b"bundle")
    same = compare_runs(whole, run_folder(tmp_path / "same", 1.0, 9.0, b"bundle"))
    assert same.tensors == 1 and same.differences == []
    other = compare_runs(whole, run_folder(tmp_path / "other", 1.25, 3.0, b"Bundle"))
    assert other.differences == [
        "networks.G.w: 1 of 1 values differ, by up to 0.25",
        "model.safetensors: differs",
    ]
    (tmp_path / "other/best.safetensors").write_bytes(b"")
    assert "best.safetensors: is there in one run only" in compare_runs(whole, tmp_path / "other").differences
    (tmp_path / "same/checkpoints/step_00000002.safetensors").unlink()
    assert compare_runs(whole, tmp_path / "same").differences == [f"{tmp_path / 'same'}: holds no checkpoint"]

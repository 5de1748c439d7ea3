"""Reading a log that may be cut off, resumed or odd."""

import pytest

from i2i.run.report.history import group_of, read_history
from tests.run.report.pages import write_log


def read(folder, *entries):
    return read_history(write_log(folder, entries) / "log.jsonl")


def test_values_are_read_by_name(tmp_path):
    history = read(tmp_path, {"step": 5, "epoch": 0.5, "D": 0.7}, {"step": 10, "epoch": 1.0, "D": 0.6, "cycle": 3})
    assert {name: (s.steps, s.values) for name, s in history.series.items()} == {
        "D": ([5, 10], [0.7, 0.6]),
        "cycle": ([10], [3.0]),
    }
    assert (history.step, history.epoch, history.notes) == (10, 1.0, [])


def test_metrics_stand_in_lines_of_their_own(tmp_path):
    history = read(tmp_path, {"step": 5, "D": 0.7}, {"step": 5, "val_psnr": 20.5}, {"step": 10, "D": 0.6})
    assert history.series["val_psnr"].steps == [5]
    assert history.series["D"].values == [0.7, 0.6]


def test_what_is_not_finite_is_a_gap(tmp_path):
    history = read(
        tmp_path, *(f'{{"step": {s}, "D": {v}}}\n' for s, v in enumerate(["1", "null", "NaN", "1e999", "2"]))
    )
    assert history.series["D"].values == [1.0, None, None, None, 2.0]
    assert history.series["D"].finite == [(0, 1.0), (4, 2.0)]


@pytest.mark.parametrize(
    "line", ['{"step": 9, "D": 0.', "[1, 2]", '{"D": 1}', '{"step": null}', '{"step": "9"}', '{"step": -1}', "\x00\x00"]
)
def test_a_damaged_line_is_counted_and_skipped(tmp_path, line):
    history = read(tmp_path, {"step": 5, "D": 0.5}, line + "\n", "\n", {"step": 10, "D": 0.25})
    assert history.series["D"].values == [0.5, 0.25]
    assert history.notes == ["1 line of log.jsonl could not be read"]


def test_bytes_that_are_no_text_are_damage(tmp_path):
    (tmp_path / "log.jsonl").write_bytes(b'{"step": 1, "D": 1.0}\n\xff\xfe\n{"step": 2, "\xff": 1}\n')
    history = read_history(tmp_path / "log.jsonl")
    assert history.series["D"].values == [1.0]
    assert history.notes == ["2 lines of log.jsonl could not be read"]


def test_what_is_no_number_is_left_out(tmp_path):
    history = read(tmp_path, {"step": 1, "D": 1.0, "note": "hello", "flag": True, "list": [1], "huge": 10**400})
    assert set(history.series) == {"D", "huge"}
    assert history.series["huge"].values == [None]


def test_of_a_step_that_stands_twice_the_later_counts(tmp_path):
    history = read(tmp_path, {"step": 10, "D": 1.0}, {"step": 5, "D": 2.0}, {"step": 10, "D": 3.0})
    assert (history.series["D"].steps, history.series["D"].values) == ([5, 10], [2.0, 3.0])
    assert history.step == 10


def test_an_empty_or_missing_log_is_noted(tmp_path):
    assert read(tmp_path).notes == ["log.jsonl has no entries yet: there are no curves"]
    assert read_history(tmp_path / "none.jsonl").notes == ["none.jsonl is missing: there are no curves"]


def test_time_is_the_sum_over_entries(tmp_path):
    # 10 steps of 4 images at 8 a second, then 20 at 16.
    entries = [{"step": 10, "images_per_second": 8.0}, {"step": 30, "images_per_second": 16.0}]
    assert read(tmp_path, *entries).seconds(4) == pytest.approx(10 * 4 / 8 + 20 * 4 / 16)
    assert read(tmp_path, {"step": 10, "D": 1.0}).seconds(4) is None
    assert read(tmp_path, {"step": 10, "images_per_second": None}).seconds(4) is None


@pytest.mark.parametrize(
    ("name", "group"),
    [
        ("G_adversarial", "losses"), ("D_Y_penalty", "losses"), ("cycle_x", "losses"),
        ("D_X_accuracy_real", "accuracy"),
        ("val_psnr_a2b", "metrics"), ("val_accuracy", "metrics"), ("lr_generator", "learning rate"),
        ("images_per_second", "speed"), ("data_wait", "speed"),
    ],
)  # fmt: skip
def test_each_name_has_its_group(name, group):
    assert group_of(name) == group

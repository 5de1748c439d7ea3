"""What TensorBoard reads is what was written, whatever became of the file in between."""

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from i2i.training.logs.board import Board


def read(folder):
    events = EventAccumulator(str(folder))
    events.Reload()
    return events


def values(events, tag):
    return [(event.step, event.value) for event in events.Scalars(tag)]


def test_scalars_and_images_are_read_back(tmp_path):
    board = Board(tmp_path, 0)
    board.scalars(1, {"loss/D": 0.5, "loss/G": 2.0})
    board.scalars(2, {"loss/D": 0.25})
    board.image(2, "samples", np.zeros((4, 6, 3), np.uint8))
    events = read(tmp_path)
    assert values(events, "loss/D") == [(1, 0.5), (2, 0.25)] and values(events, "loss/G") == [(1, 2.0)]
    (image,) = events.Images("samples")
    assert (image.step, image.width, image.height) == (2, 6, 4)


def test_a_run_that_goes_on_takes_back_what_came_after_its_checkpoint(tmp_path):
    before = Board(tmp_path, 0)
    for step in (1, 2, 3):
        before.scalars(step, {"D": step})
    Board(tmp_path, 1).scalars(2, {"D": 20.0})
    assert values(read(tmp_path), "D") == [(1, 1.0), (2, 20.0)]


def test_a_file_that_is_gone_is_begun_anew(tmp_path):
    board = Board(tmp_path, 0)
    board.scalars(1, {"D": 1.0})
    board.path.unlink()
    board.scalars(2, {"D": 2.0})
    assert values(read(tmp_path), "D") == [(2, 2.0)]


def test_two_in_one_second_write_files_of_their_own(tmp_path):
    for step in (1, 2):
        Board(tmp_path, step - 1).scalars(step, {"D": step})
    assert len(list(tmp_path.iterdir())) == 2


def test_no_folder_is_an_error_to_be_told(tmp_path):
    with pytest.raises(OSError):
        Board(tmp_path / "gone", 0).scalars(1, {"D": 1.0})

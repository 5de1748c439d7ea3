"""Drawn digits: told apart by their pixels, no two alike, the same ones each time."""

import cv2
import numpy as np
import pytest
import torch

from i2i.data.drawn.digits import HANDS, Digits, draw_digit


def pictures(count, **arguments):
    data = Digits(length=count, **arguments)
    return torch.stack([data[i]["image"] for i in range(count)]), [int(data[i]["label"]) for i in range(count)]


def test_items_are_what_they_say():
    data = Digits(size=20, length=30)
    item = data[13]
    assert item["image"].shape == (1, 20, 20) and item["image"].dtype == torch.float32
    assert -1 <= item["image"].min() < -0.9 and 0.5 < item["image"].max() <= 1, "white on black"
    assert item["label"].dtype == torch.int64
    labels = [int(data[index]["label"]) for index in range(30)]
    assert all(sorted(labels[first : first + 10]) == list(range(10)) for first in (0, 10, 20)), "balanced"
    assert labels[:10] != labels[10:20] != labels[20:], "and mixed"
    assert Digits().channels == {"image": 1} and Digits().num_classes == 10


def test_a_reader_of_digits_reads_them():
    """The nearest neighbours, by pixels, of drawings that it has not seen are drawings of the same digit."""
    known, labels = pictures(1000, size=16)
    test, expected = pictures(200, size=16, split="test")
    nearest = torch.cdist(test.flatten(1), known.flatten(1)).topk(3, largest=False).indices
    votes = torch.tensor(labels)[nearest].mode(1).values
    assert (votes == torch.tensor(expected)).float().mean() > 0.9


def test_no_two_drawings_are_alike_nor_are_the_splits():
    known, _ = pictures(300)
    test, _ = pictures(300, split="test")
    both = torch.cat([known, test]).flatten(1)
    assert len(torch.unique(both, dim=0)) == 600


def test_drawings_are_the_same_each_time_whatever_generator_is_given():
    data = Digits(length=20)
    one, other = (data.get(7, np.random.default_rng(seed))["image"] for seed in (1, 2))
    assert torch.equal(one, other)


@pytest.mark.parametrize("digit", range(10))
def test_every_hand_is_drawn_and_lies_within_the_picture(digit):
    seen = set()
    for seed in range(60):
        rng = np.random.default_rng(seed)
        seen.add(int(np.random.default_rng(seed).integers(len(HANDS[digit]))))
        picture = draw_digit(digit, 28, rng)
        assert picture.any()
        border = np.concatenate([picture[0], picture[-1], picture[:, 0], picture[:, -1]])
        assert (border > 128).sum() <= 2, "nothing is cut off"
    assert seen == set(range(len(HANDS[digit])))


def test_a_one_is_one_stroke_and_an_eight_has_two_holes():
    holes = {}
    for digit in (1, 0, 8):
        counts = []
        for seed in range(40):
            image = (draw_digit(digit, 64, np.random.default_rng(seed)) > 100).astype(np.uint8)
            padded = np.pad(1 - image, 1, constant_values=1)
            counts.append(cv2.connectedComponents(padded, connectivity=4)[0] - 2)  # without ink and surroundings
        holes[digit] = np.median(counts)
    assert holes == {1: 0, 0: 1, 8: 2}


def test_colours_and_no_labels():
    item = Digits(channels=3, labels=False)[5]
    assert item["image"].shape == (3, 28, 28) and "label" not in item
    assert not torch.equal(item["image"][0], item["image"][1])
    assert Digits(labels=False).num_classes == 0


@pytest.mark.parametrize(
    ("arguments", "side"),
    [({}, 28), ({"size": 12}, 12), ({"load_size": 40}, 40), ({"load_size": 40, "crop_size": 32}, 32)],
)
def test_the_size_has_the_names_of_other_data_sets(arguments, side):
    data = Digits(**arguments)
    assert data.size == (side, side) and data[0]["image"].shape == (1, side, side)


@pytest.mark.parametrize("arguments", [{"size": 7}, {"length": 0}, {"split": "val"}, {"crop_size": 2}])
def test_what_is_out_of_range_is_named(arguments):
    with pytest.raises(ValueError, match=next(iter(arguments))):
        Digits(**arguments)


@pytest.mark.parametrize("index", [-1, 10])
def test_there_is_nothing_beyond_the_end(index):
    with pytest.raises(IndexError, match="from 0 to 9"):
        Digits(length=10)[index]

import numpy as np
import pytest

from i2i.data.shards.order import local_order, local_passes


def shards_of(counts):
    return np.repeat(np.arange(len(counts)), counts)


def most_open(shards):
    """How many shards are open at most: from where a piece of one begins to where it ends, on a ring."""
    length, most = len(shards), 0
    for place in range(0, length, 7):
        around = np.concatenate([shards[place:], shards[:place]])
        half = length // 2
        later, earlier = set(around[:half].tolist()), set(around[half:].tolist())
        most = max(most, len(later & earlier))  # what comes after is still to be used, and has been used before
    return most


@pytest.mark.parametrize("counts", [[5] * 30, [1, 40, 3, 17, 9, 9, 2, 30, 11, 6], [3], [2, 2]])
@pytest.mark.parametrize("width", [1, 3, 100])
def test_every_image_once(counts, width):
    order = local_order(np.array(counts), width, np.random.default_rng(0))
    assert sorted(order.tolist()) == list(range(sum(counts)))


@pytest.mark.parametrize("width", [1, 2, 5])
def test_few_shards_are_open_at_a_time(width):
    counts = np.array([50] * 40)
    shards = shards_of(counts)[local_order(counts, width, np.random.default_rng(1))]
    # Halves of a ring have two borders, with `width` shards open at each.
    assert most_open(shards) <= 2 * width
    # In any run of images as long as half a shard, at most two shards come or go.
    for start in range(len(shards) - 25):
        assert len(set(shards[start : start + 25].tolist())) <= width + 2


def test_one_shard_at_a_time_is_left_before_the_next():
    counts = np.array([7, 3, 9, 4])
    shards = shards_of(counts)[local_order(counts, 1, np.random.default_rng(0))]
    assert 1 + (np.diff(shards) != 0).sum() == 4


@pytest.mark.parametrize("place", [0, 900, 1950])
def test_neighbours_are_mixed_everywhere(place):
    counts, width = np.array([100] * 20), 5
    found = []
    for seed in range(20):
        shards = shards_of(counts)[local_order(counts, width, np.random.default_rng(seed))]
        found.append(np.bincount(shards[place : place + 50], minlength=20).max() / 50)
    # An even mixture of 5 shards has a largest share of about 0.3; a ramp at the ends would show as 1.
    assert np.mean(found) < 0.42


def test_images_of_a_shard_are_shuffled():
    counts = np.array([200] * 10)
    order = local_order(counts, 3, np.random.default_rng(0))
    own = order[order // 200 == 4]
    # Where the ring is cut through this shard it would still be random; ranks and places are not correlated.
    assert abs(np.corrcoef(own, np.arange(200))[0, 1]) < 0.25
    assert not (np.diff(own) == 1).mean() > 0.05


def test_shards_come_in_another_order_each_time():
    counts = np.array([10] * 20)
    rng = np.random.default_rng(0)
    firsts = [local_order(counts, 1, rng)[0] // 10 for _ in range(10)]
    assert len(set(firsts)) > 4


def test_few_shards_are_shuffled_as_one():
    order = local_order(np.array([50, 50]), 2, np.random.default_rng(3))
    assert (order == np.random.default_rng(3).permutation(100)).all()


def test_passes_end_to_end_use_none_more_often_than_needed():
    numbers = local_passes(np.array([3, 4]), 1, 17, np.random.default_rng(0))
    uses = np.bincount(numbers, minlength=7)
    assert len(numbers) == 17 and set(uses.tolist()) == {2, 3}

"""The model of glibc's malloc against its manual, by hand-made sequences of requests."""

import random

import pytest

from i2i.run.plan.heap import Heap

KiB, MiB = 2**10, 2**20


def test_large_blocks_are_mapped_and_given_back():
    heap = Heap()
    block = heap.allocate(10 * MiB)
    assert 10 * MiB <= heap.resident <= 10 * MiB + 2 * Heap.PAGE
    heap.free(*block)
    assert heap.resident == 0
    assert heap.peak >= 10 * MiB


def test_freeing_a_mapped_block_raises_the_threshold():
    """mallopt(3): the threshold becomes the size of the freed block, at most 32 MiB."""
    heap = Heap()
    heap.free(*heap.allocate(10 * MiB))
    block = heap.allocate(9 * MiB)  # now in the heap, whose end is not trimmed below 20 MiB
    heap.free(*block)
    assert heap.resident >= 9 * MiB
    heap.free(*heap.allocate(40 * MiB))
    assert heap.mmap_threshold < 11 * MiB


def test_a_gap_takes_what_is_shorter_and_not_what_is_as_long():
    """posix_memalign looks for a block that is longer by the alignment, and all of the first one is needed by then."""
    heap = Heap()
    heap.mmap_threshold = heap.trim_threshold = 100 * MiB
    gap, wall = heap.allocate(MiB), heap.allocate(MiB)
    heap.free(*gap)
    before = heap.resident
    smaller = heap.allocate(MiB - 4 * KiB)
    assert heap.resident == before
    heap.free(*smaller)
    heap.allocate(MiB + 4 * KiB)
    assert heap.resident > before
    assert wall[0] > gap[0]


def test_free_neighbours_join():
    heap = Heap()
    heap.mmap_threshold = heap.trim_threshold = 100 * MiB
    first, second, _ = heap.allocate(MiB), heap.allocate(MiB), heap.allocate(MiB)
    before = heap.resident
    heap.free(*first)
    heap.free(*second)
    heap.allocate(2 * MiB - 4 * KiB)
    assert heap.resident == before


def test_a_long_free_end_is_given_back():
    heap = Heap()
    heap.mmap_threshold, heap.trim_threshold = 100 * MiB, 4 * MiB
    kept, *blocks = [heap.allocate(MiB) for _ in range(8)]
    for block in blocks[:0:-1]:
        heap.free(*block)
    assert heap.resident < 6 * MiB
    assert kept[1] >= MiB


@pytest.mark.parametrize("seed", range(5))
def test_blocks_never_overlap_and_nothing_is_lost(seed):
    draw, heap, live = random.Random(seed), Heap(), []
    for _ in range(2000):
        if live and draw.random() < 0.5:
            heap.free(*live.pop(draw.randrange(len(live))))
        else:
            size = int(2 ** draw.uniform(4, 24))
            block = heap.allocate(size)
            assert block[1] >= size
            assert block[0] < 0 or (block[0] + Heap.HEADER) % Heap.ALIGNMENT == 0
            live.append(block)
        assert heap.resident >= sum(length for _, length in live)
    placed = sorted(block for block in live if block[0] >= 0)
    assert all(one[0] + one[1] <= other[0] for one, other in zip(placed, placed[1:], strict=False))
    for block in live:
        heap.free(*block)
    assert heap.resident < heap.trim_threshold

"""Kept images are found by every process that shares them, whole or not at all."""

import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from i2i.data.loading.cache import ImageCache

pytestmark = pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="processes share nothing here")


def image_of(number, shape=(5, 7, 3), dtype=np.uint8):
    return (np.random.default_rng(number).random(shape) * 200).astype(dtype)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_what_is_kept_is_found_as_it_was(dtype):
    cache = ImageCache(4, 10_000)
    images = [image_of(number, (3 + number, 7, 1 + number), dtype) for number in range(3)]
    for number, image in enumerate(images):
        cache.put(number, image)
    for number, image in enumerate(images):
        found = cache.get(number)
        assert found.dtype == dtype
        np.testing.assert_array_equal(found, image)
        with pytest.raises(ValueError, match="read-only"):
            found[0] = 0
    assert cache.get(3) is None and cache.kept == 3


def test_what_does_not_fit_is_not_kept():
    cache = ImageCache(9, 3 * 128)
    for number in range(9):
        cache.put(number, image_of(number))  # 105 bytes, at multiples of 64
    assert [number for number in range(9) if cache.get(number) is not None] == [0, 1, 2]
    cache.put(3, image_of(3, (2, 2, 2), np.float64))
    assert cache.kept == 3


def test_a_view_of_other_order_is_kept_right():
    cache, image = ImageCache(1, 10_000), image_of(1)
    cache.put(0, image[:, ::-1])
    np.testing.assert_array_equal(cache.get(0), image[:, ::-1])


def fill(cache, first, count):
    for number in range(first, count):
        cache.put(number, image_of(number))


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_processes_share_it(method):
    context = multiprocessing.get_context(method)
    cache = ImageCache(40, 100_000)
    processes = [context.Process(target=fill, args=(cache, first, 40)) for first in (0, 20)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert cache.kept == 40
    for number in range(40):
        np.testing.assert_array_equal(cache.get(number), image_of(number))


def test_any_other_copy_is_none():
    assert pickle.loads(pickle.dumps(ImageCache(1, 100))) is None


def test_a_process_that_was_not_started_by_this_one_joins():
    cache = ImageCache(2, 1000)
    cache.put(0, image_of(0))
    code = (
        "import sys, numpy as np; from i2i.data.loading.cache import ImageCache;"
        f"cache = ImageCache.join({cache.place!r}); cache.put(1, cache.get(0) + 1)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    np.testing.assert_array_equal(cache.get(1), image_of(0) + 1)


def test_another_cache_is_not_taken_for_it():
    (process, number), token = ImageCache(1, 100).place
    held = ImageCache(1, 100)
    assert ImageCache.join((held.place[0], token)) is None
    assert ImageCache.join(((process, 0), token)) is None  # stdin, or whatever it is
    assert ImageCache.join(((2**22 + 1, number), token)) is None


def fill_in_order(cache, order, barrier):
    images = {number: np.full((100, 100, 3), number, np.uint8) for number in order}
    barrier.wait()
    for number in order:
        cache.put(number, images[number])


@pytest.mark.parametrize("kind", [multiprocessing.get_context("fork").Process, threading.Thread])
def test_writers_do_not_mix(kind):
    """Threads or processes that keep images at once, each in another order."""
    for _ in range(5):
        cache = ImageCache(200, 200 * 30_016)
        orders = [range(200), range(199, -1, -1), [*range(100, 200), *range(100)]]
        barrier = (threading if kind is threading.Thread else multiprocessing.get_context("fork")).Barrier(3)
        writers = [kind(target=fill_in_order, args=(cache, order, barrier)) for order in orders]
        for one in writers:
            one.start()
        for one in writers:
            one.join()
        assert cache.kept == 200
        for number in range(200):
            assert (cache.get(number) == number).all()


def test_a_killed_writer_stops_no_other():
    context = multiprocessing.get_context("fork")
    cache = ImageCache(5000, 2_000_000)
    for _ in range(5):
        process = context.Process(target=fill, args=(cache, 0, 5000))
        process.start()
        time.sleep(0.05)
        os.kill(process.pid, signal.SIGKILL)
        process.join()
    fill(cache, 0, 5000)
    for number in range(5000):
        np.testing.assert_array_equal(cache.get(number), image_of(number))


def test_nothing_is_left_behind(tmp_path):
    code = (
        "import os, signal, numpy as np; from i2i.data.loading.cache import ImageCache;"
        "cache = ImageCache(1, 10**6); cache.put(0, np.zeros((500, 500, 3), np.uint8));"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    assert subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == -signal.SIGKILL
    assert not list(tmp_path.iterdir())
    assert not list(Path("/dev/shm").glob("*i2i*"))


def test_memory_is_taken_as_it_fills():
    status = Path("/proc/self/status")

    def shared():
        return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("RssShmem"))

    before = shared()
    cache = ImageCache(100, 10**9)
    assert shared() - before < 1000
    cache.put(0, np.ones((1000, 1000, 3), np.uint8))
    assert 2900 < shared() - before < 4000

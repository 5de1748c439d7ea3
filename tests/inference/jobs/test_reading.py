"""Reading ahead: in order, bounded, never stuck."""

import threading
import time
from contextlib import closing

import pytest

from i2i.inference.jobs.reading import read_ahead


def sleepy(number):
    time.sleep(0.002 * (number % 3))
    return number


def test_results_come_in_order():
    assert list(read_ahead(sleepy, range(50), lambda n: 1, threads=4)) == list(range(50))


@pytest.mark.parametrize("budget", [1, 5, 100])
def test_any_budget_comes_through(budget):
    results = read_ahead(sleepy, range(60), lambda n: n % 7, threads=4, count=8, budget=budget)
    assert list(results) == list(range(60))


def test_what_waits_is_bounded():
    lock, held, most, taken = threading.Lock(), 0, 0, []

    def read(number):
        nonlocal held, most
        with lock:
            held += 1
            most = max(most, held)
        return number

    def items():
        for number in range(200):
            taken.append(number)
            yield number

    results = read_ahead(read, items(), lambda n: 10, threads=3, count=16, budget=40)
    for number in results:
        time.sleep(0.001)
        with lock:
            held -= 1
        assert len(taken) <= number + 17
    assert most <= 4 + 1 + 3 + 1  # the budget's, the next one, one in each thread, and one in the consumer's hands


def test_leaving_early_ends_the_threads():
    before = threading.active_count()
    with closing(read_ahead(sleepy, range(1000), lambda n: 100, threads=4, budget=1)) as results:
        assert next(results) == 0
    assert threading.active_count() == before


def test_an_error_ends_it():
    with pytest.raises(ZeroDivisionError):
        list(read_ahead(lambda n: 1 // (5 - n), range(100), lambda n: 1, threads=2))

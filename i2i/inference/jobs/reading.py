"""Work done by threads ahead of its consumer, in order, within bounded memory."""

import os
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def usable_cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def read_ahead(
    read: Callable[[Item], Result],
    items: Iterable[Item],
    size: Callable[[Result], int],
    *,
    threads: int,
    count: int = 32,
    budget: int = 256 << 20,
) -> Generator[Result, None, None]:
    """Applies ``read`` to items in threads, and yields the results in the order of the items.

    Results that wait stay below ``count`` and ``budget``; each thread may hold one more, and one that is larger than
    the budget passes alone.

    Args:
        read: What the threads do.
        items: Taken one by one, as room appears.
        size: Of a result, in bytes.
        threads: How many.
        count: Items under way at most.
        budget: Bytes.
    """
    gate = _Gate(budget)

    def work(number: int, item: Item) -> Result:
        result = read(item)
        gate.enter(number, size(result))
        return result

    pool = ThreadPoolExecutor(threads, thread_name_prefix="read")
    waiting: deque[Future[Result]] = deque()

    def take() -> Result:
        result = waiting.popleft().result()
        gate.leave(size(result))
        return result

    try:
        for number, item in enumerate(items):
            waiting.append(pool.submit(work, number, item))
            if len(waiting) >= count:
                yield take()
        while waiting:
            yield take()
    finally:
        gate.open()
        pool.shutdown(cancel_futures=True)


class _Gate:
    """Holds results back while the budget is spent; never the one that is consumed next, so nothing can get stuck."""

    def __init__(self, budget: int) -> None:
        self._budget, self._spent = budget, 0
        self._next = 0
        self._is_open = False
        self._changed = threading.Condition()

    def enter(self, number: int, size: int) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._is_open or number == self._next or self._spent + size <= self._budget)
            self._spent += size

    def leave(self, size: int) -> None:
        with self._changed:
            self._spent -= size
            self._next += 1
            self._changed.notify_all()

    def open(self) -> None:
        with self._changed:
            self._is_open = True
            self._changed.notify_all()

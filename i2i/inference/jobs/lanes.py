"""Batches translated on several devices at once; on a GPU by two threads, one of which prepares while it computes."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from queue import SimpleQueue
from types import TracebackType

import numpy as np
import torch

from i2i.core.errors import I2IError
from i2i.inference.translator import Translator


def devices_of(text: str) -> list[str]:
    """Resolves ``cuda:0,cuda:1``, and ``all``: the GPUs of this host or, where there are none, what ``auto`` is.

    Raises:
        I2IError: A GPU is named twice.
    """
    if text == "all":
        return [f"cuda:{index}" for index in range(torch.cuda.device_count())] or ["auto"]
    names = [name.strip() for name in text.split(",")]
    own = ["cuda:0" if name == "cuda" else name for name in names]
    twice = {name for name in own if own.count(name) > 1 and name != "cpu"}
    if twice:
        raise I2IError(f"--device names {min(twice)} twice", ["several GPUs: cuda:0,cuda:1"])
    return names


Work = Callable[[Translator], np.ndarray]


class Lanes:
    """Deals work to translators, whoever is free; as a context manager.

    Args:
        translators: One a device.

    Attributes:
        count: How many work at the same time.
    """

    def __init__(self, translators: Sequence[Translator]) -> None:
        lanes = [one for one in translators for _ in range(2 if one.device.type == "cuda" and one.is_shared else 1)]
        self.count = len(lanes)
        self._translators = translators
        self._free: SimpleQueue[Translator] = SimpleQueue()
        for translator in lanes:
            self._free.put(translator)
        self._pool: ThreadPoolExecutor | None = None
        self._entered = ExitStack()

    def submit(self, work: Work) -> "Future[np.ndarray]":
        """Starts work when a translator is free; where there is but one, does it."""
        if self._pool is not None:
            return self._pool.submit(self._do, work)
        done: Future[np.ndarray] = Future()
        try:
            done.set_result(self._do(work))
        except Exception as error:
            done.set_exception(error)
        return done

    def _do(self, work: Work) -> np.ndarray:
        translator = self._free.get()
        try:
            return work(translator)
        finally:
            self._free.put(translator)

    def __enter__(self) -> "Lanes":
        if self.count > 1:
            # Switches of the process: were each thread to set them and put them back, one would do so amid another.
            for translator in self._translators:
                self._entered.enter_context(translator.precision.kernels())
            shares = sum(one.device.type == "cpu" for one in self._translators)
            threads = torch.get_num_threads()
            self._entered.callback(torch.set_num_threads, threads)
            if shares > 1:
                torch.set_num_threads(max(1, threads // shares))
            self._pool = ThreadPoolExecutor(self.count, thread_name_prefix="translate")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
        self._entered.close()

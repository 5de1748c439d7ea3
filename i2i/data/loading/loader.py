"""Batches whatever happens to the files and the processes that load them.

An unusable file is named and another one takes its place; a loader process that dies or hangs is named with the files
it was at, and started again. Which images make up a step stays a function of seed and step.
"""

import copy
import signal
import threading
import time
import traceback
from collections.abc import Callable, Generator, Iterator
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, get_worker_info

from i2i.core.errors import DataError, TrainingError, one_line
from i2i.core.progress import say
from i2i.data.loading.parcels import IN_FLIGHT, Parcel, Parcels
from i2i.data.loading.stream import BatchStream, Draw, SeededDataset

ATTEMPTS = 3  # to load one and the same step
LOOK_EVERY = 2  # seconds, for processes that have died
SHOWN = 10  # files that a message names
_TIMED_OUT = "DataLoader timed out"
_EPOCH, _INDEX, _SINCE = range(3)
_NOTHING = -1.0

Batch = dict[str, Any]


class Loader:
    """Loads the batches of a run.

    Args:
        dataset: The data set with its seeds.
        workers: Processes that load; 0 loads in this one.
        max_broken: Unusable files that are passed over, over the run.
        timeout: Seconds to wait for a batch of the processes; 0 waits for ever.
        pin_memory: Whether batches go into memory that a GPU copies from by itself.

    Attributes:
        broken: The unusable files met so far: ``PATH: reason`` -> the number of the step that met it first.
    """

    def __init__(
        self, dataset: SeededDataset, workers: int, max_broken: int = 0, timeout: float = 0, pin_memory: bool = False
    ) -> None:
        self.dataset, self.workers, self.max_broken = dataset, workers, max_broken
        self.timeout, self.pin_memory = timeout, pin_memory
        self.broken: dict[str, int] = {}

    def batches(
        self, stream: BatchStream, seed: int | None = None, stopping: Callable[[], bool] = lambda: False
    ) -> Generator[Batch, None, None]:
        """Yields the batches of a stream.

        Args:
            stream: Which images make up which step.
            seed: In place of the data set's own.
            stopping: Whether to end before the next batch, asked while waiting for it.

        Raises:
            TrainingError: More files are unusable than may be passed over, or no process can load a step.
        """
        stream, failures = copy.copy(stream), 0
        dataset = self.dataset if seed is None else self.dataset.reseeded(seed)
        while stream.start < stream.stop:
            shares, loading = self._start(dataset, stream)
            try:
                while (loaded := self._next(loading, shares, stopping)) is not None:
                    failures = 0
                    batch = self._checked(stream.start + 1, loaded, shares.parcels)
                    stream.start += 1
                    yield batch
                return
            except (RuntimeError, OSError, EOFError) as error:  # the last two from a process that died while it gave
                what = _failure(error, loading, shares)
                if what is None:
                    raise
                failures += 1
                if failures == ATTEMPTS:
                    raise TrainingError(
                        f"step {stream.start + 1}: {what}, {failures} times in a row",
                        ["data.workers=0 loads in the training process itself"],
                    ) from error
                say(f"step {stream.start + 1}: {what}; it is started again")
            finally:
                if stream.start < stream.stop:  # else they have nothing left to do, and end by themselves
                    _kill(loading)

    def _start(self, dataset: SeededDataset, stream: BatchStream) -> "tuple[_Shares, Iterator[Any]]":
        try:
            shares = _Shares(dataset, self.workers, self.max_broken)
            return shares, self._iterate(shares, stream)
        except (RuntimeError, OSError) as error:
            if not self.workers:
                raise
            _kill_started(error)
            what = one_line(error)
        # Outside of the handler, for the error keeps all files open that were too many.
        hints = ["data.workers=0 loads in the training process itself", "they need room in /dev/shm and open files"]
        message = f"step {stream.start + 1}: {self.workers} loader processes cannot be started: {what}"
        raise TrainingError(message, hints)

    def _iterate(self, shares: "_Shares", stream: BatchStream) -> Iterator[Any]:
        loader: DataLoader[Any] = DataLoader(
            shares,
            batch_sampler=stream,
            num_workers=self.workers,
            pin_memory=self.pin_memory,
            prefetch_factor=IN_FLIGHT if self.workers else None,
            collate_fn=partial(_collate, shares.parcels),
            worker_init_fn=_quiet_worker,
            timeout=LOOK_EVERY if self.workers else 0,
            generator=torch.Generator(),  # the loader would otherwise draw from the global one
        )
        before = signal.getsignal(signal.SIGCHLD) if hasattr(signal, "SIGCHLD") else None
        loading = iter(loader)
        if before is not None and threading.current_thread() is threading.main_thread():
            # torch's own handler would raise wherever training happens to be: in the middle of an update.
            signal.signal(signal.SIGCHLD, before)
        return loading

    def _next(self, loading: Iterator[Any], shares: "_Shares", stopping: Callable[[], bool]) -> Any:
        """Waits for the next batch; torch looks for dead processes whenever its own time is over."""
        started = time.monotonic()
        while not stopping():
            try:
                return next(loading, None)
            except RuntimeError as error:
                # A share of many images may take long: what counts is the image that a process is at.
                since = min(shares.busy().values(), default=started)
                is_late = self.timeout and time.monotonic() - since >= self.timeout
                if is_late or not str(error).startswith(_TIMED_OUT):
                    raise
        return None

    def _checked(self, step: int, loaded: dict[str, Any], parcels: Parcels) -> Batch:
        """Names what was passed over, and returns the batch."""
        batch = loaded["batch"]
        if isinstance(batch, Parcel):  # where memory is pinned, that has been done
            batch = parcels.unpack(batch)
        new = [reason for reason in loaded["broken"] if reason not in self.broken]
        self.broken |= dict.fromkeys(new, step)
        if isinstance(batch, _Failed) or (isinstance(batch, DataError) and not self.max_broken):
            raise TrainingError(f"step {step}: {batch.message}", batch.hints)
        if len(self.broken) > self.max_broken:
            raise TrainingError(
                f"step {step}: {len(self.broken)} unusable files are more than data.max_broken={self.max_broken}",
                list(self.broken)[:SHOWN],
            )
        if isinstance(batch, DataError):
            raise TrainingError(f"step {step}: {batch.message}", batch.hints)
        for reason in new:
            say(f"step {step}: {reason}; another image takes its place")
        return cast(Batch, batch)


class _Failed(DataError):
    """The data set's code does not do what it should with an item; that is no broken file."""

    def __init__(self, item: str, error: Exception | str, place: str = "") -> None:
        if isinstance(error, Exception):
            frames = traceback.extract_tb(error.__traceback__)
            place = f"{frames[-1].filename}:{frames[-1].lineno}" if frames else ""
            error = f"{type(error).__name__}: {' '.join(str(error).split())}"
        super().__init__(f"loading {item}: {error}", [f"raised at {place}"] if place else [])
        self._arguments = item, error, place

    def __reduce__(self) -> Any:
        return _Failed, self._arguments


class _Shares(Dataset[Any]):
    """Loads all images of a share at once, and tells the training process which one it is at."""

    def __init__(self, dataset: SeededDataset, workers: int, max_broken: int) -> None:
        self.dataset, self.max_broken = dataset, max_broken
        self.parcels = Parcels(workers)
        self.places = torch.full((max(workers, 1), 3), _NOTHING, dtype=torch.float64).share_memory_()

    def busy(self) -> dict[int, float]:
        """The processes that are loading, and since when each is at its image."""
        since = enumerate(self.places[:, _SINCE].tolist())
        return {number: seconds for number, seconds in since if seconds != _NOTHING}

    def __getitem__(self, draw: Draw) -> Any:
        return self.dataset[draw]

    def __getitems__(self, draws: list[Draw]) -> tuple[list[Any], list[str]]:
        worker = get_worker_info()
        place = self.places[worker.id if worker is not None else 0].numpy()
        broken: list[str] = []
        items = [self._load(draw, place, broken) for draw in draws]
        place[_SINCE] = _NOTHING
        return items, broken

    def _load(self, draw: Draw, place: np.ndarray, broken: list[str]) -> Batch | DataError:
        """Loads an image, or the next one that can be."""
        epoch, index = draw
        for ahead in range(min(self.max_broken + 1, len(self.dataset))):
            draw = (epoch, (index + ahead) % len(self.dataset) if ahead else index)
            place[:] = (*draw, time.monotonic())
            try:
                item = self.dataset[draw]
            except Exception as error:  # the code of others may raise anything
                return _Failed(" and ".join(self.dataset.paths_of(draw)), error)
            if not isinstance(item, DataError):
                return item
            broken.append(item.message)
        return item


def _collate(parcels: Parcels, share: Any) -> dict[str, Any]:
    """Makes a batch of items, or passes on what is wrong with one; with what was passed over for it."""
    items, broken = share
    for item in items:
        if isinstance(item, DataError):
            return {"batch": item, "broken": broken}
    try:
        return {"batch": parcels.pack(items), "broken": broken}
    except RuntimeError:
        named = [{k: tuple(v.shape) for k, v in item.items() if isinstance(v, torch.Tensor)} for item in items]
        if all(one == named[0] for one in named):  # memory that the processes share is full, for one
            raise
        sizes = {tuple(v.shape) for item in items for v in item.values() if isinstance(v, torch.Tensor)}
        shown = ", ".join("x".join(map(str, size)) for size in sorted(sizes))
        hints = ["data.transforms=resize_crop_flip makes them alike", "trainer.batch_size=1 takes one size at a time"]
        return {"batch": DataError(f"the images of a batch differ in size: {shown}", hints), "broken": broken}


def _failure(error: Exception, batches: Any, shares: _Shares) -> str | None:
    """Says which process is gone or hangs, and at what; ``None`` where the error is something else."""
    processes = getattr(batches, "_workers", [])
    if isinstance(error, EOFError | ConnectionError):
        for process in processes:  # it may be dying still
            process.join(timeout=0.2)
    dead = [number for number, process in enumerate(processes) if not process.is_alive()]
    if dead:
        code = processes[dead[0]].exitcode
        return f"a loader process {_ending(code)} while {_at(shares, dead[0])}"
    if str(error).startswith(_TIMED_OUT):
        busy = shares.busy()
        slowest = min(busy, key=lambda number: busy[number], default=0)
        return f"a loader process hangs while {_at(shares, slowest)}"
    return None


def _ending(code: int | None) -> str:
    return f"was killed by {signal.Signals(-code).name}" if code is not None and code < 0 else f"ended with code {code}"


def _at(shares: _Shares, process: int) -> str:
    epoch, index, since = shares.places[process].tolist()
    if since == _NOTHING:
        return "idle"
    return "loading " + " and ".join(shares.dataset.paths_of((int(epoch), int(index))))


def _kill(batches: Any) -> None:
    """Ends loader processes, which listen to nothing else; one that even this does not reach is left behind."""
    processes = getattr(batches, "_workers", [])
    for process in processes:
        process.kill()
    for process in processes:
        process.join(timeout=LOOK_EVERY)


def _kill_started(error: Exception) -> None:
    """Ends the processes of a loader that could not start all of them: they would keep this one from ending."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        loading: Any = frame.f_locals.get("self")
        if hasattr(loading, "_workers"):
            _kill(loading)
            loading._shutdown = True  # torch would stumble over what it has not got yet


def _quiet_worker(_: int) -> None:
    """Leaves signals to the main process, which ends its workers itself, and the cores to each other."""
    import cv2

    cv2.setNumThreads(0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    torch.set_num_threads(1)

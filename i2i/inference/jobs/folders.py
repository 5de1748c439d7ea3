"""Folders of images translated: threads read and write while the networks compute.

One image's trouble never ends the job: it is refused by name, and the rest goes on. Memory depends on the size of the
images, not on their number.
"""

import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from itertools import chain

import numpy as np

from i2i.core.errors import is_out_of_memory, one_line
from i2i.images.decoding import Refused
from i2i.images.files import describe_os_error
from i2i.inference.jobs.calibration import CALIBRATION_IMAGES
from i2i.inference.jobs.jobs import Files, Job, Loaded, Options
from i2i.inference.jobs.lanes import Lanes
from i2i.inference.jobs.manifest import Refusals
from i2i.inference.jobs.precisions import PrecisionChoice
from i2i.inference.jobs.reading import read_ahead, usable_cores
from i2i.inference.translator import Translator

THREADS = 16  # at most, that read, and that write
GPU_BATCH = 8
GPU_BATCH_PIXELS = 1 << 22  # beyond, a batch is no faster than its images one by one, and takes memory
WAITING_BYTES = 256 << 20  # of images, at each of three places: read, gathered into batches, to be written
WAITING_IMAGES = 32
FAILURES_IN_A_ROW = 8  # of what should never fail


@dataclass
class Tally:
    """What has become of the images.

    Attributes:
        translated: Images.
        replaced: Those among them that took the place of an older translation.
        skipped: Images that were done before.
        notes: How many images needed which conversion.
        seconds: That it took.
        is_complete: Whether every image was looked at.
        trouble: Why the job was given up, if it was.
    """

    translated: int = 0
    replaced: int = 0
    skipped: int = 0
    notes: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    is_complete: bool = False
    trouble: str = ""


class FolderTranslation:
    """Translates many images.

    Args:
        translators: The model, one a device.
        files: Reads and writes them.
        options: How.
        refusals: Receives the images that cannot be translated.
        choice: Decides the precision from the first images.
        stopping: Whether to stop: what is being translated and written is finished, the rest left for another run.
        progress: Called after each image.
    """

    def __init__(
        self,
        translators: Sequence[Translator],
        files: Files,
        options: Options,
        refusals: Refusals,
        choice: PrecisionChoice | None = None,
        stopping: Callable[[], bool] = lambda: False,
        progress: Callable[[Tally], None] = lambda tally: None,
    ) -> None:
        self.translators, self.files, self.options, self.refusals = translators, files, options, refusals
        self.choice, self.stopping, self.progress = choice, stopping, progress
        self.tally = Tally()
        self._ready: dict[Job, np.ndarray] = {}  # translations that the choice has made
        self._computing: deque[tuple[list[Loaded], Future[np.ndarray]]] = deque()
        self._writing: deque[tuple[Loaded, int, Future[str]]] = deque()
        self._written_bytes = 0
        self._failures = {"translating": 0, "writing": 0}  # in a row

    def run(self, jobs: Iterable[Job]) -> Tally:
        """Translates the images; returns what has become of them."""
        started = time.perf_counter()
        cores = usable_cores()
        reading = read_ahead(
            self.files.read,
            jobs,
            lambda image: image.array.nbytes,
            threads=min(THREADS, cores),
            count=WAITING_IMAGES,
            budget=WAITING_BYTES,
        )
        pool = ThreadPoolExecutor(min(THREADS, cores), thread_name_prefix="write")
        try:
            with closing(reading):
                images = self._settled(reading)
                with Lanes(self.translators) as lanes:
                    for batch in self._batches(images):
                        if self._is_over():
                            break
                        self._translate(batch, lanes, pool)
                    while self._computing:
                        self._finish_batch(lanes, pool)
            self.tally.is_complete = not self._is_over()
            while self._writing:
                self._finish_oldest()
        finally:
            pool.shutdown(cancel_futures=True)
            self.tally.seconds = time.perf_counter() - started
        return self.tally

    def _settled(self, images: Iterator[Loaded]) -> Iterator[Loaded]:
        """Decides the precision by the first images to be translated; returns all images."""
        if self.choice is None or not self.choice.is_open:
            return images
        held: list[Loaded] = []
        are_all = True
        for image in images:
            if self._is_over():
                return iter(())
            if image.is_done or image.refusal:
                self._pass_over(image)
                continue
            held.append(image)
            if len(held) > CALIBRATION_IMAGES or sum(one.array.nbytes for one in held) > WAITING_BYTES:
                are_all = False
                break
        results = self.choice.settle([one.array for one in held[:CALIBRATION_IMAGES]], are_all)
        self._ready = {held[index].job: result for index, result in results.items()}
        self.files.manifest.options = self.options.deciding(self.choice.name, self.choice.is_calibrated)
        return chain(held, images)

    def _is_over(self) -> bool:
        return bool(self.tally.trouble) or self.stopping()

    def _batches(self, images: Iterable[Loaded]) -> Iterator[list[Loaded]]:
        """Gathers images of one size and type; when too much waits, what has waited longest goes as it is."""
        gathered: dict[object, list[Loaded]] = {}
        count = size = 0
        for image in images:
            if self._is_over():
                return
            if image.is_done or image.refusal:
                self._pass_over(image)
                continue
            key: object = (image.array.shape, image.array.dtype.str)
            limit = self._batch_size(image.array)
            bucket = gathered.setdefault(key, [])
            bucket.append(image)
            count, size = count + 1, size + image.array.nbytes
            if len(bucket) < limit:
                if count < max(WAITING_IMAGES, limit) and size < WAITING_BYTES:
                    continue
                key = next(iter(gathered))
            batch = gathered.pop(key)
            count, size = count - len(batch), size - sum(one.array.nbytes for one in batch)
            yield batch
        yield from gathered.values()

    def _batch_size(self, array: np.ndarray) -> int:
        if self.options.batch_size is not None:
            return self.options.batch_size
        if self.translators[0].device.type == "cpu":
            return 1
        return max(1, min(GPU_BATCH, GPU_BATCH_PIXELS // (array.shape[0] * array.shape[1])))

    def _pass_over(self, image: Loaded) -> None:
        if image.refusal:
            self.refusals.add(image.job.input, image.refusal)
        else:
            self.tally.skipped += 1
        self.progress(self.tally)

    def _translate(self, batch: list[Loaded], lanes: Lanes, pool: ThreadPoolExecutor) -> None:
        """Starts to translate a batch; waits for older ones where enough is under way."""
        waiting = []
        for image in batch:
            result = self._ready.pop(image.job, None)
            if result is None:
                waiting.append(image)
            else:
                self._save(image, result, pool)
        if waiting:
            self._computing.append((waiting, self._submit(waiting, lanes)))
        while len(self._computing) > (lanes.count if lanes.count > 1 else 0):
            self._finish_batch(lanes, pool)

    def _submit(self, batch: list[Loaded], lanes: Lanes) -> "Future[np.ndarray]":
        arrays = [image.array for image in batch]
        return lanes.submit(lambda translator: translator.batch(arrays, self.options.direction))

    def _finish_batch(self, lanes: Lanes, pool: ThreadPoolExecutor) -> None:
        """Waits for the oldest batch and has it written; where it fails, its images are tried one by one."""
        batch, future = self._computing.popleft()
        try:
            results = future.result()
        except Exception as error:  # a plugin's network may raise anything, and memory may run out
            if len(batch) == 1:
                self._fail("translating", batch[0], _describe(error, batch[0].array))
                return
            for image in batch:
                self._computing.appendleft(([image], self._submit([image], lanes)))
                self._finish_batch(lanes, pool)
            return
        for image, result in zip(batch, results, strict=True):
            self._save(image, result, pool)

    def _save(self, image: Loaded, result: np.ndarray, pool: ThreadPoolExecutor) -> None:
        """Has a translation written, once there is room."""
        if result.shape[:2] != image.array.shape[:2]:
            self._fail("translating", image, f"the model makes {_size(result)} pixels of its {_size(image.array)}")
            return
        self._failures["translating"] = 0
        while self._writing and (
            len(self._writing) >= WAITING_IMAGES or self._written_bytes + result.nbytes > WAITING_BYTES
        ):
            self._finish_oldest()
        self._writing.append((image, result.nbytes, pool.submit(self.files.write, image, result)))
        self._written_bytes += result.nbytes
        while self._writing and self._writing[0][2].done():
            self._finish_oldest()

    def _finish_oldest(self) -> None:
        image, size, future = self._writing.popleft()
        self._written_bytes -= size
        try:
            outcome = future.result()
        except Refused as error:
            self.refusals.add(image.job.input, str(error))
        except OSError as error:
            self._fail("writing", image, f"its translation cannot be written: {describe_os_error(error, 'written')}")
        else:
            self._failures["writing"] = 0
            self.tally.translated += outcome != "done"
            self.tally.replaced += outcome == "replaced"
            self.tally.skipped += outcome == "done"
            self.tally.notes.update(image.notes)
        self.progress(self.tally)

    def _fail(self, work: str, image: Loaded, reason: str) -> None:
        """Refuses an image for what may well befall all others too."""
        self.refusals.add(image.job.input, reason)
        self._failures[work] += 1
        if self._failures[work] >= FAILURES_IN_A_ROW:
            self.tally.trouble = f"given up after {self._failures[work]} failures in a row, the last one: {reason}"


def _describe(error: Exception, array: np.ndarray) -> str:
    if is_out_of_memory(error):
        return f"its {_size(array)} pixels do not fit into memory"
    return f"the model cannot translate it: {one_line(error)}"


def _size(array: np.ndarray) -> str:
    return f"{array.shape[1]} x {array.shape[0]}"

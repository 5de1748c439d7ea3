"""Whether decoded images are kept, and how many: the setting ``data.cache`` and the memory that there is."""

import contextlib
import math
import platform
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from i2i.core.errors import DataError
from i2i.data.augment.transforms import Transforms
from i2i.data.base import Dataset
from i2i.data.loading.cache import ImageCache
from i2i.images.codecs import Codec

GB = 10**9
SHARE = 0.25  # of the free memory, which "auto" may take
_MOST = 1 << 62  # bytes
_TRIED = 4  # images that tell how large the others are
_GROUPS = Path("/sys/fs/cgroup")

Setting = float | Literal["auto", "off"]


class Cacheable(Dataset, ABC):
    """A data set whose images may be kept.

    Attributes:
        codecs: What its files mean.
        transforms: What is done with its images.
        cache: Where they are kept; ``None`` for nowhere.
    """

    codecs: Mapping[str, Codec]
    transforms: Transforms
    cache: ImageCache | None = None

    def use_draft(self) -> bool:
        """Has JPEGs decoded no larger than the resize at the start needs; returns whether there is one."""
        for codec in self.codecs.values():
            if codec.target == "image":
                codec.least_size = self.transforms.prepared_size
        return self.size_is_fixed

    @property
    def size_is_fixed(self) -> bool:
        """Whether :meth:`load` gives images of one size."""
        return self.transforms.prepared_size is not None

    @property
    @abstractmethod
    def num_images(self) -> int:
        """How many images it has, which are numbered from 0."""

    @abstractmethod
    def load(self, number: int) -> np.ndarray:
        """Loads an image as it is kept: decoded, and resized where that comes first.

        Raises:
            DataError: The file cannot be used.
        """


def use_cache(
    dataset: Any, setting: Setting, gathered: Callable[[Any], list[Any]] = lambda value: [value]
) -> str | None:
    """Gives a data set a cache; the processes of a run on one host get the same one.

    Args:
        dataset: Keeps images if it is :class:`Cacheable`.
        setting: ``auto`` takes at most a quarter of the free memory, a number so many GB, ``off`` nothing.
        gathered: Gives what each process of the run has passed to it.

    Returns:
        A line for the user; ``None`` where there is nothing to tell.
    """
    if not isinstance(dataset, Cacheable):
        return None if setting in ("auto", "off") else "cache: off, this data set has no files that can be kept"
    free = free_memory()
    budget = _budget(setting, free)
    dataset.cache = None
    each = _bytes_of_an_image(dataset) if budget else 0
    own = _new(dataset.num_images, budget) if each and budget >= each else None
    views = gathered((_host(), own.place if own else None))
    alike = [place for host, place in views if host == _host() and place]
    if own and alike[0] != own.place:  # the first process of a host makes it, the others join
        own = ImageCache.join(alike[0]) or _new(dataset.num_images, budget // len(alike))
    dataset.cache = own
    return _told(dataset, each, budget, setting, free)


def free_memory() -> int | None:
    """Bytes that may be taken without anything being swapped, of the host and of the container; ``None`` if unknown."""
    found = []
    with contextlib.suppress(OSError, ValueError, IndexError):
        lines = Path("/proc/meminfo").read_text().splitlines()
        found += [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
    for limit, used, cached in (
        ("memory.max", "memory.current", "inactive_file"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "total_inactive_file"),
    ):
        with contextlib.suppress(OSError, ValueError, IndexError):  # no limit reads "max"
            room = int((_GROUPS / limit).read_text()) - int((_GROUPS / used).read_text())
            statistics = (_GROUPS / used).with_name("memory.stat").read_text().splitlines()
            found.append(room + sum(int(line.split()[1]) for line in statistics if line.split()[0] == cached))
    return max(min(found), 0) if found else None


def _budget(setting: Setting, free: int | None) -> int:
    if setting == "off":
        return 0
    return int(SHARE * (free or 0)) if setting == "auto" else int(min(float(setting) * GB, _MOST))


def _bytes_of_an_image(dataset: Cacheable) -> int:
    """The mean of a few images; 0 where none of them can be used."""
    last = dataset.num_images - 1
    parts = 1 if dataset.size_is_fixed else _TRIED - 1  # the first and the last are of different domains
    sizes = []
    for number in dict.fromkeys(last * part // parts for part in range(parts + 1)):
        with contextlib.suppress(DataError):
            sizes.append(dataset.load(number).nbytes)
    return sum(sizes) // max(len(sizes), 1)


def _new(count: int, budget: int) -> ImageCache | None:
    try:
        return ImageCache(count, budget)
    except (OSError, OverflowError, ValueError):  # more than the system can address
        return None


def _host() -> tuple[str, str]:
    with contextlib.suppress(OSError):  # containers of one host may share its name, but not their processes
        return platform.node(), str(Path("/proc/self/ns/pid").readlink())
    return platform.node(), ""


def _told(dataset: Cacheable, each: int, budget: int, setting: Setting, free: int | None) -> str:
    if setting == "auto" and free is None:
        return "cache: off, how much memory is free is not known; data.cache=4 takes up to 4 GB"
    if not budget:
        return "cache: off"
    if dataset.cache is None:
        small = f"{_gigabytes(budget)} GB hold no image" if budget < each else "so much memory cannot be addressed"
        return f"cache: off, {small if each else 'no image can be loaded'}"
    count = dataset.num_images
    kept = min(count, budget // each)
    scarce = f"; only {_gigabytes(free)} GB are free" if free is not None and kept * each > free else ""
    about = "" if dataset.size_is_fixed else "about "
    if kept == count:
        return f"cache: {count:,} images, {about}{_gigabytes(count * each)} GB of {_gigabytes(budget)} GB{scarce}"
    wanted = f"data.cache={math.ceil(count * each * 1.01 / GB)} keeps them all"
    return f"cache: {about}{kept:,} of {count:,} images, {_gigabytes(budget)} GB; {wanted}{scarce}"


def _gigabytes(size: float) -> str:
    """Tells GB with two digits that count, or all before the point."""
    if size >= 9.5 * GB:
        return f"{size / GB:,.0f}"
    return f"{size / GB:.1f}" if size >= 0.95 * GB else f"{size / GB:.2g}"

"""With a cache, files are decoded once, and items are the same."""

import multiprocessing

import numpy as np
import pytest
import torch
from PIL import Image

from i2i.core.errors import DataError
from i2i.data.drawn.dataset import Synthetic
from i2i.data.folder import Folder
from i2i.data.labels import Labels
from i2i.data.loading import caching
from i2i.data.loading import loader as loading
from i2i.data.loading.cache import ImageCache
from i2i.data.loading.caching import free_memory, use_cache
from i2i.data.loading.loader import Loader
from i2i.data.loading.stream import BatchStream, SeededDataset
from i2i.data.pictures import Paired, Unpaired

RNG = np.random.default_rng(8)
COUNT = 5
SIZES = {"load_size": 20, "crop_size": 16}


def write(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    if array.dtype == np.uint16:
        import cv2

        cv2.imwrite(str(path), array)
    else:
        Image.fromarray(array).save(path)


def noise(width=30, dtype=np.uint8):
    return RNG.integers(0, np.iinfo(dtype).max, (24, width, 3)).astype(dtype)


def unpaired(root):
    for number in range(COUNT):
        write(root / "trainA" / f"{number}.png", noise())
        write(root / "trainB" / f"{number}.jpg", noise(40))
    write(root / "trainB" / "more.jpg", noise(20))
    return Unpaired(str(root), **SIZES)


def deep(root):
    unpaired(root)
    for number in range(COUNT):
        write(root / "trainA" / f"{number}.png", noise(dtype=np.uint16))
    return Unpaired(str(root), **SIZES)


def halves(root):
    for number in range(COUNT):
        write(root / "train" / f"{number}.png", noise(60))
    return Paired(str(root), **SIZES)


def halves_taken_apart(root):
    halves(root)
    return Unpaired(str(root), **SIZES)


def library(root):
    unpaired(root)
    nodes = [{"type": "SmallestMaxSize", "max_size": 18}, {"type": "RandomCrop", "height": 16, "width": 16}]
    return Unpaired(str(root), transforms=[*nodes, {"type": "CoarseDropout", "p": 1}])


def labels(root):
    for number in range(COUNT):
        write(root / "train" / "labels" / f"{number}.png", RNG.integers(0, 4, (24, 30), dtype=np.uint8))
        write(root / "train" / "images" / f"{number}.png", noise())
    return Labels(str(root), classes=4, **SIZES)


def folder(root):
    for number in range(COUNT):
        write(root / "ab"[number % 2] / f"{number}.png", noise())
    return Folder(str(root), classes="auto", crop_size=16)


KINDS = [unpaired, deep, halves, halves_taken_apart, library, labels, folder]


def items(dataset, epochs=3):
    seeded = SeededDataset(dataset, seed=4)
    return [seeded[(epoch, index)] for epoch in range(epochs) for index in range(len(dataset))]


def assert_same(one, other):
    assert len(one) == len(other)
    for left, right in zip(one, other, strict=True):
        assert left.keys() == right.keys()
        for key, value in left.items():
            assert torch.equal(value, right[key]) if isinstance(value, torch.Tensor) else value == right[key]


@pytest.mark.parametrize("kind", KINDS)
def test_items_are_the_same_and_files_are_decoded_once(kind, tmp_path, monkeypatch):
    dataset = kind(tmp_path)
    expected = items(dataset)
    use_cache(dataset, 0.001)
    assert_same(items(dataset), expected)
    assert dataset.cache.kept == dataset.num_images
    for path in tmp_path.rglob("*.*"):
        path.unlink()
    assert_same(items(dataset), expected)
    dataset.cache = None
    assert all(isinstance(item, DataError) for item in items(dataset)), "without it, files are needed"


def test_what_fits_is_kept_and_the_rest_is_decoded(tmp_path):
    dataset = unpaired(tmp_path)
    expected = items(dataset)
    dataset.cache = ImageCache(dataset.num_images, 4 * 1216)  # 20 x 20 x 3, at multiples of 64
    for _ in range(2):
        assert_same(items(dataset), expected)
    assert dataset.cache.kept == 4


def test_broken_files_are_not_kept(tmp_path):
    dataset = unpaired(tmp_path)
    dataset.scan()
    path = tmp_path / "trainA" / "0.png"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    use_cache(dataset, 0.001)
    for _ in range(2):
        broken = [item for item in items(dataset) if isinstance(item, DataError)]
        assert broken and all(str(path) in item.message for item in broken)
    assert dataset.cache.get(0) is None
    path.write_bytes(whole)
    assert not any(isinstance(item, DataError) for item in items(dataset))


@pytest.mark.parametrize("method", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_loader_processes_fill_one_cache(method, tmp_path, monkeypatch):
    dataset = halves(tmp_path)
    monkeypatch.setattr(loading.torch.multiprocessing, "get_start_method", lambda *_, **__: method)
    monkeypatch.setattr(
        multiprocessing.context._default_context, "_actual_context", multiprocessing.get_context(method)
    )
    stream = BatchStream(len(dataset), 2, seed=1, start=0, stop=10)

    def load(workers):
        return [batch["a"] for batch in Loader(SeededDataset(dataset, seed=1), workers, max_broken=1).batches(stream)]

    expected = load(0)
    use_cache(dataset, 0.001)
    assert all(map(torch.equal, load(2), expected))
    assert dataset.cache.kept == dataset.num_images
    for path in tmp_path.rglob("*.png"):
        path.unlink()
    assert all(map(torch.equal, load(2), expected))


def test_the_processes_of_a_host_have_one(tmp_path):
    first, second, third = (unpaired(tmp_path) for _ in range(3))
    views = []

    def gathered(view):
        views.append(view)
        return views

    use_cache(first, 0.001, gathered)
    use_cache(second, 0.001, gathered)
    second.cache.put(0, np.full((20, 20, 3), 7, np.uint8))
    assert first.cache.get(0)[0, 0, 0] == 7
    use_cache(third, 0.001, lambda view: [(("elsewhere", ""), views[0][1]), view])
    assert third.cache.get(0) is None, "another host's memory is another one's"


def test_it_is_told_what_is_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(caching, "free_memory", lambda: 4 * 10**9)
    dataset = unpaired(tmp_path)
    assert dataset.num_images == 11
    assert use_cache(dataset, "auto") == "cache: 11 images, 1.3e-05 GB of 1.0 GB"
    assert use_cache(dataset, 6) == "cache: 11 images, 1.3e-05 GB of 6.0 GB"
    assert use_cache(dataset, 6e-6) == "cache: 5 of 11 images, 6e-06 GB; data.cache=1 keeps them all"
    assert use_cache(dataset, "off") == "cache: off" and dataset.cache is None
    assert use_cache(dataset, 0) == "cache: off"
    assert use_cache(dataset, 1e-7) == "cache: off, 1e-07 GB hold no image"
    assert use_cache(dataset, float("inf")) == "cache: off, so much memory cannot be addressed"
    assert use_cache(dataset, 25).endswith(" of 25 GB")
    assert "about" in use_cache(Unpaired(str(tmp_path), transforms="crop", crop_size=16), 1)
    assert use_cache(Synthetic(), "auto") is None
    assert use_cache(Synthetic(), 2) == "cache: off, this data set has no files that can be kept"
    monkeypatch.setattr(caching, "free_memory", lambda: None)
    assert "is not known" in use_cache(dataset, "auto")


def test_more_than_is_free_is_told(tmp_path, monkeypatch):
    dataset = unpaired(tmp_path)
    monkeypatch.setattr(caching, "free_memory", lambda: 1000)
    assert use_cache(dataset, 1).endswith("; only 1e-06 GB are free")


def test_a_set_of_broken_files_has_no_cache(tmp_path):
    dataset = unpaired(tmp_path)
    dataset.scan()
    for path in tmp_path.rglob("*.*"):
        path.write_bytes(b"")
    assert use_cache(dataset, 1) == "cache: off, no image can be loaded"


def test_free_memory_heeds_the_container(tmp_path, monkeypatch):
    monkeypatch.setattr(caching, "_GROUPS", tmp_path)
    host = free_memory()
    assert host is not None and host > 1e6
    for name, text in {"max": "3000\n", "current": "2000\n", "stat": "anon 5\ninactive_file 500\n"}.items():
        (tmp_path / f"memory.{name}").write_text(text)
    assert free_memory() == 1500
    (tmp_path / "memory.max").write_text("max\n")
    assert free_memory() > 1e6

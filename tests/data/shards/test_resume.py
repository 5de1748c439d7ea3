"""Shards as a stream: which images make up which step, wherever it is begun and whoever loads it."""

import numpy as np
import pytest
import torch

from i2i.data.loading.loader import Loader
from i2i.data.loading.stream import BatchStream, SeededDataset
from i2i.data.shards.dataset import Shards
from tests.data.shards.shard_sets import SMALL, paired_set, picture, serving, unpaired_set, write_tar

BATCH, STEPS = 4, 14  # 56 of 23 a pass: two and a half passes


@pytest.fixture(params=["pairs", "domains"])
def dataset(request, tmp_path):
    if request.param == "pairs":
        return Shards(str(paired_set(tmp_path, [5, 3, 7, 2, 6])), open_shards=2, **SMALL)
    root = str(unpaired_set(tmp_path, {"A": [5, 3, 7, 2, 6], "B": [4, 4, 3]}))
    return Shards(root, paired=False, open_shards=2, **SMALL)


def batches(dataset, start=0, stop=STEPS, workers=0, rank=0, world=1, seed=3, **keys):
    dataset.scan()
    stream = BatchStream(len(dataset), BATCH, seed, start, stop, rank, world, dataset)
    return list(Loader(SeededDataset(dataset, seed), workers, **keys).batches(stream))


def same(one, other):
    assert len(one) == len(other)
    for left, right in zip(one, other, strict=True):
        assert left["a_path"] == right["a_path"] and left["b_path"] == right["b_path"]
        assert torch.equal(left["a"], right["a"]) and torch.equal(left["b"], right["b"])


def test_every_start_goes_on_exactly(dataset):
    whole = batches(dataset)
    for start in range(STEPS):
        same(batches(dataset, start), whole[start:])


@pytest.mark.parametrize("workers", [1, 2])
def test_loaders_change_nothing(dataset, workers):
    same(batches(dataset, 5, workers=workers), batches(dataset)[5:])


def test_two_processes_share_each_batch(dataset):
    whole = batches(dataset)
    ranks = [batches(dataset, 6, rank=rank, world=2, workers=rank) for rank in range(2)]
    for step, parts in enumerate(zip(*ranks, strict=True)):
        same(
            [
                {
                    k: sum((p[k] for p in parts), []) if k.endswith("path") else torch.cat([p[k] for p in parts])
                    for k in ("a", "b", "a_path", "b_path")
                }
            ],
            [whole[6 + step]],
        )


def test_each_image_once_a_pass(tmp_path):
    dataset = Shards(str(paired_set(tmp_path, [5, 3, 7, 2, 6])), open_shards=2, **SMALL)
    paths = [path for batch in batches(dataset, stop=23) for path in batch["a_path"]]  # 92: four passes
    assert all(len(set(paths[first : first + 23])) == 23 for first in range(0, 92, 23))
    assert paths[:23] != paths[23:46]


def test_the_order_is_that_of_the_data_set(dataset):
    numbers = [dataset.order(np.random.default_rng((3, epoch))) for epoch in range(3)]
    expected = [dataset.paths_of(int(number), None) for number in np.concatenate(numbers)[: STEPS * BATCH]]
    found = [pair for batch in batches(dataset) for pair in zip(batch["a_path"], batch["b_path"], strict=True)]
    assert found == expected


def test_seeds_differ(dataset):
    assert [b["a_path"] for b in batches(dataset)] != [b["a_path"] for b in batches(dataset, seed=4)]


def test_a_broken_image_is_replaced_by_the_next(tmp_path):
    files = {f"{n}.{part}.png": picture(n) for n in range(9) for part in "ab"} | {"4.b.png": b"no image"}
    write_tar(tmp_path / "train-0.tar", files)
    dataset = Shards(str(tmp_path), **SMALL)
    whole = batches(dataset, stop=9, max_broken=1)
    paths = [path for batch in whole for path in batch["a_path"]]
    assert len(paths) == 36 and not any(path.endswith("/4.a.png") for path in paths)
    assert sum(path.endswith("/5.a.png") for path in paths) == 8
    same(batches(dataset, 4, stop=9, workers=1, max_broken=1), whole[4:])


@pytest.mark.parametrize("workers", [0, 2])
def test_remote_shards_give_the_same_batches(dataset, tmp_path, workers, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    local = batches(dataset)
    with serving(tmp_path) as server:
        urls = "train-{000..004}.tar" if dataset.joint else {"a": "trainA-{000..004}.tar", "b": "trainB-{000..002}.tar"}
        keys = {"urls": urls, "paired": dataset.joint, "open_shards": 2, **SMALL}
        size = max(path.stat().st_size for path in tmp_path.glob("*.tar"))
        keys["store_gb"] = (3 if dataset.joint else 6) * size / 1e9  # of 5 or 8 shards
        remote = Shards(server.url, store=str(tmp_path / "store"), **keys)
        for start in (0, 9):
            found = batches(remote, start, workers=workers)
            for batch in found:
                for name in ("a_path", "b_path"):
                    batch[name] = [path.replace(server.url, str(tmp_path)) for path in batch[name]]
            same(found, local[start:])

import multiprocessing
import os
import re
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from i2i.core.errors import DataError
from i2i.core.files.locks import locked
from i2i.data.known.download import Downloader
from i2i.data.loading.loader import Loader
from i2i.data.loading.stream import BatchStream, SeededDataset
from i2i.data.shards.dataset import Shards
from i2i.data.shards.index import ShardError
from i2i.data.shards.make import write_index
from i2i.data.shards.members import Shard
from i2i.data.shards.store import ShardStore
from tests.data.shards.shard_sets import SMALL, number_of, paired_set, serving

SHARDS, PAIRS = 8, 6


@pytest.fixture
def folder(tmp_path, no_proxy):
    folder = paired_set(tmp_path / "remote", [PAIRS] * SHARDS)
    for shard in folder.glob("*.tar"):
        write_index(shard)
    return folder


@pytest.fixture
def server(folder):
    with serving(folder) as server:
        yield server


def size_of(folder):
    return max(path.stat().st_size for path in folder.glob("*.tar"))


def make(server, folder, room=4, **keys):
    """A data set whose store has room for so many shards, and which downloads without waiting between attempts."""
    keys = {"open_shards": 2, "store": str(folder.parent / "store"), **SMALL, **keys}
    urls = f"train-{{000..{SHARDS - 1:03}}}.tar"
    dataset = Shards(server.url, urls, store_gb=room * size_of(folder) / 1e9, **keys)
    dataset._store.downloader = Downloader(attempts=3, timeout_seconds=5, backoff=lambda n: 0.01, shows_progress=False)
    return dataset


def stored(folder):
    """Bytes in the store, of whole shards and of parts."""
    paths = [*(folder.parent / "store").glob("*.tar"), *(folder.parent / "store").glob("*.part")]
    total = 0
    for path in paths:
        try:
            total += path.stat().st_size
        except FileNotFoundError:
            continue
    return total


def stream(dataset, start=0, stop=SHARDS * PAIRS, batch=1):
    dataset.scan()
    stream = BatchStream(len(dataset), batch, 5, start, stop, dataset=dataset)
    return Loader(SeededDataset(dataset, 5), 0).batches(stream)


def test_nothing_but_indexes_is_fetched_to_begin(server, folder):
    dataset = make(server, folder)
    dataset.scan()
    assert len(dataset) == SHARDS * PAIRS
    assert sorted(server.whole()) == [f"train-{n:03}.idx.json" for n in range(SHARDS)]
    make(server, folder).scan()
    assert len(server.asked) == SHARDS  # they are kept


def test_the_store_is_bounded_and_each_shard_comes_about_once(server, folder):
    dataset, most, limit = make(server, folder), 0, 4 * size_of(folder)
    seen = []
    for batch in stream(dataset):
        most = max(most, stored(folder))
        seen.append(number_of(batch["a"][0]))
        time.sleep(0.01)  # training
    assert sorted(seen) == list(range(SHARDS * PAIRS))
    assert not any(span for name, span in server.asked if name.endswith(".tar"))  # none by itself
    assert 0 < most <= limit < SHARDS * size_of(folder)
    fetched = [name for name in server.whole() if name.endswith(".tar")]
    # On the ring, one shard is open both in the beginning and in the end of a pass, and the next pass was begun.
    assert len(fetched) <= SHARDS + 1 + 4
    assert set(fetched) == {f"train-{n:03}.tar" for n in range(SHARDS)}


def test_what_is_next_is_fetched_before_it_is_used(server, folder):
    dataset = make(server, folder, room=5)
    batches = stream(dataset)
    next(batches)
    opened = {
        path.rpartition("/")[0]
        for number in dataset.order(np.random.default_rng((5, 0)))[:PAIRS]
        for path in dataset.paths_of(int(number), np.random.default_rng(0))
    }
    deadline = time.monotonic() + 10
    while len(list((folder.parent / "store").glob("*.tar"))) < 4 and time.monotonic() < deadline:
        time.sleep(0.02)
    held = [shard.url for shard in dataset._sides[0].paths.shards if dataset._store.holds(shard)]
    assert len(held) >= 4 and opened <= set(held)


def test_a_cut_transfer_goes_on_where_it_was(server, folder):
    name = "train-003.tar"
    server.cut[name] = [5000, 3000]
    store = ShardStore(folder.parent / "store", 10**9, downloader=Downloader(attempts=3, backoff=lambda n: 0.01))
    shard = Shard(f"{server.url}/{name}", (folder / name).stat().st_size)
    store.bring(shard)
    spans = [span for path, span in server.asked if path == name]
    assert spans == ["", "bytes=5000-", "bytes=8000-"]
    (path,) = (folder.parent / "store").glob("*.tar")
    assert path.read_bytes() == (folder / name).read_bytes()


def test_a_part_that_is_left_over_is_gone_on_from(server, folder):
    name = "train-003.tar"
    server.cut[name] = [5000]
    shard = Shard(f"{server.url}/{name}", (folder / name).stat().st_size)
    with pytest.raises(ShardError, match=f"cannot download {re.escape(shard.url)}"):
        ShardStore(folder.parent / "store", 10**9, downloader=Downloader(attempts=1)).bring(shard)
    assert not list((folder.parent / "store").glob("*.tar"))
    ShardStore(folder.parent / "store", 10**9).bring(shard)
    assert server.asked[-1] == (name, "bytes=5000-")


def test_an_outage_ends_training_instead_of_replacing_images(server, folder):
    dataset = make(server, folder)
    dataset.scan()
    server.is_down = True
    with pytest.raises(ShardError, match="503"):
        dataset.get(0, np.random.default_rng(0))
    with pytest.raises(Exception, match=r"train-\d+\.tar.*503") as error:
        list(Loader(SeededDataset(dataset, 0), 0, max_broken=10).batches(BatchStream(48, 1, 0, 0, 3, dataset=dataset)))
    assert not isinstance(error.value, ShardError)  # the loader's own, which the trainer tells


def test_single_images_do_not_bring_whole_shards(server, folder):
    """Samples of a run are spread over the whole set."""
    dataset = make(server, folder)
    dataset.scan()
    assert [number_of(dataset[index]["b"]) for index in (0, 20, 47)] == [500, 520, 547]
    assert not [name for name in server.whole() if name.endswith(".tar")]
    assert stored(folder) == 0


def test_servers_without_ranges(server, folder):
    server.has_ranges = False
    dataset = make(server, folder)
    assert number_of(dataset[20]["b"]) == 520
    assert "train-003.tar" in server.whole()


def test_other_splits_are_read_shard_by_shard(server, folder):
    dataset = make(server, folder, split="val")
    assert [number_of(item["a"]) for item in dataset] == list(range(SHARDS * PAIRS))
    assert [name for name in server.whole() if name.endswith(".tar")] == [f"train-{n:03}.tar" for n in range(SHARDS)]
    assert stored(folder) <= 4 * size_of(folder)


def test_shards_without_an_index(server, folder):
    for path in folder.glob("*.idx.json"):
        path.unlink()
    dataset = make(server, folder)
    dataset.scan()
    assert len(dataset) == SHARDS * PAIRS and stored(folder) <= 4 * size_of(folder)
    before = len(server.asked)
    again = make(server, folder)
    again.scan()
    assert len(server.asked) == before and again.fingerprint == dataset.fingerprint


@pytest.mark.parametrize("has_index", [True, False])
@pytest.mark.parametrize("when", ["fetched", "brought"])
def test_a_shard_may_be_removed_as_soon_as_it_is_there(server, folder, when, has_index, monkeypatch):
    """By another process or thread that needs room."""
    lost = []

    def lose(target):
        if target.suffix == ".tar" and target not in lost and target.exists():
            target.unlink()
            lost.append(target)

    class Losing(Downloader):
        def fetch(self, urls, target, say=print, naming=None):
            url = super().fetch(urls, target, say, naming)
            if when == "fetched":
                lose(target)
            return url

    bring = ShardStore.bring

    def bring_and_lose(self, shard):
        bring(self, shard)
        if when == "brought":
            lose(self._path(shard))

    monkeypatch.setattr(ShardStore, "bring", bring_and_lose)
    for path in folder.glob("*.idx.json") if not has_index else ():
        path.unlink()
    dataset = make(server, folder, split="val")
    dataset._store.downloader, dataset._store.alone = Losing(shows_progress=False), False
    assert number_of(dataset[20]["b"]) == 520
    assert len(lost) == (1 if has_index else SHARDS)


def test_a_damaged_remote_shard_is_named(server, folder):
    (folder / "train-002.idx.json").unlink()
    content = bytearray((folder / "train-002.tar").read_bytes())
    content[1024 + 3] ^= 255
    (folder / "train-002.tar").write_bytes(content)
    with pytest.raises(DataError, match=rf"{server.url}/train-002\.tar: is damaged"):
        make(server, folder).scan()


def test_a_damaged_index_is_named_and_fetched_again(server, folder):
    good = (folder / "train-002.idx.json").read_bytes()
    (folder / "train-002.idx.json").write_text("{}")
    with pytest.raises(DataError, match=rf"{server.url}/train-002\.idx\.json: is not the index"):
        make(server, folder).scan()
    (folder / "train-002.idx.json").write_bytes(good)
    make(server, folder).scan()


def test_a_shard_that_has_changed(server, folder):
    dataset = make(server, folder, split="val")
    dataset.scan()
    paired_set(folder, [60] * SHARDS)
    with pytest.raises(ShardError, match=r"train-000\.tar: has [\d,]+ bytes, its index says"):
        dataset.get(0, np.random.default_rng(0))
    assert not list((folder.parent / "store").glob("*.tar"))
    for shard in folder.glob("*.tar"):
        write_index(shard)
    fresh = make(server, folder, room=9, split="val")
    assert len(fresh) > SHARDS * PAIRS  # the index of that shard was read anew


def test_missing_shards_and_servers(server, folder):
    (folder / "train-002.tar").unlink()
    (folder / "train-002.idx.json").unlink()
    with pytest.raises(DataError, match=rf"{server.url}/train-002\.tar"):
        make(server, folder.parent / "remote").scan()
    server.url = "http://127.0.0.1:9"
    with pytest.raises(DataError, match=r"cannot download http://127\.0\.0\.1:9/train-\d+\.idx\.json: no connection"):
        make(server, folder, store=str(folder.parent / "other")).scan()


def test_a_store_that_is_too_small(server, folder):
    with pytest.raises(DataError) as error:
        make(server, folder, room=2).scan()
    assert re.match(r"data\.store_gb=\S+ is too small: 2 open shards and the next one need \S+", error.value.message)
    make(server, folder, room=2, open_shards=1).scan()


def _bring(folder, shard):
    ShardStore(folder, 10**9).bring(shard)


def test_processes_download_a_shard_once(server, folder):
    shard = Shard(f"{server.url}/train-000.tar", (folder / "train-000.tar").stat().st_size)
    store = folder.parent / "store"
    server.gate.clear()
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_bring, args=(store, shard)) for _ in range(3)]
    for process in processes:
        process.start()
    deadline = time.monotonic() + 10
    while not server.asked and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.2)
    server.gate.set()
    for process in processes:
        process.join(20)
        assert process.exitcode == 0
    assert server.whole() == ["train-000.tar"]


def test_the_shard_used_longest_ago_goes_first(server, folder):
    shards = [Shard(f"{server.url}/train-{n:03}.tar", (folder / f"train-{n:03}.tar").stat().st_size) for n in range(5)]
    store = ShardStore(folder.parent / "store", 3 * shards[0].size)
    for age, shard in enumerate(shards[:3]):
        store.bring(shard)
        os.utime(store._path(shard), (1000 + age, 1000 + age))
    member = ("0000.a.png", 512, 79)
    content = (folder / "train-000.tar").read_bytes()
    size = int(content[124:135], 8)
    store.read(shards[0], (member[0], 512, size))
    store.bring(shards[3])
    assert [store.holds(shard) for shard in shards] == [True, False, True, True, False]
    assert store.announce([shards[2], shards[4], shards[0], shards[1]]) == [shards[2], shards[4], shards[0]]
    store.bring(shards[4])
    assert [store.holds(shard) for shard in shards] == [True, False, True, False, True]


def test_what_is_announced_stays_even_if_others_were_read_later(server, folder, monkeypatch):
    shards = [Shard(f"{server.url}/train-{n:03}.tar", (folder / f"train-{n:03}.tar").stat().st_size) for n in range(4)]
    store = ShardStore(folder.parent / "store", 3 * shards[0].size)
    for shard in shards[:3]:
        store.bring(shard)
    now = time.time()
    announced, make_room = [shards[0], shards[1], shards[3]], store._make_room

    def late(shard, kept=()):
        os.utime(store._path(shards[2]), (now + 60, now + 60))  # a slow loader reads what is done with
        return make_room(shard, kept)

    monkeypatch.setattr(store, "_make_room", late)
    assert store.announce(announced) == announced
    assert [store.holds(shard) for shard in shards] == [True, True, False, False]
    monkeypatch.undo()
    store.bring(shards[3])
    assert [store.holds(shard) for shard in shards] == [True, True, False, True]


def test_no_shard_gets_its_name_while_others_add_up_what_lies_there(server, folder):
    """They would find neither its part nor itself, and keep more than the store holds."""
    shard = Shard(f"{server.url}/train-000.tar", (folder / "train-000.tar").stat().st_size)
    store = ShardStore(folder.parent / "store", shard.size)
    server.gate.clear()
    thread = threading.Thread(target=store.bring, args=(shard,))
    thread.start()
    deadline = time.monotonic() + 10
    while not server.asked and time.monotonic() < deadline:
        time.sleep(0.01)
    with (store.folder / "store.lock").open("ab") as file, locked(file.fileno()):
        server.gate.set()
        while stored(folder) < shard.size and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.2)
        assert not store.holds(shard)
    thread.join(20)
    assert store.holds(shard)


def test_a_full_store_waits_for_what_others_are_downloading(server, folder):
    shards = [Shard(f"{server.url}/train-{n:03}.tar", (folder / f"train-{n:03}.tar").stat().st_size) for n in range(2)]
    store = ShardStore(folder.parent / "store", shards[0].size)
    server.gate.clear()
    threads = [threading.Thread(target=store.bring, args=(shard,)) for shard in shards]
    threads[0].start()
    deadline = time.monotonic() + 10
    while not server.asked and time.monotonic() < deadline:
        time.sleep(0.01)
    threads[1].start()
    time.sleep(0.3)
    assert server.whole() == ["train-000.tar"]
    server.gate.set()
    for thread in threads:
        thread.join(20)
    assert [store.holds(shard) for shard in shards] == [False, True]


def test_a_shard_larger_than_the_store(server, folder):
    shard = Shard(f"{server.url}/train-000.tar", 5000)
    with pytest.raises(ShardError, match="larger than the store"):
        ShardStore(Path(folder.parent / "store"), 4000).bring(shard)

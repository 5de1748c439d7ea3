"""Batches come whatever happens to files and to the processes that load them."""

import gc
import multiprocessing
import os
import signal
import time

import pytest
import torch

from i2i.core.errors import DataError, TrainingError
from i2i.data.loading import loader as loading
from i2i.data.loading import parcels
from i2i.data.loading.loader import Loader
from i2i.data.loading.stream import BatchStream, SeededDataset

LENGTH = 8


class Photos:
    """Numbers in the place of images; some cannot be read."""

    def __init__(self, broken=()):
        self.broken = set(broken)

    def __len__(self):
        return LENGTH

    def get(self, index, rng):
        if index in self.broken:
            raise DataError(f"photos/{index}.png: damaged PNG file")
        return {"a": torch.tensor([float(index), rng.random()])}

    def paths_of(self, index, rng):
        return (f"photos/{index}.png",)


class Trouble(Photos):
    """Does something to the process that loads an image, the first time or always; a file remembers that it did."""

    def __init__(self, index, action, mark=None):
        super().__init__()
        self.index, self.action, self.mark = index, action, mark

    def get(self, index, rng):
        if index == self.index and not (self.mark and self.mark.exists()):
            if self.mark:
                self.mark.touch()
            self.action()
        return super().get(index, rng)


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def leave():
    os._exit(3)


def hang():
    time.sleep(1000)


def load(dataset, workers=0, steps=8, batch_size=2, **options):
    stream = BatchStream(LENGTH, batch_size, seed=1, start=0, stop=steps)
    loader = Loader(SeededDataset(dataset, seed=1), workers, **options)
    return loader, [batch["a"] for batch in loader.batches(stream)]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_file_that_cannot_be_read_is_named_once_and_another_takes_its_place(workers, capsys):
    loader, batches = load(Photos({3}), workers, max_broken=1)
    _, whole = load(Photos())
    assert len(batches) == 8
    seen, wanted = torch.cat(batches), torch.cat(whole)
    expected = wanted.clone()
    for place in (wanted[:, 0] == 3).nonzero().flatten():  # item 4 as it would be in the same pass
        of_pass = wanted[place // LENGTH * LENGTH :][:LENGTH]
        expected[place] = of_pass[of_pass[:, 0] == 4][0]
    assert torch.equal(seen, expected)
    assert capsys.readouterr().out.count("photos/3.png: damaged PNG file; another image takes its place") == 1
    first = int((wanted[:, 0] == 3).nonzero()[0]) // 2 + 1
    assert loader.broken == {"photos/3.png: damaged PNG file": first}


@pytest.mark.parametrize("workers", [0, 1])
def test_more_broken_files_than_allowed_end_the_run_with_their_names(workers):
    with pytest.raises(TrainingError, match=r"3 unusable files are more than data.max_broken=2") as caught:
        load(Photos({1, 4, 6}), workers, max_broken=2)
    assert sorted(caught.value.hints) == [f"photos/{index}.png: damaged PNG file" for index in (1, 4, 6)]


def test_without_leave_the_first_broken_file_ends_the_run():
    with pytest.raises(TrainingError, match=r"^step \d: photos/5.png: damaged PNG file$"):
        load(Photos({5}))


def test_files_in_a_row_are_passed_over():
    _, batches = load(Photos({2, 3, 4}), max_broken=3)
    assert set(torch.cat(batches)[:, 0].tolist()) == {0, 1, 5, 6, 7}


@pytest.mark.parametrize(("action", "said"), [(die, "was killed by SIGKILL"), (leave, "ended with code 3")])
def test_a_process_that_dies_is_named_with_its_file_and_started_again(action, said, tmp_path, capsys):
    _, index = BatchStream(LENGTH, 2, seed=1, start=0, stop=8).draw(7)  # in the fourth batch
    _, batches = load(Trouble(index, action, tmp_path / "once"), workers=2)
    _, whole = load(Photos())
    assert torch.equal(torch.cat(batches), torch.cat(whole)), "not a batch is lost or comes twice"
    output = capsys.readouterr().out
    assert f"a loader process {said} while loading photos/{index}.png; it is started again" in output


def test_a_process_that_hangs_is_named_with_its_file(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(loading, "LOOK_EVERY", 0.2)
    started = time.monotonic()
    _, batches = load(Trouble(5, hang, tmp_path / "once"), workers=2, timeout=1)
    assert len(batches) == 8 and time.monotonic() - started < 60
    assert "a loader process hangs while loading photos/5.png; it is started again" in capsys.readouterr().out


def test_a_process_that_always_dies_ends_the_run_with_the_name_of_the_file():
    with pytest.raises(TrainingError, match=r"while loading photos/5.png, 3 times in a row"):
        load(Trouble(5, die), workers=1)


def test_a_process_that_dies_does_not_disturb_an_update():
    """torch's own handler of SIGCHLD raises wherever the training happens to be."""
    stream = BatchStream(LENGTH, 1, seed=1, start=0, stop=8)
    loader = Loader(SeededDataset(Photos(), seed=1), workers=2)
    batches = loader.batches(stream)
    next(batches)
    child = os.fork()
    if child == 0:
        os._exit(1)
    processes = torch.multiprocessing.active_children()
    os.kill(processes[0].pid, signal.SIGKILL)
    deadline = time.monotonic() + 1
    while time.monotonic() < deadline:  # an update is under way
        sum(range(1000))
    os.waitpid(child, 0)
    assert len(list(batches)) == 7


def test_an_error_of_the_data_sets_code_is_no_broken_file():
    class Buggy(Photos):
        def get(self, index, rng):
            raise RuntimeError("a bug in a plugin")

    for workers in (0, 1):
        expected = r"^step 1: loading photos/\d.png: RuntimeError: a bug in a plugin"
        with pytest.raises(TrainingError, match=expected) as caught:
            load(Buggy(), workers, max_broken=9)
        assert caught.value.hints[0].startswith("raised at ") and "test_loader.py:" in caught.value.hints[0]
    assert not torch.multiprocessing.active_children()


@pytest.mark.parametrize("error", [EOFError(), ConnectionResetError(104, "Connection reset by peer")])
def test_a_process_that_dies_while_it_hands_over_a_batch_is_replaced(error, monkeypatch, capsys):
    """The tensors of a batch lie in memory that its process gives away when asked; it may be dead by then."""
    real, failed = Loader._next, []

    def broken_off(self, batches, *rest):
        if not failed:
            failed.append(1)
            batches._workers[0].kill()
            raise error
        return real(self, batches, *rest)

    monkeypatch.setattr(Loader, "_next", broken_off)
    _, batches = load(Photos(), workers=2)
    _, whole = load(Photos())
    assert torch.equal(torch.cat(batches), torch.cat(whole))
    assert "was killed by SIGKILL while " in capsys.readouterr().out


def test_a_share_that_takes_long_does_not_count_as_hung(monkeypatch, capsys):
    """Eight slow images take longer than the time that one may take."""
    monkeypatch.setattr(loading, "LOOK_EVERY", 0.2)

    class Slow(Photos):
        def get(self, index, rng):
            time.sleep(0.3)
            return super().get(index, rng)

    _, batches = load(Slow(), workers=1, steps=1, batch_size=8, timeout=2)  # 2.4 s in all
    assert len(batches) == 1 and "hangs" not in capsys.readouterr().out


def test_whoever_waits_for_images_can_be_stopped(monkeypatch):
    monkeypatch.setattr(loading, "LOOK_EVERY", 0.2)
    started = time.monotonic()
    stream = BatchStream(LENGTH, 2, seed=1, start=0, stop=8)
    loader = Loader(SeededDataset(Trouble(5, hang), seed=1), workers=1)
    batches = loader.batches(stream, stopping=lambda: time.monotonic() > started + 1)
    assert len(list(batches)) < 8
    assert time.monotonic() - started < 30
    assert not torch.multiprocessing.active_children(), "a process that hangs would keep this one from ending"


def test_images_of_a_batch_that_differ_in_size_are_told():
    class Odd(Photos):
        def get(self, index, rng):
            return {"a": torch.zeros(3, 4, 4 + index % 2)}

    with pytest.raises(TrainingError, match="differ in size: 3x4x4, 3x4x5"):
        load(Odd(), batch_size=8)


def test_what_else_goes_wrong_with_a_batch_is_not_called_a_difference_in_size(monkeypatch):
    def full(items):
        raise RuntimeError("unable to write to file </torch_1>: No space left on device (28)")

    monkeypatch.setattr(parcels, "default_collate", full)
    with pytest.raises(RuntimeError, match="No space left on device"):
        load(Photos())


@pytest.mark.parametrize("error", [OSError(24, "Too many open files"), RuntimeError("unable to open shared\nmemory")])
def test_processes_that_cannot_all_be_started_are_ended_and_the_reason_told(error, monkeypatch, capsys):
    start, started = multiprocessing.Process.start, []

    def start_one(process):
        if started:
            raise error
        start(process)
        started.append(process)

    monkeypatch.setattr(multiprocessing.Process, "start", start_one)
    with pytest.raises(TrainingError, match=r"step 1: 2 loader processes cannot be started: .*(open files|shared mem)"):
        load(Photos(), workers=2)
    gc.collect()
    assert not started[0].is_alive()
    assert capsys.readouterr().err == ""


def test_without_room_for_shared_memory_there_are_no_processes(monkeypatch):
    def no_room(tensor):
        raise RuntimeError("unable to allocate shared memory(shm): No space left on device (28)")

    monkeypatch.setattr(torch.Tensor, "share_memory_", no_room)
    with pytest.raises(TrainingError, match="cannot be started: .*No space left") as caught:
        load(Photos(), workers=1)
    assert "data.workers=0" in caught.value.hints[0]

"""Several translators at work."""

import threading

import numpy as np
import pytest
import torch

from i2i.core.errors import I2IError
from i2i.inference.jobs.lanes import Lanes, devices_of
from i2i.training.precision import Precision


class Worker:
    def __init__(self, device="cpu", is_shared=True):
        self.device, self.is_shared = torch.device(device), is_shared
        self.precision = Precision("fp32", torch.device("cpu"))


def test_two_work_at_the_same_time():
    meeting = threading.Barrier(2)
    with Lanes([Worker(), Worker()]) as lanes:
        futures = [lanes.submit(lambda worker: np.full(1, meeting.wait(10) * 0 + id(worker))) for _ in range(2)]
        assert len({int(future.result(10)[0]) for future in futures}) == 2


def test_a_translator_does_one_thing_at_a_time():
    busy, most = threading.Semaphore(0), []

    def work(worker):
        busy.release()
        most.append(busy._value)
        threading.Event().wait(0.002)
        busy.acquire()
        return np.empty(0)

    with Lanes([Worker(), Worker(), Worker()]) as lanes:
        for future in [lanes.submit(work) for _ in range(30)]:
            future.result(10)
    assert max(most) == 3


@pytest.mark.parametrize(
    ("workers", "count"),
    [
        ([Worker()], 1),
        ([Worker("cuda")], 2),
        ([Worker("cuda", is_shared=False)], 1),
        ([Worker("cuda:0"), Worker("cuda:1")], 4),
    ],
)
def test_a_gpu_has_two_threads_unless_noise_keeps_them_apart(workers, count):
    assert Lanes(workers).count == count


def test_one_lane_works_in_the_thread_that_asks_and_hands_errors_on():
    with Lanes([Worker()]) as lanes:
        assert lanes.submit(lambda worker: np.full(1, threading.get_ident())).result()[0] == threading.get_ident()
        assert isinstance(lanes.submit(lambda worker: 1 / 0).exception(), ZeroDivisionError)
        with pytest.raises(KeyboardInterrupt):
            lanes.submit(lambda worker: (_ for _ in ()).throw(KeyboardInterrupt))


def test_a_cpu_is_shared_out_and_given_back(monkeypatch):
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(4)
        with Lanes([Worker(), Worker()]) as lanes:
            assert lanes.submit(lambda worker: np.full(1, torch.get_num_threads())).result(10)[0] == 2
        assert torch.get_num_threads() == 4
    finally:
        torch.set_num_threads(threads)


def test_names_of_devices(monkeypatch):
    assert devices_of("cuda:0, cuda:1") == ["cuda:0", "cuda:1"]
    assert devices_of("cpu,cpu") == ["cpu", "cpu"]
    assert devices_of("auto") == ["auto"]
    with pytest.raises(I2IError, match="--device names cuda:1 twice"):
        devices_of("cuda:1,cuda:1")
    with pytest.raises(I2IError, match="--device names cuda:0 twice"):
        devices_of("cuda:0,cuda")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    assert devices_of("all") == ["cuda:0", "cuda:1", "cuda:2"]
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert devices_of("all") == ["auto"]

"""Live bytes counted by hand, and what torch's own profiler sees of the copies that convolutions make."""

import platform

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.profiler import ProfilerActivity, profile

from i2i.run.plan.heap import Heap
from i2i.run.plan.ledger import Ledger
from i2i.run.plan.scratch import copies_backward, copies_forward

MiB = 2**20


@pytest.fixture
def ledger():
    with FakeTensorMode(), Ledger("cpu") as ledger:
        yield ledger


def image(count=1):
    return torch.empty(count, 256, 1024)  # 1 MiB each


def test_tensors_count_from_birth_to_death(ledger):
    a = image()
    b = a + 1
    assert ledger.live == 2 * MiB
    del a
    assert ledger.live == MiB
    c = (b * 2) * 3  # the intermediate one is gone afterwards
    assert (ledger.live, ledger.peak) == (2 * MiB, 3 * MiB)
    del b, c
    assert ledger.live == 0


def test_views_and_changes_in_place_take_nothing(ledger):
    a = image(4)
    b = a[1:].view(-1).add_(1)
    assert ledger.live == ledger.peak == 4 * MiB
    del a
    assert ledger.live == 4 * MiB, "the view keeps all of it"
    del b
    assert ledger.live == 0


def test_the_graph_keeps_what_backward_needs(ledger):
    x = image().requires_grad_()
    y = x
    for _ in range(5):
        y = torch.tanh(y)  # keeps its result
    assert ledger.live == 6 * MiB
    loss = y.sum()
    del y
    assert ledger.live - loss.element_size() <= 6 * MiB + 64
    loss.backward()
    assert ledger.live // MiB == 2  # x and its gradient


def test_kinds_at_the_peak(ledger):
    a, b = image(2), image(3)
    ledger.mark(a, "weights")
    c = image(4)
    del c
    ledger.mark(b, "batch")
    assert ledger.at_peak == {"weights": 2 * MiB, "batch": 3 * MiB, "activations": 4 * MiB}
    ledger.restart()
    assert ledger.peak == 5 * MiB


def test_a_multiply_add_is_two_operations(ledger):
    torch.empty(7, 11) @ torch.empty(11, 13)
    assert ledger.flops == 2 * 7 * 11 * 13
    ledger.restart()
    torch.nn.functional.conv2d(torch.empty(2, 3, 10, 12), torch.empty(5, 3, 3, 3))
    assert ledger.flops == 2 * (2 * 5 * 8 * 10) * (3 * 3 * 3)


def test_numbers_of_fake_tensors_are_zero(ledger):
    x = torch.rand(3)
    assert float(x.norm()) == 0.0
    assert int(x.argmax()) == 0
    assert not x.sum() < 0.5
    assert float(torch.tensor(2.5)) == 2.5, "a constant is known"


def test_the_heap_holds_at_least_what_is_alive():
    heap = Heap()
    with FakeTensorMode(), Ledger("cpu", heap) as ledger:
        layer = torch.nn.Conv2d(32, 32, 3, padding=1)
        y = torch.rand(2, 32, 64, 64)
        for _ in range(4):
            y = layer(y).relu()
        y.sum().backward()
    assert ledger.peak <= heap.peak < 1.5 * ledger.peak


def allocations(step):
    """The sizes that torch's allocator was asked for, in their order, of a KiB and more."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        step()
    events = [e for e in profiler.profiler.kineto_results.events() if e.name() == "[memory]"]
    return [e.nbytes() for e in sorted(events, key=lambda e: e.start_ns()) if e.nbytes() >= 1024]


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="the layout of x86")
@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="needs oneDNN")
@pytest.mark.parametrize(("inputs", "outputs", "kernel"), [(64, 32, 3), (24, 40, 4), (3, 64, 7)])
def test_convolutions_copy_what_the_profiler_sees(inputs, outputs, kernel):
    layer = torch.nn.Conv2d(inputs, outputs, kernel)
    x = torch.randn(2, inputs, 66, 62, requires_grad=True)
    y = layer(x)
    forward = [*copies_forward(x, layer.weight, y), y.nbytes]
    assert allocations(lambda: layer(x)) == forward
    if inputs < 16:  # backward has more kernels for these, all of them small beside the rest of a network
        return
    grad = torch.randn_like(y)
    layer(x).backward(grad)
    by_input, by_weight = copies_backward(grad, x, layer.weight)
    expected = [*forward, *by_input, x.nbytes, *by_weight, layer.weight.nbytes]
    assert sorted(allocations(lambda: layer(x).backward(grad))) == sorted(expected)

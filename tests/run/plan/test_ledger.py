"""Live bytes counted by hand."""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from i2i.run.plan.ledger import Ledger

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

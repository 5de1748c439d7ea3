"""What phases share is computed once where that can be, when it is first read, with a graph where one is needed."""

import torch

from i2i.training.shared import LazyMapping, SharedForward


def counted():
    calls = []
    x = torch.ones(3, requires_grad=True)

    def compute(needs_graph):
        calls.append(needs_graph)
        with torch.set_grad_enabled(needs_graph):
            return {"y": x * 2}

    return compute, calls


def test_a_phase_that_reads_nothing_costs_nothing():
    compute, calls = counted()
    shared = SharedForward(compute, is_kept=True)
    LazyMapping(lambda: shared.for_phase(True, True))
    assert calls == []


def test_values_first_and_the_graph_later_are_one_forward():
    compute, calls = counted()
    shared = SharedForward(compute, is_kept=True)
    assert not shared.for_phase(True, True)["y"].requires_grad
    assert shared.for_phase(False, False)["y"].requires_grad
    assert calls == [True]


def test_without_a_phase_that_differentiates_there_is_no_graph():
    compute, calls = counted()
    shared = SharedForward(compute, is_kept=True)
    shared.for_phase(True, False), shared.for_phase(True, False)
    assert calls == [False]


def test_two_phases_that_differentiate_have_a_graph_each():
    compute, calls = counted()
    shared = SharedForward(compute, is_kept=True)
    for later in (True, False):
        shared.for_phase(False, later)["y"].sum().backward()
    assert calls == [True, True]


def test_with_several_parts_no_graph_waits():
    compute, calls = counted()
    shared = SharedForward(compute, is_kept=False)
    assert not shared.for_phase(True, True)["y"].requires_grad
    assert shared.for_phase(False, False)["y"].requires_grad
    assert calls == [False, True]


def test_a_graph_may_come_before_the_values():
    compute, calls = counted()
    shared = SharedForward(compute, is_kept=True)
    graph = shared.for_phase(False, False)
    values = shared.for_phase(True, False)
    assert torch.equal(graph["y"], values["y"]) and not values["y"].requires_grad
    assert calls == [True]


def test_the_mapping_is_one():
    compute, calls = counted()
    mapping = LazyMapping(lambda: compute(False))
    assert list(mapping) == ["y"] and len(mapping) == 1 and "y" in mapping and "x" not in mapping
    assert calls == [False]


def test_values_stay_those_of_the_first_forward():
    """A generator's step between two phases of discriminators does not change what the second one sees."""
    weight = [1.0]
    shared = SharedForward(lambda needs_graph: {"y": torch.tensor(weight[0], requires_grad=needs_graph)}, is_kept=False)
    assert shared.for_phase(True, True)["y"] == 1
    weight[0] = 2.0
    assert shared.for_phase(False, True)["y"] == 2, "computed again"
    assert shared.for_phase(True, False)["y"] == 1

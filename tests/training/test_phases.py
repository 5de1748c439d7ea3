"""Phases that take their turn now and then, see a part of the batch, or share an optimizer; stages; what is kept."""

import copy

import pytest
import torch

from i2i.pipelines.base import Phase, Stage, Terms
from tests.training.lines import MAIN, G, Line, batch, updater_of


def weight(updater, letter="G"):
    return updater.pipeline.members[letter].w.item()


def test_a_lazy_phase_has_its_turn_at_the_first_step_and_every_so_many():
    pipeline = Line((MAIN, Phase("lazy", G, "generator", every=3)))
    updater = updater_of(pipeline)
    for _ in range(7):
        updater.step(batch(1, 1, 1, 1))
    assert [step for phase, step, *_ in pipeline.seen if phase == "lazy"] == [0, 3, 6]
    assert [step for phase, step, *_ in pipeline.seen if phase == "main"] == list(range(7))


def test_its_loss_counts_as_often_and_the_rate_is_corrected():
    """StyleGAN2 (appendix B): c = k / (k + 1), of the learning rate and of the exponents of Adam's averages."""
    pipeline = Line((MAIN, Phase("lazy", ("H",), "other", every=4)))
    updater = updater_of(pipeline)
    updater.step(batch(2, 2, 2, 2))
    assert weight(updater) == pytest.approx(1 - 2), "an optimizer without a lazy phase is as it was"
    assert weight(updater, "H") == pytest.approx(1 - 4 / 5 * 4 * 2)


def test_the_log_shows_the_loss_as_it_is():
    updater = updater_of(Line((MAIN, Phase("lazy", ("H",), "other", every=4))))
    assert updater.step(batch(2, 2, 2, 2))["lazy"].item() == 2


def test_betas_are_corrected_for_all_phases_of_an_optimizer():
    phases = (MAIN, Phase("r1", G, "generator", every=16), Phase("path", G, "generator", every=4))
    updater = updater_of(Line(phases), lambda ps: torch.optim.Adam(ps, lr=1.0, betas=(0.5, 0.99)))
    correction = 16 / 17 * 4 / 5
    (group,) = updater.optimizers["generator"].param_groups
    assert group["betas"] == pytest.approx((0.5**correction, 0.99**correction))
    updater.step(batch(1, 1, 1, 1))
    assert group["lr"] == pytest.approx(correction)


def test_corrected_betas_are_not_corrected_again_on_resume():
    phases = (MAIN, Phase("r1", G, "generator", every=16))

    def made():
        return updater_of(Line(phases), lambda ps: torch.optim.Adam(ps, lr=0.1))

    one, other = made(), made()
    one.step(batch(1, 2, 3, 4))
    other.load(copy.deepcopy(one.state()) | {"step": 1})
    for updater in (one, other):
        updater.step(batch(4, 3, 2, 1))
    assert weight(one) == weight(other)
    assert (
        one.optimizers["generator"].param_groups[0]["betas"] == other.optimizers["generator"].param_groups[0]["betas"]
    )


@pytest.mark.parametrize(("part", "seen"), [(0.5, 2), (0.25, 1), (0.1, 1), (0.76, 3), (1.0, 4)])
def test_a_phase_may_see_the_leading_part_of_a_batch(part, seen):
    pipeline = Line((Phase("part", G, "generator", part=part),))
    updater = updater_of(pipeline)
    values = [1.0, 10.0, 100.0, 1000.0]
    updater.step(batch(*values))
    assert pipeline.seen[0][3] == seen
    assert weight(updater) == pytest.approx(1 - sum(values[:seen]) / seen)


def test_with_accumulation_each_part_of_the_batch_gives_its_share():
    pipeline = Line((Phase("part", G, "generator", part=0.5),))
    updater_of(pipeline, accumulate=2).step(batch(1, 9, 3, 9))
    assert pipeline.G.w.item() == pytest.approx(1 - (1 + 3) / 2)


@pytest.mark.parametrize("values", [{"every": 0}, {"every": -1}, {"part": 0}, {"part": 1.5}, {"part": float("nan")}])
def test_phases_out_of_range_are_refused(values):
    with pytest.raises(ValueError, match="in phase 'main'"):
        Phase("main", G, "generator", **values)


class Yielding(Line):
    def loss(self, phase, now, shared):
        for index, x in enumerate(now.batch["x"]):
            yield Terms({f"loss_{index}": self.G(x).mean()}, {f"stat_{index}": x.mean()}, {f"keep_{index}": x[None]})


@pytest.mark.parametrize("precision", ["fp32", "winograd", "bf16"])
def test_yielded_losses_are_descended_as_one_sum(precision):
    pipeline = Yielding((MAIN,))
    updater = updater_of(pipeline, precision=precision)
    said = updater.step(batch(1, 2, 3, 4))
    assert weight(updater) == pytest.approx(1 - 10)
    assert {name: value.item() for name, value in said.items()} == {
        **{f"loss_{i}": i + 1 for i in range(4)},
        **{f"stat_{i}": i + 1 for i in range(4)},
    }
    ((phase, keep),) = pipeline.committed
    assert phase == "main" and sorted(keep) == [f"keep_{i}" for i in range(4)]


def test_graphs_of_yielded_losses_do_not_lie_in_memory_together():
    """Each is descended, and so freed, before the next is computed."""
    alive, most = set(), 0

    class Watched(Line):
        def loss(self, phase, now, shared):
            nonlocal most
            for index in range(5):
                y = self.G(now.batch["x"]).square()
                alive.add(index)
                y.grad_fn.register_hook(lambda *_, index=index: alive.discard(index))
                most = max(most, len(alive))
                yield Terms({f"l{index}": y.mean()})

    updater_of(Watched((MAIN,)), precision="bf16").step(batch(1, 2, 3, 4))
    assert most == 1
    updater_of(Watched((MAIN,)), precision="fp32").step(batch(1, 2, 3, 4))
    assert most == 5, "exact arithmetic sums first"


class Sharing(Line):
    def loss(self, phase, now, shared):
        return Terms({phase: shared["y"].mean()} if phase != "alone" else {phase: self.H(now.batch["x"]).mean()})


@pytest.mark.parametrize(
    ("phases", "count"),
    [
        ((Phase("alone", ("H",), "other"),), 0),
        ((Phase("alone", ("H",), "other"), Phase("G", G, "generator")), 1),
        ((Phase("G", G, "generator"), Phase("again", G, "generator")), 2),
    ],
)
def test_what_is_shared_is_computed_when_it_is_asked_for(phases, count):
    pipeline = Sharing(phases)
    updater_of(pipeline, precision="bf16").step(batch(1, 2, 3, 4))
    assert pipeline.forwards == count


def test_two_phases_may_differentiate_what_is_shared():
    """The second computes it again, with the weights that the first has left."""

    class Squares(Line):
        def loss(self, phase, now, shared):
            return Terms({phase: shared["y"].square().mean() / 2})

    updater = updater_of(Squares((MAIN, Phase("again", G, "generator"))), lambda ps: torch.optim.SGD(ps, lr=0.1))
    updater.step(batch(1, 1, 1, 1))
    assert weight(updater) == pytest.approx(0.9 * 0.9)


def test_values_that_are_kept_come_to_commit_whole_and_detached():
    class Keeping(Line):
        averaged_state = ("mean",)

        def loss(self, phase, now, shared):
            y = self.G(now.batch["x"])
            return Terms({"main": y.mean()}, keep={"fake": y, "mean": y.mean()})

    pipeline = Keeping((MAIN,))
    updater_of(pipeline, accumulate=2).step(batch(1, 2, 3, 4))
    ((_, keep),) = pipeline.committed
    assert keep["fake"].flatten().tolist() == [1, 2, 3, 4] and keep["mean"].item() == 2.5
    assert not any(value.requires_grad for value in keep.values())


def test_an_update_that_is_left_out_commits_nothing():
    pipeline = Line((MAIN, Phase("other", ("H",), "other")))
    updater = updater_of(pipeline, on_nan="skip")
    pipeline.H.w.data.fill_(float("nan"))
    said = updater.step(batch(1, 1, 1, 1))
    assert [phase for phase, _ in pipeline.committed] == ["main"] and "other" not in said
    assert updater.left_out == 1


def test_stages_change_the_images_of_a_step_and_the_learning_rate():
    stages = (Stage(0, 4), Stage(8, 2, lr_factor=0.5))
    pipeline = Line((MAIN,), stages)
    updater = updater_of(pipeline)
    for count in (4, 4, 2, 2):
        updater.step(batch(*[1] * count))
    assert [(images, count) for _, _, images, count in pipeline.seen] == [(0, 4), (4, 4), (8, 2), (10, 2)]
    assert weight(updater) == pytest.approx(1 - 1 - 1 - 0.5 - 0.5)


def test_moments_are_forgotten_where_a_stage_says_so():
    def final(resets):
        stages = (Stage(0, 4), Stage(8, 4, resets_optimizers=resets))
        updater = updater_of(Line((MAIN,), stages), lambda ps: torch.optim.SGD(ps, lr=1.0, momentum=0.5))
        for _ in range(3):
            updater.step(batch(1, 1, 1, 1))
        return weight(updater)

    assert final(False) == pytest.approx(1 - 1 - 1.5 - 1.75)
    assert final(True) == pytest.approx(1 - 1 - 1.5 - 1)


def test_a_stage_begins_once_also_where_a_run_goes_on_from_there():
    """Continued at the first step of a stage, the moments go; continued one step later, they stay."""
    stages = (Stage(0, 4), Stage(8, 4, resets_optimizers=True))

    def made():
        return updater_of(Line((MAIN,), stages), lambda ps: torch.optim.SGD(ps, lr=1.0, momentum=0.5))

    whole = made()
    states = []
    for step in range(5):
        states.append(copy.deepcopy(whole.state()) | {"step": step})
        whole.step(batch(1, 1, 1, 1))
    for start in (1, 2, 3, 4):
        resumed = made()
        resumed.load(states[start])
        for _ in range(5 - start):
            resumed.step(batch(1, 1, 1, 1))
        assert weight(resumed) == weight(whole), start


def test_the_average_in_images_follows_its_formula():
    pipeline = Line((MAIN,))
    updater = updater_of(pipeline, ema={"half_life": 20, "ramp_up": 0.5})
    average = 1.0
    for step in range(6):
        updater.step(batch(1, 1, 1, 1))
        images = 4 * step
        beta = 0.5 ** (4 / max(min(20, images * 0.5), 1e-8))
        average = beta * average + (1 - beta) * weight(updater)
        assert updater.average.networks["G"].w.item() == pytest.approx(average, rel=1e-6)


def test_weights_that_networks_share_are_stepped_once():
    pipeline = Line((Phase("main", ("G", "H"), "generator"),))
    pipeline.H.w = pipeline.G.w
    updater = updater_of(pipeline)
    updater.step(batch(3, 3, 3, 3))
    assert weight(updater) == pytest.approx(1 - 3)


@pytest.mark.parametrize("precision", ["fp32", "winograd", "bf16"])
def test_yielded_losses_may_use_one_graph_of_what_is_shared(precision):
    class Two(Line):
        def loss(self, phase, now, shared):
            yield Terms({"alone": self.G(now.batch["x"]).mean()})
            y = shared["y"].square()
            yield Terms({"one": y.mean()})
            yield Terms({"two": 2 * y.mean()})

    updater = updater_of(Two((MAIN,)), precision=precision)
    said = updater.step(batch(2, 2, 2, 2))
    assert weight(updater) == pytest.approx(1 - 2 - 3 * 8) and set(said) == {"alone", "one", "two"}


def test_a_phase_of_second_order_meets_float32_alone():
    """It has no autocast, and the shared forward before it has."""
    seen = {}

    class Mixed(Line):
        def forward(self, now):
            return {"y": self.G(now.batch["x"]) @ torch.ones(1, 1)}

        def loss(self, phase, now, shared):
            seen[phase] = shared["y"].dtype
            return Terms({phase: (shared["y"] @ self.H.w.reshape(1, 1)).mean()})

    first = Phase("penalty", ("H",), "other", second_order=True, constant_shared=True)
    updater_of(Mixed((first, Phase("first", ("H",), "other"))), precision="bf16").step(batch(1, 2, 3, 4))
    assert seen == {"penalty": torch.float32, "first": torch.bfloat16}


def test_buffers_that_grow_or_begin_as_nothing_are_restored():
    class Growing(Line):
        def __init__(self, phases):
            super().__init__(phases)
            self.register_buffer("queue", torch.zeros(0))
            self.register_buffer("last", None)

        def loss(self, phase, now, shared):
            return Terms({phase: self.G(now.batch["x"]).mean()}, keep={"x": now.batch["x"]})

        def commit(self, phase, keep):
            self.queue = torch.cat([self.queue, keep["x"].flatten()])
            self.last = keep["x"][-1]

    one, other = updater_of(Growing((MAIN,))), updater_of(Growing((MAIN,)))
    one.step(batch(1, 2, 3, 4))
    other.load(copy.deepcopy(one.state()) | {"step": 1})
    assert other.pipeline.queue.tolist() == [1, 2, 3, 4] and other.pipeline.last.item() == 4
    other.step(batch(5, 6, 7, 8))
    assert len(other.pipeline.queue) == 8

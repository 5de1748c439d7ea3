"""The contract of pipelines: declarations that agree, losses that are pure, gradients that arrive."""

import copy
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from i2i.core.registry import LOSSES
from i2i.pipelines.base import Channels, Pipeline, View, WeightedLosses
from i2i.testing.clauses import SEED, BrokenClause, Subject, images, seeded

_STAND_INS = {"adversarial": "lsgan", "pairwise": "l1"}


class _Judge(nn.Conv2d):
    """The smallest discriminator that shows its features."""

    def logits_and_features(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        logits = self(x)
        return logits, [logits]


def check_pipeline(
    component: Callable[..., Any], *, stand_ins: Mapping[str, nn.Module] | None = None, **arguments: Any
) -> None:
    """Takes a pipeline through a training step and a translation, with networks of one convolution.

    Once with two domains of three channels and every loss role played, once with a gray domain ``a`` and only the roles
    that are required.

    Args:
        component: The class.
        stand_ins: By letter, for networks other than generators and discriminators.
        **arguments: What a YAML would give.

    Raises:
        AssertionError: Names the clause that is broken.
    """
    if not isinstance(component, type) or not issubclass(component, Pipeline):
        raise BrokenClause(f"{getattr(component, '__name__', component)}: is no subclass of i2i.Pipeline")
    subject = Subject(component, arguments, ("networks", "losses"))
    _check_declarations(subject, component)
    for gray, optional in ((False, True), (True, False)):
        counts = {"a": 1} if gray else {}
        networks = _networks(component, counts, stand_ins or {})
        losses = _losses(component, optional)
        pipeline = subject.build(networks=networks, losses=losses)
        batch = {domain: images(2, counts.get(domain, 3), 16, 16) for domain in _domains(component)}
        shown = "with a gray domain a and the required losses" if gray else "with all losses"
        _check_step(subject, pipeline, batch, shown)
        _check_use(subject, pipeline, batch, shown)
        _check_bundle(subject, component, networks, counts)


def _letters(component: type[Pipeline]) -> dict[str, tuple[str, Channels]]:
    return {letter: (role.kind, c) for role in component.networks.values() for letter, c in role.makes.items()}


def _domains(component: type[Pipeline]) -> list[str]:
    return list(dict.fromkeys(d for _, c in _letters(component).values() for d in (*c.inputs, *c.outputs)))


def _check_declarations(subject: Subject, component: type[Pipeline]) -> None:
    for name in ("networks", "losses", "phases", "directions"):
        subject.require(hasattr(component, name), f"does not declare {name!r}")
    letters = _letters(component)
    subject.require(bool(component.phases), "has no phase")
    names = [phase.name for phase in component.phases]
    subject.require(len(names) == len(set(names)), f"two phases have one name: {', '.join(names)}")
    for phase in component.phases:
        for letter in phase.trains:
            subject.require(letter in letters, f"phase {phase.name!r} trains {letter!r}, which no role makes")
        subject.require(
            phase.optimizer in component.networks,
            f"phase {phase.name!r} has the optimizer of {phase.optimizer!r}, which is no role",
        )
    for direction, letter in component.directions.items():
        subject.require(letter in letters, f"direction {direction!r} is {letter!r}, which no role makes")
    for role, spec in component.losses.items():
        subject.require(spec.family in _STAND_INS, f"loss role {role!r} is of the unknown family {spec.family!r}")


def _networks(
    component: type[Pipeline], counts: Mapping[str, int], stand_ins: Mapping[str, nn.Module]
) -> dict[str, nn.Module]:
    networks: dict[str, nn.Module] = {}
    for letter, (kind, channels) in _letters(component).items():
        inputs = sum(counts.get(domain, 3) for domain in channels.inputs)
        outputs = sum(counts.get(domain, 3) for domain in channels.outputs)
        with seeded(len(networks)):
            if letter in stand_ins:
                networks[letter] = copy.deepcopy(stand_ins[letter])
            elif kind == "discriminator":
                networks[letter] = _Judge(inputs, 1, 4, stride=2, padding=1)
            else:
                networks[letter] = nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1), nn.Tanh())
    return networks


def _losses(component: type[Pipeline], optional: bool) -> dict[str, WeightedLosses]:
    return {
        role: WeightedLosses([LOSSES.get(_STAND_INS[spec.family])()], [1.0])
        for role, spec in component.losses.items()
        if spec.required or optional
    }


def _rng() -> torch.Generator:
    return torch.Generator().manual_seed(SEED)


def _check_step(subject: Subject, pipeline: Pipeline, batch: Mapping[str, Tensor], shown: str) -> None:
    pipeline.train()
    with subject.doing(f"forward fails {shown}"), seeded():
        shared = pipeline(batch, _rng())
    subject.require(
        isinstance(shared, dict) and all(isinstance(value, Tensor) for value in shared.values()),
        "forward does not give a dict of tensors",
    )
    for phase in pipeline.phases:
        place = f"loss of phase {phase.name!r} {shown}"
        before = copy.deepcopy(pipeline.state_dict())
        with subject.doing(f"{place} fails"), seeded():
            terms = pipeline.terms(phase.name, batch, shared, _rng())
        subject.require(_same_state(before, pipeline.state_dict()), f"{place} changes state, which is commit's part")
        for name, value in (terms.losses | terms.statistics).items():
            subject.require_scalar(value, f"{place}, {name!r},")
        with seeded():
            again = pipeline.terms(phase.name, batch, shared, _rng())
        same = all(torch.equal(value, again.losses[name]) for name, value in terms.losses.items())
        subject.require(same, f"{place} differs under the same random numbers")
        for letter in phase.trains:
            pipeline.members[letter].zero_grad(set_to_none=True)
        parameters = [p for letter in phase.trains for p in pipeline.members[letter].parameters()]
        # Without retain_graph, as in the trainer: phases may share a graph, but not go back through it twice.
        with subject.doing(f"{place} cannot be descended"):
            terms.total().backward(inputs=parameters)
        for letter in phase.trains:
            reached = any(p.grad is not None and bool(p.grad.any()) for p in pipeline.members[letter].parameters())
            subject.require(reached, f"{place} gives no gradient to {letter}, which the phase trains")
        seen = {name: value.detach() for name, value in shared.items()}
        with subject.doing(f"commit of phase {phase.name!r} fails"), torch.no_grad():
            pipeline.commit(phase.name, batch, seen, _rng())
    with subject.doing("its own state cannot be loaded again"):
        pipeline.load_own_state(copy.deepcopy(pipeline.own_state()), torch.device("cpu"))


def _check_use(subject: Subject, pipeline: Pipeline, batch: Mapping[str, Tensor], shown: str) -> None:
    pipeline.eval()
    with subject.doing(f"previews fails {shown}"), torch.no_grad():
        columns = pipeline.previews(batch)
    for name, view in columns.items():
        fits = isinstance(view, View) and view.domain in batch and view.images.ndim == 4 and len(view.images) == 2
        subject.require(fits, f"the preview {name!r} is no View of a batch of images")


def _check_bundle(
    subject: Subject, component: type[Pipeline], networks: Mapping[str, nn.Module], counts: Mapping[str, int]
) -> None:
    """A bundle holds the translating networks and no losses."""
    letters = _letters(component)
    kept = {letter: networks[letter] for letter in component.directions.values()}
    pipeline = subject.build(networks=kept, losses={}).eval()
    for direction, letter in component.directions.items():
        domains = letters[letter][1].inputs
        x = images(1, sum(counts.get(domain, 3) for domain in domains), 13, 18)
        with subject.doing(f"translate {direction} fails without losses and discriminators"), torch.no_grad():
            y = pipeline.translate(x, direction)
        subject.require(y.shape[2:] == x.shape[2:], f"translate {direction} makes {list(y.shape)} of {list(x.shape)}")


def _same_state(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return one.keys() == other.keys() and all(_equal(one[key], other[key]) for key in one)


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_equal(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(_equal(a, b) for a, b in zip(one, other, strict=True))
    return bool(one == other)

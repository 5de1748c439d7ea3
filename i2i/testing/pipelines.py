"""The contract of pipelines: declarations agree, losses are pure, gradients arrive, directions work."""

import copy
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from i2i.core.registry import LOSSES
from i2i.pipelines.base import (
    Applied,
    Channels,
    Direction,
    Now,
    Pipeline,
    Shared,
    Stage,
    Terms,
    View,
    WeightedLosses,
    each_of,
    family_of,
    latents_of,
)
from i2i.testing.clauses import SEED, BrokenClause, Subject, images, seeded

_STAND_INS = {"adversarial": "lsgan", "pairwise": "l1"}


class _Judge(nn.Conv2d):
    """The smallest discriminator that shows its features."""

    def logits_and_features(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        logits = self(x)
        return logits, [logits]


class _Exact:
    """float32 on the CPU, by torch's own kernels."""

    device = torch.device("cpu")
    memory_format = torch.contiguous_format

    def kernels(self) -> AbstractContextManager[Any]:
        return nullcontext()

    def autocast(self) -> AbstractContextManager[Any]:
        return nullcontext()


def check_pipeline(
    component: Callable[..., Any],
    *,
    networks: Mapping[str, Callable[[], nn.Module] | nn.Module] | None = None,
    num_classes: int = 0,
    num_attributes: int = 0,
    input_size: int = 16,
    **arguments: Any,
) -> None:
    """Takes a pipeline through a training step and each of its directions, with tiny networks.

    Once with domains of three channels and every loss role played, once with a gray first domain and only the roles
    that are required. Generators from images to images and discriminators are stood in for by one convolution.

    Args:
        component: The class.
        networks: By letter, for all other networks: encoders, mappings, generators that start from noise. A module, or
            a function that makes one.
        num_classes: Batches have labels of so many classes.
        num_attributes: Batches have labels of so many attributes.
        input_size: Height and width of the images.
        **arguments: What a YAML would give.

    Raises:
        AssertionError: Names the clause that is broken.
    """
    if not isinstance(component, type) or not issubclass(component, Pipeline):
        raise BrokenClause(f"{getattr(component, '__name__', component)}: is no subclass of i2i.Pipeline")
    subject = Subject(component, arguments, ("networks", "losses"))
    _check_class(subject, component)
    for is_small in (False, True):
        counts = _channel_counts(component, gray=is_small and not networks)
        members = _networks(subject, component, counts, networks or {})
        losses = _losses(subject, component, counts, optional=not is_small)
        with subject.doing("cannot be built"):
            pipeline = subject.build(networks=members, losses=losses)
        _check_built(subject, pipeline)
        shown = "with the required losses" if is_small else "with all losses"
        batch = _batch(counts, input_size, num_classes, num_attributes)
        _check_step(subject, pipeline, batch, shown)
        _check_previews(subject, pipeline, batch, shown)
        _check_use(subject, pipeline, members, batch)


def _letters(component: type[Pipeline]) -> dict[str, tuple[str, Channels]]:
    return {letter: (role.kind, c) for role in component.networks.values() for letter, c in role.makes.items()}


def _channel_counts(component: type[Pipeline], gray: bool) -> dict[str, int]:
    domains = dict.fromkeys(d for _, c in _letters(component).values() for d in (*c.inputs, *c.outputs))
    return {domain: 1 if gray and index == 0 else 3 for index, domain in enumerate(domains)}


def _batch(counts: Mapping[str, int], size: int, num_classes: int, num_attributes: int) -> dict[str, Tensor]:
    batch = {domain: images(2, count, size, size) for domain, count in counts.items()}
    if num_classes:
        batch["label"] = torch.arange(2) % num_classes
    elif num_attributes:
        batch["label"] = torch.linspace(0, 1, 2 * num_attributes).view(2, num_attributes)
    return batch


def _check_class(subject: Subject, component: type[Pipeline]) -> None:
    for name in ("networks", "losses"):
        subject.require(isinstance(getattr(component, name, None), Mapping), f"has no mapping {name!r}")
    letters = [letter for role in component.networks.values() for letter in role.makes]
    twice = {letter for letter in letters if letters.count(letter) > 1}
    subject.require(not twice, f"two roles make {', '.join(sorted(twice))}")
    for role, spec in component.networks.items():
        for argument, source in spec.takes.items():
            owner, _, attribute = source.partition(".")
            is_known = owner in ("data", *letters) and attribute
            subject.require(bool(is_known), f"role {role!r} takes {argument!r} from {source!r}: no letter, nor data")
    for role, loss in component.losses.items():
        subject.require(bool(loss.families), f"loss role {role!r} names no family")
        odd = [need for need in loss.needs if need.partition(".")[0] not in component.networks]
        subject.require(not odd, f"loss role {role!r} needs {', '.join(odd)}, of a role that there is not")


def _check_built(subject: Subject, pipeline: Pipeline) -> None:
    """Checks what is read from a pipeline as built."""
    letters = set(_letters(type(pipeline)))
    for name in ("phases", "directions"):
        subject.require(bool(getattr(pipeline, name, None)), f"has no {name}")
    names = [phase.name for phase in pipeline.phases]
    subject.require(len(set(names)) == len(names), f"two phases have one name: {', '.join(names)}")
    for phase in pipeline.phases:
        strange = [letter for letter in phase.trains if letter not in letters]
        subject.require(not strange, f"phase {phase.name!r} trains {', '.join(strange)}, which no role makes")
        subject.require(
            phase.optimizer in pipeline.networks,
            f"phase {phase.name!r} has the optimizer of {phase.optimizer!r}, which is no role",
        )
    for name, direction in pipeline.directions.items():
        subject.require(isinstance(direction, Direction), f"direction {name!r} is no Direction")
        strange = [letter for letter in direction.networks if letter not in letters]
        subject.require(
            bool(direction.networks) and not strange,
            f"direction {name!r} has the networks {direction.networks}, expected letters that roles make",
        )
    with subject.doing("stages fails"):
        stages = pipeline.stages(8)
    is_sound = bool(stages) and all(isinstance(stage, Stage) for stage in stages) and stages[0].first_image == 0
    subject.require(is_sound, "stages gives no Stage that begins at image 0")


def _networks(
    subject: Subject,
    component: type[Pipeline],
    counts: Mapping[str, int],
    given: Mapping[str, Callable[[], nn.Module] | nn.Module],
) -> dict[str, nn.Module]:
    networks: dict[str, nn.Module] = {}
    for letter, (kind, channels) in _letters(component).items():
        inputs, outputs = (sum(counts[domain] for domain in domains) for domains in (channels.inputs, channels.outputs))
        with seeded(len(networks)):
            if letter in given:
                own = given[letter]
                networks[letter] = copy.deepcopy(own) if isinstance(own, nn.Module) else own()
            elif kind == "discriminator" and inputs:
                networks[letter] = _Judge(inputs, 1, 4, stride=2, padding=1)
            elif kind == "generator" and inputs and outputs:
                networks[letter] = nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1), nn.Tanh())
            elif _is_required(component, letter):
                message = f"{letter} is no network from images to images: check_pipeline(…, networks={{{letter!r}: …}})"
                raise BrokenClause(f"{subject.name}: {message}")
    return networks


def _is_required(component: type[Pipeline], letter: str) -> bool:
    return any(role.required for role in component.networks.values() if letter in role.makes)


def _losses(
    subject: Subject, component: type[Pipeline], counts: Mapping[str, int], optional: bool
) -> dict[str, WeightedLosses]:
    losses = {}
    used = [role for role, spec in component.losses.items() if spec.required or optional]
    with subject.doing("conflicts fails"):
        conflicts = [(tuple(path), str(message)) for path, message in component.conflicts(counts, used)]
    left_out = {path[1] for path, _ in conflicts if len(path) > 1 and path[0] == "losses"}
    for role in used:
        spec = component.losses[role]
        if role in left_out and not spec.required:
            continue
        name = next((_STAND_INS[family] for family in spec.families if family in _STAND_INS), None)
        if name is None:
            fitting = [name for name in LOSSES.names() if family_of(LOSSES.get(name)) in spec.families]
            subject.require(bool(fitting), f"loss role {role!r} is of the unknown family {spec.families}")
            name = fitting[0]
        losses[role] = WeightedLosses([LOSSES.get(name)()], [1.0])
    return losses


def _now(batch: Mapping[str, Any]) -> Now:
    return Now(batch, torch.Generator().manual_seed(SEED), step=1, images=2, progress=0.5)


def _check_step(subject: Subject, pipeline: Pipeline, batch: Mapping[str, Tensor], shown: str) -> None:
    pipeline.train()
    with subject.doing(f"forward fails {shown}"), seeded():
        shared: Shared = pipeline(_now(batch))
    subject.require(
        isinstance(shared, Mapping) and all(isinstance(value, Tensor) for value in shared.values()),
        "forward does not give a dict of tensors",
    )
    for phase in pipeline.active_phases:
        place = f"loss of phase {phase.name!r} {shown}"
        seen = {name: value.detach() for name, value in shared.items()} if phase.constant_shared else shared
        before = _state(pipeline)
        parts = _terms(subject, pipeline, phase.name, batch, seen, place)
        subject.require(_same_state(before, _state(pipeline)), f"{place} changes state, which is commit's part")
        subject.require(any(terms.losses for terms in parts), f"{place} gives Terms without a loss")
        terms = Terms.joined(parts)
        for name, value in (terms.losses | terms.statistics).items():
            subject.require_scalar(value, f"{place}, {name!r},")
        for name, value in terms.keep.items():
            is_mean = name in pipeline.averaged_state
            is_tensor = isinstance(value, Tensor) and (is_mean or (value.ndim > 0 and len(value) == 2))
            subject.require(is_tensor, f"{place} keeps {name!r}, no tensor [N, …] and not in averaged_state")
        again = Terms.joined(_terms(subject, pipeline, phase.name, batch, seen, place))
        same = all(torch.equal(value, again.losses[name]) for name, value in terms.losses.items())
        subject.require(same, f"{place} differs under the same random numbers")
        _check_gradients(subject, pipeline, phase.trains, parts, place)
        with subject.doing(f"commit of phase {phase.name!r} fails"), torch.no_grad():
            pipeline.commit(phase.name, {name: value.detach() for name, value in terms.keep.items()})
        shared = pipeline(_now(batch))  # a phase may share a graph, but not go back through it twice
    with subject.doing("its own state cannot be loaded again"):
        pipeline.load_own_state(copy.deepcopy(pipeline.own_state()), torch.device("cpu"))


def _state(pipeline: Pipeline) -> dict[str, Any]:
    """Returns a copy of a pipeline's own state and of all weights; a forward may write into buffers of networks."""
    return copy.deepcopy(pipeline.own_state() | dict(pipeline.members.named_parameters()))


def _terms(
    subject: Subject, pipeline: Pipeline, phase: str, batch: Mapping[str, Tensor], shared: Shared, place: str
) -> list[Terms]:
    with subject.doing(f"{place} fails"), seeded():
        return list(each_of(pipeline.loss(phase, _now(batch), shared), phase))


def _check_gradients(
    subject: Subject, pipeline: Pipeline, letters: tuple[str, ...], parts: list[Terms], place: str
) -> None:
    for letter in letters:
        pipeline.members[letter].zero_grad(set_to_none=True)
    parameters = [p for letter in letters for p in pipeline.members[letter].parameters() if p.requires_grad]
    total = Terms.joined(parts).total()
    subject.require(total.requires_grad, f"{place} has no gradient")
    with subject.doing(f"{place} cannot be descended"):
        total.backward(inputs=parameters)
    for letter in letters:
        reached = any(p.grad is not None and bool(p.grad.any()) for p in pipeline.members[letter].parameters())
        subject.require(reached, f"{place} gives no gradient to {letter}, which the phase trains")


def _check_previews(subject: Subject, pipeline: Pipeline, batch: Mapping[str, Tensor], shown: str) -> None:
    pipeline.eval()
    with subject.doing(f"previews fails {shown}"), torch.no_grad(), seeded():
        columns = pipeline.previews(batch)
    for name, view in columns.items():
        fits = isinstance(view, View) and view.domain in batch and view.images.ndim == 4
        subject.require(fits, f"the preview {name!r} is no View of a batch of images")


def _check_use(
    subject: Subject, pipeline: Pipeline, members: Mapping[str, nn.Module], batch: Mapping[str, Tensor]
) -> None:
    """Uses each direction as a bundle does: with the networks that it names, and no losses."""
    for name, direction in pipeline.directions.items():
        kept = {letter: members[letter] for letter in direction.networks}
        bare = subject.build(networks=kept, losses={}).eval()
        bare.load_own_state(copy.deepcopy(pipeline.own_state()), torch.device("cpu"))
        applied = Applied(bare, _Exact())
        shown = f"direction {name!r} with {' and '.join(direction.networks)} alone"
        with subject.doing(f"{shown} fails"), torch.no_grad(), applied.policies():
            if direction.source:
                x = batch[direction.source][:1, :, :13, :11]
                if applied.fixed_size(name) is None and direction.target:
                    (made,) = applied.outputs([x[0]], name, lambda _: SEED)
                    is_whole = made.shape[2:] == x.shape[2:]
                    subject.require(is_whole, f"{shown} makes {list(made.shape)} of {list(x.shape)}")
                    continue
                x = batch[direction.source]
                results = list(
                    applied.outputs([x[0]], name, lambda _: SEED) if direction.target else applied.scores([x[0]], name)
                )
            else:
                z = latents_of([0, 1], bare.latent_shape)
                results = list(applied.generated(z, batch.get("label"), [0, 1]))
        for result in results:
            subject.require(bool(torch.isfinite(result).all()), f"{shown} gives values that are not finite")
            if direction.target:
                channels = batch[direction.target].shape[1]
                made_channels = result.shape[-3]
                subject.require(made_channels == channels, f"{shown} makes {made_channels} channels, not {channels}")


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

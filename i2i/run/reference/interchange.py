"""Which parts fit which: every generator, discriminator and adversarial loss of this package, in every pipeline.

Names come from the registries and declarations from the pipelines, so that a new component is among the combinations
without a line here. Components are built small.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch

from i2i.core.config.build import CHANNELS, nested_kind, parameters_of
from i2i.core.config.document import node_of
from i2i.core.errors import ConfigError
from i2i.core.registry import REGISTRIES
from i2i.pipelines.base import LossRole, NetworkRole, Pipeline, family_of
from i2i.run.assembly import build_updater
from i2i.run.experiment import Experiment

SIZE = 32  # pixels
_SMALL = {
    "base_channels": 4,
    "num_blocks": 1,
    "num_downsamplings": 3,
    "num_layers": 2,
    "num_scales": 2,
    "z_dim": 8,
    "widths": [16, 16],
}
# What a name alone does not say: arguments that make another network or loss of it.
_VARIANTS: dict[tuple[str, str], dict[str, dict[str, Any]]] = {
    ("discriminator", "patchgan"): {"patchgan, 1x1": {"num_layers": 0}},
    ("loss", "non_saturating"): {"non_saturating, R1": {"r1": 10.0}},
}

Nodes = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Combination:
    """One choice of parts.

    Attributes:
        pipeline: Its name.
        parts: By the YAML's key, the part's name as the table shows it; ``adversarial`` among them.
    """

    pipeline: str
    parts: Mapping[str, str]

    def __str__(self) -> str:
        return " - ".join([self.pipeline, *self.parts.values()])

    def document(self) -> dict[str, Any]:
        """Returns the YAML of a small experiment, as plain data."""
        declared: Any = _own("pipeline")[self.pipeline]
        kinds = {role: spec.kind for role, spec in declared.networks.items() if spec.required}
        losses = {role: _loss_for(spec) for role, spec in declared.losses.items() if spec.required}
        losses |= {role: choices("loss")[self.parts[role]] for role in losses if role in self.parts}
        return {
            "pipeline": {"type": self.pipeline, **_small(declared, self.pipeline)},
            **{role: choices(kind)[self.parts[role]] for role, kind in kinds.items()},
            "losses": losses,
            "data": _data_for(declared),
            "trainer": {"steps": 1, "batch_size": 2, "device": "cpu", "precision": "fp32"},
        }

    def experiment(self) -> Experiment:
        """Checks the combination.

        Raises:
            ConfigError: The parts do not fit each other.
        """
        return Experiment(node_of(self.document()))


def _loss_for(spec: LossRole) -> dict[str, Any]:
    """Returns the first loss of this package that fits a role."""
    return {"type": next(name for name, loss in _own("loss").items() if family_of(loss) in spec.families)}


def _data_for(pipeline: type[Pipeline]) -> dict[str, Any]:
    """Returns drawn data with the domains that a pipeline's networks and directions name."""
    channels = [channels for spec in pipeline.networks.values() for channels in spec.makes.values()]
    domains = {domain for one in channels for domain in (*one.inputs, *one.outputs)}
    if "image" in domains:
        return {"type": "digits", "size": SIZE, "length": 4}
    return {"type": "synthetic", "size": SIZE, "length": 4, "paired": True}


@cache
def _own(kind: str) -> Mapping[str, Callable[..., Any]]:
    """The components of a kind that are this package's."""
    entries = {name: found[0] for name, found in REGISTRIES[kind].entries().items()}
    return {name: entry.load() for name, entry in entries.items() if entry.owner == "i2i"}


def choices(kind: str) -> Nodes:
    """The small nodes of a kind, by the name that a table shows; of losses, the adversarial ones."""
    nodes: Nodes = {}
    for name, component in _own(kind).items():
        if kind == "loss" and family_of(component) != "adversarial":
            continue
        node = {"type": name, **_small(component, name)}
        nodes[name] = node
        nodes |= {shown: {**node, **changes} for shown, changes in _VARIANTS.get((kind, name), {}).items()}
    return nodes


def _small(component: Callable[..., Any], own_name: str) -> dict[str, Any]:
    """Arguments that make a component quick, where its constructor names them."""
    arguments: dict[str, Any] = {}
    for name, parameter in parameters_of(component).items():
        kind = nested_kind(parameter.annotation)
        if kind is not None:
            inner = next(n for n, other in _own(kind).items() if n != own_name and _is_simple(other))
            arguments[name] = {"type": inner, **_small(_own(kind)[inner], inner)}
        elif name in _SMALL:
            arguments[name] = _SMALL[name]
    return arguments


def _is_simple(component: Callable[..., Any]) -> bool:
    """Returns whether a network needs nothing but channels."""
    needed = {name for name, one in parameters_of(component).items() if one.default is one.empty}
    return needed <= set(CHANNELS)


def _suits(component: Callable[..., Any], spec: NetworkRole) -> bool:
    """Returns whether a network is for a role: from images or from latents, with nothing that the role cannot give."""
    parameters = parameters_of(component)
    needed = {name for name, one in parameters.items() if one.default is one.empty and not nested_kind(one.annotation)}
    from_images = all(channels.inputs for channels in spec.makes.values())
    return from_images == ("in_channels" in parameters) and needed <= {*CHANNELS, *spec.takes, *_SMALL}


def _suiting(spec: NetworkRole) -> list[str]:
    names = {name for name, component in _own(spec.kind).items() if _suits(component, spec)}
    return [shown for shown, node in choices(spec.kind).items() if node["type"] in names]


def combinations() -> Iterator[Combination]:
    """Every choice of networks that suit their role and of an adversarial loss, for every pipeline."""
    for pipeline, component in _own("pipeline").items():
        declared: Any = component
        axes = {role: _suiting(spec) for role, spec in declared.networks.items() if spec.required}
        judged = [role for role, spec in declared.losses.items() if "adversarial" in spec.families and spec.required]
        axes |= {role: list(choices("loss")) for role in judged}
        for chosen in itertools.product(*axes.values()):
            yield Combination(pipeline, dict(zip(axes, chosen, strict=True)))


def pairwise(every: list[Combination]) -> list[Combination]:
    """A selection in which every two parts that occur together do so at least once; greedy, always the same."""
    missing = set[frozenset[tuple[str, str]]]().union(*map(_pairs, every))
    chosen = []
    while missing:
        best = max(every, key=lambda combination: len(_pairs(combination) & missing))
        chosen.append(best)
        missing -= _pairs(best)
    return chosen


def _pairs(combination: Combination) -> set[frozenset[tuple[str, str]]]:
    parts = [("pipeline", combination.pipeline), *combination.parts.items()]
    return set(map(frozenset, itertools.combinations(parts, 2)))


def take_step(combination: Combination) -> dict[str, float]:
    """Takes one training step on random images.

    Returns:
        The losses.

    Raises:
        ConfigError: The parts do not fit each other.
        AssertionError: A loss or a gradient is not finite, or a network receives none.
    """
    experiment = combination.experiment()
    updater = build_updater(experiment, 1, 4, torch.device("cpu"), lambda _: None)
    pipeline = updater.pipeline.train()
    with torch.random.fork_rng(devices=[]):
        scalars = updater.step(experiment.data.sample(2, "cpu"))
    values = {name: float(value) for name, value in scalars.items()}
    for letter in pipeline.trained:
        gradients = [p.grad for p in pipeline.members[letter].parameters() if p.grad is not None]
        if not gradients or not any(bool(gradient.any()) for gradient in gradients):
            raise AssertionError(f"{combination}: {letter} receives no gradient")
        if not all(bool(gradient.isfinite().all()) for gradient in gradients):
            raise AssertionError(f"{combination}: the gradient of {letter} is not finite")
    unsound = [name for name, value in values.items() if not torch.isfinite(torch.tensor(value))]
    if unsound:
        raise AssertionError(f"{combination}: {', '.join(unsound)} is not finite")
    return values


def table(chosen: Iterable[Combination] | None = None) -> str:
    """Writes, as Markdown, which adversarial losses train which networks in which pipeline.

    A combination is in the table if the checks that precede training, a step on the meta device among them, find no
    problem with it.

    Args:
        chosen: What to show; all combinations where nothing is said.
    """
    losses = list(choices("loss"))
    rows: dict[tuple[str, ...], list[str]] = {}
    for combination in combinations() if chosen is None else chosen:
        parts = dict(combination.parts)
        adversarial = parts.pop("adversarial", "")
        try:
            combination.experiment()
        except ConfigError:
            continue
        rows.setdefault((combination.pipeline, *parts.values()), []).append(adversarial)
    lines = ["| pipeline | networks | " + " | ".join(losses) + " |", "|---|---|" + "---|" * len(losses)]
    for (pipeline, *networks), fitting in rows.items():
        cells = ["✓" if loss in fitting else "" for loss in losses]
        lines.append(f"| {pipeline} | {' + '.join(networks)} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"

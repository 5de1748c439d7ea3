"""Networks and steps as they will be, tried on the meta device: tensors there have shapes, no memory and no numbers."""

import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from i2i.core.config.document import Node
from i2i.core.errors import ConfigError, DataError, one_line
from i2i.core.registry import REGISTRIES
from i2i.pipelines.base import Applied, Direction, LossRole, NetworkRole, Now, Phase, Pipeline, each_of, fitted
from i2i.run.checks import Data, Problems
from i2i.run.network_plans import NetworkPlan, Takes, build_on_meta, plan_networks
from i2i.training.precision import Precision


@dataclass(frozen=True)
class Call:
    """A call of a network in a step.

    Attributes:
        inputs: Its arguments, on the meta device.
        outputs: The shape of each output.
    """

    inputs: tuple[Any, ...]
    outputs: list[list[int]]

    @property
    def input(self) -> list[int]:
        """The shape of the first input."""
        return list(self.inputs[0].shape)


@dataclass
class Trial:
    """What a step on the meta device has shown.

    Attributes:
        calls: The first call of each network, by letter; empty where the size of images is not known.
        keys: Keys of a batch that the pipeline has read.
        objectives: Loss roles that it has asked for.
        is_whole: Whether every phase ran to its end.
    """

    calls: dict[str, Call] = field(default_factory=dict)
    keys: set[str] = field(default_factory=set)
    objectives: set[str] = field(default_factory=set)
    is_whole: bool = False


class MissingKey(KeyError):
    """A pipeline reads a key of a batch that the data set does not give."""


class _Batch(dict[str, Any]):
    """A batch that remembers which of its keys are read."""

    def __init__(self, values: Mapping[str, Any], seen: set[str]) -> None:
        super().__init__(values)
        self._seen = seen

    def __getitem__(self, key: str) -> Any:
        self._seen.add(key)
        return super().__getitem__(key)

    def __missing__(self, key: str) -> Any:
        raise MissingKey(key)

    def get(self, key: str, default: Any = None) -> Any:
        self._seen.add(key)
        return super().get(key, default)

    def __iter__(self) -> Iterator[str]:  # or dict(batch) copies without __getitem__
        return super().__iter__()

    def items(self) -> Any:
        self._seen.update(self.keys())
        return super().items()


class _Objectives(nn.ModuleDict):
    """Losses by role that remember which of them are asked for."""

    def __init__(self, losses: nn.ModuleDict, seen: set[str]) -> None:
        super().__init__(dict(losses))
        self._seen = seen

    def __getitem__(self, key: str) -> nn.Module:
        self._seen.add(key)
        return super().__getitem__(key)


def check_networks(
    root: Node, roles: Mapping[str, NetworkRole], data: Data | None, problems: Problems
) -> tuple[dict[str, NetworkPlan], dict[str, nn.Module]]:
    """Plans all networks, builds them without memory and tries those that go from images to images.

    Returns:
        The plans and the networks on the meta device, by letter.
    """
    plans: dict[str, NetworkPlan] = {}
    networks: dict[str, nn.Module] = {}
    takes = Takes(data, networks)
    for role, spec in _ordered(roles):
        node = root.get(role)
        if node is None:
            if spec.required:
                hint = f"{spec.kind}s: {', '.join(REGISTRIES[spec.kind].names())}"
                problems.append(root.problem(f"needs {role!r}", hints=[hint]))
            continue
        planned = problems.attempt(plan_networks, role, spec, node, takes) or {}
        plans |= planned
        for letter, plan in planned.items():
            network = problems.attempt(build_on_meta, plan)
            if network is None:
                continue
            networks[letter] = network
            problems.attempt(_check_offers, plan, spec, network)
            problems.attempt(try_network, letter, plan, network, data)
    order = [letter for spec in roles.values() for letter in spec.makes]
    return {k: plans[k] for k in order if k in plans}, {k: networks[k] for k in order if k in networks}


def _ordered(roles: Mapping[str, NetworkRole]) -> Iterator[tuple[str, NetworkRole]]:
    """Yields the roles, each after those whose networks it takes values from."""
    makers = {letter: role for role, spec in roles.items() for letter in spec.makes}
    done: set[str] = set()

    def visit(role: str, waiting: tuple[str, ...]) -> Iterator[tuple[str, NetworkRole]]:
        if role in done or role in waiting:
            return
        for source in roles[role].takes.values():
            maker = makers.get(source.partition(".")[0])
            if maker is not None and maker != role:
                yield from visit(maker, (*waiting, role))
        done.add(role)
        yield role, roles[role]

    for role in roles:
        yield from visit(role, ())


def _check_offers(plan: NetworkPlan, spec: NetworkRole, network: nn.Module) -> None:
    missing = [method for method in spec.offers if not hasattr(network, method)]
    if missing:
        message = f"the {plan.kind} {plan.type!r} has no {' and no '.join(missing)}, which this pipeline calls"
        raise ConfigError([plan.node.problem(message, "type")])


def try_network(letter: str, plan: NetworkPlan, network: nn.Module, data: Data | None) -> None:
    """Passes one image without memory through a network that goes from images to images, or judges them.

    Raises:
        ConfigError: The network does not take images of the size, or gives others than it must.
    """
    channels = plan.channels
    if data is None or data.size is None or not channels.inputs or not _takes_images_alone(network):
        return
    height, width = data.size
    try:
        x = torch.empty(1, data.count(channels.inputs), height, width, device="meta")
        with torch.no_grad():
            y = fitted(network, x) if channels.outputs else network(x)
    except Exception as error:  # a plugin's forward may raise anything
        if _needs_numbers(error):  # training will have them
            return
        message = f"{letter} does not take images of {height}x{width}: {one_line(error)}"
        raise ConfigError([plan.node.problem(message)]) from error
    if channels.outputs:
        expected = [1, data.count(channels.outputs), height, width]
        if not isinstance(y, Tensor) or list(y.shape) != expected:
            got = list(y.shape) if isinstance(y, Tensor) else type(y).__name__
            message = f"{letter} makes {got} of images of {height}x{width}, expected {expected}"
            raise ConfigError([plan.node.problem(message)])


def _takes_images_alone(network: nn.Module) -> bool:
    """Returns whether ``forward`` needs nothing beside images: no time, no label."""
    if getattr(network, "num_classes", 0) or getattr(network, "num_attributes", 0):
        return False
    parameters = inspect.signature(network.forward).parameters.values()
    needed = [p for p in parameters if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return len(needed) <= 1


def check_needs(
    declared: Mapping[str, LossRole],
    used: Mapping[str, Sequence[Node]],
    plans: Mapping[str, NetworkPlan],
    networks: Mapping[str, nn.Module],
) -> None:
    """Checks that networks have the methods that losses need of them.

    Args:
        declared: The pipeline's loss roles.
        used: The losses of each role.
        plans: The networks, by letter.
        networks: The same on the meta device.

    Raises:
        ConfigError: One has not.
    """
    problems = []
    for role, nodes in used.items():
        for need in declared[role].needs:
            owner, _, method = need.partition(".")
            for letter, network in networks.items():
                plan = plans[letter]
                if plan.role == owner and not hasattr(network, method):
                    message = f"needs {method}(), which the {plan.kind} {plan.type!r} does not offer"
                    hints = [f"it, and what is nested in it, needs a method {method}(x), as patchgan has"]
                    problems += [node.problem(message, hints=hints) for node in nodes]
    if problems:
        raise ConfigError(dict.fromkeys(problems))


def try_step(pipeline: Pipeline, node: Node, data: Data, count: int = 2) -> Trial:
    """Takes the losses of every phase without memory: the parts must fit each other.

    Args:
        pipeline: With networks on the meta device.
        node: The pipeline's, for messages.
        data: Tells sizes, channels and labels.
        count: Images of the step; one of two or more shows what any number does.

    Raises:
        ConfigError: They do not.
    """
    trial = Trial()
    if data.size is None:
        return trial
    try:
        values = data.sample(min(count, 2))
    except DataError as error:
        hints = [*error.hints, "data.classes=10, or a list of names, says it without a look at the files"]
        raise ConfigError([data.node.problem(error.message, "root", hints=hints)]) from error
    batch = _Batch(values, trial.keys)
    objectives = pipeline.objectives
    pipeline.objectives = _Objectives(objectives, trial.objectives)
    hooks = [
        network.register_forward_hook(_remember(letter, trial.calls)) for letter, network in pipeline.members.items()
    ]
    name = ""
    try:
        now = Now(batch, torch.Generator())
        graph = pipeline(now)
        values_alone = {key: value.detach() for key, value in graph.items()}
        for phase in pipeline.phases:
            if not pipeline.members.keys() & set(phase.trains):
                continue  # of an optional network that is not there
            name = phase.name
            shared = values_alone if phase.constant_shared else graph
            losses = [loss for terms in each_of(pipeline.loss(phase.name, now, shared), phase.name)
                      for loss in terms.losses.values()]  # fmt: skip
            if not any(loss.requires_grad for loss in losses) and _is_trained(pipeline, phase):
                raise TypeError(_CONSTANT.format(" and ".join(phase.trains)))
        trial.is_whole = True
    except MissingKey as error:
        key = error.args[0]
        hints = [f"the data set gives {', '.join(values)}"]
        if key == "label":
            hints.append("labels: data.classes=auto takes the names of folders")
        raise ConfigError(
            [data.node.problem(f"gives no {key!r}, which this pipeline reads", "type", hints=hints)]
        ) from error
    except Exception as error:  # plugins may raise anything
        if not _needs_numbers(error):  # training will have them
            shown = ", ".join(f"{key} {'x'.join(map(str, value.shape))}" for key, value in values.items())
            where = f" in phase {name!r}" if name else ""
            message = f"a training step on {shown} fails{where}: {one_line(error)}"
            raise ConfigError([node.problem(message, hints=_ONE if count < 2 and _is_of_one(error) else ())]) from error
    finally:
        for hook in hooks:
            hook.remove()
        pipeline.objectives = objectives
    return trial


def try_directions(pipeline: Pipeline, node: Node, data: Data, reads_labels: bool) -> None:
    """Uses each direction once without memory, as the finished model will be.

    Args:
        pipeline: With networks on the meta device.
        node: The pipeline's, for messages.
        data: Tells sizes, channels and labels.
        reads_labels: Whether images from noise get a label.

    Raises:
        ConfigError: One fails, calls a network that it does not name, or gives other channels than its target has.
    """
    if data.size is None:
        return
    problems = []
    meta = torch.device("meta")
    applied = Applied(pipeline, Precision("fp32", meta), pipeline.norm_policy, pipeline.dropout_policy)
    batch = data.sample(1)
    for name, direction in pipeline.directions.items():
        if _is_tried(pipeline, direction):
            continue
        called: dict[str, Call] = {}
        hooks = [network.register_forward_hook(_remember(key, called)) for key, network in pipeline.members.items()]
        try:
            with torch.no_grad(), applied.policies():
                if not direction.source:
                    label = batch.get("label") if reads_labels else None
                    made = applied.generated(torch.empty(1, *pipeline.latent_shape, device=meta), label, [0])
                elif direction.target:
                    made = applied.outputs([batch[direction.source][0]], name, lambda _: 0)
                else:
                    made = applied.scores([batch[direction.source][0]], name)
                shapes = [list(one.shape) for one in made]
        except Exception as error:  # plugins may raise anything
            if not _needs_numbers(error):  # the finished model is tried with numbers
                problems.append(node.problem(f"its direction {name!r} fails: {one_line(error)}", "type"))
            continue
        finally:
            for hook in hooks:
                hook.remove()
        if strange := [letter for letter in called if letter not in direction.networks]:
            message = f"its direction {name!r} calls {' and '.join(strange)}, and does not name it among its networks"
            problems.append(node.problem(message, "type"))
        elif direction.target and (wrong := [s for s in shapes if s[-3] != data.count((direction.target,))]):
            message = f"its direction {name!r} makes {wrong[0][-3]} channels, {direction.target} has"
            problems.append(node.problem(f"{message} {data.count((direction.target,))}", "type"))
    if problems:
        raise ConfigError(problems)


def _is_tried(pipeline: Pipeline, direction: Direction) -> bool:
    """Returns whether a direction is one network that :func:`try_network` has seen to make its target of its source."""
    is_default = type(pipeline).translate is Pipeline.translate and direction.source and direction.target
    return bool(is_default) and [_takes_images_alone(pipeline.members[x]) for x in direction.networks] == [True]


def _is_trained(pipeline: Pipeline, phase: Phase) -> bool:
    """Returns whether a phase has weights to train: a frozen network has none."""
    members = pipeline.members
    return any(p.requires_grad for letter in phase.trains if letter in members for p in members[letter].parameters())


def _remember(letter: str, calls: dict[str, Call]) -> Any:
    def hook(network: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        if letter not in calls and inputs and isinstance(inputs[0], Tensor):
            outputs = (
                [output] if isinstance(output, Tensor) else list(output) if isinstance(output, list | tuple) else []
            )
            shapes = [list(one.shape) for one in outputs if isinstance(one, Tensor)]
            calls[letter] = Call(inputs, shapes)

    return hook


def _needs_numbers(error: Exception) -> bool:
    return re.search(r"\bmeta (tensors?|device|kernel)\b|\bregister_meta\b", str(error), re.IGNORECASE) is not None


_CONSTANT = "none of its losses depends on {}, which it trains: they are detached, or its constant_shared is true"
_ONE = ["batch normalisation needs two images or more of each process and part: trainer.batch_size, or norm: none"]


def _is_of_one(error: Exception) -> bool:
    return "more than 1 value per channel" in str(error)

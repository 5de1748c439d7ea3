"""Networks as they will be, tried on the meta device: tensors there have shapes, and neither memory nor numbers."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from i2i.core.config.build import build, check_arguments, complete_arguments, failure, find_component, nested_components
from i2i.core.config.document import Node, node_of
from i2i.core.errors import CheckpointError, ConfigError
from i2i.core.meta import on_meta
from i2i.core.plugins import owner_of
from i2i.core.registry import REGISTRIES
from i2i.inference.bundle.bundle import BundleInfo, find_bundle, network_of, read_info
from i2i.pipelines.base import Channels, LossRole, NetworkRole, Pipeline, fitted
from i2i.run.checks import Data, Problems


@dataclass(frozen=True)
class NetworkPlan:
    """A network as it will be built.

    Attributes:
        role: The YAML's key.
        node: What stands there.
        kind: The registry's kind.
        type: The registered name.
        arguments: All constructor arguments, defaults and what the framework supplies included.
        channels: The domains that it reads and writes.
        weights: The bundle that its weights come from, and the letter that they have there.
        frozen: Whether it stays as it is.
    """

    role: str
    node: Node
    kind: str
    type: str
    arguments: dict[str, Any]
    channels: Channels
    weights: tuple[Path, str] | None = None
    frozen: bool = False

    def build(self) -> nn.Module:
        """Builds the network on torch's current device.

        Raises:
            ConfigError: The constructor refused an argument.
        """
        supplied = {key: value for key, value in self.arguments.items() if self.node.get(key) is None}
        network: nn.Module = build(REGISTRIES[self.kind].get(self.type), self.node, supplied)
        return network

    def owner(self) -> dict[str, str]:
        """Tells where the code comes from: a distribution with its version, or a local file with its SHA-256."""
        return owner_of(self.kind, self.type)

    def nested(self) -> list[dict[str, Any]]:
        """Tells the same of the components inside of it, with their ``kind`` and ``type``."""
        component = REGISTRIES[self.kind].get(self.type)
        inner = nested_components(component, self.arguments)
        return [{"kind": kind, "type": name, "owner": owner_of(kind, name)} for kind, name in inner]


@dataclass(frozen=True)
class Shapes:
    """The shapes of what goes into a network, and of each output."""

    input: list[int]
    outputs: list[list[int]]


def plan_networks(role: str, spec: NetworkRole, node: Node, data: Data | None) -> dict[str, NetworkPlan]:
    """Plans the networks of a role; without data, whose channels they need, it only checks the node.

    A node is ``{type: NAME, **arguments}``, or ``{bundle: PATH}`` for networks that were trained before; either may say
    ``frozen: true``.

    Raises:
        ConfigError: Holds every problem found.
    """
    frozen = node.get("frozen")
    if frozen is not None and not isinstance(frozen.value, bool):
        raise ConfigError([frozen.problem(f"expected true or false, got {frozen.plain()!r}")])
    is_frozen = frozen is not None and frozen.value
    node = node.without(["frozen"]) if node.is_mapping else node
    if node.get("bundle") is None:
        plans = _plan_new(role, spec, node, data)
    else:
        plans = _plan_trained(role, spec, node, data)
    return {letter: replace(plan, frozen=is_frozen) for letter, plan in plans.items()}


def _plan_trained(role: str, spec: NetworkRole, node: Node, data: Data | None) -> dict[str, NetworkPlan]:
    """Plans networks as a bundle has them."""
    bundle = node.value["bundle"]
    extra = [child.problem("unknown key beside 'bundle'") for key, child in node.items() if key != "bundle"]
    if extra:
        raise ConfigError(extra)
    if not isinstance(bundle.value, str):
        raise ConfigError([bundle.problem("expected the path of a bundle or a run folder")])
    try:
        path = find_bundle(Path(bundle.value).expanduser())
        info = read_info(path)
        plans = {}
        for letter in spec.makes:
            source = _letter_in(info, letter, spec, bundle)
            _, arguments = network_of(path, info, source)
            trained = node_of({"type": info.networks[source]["type"], **arguments}, bundle.path, bundle.place)
            own = replace(spec, makes={letter: spec.makes[letter]})
            try:
                planned = _plan_new(role, own, trained, data)
            except ConfigError as error:
                reasons = [f"{'.'.join(map(str, p.path[2:]))}: {p.message}" for p in error.problems]
                raise ConfigError(
                    [bundle.problem(f"its {source} does not fit: {reason}") for reason in reasons]
                ) from error
            for plan in planned.values():
                plans[letter] = replace(plan, weights=(path.absolute(), source))
    except CheckpointError as error:
        raise ConfigError([bundle.problem(error.message, hints=error.hints)]) from error
    return plans


def _letter_in(info: BundleInfo, letter: str, spec: NetworkRole, bundle: Node) -> str:
    """Finds a network in a bundle: that of the same letter, or the only one where only one is needed."""
    fitting = [own for own, network in info.networks.items() if network["kind"] == spec.kind]
    if letter in fitting:
        return letter
    if len(fitting) == 1 and len(spec.makes) == 1:
        return fitting[0]
    holds = ", ".join(f"{own} ({network['kind']})" for own, network in info.networks.items())
    message = f"the bundle holds no {spec.kind} {letter}, which this pipeline needs"
    raise ConfigError([bundle.problem(message, hints=[f"it holds {holds}"])])


def _plan_new(role: str, spec: NetworkRole, node: Node, data: Data | None) -> dict[str, NetworkPlan]:
    component = find_component(REGISTRIES[spec.kind], node)
    problems = check_arguments(component, node, ("in_channels", "out_channels"))
    plans = {}
    for letter, channels in spec.makes.items() if data is not None else ():
        assert data is not None
        supplied = {"in_channels": data.count(channels.inputs)}
        if channels.outputs:
            supplied["out_channels"] = data.count(channels.outputs)
        for name, count in supplied.items():
            given = node.get(name)
            if given is not None and given.value != count:
                domains = " + ".join(channels.inputs if name == "in_channels" else channels.outputs)
                message = f"{given.plain()}, but {letter} has {count} there: the channels of {domains} in the data"
                problems.append(node.problem(message, name, hints=["leave it out: it is taken from the data"]))
        arguments = complete_arguments(component, node, supplied) if not problems else {}
        plans[letter] = NetworkPlan(role, node, spec.kind, node.plain()["type"], arguments, channels)
    if problems:
        raise ConfigError(problems)
    return plans


def build_on_meta(plan: NetworkPlan) -> nn.Module:
    """Builds a network without memory; one that needs numbers while it is built is built on the CPU first.

    Raises:
        ConfigError: The constructor refused an argument, or failed.
    """
    try:
        network: nn.Module = on_meta(plan.build)
        return network
    except ConfigError:
        raise
    except Exception as error:  # a plugin's constructor may raise anything
        raise ConfigError([plan.node.problem(f"cannot be built: {failure(error)}")]) from error


def try_network(letter: str, plan: NetworkPlan, network: nn.Module, data: Data) -> Shapes | None:
    """Passes one image without memory through a network; ``None`` where the images' size is not known.

    Raises:
        ConfigError: The network does not take images of the size, or gives others than it must.
    """
    if data.size is None:
        return None
    height, width = data.size
    channels = data.count(plan.channels.inputs)
    try:
        x = torch.empty(1, channels, height, width, device="meta")
        with torch.no_grad():
            y = fitted(network, x) if plan.channels.outputs else network(x)
    except Exception as error:  # a plugin's forward may raise anything
        if _needs_numbers(error):  # it needs numbers, and training will have them
            return None
        message = f"{letter} does not take images of {height}x{width}: {_one_line(error)}"
        raise ConfigError([plan.node.problem(message)]) from error
    if plan.channels.outputs:
        expected = [1, data.count(plan.channels.outputs), height, width]
        if not isinstance(y, torch.Tensor) or list(y.shape) != expected:
            got = list(y.shape) if isinstance(y, torch.Tensor) else type(y).__name__
            message = f"{letter} makes {got} of images of {height}x{width}, expected {expected}"
            raise ConfigError([plan.node.problem(message)])
    outputs = [y] if isinstance(y, torch.Tensor) else list(y)
    return Shapes(list(x.shape), [list(output.shape) for output in outputs])


def check_features(
    declared: Mapping[str, LossRole],
    used: Mapping[str, Sequence[Node]],
    plans: Mapping[str, NetworkPlan],
    networks: Mapping[str, nn.Module],
) -> None:
    """Checks that networks have the feature maps which losses compare.

    Args:
        declared: The pipeline's loss roles.
        used: The losses of each role.
        plans: The networks, by letter.
        networks: The same on the meta device.

    Raises:
        ConfigError: One has none.
    """
    problems = []
    for role, nodes in used.items():
        for letter, network in networks.items():
            plan = plans[letter]
            if declared[role].features_of == plan.role and not hasattr(network, "logits_and_features"):
                message = f"compares feature maps, which the {plan.kind} {plan.type!r} does not offer"
                hints = ["it, and what is nested in it, needs a method logits_and_features(x), as patchgan has"]
                problems += [node.problem(message, hints=hints) for node in nodes]
    if problems:
        raise ConfigError(dict.fromkeys(problems))


def try_step(pipeline: Pipeline, node: Node, data: Data) -> None:
    """Takes the losses of every phase without memory: the parts must fit each other, too.

    Args:
        pipeline: With networks on the meta device.
        node: The pipeline's, for messages.
        data: Tells sizes and channels.

    Raises:
        ConfigError: They do not.
    """
    if data.size is None:
        return
    sizes = {domain: [2, count, *data.size] for domain, count in data.channels.items()}
    try:
        batch = {domain: torch.empty(size, device="meta") for domain, size in sizes.items()}
        shared = pipeline(batch, torch.Generator())
        for phase in pipeline.phases:
            pipeline.terms(phase.name, batch, shared, torch.Generator())
    except Exception as error:  # plugins may raise anything
        if _needs_numbers(error):  # it needs numbers, and training will have them
            return
        shown = ", ".join(f"{domain} {'x'.join(map(str, size))}" for domain, size in sizes.items())
        raise ConfigError([node.problem(f"a training step on {shown} fails: {_one_line(error)}")]) from error


def check_networks(
    root: Node, roles: dict[str, NetworkRole], data: Data | None, problems: Problems
) -> tuple[dict[str, NetworkPlan], dict[str, nn.Module], dict[str, Shapes]]:
    """Plans all networks, builds them without memory and tries them; problems are collected.

    Returns:
        By letter: the plans, the networks on the meta device and, where they are known, the shapes.
    """
    plans: dict[str, NetworkPlan] = {}
    for role, spec in roles.items():
        node = root.get(role)
        if node is None:
            hint = f"{spec.kind}s: {', '.join(REGISTRIES[spec.kind].names())}"
            problems.append(root.problem(f"needs {role!r}", hints=[hint]))
        else:
            plans |= problems.attempt(plan_networks, role, spec, node, data) or {}
    networks: dict[str, nn.Module] = {}
    shapes: dict[str, Shapes] = {}
    for letter, plan in plans.items():
        network = problems.attempt(build_on_meta, plan)
        if network is None:
            continue
        networks[letter] = network
        found = problems.attempt(try_network, letter, plan, network, data)
        if found is not None:
            shapes[letter] = found
    return plans, networks, shapes


def _needs_numbers(error: Exception) -> bool:
    return re.search(r"\bmeta (tensors?|device|kernel)\b|\bregister_meta\b", str(error), re.IGNORECASE) is not None


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__

"""Networks as they will be, tried on the meta device: tensors there have shapes, and neither memory nor numbers."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from i2i.build import build, check_arguments, find_component, parameters_of
from i2i.checks import Data, Problems
from i2i.config import Node
from i2i.errors import ConfigError
from i2i.pipelines.base import Channels, NetworkRole, Pipeline, fitted
from i2i.plugins import installed_version, loaded_files
from i2i.registry import REGISTRIES


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
    """

    role: str
    node: Node
    kind: str
    type: str
    arguments: dict[str, Any]
    channels: Channels

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


def owner_of(kind: str, name: str) -> dict[str, str]:
    """Tells where a component's code comes from: a distribution with its version, or a local file with its SHA-256."""
    owner = REGISTRIES[kind].entry(name).owner
    if owner in loaded_files():
        return {"file": Path(owner).name, "sha256": loaded_files()[owner]}
    return {"distribution": owner, "version": installed_version(owner) or "unknown"}


@dataclass(frozen=True)
class Shapes:
    """The shapes of what goes into a network, and of each output."""

    input: list[int]
    outputs: list[list[int]]


def plan_networks(role: str, spec: NetworkRole, node: Node, data: Data | None) -> dict[str, NetworkPlan]:
    """Plans the networks of a role; without data, whose channels they need, it only checks the node.

    Raises:
        ConfigError: Holds every problem found.
    """
    component = find_component(REGISTRIES[spec.kind], node)
    problems = check_arguments(component, node, ("in_channels", "out_channels"))
    parameters = parameters_of(component)
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
        arguments = {k: p.default for k, p in parameters.items() if p.default is not p.empty}
        arguments |= {k: v for k, v in supplied.items() if k in parameters}
        arguments |= {k: v for k, v in node.plain().items() if k != "type"}
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
        with torch.device("meta"):
            return plan.build()
    except ConfigError:
        raise
    except Exception:  # a plugin's constructor may raise anything
        try:
            return plan.build().to("meta")
        except ConfigError:
            raise
        except Exception as error:
            raise ConfigError([plan.node.problem(f"cannot be built: {type(error).__name__}: {error}")]) from error


def try_network(letter: str, plan: NetworkPlan, network: nn.Module, data: Data) -> Shapes | None:
    """Passes one image without memory through a network; ``None`` where the images' size is not known.

    Raises:
        ConfigError: The network does not take images of the size, or gives others than it must.
    """
    if data.size is None:
        return None
    height, width = data.size
    x = torch.empty(1, data.count(plan.channels.inputs), height, width, device="meta")
    try:
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
    batch = {domain: torch.empty(size, device="meta") for domain, size in sizes.items()}
    try:
        shared = pipeline(batch, torch.Generator())
        for phase in pipeline.phases:
            pipeline.loss(phase.name, batch, shared, torch.Generator())
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
    return re.search(r"\bmeta (tensors?|device|kernel)\b", str(error), re.IGNORECASE) is not None


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__

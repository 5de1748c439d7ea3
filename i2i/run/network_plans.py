"""Networks as a YAML names them: type, arguments, where each argument comes from."""

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from i2i.core.config.build import (
    CHANNELS,
    build,
    check_arguments,
    complete_arguments,
    failure,
    find_component,
    nested_components,
    parameters_of,
)
from i2i.core.config.document import Node, node_of
from i2i.core.errors import CheckpointError, ConfigError, DataError, Problem
from i2i.core.meta import on_meta
from i2i.core.plugins import owner_of
from i2i.core.registry import REGISTRIES, did_you_mean
from i2i.inference.bundle.bundle import BundleInfo, network_of, read_info
from i2i.inference.bundle.place import find_bundle
from i2i.pipelines.base import Channels, NetworkRole
from i2i.run.checks import Data


@dataclass(frozen=True)
class NetworkPlan:
    """A network as it will be built.

    Attributes:
        role: The YAML's key.
        node: The node of that key.
        kind: The registry's kind.
        type: The registered name.
        arguments: All constructor arguments, defaults and those that the framework supplies included.
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
        """Returns where the code comes from: a distribution with its version, or a local file with its SHA-256."""
        return owner_of(self.kind, self.type)

    def nested(self) -> list[dict[str, Any]]:
        """Returns the same for the components inside of it, with their ``kind`` and ``type``."""
        component = REGISTRIES[self.kind].get(self.type)
        inner = nested_components(component, self.arguments)
        return [{"kind": kind, "type": name, "owner": owner_of(kind, name)} for kind, name in inner]


class Takes:
    """The values that networks take from the data and from each other.

    Args:
        data: The YAML's; ``None`` where it is wrong.
        networks: Those built so far, by letter; filled while others are planned.
    """

    def __init__(self, data: Data | None, networks: Mapping[str, nn.Module]) -> None:
        self.data, self.networks = data, networks

    def is_known(self, source: str) -> bool:
        """Returns whether the owner of a value is there; one that is wrong has been reported."""
        owner = source.partition(".")[0]
        return self.data is not None if owner == "data" else owner in self.networks

    def value(self, source: str, node: Node, argument: str) -> Any:
        """Returns the value of ``data.size`` or ``G.w_dim``; ``None`` where the data do not fix it.

        Raises:
            ConfigError: There is no such attribute.
        """
        owner, _, attribute = source.partition(".")
        holder: Any = self.data.dataset if owner == "data" and self.data else self.networks.get(owner)
        try:
            if owner == "data" and attribute == "size" and self.data:
                return self.data.size
            return getattr(holder, attribute)
        except AttributeError:
            what = "the data set" if owner == "data" else f"{owner}, a {type(holder).__name__},"
            message = f"takes {argument!r} from {source}, and {what} has no {attribute!r}"
            raise ConfigError([node.problem(message, hints=[f"or say it here: {argument}: VALUE"])]) from None
        except DataError as error:
            assert self.data is not None
            hints = [*error.hints, "data.classes=10, or a list of names, says it without a look at the files"]
            raise ConfigError([self.data.node.problem(error.message, "root", hints=hints)]) from error


def plan_networks(role: str, spec: NetworkRole, node: Node, takes: Takes) -> dict[str, NetworkPlan]:
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
        plans = _plan_new(role, spec, node, takes)
    else:
        plans = _plan_trained(role, spec, node, takes)
    return {letter: replace(plan, frozen=is_frozen) for letter, plan in plans.items()}


def _plan_trained(role: str, spec: NetworkRole, node: Node, takes: Takes) -> dict[str, NetworkPlan]:
    """Plans networks as a bundle has them."""
    bundle, network = node.value["bundle"], node.get("network")
    known = ("bundle", "network")
    extra = [child.problem("unknown key beside 'bundle'") for key, child in node.items() if key not in known]
    if extra:
        raise ConfigError(extra)
    if not isinstance(bundle.value, str):
        raise ConfigError([bundle.problem("expected the path of a bundle or a run folder")])
    if network is not None and not isinstance(network.value, str):
        raise ConfigError([network.problem("expected the letter of a network in the bundle, such as G")])
    if network is not None and len(spec.makes) > 1:
        raise ConfigError([network.problem(f"this role makes {' and '.join(spec.makes)}: one letter does not do")])
    try:
        path = find_bundle(Path(bundle.value).expanduser())
        info = read_info(path)
        plans = {}
        for letter in spec.makes:
            source = _letter_in(info, letter, spec, bundle, network)
            _, arguments = network_of(path, info, source)
            trained = node_of({"type": info.networks[source]["type"], **arguments}, bundle.path, bundle.place)
            own = replace(spec, makes={letter: spec.makes[letter]})
            try:
                planned = _plan_new(role, own, trained, takes)
            except ConfigError as error:
                reasons = [f"{'.'.join(map(str, p.path[2:]))}: {p.message}".removeprefix(": ") for p in error.problems]
                raise ConfigError(
                    [bundle.problem(f"its {source} does not fit: {reason}") for reason in reasons]
                ) from error
            for plan in planned.values():
                plans[letter] = replace(plan, weights=(path.absolute(), source))
    except CheckpointError as error:
        raise ConfigError([bundle.problem(error.message, hints=error.hints)]) from error
    return plans


def _letter_in(info: BundleInfo, letter: str, spec: NetworkRole, bundle: Node, network: Node | None) -> str:
    """Finds a network in a bundle: the one asked for, that of the same letter, or the only one of the kind."""
    fitting = [own for own, found in info.networks.items() if found["kind"] == spec.kind]
    holds = ", ".join(f"{own} ({found['kind']})" for own, found in info.networks.items())
    if network is not None:
        if network.value in fitting:
            return str(network.value)
        near = did_you_mean(str(network.value), fitting)
        raise ConfigError(
            [network.problem(f"the bundle holds no {spec.kind} {network.value!r}{near}", hints=[f"it holds {holds}"])]
        )
    if letter in fitting:
        return letter
    if len(fitting) == 1 and len(spec.makes) == 1:
        return fitting[0]
    message = f"the bundle holds no {spec.kind} {letter}, which this pipeline needs"
    hints = [f"it holds {holds}"] + (["one of them: network: LETTER"] if fitting else [])
    raise ConfigError([bundle.problem(message, hints=hints)])


def _plan_new(role: str, spec: NetworkRole, node: Node, takes: Takes) -> dict[str, NetworkPlan]:
    component = find_component(REGISTRIES[spec.kind], node)
    parameters = parameters_of(component)
    asked = {name: source for name, source in spec.takes.items() if name in parameters and node.get(name) is None}
    problems = _starting_problems(spec, node, parameters)
    if not problems:
        problems = check_arguments(component, node, (*CHANNELS, *asked))
    if any(not takes.is_known(source) for source in asked.values()):
        if problems:
            raise ConfigError(problems)
        return {}  # the reason has been reported
    taken: dict[str, Any] = {}
    for name, source in asked.items():
        try:
            taken[name] = takes.value(source, node, name)
        except ConfigError as error:
            problems += error.problems
            continue
        if taken[name] is None and parameters[name].default is inspect.Parameter.empty:
            hints = ["data.crop_size fixes it"] if source == "data.size" else []
            problems.append(node.problem(f"needs {name!r}, which {source} does not fix", hints=hints))
        if taken[name] is None:
            del taken[name]
    problems += _label_problems(spec, node, takes)
    plans = {}
    for letter, channels in spec.makes.items() if takes.data is not None else ():
        assert takes.data is not None
        supplied = {
            name: takes.data.count(domains)
            for name, domains in (("in_channels", channels.inputs), ("out_channels", channels.outputs))
            if domains
        }
        for name, count in supplied.items():
            given = node.get(name)
            if given is not None and given.value != count:
                domains = " + ".join(channels.inputs if name == "in_channels" else channels.outputs)
                message = f"{given.plain()}, but {letter} has {count} there: the channels of {domains} in the data"
                problems.append(node.problem(message, name, hints=["leave it out: it is taken from the data"]))
        arguments = complete_arguments(component, node, supplied | taken) if not problems else {}
        plans[letter] = NetworkPlan(role, node, spec.kind, node.plain()["type"], arguments, channels)
    if problems:
        raise ConfigError(problems)
    return plans


def _label_problems(spec: NetworkRole, node: Node, takes: Takes) -> Iterator[Problem]:
    """Finds networks that read other labels than the data have; one that is told of none reads none."""
    for name, source in spec.takes.items():
        given = node.get(name)
        if given is None or not given.value or not isinstance(given.value, int) or not takes.is_known(source):
            continue  # another type has been reported, or is the network's own affair
        what = source.removeprefix("data.num_")
        if source in ("data.num_classes", "data.num_attributes"):
            try:
                count = takes.value(source, node, name)
            except ConfigError as error:
                yield from error.problems
                continue
            is_short = given.value < count if what == "classes" else given.value != count
            if is_short and count:
                message = f"the network knows {given.value} {what}, and the data have {count}"
                yield given.problem(message, hints=["leave it out: it is taken from the data"])


def _starting_problems(spec: NetworkRole, node: Node, parameters: Mapping[str, inspect.Parameter]) -> list[Problem]:
    """Finds a network of images where latents go in, or the reverse, before a missing argument confuses."""
    if "z_dim" in parameters and "in_channels" not in parameters and any(one.inputs for one in spec.makes.values()):
        name, letters = node.plain()["type"], [letter for letter, one in spec.makes.items() if one.inputs]
        message = f"{name!r} starts from latents (z_dim), and {' and '.join(letters)} of this pipeline is given images"
        return [node.problem(message, "type", hints=[f"{spec.kind}s: {', '.join(REGISTRIES[spec.kind].names())}"])]
    asks = parameters.get("in_channels")
    is_asked = asks is not None and asks.default is asks.empty and node.get("in_channels") is None
    letters = [letter for letter, channels in spec.makes.items() if not channels.inputs]
    if not is_asked or not letters or "in_channels" in spec.takes:
        return []
    message = (
        f"{node.plain()['type']!r} takes images (in_channels), and {' and '.join(letters)} of this pipeline takes none"
    )
    return [node.problem(message, "type", hints=[f"{spec.kind}s: {', '.join(REGISTRIES[spec.kind].names())}"])]


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

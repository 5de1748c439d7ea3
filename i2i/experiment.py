"""The one fixed order of assembly, used by every command that starts from a YAML.

Everything is checked before anything is built, and everything is built on the meta device, where tensors have shapes
but no memory, before the data set is touched.
"""

import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from i2i.build import build, check_arguments, find_component, parameters_of
from i2i.config import Node, load_config, merge
from i2i.errors import ConfigError, Problem, RegistryError
from i2i.pipelines.base import Channels, LossRole, NetworkRole, Pipeline, WeightedLosses, fitted
from i2i.plugins import load_plugin_file, sha256
from i2i.registry import DATASETS, LOSSES, OPTIMIZERS, PIPELINES, REGISTRIES, SCHEDULES, did_you_mean, registry_of
from i2i.training.schedules import Constant, Schedule
from i2i.training.settings import DataSettings, TrainerSettings

FORMAT = 1
FRAMEWORK_KEYS = ("format", "name", "plugins", "pipeline", "losses", "data", "optimizer", "schedule", "trainer")
DATA_KEYS = ("workers", "direction")
_EMPTY = Node({}, "")

Result = TypeVar("Result")


class _Problems(list[Problem]):
    """Collects the problems of independent parts, so that all are shown at once."""

    def attempt(self, part: Callable[[], Result]) -> Result | None:
        try:
            return part()
        except ConfigError as error:
            self.extend(problem for problem in error.problems if problem not in self)
            return None

    def stop_if_any(self) -> None:
        if self:
            raise ConfigError(self)


@dataclass(frozen=True)
class NetworkPlan:
    """A network as it will be built.

    Attributes:
        role: The YAML's key.
        kind: The registry's kind.
        type: The registered name.
        arguments: All constructor arguments, defaults and what the framework supplies included.
        channels: The domains that it reads and writes.
    """

    role: str
    kind: str
    type: str
    arguments: dict[str, Any]
    channels: Channels

    def build(self) -> nn.Module:
        component = REGISTRIES[self.kind].get(self.type)
        return component(**{k: v for k, v in self.arguments.items() if k in parameters_of(component)})

    def owner(self) -> dict[str, str]:
        """Tells where the code comes from: a distribution with its version, or a local file with its SHA-256."""
        owner = REGISTRIES[self.kind].entry(self.type).owner
        if owner.endswith(".py") and Path(owner).is_file():
            return {"file": Path(owner).name, "sha256": sha256(owner)}
        try:
            return {"distribution": owner, "version": version(owner)}
        except PackageNotFoundError:  # a checkout that is not installed
            return {"distribution": owner, "version": "unknown"}


class Experiment:
    """A checked configuration, ready to be built.

    Args:
        root: The document, as :func:`i2i.config.load_config` returns it.

    Raises:
        ConfigError: Holds every problem found.
    """

    def __init__(self, root: Node) -> None:
        self.root = root
        problems = _Problems()
        problems.attempt(lambda: _load_plugins(root))
        problems.stop_if_any()
        _check_format(root, problems)

        pipeline_node = root.get("pipeline")
        if pipeline_node is None:
            raise ConfigError([root.problem("needs 'pipeline'", hints=[f"pipelines: {', '.join(PIPELINES.names())}"])])
        self.pipeline_node = pipeline_node
        self.settings = problems.attempt(lambda: _settings(TrainerSettings, root.get("trainer"), root, "trainer"))  # type: ignore[assignment]
        self._dataset_node, self.data_settings, self.dataset = self._check_data(problems)
        self.schedule = problems.attempt(lambda: _schedule(root.get("schedule"))) or Constant()
        pipeline_class = problems.attempt(lambda: find_component(PIPELINES, pipeline_node))
        if pipeline_class is None:  # roles and losses mean nothing without it
            raise ConfigError(problems)
        self.pipeline_class: type[Pipeline] = pipeline_class  # type: ignore[assignment]
        problems += check_arguments(self.pipeline_class, pipeline_node, ("networks", "losses"))
        self._check_keys(problems)
        self.loss_nodes = self._check_losses(problems)
        self.optimizer_nodes = {role: self._optimizer_node(role, problems) for role in self.pipeline_class.networks}
        self.network_plans = self._check_networks(problems)
        self.meta_networks = self._check_shapes(problems)
        problems.stop_if_any()
        self._check_step()

    settings: TrainerSettings
    data_settings: DataSettings
    dataset: Any
    shapes: dict[str, tuple[list[int], list[list[int]]]]  # by letter: of the input and of each output

    @classmethod
    def load(cls, path: str | Path, overrides: Sequence[str] = ()) -> "Experiment":
        """Reads and checks a YAML; ``name`` defaults to the file's."""
        root = load_config(path, overrides)
        if root.get("name") is None:
            name = Node(Path(path).stem, root.place, ("name",))
            root = Node({"name": name, **root.value}, root.place)
        return cls(root)

    @property
    def name(self) -> str:
        name = self.root.get("name")
        return str(name.value) if name else "experiment"

    @property
    def channels(self) -> dict[str, int]:
        """Channels of each domain, after ``data.direction``."""
        channels = dict(self.dataset.channels)
        if self.data_settings.direction == "b2a" and {"a", "b"} <= channels.keys():
            channels["a"], channels["b"] = channels["b"], channels["a"]
        return channels

    @property
    def directions(self) -> dict[str, str]:
        """What users ask for -> the pipeline's own direction; they differ where ``data.direction`` is ``b2a``."""
        own = list(self.pipeline_class.directions)
        if self.data_settings.direction == "a2b":
            return {direction: direction for direction in own}
        return {{"a2b": "b2a", "b2a": "a2b"}[direction]: direction for direction in own}

    @property
    def image_size(self) -> list[int] | None:
        """Height and width of the training images, where the data set says that they are all alike."""
        size = getattr(self.dataset, "size", None)
        return list(size) if size is not None else None

    @property
    def optimizer_roles(self) -> list[str]:
        return list(dict.fromkeys(phase.optimizer for phase in self.pipeline_class.phases))

    def build_optimizer(self, role: str, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        """Builds the optimizer of a network role; each group remembers its ``initial_lr`` for the schedule."""
        node = self.optimizer_nodes[role]
        optimizer: torch.optim.Optimizer = build(find_component(OPTIMIZERS, node), node, {"params": parameters})
        for group in optimizer.param_groups:
            group["initial_lr"] = group["lr"]
        return optimizer

    def resolved(self) -> dict[str, Any]:
        """Returns the whole document as plain data, with absolute paths."""
        data = self.root.plain()
        if isinstance(data["data"].get("root"), str):
            data["data"]["root"] = str(Path(data["data"]["root"]).expanduser().resolve())
        return data

    def build_pipeline(self) -> Pipeline:
        """Builds networks, losses and pipeline on the CPU; the weights depend on the seed and each network's letter."""
        networks = {}
        for letter, plan in self.network_plans.items():
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(self.settings.seed * 1_000_003 + zlib.crc32(letter.encode()))
                networks[letter] = plan.build()
        return self._pipeline(networks)

    def _pipeline(self, networks: Mapping[str, nn.Module]) -> Pipeline:
        losses = {}
        for role, nodes in self.loss_nodes.items():
            weights = [_weight(node) for node in nodes]
            if any(weights) or self.pipeline_class.losses[role].required:
                built = [build(find_component(LOSSES, node), node.without(["weight"])) for node in nodes]
                losses[role] = WeightedLosses(built, weights)
        return build(self.pipeline_class, self.pipeline_node, {"networks": networks, "losses": losses})

    def dataset_problem(self, message: str, hints: Iterable[str] = ()) -> ConfigError:
        """Places what the data set has to say about its files at the YAML's ``data.root``."""
        path = ("root",) if self._dataset_node.get("root") else ()
        return ConfigError([self._dataset_node.problem(message, *path, hints=hints)])

    def _check_keys(self, problems: _Problems) -> None:
        known = [*FRAMEWORK_KEYS, *self.pipeline_class.networks]
        for key, child in self.root.items():
            if key not in known:
                hints = [f"known with this pipeline: {', '.join(known)}"]
                problems.append(child.problem(f"unknown key{did_you_mean(key, known)}", hints=hints))
        for key in ("data", "trainer", "losses"):
            if self.root.get(key) is None:
                problems.append(self.root.problem(f"needs {key!r}"))

    def _check_losses(self, problems: _Problems) -> dict[str, list[Node]]:
        declared = self.pipeline_class.losses
        losses = self.root.get("losses")
        if losses is None:
            return {}
        if not losses.is_mapping:
            problems.append(losses.problem("expected a mapping of roles such as 'adversarial: {type: lsgan}'"))
            return {}
        checked: dict[str, list[Node]] = {}
        for role, child in losses.items():
            if role not in declared:
                hints = [f"roles of this pipeline: {', '.join(declared)}"]
                problems.append(child.problem(f"unknown role{did_you_mean(role, declared)}", hints=hints))
                continue
            checked[role] = child.value if isinstance(child.value, list) else [child]
            for node in checked[role]:
                problems.attempt(lambda node=node, role=role: _check_loss(node, declared[role]))  # type: ignore[misc]
            if not checked[role]:
                problems.append(child.problem("the role has no loss"))
        for role, spec in declared.items():
            if spec.required and role not in losses.value:
                example = "lsgan" if spec.family == "adversarial" else "l1"
                hint = f"losses: {{{role}: {{type: {example}}}}}"
                problems.append(losses.problem(f"the role {role!r} has no loss", hints=[hint]))
        return checked

    def _check_data(self, problems: _Problems) -> tuple[Node, Any, Any]:
        node = self.root.get("data")
        if node is None:
            return _EMPTY, None, None
        if not node.is_mapping:
            problems.append(node.problem("expected a data set such as {type: unpaired, root: FOLDER}"))
            return _EMPTY, None, None
        framework = Node({k: c for k, c in node.items() if k in DATA_KEYS}, node.place, node.path)
        settings = problems.attempt(lambda: _settings(DataSettings, framework, self.root, "data"))
        own = node.without(DATA_KEYS)

        def construct() -> Any:
            component = find_component(DATASETS, own)
            found = check_arguments(component, own)
            if found:
                raise ConfigError(found)
            return build(component, own)

        return own, settings, problems.attempt(construct)

    def _optimizer_node(self, role: str, problems: _Problems) -> Node:
        """Returns the optimizer of one network role: the common keys with the role's own laid over them."""
        default = Node(
            {"type": Node("adam", ""), "lr": Node(2e-4, ""), "betas": Node([Node(0.5, ""), Node(0.999, "")], "")}, ""
        )
        node = self.root.get("optimizer")
        if node is None:
            return default
        if not node.is_mapping:
            problems.append(node.problem("expected an optimizer such as {type: adam, lr: 2.0e-4}"))
            return default
        common = node.without(self.pipeline_class.networks)
        own = node.get(role)
        if own is not None and not own.is_mapping:
            problems.append(own.problem("expected a mapping such as {lr: 1.0e-4}"))
            return default
        merged = merge(common, own) if own is not None else common

        def check() -> None:
            found = check_arguments(find_component(OPTIMIZERS, merged), merged, ("params",))
            if found:
                raise ConfigError(found)
            parameter = nn.Parameter(torch.zeros(1))
            build(find_component(OPTIMIZERS, merged), merged, {"params": [parameter]})

        problems.attempt(check)
        return merged

    def _check_networks(self, problems: _Problems) -> dict[str, NetworkPlan]:
        plans: dict[str, NetworkPlan] = {}
        for role, spec in self.pipeline_class.networks.items():
            node = self.root.get(role)
            if node is None:
                hint = f"{spec.kind}s: {', '.join(registry_of(spec.kind).names())}"
                problems.append(self.root.problem(f"needs {role!r}", hints=[hint]))
                continue
            found = problems.attempt(lambda node=node, role=role, spec=spec: self._plan(role, spec, node))  # type: ignore[misc]
            plans |= found or {}
        return plans

    def _plan(self, role: str, spec: NetworkRole, node: Node) -> dict[str, NetworkPlan]:
        component = find_component(REGISTRIES[spec.kind], node)
        found = check_arguments(component, node, ("in_channels", "out_channels"))
        if self.dataset is None:
            raise ConfigError(found)
        parameters = parameters_of(component)
        plans = {}
        for letter, channels in spec.makes.items():
            supplied = {"in_channels": self._count(channels.inputs)}
            if channels.outputs:
                supplied["out_channels"] = self._count(channels.outputs)
            for name, count in supplied.items():
                given = node.get(name)
                if given is not None and given.value != count:
                    domains = " + ".join(channels.inputs if name == "in_channels" else channels.outputs)
                    message = f"{given.plain()}, but {letter} has {count} there: the channels of {domains} in the data"
                    found.append(node.problem(message, name, hints=["leave it out: it is taken from the data"]))
            defaults = {k: p.default for k, p in parameters.items() if p.default is not p.empty}
            given_arguments = {k: v for k, v in node.plain().items() if k != "type"}
            arguments = defaults | {k: v for k, v in supplied.items() if k in parameters} | given_arguments
            plans[letter] = NetworkPlan(role, spec.kind, node.plain()["type"], arguments, channels)
        if found:
            raise ConfigError(found)
        return plans

    def _count(self, domains: tuple[str, ...]) -> int:
        missing = [domain for domain in domains if domain not in self.channels]
        if missing:
            message = f"gives {', '.join(self.channels)}, but this pipeline needs {' and '.join(domains)}"
            raise ConfigError([self._dataset_node.problem(message, "type")])
        return sum(self.channels[domain] for domain in domains)

    def _check_shapes(self, problems: _Problems) -> dict[str, nn.Module]:
        """Builds every network without memory and passes an image without memory through it."""
        networks: dict[str, nn.Module] = {}
        self.shapes = {}
        for letter, plan in self.network_plans.items():
            node = self.root.find([plan.role])

            def construct(plan: NetworkPlan = plan, node: Node = node) -> nn.Module:
                return _build_on_meta(REGISTRIES[plan.kind].get(plan.type), plan, node)

            network = problems.attempt(construct)
            if network is not None:
                networks[letter] = network
                problems.attempt(lambda n=network, k=letter, p=plan, at=node: self._check_shape(n, k, p, at))  # type: ignore[misc]
        return networks

    def _check_step(self) -> None:
        """Takes the losses of every phase without memory: the parts must fit each other, too."""
        pipeline = self._pipeline(self.meta_networks)
        if self.image_size is None:
            return
        sizes = {domain: [2, count, *self.image_size] for domain, count in self.channels.items()}
        batch = {domain: torch.empty(size, device="meta") for domain, size in sizes.items()}
        try:
            shared = pipeline(batch, torch.Generator())
            for phase in pipeline.phases:
                pipeline.loss(phase.name, batch, shared, torch.Generator())
        except Exception as error:  # plugins may raise anything
            reason = " ".join(str(error).split())
            if "meta" in reason:  # it needs numbers, and training will have them
                return
            shown = ", ".join(f"{domain} {'x'.join(map(str, size))}" for domain, size in sizes.items())
            message = f"a training step on {shown} fails: {reason}"
            raise ConfigError([self.pipeline_node.problem(message)]) from error

    def _check_shape(self, network: nn.Module, letter: str, plan: NetworkPlan, node: Node) -> None:
        size = self.image_size
        if size is None:
            return
        height, width = size
        shown = f"images of {height}x{width}"
        x = torch.empty(1, self._count(plan.channels.inputs), height, width, device="meta")
        try:
            with torch.no_grad():
                y = fitted(network, x) if plan.channels.outputs else network(x)
        except Exception as error:  # a plugin's forward may raise anything
            reason = " ".join(str(error).split())
            raise ConfigError([node.problem(f"{letter} does not take {shown}: {reason}")]) from error
        if plan.channels.outputs:
            expected = [1, self._count(plan.channels.outputs), height, width]
            if not isinstance(y, torch.Tensor) or list(y.shape) != expected:
                got = list(y.shape) if isinstance(y, torch.Tensor) else type(y).__name__
                message = f"{letter} makes {got} of {shown}, expected {expected}"
                raise ConfigError([node.problem(message)])
        outputs = [y] if isinstance(y, torch.Tensor) else list(y)
        self.shapes[letter] = (list(x.shape), [list(output.shape) for output in outputs])


def _build_on_meta(component: Callable[..., Any], plan: NetworkPlan, node: Node) -> nn.Module:
    """Builds a network without memory; one that needs numbers while it is built is built on the CPU first."""
    supplied = {k: v for k, v in plan.arguments.items() if node.get(k) is None}
    try:
        with torch.device("meta"):
            return build(component, node, supplied)
    except ConfigError:
        raise
    except Exception:  # a plugin's constructor may raise anything
        try:
            return build(component, node, supplied).to("meta")
        except ConfigError:
            raise
        except Exception as error:
            raise ConfigError([node.problem(f"cannot be built: {type(error).__name__}: {error}")]) from error


def _load_plugins(root: Node) -> None:
    plugins = root.get("plugins")
    if plugins is None:
        return
    if not isinstance(plugins.value, list) or not all(isinstance(item.value, str) for item in plugins.value):
        raise ConfigError([plugins.problem("expected a list of Python files, relative to this YAML")])
    for item in plugins.value:
        try:
            load_plugin_file(item.value)
        except RegistryError as error:
            raise ConfigError([item.problem(error.message, hints=error.hints)]) from error


def _check_format(root: Node, problems: _Problems) -> None:
    found, name = root.get("format"), root.get("name")
    if found is not None and found.value != FORMAT:
        problems.append(found.problem(f"expected {FORMAT}, the format of this version, got {found.plain()!r}"))
    if name is not None and (not isinstance(name.value, str) or not name.value or Path(name.value).name != name.value):
        problems.append(name.problem(f"expected a name that can be a folder's, got {name.plain()!r}"))


def _settings(settings: Callable[..., Result], node: Node | None, root: Node, key: str) -> Result:
    node = node or Node({}, root.place, (key,))
    found = check_arguments(settings, node)
    if found:
        raise ConfigError(found)
    return build(settings, node)


def _schedule(node: Node | None) -> Schedule:
    if node is None:
        return Constant()
    component = find_component(SCHEDULES, node)
    found = check_arguments(component, node)
    if found:
        raise ConfigError(found)
    return build(component, node)


def _check_loss(node: Node, role: LossRole) -> None:
    component = find_component(LOSSES, node)
    family = "adversarial" if hasattr(component, "discriminator") else "pairwise"
    if family != role.family:
        wanted = "an adversarial loss" if role.family == "adversarial" else "a loss that compares two images"
        raise ConfigError([node.problem(f"{node.plain()['type']!r} is not {wanted}, which this role needs", "type")])
    found = check_arguments(component, node.without(["weight"]))
    weight = node.get("weight")
    if weight is not None and (not isinstance(weight.value, int | float) or isinstance(weight.value, bool)):
        found.append(node.problem(f"expected a number, got {weight.plain()!r}", "weight"))
    elif weight is not None and not 0 <= weight.value < float("inf"):
        found.append(node.problem(f"weight must be at least 0 and finite, got {weight.value}", "weight"))
    if found:
        raise ConfigError(found)
    build(component, node.without(["weight"]))


def _weight(node: Node) -> float:
    weight = node.get("weight")
    return float(weight.value) if weight is not None else 1.0

"""The one fixed order of assembly, used by every command that starts from a YAML.

Everything is checked before anything is built, and everything is built on the meta device, where tensors have shapes
but no memory, before the data set is touched.
"""

import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from i2i import checks
from i2i.build import build, check_arguments, find_component
from i2i.config import Node, load_config
from i2i.errors import ConfigError
from i2i.pipelines.base import Pipeline, WeightedLosses
from i2i.registry import LOSSES, PIPELINES
from i2i.trial import check_networks, try_step


class Experiment:
    """A checked configuration, ready to be built.

    Args:
        root: The document, as :func:`i2i.config.load_config` returns it.

    Attributes:
        root: The document.
        settings: Its ``trainer``.
        data: Its ``data``.
        schedule: Of the learning rate.
        pipeline_node: Its ``pipeline``.
        pipeline_class: The class of that name.
        loss_nodes: The losses of each role.
        optimizer_nodes: The optimizer of each network role.
        network_plans: The networks, by letter.
        meta_networks: The same, built without memory.
        shapes: Of their inputs and outputs, where the data set tells its images' size.

    Raises:
        ConfigError: Holds every problem found.
    """

    def __init__(self, root: Node) -> None:
        self.root = root
        checks.load_plugins(root)  # the rest may need what they register
        problems = checks.Problems()
        problems.attempt(checks.check_head, root)
        settings = problems.attempt(checks.trainer_settings, root)
        data = problems.attempt(checks.make_data, root)
        schedule = problems.attempt(checks.make_schedule, root)
        pipeline_class = problems.attempt(_pipeline_class, root)
        if pipeline_class is None:  # roles and losses mean nothing without it
            raise ConfigError(problems)
        self.pipeline_class = pipeline_class
        self.pipeline_node = root.find(["pipeline"])
        roles = dict(pipeline_class.networks)
        problems += check_arguments(pipeline_class, self.pipeline_node, ("networks", "losses"))
        problems.attempt(checks.check_keys, root, roles)
        loss_nodes = problems.attempt(checks.check_losses, root, pipeline_class.losses)
        optimizer_nodes = problems.attempt(checks.optimizer_nodes, root, roles)
        self.network_plans, self.meta_networks, self.shapes = check_networks(root, roles, data, problems)
        problems.stop_if_any()
        assert settings and data and schedule and loss_nodes is not None and optimizer_nodes is not None
        self.settings, self.data, self.schedule = settings, data, schedule
        self.loss_nodes, self.optimizer_nodes = loss_nodes, optimizer_nodes
        try_step(self._pipeline(self.meta_networks), self.pipeline_node, data)

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
    def dataset(self) -> Any:
        return self.data.dataset

    @property
    def directions(self) -> dict[str, str]:
        """What users ask for -> the pipeline's own direction; they differ where ``data.direction`` is ``b2a``."""
        own = list(self.pipeline_class.directions)
        if self.data.settings.direction == "a2b":
            return {direction: direction for direction in own}
        return {{"a2b": "b2a", "b2a": "a2b"}[direction]: direction for direction in own}

    @property
    def optimizer_roles(self) -> list[str]:
        return list(dict.fromkeys(phase.optimizer for phase in self.pipeline_class.phases))

    def build_optimizer(self, role: str, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        """Builds the optimizer of a network role; each group remembers its ``initial_lr`` for the schedule."""
        return checks.make_optimizer(self.optimizer_nodes[role], parameters)

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
            weights = [checks.weight_of(node) for node in nodes]
            if any(weights) or self.pipeline_class.losses[role].required:
                built = [build(find_component(LOSSES, node), node.without(["weight"])) for node in nodes]
                losses[role] = WeightedLosses(built, weights)
        pipeline: Pipeline = build(self.pipeline_class, self.pipeline_node, {"networks": networks, "losses": losses})
        return pipeline

    def dataset_problem(self, message: str, hints: Iterable[str] = ()) -> ConfigError:
        """Places what the data set has to say about its files at the YAML's ``data.root``."""
        path = ("root",) if self.data.node.get("root") else ()
        return ConfigError([self.data.node.problem(message, *path, hints=hints)])


def _pipeline_class(root: Node) -> type[Pipeline]:
    node = root.get("pipeline")
    if node is None:
        raise ConfigError([root.problem("needs 'pipeline'", hints=[f"pipelines: {', '.join(PIPELINES.names())}"])])
    found: Any = find_component(PIPELINES, node)
    return found

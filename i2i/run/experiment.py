"""The one fixed order of assembly, used by every command that starts from a YAML.

Everything is checked before anything is built, and everything is built on the meta device, where tensors have shapes
but no memory, before the data set is touched.
"""

import copy
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from i2i.core.config.build import build, check_arguments, find_component
from i2i.core.config.document import Node, load_config
from i2i.core.errors import CheckpointError, ConfigError, Problem, shortened
from i2i.core.meta import on_meta
from i2i.core.plugins import installed_version, owner_of
from i2i.core.registry import LOSSES, PIPELINES
from i2i.data.base import Dataset
from i2i.inference.bundle.bundle import BundleInfo, as_users_say, misfit, read_info, read_shapes, read_state
from i2i.inference.bundle.place import find_bundle
from i2i.pipelines.base import Direction, Phase, Pipeline, WeightedLosses
from i2i.run import checks
from i2i.run.declared import check_declared, check_trial, shape_problem, signature_problem
from i2i.run.held_out import check_trackers, check_validation
from i2i.run.trial import Trial, check_needs, check_networks, try_directions, try_step
from i2i.training import distributed
from i2i.training.timetable import Timetable


class Experiment:
    """A checked configuration, ready to be built.

    Args:
        root: The document, as :func:`i2i.core.config.document.load_config` returns it.

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
        phases: Of the pipeline as built.
        own_directions: Of the pipeline as built, by its own names.
        timetable: Which images a step sees.
        trial: What a step without memory has shown.
        init_from: The bundle that networks start from; ``None`` for none.
        held_out: The images and metrics of ``validation``; ``None`` for none.
        trackers: Name, class and node of each.

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
        if problem := signature_problem(pipeline_class, self.pipeline_node):
            raise ConfigError([problem])  # all else would be a consequence
        roles = dict(pipeline_class.networks)
        problems += check_arguments(pipeline_class, self.pipeline_node, ("networks", "losses"))
        problems.attempt(checks.check_keys, root, roles, any(role.required for role in pipeline_class.losses.values()))
        loss_nodes = problems.attempt(checks.check_losses, root, pipeline_class.losses)
        optimizer_nodes = problems.attempt(checks.optimizer_nodes, root, roles)
        self.held_out = problems.attempt(check_validation, root, data)
        trackers = problems.attempt(check_trackers, root)
        self.init_from = problems.attempt(_init_from, root)
        self.network_plans, self.meta_networks = check_networks(root, roles, data, problems)
        if loss_nodes is not None:
            declared = pipeline_class.losses
            problems.attempt(check_needs, declared, loss_nodes, self.network_plans, self.meta_networks)
        problems.extend(self._frozen_problems())
        problems.extend(self._misfits())
        if data is not None and loss_nodes is not None:
            problems.extend(self._conflicts(data, loss_nodes))
        problems.stop_if_any()
        assert trackers is not None
        self.trackers = trackers
        assert settings and data and schedule and loss_nodes is not None and optimizer_nodes is not None
        self.settings, self.data, self.schedule = settings, data, schedule
        self.loss_nodes, self.optimizer_nodes = loss_nodes, optimizer_nodes
        pipeline = self.build_empty_pipeline(copied=False)
        self.phases: tuple[Phase, ...] = pipeline.active_phases
        self.own_directions: dict[str, Direction] = dict(pipeline.directions)
        self.timetable: Timetable = check_declared(root, pipeline, data, settings)
        smallest = min(stage.batch_size for stage in self.timetable.stages)
        count = smallest // (settings.accumulate * distributed.world_size())  # more processes than images: said later
        self.trial: Trial = try_step(pipeline, self.pipeline_node, data, max(count, 1))
        try_directions(pipeline, self.pipeline_node, data, self.reads_labels)
        self.notes = check_trial(root, pipeline, self.trial, data, loss_nodes)

    @classmethod
    def load(cls, config: str | Path | Mapping[str, Any], overrides: Sequence[str] = ()) -> "Experiment":
        """Reads and checks a YAML, or what would stand in one; ``name`` defaults to the file's."""
        root = load_config(config, overrides)
        if root.get("name") is None and not isinstance(config, Mapping):
            name = Node(Path(config).stem, root.place, ("name",))
            root = Node({"name": name, **root.value}, root.place)
        return cls(root)

    def _frozen_problems(self) -> Iterator[Problem]:
        for plan in {plan.role: plan for plan in self.network_plans.values()}.values():
            letters = [letter for letter, own in self.network_plans.items() if own.role == plan.role]
            if plan.frozen and plan.weights is None and not set(letters) <= set(self.started_letters):
                hints = [f"{plan.role}: {{bundle: PATH, frozen: true}}", "or init_from: PATH for all networks"]
                yield self.root.problem("a frozen network needs trained weights", plan.role, "frozen", hints=hints)
        planned = {plan.role for plan in self.network_plans.values()}
        if planned == set(self.pipeline_class.networks) and all(plan.frozen for plan in self.network_plans.values()):
            yield self.root.problem("all networks are frozen, so there is nothing to train")

    def _conflicts(self, data: checks.Data, loss_nodes: Mapping[str, list[Node]]) -> Iterator[Problem]:
        """What is right by itself and wrong together."""
        networks = [channels for role in self.pipeline_class.networks.values() for channels in role.makes.values()]
        if not {domain for one in networks for domain in (*one.inputs, *one.outputs)} <= data.channels.keys():
            return  # which is told where the channels are counted
        used = [role for role, nodes in loss_nodes.items() if any(map(checks.weight_of, nodes))]
        for path, message in self.pipeline_class.conflicts(data.channels, used):
            yield self.root.problem(message, *path)
        # A data set of a plugin that does not tell is taken at its word.
        if self.pipeline_class.learns_pairs and data.dataset.is_paired is False:
            name = self.pipeline_node.plain()["type"]
            hints = ["pairs: type: paired or labels, or paired: true", "images that do not belong together: a cyclegan"]
            yield data.node.problem(f"{name} learns from pairs, and this data set gives unrelated images", hints=hints)

    def _misfits(self) -> Iterator[Problem]:
        """Networks that are to start from a bundle, and cannot hold its weights."""
        for letter, network in self.meta_networks.items():
            weights = self._source_of(letter)
            if weights is None:
                continue
            path, source = weights
            place = ("init_from",) if path == self.init_from else (self.network_plans[letter].role, "bundle")
            here = {name: list(value.shape) for name, value in network.state_dict().items()}
            try:
                there = read_shapes(path, source)
            except CheckpointError as error:
                yield self.root.problem(error.message, *place, hints=error.hints)
                continue
            odd = [name for name in {**there, **here} if here.get(name) != there.get(name)]
            if odd:
                spec = read_info(path).networks[source]
                differing = f"{len(odd)} of {len(there)} tensors differ, {shortened(odd[0])} first"
                message = f"the weights of {letter} do not fit: {differing}"
                hint = shortened(f"there it is {spec['type']}: {spec['arguments']}", 500)
                yield self.root.problem(message, *place, hints=[hint])

    def _source_of(self, letter: str) -> tuple[Path, str] | None:
        """Returns the bundle that a network's weights come from, and the letter that they have there."""
        weights = self.network_plans[letter].weights
        if weights is None and self.init_from is not None and letter in self.started_letters:
            weights = (self.init_from, letter)
        return weights

    @property
    def name(self) -> str:
        name = self.root.get("name")
        return str(name.value) if name else "experiment"

    @property
    def dataset(self) -> Dataset:
        return self.data.dataset

    @property
    def directions(self) -> dict[str, str]:
        """The names that users give -> the pipeline's own; they differ where ``data.direction`` is ``b2a``."""
        told = as_users_say(self.own_directions, self.data.settings.direction == "b2a")
        return {name: direction.own for name, direction in told.items()}

    @property
    def optimizer_roles(self) -> list[str]:
        return list(dict.fromkeys(phase.optimizer for phase in self.phases))

    def build_optimizer(self, role: str, parameters: list[nn.Parameter], fused: bool = False) -> torch.optim.Optimizer:
        """Builds the optimizer of a network role; see :func:`i2i.run.checks.make_optimizer`."""
        return checks.make_optimizer(self.optimizer_nodes[role], parameters, fused)

    def resolved(self) -> dict[str, Any]:
        """Returns the whole document as plain data, with absolute paths."""
        data = self.root.plain()
        held_out = (data.get("validation") or {}).get("data", {})
        places = [(holder, key) for holder in (data["data"], held_out) for key in ("root", "store")]
        places += [(data, "init_from")]
        places += [(data[role], "bundle") for role in self.pipeline_class.networks if role in data]
        losses = [
            loss for role in data.get("losses", {}).values() for loss in (role if isinstance(role, list) else [role])
        ]
        places += [(loss, "weights") for loss in losses if Path(str(loss.get("weights"))).expanduser().is_file()]
        for holder, key in places:
            if isinstance(holder.get(key), str) and "://" not in holder[key]:
                holder[key] = str(Path(holder[key]).expanduser().resolve())
        return data

    @cached_property
    def started_letters(self) -> list[str]:
        """The networks that start from ``init_from``; one with a bundle of its own starts from that."""
        if self.init_from is None:
            return []
        held = read_info(self.init_from).networks
        return [letter for letter, plan in self.network_plans.items() if plan.weights is None and letter in held]

    def build_pipeline(self) -> Pipeline:
        """Builds networks, losses and pipeline on the CPU.

        New weights depend on the seed and each network's letter; those of a bundle, or of ``init_from``, are loaded.

        Raises:
            CheckpointError: A bundle's weights do not fit.
        """
        networks = {}
        for letter, plan in self.network_plans.items():
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(self.settings.seed * 1_000_003 + zlib.crc32(letter.encode()))
                networks[letter] = plan.build()
            source = self._source_of(letter)
            if source is not None:
                try:
                    networks[letter].load_state_dict(read_state(*source))
                except Exception as error:  # load_state_dict of a plugin may raise anything
                    raise misfit(source[0], error) from error
        return self._frozen(self._pipeline(networks))

    def build_empty_pipeline(self, copied: bool = True) -> Pipeline:
        """As :meth:`build_pipeline` on the meta device, which takes no memory; no weights are loaded."""
        networks = copy.deepcopy(self.meta_networks) if copied else self.meta_networks
        return self._frozen(self._pipeline(networks, meta=True)).to("meta")  # its own buffers, too

    def _frozen(self, pipeline: Pipeline) -> Pipeline:
        pipeline.frozen = frozenset(letter for letter, plan in self.network_plans.items() if plan.frozen)
        return pipeline

    def bundle_info(self, pipeline: Pipeline, step: int, metrics: Mapping[str, float] | None = None) -> BundleInfo:
        """Describes the bundle of this experiment's pipeline: the networks of its directions, and how to use them."""
        letters = set(pipeline.used)
        networks = {
            letter: {
                "kind": plan.kind,
                "type": plan.type,
                "arguments": plan.arguments,
                "owner": plan.owner(),
                "nested": plan.nested(),
            }
            for letter, plan in self.network_plans.items()
            if letter in letters
        }
        config = self.resolved()
        return BundleInfo(
            name=self.name,
            step=step,
            pipeline=config["pipeline"],
            pipeline_owner=owner_of("pipeline", config["pipeline"]["type"]),
            networks=networks,
            directions=as_users_say(pipeline.directions, self.data.settings.direction == "b2a"),
            channels=dict(self.dataset.channels),
            domains={domain: codec.describe() for domain, codec in self.dataset.codecs.items()},
            classes=list(self.dataset.class_names) if self.reads_labels else [],
            attributes=list(self.dataset.attributes) if self.reads_labels else [],
            norm_policy=pipeline.norm_policy,
            dropout_policy=pipeline.dropout_policy,
            size=list(self.data.size) if self.data.size else None,
            seed=self.settings.seed,
            config=config,
            metrics=dict(metrics or {}),
            versions={"i2i": installed_version("i2i") or "unknown", "torch": torch.__version__},
        )

    @property
    def reads_labels(self) -> bool:
        """Whether the pipeline reads the labels of the data, as far as that is known."""
        return not self.trial.is_whole or "label" in self.trial.keys

    def _pipeline(self, networks: Mapping[str, nn.Module], meta: bool = False) -> Pipeline:
        losses = {}
        for role, nodes in self.loss_nodes.items():
            weights = [checks.weight_of(node) for node in nodes]
            if any(weights) or self.pipeline_class.losses[role].required:
                makers = [partial(build, find_component(LOSSES, node), node.without(["weight"])) for node in nodes]
                losses[role] = WeightedLosses([on_meta(make) if meta else make() for make in makers], weights)
        pipeline: Pipeline = build(self.pipeline_class, self.pipeline_node, {"networks": networks, "losses": losses})
        if problem := shape_problem(pipeline, self.pipeline_node):
            raise ConfigError([problem])
        return pipeline

    def dataset_problem(self, message: str, hints: Iterable[str] = ()) -> ConfigError:
        """Places what the data set has to say about its files at the YAML's ``data.root``."""
        path = ("root",) if self.data.node.get("root") else ()
        return ConfigError([self.data.node.problem(message, *path, hints=hints)])


def _init_from(root: Node) -> Path | None:
    node = root.get("init_from")
    if node is None:
        return None
    if not isinstance(node.value, str):
        raise ConfigError([node.problem("expected the path of a bundle or a run folder")])
    try:
        path = find_bundle(Path(node.value).expanduser()).absolute()
        read_info(path)
    except CheckpointError as error:
        raise ConfigError([node.problem(error.message, hints=error.hints)]) from error
    return path


def _pipeline_class(root: Node) -> type[Pipeline]:
    node = root.get("pipeline")
    if node is None:
        raise ConfigError([root.problem("needs 'pipeline'", hints=[f"pipelines: {', '.join(PIPELINES.names())}"])])
    found: Any = find_component(PIPELINES, node)
    return found

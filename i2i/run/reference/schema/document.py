"""The JSON schema of the YAML, for editors: completion, hover texts and red underlines while one writes.

Generated from the registries and the constructors' signatures, so it knows what this installation knows. Draft 7, which
editors' YAML extensions read in full. A schema sees one file: it knows keys, types and choices, but neither ranges nor
what an ``extends`` brings in. So a document that extends another may leave out what it likes; the rest is for the
loader to tell.
"""

from collections.abc import Callable, Collection
from typing import Any

from i2i.core.registry import DATASETS, LOSSES, METRICS, OPTIMIZERS, PIPELINES, SCHEDULES, TRACKERS
from i2i.pipelines.base import family_of
from i2i.run.checks import FORMAT, FRAMEWORK_KEYS
from i2i.run.reference.documentation import arguments_of
from i2i.run.reference.schema.arguments import Schema, either, is_type, mapping, one_of, properties, reference
from i2i.run.reference.schema.nodes import FROZEN, Nodes, mode
from i2i.training.settings import TrainerSettings, ValidationSettings

DRAFT = "http://json-schema.org/draft-07/schema#"
KEYS: dict[str, Schema] = {
    "format": {"const": FORMAT, "description": "Version of the format; optional."},
    "name": {
        "type": "string",
        "pattern": r"^(?!\.{0,2}$)[^/]+$",
        "description": "Of the run folder; default: the file's.",
    },
    "extends": {"type": "string", "description": "Another YAML, relative to this one, that this one is laid over."},
    "plugins": {
        "type": "array",
        "items": {"type": "string"},
        "description": "Local Python files, relative to this YAML, whose decorators register components.",
    },
    "init_from": {"type": "string", "description": "A bundle or run folder whose weights all networks start from."},
    "pipeline": {"description": "The objective: which networks and losses there are, and in which order they train."},
    "losses": {"description": "Role -> the loss that plays it, or a list of losses.", "type": "object"},
    "data": {"description": "The data set."},
    "optimizer": {"description": "One of torch's; a network's key inside it overrides others for that network."},
    "schedule": {"description": "Of the learning rate; constant where there is none."},
    "trainer": {"description": "Length of the run and all that is mechanical."},
    "validation": {"description": "Metrics on held-out images, and which of them chooses the best state."},
    "trackers": {"description": "A list of what else is told each log entry."},
}
REQUIRED_KEYS = ("pipeline", "data", "trainer")  # and losses, where the pipeline needs one


def config_schema(plugins: bool = True, warn: Callable[[str], None] = lambda line: None) -> Schema:
    """Returns the schema of a configuration.

    Args:
        plugins: Whether to include what installed plugins and plugin files bring besides this package's components.
        warn: Told of components that cannot be imported, and so accept any argument.
    """
    return _Document(Nodes(plugins, warn)).schema()


class _Document:
    """Puts the parts of a document together."""

    def __init__(self, nodes: Nodes) -> None:
        self.nodes = nodes

    def schema(self) -> Schema:
        for partial in (False, True):
            self.nodes.definitions[mode(partial)] = self.experiment(partial)
        return {
            "$schema": DRAFT,
            "title": "i2i experiment",
            "description": "An image-to-image experiment: python tools/train.py THIS.yaml",
            "type": "object",
            "properties": KEYS,
            "if": {"required": ["extends"]},
            "then": reference(mode(True)),
            "else": reference(mode(False)),
            "definitions": dict(sorted(self.nodes.definitions.items())),
        }

    def experiment(self, partial: bool) -> Schema:
        """A whole document, or one that extends another."""
        common: Schema = {
            "pipeline": self.nodes.node(PIPELINES.kind, partial),
            "data": self.nodes.node(DATASETS.kind, partial),
            "optimizer": self.optimizer(partial),
            "schedule": self.nodes.node(SCHEDULES.kind, partial),
            "trainer": self.trainer(partial),
            "validation": self.validation(),
            "trackers": {"type": "array", "items": self.nodes.node(TRACKERS.kind, False)},
        }
        branches = [
            {
                "if": {"properties": {"pipeline": is_type(name)}, "required": ["pipeline"]},
                "then": self.with_pipeline([pipeline], partial),
            }
            for name, pipeline in self.nodes.pipelines.items()
        ]
        if partial:
            unknown = {"not": {"properties": {"pipeline": {"required": ["type"]}}, "required": ["pipeline"]}}
            branches.append({"if": unknown, "then": self.with_pipeline(list(self.nodes.pipelines.values()), partial)})
        schema: Schema = {"properties": common, "allOf": branches}
        return schema if partial else schema | {"required": list(REQUIRED_KEYS)}

    def with_pipeline(self, pipelines: Collection[Any], partial: bool) -> Schema:
        """The keys that depend on the pipeline; of several pipelines, the keys of all."""
        networks = {role: spec for pipeline in pipelines for role, spec in pipeline.networks.items()}
        losses = {role: spec for pipeline in pipelines for role, spec in pipeline.losses.items()}
        keys: dict[str, Schema] = {key: {} for key in ("extends", *FRAMEWORK_KEYS)}
        keys |= {role: self.network(spec.kind, partial) for role, spec in networks.items()}
        keys["losses"] = mapping({role: self.losses(spec.families, partial) for role, spec in losses.items()})
        foreign = sorted(self.nodes.roles.keys() - networks)
        if foreign:
            keys["optimizer"] = {"propertyNames": {"not": {"enum": foreign}}}
        if not partial:
            keys["losses"]["required"] = [role for role, spec in losses.items() if spec.required]
        schema = mapping(keys)
        if partial:
            return schema
        needed = [role for role, spec in networks.items() if spec.required]
        return schema | {"required": needed + ["losses"] * any(spec.required for spec in losses.values())}

    def network(self, kind: str, partial: bool) -> Schema:
        """A network role: a new network, or one that was trained before."""
        bundle = {"type": "string", "description": "A bundle or a run folder."}
        letter = {"type": "string", "description": "The network of the bundle, where its letter is not the role's own."}
        trained = mapping({"bundle": bundle, "network": letter, "frozen": FROZEN})
        is_trained = {"type": "object", "required": ["bundle"]}
        return {"if": is_trained, "then": trained, "else": self.nodes.node(kind, partial)}

    def losses(self, families: Collection[str], partial: bool) -> Schema:
        """A role of ``losses``: one loss or a list. A list replaces what it extends, so its items are whole."""
        names = [
            name
            for name, loss in self.nodes.components[LOSSES.kind].items()
            if loss is None or family_of(loss) in families
        ]
        family = "_".join(families)
        return {
            "if": {"type": "array"},
            "then": {"items": self.nodes.node(LOSSES.kind, False, names, f".{family}"), "minItems": 1},
            "else": self.nodes.node(LOSSES.kind, partial, names, f".{family}"),
        }

    def optimizer(self, partial: bool) -> Schema:
        """An optimizer whose node may hold those of single networks."""
        components = self.nodes.components[OPTIMIZERS.kind]
        inner = either([properties(arguments_of(component)) for component in components.values()])
        self.nodes.definitions["optimizer.role"] = mapping({"type": one_of(components), **inner})
        schema = self.nodes.node(
            OPTIMIZERS.kind, True
        )  # where each network names its own, there need not be a common one
        if partial or not self.nodes.roles:
            return schema
        return {"allOf": [schema], "anyOf": [{"required": [key]} for key in ("type", *sorted(self.nodes.roles))]}

    def trainer(self, partial: bool) -> Schema:
        self.nodes.definitions["trainer"] = mapping(properties(arguments_of(TrainerSettings)))
        schema = reference("trainer")
        lengths = [{"required": [key]} for key in ("steps", "images", "epochs")]
        return schema if partial else {"allOf": [schema], "anyOf": lengths}

    def validation(self) -> Schema:
        """Its ``data`` is laid over the document's own, so it may leave out what it likes."""
        names = one_of(self.nodes.components[METRICS.kind])
        metric = {"if": {"type": "string"}, "then": names, "else": self.nodes.node(METRICS.kind, False)}
        return mapping(
            {
                "split": {"type": "string", "default": "val", "description": "The data set's split to measure on."},
                "data": self.nodes.node(DATASETS.kind, True),
                "metrics": {"if": {"type": "array"}, "then": {"items": metric, "minItems": 1}, "else": metric},
                **properties(arguments_of(ValidationSettings)),
            }
        )

"""Schemas of nodes, ``{type: NAME, **arguments}``: one definition for each component, and one for each kind."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from i2i.core.config.build import nested_kind
from i2i.core.errors import RegistryError
from i2i.core.registry import DATASETS, LOSSES, OPTIMIZERS, PIPELINES, REGISTRIES
from i2i.run.checks import DATA_KEYS
from i2i.run.reference.documentation import arguments_of, entries_of, summary_of
from i2i.run.reference.schema.arguments import Schema, either, is_type, mapping, one_of, properties, reference
from i2i.training.settings import DataSettings

WEIGHT: Schema = {"type": "number", "minimum": 0, "default": 1, "description": "The loss's weight in its role."}
FROZEN: Schema = {"type": "boolean", "default": False, "description": "Whether the network stays as it is."}


def mode(partial: bool) -> str:
    return "partial" if partial else "whole"


class Nodes:
    """Collects the definitions of nodes while they are asked for.

    Args:
        plugins: Whether to include what installed plugins and plugin files bring.
        warn: Told of components that cannot be imported, and so accept any argument.

    Attributes:
        definitions: What the schemas refer to.
        components: Kind -> name -> the component; ``None`` for one that cannot be imported.
        taken: Kind -> arguments that pipelines pass to networks of the kind.
    """

    def __init__(self, plugins: bool, warn: Callable[[str], None]) -> None:
        self.definitions: dict[str, Schema] = {}
        self.components: dict[str, dict[str, Any]] = {}
        for kind, registry in REGISTRIES.items():
            self.components[kind] = {}
            for name in entries_of(registry, plugins):
                try:
                    self.components[kind][name] = registry.get(name)
                except RegistryError as error:
                    warn(error.message)
                    self.components[kind][name] = None
        self.taken: dict[str, set[str]] = {}
        for pipeline in self.pipelines.values():
            for spec in pipeline.networks.values():
                self.taken.setdefault(spec.kind, set()).update(spec.takes)
        self.roles = {
            role: spec.kind for pipeline in self.pipelines.values() for role, spec in pipeline.networks.items()
        }

    @property
    def pipelines(self) -> dict[str, Any]:
        return {name: found for name, found in self.components[PIPELINES.kind].items() if found is not None}

    def node(self, kind: str, partial: bool, names: Iterable[str] | None = None, suffix: str = "") -> Schema:
        """``{type: NAME, **arguments}``; a partial one may leave out the type, and arguments that have no default."""
        key = f"{mode(partial)}.{kind}{suffix}"
        if key not in self.definitions:
            self.definitions[key] = {}  # taken: a component of the kind may hold another of the kind
            chosen = {name: self.components[kind][name] for name in names or self.components[kind]}
            branches = [{"if": is_type(name), "then": self.component(kind, name, partial)} for name in chosen]
            schema: Schema = {"title": kind, "type": "object", "properties": {"type": one_of(chosen)}}
            if partial:
                branches.append({"if": {"not": {"required": ["type"]}}, "then": self.any_of(kind, chosen)})
            else:
                schema["required"] = ["type"]
            self.definitions[key] = schema | ({"allOf": branches} if branches else {})  # an empty list is no schema
        return reference(key)

    def component(self, kind: str, name: str, partial: bool) -> Schema:
        """The arguments of one component."""
        component = self.components[kind][name]
        if component is None:
            return {}
        arguments = arguments_of(component)
        has_nested = any(nested_kind(argument.annotation) for argument in arguments)
        key = f"{mode(partial)}.{kind}.{name}" if has_nested else f"{kind}.{name}"
        self.definitions[key] = mapping(
            {"type": {"const": name}, **self.arguments(kind, component, partial)}, description=summary_of(component)
        )
        needed = [argument.name for argument in arguments if argument.is_required]
        required = [] if partial else [name for name in needed if name not in self.taken.get(kind, ())]
        return {"allOf": [reference(key)], "required": required} if required else reference(key)

    def any_of(self, kind: str, components: Mapping[str, Any]) -> Schema:
        """The arguments of all components of a kind, for a node whose type stands in the document it extends."""
        if None in components.values():
            return {}
        return mapping(either([self.arguments(kind, component, True) for component in components.values()]))

    def arguments(self, kind: str, component: Any, partial: bool) -> dict[str, Schema]:
        """A component's own arguments and those that the framework adds to its kind."""
        arguments = arguments_of(component)
        schemas = properties(arguments)
        for argument in arguments:
            nested = nested_kind(argument.annotation)
            if nested is not None:
                node: Schema = {"allOf": [self.node(nested, partial)], "propertyNames": {"not": {"const": "frozen"}}}
                schemas[argument.name] |= {"if": {"type": "null"}, "else": node} if argument.default is None else node
        if kind in self.roles.values():
            schemas["frozen"] = FROZEN
        if kind == LOSSES.kind:
            schemas["weight"] = WEIGHT
        elif kind == DATASETS.kind:
            settings = properties(arguments_of(DataSettings))
            schemas |= {key: settings[key] for key in DATA_KEYS}
        elif kind == OPTIMIZERS.kind:
            schemas |= {role: reference("optimizer.role") for role in sorted(self.roles)}
        return schemas

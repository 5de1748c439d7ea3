"""Checks a node against a constructor's signature, and builds the object.

A node is ``{type: registered_name, **constructor arguments}``. Its keys are compared with the constructor's signature
and its values with the annotations before anything is built, so that all problems of a document are shown at once.
"""

import inspect
import json
import types
import typing
from collections.abc import Callable, Collection, Mapping
from typing import Any, Literal

from i2i.config import Node
from i2i.errors import ArgumentError, ArgumentErrors, ConfigError, Problem, RegistryError
from i2i.registry import Registry, did_you_mean

FRAMEWORK_ARGUMENTS = ("networks", "losses", "params")  # of pipelines and optimizers; no YAML sets them
_WORDS = {int: "an integer", float: "a number", bool: "true or false", str: "text", type(None): "null"}


def type_name(node: Node, kind: str) -> str:
    """Returns the registered name that a node asks for.

    Raises:
        ConfigError: The node is no mapping, or has no ``type``.
    """
    if not node.is_mapping:
        raise ConfigError([node.problem(f"expected a {kind} such as {{type: NAME}}, got {_shown(node.plain())}")])
    name = node.get("type")
    if name is None:
        raise ConfigError([node.problem(f"the {kind} has no 'type'")])
    if not isinstance(name.value, str):
        raise ConfigError([name.problem(f"expected the name of a {kind}, got {_shown(name.plain())}")])
    return name.value


def find_component(registry: Registry, node: Node) -> Callable[..., Any]:
    """Imports the component that a node asks for.

    Raises:
        ConfigError: The node has no usable type.
    """
    name = type_name(node, registry.kind)
    try:
        return registry.get(name)
    except RegistryError as error:
        raise ConfigError([node.problem(error.message, "type", hints=error.hints)]) from error


def check_arguments(component: Callable[..., Any], node: Node, supplied: Collection[str] = ()) -> list[Problem]:
    """Compares a node's keys and values with a constructor's signature, without calling it.

    Args:
        component: The class or function.
        node: A mapping; its ``type`` is ignored.
        supplied: Arguments that the framework passes itself; the node may still set those that the constructor names.

    Returns:
        One problem for each unknown key, missing argument and value of the wrong type.
    """
    if not node.is_mapping:
        return [node.problem(f"expected a mapping, got {_shown(node.plain())}")]
    parameters = parameters_of(component)
    given = {key: child for key, child in node.items() if key != "type"}
    problems = []
    for key, child in given.items():
        if key in parameters:
            problems += check_value(parameters[key].annotation, child)
        else:
            names = [name for name in parameters if name not in FRAMEWORK_ARGUMENTS]
            hints = [f"known here: {', '.join(names) or 'no key but type'}"]
            problems.append(child.problem(f"unknown key{did_you_mean(key, names)}", hints=hints))
    for name, parameter in parameters.items():
        if parameter.default is parameter.empty and name not in given and name not in supplied:
            problems.append(node.problem(f"needs {name!r}"))
    return problems


def parameters_of(component: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """Returns the arguments that a node may set, annotations resolved."""
    try:
        hints = typing.get_type_hints(component.__init__ if inspect.isclass(component) else component)
    except Exception:  # a plugin's annotations may name what exists only for its type checker
        hints = {}
    return {
        name: parameter.replace(annotation=hints.get(name, parameter.annotation))
        for name, parameter in inspect.signature(component).parameters.items()
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
    }


def check_value(annotation: Any, node: Node) -> list[Problem]:
    """Compares a value with an annotation; annotations that are no plain data are not checked."""
    # Imported here: pydantic takes 0.1 s, and --help and listings need none of it.
    from pydantic import TypeAdapter, ValidationError
    from pydantic.errors import PydanticSchemaGenerationError, PydanticUserError

    annotation = _without_tensors(annotation)
    if annotation is inspect.Parameter.empty or annotation is Any:
        return []
    try:
        adapter = TypeAdapter(annotation)
    except (PydanticSchemaGenerationError, PydanticUserError):
        return []
    value = node.plain()
    try:
        # JSON's strict mode is YAML's: a list may become a tuple, an integer a float, and nothing else changes.
        adapter.validate_json(json.dumps(value), strict=True)
    except (ValidationError, TypeError):
        near = did_you_mean(value, _choices(annotation)) if isinstance(value, str) else ""
        return [node.problem(f"expected {describe(annotation)}, got {_shown(value)}{near}")]
    return []


def _without_tensors(annotation: Any) -> Any:
    """Drops from unions what no YAML can hold: torch's optimizers say ``float | Tensor`` for a learning rate."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        plain = tuple(argument for argument in arguments if getattr(argument, "__name__", "") != "Tensor")
        return typing.Union[plain]  # noqa: UP007 (built at run time)
    if origin is tuple:
        return tuple[tuple(map(_without_tensors, arguments))]  # type: ignore[misc]
    return annotation


def describe(annotation: Any) -> str:
    """Puts an annotation into words: ``int | None`` is "an integer or null"."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation in _WORDS:
        return _WORDS[annotation]
    if origin is Literal:
        return ("one of " if len(arguments) > 1 else "") + ", ".join(map(repr, arguments))
    if origin in (typing.Union, types.UnionType):
        return " or ".join(map(describe, arguments))
    if origin is tuple and Ellipsis not in arguments:
        return f"a list of {len(arguments)}: {', '.join(map(describe, arguments))}"
    if origin in (list, tuple):
        return f"a list of which each item is {describe(arguments[0])}"
    if origin is dict or annotation is dict:
        return "a mapping"
    return getattr(annotation, "__name__", str(annotation)).replace("typing.", "")


def _choices(annotation: Any) -> list[str]:
    if typing.get_origin(annotation) is Literal:
        return [str(choice) for choice in typing.get_args(annotation)]
    return [choice for argument in typing.get_args(annotation) for choice in _choices(argument)]


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else text[:57] + "..."


def build(component: Callable[..., Any], node: Node, supplied: Mapping[str, Any] | None = None) -> Any:
    """Calls a constructor with a node's arguments and those that the framework supplies.

    Args:
        component: The class.
        node: A mapping that passed :func:`check_arguments`; its ``type`` is ignored.
        supplied: Passed where the constructor names them and the node does not.

    Raises:
        ConfigError: The constructor refused an argument with a ``ValueError``.
    """
    parameters = parameters_of(component)
    arguments = {key: value for key, value in (supplied or {}).items() if key in parameters}
    arguments |= {key: value for key, value in node.plain().items() if key != "type"}
    try:
        return component(**arguments)
    except ArgumentError as error:
        raise ConfigError([node.problem(str(error), *error.path)]) from error
    except ArgumentErrors as error:
        raise ConfigError([node.problem(str(one), *one.path) for one in error.errors]) from error
    except ValueError as error:
        # By convention the message begins with the argument's name.
        named = str(error).partition(" ")[0].rstrip(":,")
        path = (named,) if named in arguments else ()
        raise ConfigError([node.problem(str(error), *path)]) from error


def make(registry: Registry, node: Node, supplied: Mapping[str, Any] | None = None) -> Any:
    """Finds a node's component, checks the node against its signature, and builds it.

    Args:
        registry: Of the component's kind.
        node: ``{type: name, **arguments}``.
        supplied: As for :func:`build`.

    Raises:
        ConfigError: Holds every problem found.
    """
    return check_and_build(find_component(registry, node), node, supplied)


def check_and_build(component: Callable[..., Any], node: Node, supplied: Mapping[str, Any] | None = None) -> Any:
    """As :func:`make`, for a component at hand."""
    problems = check_arguments(component, node, supplied or ())
    if problems:
        raise ConfigError(problems)
    try:
        return build(component, node, supplied)
    except ConfigError:
        raise
    except Exception as error:  # constructors of others may raise anything
        raise ConfigError([node.problem(f"cannot be built: {type(error).__name__}: {error}")]) from error

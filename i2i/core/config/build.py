"""Checks a node against a constructor's signature, and builds the object.

A node is ``{type: registered_name, **constructor arguments}``. Its keys are compared with the constructor's signature
and its values with the annotations before anything is built, so that all problems of a document are shown at once.
An argument annotated with :class:`~i2i.core.registry.Nested` is a node itself: checked as any other, and handed to the
constructor as a function that builds it.
"""

import inspect
import json
import types
import typing
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from i2i.core.config.document import Node
from i2i.core.errors import ArgumentError, ArgumentErrors, ConfigError, I2IError, Problem, RegistryError, shortened
from i2i.core.registry import REGISTRIES, Nested, Registry, did_you_mean

if TYPE_CHECKING:
    from pydantic import TypeAdapter

FRAMEWORK_ARGUMENTS = ("networks", "losses", "params")  # of pipelines and optimizers; no YAML sets them
CHANNELS = ("in_channels", "out_channels")  # of nested components: the constructor around them passes these
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
            problems += _check_argument(parameters[key], child)
        else:
            names = [name for name in parameters if name not in FRAMEWORK_ARGUMENTS]
            hints = [f"known here: {', '.join(names) or 'no key but type'}"]
            problems.append(child.problem(f"unknown key{did_you_mean(key, names)}", hints=hints))
    for name, parameter in parameters.items():
        if parameter.default is parameter.empty and name not in given and name not in supplied:
            problems.append(node.problem(f"needs {name!r}"))
    return problems


def _check_argument(parameter: inspect.Parameter, node: Node) -> list[Problem]:
    kind = nested_kind(parameter.annotation)
    if kind is None:
        return check_value(parameter.annotation, node)
    if node.value is None and parameter.default is None:
        return []
    try:
        return check_arguments(find_component(REGISTRIES[kind], node), node, CHANNELS)
    except ConfigError as error:
        return list(error.problems)


def nested_kind(annotation: Any) -> str | None:
    """Returns the kind of component that an argument holds, or ``None`` where it holds plain data."""
    marks = [mark for mark in getattr(annotation, "__metadata__", ()) if isinstance(mark, Nested)]
    return marks[0].kind if marks else None


def parameters_of(component: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """Returns the arguments that a node may set, annotations resolved."""
    constructor = component.__init__ if inspect.isclass(component) else component
    try:
        hints = typing.get_type_hints(constructor)
        marked = typing.get_type_hints(constructor, include_extras=True)
    except Exception:  # a plugin's annotations may name what exists only for its type checker
        hints = marked = {}
    hints |= {name: hint for name, hint in marked.items() if nested_kind(hint)}
    return {
        name: parameter.replace(annotation=hints.get(name, parameter.annotation))
        for name, parameter in inspect.signature(component).parameters.items()
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
    }


def adapter_of(annotation: Any) -> "TypeAdapter[Any] | None":
    """Returns pydantic's view of an annotation, or ``None`` for one that is no plain data."""
    # Imported here: pydantic takes 0.1 s, and --help and listings need none of it.
    from pydantic import TypeAdapter
    from pydantic.errors import PydanticSchemaGenerationError, PydanticUserError

    annotation = without_tensors(annotation)
    if annotation is inspect.Parameter.empty or annotation is Any:
        return None
    try:
        return TypeAdapter(annotation)
    except (PydanticSchemaGenerationError, PydanticUserError):
        return None


def check_value(annotation: Any, node: Node) -> list[Problem]:
    """Compares a value with an annotation; annotations that are no plain data are not checked."""
    adapter = adapter_of(annotation)
    if adapter is None:
        return []
    from pydantic import ValidationError

    annotation = without_tensors(annotation)
    value = node.plain()
    try:
        # JSON's strict mode is YAML's: a list may become a tuple, an integer a float, and nothing else changes.
        adapter.validate_json(json.dumps(value), strict=True)
    except (ValidationError, TypeError):
        if inner := _inner_problems(annotation, node):
            return inner
        near = did_you_mean(value, _choices(annotation)) if isinstance(value, str) else ""
        return [node.problem(f"expected {describe(annotation)}, got {_shown(value)}{near}")]
    return []


def _inner_problems(annotation: Any, node: Node) -> list[Problem]:
    """Finds what is wrong within a mapping, where a mapping is what may stand there."""
    union = typing.get_args(annotation) if typing.get_origin(annotation) in (typing.Union, types.UnionType) else ()
    for one in union or (annotation,):
        if node.is_mapping and typing.get_origin(one) is dict:
            key_type, value_type = typing.get_args(one)
            known = _choices(key_type)
            return [
                problem
                for name, child in node.items()
                for problem in (
                    [
                        child.problem(
                            f"unknown key{did_you_mean(name, known)}", hints=[f"known here: {', '.join(known)}"]
                        )
                    ]
                    if known and name not in known
                    else check_value(value_type, child)
                )
            ]
    return []


def without_tensors(annotation: Any) -> Any:
    """Drops from unions what no YAML can hold: torch's optimizers say ``float | Tensor`` for a learning rate."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        plain = tuple(argument for argument in arguments if getattr(argument, "__name__", "") != "Tensor")
        return typing.Union[plain]  # noqa: UP007 (built at run time)
    if origin is tuple:
        return tuple[tuple(map(without_tensors, arguments))]  # type: ignore[misc]
    return annotation


def describe(annotation: Any) -> str:
    """Puts an annotation into words: ``int | None`` is "an integer or null"."""
    kind = nested_kind(annotation)
    if kind is not None:
        return f"a {kind}, {{type: NAME, ...}}"
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        return describe(arguments[0])
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
    return shortened(json.dumps(value, ensure_ascii=False, default=str))


def build(component: Callable[..., Any], node: Node, supplied: Mapping[str, Any] | None = None) -> Any:
    """Calls a constructor with a node's arguments and those that the framework supplies.

    Args:
        component: The class.
        node: A mapping that passed :func:`check_arguments`; its ``type`` is ignored.
        supplied: Passed where the constructor names them and the node does not.

    Raises:
        ConfigError: The constructor refused an argument with a ``ValueError``, or raised an error of i2i.
    """
    parameters = parameters_of(component)
    arguments = {key: value for key, value in (supplied or {}).items() if key in parameters}
    arguments |= constructor_arguments(component, node)
    try:
        return component(**arguments)
    except ArgumentError as error:
        raise ConfigError([node.problem(str(error), *error.path, hints=error.hints)]) from error
    except ArgumentErrors as error:
        raise ConfigError([node.problem(str(one), *one.path, hints=one.hints) for one in error.errors]) from error
    except ConfigError:
        raise
    except I2IError as error:  # such as a data set that looks for its files at once
        raise ConfigError([node.problem(error.message, hints=error.hints)]) from error
    except ValueError as error:
        # By convention the message begins with the argument's name.
        named = str(error).partition(" ")[0].rstrip(":,")
        path = (named,) if named in arguments else ()
        raise ConfigError([node.problem(str(error), *path)]) from error


def constructor_arguments(component: Callable[..., Any], node: Node) -> dict[str, Any]:
    """Returns a node's arguments as the constructor takes them: plain data, and functions that build nested components.

    Args:
        component: The class.
        node: A mapping; its ``type`` is ignored.

    Raises:
        ConfigError: A nested component is unknown.
    """
    parameters = parameters_of(component)
    kinds = {name: nested_kind(parameter.annotation) for name, parameter in parameters.items()}
    arguments = {}
    for name, child in node.items():
        kind = kinds.get(name)
        if name != "type":
            arguments[name] = child.plain() if kind is None or child.value is None else _factory(kind, child)
    return arguments


def _factory(kind: str, node: Node) -> Callable[..., Any]:
    component = find_component(REGISTRIES[kind], node)

    def construct(**supplied: Any) -> Any:
        for name, value in supplied.items():
            given = node.get(name)
            if given is not None and given.value != value:
                hints = ["leave it out: it is taken from there"]
                message = f"{_shown(given.plain())}, but what is around this {kind} passes {_shown(value)}"
                raise ConfigError([given.problem(message, hints=hints)])
        return build(component, node, supplied)

    return construct


def failure(error: Exception) -> str:
    """Tells in one line what was raised."""
    return shortened(f"{type(error).__name__}: {' '.join(str(error).split())}".removesuffix(": "), 300)


def nested_components(component: Callable[..., Any], arguments: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Lists the kind and name of every component within a component.

    Args:
        component: The class.
        arguments: As :func:`complete_arguments` returns them.
    """
    found = []
    for name, parameter in parameters_of(component).items():
        kind, inner = nested_kind(parameter.annotation), arguments.get(name)
        if kind is not None and inner is not None:
            found.append((kind, inner["type"]))
            found += nested_components(REGISTRIES[kind].get(inner["type"]), inner)
    return found


def complete_arguments(component: Callable[..., Any], node: Node, supplied: Mapping[str, Any]) -> dict[str, Any]:
    """Returns all of a node's arguments as plain data, defaults and what the framework supplies included.

    Args:
        component: The class.
        node: A mapping that passed :func:`check_arguments`.
        supplied: Taken where the constructor names them and the node does not.
    """
    parameters = parameters_of(component)
    arguments = {name: p.default for name, p in parameters.items() if p.default is not p.empty}
    arguments |= {name: value for name, value in supplied.items() if name in parameters}
    for name, child in node.items():
        kind = nested_kind(parameters[name].annotation) if name in parameters else None
        if name == "type":
            continue
        if kind is None or child.value is None:
            arguments[name] = child.plain()
        else:
            nested = find_component(REGISTRIES[kind], child)
            arguments[name] = {"type": type_name(child, kind), **complete_arguments(nested, child, {})}
    return arguments


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
        raise ConfigError([*problems, *_further_problems(component, node, supplied, problems)])
    try:
        return build(component, node, supplied)
    except ConfigError:
        raise
    except Exception as error:  # constructors of others may raise anything
        raise ConfigError([node.problem(f"cannot be built: {failure(error)}")]) from error


def _further_problems(
    component: Callable[..., Any], node: Node, supplied: Mapping[str, Any] | None, problems: list[Problem]
) -> list[Problem]:
    """Tells what the constructor says of the right arguments, so that wrong ones do not hide it.

    It is called with the defaults of the wrong ones: what it says of these, or of none in particular, does not count.
    """
    depth = len(node.path)
    wrong = {str(problem.path[depth]) for problem in problems if len(problem.path) > depth}
    if not node.is_mapping:
        return []
    right = node.without(wrong)
    if check_arguments(component, right, supplied or ()):
        return []
    try:
        build(component, right, supplied)
    except ConfigError as error:
        return [
            problem
            for problem in error.problems
            if problem.path[depth : depth + 1] and not any(name in problem.message for name in wrong)
        ]
    except Exception:  # the wrong arguments are told, and may be the cause
        return []
    return []

"""Options of a pipeline's ``translate`` and ``generate``: read from the signature, checked like arguments."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from i2i.core.config.build import check_value, parameters_of
from i2i.core.config.document import COMMAND_LINE, node_of, parse
from i2i.core.errors import ConfigError, I2IError
from i2i.core.registry import did_you_mean

_PASSED = {"translate": 3, "generate": 2, "score": 2}  # arguments that the framework passes, by position


def options_of(method: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """Returns the options of a pipeline's method, by name: those of its arguments that the framework does not pass."""
    passed = [name for name in parameters_of(method) if name != "self"][: _PASSED[method.__name__]]
    return {name: one for name, one in parameters_of(method).items() if name not in ("self", *passed)}


def check_options(method: Callable[..., Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Returns options as plain data.

    Args:
        method: Of the pipeline.
        given: By name.

    Raises:
        ConfigError: One is unknown, missing or of a wrong type.
    """
    known, node = options_of(method), node_of(dict(given), ("--option",), COMMAND_LINE)
    hints = [f"options of this pipeline: {', '.join(known) or 'none'}"]
    problems = []
    for name, child in node.items():
        if name in known:
            problems += check_value(known[name].annotation, child)
        else:
            problems.append(child.problem(f"unknown option{did_you_mean(name, known)}", hints=hints))
    for name, parameter in known.items():
        if parameter.default is parameter.empty and name not in given:
            problems.append(node.problem(f"needs {name!r}", hints=[f"--option {name}=VALUE"]))
    if problems:
        raise ConfigError(problems)
    values: dict[str, Any] = node.plain()
    return values


def parse_options(texts: Sequence[str]) -> dict[str, Any]:
    """Returns ``name=value`` options as plain data; values are YAML.

    Raises:
        I2IError: One has another form.
    """
    values: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.isidentifier():
            raise I2IError(f"--option {text}: expected name=value")
        if name in values:
            raise I2IError(f"--option {name}: stands twice")
        values[name] = parse(value, f"--option {name}").plain()
    return values

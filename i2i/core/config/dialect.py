"""The YAML that a configuration is written in, as PyYAML's nodes.

The dialect is YAML 1.2's core schema with three restrictions: booleans are ``true`` and ``false`` only, duplicate keys
are errors, and tags and merge keys are refused. Size, depth and numbers have limits that no configuration comes near,
so that no text takes the memory or the minutes of whoever reads it.
"""

import re
from typing import Any

import yaml

from i2i.core.errors import ConfigError, Problem

MAX_BYTES = 2**20  # of a text; parsing so much takes seconds
MAX_NODES = 100_000  # an alias bomb of a few lines stands for billions of nodes
MAX_DEPTH = 50  # of nested collections; Python gives up somewhere below 1000

_SCALARS = {
    "bool": (r"true|false", "tf"),
    "null": (r"null|~|", "n~\0"),
    "int": (r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    "float": (
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        "-+.0123456789",
    ),
}


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers: dict[str, list[Any]] = {}

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.nodes = 0
        self.nesting = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        self.nodes += 1
        if self.nodes > MAX_NODES or self.nesting > MAX_DEPTH:
            problem = "nested too deeply" if self.nesting > MAX_DEPTH else "too many values"
            raise _TooMuch(problem=problem, problem_mark=self.peek_event().start_mark)
        self.nesting += 1
        node = super().compose_node(parent, index)
        self.nesting -= 1
        return node


class _TooMuch(yaml.MarkedYAMLError):
    """The text is YAML, and beyond a limit."""


class _Dumper(yaml.SafeDumper):
    yaml_implicit_resolvers: dict[str, list[Any]] = {}

    def represent_text(self, text: str) -> yaml.ScalarNode:
        # PyYAML writes these line breaks of Unicode as they are, and reads them back as spaces, unless quoted so.
        style = '"' if re.search("[\x85\u2028\u2029]", text) else None
        return self.represent_scalar("tag:yaml.org,2002:str", text, style)


_Dumper.add_representer(str, _Dumper.represent_text)

for _tag, (_pattern, _first) in _SCALARS.items():
    for _class in (_Loader, _Dumper):
        _class.add_implicit_resolver(
            f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), ["" if c == "\0" else c for c in _first]
        )


def compose(text: str, source: str) -> yaml.Node | None:
    """Parses the one document of a text; ``None`` where it is empty.

    Raises:
        ConfigError: The text is no YAML, or beyond a limit.
    """
    try:
        return _Loader(text).get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{source}:{mark.line + 1}" if mark else source
        kind = "" if isinstance(error, _TooMuch) else "not valid YAML: "
        raise ConfigError([Problem(place, (), f"{kind}{error.problem or error.context}")]) from None
    except yaml.reader.ReaderError as error:
        line = len(re.findall("\r\n|[\r\n\x85\u2028\u2029]", text[: error.position])) + 1
        character = error.character if isinstance(error.character, int) else ord(error.character)
        message = f"not valid YAML: the character U+{character:04X} is not allowed"
        raise ConfigError([Problem(f"{source}:{line}", (), message)]) from None


def scalar(node: yaml.ScalarNode) -> str | bool | int | float | None:
    """Returns the value of a scalar.

    Raises:
        ValueError: The dialect has no such value; the message says why.
    """
    kind = node.tag.removeprefix("tag:yaml.org,2002:")
    text = node.value
    if kind not in ("str", *_SCALARS):
        raise ValueError(f"the tag {node.tag!r} is not supported")
    value: str | bool | int | float | None = text
    if kind != "str" and not re.fullmatch(_SCALARS[kind][0], text):  # by its tag it is one, and by its looks it is not
        raise ValueError(f"not of the tag {node.tag!r}: {text!r}")
    if kind == "bool":
        value = text == "true"
    elif kind == "null":
        value = None
    elif kind == "float":
        value = float(re.sub(r"\.(inf|nan)", r"\1", text, flags=re.IGNORECASE))
    elif kind == "int":
        value = int(text, 0 if text[:2] in ("0o", "0x") else 10) if len(text) < 100 else 2**64
    complaint = unusable(value)
    if complaint:
        raise ValueError(complaint)
    return value


def unusable(value: Any) -> str:
    """Tells why a value has no place in a configuration; an empty string where it has."""
    if isinstance(value, str):
        if "\0" in value:
            return "text must not hold the character U+0000"
        return "text must not hold half a character" if re.search("[\ud800-\udfff]", value) else ""
    if isinstance(value, int):
        return "" if -(2**63) <= value < 2**63 else "a number of more than 64 bits"
    return "" if value is None or isinstance(value, float) else f"expected plain data, got {type(value).__name__}"


def dump(data: Any) -> str:
    """Writes plain data as YAML that :func:`i2i.core.config.document.parse` reads back to the same values."""
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)

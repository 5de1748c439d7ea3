"""What a component's signature and docstring say about it, for the editors' schema and the configuration reference."""

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from i2i.core.config.build import FRAMEWORK_ARGUMENTS, describe, parameters_of, without_tensors
from i2i.core.config.options import options_of
from i2i.core.registry import Entry, Registry

FROM_DATA = ("in_channels", "out_channels")  # the framework passes them where a YAML does not
REQUIRED = inspect.Parameter.empty
_HEADING = re.compile(r"(Args|Attributes):")
_ITEM = re.compile(r"    (\w+): (.*)")


@dataclass(frozen=True)
class Argument:
    """A key of a component's node.

    Attributes:
        name: The key.
        annotation: Its type, resolved, without what no YAML can hold.
        default: Its default, or ``REQUIRED``.
        text: What the docstring says about it; empty where it says nothing.
    """

    name: str
    annotation: Any
    default: Any
    text: str

    @property
    def is_required(self) -> bool:
        return self.default is REQUIRED and self.name not in FROM_DATA

    @property
    def type_text(self) -> str:
        return describe(self.annotation)


def entries_of(registry: Registry, plugins: bool = True) -> dict[str, Entry]:
    """Returns the entries of a kind that a YAML can use, by name: all but those that two owners claim.

    Args:
        registry: Of the kind.
        plugins: Whether to list also what does not come with this package.
    """
    return {
        name: entries[0]
        for name, entries in registry.entries().items()
        if len(entries) == 1 and (plugins or entries[0].owner == "i2i")
    }


def arguments_of(component: Callable[..., Any]) -> list[Argument]:
    """Returns the keys that a component's node may have besides ``type``, in the order of the signature."""
    texts = _argument_texts(component)
    return [
        Argument(name, without_tensors(parameter.annotation), parameter.default, texts.get(name, ""))
        for name, parameter in parameters_of(component).items()
        if name not in FRAMEWORK_ARGUMENTS
    ]


def options_of_uses(component: Callable[..., Any]) -> dict[str, list[Argument]]:
    """Returns the options that users of a pipeline's model may set, by method; without methods that have none."""
    found = {}
    for method in ("translate", "generate", "score") if hasattr(component, "directions") else ():
        options = options_of(getattr(component, method))
        texts = _items(getattr(component, method).__doc__ or "")
        found[method] = [
            Argument(name, without_tensors(one.annotation), one.default, texts.get(name, ""))
            for name, one in options.items()
        ]
    return {method: options for method, options in found.items() if options}


def summary_of(component: Callable[..., Any]) -> str:
    """Returns the first paragraph of a component's docstring as one line; nothing of what torch says of its own."""
    if _is_foreign(component):
        return f"`{component.__module__.rpartition('.')[0]}.{component.__name__}`, documented there."
    paragraph = inspect.cleandoc(component.__doc__ or "").partition("\n\n")[0]
    return _plain(paragraph) if not _HEADING.match(paragraph) else ""


def _is_foreign(component: Callable[..., Any]) -> bool:
    return component.__module__.startswith("torch.")


def _argument_texts(component: Callable[..., Any]) -> dict[str, str]:
    """Reads the ``Args`` and ``Attributes`` of a class, its constructor and its bases; the nearest text wins."""
    if _is_foreign(component):
        return {}
    texts: dict[str, str] = {}
    for part in inspect.getmro(component) if inspect.isclass(component) else (component,):
        for docstring in (part.__doc__, getattr(vars(part).get("__init__"), "__doc__", None)):
            for name, text in _items(docstring or "").items():
                texts[name] = _joined(texts[name], text) if name in texts else text
    return texts


def _joined(text: str, inherited: str) -> str:
    """Lets ``See :class:`Base`; more.`` stand for the base's own words."""
    match = re.fullmatch(r"See `\w+`[;.]? ?(.*)", text)
    if match is None:
        return text
    more = match[1]
    return f"{inherited} {more[:1].upper()}{more[1:]}".strip()


def _items(docstring: str) -> dict[str, str]:
    """Parses the items of a Google-style docstring's sections; those of ``Args`` win over ``Attributes``."""
    sections: dict[str, dict[str, str]] = {"Attributes": {}, "Args": {}}
    heading, name = "", ""
    for line in inspect.cleandoc(docstring).splitlines():
        if line and not line.startswith(" "):
            match = _HEADING.fullmatch(line)
            heading = match[1] if match else ""
        elif heading and (item := _ITEM.fullmatch(line)):
            name = item[1]
            sections[heading][name] = item[2]
        elif heading and line.startswith("     ") and name in sections[heading]:
            sections[heading][name] += f" {line.strip()}"
    return {key: _plain(text) for items in sections.values() for key, text in items.items()}


def _plain(text: str) -> str:
    """Makes Markdown of a docstring's reStructuredText: code in one pair of backticks, cross-references as code."""
    text = re.sub(r":\w+:`~?([^`]*)`", r"`\1`", " ".join(text.split()))
    return text.replace("``", "`")

"""What ``--architecture`` says: a node as in a YAML, which replaces what was inferred."""

from collections.abc import Sequence
from typing import Any

from i2i.core.config.build import find_component
from i2i.core.config.document import COMMAND_LINE, Node, node_of, parse
from i2i.core.errors import ConfigError
from i2i.core.registry import DISCRIMINATORS, GENERATORS

OPTION = "--architecture"


class Architectures:
    """What is known about the networks without looking at tensors.

    A node whose type is a discriminator is for the discriminators, any other for the generators; of several for one
    kind, later ones win key by key.

    Args:
        texts: The option's values: ``{type: unet, norm: instance}``, ``{norm: none}`` or a name alone.

    Raises:
        ConfigError: One is no node, or its type is unknown.
    """

    def __init__(self, texts: Sequence[str] = ()) -> None:
        self._values: dict[str, dict[str, Any]] = {}
        for text in texts:
            values = _values(text)
            name = values.get("type")
            kind = DISCRIMINATORS.kind if name in DISCRIMINATORS.names() else GENERATORS.kind
            if name is not None:
                find_component(GENERATORS if kind == GENERATORS.kind else DISCRIMINATORS, placed(values))
            self._values.setdefault(kind, {}).update(values)

    def of(self, kind: str) -> dict[str, Any]:
        """Returns what is said of the networks of a kind."""
        return dict(self._values.get(kind, {}))


def placed(values: dict[str, Any]) -> Node:
    """Makes a node of plain data whose problems point at the option."""
    return node_of(values, (OPTION,), COMMAND_LINE)


def _values(text: str) -> dict[str, Any]:
    try:
        value = parse(text, COMMAND_LINE).plain()
    except ConfigError as error:
        raise ConfigError([node_of(None, (OPTION,), COMMAND_LINE).problem(error.problems[0].message)]) from None
    if isinstance(value, str):
        return {"type": value}
    if not isinstance(value, dict) or not value:
        message = f"expected a network such as '{{type: resnet, num_blocks: 6}}', got {text!r}"
        raise ConfigError([node_of(value, (OPTION,), COMMAND_LINE).problem(message)])
    return value

"""YAML documents as trees of nodes that know their file and line.

``extends`` chains documents: mappings merge, lists replace, and a mapping whose ``type`` changes is replaced whole.
Command-line overrides are one more document on top.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from i2i.core.config.dialect import MAX_BYTES, MAX_DEPTH, MAX_NODES, compose, scalar, unusable
from i2i.core.config.dialect import dump as dump  # what parse reads back
from i2i.core.errors import ConfigError, Problem, shortened

COMMAND_LINE = "<command line>"
MAX_CHAIN = 50

Key = str | int
_OVERRIDE = re.compile(r"[A-Za-z_]\w*(\.\w+)*=", re.ASCII)

_COLLECTIONS = ("tag:yaml.org,2002:map", "tag:yaml.org,2002:seq")


@dataclass(frozen=True)
class Node:
    """A value of a document, and where it stands.

    Attributes:
        value: A scalar, a list of nodes or a mapping of nodes.
        place: ``file.yaml:12`` or ``<command line>``.
        path: Keys and indices from the root of the document.
    """

    value: Any
    place: str
    path: tuple[Key, ...] = ()

    def plain(self) -> Any:
        """Returns the value without places: scalars, lists and dicts."""
        if isinstance(self.value, dict):
            return {key: child.plain() for key, child in self.value.items()}
        if isinstance(self.value, list):
            return [child.plain() for child in self.value]
        return self.value

    @property
    def is_mapping(self) -> bool:
        return isinstance(self.value, dict)

    def get(self, key: str) -> "Node | None":
        """Returns the child of a mapping, or ``None``."""
        return self.value.get(key) if isinstance(self.value, dict) else None

    def items(self) -> Iterator[tuple[str, "Node"]]:
        yield from self.value.items() if isinstance(self.value, dict) else ()

    def find(self, path: Sequence[Key]) -> "Node":
        """Returns the node at a path below this one, or its nearest ancestor that exists."""
        return self._walk(path)[0]

    def _walk(self, path: Sequence[Key]) -> tuple["Node", int]:
        """As :meth:`find`; also tells how many keys of the path led there."""
        node = self
        for depth, key in enumerate(path):
            children = node.value
            if not (isinstance(children, dict) and key in children or _has_item(children, key)):
                return node, depth
            node = children[key]
        return node, len(path)

    def without(self, keys: Iterable[str]) -> "Node":
        """Returns a mapping that lacks some keys."""
        dropped = set(keys)
        return replace(self, value={key: child for key, child in self.items() if key not in dropped})

    def problem(self, message: str, *path: Key, hints: Iterable[str] = ()) -> Problem:
        """Makes a problem at a path below this node, which need not exist."""
        node, depth = self._walk(path)  # which may come from elsewhere in the document and know its own path
        return Problem(node.place, (*node.path, *path[depth:]), message, tuple(hints))


def node_of(value: Any, path: tuple[Key, ...] = (), place: str = "") -> Node:
    """Puts plain data into the shape of a document, all of it at one place; by default it stands nowhere."""
    if isinstance(value, Mapping):
        return Node({key: node_of(child, (*path, key), place) for key, child in value.items()}, place, path)
    if isinstance(value, list | tuple):
        return Node([node_of(child, (*path, index), place) for index, child in enumerate(value)], place, path)
    return Node(value, place, path)


def _has_item(children: Any, key: Key) -> bool:
    return isinstance(children, list) and isinstance(key, int) and key < len(children)


def merge(base: Node, over: Node) -> Node:
    """Lays one document over another."""
    if isinstance(base.value, list) and over.is_mapping and over.value and all(map(_is_index, over.value)):
        return _merge_items(base, over)
    if not base.is_mapping or not over.is_mapping:
        return over
    if _is_another(base, over):
        return over
    merged = dict(base.value)
    for key, child in over.items():
        merged[key] = merge(merged[key], child) if key in merged else child
    # An override adds to a mapping that stands in a file; only what it sets itself is its own.
    return replace(base if over.place == COMMAND_LINE else over, value=merged)


def _is_index(key: str) -> bool:
    return key.isascii() and key.isdigit()


def _is_another(base: Node, over: Node) -> bool:
    """Whether a node names another object: of another type, or trained in place of new, or new in place of trained."""
    old, new = base.get("type"), over.get("type")
    if old is not None and new is not None and old.value != new.value:
        return True
    trained = base.get("bundle") is not None
    return (old is not None and not trained and over.get("bundle") is not None) or (trained and new is not None)


def _merge_items(base: Node, over: Node) -> Node:
    """Applies overrides such as ``losses.cycle.0.weight=5`` to a list."""
    merged = list(base.value)
    problems = []
    for key, child in over.items():
        index = int(key) if len(key) < 10 else len(merged)
        if index < len(merged):
            merged[index] = merge(merged[index], child)
        else:
            problems.append(child.problem(f"the list has {len(merged)} items, counted from 0"))
    if problems:
        raise ConfigError(problems)
    return replace(base, value=merged)


def load_config(config: str | Path | Mapping[str, Any], overrides: Sequence[str] = ()) -> Node:
    """Reads a YAML with all that it extends, and applies overrides.

    Args:
        config: The YAML file, or what would stand in one; its paths are then relative to the working directory.
        overrides: ``key.path=value``, the value in YAML; a list item is named by its index.

    Returns:
        The root node. ``plugins`` are absolute paths; ``extends`` is gone.

    Raises:
        ConfigError: A file cannot be read or parsed, or an override has no such form.
    """
    if isinstance(config, Mapping):
        base = _absolute_plugins(_document(config), Path.cwd())
    else:
        base = _load_chain(Path(config), ())
    root = merge(base, parse_overrides(overrides))
    return _absolute_plugins(root, Path.cwd())  # those named on the command line


def _document(config: Mapping[str, Any]) -> Node:
    """Makes a document of plain data, which must be what a YAML could hold."""
    try:
        root = node_of(config, place="<config>")
    except RecursionError:
        raise ConfigError([Problem("<config>", (), "nested too deeply")]) from None
    problems = list(_unusable_values(root))
    if problems:
        raise ConfigError(problems)
    return root


def _unusable_values(node: Node) -> Iterator[Problem]:
    if isinstance(node.value, dict | list):
        for key in node.value if isinstance(node.value, dict) else ():
            if not isinstance(key, str):
                yield node.problem(f"a key must be plain text, got {key!r}")
        for child in node.value.values() if isinstance(node.value, dict) else node.value:
            yield from _unusable_values(child)
    elif unusable(node.value):
        yield node.problem(unusable(node.value))


def _load_chain(path: Path, chain: tuple[Path, ...]) -> Node:
    root = parse_file(path)
    extends = root.get("extends")
    if extends is None:
        return _absolute_plugins(root, path.parent)
    if not isinstance(extends.value, str):
        raise ConfigError([extends.problem("expected the path of another YAML, relative to this one")])
    parent = path.parent / extends.value
    chain = (*chain, path.resolve())
    if len(chain) > MAX_CHAIN:
        raise ConfigError([extends.problem(f"more than {MAX_CHAIN} documents that extend one another")])
    try:
        if parent.resolve() in chain:
            shown = " -> ".join(link.name for link in (*chain, parent.resolve()))
            raise ConfigError([extends.problem(f"a cycle of documents that extend one another: {shown}")])
        if not parent.is_file():
            raise ConfigError([extends.problem(f"no file {str(parent)!r}")])
    except OSError as error:
        raise ConfigError([extends.problem(f"cannot be read: {error.strerror}")]) from None
    return merge(_load_chain(parent, chain), _absolute_plugins(root, path.parent).without(["extends"]))


def _absolute_plugins(root: Node, folder: Path) -> Node:
    plugins = root.get("plugins")
    if plugins is None or not isinstance(plugins.value, list):
        return root
    paths = [
        replace(item, value=str((folder / item.value).resolve())) if isinstance(item.value, str) else item
        for item in plugins.value
    ]
    return replace(root, value={**root.value, "plugins": replace(plugins, value=paths)})


def parse_file(path: Path) -> Node:
    """Parses one YAML file, not what it extends."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise ConfigError([Problem(str(path), (), "no such file")]) from None
    except OSError as error:
        raise ConfigError([Problem(str(path), (), f"cannot be read: {error.strerror}")]) from None
    if len(data) > MAX_BYTES:
        raise ConfigError([Problem(f"{path}:1", (), f"more than {MAX_BYTES:,} bytes, which is no configuration")])
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError([Problem(f"{path}:{line}", (), "not a text file in UTF-8")]) from None
    root = parse(text, str(path))
    if not root.is_mapping:
        raise ConfigError([Problem(root.place, (), "expected a mapping such as 'pipeline: {type: cyclegan}'")])
    return root


def parse(text: str, source: str) -> Node:
    """Parses YAML text into nodes placed at ``source:line``.

    Raises:
        ConfigError: The text is no YAML of the dialect; holds every problem found.
    """
    tree = compose(text, source)
    if tree is None:
        return Node(None, f"{source}:1")
    walk = _Walk(source)
    root = walk.node(tree, (), ())
    if walk.problems:
        raise ConfigError(walk.problems)
    return root


class _Walk:
    """Turns PyYAML's nodes into ours and collects what the dialect refuses."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.problems: list[Problem] = []
        self.count = 0

    def node(self, tree: yaml.Node, path: tuple[Key, ...], ancestors: tuple[int, ...]) -> Node:
        place = f"{self.source}:{tree.start_mark.line + 1}"
        self.count += 1
        if id(tree) in ancestors or self.count > MAX_NODES or len(path) > MAX_DEPTH:  # aliases multiply
            if not self.problems:
                self.problems.append(Problem(place, path, "an alias that contains itself, or too many values"))
            return Node(None, place, path)
        ancestors = (*ancestors, id(tree))
        if isinstance(tree, yaml.CollectionNode) and tree.tag not in _COLLECTIONS:
            self.problems.append(Problem(place, path, f"the tag {tree.tag!r} is not supported"))
        if isinstance(tree, yaml.MappingNode):
            return Node(self._mapping(tree, path, ancestors), place, path)
        if isinstance(tree, yaml.SequenceNode):
            children = [self.node(child, (*path, i), ancestors) for i, child in enumerate(tree.value)]
            return Node(children, place, path)
        assert isinstance(tree, yaml.ScalarNode)  # the third and last kind
        try:
            return Node(scalar(tree), place, path)
        except ValueError as error:
            self.problems.append(Problem(place, path, str(error)))
            return Node(None, place, path)

    def _mapping(self, tree: yaml.MappingNode, path: tuple[Key, ...], ancestors: tuple[int, ...]) -> dict[str, Node]:
        children: dict[str, Node] = {}
        for key_tree, value_tree in tree.value:
            place = f"{self.source}:{key_tree.start_mark.line + 1}"
            key = key_tree.value
            if not isinstance(key_tree, yaml.ScalarNode) or not isinstance(key, str):
                self.problems.append(Problem(place, path, "a key must be plain text"))
            elif unusable(key):
                self.problems.append(Problem(place, (*path, key), unusable(key)))
            elif key == "<<":
                self.problems.append(Problem(place, (*path, key), "merge keys are not supported, use 'extends'"))
            elif key in children:
                self.problems.append(
                    Problem(place, (*path, key), f"the key stands twice, first on {children[key].place}")
                )
            else:
                child = self.node(value_tree, (*path, key), ancestors)
                children[key] = replace(child, place=place)
        return children


def is_override(argument: str) -> bool:
    """Tells ``key.path=value`` from a path."""
    return _OVERRIDE.match(argument) is not None


def split_arguments(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Parts a command line's words into names, such as a YAML's path, and overrides."""
    overrides = [argument for argument in arguments if is_override(argument)]
    return [argument for argument in arguments if not is_override(argument)], overrides


def parse_overrides(overrides: Sequence[str]) -> Node:
    """Turns ``key.path=value`` arguments into one document; a later one wins.

    Raises:
        ConfigError: An argument has another form, or its value is no YAML.
    """
    root = Node({}, COMMAND_LINE)
    for override in overrides:
        if not is_override(override):
            problem = Problem(COMMAND_LINE, (), f"expected key.path=value, got {override!r}")
            raise ConfigError([problem])
        dotted, _, text = override.partition("=")
        keys: tuple[Key, ...] = tuple(dotted.split("."))
        if len(keys) > MAX_DEPTH:
            raise ConfigError([Problem(COMMAND_LINE, keys[:3], "nested too deeply")])
        try:
            value = parse(text, COMMAND_LINE)
        except ConfigError as error:
            message = error.problems[0].message
            raise ConfigError([Problem(COMMAND_LINE, keys, f"{message} in {shortened(repr(text))}")]) from None
        node = _relocated(value, keys)
        for depth in range(len(keys) - 1, -1, -1):
            node = Node({str(keys[depth]): node}, COMMAND_LINE, keys[:depth])
        root = merge(root, node)
    return root


def _relocated(node: Node, path: tuple[Key, ...]) -> Node:
    """Moves a node parsed on its own to its path in the document, all of it placed on the command line."""
    value = node.value
    if isinstance(value, dict):
        value = {key: _relocated(child, (*path, key)) for key, child in value.items()}
    elif isinstance(value, list):
        value = [_relocated(child, (*path, i)) for i, child in enumerate(value)]
    return Node(value, COMMAND_LINE, path)

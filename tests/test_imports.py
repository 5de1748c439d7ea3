"""Who may import whom: the rules of the house, read from the source.

Imports inside functions count: they are dependencies all the same. ``i2i/__init__.py`` is the facade and may name all.
"""

import ast
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]

# Part of i2i -> what it may import. A part is a module or a folder, and always sees itself; a name with a dot
# is that module alone. The order is the building's: each row stands on rows above it.
RULES: dict[str, set[str]] = {
    "core": set(),
    "images": {"core"},
    "networks": {"core"},
    "losses": {"core", "networks.pretrained"},
    "metrics": {"core", "images", "networks.pretrained"},
    "pipelines": {"core", "losses"},
    "data": {"core", "images"},
    "training": {"core", "images", "data.loading", "pipelines.base", "networks.kernels"},
    "inference": {"core", "images", "data.finding", "pipelines", "training.precision"},
    "inference.importing": {"networks", "core", "images", "pipelines.base"},  # it renames the layers of ours
    "run": {"core", "images", "data", "losses", "metrics", "networks", "pipelines", "training", "inference"},
    "testing": {"core", "images.codecs", "data.base", "data.loading", "pipelines"},
}
# The top of the building: sees everything below.
RULES["cli"] = {row for row in RULES if "." not in row}

# Within pipelines, an objective knows the base and the image pool, not its neighbours.
SHARED_BY_PIPELINES = ("i2i.pipelines.base", "i2i.pipelines.image_pool")


def imports_of(source: str, module: str, package: bool = False) -> set[str]:
    """All modules that a source text imports, relative names resolved; ``from a import b`` gives ``a`` and ``a.b``."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            home = node.module or ""
            if node.level:
                parents = module.split(".") if package else module.split(".")[:-1]
                kept = parents[: len(parents) - node.level + 1]
                home = ".".join([*kept, home] if home else kept)
            found |= {home, *(f"{home}.{alias.name}" for alias in node.names)}
    return found


def read_package(folder: Path, name: str) -> dict[str, set[str]]:
    """Module name -> what it imports, for each Python file below a folder."""
    graph = {}
    for path in sorted(folder.rglob("*.py")):
        parts = [name, *path.relative_to(folder).with_suffix("").parts]
        package = parts[-1] == "__init__"
        module = ".".join(parts[:-1] if package else parts)
        graph[module] = imports_of(path.read_text(), module, package)
    return graph


def own_modules(graph: Mapping[str, set[str]]) -> dict[str, set[str]]:
    """Keeps what lies in the package; a name inside a module counts as the module."""
    return {module: {name for name in imported if name in graph} for module, imported in graph.items()}


def part_of(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def row_of(module: str, rules: Mapping[str, set[str]]) -> str:
    """The most exact row for a module: its own part, or a room of it."""
    own = module.partition(".")[2]
    rows = [row for row in rules if own == row or own.startswith(f"{row}.")]
    return max(rows, key=len)


def may_import(module: str, imported: str, rules: Mapping[str, set[str]]) -> bool:
    part, other = part_of(module), part_of(imported)
    if not part:  # the facade
        return True
    if part == other == "pipelines":
        return imported.startswith(SHARED_BY_PIPELINES) or module == imported
    if part == other:
        return True
    return any(
        imported == f"i2i.{allowed}" or imported.startswith(f"i2i.{allowed}.")
        for allowed in rules[row_of(module, rules)]
    )


def violations(graph: Mapping[str, set[str]], rules: Mapping[str, set[str]]) -> list[str]:
    found = []
    for module, imported in own_modules(graph).items():
        if part_of(module) and part_of(module) not in rules:
            found.append(f"{module}: has no row in RULES; decide who may import it and what it may import")
            continue
        # ``from i2i.training import trainer`` also runs the package's __init__, which holds nothing.
        targets = {name for name in imported if not any(other.startswith(f"{name}.") for other in imported)}
        found += [f"{module} imports {name}" for name in sorted(targets) if not may_import(module, name, rules)]
    return found


def cycle_of(graph: Mapping[str, Iterable[str]]) -> list[str]:
    """A cycle of imports, or an empty list."""
    done: set[str] = set()

    def visit(module: str, chain: list[str]) -> list[str]:
        if module in chain:
            return [*chain[chain.index(module) :], module]
        if module in done:
            return []
        for imported in sorted(graph.get(module, ())):
            cycle = visit(imported, [*chain, module])
            if cycle:
                return cycle
        done.add(module)
        return []

    for module in graph:
        if cycle := visit(module, []):
            return cycle
    return []


@cache
def graph() -> dict[str, set[str]]:
    return read_package(REPOSITORY / "i2i", "i2i")


def test_the_package_was_read():
    assert len(graph()) > 40
    assert "i2i.core.registry" in own_modules(graph())["i2i.core.config.build"]
    assert "i2i.run.start" in own_modules(graph())["i2i.cli.train"], "imports inside functions count"


def test_each_part_imports_only_what_it_may():
    found = violations(graph(), RULES)
    assert not found, "\n".join(found)


def test_there_is_no_cycle():
    modules = {m: i - {m} for m, i in own_modules(graph()).items() if m != "i2i"}
    # A package's __init__ is named whenever a module of it is: only real modules count.
    packages = {m for m in modules if any(other.startswith(f"{m}.") for other in modules)}
    cycle = cycle_of({m: i - packages - {"i2i"} for m, i in modules.items() if m not in packages})
    assert not cycle, " -> ".join(cycle)


@pytest.mark.parametrize(
    ("module", "source", "expected"),
    [
        ("i2i.losses.bad", "from i2i.networks.resnet import ResNetGenerator", " imports i2i.networks.resnet"),
        ("i2i.losses.bad", "from i2i.networks import resnet", " imports i2i.networks.resnet"),
        ("i2i.losses.bad", "from ..networks import resnet", " imports i2i.networks.resnet"),
        ("i2i.data.bad", "import i2i.losses.pixel", " imports i2i.losses.pixel"),
        ("i2i.networks.bad", "def f():\n    from i2i import data", " imports i2i.data"),
        ("i2i.pipelines.bad", "from i2i.pipelines.cyclegan import CycleGAN", " imports i2i.pipelines.cyclegan"),
        ("i2i.training.bad", "from i2i.pipelines.pix2pix import Pix2Pix", " imports i2i.pipelines.pix2pix"),
        ("i2i.core.bad", "from i2i.networks.resnet import ResNetGenerator", " imports i2i.networks.resnet"),
        ("i2i.new", "", ": has no row in RULES; decide who may import it and what it may import"),
    ],
)
def test_a_broken_rule_is_seen(module, source, expected):
    assert module + expected in violations({**graph(), module: imports_of(source, module)}, RULES)


def test_a_cycle_is_seen():
    assert cycle_of({"a": ["b"], "b": ["c"], "c": ["a"]}) == ["a", "b", "c", "a"]
    assert cycle_of({"a": ["b", "c"], "b": ["c"], "c": []}) == []


def test_rules_only_name_what_exists():
    there = {name for module in graph() for name in (module, module.rpartition(".")[0])}
    named = set(RULES) | {allowed for row in RULES.values() for allowed in row}
    assert {f"i2i.{name}" for name in named} <= there


# -- plugins -----------------------------------------------------------------------------------------------------------


def strangers(source: str, exported: set[str], tests: bool = False) -> list[str]:
    """What a plugin imports from i2i beyond the public names; its tests may also use ``i2i.testing``."""
    allowed = {"i2i", *(f"i2i.{name}" for name in exported)}
    return sorted(
        name
        for name in imports_of(source, "plugin")
        if (name == "i2i" or name.startswith("i2i."))
        and name not in allowed
        and not (tests and (name == "i2i.testing" or name.startswith("i2i.testing.check_")))
    )


def exported_names() -> set[str]:
    import i2i

    return set(i2i.__all__)


def test_plugins_use_only_what_i2i_exports():
    files = sorted((REPOSITORY / "plugins").rglob("*.py"))
    assert files
    for path in files:
        found = strangers(path.read_text(), exported_names(), tests="tests" in path.parts)
        assert not found, f"{path.relative_to(REPOSITORY)} imports {', '.join(found)}"


def test_a_plugin_that_reaches_inside_is_seen():
    assert strangers("from i2i.networks.blocks.layers import ConvBlock", exported_names())
    assert strangers("from i2i import networks", exported_names()) == ["i2i.networks"]
    assert strangers("from i2i.testing import check_generator", exported_names())
    assert not strangers("from i2i.testing import check_generator", exported_names(), tests=True)
    assert not strangers("from i2i import GENERATORS, Pipeline\nimport torch", exported_names())


def test_the_facade_exports_what_it_says():
    import i2i

    assert sorted(i2i.__all__) == dir(i2i)
    for name in i2i.__all__:
        assert getattr(i2i, name) is not None
    with pytest.raises(AttributeError, match="module 'i2i' has no attribute 'Nothing'"):
        _ = i2i.Nothing

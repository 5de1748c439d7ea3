"""Configurations as people, editors and accidents leave them: random changes of documents, texts and overrides."""

import copy
from collections.abc import Iterator
from random import Random
from typing import Any

from i2i.core.config.build import parameters_of
from i2i.core.config.document import dump, parse
from i2i.core.registry import REGISTRIES
from i2i.run.checks import FRAMEWORK_KEYS
from i2i.training.settings import DataSettings, TrainerSettings, ValidationSettings
from tests.core.config.odd_values import ALL_NAMES, NAMES, NUMBERS, Raw, odd_value

Tree = Any  # scalars, lists and dicts
Keys = tuple[str | int, ...]


def places(tree: Tree, path: Keys = ()) -> Iterator[Keys]:
    """Yields the path of every value but the root."""
    children = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, child in children:
        yield (*path, key)
        yield from places(child, (*path, key))


def at(tree: Tree, path: Keys) -> Tree:
    for key in path:
        tree = tree[key]
    return tree


def typo(rng: Random, text: str) -> str:
    """Returns the text with one letter too few, too many or of another case."""
    if not text:
        return "x"
    i = rng.randrange(len(text))
    return text[:i] + rng.choice(("", "_" + text[i], text[i].swapcase())) + text[i + 1 :]


def known_keys(node: dict[str, Tree]) -> list[str]:
    """Returns the keys that a node of this type may have, and some that it may not."""
    found = list(node)
    for kind, registry in REGISTRIES.items():
        if node.get("type") in NAMES[kind]:
            found += parameters_of(registry.get(node["type"]))
    for settings in (TrainerSettings, DataSettings, ValidationSettings):
        found += settings.__dataclass_fields__
    return sorted({*found, *FRAMEWORK_KEYS, "type", "weight", "bundle", "frozen"})


def fragments(tree: Tree) -> dict[str, list[Tree]]:
    """Keys of a document, each with values that a hurried author would write."""
    return {
        "validation": [
            {},
            {"metrics": ["psnr"]},
            {"metrics": [{"type": "ssim"}], "best": "l1"},
            {"data": {"root": "x"}},
        ],
        "init_from": ["runs/x/001", "x.safetensors", "."],
        "trackers": [[], [{"type": "wandb"}], {"type": "x"}],
        "plugins": [["./none.py"], ["."], [3], "x.py"],
        "format": [1, 2, "1"],
        "name": ["a/b", "..", "", 3, "x" * 300],
        "extends": ["mutant.yaml", "none.yaml", ".", 3, ["a", "b"]],
        "schedule": [{"type": name} for name in NAMES["schedule"]],
        "optimizer": [{"type": name} for name in NAMES["optimizer"]] + [{"type": "adam", "generator": {"lr": 1}}],
        "discriminator": [{"type": "multiscale", "discriminator": tree.get("discriminator", {})}],
        "data": [{"type": name, "root": "nowhere"} for name in NAMES["dataset"]],
    }


def change(rng: Random, tree: dict[str, Tree]) -> None:
    """Changes one thing about a document, in place."""
    paths = list(places(tree))
    if not paths:
        tree[rng.choice(ALL_NAMES)] = odd_value(rng)
        return
    path = rng.choice(paths)
    parent, key = at(tree, path[:-1]), path[-1]
    nodes = [tree, *(found for found in (at(tree, path) for path in paths) if isinstance(found, dict))]
    match rng.choice("delete rename value value number copy swap type argument argument fragment wrap".split()):
        case "delete":
            del parent[key]
        case "rename" if isinstance(parent, dict):
            renamed = {typo(rng, str(k)) if k == key else k: child for k, child in parent.items()}
            parent.clear()
            parent.update(renamed)
        case "value" | "rename":
            parent[key] = odd_value(rng)
        case "number":
            numbers = [path for path in paths if type(at(tree, path)) in (int, float)]
            if numbers:
                path = rng.choice(numbers)
                at(tree, path[:-1])[path[-1]] = rng.choice(NUMBERS)
        case "copy" | "swap" as operation:
            other = rng.choice(paths)
            if path[: len(other)] != other and other[: len(path)] != path:
                one, two = parent[key], at(tree, other)
                at(tree, other[:-1])[other[-1]] = copy.deepcopy(one)
                if operation == "swap":
                    parent[key] = two
        case "type":
            rng.choice(nodes)["type"] = rng.choice(ALL_NAMES)
        case "argument":
            node = rng.choice(nodes)
            node[rng.choice(known_keys(node))] = odd_value(rng)
        case "fragment":
            name, values = rng.choice(sorted(fragments(tree).items()))
            tree[name] = rng.choice(values)
        case "wrap":
            parent[key] = rng.choice(([parent[key]], {"type": parent[key]}, [parent[key]] * 2, {str(key): parent[key]}))


def text_of(tree: Tree) -> str:
    """Writes a document that may hold raw YAML."""
    raw: dict[str, str] = {}

    def marked(value: Tree) -> Tree:
        if isinstance(value, Raw):
            raw[f"RAW{len(raw)}WAR"] = value
            return f"RAW{len(raw) - 1}WAR"
        if isinstance(value, dict):
            return {key: marked(child) for key, child in value.items()}
        return [marked(child) for child in value] if isinstance(value, list) else value

    text = dump(marked(tree))
    for mark, value in raw.items():
        text = text.replace(mark, value)
    return text


def changed_document(rng: Random, text: str) -> bytes:
    """Changes the tree that a text stands for in up to three places."""
    tree = parse(text, "").plain()
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        change(rng, tree)
    return text_of(tree).encode("utf-8", "surrogatepass")


BOMB = "a: &a [1,1,1,1,1,1,1,1,1]\n" + "".join(
    f"{name}: &{name} [{','.join(['*' + before] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
# fmt: off
LINES = [
    b"<<: {trainer: {steps: 3}}", b"\tx: 1", b"   y: 2", b"---",
    b"...", b"%YAML 1.1", b"- 1", b"? x", b": y", b"*x", b"&x", b"{",
    b"]", BOMB.encode(), b"x: *x", b"trainer: {steps: 3}",
    b"pipeline: &p {type: pix2pix}", b"#" + b"y" * 100_000, b"'", b'"',
    b"|", b"!!",
]
BYTES = [
    b"\t", b"\0", b"\xff", b"\xc3", b"\xef\xbb\xbf", b"\x07",
    b"\x1b", b"\x85", b"\xc2\x85", b"\xe2\x80\xa8", b"\r", b"\n", b" ",
    b":", b"{", b"}", b"[", b"]", b",", b"#", b"&a ", b"*a",
    b"!", b"|", b">", b"'", b'"', b"%", b"@", b"`", b"-", b"?",
    b"\xed\xa0\x80", b"9", b"\xf0\x9f\x8e\x88",
]
# fmt: on
OPERATIONS = "replace insert delete cut drop double line indent dedent line_ends mark encoding twice huge".split()


def changed_text(rng: Random, text: str) -> bytes:
    """Changes the bytes of a text in up to four places."""
    data = text.encode()
    for _ in range(rng.choice((1, 1, 2, 4))):
        data = _changed_bytes(rng, data, rng.choice(OPERATIONS))
    return data


def _changed_bytes(rng: Random, data: bytes, operation: str) -> bytes:
    i = rng.randrange(len(data) + 1)
    lines = data.split(b"\n")
    line = rng.randrange(len(lines))
    match operation:
        case "replace":
            return data[:i] + rng.choice(BYTES) + data[i + 1 :]
        case "insert":
            return data[:i] + rng.choice(BYTES) + data[i:]
        case "delete":
            return data[:i] + data[i + rng.choice((1, 2, 20)) :]
        case "cut":
            return data[:i]
        case "drop":
            del lines[line]
        case "double":
            lines.insert(line, lines[line])
        case "line":
            lines.insert(line, rng.choice(LINES))
        case "indent":
            lines[line] = rng.choice((b" ", b"  ", b"\t")) + lines[line]
        case "dedent":
            lines[line] = lines[line].lstrip()
        case "line_ends":
            return data.replace(b"\n", rng.choice((b"\r\n", b"\r", b"\xe2\x80\xa8", b"\xc2\x85")))
        case "mark":
            return b"\xef\xbb\xbf" + data
        case "encoding":
            return data.decode(errors="replace").encode(rng.choice(("utf-16", "utf-32")))
        case "twice":
            return data + rng.choice((b"", b"\n", b"\n---\n")) + data
        case "huge":
            more = rng.choice((b"# x\n", b"- 1\n", b"x: [1, 2]\n", b"[", b"{a: "))
            return data + b"\n" + more * rng.choice((10_000, 1_000_000))
    return b"\n".join(lines)


def overrides(rng: Random, text: str) -> list[str]:
    """Returns words of a command line that are meant as overrides."""
    paths = list(places(parse(text, "").plain()))
    words = []
    for _ in range(rng.choice((1, 1, 2, 3))):
        keys = [str(key) for key in rng.choice(paths)]
        match rng.choice("same same longer shorter typo other deep word".split()):
            case "longer":
                keys.append(rng.choice("0 99 -1 type x é weight lr data __class__ 01 1e3".split() + ["", "9" * 5000]))
            case "shorter":
                keys = keys[:1]
            case "typo":
                keys[-1] = typo(rng, keys[-1])
            case "other":
                keys = [rng.choice(known_keys({"type": rng.choice(ALL_NAMES)})) for _ in range(rng.choice((1, 2)))]
            case "deep":
                keys += ["a"] * rng.choice((10, 100, 2000))
            case "word":
                words.append(rng.choice(("=1", "a.=1", ".a=1", "a b=1", "trainer", "a=", "=", "é=1", "*=1", "a=b=c")))
                continue
        words.append(".".join(keys) + "=" + text_of({"x": odd_value(rng)}).removeprefix("x:").strip())
    return words


def chain(rng: Random, text: str, name: str) -> dict[str, bytes]:
    """Returns documents that extend one another; the one called ``name`` begins the chain."""
    links = rng.choice((1, 2, 2, 3, 60, 400))
    files = {f"link0_{name}": changed_document(rng, text) if rng.random() < 0.5 else text.encode()}
    for index in range(1, links):
        files[f"link{index}_{name}"] = f"extends: link{index - 1}_{name}\n".encode()
    over: dict[str, Tree] = {"extends": f"link{links - 1}_{name}"}
    for _ in range(rng.choice((0, 1, 2))):
        tree = parse(text, "").plain()
        change(rng, tree)
        key = rng.choice([*tree, "x"])
        over[key] = tree.get(key)
    if rng.random() < 0.3:
        odd = [
            name,
            f"./link0_{name}/",
            "none.yaml",
            ".",
            "..",
            "/",
            "/dev/null",
            "x\0y",
            "x" * 5000,
            "",
            3,
            None,
            [],
            {},
        ]
        over["extends"] = rng.choice([*odd, True, [f"link0_{name}"], Raw("'\\'"), Raw("!!str"), f"link0_{name}"])
    files[name] = text_of(over).encode("utf-8", "surrogatepass")
    return files

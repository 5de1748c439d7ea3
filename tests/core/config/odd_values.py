"""Values that few keys of a configuration expect."""

import copy
import math
from random import Random
from typing import Any

from i2i.core.registry import REGISTRIES


class Raw(str):
    """YAML that no plain data can stand for."""


NAMES = {kind: registry.names() for kind, registry in REGISTRIES.items()}
ALL_NAMES = sorted({name for names in NAMES.values() for name in names})
# Networks of some hundred blocks are left out: foretelling their steps takes minutes, and is right.
# fmt: off
NUMBERS = [
    0, -1, 1, 2, 3, 7, 31, 10**4, 10**7, 10**9, -(10**9), 10**12, 2**63 - 1, 2**63, -(2**70), 10**30, 10**400,
    0.5, -0.5, 1e-30, 1e30, 1e308, -0.0, 5e-324, math.nan, math.inf, -math.inf, 1.0, 99999999999999999.0,
]
TEXTS = [
    "", " ", "x" * 10_000, "x " * 200, "é中🎈", "1", "1e-4",
    "null", "true", "auto", "a2b", "train", "cpu", "cuda:9", "-1",
    "..", ".", "/", "~", "~nobody/x", "/nonexistent/x.safetensors",
    "/dev/null", "/dev/zero", "x\0y", "a\nb: c", "\x1b[31m",
    "\u2028", "\x85", "a.b", "%s", "{}", "\\", "'", '"', "\u202e",
    "k" * 300, "../" * 50, "meta", "mps", "*", "cuda:99999999999",
]
COLLECTIONS = [
    [], {}, [[]], [1, 2], [1, 2, 3], [-1, 0], [None],
    {"type": None}, {"type": {}}, {"": ""}, {"type": "l1"}, [{}],
    {"a": {"b": {"c": [1, {"d": 2}]}}}, ["x"] * 300,
    {"bundle": "/nonexistent"}, {"bundle": None}, {"0": 1, "1": 2},
]
RAW = [
    "2001-01-01", "2001-01-01T01:02:03Z", "12:30:45", "1_000",
    "010", "0o17", "0x", "0xFFFFFFFFFFFFFFFFFF", "1e999",
    "-1e-999", "9" * 5000, "yes", "Null", "<<", "=", "#", "|",
    ">-", "\ttab", "? a", "@x", "`x", "%x", "- 1", "a: b: c",
    "!!binary aGk=", "!!set {a, b}", "!!omap [a: 1]",
    "!!python/object/apply:os.system [ls]", "!custom 3", "! x", "!<tag:x> 1",
    "!!int '3'", "!!int x", "!!float x", "!!bool maybe",
    "!!null x", "!!str 3", "&x [*x]", "*nowhere", "&x {a: 1, b: *x}",
    '"\\ud800"', '"\\0"', '"\\q"', "{a, b}", "[a, b", "{a: 1",
    "'x", '"x', "{<<: {a: 1}}", "{a: 1, a: 2}", "{1: 2}",
    "{[1]: 2}", "{{a: 1}: 2}", "{null: 1}", "{true: 1}",
    "{'²': 1}", "{'٣': 1}", "[,]", '{"\\ud800": 1}', '{"a\\nb": 1}',
    '{"\\e[1m": 1}',
]
# fmt: on


def odd_value(rng: Random) -> Any:
    """Returns plain data, or raw YAML."""
    found = rng.choice(rng.choice((NUMBERS, TEXTS, COLLECTIONS, RAW, [None, True, False], ALL_NAMES, ["nested"])))
    if found == "nested":
        depth = rng.choice((3, 30, 60, 120, 300, 900, 3000))
        start, end = rng.choice((("{a: ", "}"), ("[", "]")))
        return Raw(start * depth + "1" + end * depth)
    return Raw(found) if found in RAW and isinstance(found, str) else copy.deepcopy(found)

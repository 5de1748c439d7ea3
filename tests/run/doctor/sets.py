"""Makes data sets with something wrong in them, and examines them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from i2i.cli import main

RNG = np.random.default_rng(11)


def noise(size: tuple[int, int] = (80, 70), seed: int | None = None) -> np.ndarray:
    """A picture ``[H, W, 3]`` that is like no other."""
    rng = RNG if seed is None else np.random.default_rng(seed)
    return rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)


def put(path: Path, array: np.ndarray | None = None, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(noise() if array is None else array).save(path, **options)
    return path


def two_domains(root: Path, count: int = 4) -> Path:
    """``trainA`` to ``testB`` with nothing wrong."""
    for folder in ("trainA", "trainB", "testA", "testB"):
        for index in range(count):
            put(root / folder / f"{folder}{index}.png")
    return root


def doctor(*arguments: object) -> tuple[int, dict[str, dict[str, Any]], dict[str, Any]]:
    """Runs the command; returns its exit code, its findings by kind, and the whole document."""
    path = Path(str(arguments[0])).parent / "findings.json"
    code = main("doctor", [str(argument) for argument in (*arguments, "--json", path)])
    document = json.loads(path.read_text())
    return code, {finding["kind"]: finding for finding in document["findings"]}, document


def files(finding: dict[str, Any]) -> list[str]:
    return [Path(entry["file"]).name for entry in finding["files"]]

"""Puts a run folder's files and some pictures together into ``report.html``.

The page loads nothing: pictures are data URIs, curves are SVG, and a content security policy forbids the rest. The one
script that may run is known by its hash, so that no text of a file or configuration could ever act as one.
"""

import base64
import hashlib
import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from i2i.core.config.document import parse_file
from i2i.core.errors import DataError, I2IError
from i2i.core.files.atomic import write_bytes
from i2i.images.files import load_image
from i2i.inference.bundle.bundle import BundleInfo, read_info
from i2i.run.report import charts, facts
from i2i.run.report.embedding import Embedded, embed
from i2i.run.report.history import read_history
from i2i.run.report.pictures import Picture, Sheet

NAME = "report.html"
LONGEST_PICTURE, LONGEST_SAMPLE, LONGEST_SHEET = 512, 800, 1400  # pixels
SAMPLES = 5


@dataclass(frozen=True)
class _Pair:
    """A picture of one direction, ready for the page."""

    name: str
    before: Embedded
    after: Embedded
    target: Embedded | None


@dataclass(frozen=True)
class _Direction:
    """How to translate in one direction."""

    name: str
    domains: tuple[str, str] | None
    pairs: list[_Pair]


@dataclass(frozen=True)
class _Sheet:
    """Images from noise, ready for the page."""

    name: str
    image: Embedded
    caption: str


@dataclass(frozen=True)
class _Sample:
    step: int
    image: Embedded


def write_report(
    folder: Path, pictures: Sequence[Picture] = (), sheets: Sequence[Sheet] = (), notes: Sequence[str] = ()
) -> Path:
    """Writes ``report.html`` into a run folder, of whatever the folder holds.

    Args:
        folder: The run folder.
        pictures: Before and after.
        sheets: Images from noise.
        notes: What the reader should know is missing.

    Returns:
        The page's path.

    Raises:
        OSError: A file may not be read, or the page cannot be written.
    """
    missing = list(notes)
    config_text, config = _read_config(folder, missing)
    model = _read_bundle(folder / "model.safetensors", missing, expected=True)
    best = _read_bundle(folder / "best.safetensors", missing, expected=False)
    history = read_history(folder / "log.jsonl")
    missing += history.notes
    samples = _samples(folder / "samples", missing)
    trainer = config.get("trainer")
    script = _asset("script.js")
    page = _template().render(
        name=config.get("name") or folder.absolute().name,
        written=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        pipeline=_type_of(config, "pipeline"),
        notes=[facts.without_home(note.replace(f"{folder}{os.sep}", "")) for note in missing],
        directions=_directions(model, pictures),
        split=pictures[0].split if pictures else "",
        sheets=[_Sheet(sheet.direction, embed(sheet.image, LONGEST_SHEET), sheet.caption) for sheet in sheets],
        makes_images=any(not one.source and one.target for one in model.directions.values()) if model else False,
        samples=samples,
        charts=charts.charts_of(history),
        size=charts,
        run=facts.describe_run(history, trainer if isinstance(trainer, dict) else {}, model, best),
        extremes=facts.extremes(history),
        folder=facts.shown_path(folder),
        folder_code=facts.path_code(folder),
        plugins=_plugins_of(model),
        has_best=best is not None,
        config=facts.without_home(config_text),
        environment=facts.describe_environment(),
        trained_with=model.versions if model else {},
        style=Markup(_asset("style.css")),
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )
    path = folder / NAME
    write_bytes(path, page.encode(errors="replace"))
    return path


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["shell"] = shlex.quote  # names come from files, and people copy commands
    return environment.get_template("page.html.jinja")


def _asset(name: str) -> str:
    return (Path(__file__).parent / name).read_text(encoding="utf-8")


def _read_config(folder: Path, missing: list[str]) -> tuple[str, dict[str, Any]]:
    """Returns the configuration as it is written and as data; both may be empty."""
    path = folder / "config.yaml"
    if not path.exists():
        missing.append(f"{path.name} is missing")
        return "", {}
    text = path.read_bytes().decode(errors="replace")
    try:
        plain = parse_file(path).plain()
    except I2IError as error:
        missing.append(f"{path.name} could not be read: {error.message}")
        return text, {}
    return text, plain if isinstance(plain, dict) else {}


def _read_bundle(path: Path, missing: list[str], expected: bool) -> BundleInfo | None:
    if not path.exists():
        if expected:
            missing.append(f"{path.name} is missing: the run ended before its first checkpoint")
        return None
    try:
        return read_info(path)
    except I2IError as error:
        missing.append(error.message)
        return None


def _type_of(config: dict[str, Any], key: str) -> str:
    node = config.get(key)
    return str(node.get("type", "")) if isinstance(node, dict) else ""


def _directions(model: BundleInfo | None, pictures: Sequence[Picture]) -> list[_Direction]:
    told = model.directions.items() if model else ()
    translating = [name for name, direction in told if direction.source and direction.target]
    names = dict.fromkeys([*translating, *(picture.direction for picture in pictures)])
    directions = []
    for name in names:
        own = [picture for picture in pictures if picture.direction == name]
        directions.append(_Direction(name, own[0].domains if own else None, [_pair(picture) for picture in own]))
    return directions


def _pair(picture: Picture) -> _Pair:
    target = None if picture.target is None else embed(picture.target, LONGEST_PICTURE)
    before, after = (embed(image, LONGEST_PICTURE) for image in (picture.before, picture.after))
    return _Pair(picture.name, before, after, target)


def _samples(folder: Path, missing: list[str]) -> list[_Sample]:
    """Picks the first sample grid, the last, and some between."""
    paths = {int(path.stem.removeprefix("step_")): path for path in folder.glob("step_*.png") if _has_step(path)}
    steps = sorted(paths)
    count = min(SAMPLES, len(steps))
    chosen = dict.fromkeys(steps[number * (len(steps) - 1) // max(count - 1, 1)] for number in range(count))
    samples = []
    for step in chosen:
        try:
            samples.append(_Sample(step, embed(load_image(paths[step])[0], LONGEST_SAMPLE)))
        except DataError as error:
            missing.append(error.message)
    return samples


def _has_step(path: Path) -> bool:
    return path.stem.removeprefix("step_").isdecimal()


def _plugins_of(model: BundleInfo | None) -> list[str]:
    """Names the local plugin files without which the bundle cannot be loaded."""
    if model is None:
        return []
    owners = [model.pipeline_owner, *(spec["owner"] for spec in model.networks.values())]
    return list(dict.fromkeys(owner["file"] for owner in owners if "file" in owner))

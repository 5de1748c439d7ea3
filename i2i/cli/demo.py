"""Train on the embedded data set, translate held-out images and say where to look. Needs no files and no GPU.

python tools/demo.py                   a CycleGAN turns plain animals into striped ones, and back
python tools/demo.py maps              a Pix2Pix turns aerial views into maps
python tools/demo.py streets           a Pix2Pix turns label maps into streets
python tools/demo.py --seed 2 trainer.steps=200
"""

import argparse
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from i2i.data.drawn.dataset import Domain, Synthetic

HELP = "train and translate on the embedded data set"
HELD_OUT = 64
SHOWN = 8  # of them on the sheet


@dataclass(frozen=True)
class Demo:
    """What a demo shows.

    Attributes:
        config: Stem of its file in ``configs/``.
        made: Direction -> heading of its translations, for each one that it learns.
        paired: Whether the files of b are the true partners of those of a.
    """

    config: str
    made: Mapping[str, str]
    paired: bool = False


DEMOS: dict["Domain", Demo] = {
    "animals": Demo("cyclegan_animals", {"a2b": "made striped", "b2a": "made plain"}),
    "maps": Demo("pix2pix_drawn_maps", {"a2b": "made a map"}, paired=True),
    "streets": Demo("pix2pix_drawn_streets", {"a2b": "made a street"}, paired=True),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "arguments",
        nargs="*",
        metavar=f"[{'|'.join(DEMOS)}] key.path=value",
        help="what to show (default: animals), and any number of overrides",
    )
    parser.add_argument("--seed", type=int, default=1, help="of weights and order (default: 1)")
    parser.add_argument("--out", metavar="DIR", help="the run folder (default: runs/NAME/NUMBER)")


def run(args: argparse.Namespace) -> int:
    from i2i.core.config.document import split_arguments
    from i2i.core.errors import I2IError
    from i2i.core.registry import did_you_mean

    names, overrides = split_arguments(args.arguments)
    names = names or ["animals"]
    configs = {name: path for name, demo in DEMOS.items() if (path := _configs() / f"{demo.config}.yaml").is_file()}
    if len(names) > 1 or names[0] not in configs:
        shown = ", ".join(configs) or "none: the demo needs a checkout of the repository"
        raise I2IError(f"no demo is named {' '.join(names)!r}{did_you_mean(names[0], configs)}", [f"demos: {shown}"])

    from i2i.run.experiment import Experiment
    from i2i.run.folder import run_folder
    from i2i.run.start import train

    experiment = Experiment.load(configs[names[0]], [*overrides, f"trainer.seed={args.seed}"])
    folder = run_folder(experiment.name, args.out, "never")
    code, folder = train(experiment, folder)
    assert experiment.dataset.size is not None  # drawn pictures have one
    return code or _show(names[0], experiment.dataset.size[0], folder)


def _configs() -> Path:
    return Path(__file__).resolve().parents[2] / "configs"


def _show(name: "Domain", size: int, folder: Path) -> int:
    """Translates held-out images, judges the translations and says where they are."""
    from i2i.cli import main
    from i2i.core.files.atomic import write_bytes
    from i2i.data.drawn.dataset import Synthetic, write_split
    from i2i.images.files import load_image
    from i2i.run.demo.judges import JUDGES

    demo = DEMOS[name]
    dataset = Synthetic(name, size, HELD_OUT, "test", demo.paired)
    folders = write_split(folder / "held_out", HELD_OUT, "test", size, name, demo.paired)
    sources = dict(zip(("a2b", "b2a"), folders, strict=True))
    translated = {}
    for direction in demo.made:
        target = folder / "translated" / direction
        code = main("translate", [str(folder), str(sources[direction]), str(target), "--direction", direction])
        if code:
            return code
        translated[direction] = [load_image(target / f"{index:06}.png")[0] for index in range(HELD_OUT)]
    sheet = folder / "before_after.png"
    _write_sheet(sheet, demo, dataset, translated)
    figures, text = JUDGES[name](dataset, translated)
    write_bytes(folder / "judgement.json", json.dumps(figures, indent=1).encode())
    print(f"\n{text}\nlook at {sheet}\n  training:   {folder / 'samples'}, or  tensorboard --logdir {folder}")
    print(f"  translated: {folder / 'translated'}, from images in {folder / 'held_out'} that training never saw")
    return 0


def _write_sheet(path: Path, demo: Demo, dataset: "Synthetic", translated: Mapping[str, list]) -> None:
    """Lays held-out images beside their translations and, where there is no way back to show, the truth."""
    from i2i.images.files import make_grid, save_image

    scenes = [dataset.draw(index) for index in range(SHOWN)]
    columns = {}
    for direction, heading in demo.made.items():
        side = 0 if direction == "a2b" else 1
        columns[dataset.domains[side]] = [scene[side][0].image for scene in scenes]
        columns[heading] = translated[direction][:SHOWN]
        if demo.paired:
            columns[f"true {dataset.domains[1 - side]}"] = [scene[side][1].image for scene in scenes]
    save_image(path, make_grid(columns))

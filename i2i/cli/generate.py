"""Make images from noise with a trained model.

  python tools/generate.py runs/digits/001 made --seeds 0-63
  python tools/generate.py digits.safetensors sheet.png --seeds 0-79 --class 7 --grid 8x10

OUTPUT is a folder, which gets seed0000.png and so on and a list, manifest.jsonl: what is in it with the same model and
options is not done again. With a suffix it is one image, a grid.
"""

import argparse
import math
import re
from pathlib import Path
from typing import TYPE_CHECKING

from i2i.cli.parts.model import add_model
from i2i.core.errors import I2IError
from i2i.core.progress import Progress, say

if TYPE_CHECKING:
    from i2i.inference.generator import Generator, Label
    from i2i.inference.jobs.targets import Target

HELP = "make images from noise with a trained model"
MAX_SEEDS = 10_000_000
_MAX_SEED = 2**32 - 1
_NAMED = 16  # seeds whose classes are named


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_model(parser)
    parser.add_argument("output", metavar="OUTPUT", help="a folder, or an image file for one grid")
    parser.add_argument("--seeds", default="0-63", metavar="0-63|1,5,9", help="which images (default: 0-63)")
    parser.add_argument("--class", dest="klass", metavar="K", help="a class, by name or number (default: by the seed)")
    parser.add_argument(
        "--label", nargs="+", default=[], metavar="NAME=VALUE", help="attributes by name (default: by the seed)"
    )
    parser.add_argument("--truncation", type=float, metavar="T", help="of models that have one (default: 1)")
    parser.add_argument("--grid", metavar="RxC", help="rows and columns of the grid (default: nearly square)")
    parser.add_argument("--format", metavar="png|jpg|…", help="of the images (default: OUTPUT's suffix, or png)")
    parser.add_argument("--quality", type=int, default=95, metavar="N", help="1 to 100, of jpg, webp and avif")
    parser.add_argument("--overwrite", action="store_true", help="make what is done again, and replace what is there")
    parser.add_argument(
        "--batch-size", type=int, metavar="N", help="images made together (default: 1 on a cpu, else 32)"
    )


def run(args: argparse.Namespace) -> int:
    from i2i.images.files import WRITERS
    from i2i.inference.jobs.targets import Target

    seeds, grid = parse_seeds(args.seeds), _parse_grid(args.grid)
    if args.batch_size is not None and args.batch_size < 1:
        raise I2IError(f"--batch-size must be at least 1, got {args.batch_size}")
    if not 1 <= args.quality <= 100:
        raise I2IError(f"--quality is from 1 to 100, got {args.quality}")
    output = Path(args.output).expanduser()
    is_file = bool(output.suffix) and not output.is_dir()
    format = (args.format or (output.suffix if is_file else "png")).lower().removeprefix(".")
    if format not in WRITERS:
        raise I2IError(f"OUTPUT {output}: images cannot be written as {format!r}, only as {', '.join(WRITERS)}")
    if grid and not is_file:
        raise I2IError(f"--grid: OUTPUT {output} is a folder", ["a grid is one file, such as sheet.png"])
    if is_file and args.format and output.suffix.lower().removeprefix(".") != format:
        raise I2IError(f"--format {args.format}: OUTPUT {output} says {output.suffix}", ["leave --format out"])
    if is_file and output.exists() and not args.overwrite:
        raise I2IError(f"OUTPUT {output}: exists already", ["replace it with --overwrite"])

    generator, digest = _load(args)
    label = _label_of(generator, args, seeds)
    shown = f"{generator.info.name}, step {generator.info.step}: {len(seeds)} images on {generator.device}"
    say(f"{shown}, {generator.precision.name}")
    if is_file:
        target = Target(output.parent, format, output.name).fitted(generator.codec)
        return _write_grid(generator, seeds, label, grid or _nearly_square(len(seeds)), target, args.quality)
    target = Target(output, format, is_chosen=args.format is not None).fitted(generator.codec)
    return _write_folder(generator, seeds, label, target, digest, args)


def parse_seeds(text: str) -> list[int]:
    """Returns the seeds of ``0-63`` or ``1,5,9``, each once.

    Raises:
        I2IError: It is neither, or they are too many.
    """
    seeds: dict[int, None] = {}
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,10})\s*(?:-\s*(\d{1,10})\s*)?", part)
        if match is None:
            raise I2IError(f"--seeds {text}: expected numbers such as 0-63 or 1,5,9")
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first or last > _MAX_SEED:
            raise I2IError(f"--seeds {text}: {part} is no range of numbers from 0 to {_MAX_SEED}")
        if last - first + len(seeds) >= MAX_SEEDS:
            raise I2IError(f"--seeds {text}: more than {MAX_SEEDS:,} at once")
        seeds.update(dict.fromkeys(range(first, last + 1)))
    return list(seeds)


def _parse_grid(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    match = re.fullmatch(r"(\d{1,4})x(\d{1,4})", text)
    if match is None or not int(match[1]) or not int(match[2]):
        raise I2IError(f"--grid {text}: expected rows and columns, such as 8x10")
    return int(match[1]), int(match[2])


def _load(args: argparse.Namespace) -> tuple["Generator", str]:
    from i2i.core.config.options import parse_options
    from i2i.core.plugins import sha256
    from i2i.inference.bundle.place import find_bundle
    from i2i.inference.generator import Generator

    options = parse_options(args.option)
    if args.truncation is not None:
        if "truncation" in options:
            raise I2IError("--truncation and --option truncation: one of them is enough")
        options["truncation"] = args.truncation
    path = find_bundle(args.model, args.best)
    loaded = Generator.load(path, device=args.device, precision=args.precision, plugins=args.plugin, options=options)
    return loaded, sha256(path)


def _label_of(generator: "Generator", args: argparse.Namespace, seeds: list[int]) -> "Label":
    """Returns the label that is asked for; where none is, says which classes the seeds draw."""
    if args.klass is not None and args.label:
        raise I2IError("--class and --label: a model has classes or attributes, not both")
    if args.klass is not None:
        return generator.class_of(args.klass)
    if args.label:
        label = {}
        for text in args.label:
            name, _, value = text.partition("=")
            if name in label:
                raise I2IError(f"--label {text}: {name} is set twice")
            try:
                label[name] = float(value)
            except ValueError:
                label[name] = math.nan
            if not math.isfinite(label[name]):
                raise I2IError(f"--label {text}: expected NAME=NUMBER")
        generator.labels(seeds[:1], label)  # an unknown name ends here
        return label
    if generator.info.classes:
        drawn = generator.labels(seeds[:_NAMED])
        names = [generator.info.classes[index] for index in drawn.tolist()] if drawn is not None else []
        shown = ", ".join(f"{seed}: {name}" for seed, name in zip(seeds, names, strict=False))
        say(f"classes are drawn from the seeds: {shown}{', …' if len(seeds) > _NAMED else ''}")
    return None


def _nearly_square(count: int) -> tuple[int, int]:
    columns = max(1, math.ceil(math.sqrt(count)))
    return -(-count // columns), columns


def _write_grid(
    generator: "Generator", seeds: list[int], label: "Label", grid: tuple[int, int], target: "Target", quality: int
) -> int:
    from i2i.images.files import save_image
    from i2i.inference.jobs.generating import grid_of

    rows, columns = grid
    if len(seeds) > rows * columns:
        raise I2IError(f"--grid {rows}x{columns}: has {rows * columns} places, and there are {len(seeds)} seeds")
    sheet = grid_of(generator(seeds, label), columns)
    output = target.folder / (target.file or "")
    save_image(output, sheet, target.format, quality=quality, palette=generator.codec.palette)
    say(f"a grid of {len(seeds)} images: {output}")
    return 0


def _write_folder(
    generator: "Generator",
    seeds: list[int],
    label: "Label",
    target: "Target",
    digest: str,
    args: argparse.Namespace,
) -> int:
    from i2i.core.signals import StopRequest
    from i2i.inference.jobs.generating import generate_folder

    with StopRequest() as stop, Progress("", len(seeds), count="images") as progress:
        made = generate_folder(
            generator,
            seeds,
            label,
            target,
            digest,
            batch_size=args.batch_size or (1 if generator.device.type == "cpu" else 32),
            quality=args.quality,
            overwrite=args.overwrite,
            stopping=lambda: stop.number is not None,
            progress=lambda made: progress.reach(made.generated + made.skipped),
        )
    say(f"generated {made.generated}, skipped {made.skipped} (done before); output in {target.folder}")
    if stop.number is not None and not made.is_complete:
        say("stopped; the same command goes on from here")
        return stop.exit_code
    return 0

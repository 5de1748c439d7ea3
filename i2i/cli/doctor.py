"""Examine the images of a data set before training does, and say what is wrong with them.

python tools/doctor.py datasets/horse2zebra
python tools/doctor.py configs/cyclegan_horse2zebra.yaml data.root=/my/images --json findings.json

DATA is a folder (two folders of images, pairs, label maps, splits, or any images), an image, or a YAML: then files are
read as its data set and its validation would read them. Every pixel is decoded. Nothing is changed.

Exit codes: 0 all can be trained on, whatever the warnings; 1 there are errors: training would refuse files or the set;
2 nothing could be examined.
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from i2i.cli.parts.pixels import add_max_pixels, max_pixels
from i2i.core.progress import Progress, say

if TYPE_CHECKING:
    from i2i.run.doctor.subject import Subject

HELP = "examine a data set's files before training"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "arguments", nargs="+", metavar="DATA", help="a folder, an image, or a YAML and key.path=value overrides"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all findings with all files here")
    parser.add_argument(
        "--min-size", type=int, default=64, metavar="N", help="smaller images are tiny, in pixels a side (default: 64)"
    )
    add_max_pixels(parser)


def run(args: argparse.Namespace) -> int:
    from i2i.cli.parts.output import write_text
    from i2i.core.errors import DataError, I2IError
    from i2i.run.doctor.duplicates import find_duplicates
    from i2i.run.doctor.quiet import quiet_libraries
    from i2i.run.doctor.report import as_json, facts, text
    from i2i.run.doctor.rules import judge, plural
    from i2i.run.doctor.scan import scan

    if args.json and not args.json.absolute().parent.is_dir():  # known before an hour has been spent
        raise I2IError(f"--json {args.json}: no folder {str(args.json.absolute().parent)!r}")
    if args.min_size < 1:
        raise I2IError(f"--min-size must be at least 1, got {args.min_size}")
    subject = _find(args.arguments)
    if not subject.count:
        raise DataError(f"DATA {subject.name}: holds no images")
    limit = max_pixels(args)
    with quiet_libraries(), Progress("examining images", subject.count, count="images") as progress:
        looks = scan(subject, limit, progress.advance)
    findings = [*judge(subject, looks, args.min_size, limit), *find_duplicates(looks)]
    findings.sort(key=lambda finding: finding.severity)  # errors first
    for line in facts(subject, looks):
        say(line)
    for finding in findings:
        for line in text(finding):
            say(line)
    if args.json:
        write_text(as_json(subject, looks, findings), args.json)
    errors = sum(finding.severity == "error" for finding in findings)
    verdict = f"{plural(errors, 'error')}, {plural(len(findings) - errors, 'warning')}"
    where = f"; all files: {args.json}" if args.json else "; --json FILE lists all files" if findings else ""
    print(f"{plural(subject.count)} examined: {verdict if findings else 'nothing is wrong'}{where}")
    return 1 if errors else 0


def _find(arguments: list[str]) -> "Subject":
    from i2i.core.config.document import split_arguments
    from i2i.core.errors import I2IError

    places, overrides = split_arguments(arguments)
    if len(places) != 1 or not places[0]:  # an empty variable of a shell is not the working folder
        raise I2IError(f"expected one DATA, got {', '.join(places) or 'none'}")
    path = Path(places[0]).expanduser()
    if path.suffix.lower() in (".yaml", ".yml") and not path.is_dir():
        from i2i.run.doctor.configured import examine_config

        return examine_config(str(path), overrides)
    if overrides:
        raise I2IError(f"{overrides[0]}: only a YAML has keys to override, not {places[0]}")
    from i2i.run.doctor.subject import examine_path

    return examine_path(path)

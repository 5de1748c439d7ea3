"""Write a run folder's report.html anew, such as after a run was killed or moved.

python tools/report.py runs/cyclegan_horse2zebra/001
python tools/report.py runs/cyclegan_horse2zebra/001 --pictures 0   curves and figures, without translating

Pictures are made of the data that the folder's config.yaml names; local plugin files that it names are run, as train
runs them.
"""

import argparse
from pathlib import Path

HELP = "write a run folder's report.html anew"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="the run folder")
    parser.add_argument(
        "--pictures", type=int, default=4, metavar="N", help="before/after pictures of each direction (default: 4)"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps (default: auto)")


def run(args: argparse.Namespace) -> int:
    from i2i.core.errors import I2IError

    folder = Path(args.run)
    if args.pictures < 0:
        raise I2IError(f"--pictures must be at least 0, got {args.pictures}")
    if not (folder / "config.yaml").is_file() and not (folder / "log.jsonl").is_file():
        raise I2IError(f"{folder}: not a run folder, which holds config.yaml and log.jsonl")

    from i2i.images.files import describe_os_error
    from i2i.run.report.run import report_folder

    try:
        path = report_folder(folder, args.device, args.pictures)
    except OSError as error:
        raise I2IError(f"{folder}: the report cannot be written: {describe_os_error(error)}") from error
    print(path)
    return 0

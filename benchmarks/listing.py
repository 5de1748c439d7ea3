"""What a folder of a million files costs before the first translation is there, and before training reads an image.

python benchmarks/listing.py
python benchmarks/listing.py --count 200000 --folder /data/of/my/own

The files are tiny PNGs, links to a few that are really there. translate runs as a command, with a tiny network: the
time is from its start to its first output; the memory is its highest until then, less that of translating a single
image. Training's part is the data set of a tenth of the files, built as by train: the time, and what the process has
grown by.
"""

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from hardware import ROOT, resident
from harness import Figures, Row, answer, child, column, measure, parser, report
from PIL import Image

sys.path.insert(0, str(ROOT))

COUNT = 1_000_000
LINKS = 30_000  # of one file, at most: file systems have limits
MB = 1e6


def main() -> int:
    made = parser(__doc__, repeats=3)
    made.add_argument("--count", type=int, default=COUNT, help=f"files (default: {COUNT:,})")
    made.add_argument("--folder", type=Path, help="where to make them (default: the system's for temporary files)")
    made.add_argument("--survey", type=Path, help=argparse.SUPPRESS)
    args = made.parse_args()
    if args.survey:
        survey(args.survey)
        return 0
    if args.quick:
        args.count, args.repeats = min(args.count, 50_000), 1
    with tempfile.TemporaryDirectory(dir=args.folder) as work:
        place = Path(work)
        prepare(place, args.count)
        rows = translating(place, args) + training(place, args)
    return report([row for row in rows if args.only in row.name], args)


def translating(place: Path, args: argparse.Namespace) -> list[Row]:
    """Measures translate on all files, and on one."""
    contestants = {
        "ours": lambda: first_output(place, place / "files", args.threads),
        "a single image": lambda: first_output(place, place / "one", args.threads),
    }
    runs = measure(contestants, args.repeats, warm_up=1)
    seconds, peaks = column(runs, "seconds"), column(runs, "peak")
    grown = [many - one for many, one in zip(peaks["ours"], peaks["a single image"], strict=True)]
    single = f"of a single image {np.median(seconds['a single image']):.2f} s"
    whole = f"in all {np.median(peaks['ours']):.0f} MB, most of it torch"
    return [
        Row(
            f"translate {args.count:,} files: first output", "s", {"ours": seconds["ours"]}, "<= 5", "ours", note=single
        ),
        Row(f"translate {args.count:,} files: memory of listing", "MB", {"ours": grown}, "<= 200", "ours", note=whole),
    ]


def training(place: Path, args: argparse.Namespace) -> list[Row]:
    """Measures building a data set."""
    command = [__file__, "--survey", str(place / "some")]
    runs = measure({"ours": lambda: child(command, args.threads)}, args.repeats)
    name = f"data set of {args.count // 10:,} files"
    return [
        Row(f"{name}: time", "s", column(runs, "seconds"), figure="ours"),
        Row(f"{name}: memory", "MB", column(runs, "grown"), figure="ours"),
    ]


def survey(folder: Path) -> None:
    """Builds the data set of a folder, and answers what it has taken."""
    from i2i.data.folder import Folder

    before, started = resident(), time.perf_counter()
    dataset = Folder(str(folder), crop_size=8)
    dataset.scan()  # the constructor touches no file
    seconds = time.perf_counter() - started
    answer({"seconds": seconds, "grown": (resident("VmHWM") - before) / MB, "length": len(dataset)})


def first_output(place: Path, images: Path, threads: int) -> Figures:
    """Translates until the first output is there: the seconds, and the memory until then in MB."""
    with tempfile.TemporaryDirectory(dir=place) as out:
        limits = {f"{name}_NUM_THREADS": str(threads) for name in ("OMP", "MKL", "OPENBLAS")}
        command = ["tools/translate.py", place / "model.safetensors", images, f"{out}/", "--precision", "fp32"]
        started = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, *map(str, command)],
            cwd=ROOT,
            env={**os.environ, **limits},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        peak, seconds = 0.0, 0.0
        while process.poll() is None:
            peak = max(peak, _peak(process.pid))
            if any(path.suffix == ".png" for path in Path(out).iterdir()):
                seconds = time.perf_counter() - started
                break
            time.sleep(0.005)
        process.send_signal(signal.SIGINT)
        said = process.communicate()[1]
    if not seconds:
        raise SystemExit(f"translate ended without an output:\n{said}")
    return {"seconds": seconds, "peak": peak}


def _peak(process: int) -> float:
    """Returns the highest resident memory of a process so far, in MB; 0 where it has ended."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{process}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / MB
    return 0.0


def prepare(place: Path, count: int) -> None:
    """Writes the files and a tiny model."""
    from i2i.inference.bundle.bundle import save_bundle
    from i2i.run.experiment import Experiment

    overrides = ["generator.base_channels=4", "generator.num_blocks=1"]
    experiment = Experiment.load(ROOT / "configs/tiny/cyclegan.yaml", overrides)
    pipeline = experiment.build_pipeline()
    save_bundle(place / "model.safetensors", experiment.bundle_info(pipeline, 0), pipeline)
    for name, number in (("files", count), ("some", count // 10), ("one", 1)):
        (place / name).mkdir()
        for index in range(number):
            if index % LINKS == 0:
                original = place / name / f"image_{index:07}.png"
                Image.fromarray(np.full((8, 8, 3), index // LINKS, np.uint8)).save(original)
            else:
                os.link(original, place / name / f"image_{index:07}.png")


if __name__ == "__main__":
    sys.exit(main())

"""Measures how cost grows: images/s and memory against image size, batch, processes and the size of a folder.

python benchmarks/growth.py --json growth.json --plots docs/pictures
python benchmarks/growth.py --only size

A CycleGAN's training step and the translation of images, each point in a process of its own; narrow networks on a CPU,
as the titles say, for a full width takes minutes a step at 1,024 pixels. Memory is resident memory at its peak less
that before the first step or image; that of a folder is all of the process. On a GPU it is what torch has handed out.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import ranks
import torch
from contestants import Case
from hardware import ROOT, cores
from harness import Figures, Row, column, measure, parser, report
from plot import Panel, write_plot

SIZES = (64, 128, 256, 512, 1024)
BATCHES = (1, 2, 4, 8, 16)
IMAGES = (10, 100, 1000)
WHAT = {"ours": "training step", "translate": "translate"}


def main() -> int:
    made = parser(__doc__, repeats=1)
    made.add_argument("--plots", type=Path, metavar="FOLDER", help="draw growth_*.svg there")
    made.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    made.add_argument("--channels", type=int, help="of the first layer (default: 16 on a CPU, 64 on a GPU)")
    made.add_argument("--seconds", type=float, default=1.0, help="length of a measurement, at least a step")
    args = made.parse_args()
    if args.device == "auto":
        args.device = "cuda" if torch.cuda.is_available() else "cpu"
    args.channels = args.channels or (64 if args.device == "cuda" else 16)
    rows: list[Row] = []
    for name, growth in GROWTHS.items():
        if args.only in name:
            rows += growth(args)
    return report(rows, args)


def by_size(args: argparse.Namespace) -> list[Row]:
    cases = {value: _case(args, size=value) for value in (SIZES[:2] if args.quick else SIZES)}
    return _by("size", "pixels of a side", cases, args)


def by_batch(args: argparse.Namespace) -> list[Row]:
    cases = {value: _case(args, batch=value, size=128) for value in (BATCHES[:2] if args.quick else BATCHES)}
    return _by("batch", "images of a batch, 128 px", cases, args)


def _case(args: argparse.Namespace, size: int = 64, batch: int = 1) -> Case:
    return Case(size=size, batch=batch, channels=args.channels, device=args.device, seconds=args.seconds)


def _by(key: str, label: str, cases: dict[int, Case], args: argparse.Namespace) -> list[Row]:
    """Measures a training step and translation while one of their properties grows."""
    rows, speeds, memories = [], dict[str, list[tuple[float, float]]](), dict[str, list[tuple[float, float]]]()
    for who, name in WHAT.items():
        for value, case in cases.items():
            with case.child(who, args.threads) as running:
                runs = measure({"ours": running}, args.repeats, warm_up=1)["ours"]
            row, megabytes = _row(f"{name}, {key} {value}, {args.channels} channels", runs)
            rows.append(row)
            speeds.setdefault(name, []).append((value, row.medians()["ours"]))
            memories.setdefault(name, []).append((value, megabytes))
    title = f"CycleGAN, ResNet-9, {args.channels} channels, {args.device}"
    _plot(args, key, title, [Panel("images/s", label, speeds), Panel("peak memory, MB", label, memories)])
    return rows


def by_ranks(args: argparse.Namespace) -> list[Row]:
    """Trains with as many processes as there are cores, a thread each; the batch grows along."""
    own = argparse.Namespace(size=128, channels=args.channels, steps=6 if args.quick else 12, threads=1)
    counts = [2**power for power in range(8) if 2**power <= max(2, cores())]
    rows, points = [], list[tuple[float, float]]()
    for count in counts:
        runs = measure({"ours": lambda count=count: _trained(count, own)}, args.repeats)  # type: ignore[misc]
        row = Row(
            f"training, {count} processes, {own.channels} channels", "images/s", column(runs, "images_per_second")
        )
        row.figure = "ours"
        rows.append(row)
        points.append((count, row.medians()["ours"]))
    one = points[0][1]
    curves = {"training": points, "as many times one": [(count, one * count) for count in counts]}
    label, title = "processes, an image and a thread each", f"CycleGAN, ResNet-9, {own.channels} channels, 128 px"
    _plot(args, "ranks", title, [Panel("images/s", label, curves)])
    return rows


def _trained(count: int, own: argparse.Namespace) -> Figures:
    return {"images_per_second": ranks.train(count, 1, own, [f"trainer.batch_size={count}"])[0]}


def by_folder(args: argparse.Namespace) -> list[Row]:
    """Translates folders of 64-pixel images with the command, and reads the process's memory at its end."""
    import numpy as np

    from i2i.images.files import save_image
    from i2i.inference.bundle.bundle import save_bundle

    case = Case(size=64, channels=args.channels)
    experiment = case.experiment()
    pipeline = experiment.build_pipeline()
    rng = np.random.default_rng(0)
    rows, speeds, memories = [], list[tuple[float, float]](), list[tuple[float, float]]()
    with tempfile.TemporaryDirectory() as work:
        bundle = Path(work, "model.safetensors")
        save_bundle(bundle, experiment.bundle_info(pipeline, 0), pipeline)
        for count in IMAGES[:1] if args.quick else IMAGES:
            folder = Path(work, f"images_{count}")
            folder.mkdir()
            for number in range(count):
                save_image(folder / f"{number:06}.png", rng.integers(0, 256, (64, 64, 3), np.uint8))
            runs = measure({"ours": lambda f=folder: _translated(bundle, f, args)}, args.repeats)["ours"]  # type: ignore[misc]
            for figures in runs:
                figures["images_per_second"] = count / figures["seconds"]
            row, megabytes = _row(f"translate, folder of {count}, {args.channels} channels", runs)
            rows.append(row)
            speeds.append((count, row.medians()["ours"]))
            memories.append((count, megabytes))
    label, title = "images of the folder, 64 px", f"translate with its start, ResNet-9, {args.channels} channels"
    panels = [Panel("images/s", label, {"translate": speeds}), Panel("memory, MB", label, {"translate": memories})]
    _plot(args, "folder", f"{title}, {args.device}", panels)
    return rows


def _translated(bundle: Path, folder: Path, args: argparse.Namespace) -> Figures:
    out = folder.with_name(f"{folder.name}_out_{time.monotonic_ns()}")
    command = [sys.executable, "tools/translate.py", str(bundle), str(folder), str(out), "--device", args.device]
    started = time.perf_counter()
    with folder.with_suffix(".txt").open("w") as said:
        process = subprocess.Popen(
            command, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": str(args.threads)}, stdout=said, stderr=said
        )
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)}\n{folder.with_suffix('.txt').read_text()}")
    return {"seconds": time.perf_counter() - started, "memory": usage.ru_maxrss * 1024}


def _row(name: str, runs: list[Figures]) -> tuple[Row, float]:
    """Returns the row of images/s, and the memory in MB."""
    megabytes = max(figures["memory"] for figures in runs) / 1e6
    speeds = [figures["images_per_second"] for figures in runs]
    row = Row(name, "images/s", {"ours": speeds}, figure="ours", note=f"{megabytes:,.0f} MB", more=runs[-1])
    print(f"{name}: {row.medians()['ours']:.4g} images/s, {row.note}", file=sys.stderr, flush=True)
    return row, megabytes


def _plot(args: argparse.Namespace, name: str, title: str, panels: list[Panel]) -> None:
    if args.plots:
        args.plots.mkdir(parents=True, exist_ok=True)
        write_plot(args.plots / f"growth_{name}.svg", title, panels)


GROWTHS: dict[str, Callable[[argparse.Namespace], list[Row]]] = {
    "size": by_size,
    "batch": by_batch,
    "ranks": by_ranks,
    "folder": by_folder,
}


if __name__ == "__main__":
    sys.exit(main())

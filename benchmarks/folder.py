"""Compares translating a folder with the original's test.py --model test: whole commands, from start to last file.

python benchmarks/folder.py --upstream ~/pytorch-CycleGAN-and-pix2pix
python benchmarks/folder.py --upstream ~/pytorch-CycleGAN-and-pix2pix --images datasets/horse2zebra/testA --count 60
python benchmarks/folder.py --devices "cpu,cpu cuda:0,cuda:1"

Both translate the same 256² JPEGs to PNGs with the same weights, which the original has drawn at random and
import_weights has taken over; resnet_9blocks, as published. The original writes each image twice, the input as well,
and an HTML page: that is its command. Without --upstream ours runs alone, with weights of its own.

A whole folder of 500 takes minutes with each, so that by default two parts of it are run, and both times give the
seconds of the start and of an image: T(500) = start + 500 per image. With --whole the folder itself is run.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from hardware import ROOT
from harness import Figures, Row, column, measure, parser, report
from imported import _TEST, _WEIGHTS
from original import check_checkout
from PIL import Image

sys.path.insert(0, str(ROOT))

from i2i.data.drawn.dataset import Synthetic
from i2i.images.files import to_uint8
from i2i.inference.bundle.bundle import save_bundle
from i2i.run.experiment import Experiment

COUNT = 500
SIZE = 256
GOALS = {"auto": ">= 1.3", "fp32": ">= 1.3", "bf16": ">= 2.1"}


@dataclass(frozen=True)
class Place:
    """Where everything lies.

    Attributes:
        work: A folder with ``images``, of which each part is a folder of links, ``part_N``.
        bundle: Ours.
        width: Channels of the first layer.
        threads: Of each contestant.
        parts: How many images the runs translate.
        upstream: The checkout of the original.
    """

    work: Path
    bundle: Path
    width: int
    threads: int
    parts: tuple[int, ...]
    upstream: Path | None

    def environment(self) -> dict[str, str]:
        return {**os.environ, **{f"{name}_NUM_THREADS": str(self.threads) for name in ("OMP", "MKL", "OPENBLAS")}}


def main() -> int:
    made = parser(__doc__, repeats=3)
    made.add_argument("--images", type=Path, metavar="FOLDER", help="made 256² before (default: drawn ones)")
    made.add_argument("--count", type=int, default=COUNT, help=f"images that the figures stand for (default: {COUNT})")
    made.add_argument("--width", type=int, default=64, help="channels of the first layer (default: 64)")
    made.add_argument("--precisions", nargs="+", default=["auto", "fp32"], help="of ours; a row each")
    made.add_argument("--devices", nargs="+", default=["auto"], help="of ours; a row each")
    made.add_argument("--whole", action="store_true", help="run the whole folder instead of two parts of it")
    args = made.parse_args()
    if args.upstream:
        check_checkout(args.upstream)
    if args.quick:
        args.width, args.repeats = 16, 1
    small, large = (5, 10) if args.quick else (5, 20)
    with tempfile.TemporaryDirectory() as work:
        parts = (args.count,) if args.whole else (small, large)
        bundle = Path(work, "model.safetensors")
        upstream = args.upstream.resolve() if args.upstream else None
        place = Place(Path(work), bundle, args.width, args.threads, parts, upstream)
        write_images(place, args.images)
        make_models(place)
        rows = [
            row
            for device in args.devices
            for precision in args.precisions
            if args.only in (name := _name(args, precision, device))
            for row in compare(place, args, name, precision, device)
        ]
    return report(rows, args)


def _name(args: argparse.Namespace, precision: str, device: str) -> str:
    on = "" if device == "auto" else f" on {device}"
    return f"folder of {args.count} {SIZE}² JPEGs to PNG, {precision}{on}"


def compare(place: Place, args: argparse.Namespace, name: str, precision: str, device: str) -> list[Row]:
    """Measures one of our precisions, beside the original where there is one."""
    contestants: dict[str, Callable[[], Figures]] = {
        "ours": lambda: times(place, args.count, lambda part, out: ours(place, part, out, precision, device))
    }
    if place.upstream:
        contestants["original"] = lambda: times(place, args.count, lambda part, out: original(place, part, out))
    runs = measure(contestants, args.repeats)
    note = "" if place.upstream else "no baseline without --upstream PATH"
    said = runs["ours"][-1]["said"]
    extra = {key: column(runs, key) for key in ("start", "each")} if len(place.parts) > 1 else {}
    if extra:
        shares = "; ".join(
            f"{who}: {np.median(extra['start'][who]):.2f} s start, {np.median(extra['each'][who]):.3f} s an image"
            for who in extra["start"]
        )
        note = f"{note}; {shares}" if note else shares
    goal = GOALS.get(precision, "") if device == "auto" and place.width == 64 else ""
    return [Row(name, "s", column(runs, "seconds"), goal, note=note, more={"said": said, **extra})]


def times(place: Place, count: int, translate: Callable[[int, Path], str]) -> Figures:
    """Runs the parts, and from their times the whole folder's."""
    seconds, said = [], ""
    for part in place.parts:
        with tempfile.TemporaryDirectory(dir=place.work) as out:
            started = time.perf_counter()
            said = translate(part, Path(out))
            seconds.append(time.perf_counter() - started)
            made = {path.stem for path in Path(out).rglob("*.png")}
            if len(made) < part:
                raise SystemExit(f"{len(made)} translations of {part} images:\n{said}")
    if len(seconds) == 1:
        return {"seconds": seconds[0], "said": said}
    each = (seconds[1] - seconds[0]) / (place.parts[1] - place.parts[0])
    start = seconds[0] - place.parts[0] * each
    return {"seconds": start + count * each, "start": start, "each": each, "said": said}


def ours(place: Place, part: int, out: Path, precision: str, device: str) -> str:
    command = ["tools/translate.py", place.bundle, place.work / f"part_{part}", f"{out}/", "--precision", precision]
    return _run([*command, "--device", device], ROOT, place)


def original(place: Place, part: int, out: Path) -> str:
    flags = f"--model test --netG resnet_9blocks --norm instance --no_dropout --ngf {place.width} --name model"
    flags += f" --preprocess none --num_test {part} --dataroot {place.work}/part_{part} --results_dir {out}"
    flags += f" --checkpoints_dir {place.work}/checkpoints"
    assert place.upstream
    return _run(["-c", _TEST, *flags.split()], place.upstream, place)


def _run(command: list[object], folder: Path, place: Place) -> str:
    done = subprocess.run(
        [sys.executable, *map(str, command)], cwd=folder, env=place.environment(), capture_output=True, text=True
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, command))}\nended with {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def write_images(place: Place, source: Path | None) -> None:
    """Writes square JPEGs, a folder a part: those of ``source`` again and again, or drawn ones."""
    count = max(place.parts)
    if source is None:
        drawn = Synthetic(size=SIZE, length=count)
        pictures = (Image.fromarray(to_uint8(drawn.get(i, np.random.default_rng(i))["a"])) for i in range(count))
    else:
        files = sorted(path for path in source.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
        if not files:
            raise SystemExit(f"--images {source}: holds no JPEG and no PNG")
        pictures = (Image.open(files[i % len(files)]).convert("RGB").resize((SIZE, SIZE)) for i in range(count))
    for part in place.parts:
        (place.work / f"part_{part}").mkdir()
    for index, picture in enumerate(pictures):
        for part in place.parts:
            if index < part:
                picture.save(place.work / f"part_{part}" / f"{index:05}.jpg", quality=95)


def make_models(place: Place) -> None:
    """Lets the original draw weights, and imports them; without it, draws some of ours."""
    if place.upstream is None:
        overrides = ["data={type: synthetic}", f"generator.base_channels={place.width}"]
        experiment = Experiment.load(ROOT / "configs/cyclegan_horse2zebra.yaml", overrides)
        torch.manual_seed(0)
        pipeline = experiment.build_pipeline()
        save_bundle(place.bundle, experiment.bundle_info(pipeline, 0), pipeline)
        return
    folder = place.work / "checkpoints" / "model"
    draw = [folder, "G", "resnet_9blocks", "instance", place.width, "0.02", "none"]
    _run(["-c", "import sys; sys.path.insert(0, '.')\n" + _WEIGHTS, *draw], place.upstream, place)
    _run(["tools/import_weights.py", folder / "latest_net_G.pth", place.bundle], ROOT, place)


if __name__ == "__main__":
    sys.exit(main())

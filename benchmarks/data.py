"""Compares the data path, from JPEG files to batches, with processes that only decode the same files.

python benchmarks/data.py
python benchmarks/data.py --folder /my/photographs --batch 16

Ours is what training does: the loader with resize to 286, crop to 256, flip, tensors in [-1, 1], batches, with 0, 1, 2
processes; without a cache, and with the cache that the first pass has filled. The baseline is Pillow, from file to RGB
array, in as many processes (one for 0). Both give images/s; without --folder the files are drawn, with noise added so
that they are as large as photographs.
"""

import argparse
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from harness import Child, Figures, Row, column, measure, parser, report, serve
from PIL import Image

GOAL = ">= 0.9"
WORKERS = (0, 1, 2)
WARM_UP = 20  # batches: loader processes start, and fill what they prefetch


def main() -> int:
    made = parser(__doc__, repeats=5)
    made.add_argument("--folder", type=Path, help="of JPEGs (default: drawn ones)")
    made.add_argument("--count", type=int, default=600, help="images of a run (default: 600)")
    made.add_argument("--batch", type=int, default=2, help="images of a batch (default: 2, a step of CycleGAN)")
    made.add_argument("--serve", help=argparse.SUPPRESS)
    made.set_defaults(threads=1)
    args = made.parse_args()
    if args.quick:
        args.repeats, args.count = 2, 200
    if args.serve:
        return answer_for(args)
    with tempfile.TemporaryDirectory() as work:
        if args.folder is None:
            args.folder = draw(Path(work), args.count)
        rows = [row_of(workers, is_kept, args) for is_kept in (False, True) for workers in WORKERS]
    return report([row for row in rows if row], args)


def row_of(workers: int, is_kept: bool, args: argparse.Namespace) -> Row | None:
    processes = f"{workers} process{'es' * (workers != 1)}"
    name = f"data path, {processes}, {'cached' if is_kept else 'without a cache'}, batch {args.batch}"
    if args.only not in name:
        return None
    options = ["--folder", args.folder.absolute(), "--count", args.count, "--batch", args.batch]

    def command(kind: str) -> list[str]:
        return ["benchmarks/data.py", *map(str, options), "--serve", f"{kind},{workers}"]

    with Child(command("kept" if is_kept else "plain"), 1) as ours, Child(command("decode"), 1) as baseline:
        runs = measure({"ours": ours, "decode only": baseline}, args.repeats, warm_up=1)
    # What a loader does beside decoding is part of the path: without a cache, the figure cannot reach 1.
    files = list(args.folder.rglob("*.jp*g"))[: args.count]
    size = statistics.mean(path.stat().st_size for path in files) / 1000
    return Row(name, "images/s", column(runs, "images_per_second"), GOAL, "ours/baseline", note=f"{size:.0f} kB a file")


def answer_for(args: argparse.Namespace) -> int:
    """Measures as a child, each time that it is asked."""
    kind, _, number = args.serve.partition(",")
    workers = int(number)
    if kind == "decode":
        paths = sorted(map(str, args.folder.rglob("*.jp*g")))[: args.count]
        serve(lambda: {"images_per_second": decode_all(paths, max(workers, 1))})
    else:
        dataset = dataset_of(args.folder)
        if kind == "kept":
            keep(dataset)
        serve(lambda: load(dataset, workers, args))
    return 0


def decode_all(paths: Sequence[str], processes: int) -> float:
    """Decodes files, and returns how many a second; the processes start together, and the slowest counts."""
    if processes == 1:
        started = time.perf_counter()
        _decode(paths)
        return len(paths) / (time.perf_counter() - started)
    context = multiprocessing.get_context("fork")
    barrier, times = context.Barrier(processes), context.Array("d", processes)

    def work(number: int) -> None:
        barrier.wait()
        started = time.perf_counter()
        _decode(paths[number::processes])
        times[number] = time.perf_counter() - started

    running = [context.Process(target=work, args=(number,)) for number in range(processes)]
    for process in running:
        process.start()
    for process in running:
        process.join()
    return len(paths) / max(times)


def _decode(paths: Sequence[str]) -> None:
    for path in paths:
        np.asarray(Image.open(path).convert("RGB"))


def dataset_of(folder: Path) -> Any:
    from i2i.data.folder import Folder

    dataset = Folder(str(folder), load_size=286, crop_size=256, transforms="resize_crop_flip")
    dataset.scan()
    return dataset


def keep(dataset: Any) -> None:
    """Gives a data set a cache, and fills it."""
    from i2i.data.loading.caching import use_cache

    use_cache(dataset, "auto")
    for index in range(len(dataset)):
        dataset[index]
    if dataset.cache is None or dataset.cache.kept < len(dataset):
        raise SystemExit("the cache does not hold these images; use fewer with --folder")


def load(dataset: Any, workers: int, args: argparse.Namespace) -> Figures:
    """Loads batches as training does, and returns images/s."""
    import cv2
    import torch

    from i2i.data.loading.loader import Loader
    from i2i.data.loading.stream import BatchStream, SeededDataset

    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    steps = args.count // args.batch
    stream = BatchStream(len(dataset), args.batch, 0, 0, WARM_UP + steps)
    batches = Loader(SeededDataset(dataset, 0), workers).batches(stream)
    for _ in range(WARM_UP):
        next(batches)
    started = time.perf_counter()
    loaded = sum(len(batch["image"]) for batch in batches)
    return {"images_per_second": loaded / (time.perf_counter() - started)}


def draw(folder: Path, count: int) -> Path:
    """Draws scenes of 256 x 256 pixels, and saves them with noise as JPEGs."""
    from i2i.data.drawn.dataset import Synthetic

    scenes = Synthetic("streets", size=256, length=min(count, 100))
    for number in range(count):
        (scene, _), _ = scenes.draw(number % len(scenes))
        noise = np.random.default_rng(number).normal(0, 4, scene.image.shape)
        noisy = np.clip(scene.image + noise, 0, 255).round().astype(np.uint8)
        Image.fromarray(noisy).save(folder / f"{number:06}.jpg", quality=86)
    return folder


if __name__ == "__main__":
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    sys.exit(main())

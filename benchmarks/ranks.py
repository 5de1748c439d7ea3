"""Compares two processes that train as one, a thread each, with a single one that has one thread and half the batch.

python benchmarks/ranks.py
python benchmarks/ranks.py --ranks 4 --size 64

Each run is what `train` does, under torchrun where there are several processes, of a CycleGAN with a ResNet-9 on drawn
images; images/s are those of its log, without the first entry. As many processes that train by themselves at the same
time show what this machine gives at best: cores share memory, caches and power.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from hardware import ROOT
from harness import Figures, Row, column, measure, parser, report

GOAL = ">= 1.85"


def main() -> int:
    made = parser(__doc__, repeats=3)
    made.add_argument("--ranks", type=int, default=2)
    made.add_argument("--size", type=int, default=128, help="pixels (default: 128)")
    made.add_argument("--channels", type=int, default=32, help="of the first layer (default: 32)")
    made.add_argument("--steps", type=int, default=9, help="of each run (default: 9)")
    made.add_argument("--config", action="append", default=[], metavar="key.path=value", help="of our YAML")
    made.set_defaults(threads=1)
    args = made.parse_args()
    if args.quick:
        args.repeats, args.steps = 1, 6
    name = f"cyclegan, {args.size} px, {args.channels} channels, {args.ranks} ranks, {args.threads} thread each"
    rows = [ranks_row(name, args)] if args.only in name else []
    return report(rows, args)


def ranks_row(name: str, args: argparse.Namespace) -> Row:
    def run(ranks: int, copies: int = 1) -> Figures:
        overrides = [f"trainer.batch_size={ranks}", *args.config]
        return {"images_per_second": sum(train(ranks, copies, args, overrides))}

    contestants = {
        "ranks": lambda: run(args.ranks),
        "one process": lambda: run(1),
        "by themselves": lambda: run(1, args.ranks),
    }
    speeds = column(measure(contestants, args.repeats), "images_per_second")
    alone = speeds.pop("by themselves")
    limit = statistics.median(alone) / statistics.median(speeds["one process"])
    note = f"limit: {args.ranks} processes that train by themselves at the same time"
    more = {"by themselves": alone}
    return Row(name, "images/s", speeds, GOAL if args.ranks == 2 else "", "ours/baseline", limit, note, more)


def train(ranks: int, copies: int, args: argparse.Namespace, overrides: list[str]) -> list[float]:
    """Trains some copies of a run at the same time; returns the images/s of each.

    Args:
        ranks: Processes of a run.
        copies: Runs.
        args: Has ``size``, ``channels``, ``steps`` and ``threads``.
        overrides: More of the YAML.

    Raises:
        SystemExit: A run has failed; says what it said.
    """
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"] if ranks > 1 else []
    each = max(1, args.steps // 3)
    line = f"data.size={args.size} generator.num_blocks=9 generator.base_channels={args.channels} data.workers=0"
    line += f" discriminator.base_channels={args.channels} discriminator.num_layers=3 trainer.steps={3 * each}"
    line += f" trainer.log_every={each} trainer.sample_every=1000000 trainer.checkpoint_every=1000000"
    line += " trainer.sample_count=1 trainer.device=cpu"
    threads = {f"{name}_NUM_THREADS": str(args.threads) for name in ("OMP", "MKL", "OPENBLAS")}
    with tempfile.TemporaryDirectory() as work:
        folders = [Path(work, str(number)) for number in range(copies)]
        running = []
        for folder in folders:
            command = [sys.executable, *launcher, "tools/train.py", "configs/tiny/cyclegan.yaml", "--out", str(folder)]
            with Path(work, f"{folder.name}.txt").open("w") as said:
                running.append(
                    subprocess.Popen(
                        [*command, *line.split(), *overrides],
                        cwd=ROOT,
                        env={**os.environ, "NO_ALBUMENTATIONS_UPDATE": "1", **threads},
                        stdout=said,
                        stderr=said,
                    )
                )
        codes = [process.wait() for process in running]
        for folder, code in zip(folders, codes, strict=True):
            if code:
                raise SystemExit(f"training ended with {code}\n{Path(work, f'{folder.name}.txt').read_text()}")
        return [_speed(folder) for folder in folders]


def _speed(folder: Path) -> float:
    entries = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return statistics.mean(entry["images_per_second"] for entry in entries[1:])


if __name__ == "__main__":
    sys.exit(main())

"""Trains small models for a long time and looks whether memory grows: resident memory every 100 steps.

Each row is a run of `train` in a process of its own, with logs, samples, held-out metrics and checkpoints on. Memory
goes up and down by the size of what a sample or a checkpoint takes, so the growth is the slope of a line through the
highest look of every 500 steps after the warm-up. Linux only (/proc/self/status).

python benchmarks/memory_growth.py
python benchmarks/memory_growth.py --only pix2pix --steps 2000 data.workers=2 trainer.ema=0.99

Exit code 1: memory grows by more than 1 MB in 1,000 steps.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from hardware import ROOT, resident

sys.path.insert(0, str(ROOT))

MAX_GROWTH = 1.0  # MB in 1,000 steps
EVERY = 100  # steps between two looks
WINDOW = 500  # steps; samples and checkpoints come twice in it
SETTINGS = [
    *"generator.base_channels=4 discriminator.base_channels=4 trainer.batch_size=1 data.workers=0".split(),
    *"trainer.log_every=10 trainer.sample_every=250 trainer.checkpoint_every=250".split(),
    "validation={split: test, every: 250, count: 4, best: psnr}",
    "trackers=[{type: resident_memory}]",
]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("cyclegan", "pix2pix"), help="one pipeline")
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--warm-up", type=int, default=1000, help="steps that do not count")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too, with every look")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("overrides", nargs="*", metavar="key.path=value", help="of configs/tiny/*.yaml")
    args = parser.parse_intermixed_args()
    if args.steps < args.warm_up + 2 * WINDOW:
        parser.error(f"--steps must be at least {args.warm_up + 2 * WINDOW}: a line needs two points")
    if args.child:
        return train(args.child, args.steps, args.overrides)
    print("| pipeline | steps | seconds | highest MB after warm-up | at the end | MB in 1,000 steps |")
    print("|---|---|---|---|---|---|", flush=True)
    rows = []
    for name in [args.only] if args.only else ["cyclegan", "pix2pix"]:
        row = measure(name, args.steps, args.warm_up, args.overrides)
        rows.append(row)
        cells = [f"{row['seconds']:.0f}", f"{row['first']:.1f}", f"{row['last']:.1f}", f"{row['growth']:+.3f}"]
        print(f"| {name} | {args.steps} | {' | '.join(cells)} |", flush=True)
    grown = [row for row in rows if not row["growth"] <= MAX_GROWTH]
    for row in grown:
        print(f"{row['pipeline']}: grows by {row['growth']:.2f} MB in 1,000 steps, at most {MAX_GROWTH} is allowed")
    if args.json:
        import torch

        machine = {"cores": os.cpu_count(), "python": platform.python_version(), "torch": torch.__version__}
        args.json.write_text(json.dumps({"machine": machine, "rows": rows}, indent=1))
    return 1 if grown else 0


def measure(name: str, steps: int, warm_up: int, overrides: list[str]) -> dict[str, Any]:
    """Trains in a fresh process and fits a line."""
    import numpy as np

    command = [sys.executable, __file__, "--child", name, "--steps", str(steps), "--warm-up", str(warm_up), *overrides]
    started = time.perf_counter()
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if result.returncode:
        raise SystemExit(f"{' '.join(command)}\n{result.stdout}\n{result.stderr}")
    looks = json.loads(result.stdout.splitlines()[-1])
    windows: dict[int, float] = {}
    for step, megabytes in looks:
        number = (step - warm_up - 1) // WINDOW
        if step > warm_up and warm_up + (number + 1) * WINDOW <= steps:  # whole windows
            windows[number] = max(windows.get(number, 0.0), megabytes)
    slope = float(np.polyfit(list(windows), list(windows.values()), 1)[0])
    return {
        "pipeline": name,
        "steps": steps,
        "seconds": time.perf_counter() - started,
        "first": windows[0],
        "last": windows[max(windows)],
        "growth": slope * 1000 / WINDOW,
        "looks": looks,
    }


def train(name: str, steps: int, overrides: list[str]) -> int:
    """Trains with a tracker that looks at the memory; prints (step, MB) of each look."""
    import i2i
    from i2i.cli import main as run

    looks: list[tuple[int, float]] = []

    @i2i.TRACKERS.register("resident_memory")
    class ResidentMemory:
        def on_log(self, step: int, values: dict[str, float]) -> None:
            if step % EVERY == 0 and "images_per_second" in values:  # metrics are told by themselves
                looks.append((step, resident() / 1e6))  # MB

    with tempfile.TemporaryDirectory() as folder:
        arguments = [f"configs/tiny/{name}.yaml", "--out", f"{folder}/run", f"trainer.steps={steps}"]
        code = run("train", [*arguments, *SETTINGS, *overrides])
    print(json.dumps(looks))
    return code


if __name__ == "__main__":
    sys.exit(main())

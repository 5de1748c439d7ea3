"""Compares the memory that the plan of a run foretells with what a run takes, on this machine's CPU.

Each row is taken in fresh processes: one foretells, one takes real steps and reads the growth of its resident memory
from before the first step to the highest point of all (VmHWM), so Linux only.

python benchmarks/memory.py --json memory.json
python benchmarks/memory.py --only unet --steps 6
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from hardware import ROOT, machine, resident
from harness import describe

sys.path.insert(0, str(ROOT))

CYCLEGAN = "configs/cyclegan_horse2zebra.yaml"
PIX2PIX = "configs/pix2pix_facades.yaml"


def rows() -> list[tuple[str, list[str]]]:
    """The configurations: pipeline, generator, pixels, channels, batch, and some of the trainer's switches."""
    table = []
    for config, name in ((CYCLEGAN, "cyclegan"), (PIX2PIX, "pix2pix")):
        for generator in ("resnet", "unet"):
            for pixels, channels, batch in SIZES:
                depth = pixels.bit_length() - 1
                network = [f"generator={{type: unet, num_downsamplings: {depth}, base_channels: {channels}}}"]
                if generator == "resnet":
                    network = [f"generator={{type: resnet, num_blocks: 9, base_channels: {channels}}}"]
                label = f"{name} {generator} {pixels} px, {channels} channels, batch {batch}"
                table.append((label, [config, *network, *_common(name, pixels, channels, batch)]))
    base = [CYCLEGAN, *_common("cyclegan", 128, 32, 4), "generator.base_channels=32"]
    for label, override in (
        ("accumulate 4", "trainer.accumulate=4"),
        ("gradient checkpointing", "trainer.gradient_checkpointing=true"),
        ("ema and clipping", "trainer={ema: 0.999, clip_norm: 1.0}"),
        ("bf16", "trainer.precision=bf16"),
        ("optimizer sgd", "optimizer={type: sgd, lr: 0.001}"),
    ):
        table.append((f"cyclegan resnet 128 px, 32 channels, batch 4, {label}", [*base, override]))
    return table


SIZES = ((64, 16, 1), (64, 64, 4), (128, 32, 1), (128, 32, 4), (256, 16, 1), (256, 64, 1))


def _common(pipeline: str, pixels: int, channels: int, batch: int) -> list[str]:
    overrides = [f"data.crop_size={pixels}", "data.load_size=null", f"discriminator.base_channels={channels}"]
    overrides += [f"trainer.batch_size={batch}", "trainer.precision=fp32", "trainer.device=cpu"]
    return overrides + (["pipeline.pool_size=8"] if pipeline == "cyclegan" else [])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", metavar="TEXT", help="the rows whose label holds this")
    parser.add_argument("--steps", type=int, default=4, help="steps of each run")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    parser.add_argument("--child", choices=("foretell", "take"), help=argparse.SUPPRESS)
    parser.add_argument("arguments", nargs="*", help=argparse.SUPPRESS)
    args = parser.parse_intermixed_args()
    if args.child:
        print(json.dumps((foretell if args.child == "foretell" else take)(args.arguments, args.steps)))
        return 0
    where = machine()
    print(describe(where) + "\n")
    print("| step | foretold | measured | off |\n|---|---|---|---|", flush=True)
    results = []
    for label, arguments in rows():
        if args.only not in label:
            continue
        row = {"step": label, **_child("foretell", arguments, args.steps), **_child("take", arguments, args.steps)}
        row["off"] = row["foretold"] / row["measured"] - 1
        results.append(row)
        mib = " | ".join(f"{row[name] / 2**20:,.0f} MiB" for name in ("foretold", "measured"))
        print(f"| {label} | {mib} | {row['off']:+.0%} |", flush=True)
    if results:
        worst = max(results, key=lambda row: abs(row["off"]))
        print(f"\nfarthest off: {worst['off']:+.0%}, {worst['step']}")
    if args.json:
        args.json.write_text(json.dumps({"machine": where, "rows": results}, indent=1))
    return 0


def _child(what: str, arguments: list[str], steps: int) -> dict[str, Any]:
    command = [sys.executable, __file__, "--child", what, "--steps", str(steps), *arguments]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if result.returncode:
        raise SystemExit(f"{' '.join(command)}\n{result.stderr}")
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def foretell(arguments: list[str], steps: int) -> dict[str, Any]:
    """Foretells the growth of tensors from before the first step."""
    import torch

    from i2i.run.experiment import Experiment
    from i2i.run.plan.forecast import forecast

    plan = forecast(Experiment.load(arguments[0], arguments[1:]), torch.device("cpu"))
    return {"foretold": plan.peak - plan.before, "parts": plan.parts}


def take(arguments: list[str], steps: int) -> dict[str, Any]:
    """Takes real steps and measures the growth."""
    import torch

    from i2i.run.experiment import Experiment
    from i2i.run.plan.rehearsal import build, fill_pools, random_batch

    experiment = Experiment.load(arguments[0], arguments[1:])
    updater = build(experiment, torch.device("cpu"))
    batch = random_batch(experiment)
    before = resident("VmRSS")
    for step in range(steps):
        updater.step(batch)
        if step == 0:
            fill_pools(updater)
    return {"measured": resident("VmHWM") - before}


if __name__ == "__main__":
    sys.exit(main())

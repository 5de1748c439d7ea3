"""Compares a training step with the original's: time and memory of the published recipes at full width.

python benchmarks/step.py --upstream PATH
python benchmarks/step.py --upstream PATH --images
python benchmarks/step.py --upstream PATH --only pix2pix --config trainer.gradient_checkpointing=true

The original is called as its train.py calls it, float32 and eager, without its data set; both take the same random
batch. Ours runs with precision auto and, as the exact path, with fp32. A third process repeats only the convolutions of
the original's step, in the format that ours uses: no step that computes them directly can be faster. Memory is resident
memory at its peak less that before the first step, with full image pools; on a GPU, the most that torch has handed out.
Without --upstream ours runs alone.

--images looks for the batch at which each gives the most images a second: it doubles the batch as long as that helps,
and while two such processes fit into memory.
"""

import argparse
import os
import sys
import time
from contextlib import ExitStack
from dataclasses import replace
from statistics import median

import torch
from contestants import Case
from harness import Figures, Row, column, measure, parser, report
from original import check_checkout

STEPS = (("cyclegan", 256, 1), ("pix2pix", 256, 1), ("pix2pix", 256, 16))
ON_GPU = (("cyclegan", 512, 4),)
GOALS = {"cpu": (">= 2.0", ">= 2.0", "<= 0.7"), "cuda": (">= 5", ">= 4", "<= 0.5")}  # of step, images/s, memory
CEILING = ">= 0.45"
NO_UPSTREAM = "no baseline without --upstream PATH"
HELPS = 1.02  # times the images/s of half the batch


def main() -> int:
    made = parser(__doc__, repeats=3)
    made.add_argument("--images", action="store_true", help="images/s, each at its best batch, instead of steps")
    made.add_argument("--config", action="append", default=[], metavar="key.path=value", help="of our YAML")
    made.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    made.add_argument("--size", type=int, help="pixels, instead of the rows' own")
    made.add_argument("--channels", type=int, default=64, help="of the first layer (default: 64)")
    made.add_argument("--seconds", type=float, default=1.0, help="length of a measurement, at least a step")
    made.add_argument("--batches", type=int, nargs="+", help="those that --images tries (default: 1, 2, 4 ...)")
    made.add_argument("--budget", type=float, default=90.0, help="seconds for the tries of --images, of each")
    args = made.parse_args()
    if args.upstream:
        check_checkout(args.upstream)
    if args.device == "auto":
        args.device = "cuda" if torch.cuda.is_available() else "cpu"
    if args.quick:
        args.channels, args.repeats, args.seconds = 16, 2, 0.2
    rows: list[Row] = []
    steps = STEPS[:1] if args.images else STEPS + (ON_GPU if args.device == "cuda" else ())
    for pipeline, size, batch in steps:
        case = Case(pipeline, args.size or size, batch, args.channels, "auto", args.config, args.device)
        case = replace(case, upstream=str(args.upstream or ""), seconds=args.seconds)
        if args.only in _name(case):
            print(_name(case), file=sys.stderr, flush=True)
            rows += images_rows(case, args) if args.images else step_rows(case, args)
    return report(rows, args)


def step_rows(case: Case, args: argparse.Namespace) -> list[Row]:
    """Measures a step: as ``auto`` picks it, the exact path, and the memory of a CycleGAN's."""
    exact = replace(case, precision="fp32")
    with ExitStack() as stack:
        children = {"ours": case.child("ours", args.threads)}
        if args.upstream:
            children["original"] = case.child("original", args.threads)
            children["convolutions"] = case.child("convolutions", args.threads)
        children["fp32"] = exact.child("ours", args.threads)
        for one in children.values():
            stack.enter_context(one)
        runs = measure(children, args.repeats, warm_up=1)
    check(runs)
    seconds, memory = column(runs, "seconds"), column(runs, "memory")
    goal, _, memory_goal = GOALS[case.device]
    more = {name: figures[-1] for name, figures in runs.items()}
    fast, slow = Row(f"{_name(case)}, step", "s", {}, goal), Row(f"{_name(case)}, step in fp32", "s", {})
    for row, ours in ((fast, "ours"), (slow, "fp32")):
        row.values = {name: seconds[key] for name, key in (("ours", ours), ("original", "original")) if key in runs}
        row.more, row.note = more, _note(more, ours)
    if "convolutions" in seconds:
        fast.limit = median(seconds["original"]) / median(seconds["convolutions"])
        fast.note += f"; limit: {_alone(more)}"
    rows = [fast, slow]
    if case.pipeline == "cyclegan":
        own = {name: [max(values) / 1e6] for name, values in memory.items() if name in ("ours", "original")}
        rows.append(
            Row(f"{_name(case)}, peak memory", "MB", own, memory_goal, "ours/baseline", note=_note(more, "ours"))
        )
    return rows


def images_rows(case: Case, args: argparse.Namespace) -> list[Row]:
    """Measures images/s, each at its best batch, and beside the convolutions of the same batch."""
    whose = ["ours", "original"] if args.upstream else ["ours"]
    found = {who: best_batch(case, who, args) for who in whose}
    with ExitStack() as stack:
        children = {who: replace(case, batch=batch).child(who, args.threads) for who, (batch, _) in found.items()}
        if args.upstream:
            ours = replace(case, batch=found["ours"][0])
            children["convolutions"] = ours.child("convolutions", args.threads)
        for one in children.values():
            stack.enter_context(one)
        runs = measure(children, args.repeats, warm_up=1)
    speed = column(runs, "images_per_second")
    more = {**{name: figures[-1] for name, figures in runs.items()}, "tried": {k: v[1] for k, v in found.items()}}
    batches = ", ".join(f"{who}: batch {batch}" for who, (batch, _) in found.items())
    name, note = f"{case.pipeline}, {case.size} px", f"{batches}; {_note(more, 'ours')}"
    values = {who: speed[who] for who in whose}
    rows = [Row(f"{name}, images/s", "images/s", values, GOALS[case.device][1], "ours/baseline", note=note, more=more)]
    if "convolutions" in speed:
        values = {"ours": speed["ours"], "convolutions": speed["convolutions"]}
        goal, what = CEILING if case.device == "cuda" else "", _alone(more)
        rows.append(
            Row(f"{name}, images/s of its convolutions alone", "images/s", values, goal, "ours/baseline", 1.0, what)
        )
    return rows


def best_batch(case: Case, who: str, args: argparse.Namespace) -> tuple[int, dict[int, float]]:
    """Returns the batch with the most images a second, and the images/s of all that were tried."""
    speeds: dict[int, float] = {}
    started = time.monotonic()
    for batch in args.batches or [2**power for power in range(11)]:
        try:
            with replace(case, batch=batch).child(who, args.threads) as running:
                running()  # warms up
                figures = running()
        except SystemExit as error:
            if speeds and "memory" in str(error).lower():
                break
            raise
        speeds[batch] = figures["images_per_second"]
        print(f"{who}, batch {batch}: {speeds[batch]:.4g} images/s", file=sys.stderr, flush=True)
        helps = len(speeds) == 1 or speeds[batch] >= HELPS * speeds[batch // 2] if not args.batches else True
        is_late = 3 * (time.monotonic() - started) > args.budget  # the next takes twice as long as all before
        if not helps or is_late or 2 * figures["memory"] > 0.45 * _all_memory(case.device):
            break
    return max(speeds, key=speeds.__getitem__), speeds


def check(runs: dict[str, list[Figures]]) -> None:
    """Checks that all have the same networks.

    Raises:
        SystemExit: They have not.
    """
    sizes = {name: figures[-1]["parameters"] for name, figures in runs.items()}
    if len(set(sizes.values())) > 1:
        raise SystemExit(f"not the same networks; parameters: {sizes}")


def _name(case: Case) -> str:
    width = "" if case.channels == 64 else f", {case.channels} channels"
    return f"{case.pipeline}, {case.size} px, batch {case.batch}{width}"


def _note(more: Figures, ours: str) -> str:
    notes = [more[ours]["precision"]]
    if "original" not in more:
        notes.append(NO_UPSTREAM)
    elif more["original"]["tf32"]:
        notes.append("the original with TF32 in convolutions, torch's default")
    return "; ".join(notes)


def _alone(more: Figures) -> str:
    return f"convolutions alone in {more['convolutions']['precision']}, channels-last"


def _all_memory(device: str) -> float:
    if device == "cuda":
        return float(torch.cuda.get_device_properties(0).total_memory)
    return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))


if __name__ == "__main__":
    sys.exit(main())

"""Follows the fast path beside the exact one: a CycleGAN's losses on real images, the same ones from the same start.

python benchmarks/curves.py --folder datasets/horse2zebra --svg docs/pictures/curves.svg

Trains with fp32, with each fast precision, and with fp32 and another seed, whose distance is the spread that any run
has anyway. A row compares the mean of a loss over the last 100 steps. Before that, the gradients of the first step, of
the same weights and images, are compared: the length of the difference over the length of the gradient, a network at a
time, beside that of float32 from float64. The networks are small, but wide and large enough for all that is fast.
"""

import argparse
import contextlib
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean

import torch
from hardware import ROOT
from harness import Row, parser, report
from plot import Panel, write_plot
from torch import Tensor
from torch.utils.data import default_collate

sys.path.insert(0, str(ROOT))

from i2i.core.errors import I2IError
from i2i.data.loading.stream import BatchStream, SeededDataset
from i2i.run.assembly import scan
from i2i.run.experiment import Experiment
from i2i.run.plan.rehearsal import build
from i2i.run.start import train
from i2i.training.precision import Precision, pick_device

CONFIG = ROOT / "configs/cyclegan_horse2zebra.yaml"
EVERY = 10  # steps of one point
LAST = 100  # steps that are compared
SHOWN = {
    "adversarial, G and F": ("G_adversarial", "F_adversarial"),
    "cycle": ("cycle_x", "cycle_y"),
    "identity": ("identity_x", "identity_y"),
    "discriminators": ("D_X", "D_Y"),
}

Curve = list[tuple[float, float]]
Curves = dict[str, Curve]  # by loss


def main() -> int:
    made = parser(__doc__, repeats=1)
    made.add_argument("--folder", required=True, help="of unpaired images: trainA, trainB")
    made.add_argument("--precision", nargs="+", default=["auto"], help="those beside fp32 (default: auto)")
    made.add_argument("--device", default="auto")
    made.add_argument("--steps", type=int, default=500)
    made.add_argument("--size", type=int, default=128, help="of the crops, in pixels")
    made.add_argument("--channels", type=int, default=16, help="of the first layer")
    made.add_argument("--blocks", type=int, default=3, help="of the generators")
    made.add_argument("--svg", type=Path, metavar="FILE", help="draw the curves there")
    args = made.parse_args()
    torch.set_num_threads(args.threads)
    try:
        device = pick_device(args.device)
        fast = list(dict.fromkeys(Precision.pick(name, device).name for name in args.precision))
        if "fp32" in fast:
            raise SystemExit("fp32 is the exact path: give others with --precision")
        rows = gradient_rows(args, fast, device)
        curves = {name: curves_of(args, name, 0) for name in ("fp32", *fast)}
        curves["fp32, another seed"] = curves_of(args, "fp32", 1)
    except I2IError as error:
        raise SystemExit(str(error)) from None
    rows += [row for name in fast for row in loss_rows(curves, name)]
    if args.svg:
        draw(args.svg, curves, f"CycleGAN, ResNet-{args.blocks}, {args.channels} channels, {args.size} px, {device}")
    return report(rows, args)


def experiment_of(args: argparse.Namespace, precision: str, seed: int) -> Experiment:
    values = [
        f"data.root={args.folder}",
        f"data.crop_size={args.size}",
        f"data.load_size={args.size * 286 // 256}",
        f"generator.num_blocks={args.blocks}",
        f"generator.base_channels={args.channels}",
        f"discriminator.base_channels={args.channels}",
        f"trainer={{precision: {precision}, device: {args.device}, seed: {seed}, steps: {args.steps}}}",
        f"trainer={{log_every: {EVERY}, sample_count: 1, sample_every: {args.steps}, checkpoint_every: {args.steps}}}",
    ]
    return Experiment.load(CONFIG, values)


# -- the first step ----------------------------------------------------------------------------------------------------


def gradient_rows(args: argparse.Namespace, fast: Sequence[str], device: torch.device) -> list[Row]:
    exact, reference = (first_gradients(args, "fp32", device, dtype) for dtype in (torch.float32, torch.float64))
    rows = []
    for name in fast:
        for letter, gradient in first_gradients(args, name, device, torch.float32).items():
            own = distance(exact[letter], reference[letter])
            note = f"fp32 itself is {own:.1e} from float64"
            value = distance(gradient, exact[letter])
            rows.append(
                Row(f"gradient of {letter} in the first step, {name}", "relative", {"ours": [value]}, figure="ours")
            )
            rows[-1].note, rows[-1].more = note, {"fp32 from float64": own}
    return rows


def first_gradients(
    args: argparse.Namespace, precision: str, device: torch.device, dtype: torch.dtype
) -> dict[str, Tensor]:
    """Takes the first step of the run; returns the gradient of each network in one piece."""
    experiment = experiment_of(args, precision, 0)
    scan(experiment, lambda _: None)
    updater = build(experiment, device)
    updater.pipeline.to(dtype)
    settings, dataset = experiment.settings, SeededDataset(experiment.dataset, experiment.settings.seed)
    stream = BatchStream(len(dataset), settings.batch_size, settings.seed, 0, 1, dataset=experiment.dataset)
    batch = default_collate([dataset[draw] for draw in next(iter(stream))])
    updater.step({key: value.to(dtype) if isinstance(value, Tensor) else value for key, value in batch.items()})
    # G's update comes first, but D is given what G and F made before it: all gradients are those of the first weights.
    return {
        letter: torch.cat([p.grad.flatten().double() for p in network.parameters() if p.grad is not None])
        for letter, network in updater.pipeline.members.items()
    }


def distance(one: Tensor, other: Tensor) -> float:
    """Returns the length of the difference over that of ``other``."""
    return float((one - other).norm() / other.norm())


# -- the runs ----------------------------------------------------------------------------------------------------------


def curves_of(args: argparse.Namespace, precision: str, seed: int) -> Curves:
    """Trains; returns each loss as the means of some steps each."""
    with tempfile.TemporaryDirectory() as work, contextlib.redirect_stdout(sys.stderr):
        print(f"{precision}, seed {seed}", flush=True)
        code, folder = train(experiment_of(args, precision, seed), Path(work, "run"))
        if code:
            raise SystemExit(code)
        entries = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    names = [name for both in SHOWN.values() for name in both]
    return {name: [(entry["step"], entry[name]) for entry in entries] for name in names}


def loss_rows(curves: Mapping[str, Curves], fast: str) -> list[Row]:
    """Compares the ends of the curves, beside the spread."""
    rows = []
    for loss in curves[fast]:
        ends = {name: end_of(curves[name][loss]) for name in (fast, "fp32", "fp32, another seed")}
        away, spread = (abs(ends[name] / ends["fp32"] - 1) for name in (fast, "fp32, another seed"))
        values = {name: [end] for name, end in ends.items()}
        row = Row(f"{loss}, mean of the last {LAST} steps, {fast}", "", values, figure="ours/baseline")
        row.note = f"{away:.1%} away; another seed: {spread:.1%}"
        row.more = {"curves": {name: curves[name][loss] for name in ends}}
        rows.append(row)
    return rows


def end_of(curve: Curve) -> float:
    """Returns the mean of the last steps."""
    return fmean(value for step, value in curve if step > curve[-1][0] - LAST)


def draw(path: Path, curves: Mapping[str, Curves], title: str) -> None:
    panels = []
    for name, losses in SHOWN.items():
        shown = {run: mean_of([own[loss] for loss in losses]) for run, own in curves.items()}
        panels.append(Panel(name, f"step, means of {EVERY}", shown, is_line=True))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_plot(path, title, panels, columns=2)


def mean_of(curves: Sequence[Curve]) -> Curve:
    return [(points[0][0], fmean(value for _, value in points)) for points in zip(*curves, strict=True)]


if __name__ == "__main__":
    sys.exit(main())

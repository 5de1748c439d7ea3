"""Trains beside the original code, from the same weights on the same images, and compares losses and weights.

python benchmarks/parity.py --upstream PATH
python benchmarks/parity.py --upstream PATH --data datasets/horse2zebra --data datasets/facades --json parity.json
python benchmarks/parity.py --upstream PATH --only cyclegan losses.identity.weight=4
python benchmarks/parity.py --upstream PATH --only cyclegan --nudge

PATH is a checkout of pytorch-CycleGAN-and-pix2pix; its code is run. Ours is what `train` runs, of the published
recipes: networks narrower unless --full, no augmentation, no dropout, no image pool, five epochs of the linear
schedule. The initial weights are the original's, the order of images is ours, each side reads the files by itself. In
float64 both run freely to the end. In float32, where rounding decides the course of a run, each step starts from the
original's weights and Adam state. Overrides change our side alone, to see the comparison fail; --nudge changes one of
our weights by its last bit, to see how far rounding alone leads away.

Exit code 1: a difference is beyond its limit.
"""

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from original import Original, check_checkout
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from i2i.core.errors import DataError, I2IError
from i2i.data.drawn.dataset import Synthetic
from i2i.data.loading.loader import Loader
from i2i.data.loading.stream import BatchStream, SeededDataset
from i2i.images.files import save_image
from i2i.inference.importing.reference_names import to_reference
from i2i.run.assembly import build_updater, scan
from i2i.run.experiment import Experiment
from i2i.training.updater import Updater

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
MAX_FLOAT64 = 1e-6  # absolute, of free runs: losses, weights, buffers
MAX_FLOAT32 = 1e-4  # relative, of single steps: losses
EPOCHS = (2, 3)  # with the full learning rate, and while it falls
SEED = 0
DATA_HELP = "has trainA and trainB, or train with photograph and labels side by side; drawn images without"


@dataclass(frozen=True)
class Task:
    """A pipeline on both sides.

    Attributes:
        config: Our recipe.
        flags: The original's.
        networks: Our letter -> the original's name.
        losses: Our name -> those of the original whose sum, times the factor, it is.
    """

    config: str
    flags: str
    networks: dict[str, str]
    losses: dict[str, tuple[float, tuple[str, ...]]]


TASKS = {
    "cyclegan": Task(
        "cyclegan_horse2zebra.yaml",
        "--model cycle_gan --dataset_mode unaligned",
        {"G": "G_A", "F": "G_B", "D_Y": "D_A", "D_X": "D_B"},
        {
            "G_adversarial": (1, ("G_A",)),
            "F_adversarial": (1, ("G_B",)),
            "cycle_x": (1, ("cycle_A",)),
            "cycle_y": (1, ("cycle_B",)),
            # The original names identity losses by generator: idt_A is G on images of b.
            "identity_y": (1, ("idt_A",)),
            "identity_x": (1, ("idt_B",)),
            "D_Y": (1, ("D_A",)),
            "D_X": (1, ("D_B",)),
        },
    ),
    "pix2pix": Task(
        "pix2pix_facades.yaml",
        "--model pix2pix --dataset_mode aligned --direction BtoA",
        {"G": "G", "D": "D"},
        {"G_adversarial": (1, ("G_GAN",)), "G_reconstruction": (1, ("G_L1",)), "D": (0.5, ("D_real", "D_fake"))},
    ),
}


@dataclass
class Differences:
    """The largest differences of a run; of losses with their name and step."""

    absolute: tuple[float, str] = (0.0, "")
    relative: tuple[float, str] = (0.0, "")
    weights: float = 0.0
    buffers: float = 0.0
    steps: int = 0
    odd_types: set[str] = field(default_factory=set)

    def add(self, losses: dict[str, tuple[float, float]]) -> None:
        self.steps += 1
        for name, (ours, theirs) in losses.items():
            place = f"{name}, step {self.steps}"
            # What is not a number is infinitely far.
            absolute = np.nan_to_num(abs(ours - theirs), nan=np.inf)
            self.absolute = max(self.absolute, (float(absolute), place))
            self.relative = max(self.relative, (float(absolute / abs(theirs)), place))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--upstream", type=Path, required=True, metavar="PATH", help="checkout of the original")
    parser.add_argument("--data", type=Path, action="append", default=[], metavar="DIR", help=DATA_HELP)
    parser.add_argument("--only", choices=sorted(TASKS), help="one pipeline")
    parser.add_argument("--steps", type=int, default=50, help="a multiple of 5")
    parser.add_argument("--nudge", action="store_true", help="begin with one weight changed by its last bit")
    parser.add_argument("--full", action="store_true", help="the published networks at 256 pixels: an hour or more")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    parser.add_argument("overrides", nargs="*", metavar="key.path=value", help="of our YAML")
    args = parser.parse_intermixed_args()
    epochs = sum(EPOCHS)
    if args.steps < 2 * epochs or args.steps % epochs:
        parser.error(f"--steps must be a multiple of {epochs} from {2 * epochs} on, got {args.steps}")
    for source in args.data:
        if not any((source / part).is_dir() for part in ("trainA", "train")):
            parser.error(f"--data {source}: holds neither trainA and trainB nor train")
    machine = {
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "original": check_checkout(args.upstream),
    }
    print(", ".join(f"{key} {value}" for key, value in machine.items()) + "\n")
    print("| pipeline | steps | float64: losses | weights | buffers | float32, each step: losses, relative | seconds |")
    print("|---|---|---|---|---|---|---|", flush=True)
    rows = []
    for name in [args.only] if args.only else TASKS:
        with tempfile.TemporaryDirectory() as folder:
            try:
                rows.append(measure(name, args, Path(folder)))
            except I2IError as error:
                print(error, file=sys.stderr)
                return error.exit_code
    failed = [problem for row in rows for problem in row["problems"]]
    print("\n" + ("\n".join(failed) or "within the limits"))
    if args.json:
        args.json.write_text(json.dumps({"machine": machine, "rows": rows}, indent=1))
    return 1 if failed else 0


def measure(name: str, args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Compares a pipeline in both number formats, and prints its row."""
    started = time.perf_counter()
    pixels = 256 if args.full else 64 if name == "cyclegan" else 128
    source = write_images(name, args.data, folder, args.steps // sum(EPOCHS), pixels)
    free = compare(name, args, folder, torch.float64, coupled=False)
    coupled = compare(name, args, folder, torch.float32, coupled=True)
    problems = [f"{name}: {what} is not float64" for what in sorted(free.odd_types)]
    for what, (size, place) in (
        ("losses", free.absolute),
        ("weights", (free.weights, "at the end")),
        ("buffers", (free.buffers, "at the end")),
    ):
        if not size <= MAX_FLOAT64:
            problems.append(f"{name}: float64 {what} differ by {size:.2g}, {place}")
    if not coupled.relative[0] <= MAX_FLOAT32:
        problems.append(f"{name}: float32 losses differ by {coupled.relative[0]:.2g}, {coupled.relative[1]}")
    row = {
        "pipeline": name,
        "images": source,
        "steps": free.steps,
        "loss_float64": free.absolute[0],
        "weights_float64": free.weights,
        "buffers_float64": free.buffers,
        "loss_float32": coupled.relative[0],
        "seconds": time.perf_counter() - started,
        "problems": problems,
    }
    figures = [row[key] for key in ("loss_float64", "weights_float64", "buffers_float64", "loss_float32")]
    cells = [name, str(free.steps), *(f"{figure:.1e}" for figure in figures), f"{row['seconds']:.0f}"]
    print(f"| {' | '.join(cells)} |", flush=True)
    return row


def write_images(name: str, given: list[Path], folder: Path, count: int, pixels: int) -> str:
    """Lays out the images of an epoch under ``folder``: links to given ones, or drawn ones; says which."""
    wanted = ("trainA", "trainB") if name == "cyclegan" else ("train",)
    for source in given:
        if all((source / part).is_dir() for part in wanted):
            for part in wanted:
                (folder / part).mkdir()
                for file in sorted((source / part).iterdir())[:count]:
                    (folder / part / file.name).symlink_to(file.resolve())
            return str(source)
    for part in wanted:
        (folder / part).mkdir()
    drawn = Synthetic("animals" if name == "cyclegan" else "maps", pixels, count, paired=name == "pix2pix")
    for index in range(count):
        (a, _), (b, _) = drawn.draw(index)
        pictures = [a.image, b.image] if name == "cyclegan" else [np.concatenate([a.image, b.image], 1)]
        for part, picture in zip(wanted, pictures, strict=True):
            save_image(folder / part / f"{index:06}.png", picture)
    return "drawn"


def compare(name: str, args: argparse.Namespace, folder: Path, dtype: torch.dtype, coupled: bool) -> Differences:
    """Trains both sides; ``coupled`` begins each step with the state of the original."""
    task, found = TASKS[name], Differences()
    original = Original(args.upstream.resolve(), flags(name, args.full, folder), dtype, SEED)
    experiment = Experiment.load(CONFIGS / task.config, [*overrides(name, args.full, folder), *args.overrides])
    scan(experiment, report=lambda _: None)
    images = len(experiment.dataset)
    updater = build_updater(experiment, args.steps, images, torch.device("cpu"), report=lambda _: None)
    updater.pipeline.to(dtype).train()
    for batch in batches(experiment, args.steps):
        original.read(batch["a_path"][0], batch["b_path"][0])
        for domain, image in original.real.items():
            if not torch.equal(image, batch[domain]):
                off = float((image - batch[domain]).abs().max()) if image.shape == batch[domain].shape else "its size"
                raise DataError(f"{batch[f'{domain}_path'][0]}: read by both sides, it differs by {off}")
        if coupled or found.steps == 0:
            original.hand_over(updater, task.networks)
        if args.nudge and found.steps == 0:
            weight = next(updater.pipeline.members["G"].parameters()).data.view(-1)
            weight[0] = torch.nextafter(weight[0], weight.new_ones(()))
        scalars = updater.step({k: v.to(dtype) if torch.is_tensor(v) else v for k, v in batch.items()})
        theirs = original.step()
        if (found.steps + 1) % images == 0:
            original.end_epoch()
        sums = {ours: factor * sum(theirs[part] for part in parts) for ours, (factor, parts) in task.losses.items()}
        found.add({ours: (float(scalars[ours]), value) for ours, value in sums.items()})
        found.odd_types |= {ours for ours in task.losses if scalars[ours].dtype != dtype}
    found.odd_types |= odd_types(updater, dtype)
    for letter, reference in task.networks.items():
        ours, network = to_reference(updater.pipeline.members[letter]), original.network(reference)
        for key, value in network.state_dict().items():
            difference = float((ours[key] - value).abs().max())
            if key in dict(network.named_parameters()):
                found.weights = max(found.weights, difference)
            else:
                found.buffers = max(found.buffers, difference)
    return found


def batches(experiment: Experiment, steps: int) -> Iterator[dict[str, Any]]:
    """The batches of a run, as the trainer takes them."""
    settings, swap = experiment.settings, experiment.data.settings.direction == "b2a"
    dataset = SeededDataset(experiment.dataset, settings.seed, swap)
    stream = BatchStream(len(dataset), settings.batch_size, settings.seed, 0, steps)
    yield from Loader(dataset, workers=0).batches(stream)


def odd_types(updater: Updater, dtype: torch.dtype) -> set[str]:
    """Weights, buffers and moments that are of another floating-point type."""
    held: dict[str, Tensor] = dict(updater.pipeline.members.state_dict())
    for role, optimizer in updater.optimizers.items():
        for index, state in enumerate(optimizer.state.values()):
            held |= {f"{role}.{index}.{kind}": state[kind] for kind in ("exp_avg", "exp_avg_sq")}
    return {key for key, value in held.items() if value.is_floating_point() and value.dtype != dtype}


def flags(name: str, full: bool, folder: Path) -> list[str]:
    """The original's command line; what it does not say is the original's default."""
    width = "64" if full else "8"
    generator = "resnet_9blocks" if name == "cyclegan" else "unet_256" if full else "unet_128"
    line = f"{TASKS[name].flags} --netG {generator} --ngf {width} --ndf {width} --pool_size 0 --no_dropout"
    line += f" --preprocess none --no_flip --serial_batches --n_epochs {EPOCHS[0]} --n_epochs_decay {EPOCHS[1]}"
    return [*line.split(), "--dataroot", str(folder), "--checkpoints_dir", str(folder / "checkpoints")]


def overrides(name: str, full: bool, folder: Path) -> list[str]:
    """What differs from our recipe."""
    width = 64 if full else 8
    line = f"data.root={folder} data.transforms=none data.load_size=null data.crop_size=null trainer.device=cpu"
    line += f" trainer.precision=fp32 trainer.seed={SEED} trainer.epochs={sum(EPOCHS)}"
    line += f" schedule.constant={EPOCHS[0]} schedule.decay={EPOCHS[1]}"
    line += f" generator.base_channels={width} discriminator.base_channels={width}"
    line += " pipeline.pool_size=0" if name == "cyclegan" else " generator.dropout=0"
    depth = [] if name == "cyclegan" else [f"generator.num_downsamplings={8 if full else 7}"]
    return [*line.split(), *depth]


if __name__ == "__main__":
    sys.exit(main())

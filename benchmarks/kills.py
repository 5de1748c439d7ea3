"""Kills training as kill -9 does, at random moments and at each point of a write, and counts the runs that end alike.

Each campaign trains one of the configurations below, kills it a few times, continues it with --resume auto after each,
and compares it with a run that was never killed: checkpoints and logs value by value, bundles byte by byte. The killed
processes are forked off one that has imported everything, so that a hundred kills take minutes.

python benchmarks/kills.py --kills 120 --json kills.json
python benchmarks/kills.py --only pix2pix --seed 3
"""

import argparse
import json
import math
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Any

for name in ("OMP", "MKL", "OPENBLAS"):  # before torch and numpy: a process with threads cannot be forked safely
    os.environ[f"{name}_NUM_THREADS"] = "1"
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from i2i.run.proof.child import train_until  # noqa: E402
from i2i.run.proof.comparison import compare_runs, entries_of  # noqa: E402
from i2i.run.proof.moments import Moment, was_killed  # noqa: E402

STEPS = 24
COMMON = f"""trainer.steps={STEPS} trainer.checkpoint_every=2 trainer.sample_every=6 trainer.log_every=1 data.length=7
             trainer.sample_count=1 trainer.device=cpu""".split()
LINEAR = "schedule={type: linear, constant: 9, decay: 15, unit: steps}"
NARROW = [LINEAR, "data.size=32", "generator.base_channels=4", "discriminator.base_channels=4"]
CYCLEGAN = [*NARROW, "generator.num_blocks=1", "pipeline.pool_size=3", "discriminator.num_layers=1"]
PIX2PIX = [*NARROW, "generator.num_downsamplings=4", "discriminator.num_layers=1"]
GAN = [LINEAR, "trainer.batch_size=4"]
VALIDATION = "validation={split: test, every: 4, count: 2, metrics: [psnr], best: psnr}"
FILES = "data={type: unpaired, root: IMAGES, load_size: 36, crop_size: 32}"
STAGED = ["plugins=[PLUGIN]", "pipeline={type: staged, r1: 1.0, r1_every: 3}"]
NAN = ["plugins=[PLUGIN]", "data={type: poisoned}", "trainer.on_nan=rollback"]
SCENARIOS = {
    "cyclegan: pool, average, dropout": ("cyclegan", [*CYCLEGAN, "generator.dropout=0.5", "trainer.ema=0.9"]),
    "pix2pix: batch norm in two parts": ("pix2pix", [*PIX2PIX, "trainer.accumulate=2", "trainer.batch_size=4"]),
    "cyclegan: two loader processes": ("cyclegan", [*CYCLEGAN, "data.workers=2"]),
    "cyclegan: image files, augmented, one broken": ("cyclegan", [*CYCLEGAN, FILES]),
    "cyclegan: bfloat16, spectral norm": (
        "cyclegan",
        [*CYCLEGAN, "trainer.precision=bf16", "discriminator.spectral_norm=true", "trainer.clip_norm=1"],
    ),
    "pix2pix: validation, best, average": ("pix2pix", [*PIX2PIX, VALIDATION, "trainer.ema=0.9"]),
    "pix2pix: NaN, rolled back": ("pix2pix", [*PIX2PIX, *NAN]),
    "gan: lazy penalty, labels, average in images": ("gan", [*GAN, "pipeline.r1_every=3"]),
    "gan: stages, kept state, two parts": ("gan", [*GAN, *STAGED, "trainer.accumulate=2"]),
}
SAID = {"one broken": "another image takes its place", "NaN": "back from step"}
PLUGIN = """
import i2i, numpy as np, torch

@i2i.DATASETS.register("poisoned")
class Poisoned:
    def __init__(self):
        self.channels, self.paired = {"a": 3, "b": 3}, True
    def __len__(self):
        return 5
    def get(self, index, rng):
        a, b = torch.from_numpy(rng.uniform(-1, 1, (2, 3, 32, 32)).astype(np.float32))
        a = a * float("nan") if rng.uniform() < 0.04 else a
        return {"a": a, "b": b, "a_path": str(index), "b_path": str(index)}
"""
PLUGIN += """

class Staged(i2i.PIPELINES.get("gan")):  # batches grow, moments are forgotten; a mean and images of the past are kept
    averaged_state = ("mean",)

    def __init__(self, networks, losses, r1: float = 0.0, r1_every: int = 16):
        super().__init__(networks, losses, r1, r1_every)
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("past", torch.zeros(1, 1, 16, 16))

    def stages(self, batch_size):
        return (i2i.Stage(0, batch_size), i2i.Stage(30, 2 * batch_size, resets_optimizers=True, lr_factor=0.5))

    def loss(self, phase, now, shared):
        terms = super().loss(phase, now, shared)
        if phase == "G":
            drift = (shared["fake"].mean() - self.mean).square() + (shared["fake"] - self.past.mean(0)).square().mean()
            terms.losses["drift"] = drift
            terms.keep = {"mean": shared["fake"].mean(), "fake": shared["fake"]}
        return terms

    def commit(self, phase, keep):
        if phase == "G":
            self.mean.lerp_(keep["mean"], 0.1)
            self.past.copy_(keep["fake"][-1:])

i2i.PIPELINES.register("staged")(Staged)
"""
WRITES = ("open", "half", "sync", "rename", "renamed")
POINTS = [(point, "checkpoints") for point in (*WRITES, "prune")] + [(point, ".") for point in WRITES]


@dataclass
class Tally:
    """What came of the kills of one configuration.

    Attributes:
        tried: Kills.
        survived: Kills of runs that ended as if there had been none.
        inside: Kills inside a write: a part of a file was left behind, or the moment was one of a write.
        runs: Runs that were killed.
        problems: What differed.
    """

    tried: int = 0
    survived: int = 0
    inside: int = 0
    runs: int = 0
    problems: list[str] = field(default_factory=list)


class Campaigns:
    """Runs of one configuration, one that nobody kills and any number that are killed."""

    def __init__(self, name: str, home: Path, rng: random.Random) -> None:
        config, overrides = SCENARIOS[name]
        self.name, self.home, self.rng = name, home, rng
        self.config = str(ROOT / f"configs/tiny/{config}.yaml")
        self.overrides = [*COMMON, *overrides]
        if any(override.startswith("data={") for override in overrides):
            self.overrides = [o for o in self.overrides if o.startswith(("data={", "data.workers")) or o[:5] != "data."]
        (home / "poisoned.py").write_text(PLUGIN)
        places = {"IMAGES": str(home / "images"), "PLUGIN": str(home / "poisoned.py")}
        for placeholder, place in places.items():
            self.overrides = [override.replace(placeholder, place) for override in self.overrides]
        if FILES in overrides:
            draw_images(home / "images")
        self.points = endless(POINTS, rng)
        self.tally = Tally()
        started = time.monotonic()
        code, _ = self.train(home / "whole", None, None)
        self.seconds = time.monotonic() - started
        said = (home / "said.txt").read_text()
        if code or any(case in name and words not in said for case, words in SAID.items()):
            raise SystemExit(f"{name}: exit code {code}\n{said}")

    def train(self, folder: Path, moment: Moment | None, delay: float | None) -> tuple[int, bool]:
        """Trains in a forked process that dies at a moment, or is killed after a delay in seconds.

        Returns:
            The exit status, and whether the process left a part of a file behind.
        """
        child = os.fork()
        if child == 0:
            code = 70
            try:
                said = os.open(self.home / "said.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
                os.dup2(said, 1)
                os.dup2(said, 2)
                code = train_until(self.config, self.overrides, folder, moment)
                sys.stdout.flush()
                sys.stderr.flush()
            finally:
                os._exit(code)  # the parent's clean-up is not this process's
        if delay is not None:
            time.sleep(delay)
            os.kill(child, signal.SIGKILL)  # a child that is done already is still there until it is waited for
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        return code, any(folder.rglob(".*.tmp")) if folder.is_dir() else False

    def campaign(self, kills: int) -> None:
        """Kills a run so many times, or until it is done, and compares it."""
        folder, tally = self.home / f"killed_{self.tally.runs}", self.tally
        tally.runs += 1
        tried = 0
        code = -signal.SIGKILL
        for _ in range(kills):
            moment, delay = self.next_moment()
            code, has_leftover = self.train(folder, moment, delay)
            if not was_killed(code):
                break
            tried += 1
            tally.inside += moment is not None or has_leftover
        if was_killed(code):
            code, _ = self.train(folder, None, None)
        tally.tried += tried
        last_line = (self.home / "said.txt").read_text().splitlines()[-1:]
        problems = [f"exit code {code}: {last_line}"] if code else list(self.problems(folder))
        if problems:
            tally.problems += [f"{folder.name}: {problem}" for problem in problems]
        else:
            tally.survived += tried

    def next_moment(self) -> tuple[Moment | None, float | None]:
        """Two of five kills come at a point of a write, the others at any time."""
        if self.rng.random() < 0.6:
            return None, self.rng.uniform(0, self.seconds / 3)  # so that a run is killed several times
        point, folder = next(self.points)
        return Moment(self.rng.randrange(STEPS - 6), point, folder, self.rng.randrange(1, 20_000)), None

    def problems(self, folder: Path) -> Iterator[str]:
        """Tells what differs from the run that nobody killed."""
        yield from compare_runs(self.home / "whole", folder).differences
        steps = [entry["step"] for entry in entries_of(folder) if "epoch" in entry]
        if steps != list(range(1, STEPS + 1)):
            yield f"log.jsonl: steps {steps}"
        for leftover in folder.rglob(".*.tmp"):
            yield f"{leftover.relative_to(folder)}: left behind"


def endless(items: list[Any], rng: random.Random) -> Iterator[Any]:
    """All items in a random order, again and again."""
    while True:
        yield from rng.sample(items, len(items))


def draw_images(root: Path) -> None:
    """Writes small images of the embedded data set into two folders, one of them damaged."""
    from i2i.data.drawn.dataset import Synthetic
    from i2i.data.loading.stream import generator_of
    from i2i.images.files import save_image

    dataset = Synthetic(domain="animals", size=32, length=5)
    for side, key in (("trainA", "a"), ("trainB", "b")):
        (root / side).mkdir(parents=True)
        for index in range(len(dataset)):
            pixels = (dataset.get(index, generator_of(index))[key].permute(1, 2, 0) + 1) * 127.5
            save_image(root / side / f"{index}.png", pixels.round().byte().numpy())
    whole = (root / "trainA/0.png").read_bytes()
    (root / "trainA/broken.png").write_bytes(whole[: len(whole) // 2])


def preload() -> None:
    """Imports what training imports, and makes sure that forking is safe."""
    import albumentations  # noqa: F401
    import torch._dynamo
    from torch.utils.tensorboard import SummaryWriter  # noqa: F401

    import i2i.run.report.run  # noqa: F401

    torch.set_num_threads(1)
    tasks = Path("/proc/self/task")
    if tasks.is_dir() and len(list(tasks.iterdir())) > 1:
        raise SystemExit("this process has threads and cannot be forked safely")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100, help="at least so many (default: 100)")
    parser.add_argument("--each", type=int, default=6, help="kills of one run at most (default: 6)")
    parser.add_argument("--seed", type=int, default=0, help="decides the moments")
    parser.add_argument("--only", default="", metavar="TEXT", help="the configurations whose name holds this")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    args = parser.parse_args()
    names = [name for name in SCENARIOS if args.only in name]
    if not names:
        raise SystemExit(f"--only {args.only}: no such configuration; there are: {'; '.join(SCENARIOS)}")
    preload()
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="i2i_") as home:
        tallies = carry_out(names, Path(home), args.kills, args.each, random.Random(args.seed))
    rows = {name: vars(tally) for name, tally in tallies.items()}
    total = {key: sum(row[key] for row in rows.values()) for key in ("tried", "survived", "inside", "runs")}
    print("| configuration | runs | kills | inside a write | survived |\n|---|---|---|---|---|")
    for name, row in {**rows, "all": total}.items():
        print(f"| {name} | {row['runs']} | {row['tried']} | {row['inside']} | {row['survived']} |")
    print(f"\n{total['survived']} of {total['tried']} kills survived, {time.monotonic() - started:.0f} s")
    for name, row in rows.items():
        for problem in row["problems"]:
            print(f"{name}: {problem}")
    if args.json:
        args.json.write_text(json.dumps({"total": total, "rows": rows}, indent=1))
    return int(total["survived"] < total["tried"])


def carry_out(names: list[str], home: Path, kills: int, each: int, rng: random.Random) -> dict[str, Tally]:
    """Goes round the configurations until there were enough kills."""
    campaigns: dict[str, Campaigns] = {}
    for number, name in enumerate(names):
        folder = home / str(number)
        folder.mkdir()
        campaigns[name] = Campaigns(name, folder, rng)
    for campaign in cycle(campaigns.values()):
        missing = kills - sum(other.tally.tried for other in campaigns.values())
        if missing <= 0:
            break
        campaign.campaign(min(each, missing, math.ceil(kills / len(names))))
        print(f"{campaign.name}: {campaign.tally.tried} kills", file=sys.stderr, flush=True)
    return {name: campaign.tally for name, campaign in campaigns.items()}


if __name__ == "__main__":
    sys.exit(main())

"""Train on the embedded data set, translate held-out images and say where to look. Needs no files and no GPU.

python tools/demo.py                   a CycleGAN turns plain animals into striped ones, and back
python tools/demo.py --seed 1 trainer.steps=200
"""

import argparse
import json
from pathlib import Path

HELP = "train and translate on the embedded data set"
HELD_OUT = 64


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "arguments",
        nargs="*",
        metavar="[animals] key.path=value",
        help="what to show (default: animals), and any number of overrides",
    )
    parser.add_argument("--seed", type=int, default=0, help="of weights and order (default: 0)")
    parser.add_argument("--out", metavar="DIR", help="the run folder (default: runs/NAME/NUMBER)")


def run(args: argparse.Namespace) -> int:
    from i2i.config import split_arguments
    from i2i.errors import I2IError
    from i2i.registry import did_you_mean

    names, overrides = split_arguments(args.arguments)
    names = names or ["animals"]
    configs = {path.stem.removeprefix("cyclegan_"): path for path in _configs().glob("cyclegan_animals.yaml")}
    if len(names) > 1 or names[0] not in configs:
        shown = ", ".join(configs) or "none: the demo needs a checkout of the repository"
        raise I2IError(f"no demo is named {' '.join(names)!r}{did_you_mean(names[0], configs)}", [f"demos: {shown}"])

    from i2i.experiment import Experiment
    from i2i.run import train
    from i2i.run_folder import run_folder

    experiment = Experiment.load(configs[names[0]], [*overrides, f"trainer.seed={args.seed}"])
    folder = run_folder(experiment.name, args.out, "never")
    code, folder = train(experiment, folder)
    return code or _translate(experiment.dataset.size[0], folder)


def _configs() -> Path:
    return Path(__file__).resolve().parents[2] / "configs"


def _translate(size: int, folder: Path) -> int:
    from i2i.atomic import write_bytes
    from i2i.cli import main
    from i2i.data.synthetic import write_split

    plain, striped = write_split(folder / "held_out", HELD_OUT, "test", size)
    for source, direction in ((plain, "a2b"), (striped, "b2a")):
        target = folder / "translated" / direction
        code = main("translate", [str(folder), str(source), str(target), "--direction", direction])
        if code:
            return code
    sheet = folder / "before_after.png"
    _write_sheet(sheet, folder, plain, striped)
    judgement = _judge(size, folder)
    write_bytes(folder / "judgement.json", json.dumps(judgement, indent=1).encode())
    print(
        f"\nof {HELD_OUT} held-out plain animals {judgement['striped']:.0%} got stripes of at least 80 % of real ones' "
        f"contrast; the ground changed by {judgement['ground_change']:.3f} of the value range.\n"
        f"of the striped ones' contrast {judgement['contrast_left']:.0%} is left when they are made plain."
    )
    print(f"look at {sheet}\n  training:   {folder / 'samples'}, or  tensorboard --logdir {folder}")
    print(f"  translated: {folder / 'translated'}, from images in {folder / 'held_out'} that training never saw")
    return 0


def _write_sheet(path: Path, folder: Path, plain: Path, striped: Path) -> None:
    """Lays held-out images beside their translations."""
    from i2i.images import load_image, make_grid, save_image

    names = [f"{index:06}.png" for index in range(8)]
    columns = {
        "plain": plain,
        "made striped": folder / "translated" / "a2b",
        "striped": striped,
        "made plain": folder / "translated" / "b2a",
    }
    grid = make_grid({name: [load_image(place / file)[0] for file in names] for name, place in columns.items()})
    save_image(path, grid)


def _judge(size: int, folder: Path) -> dict[str, float]:
    """Compares the translations with the truth, which the synthetic data set knows; all values are shares of 1."""
    import numpy as np

    from i2i.data.synthetic import Synthetic
    from i2i.images import load_image
    from i2i.metrics.stripes import ground_change, stripe_energy

    dataset = Synthetic(size=size, length=HELD_OUT, split="test")
    scenes = [dataset.draw(index) for index in range(HELD_OUT)]
    plain, striped = [a for (a, _), _ in scenes], [b for _, (b, _) in scenes]
    names = [f"{index:06}.png" for index in range(HELD_OUT)]
    made_striped, made_plain = (
        [load_image(folder / "translated" / direction / name)[0] for name in names] for direction in ("a2b", "b2a")
    )
    real = float(np.median([stripe_energy(scene.image, scene.mask) for scene in striped]))
    gained = [stripe_energy(image, scene.mask) / real for image, scene in zip(made_striped, plain, strict=True)]
    left = [stripe_energy(image, scene.mask) / real for image, scene in zip(made_plain, striped, strict=True)]
    there = [ground_change(scene.image, image, scene.mask) for scene, image in zip(plain, made_striped, strict=True)]
    back = [ground_change(scene.image, image, scene.mask) for scene, image in zip(striped, made_plain, strict=True)]
    return {
        "striped": float(np.mean(np.array(gained) >= 0.8)),
        "contrast": float(np.median(gained)),
        "contrast_left": float(np.median(left)),
        "ground_change": float(np.mean(there)),
        "ground_change_back": float(np.mean(back)),
    }

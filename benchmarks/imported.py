"""Compares imported models with the original: its test.py --eval and our translate, on the same images.

python benchmarks/imported.py --upstream ~/pytorch-CycleGAN-and-pix2pix
python benchmarks/imported.py --upstream ~/pytorch-CycleGAN-and-pix2pix --images datasets/horse2zebra/testA --width 64

The original draws random weights, with larger values than it trains from, so that outputs have contrast; statistics of
batch norm are those of noise, and a little off. Its own test.py translates in fp32 on the CPU; import_weights makes a
bundle of the same files, translate translates. Values are those of the PNG files, 0 to 255. The original cuts them off
and we round, so about half of them differ by 1; the last column counts what is left when ours are cut off as well, by
arithmetic in another order. dominate and wandb, which the original imports for its web pages, are replaced where they
are not installed.
"""

import argparse
import contextlib
import io
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from i2i.cli import main as command
from i2i.data.drawn.dataset import Synthetic
from i2i.images.files import to_uint8
from i2i.inference.translator import Translator
from i2i.pipelines.base import translating

_WEIGHTS = """
import sys, torch
from pathlib import Path
from models import networks
folder, names, netG, norm, width, gain, dropout = sys.argv[1:]
Path(folder).mkdir(parents=True)
for seed, name in enumerate(names.split(",")):
    torch.manual_seed(seed)
    G = networks.define_G(3, 3, int(width), netG, norm, use_dropout=dropout == "dropout")
    networks.init_weights(G, "normal", float(gain))
    norms = [part for part in G.modules() if isinstance(part, torch.nn.BatchNorm2d)]
    for part in norms:
        part.momentum = 1.0
    with torch.no_grad():
        G(torch.nn.functional.interpolate(torch.rand(2, 3, 16, 16) * 2 - 1, 256, mode="bicubic"))
    for part in norms:
        part.running_mean += 0.1 * torch.randn_like(part.running_mean)
        part.running_var *= torch.rand_like(part.running_var) + 0.5
    torch.save(G.state_dict(), f"{folder}/latest_net_{name}.pth")
"""
_TEST = """
import importlib.util, runpy, sys
from unittest.mock import MagicMock
for name in ("dominate", "wandb"):
    if importlib.util.find_spec(name) is None:
        sys.modules[name] = MagicMock()
        sys.modules[name + ".tags"] = MagicMock()
        sys.modules[name].document.return_value.render.return_value = ""
sys.path.insert(0, ".")
sys.argv[0] = "test.py"
runpy.run_path("test.py", run_name="__main__")
"""


@dataclass(frozen=True)
class Case:
    """One model: how the original builds and runs it, and what to compare.

    Attributes:
        netG: The original's name of the generator.
        norm: The original's.
        model: The original's.
        size: Of the images, in pixels.
        flags: More of the original's flags.
        eval: Whether the original runs with ``--eval``; without, batch norm takes the statistics of the image.
        views: Our direction -> the folder of its images, and the ending of the original's files.
    """

    netG: str
    norm: str
    model: str
    size: int
    views: dict[str, tuple[str, str]]
    flags: tuple[str, ...] = ()
    eval: bool = True

    @property
    def name(self) -> str:
        return "_".join((self.model, self.netG, self.norm, *(flag.strip("-") for flag in self.flags), str(self.eval)))

    @property
    def dropout(self) -> str:
        return "none" if self.model == "cycle_gan" or "--no_dropout" in self.flags else "dropout"

    @property
    def names(self) -> str:
        return "G_A,G_B" if self.model == "cycle_gan" else "G"


_ONE = {"a2b": ("testA", "fake")}
_BOTH = {"a2b": ("testA", "fake_B"), "b2a": ("testB", "fake_A")}
CASES = (
    Case("resnet_9blocks", "instance", "test", 96, _ONE),
    Case("resnet_9blocks", "instance", "test", 96, _ONE, ("--no_dropout",)),
    Case("resnet_6blocks", "batch", "test", 96, _ONE),
    Case("resnet_6blocks", "none", "test", 96, _ONE),
    Case("unet_128", "batch", "pix2pix", 128, {"a2b": ("testA", "fake_B")}),
    Case("unet_128", "batch", "pix2pix", 128, {"b2a": ("testB", "fake_B")}, ("--direction", "BtoA")),
    Case("unet_256", "instance", "test", 256, _ONE),
    Case("unet_256", "batch", "test", 256, _ONE),
    Case("resnet_9blocks", "instance", "cycle_gan", 96, _BOTH),
    Case("resnet_6blocks", "batch", "cycle_gan", 64, _BOTH),
    Case("resnet_6blocks", "batch", "test", 96, _ONE, ("--no_dropout",), eval=False),
    Case("unet_128", "batch", "pix2pix", 128, {"a2b": ("testA", "fake_B")}, ("--no_dropout",), eval=False),
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--upstream", type=Path, required=True, metavar="PATH", help="a checkout of the original")
    parser.add_argument("--images", type=Path, metavar="FOLDER", help="of any size (default: drawn ones)")
    parser.add_argument("--count", type=int, default=8, help="images of each domain")
    parser.add_argument("--width", type=int, default=16, help="--ngf of the original")
    args = parser.parse_args()
    upstream = args.upstream.resolve()
    if not (upstream / "test.py").is_file():
        print(f"--upstream {args.upstream}: holds no test.py", file=sys.stderr)
        return 2
    torch.set_num_threads(1)
    print("| original | norm | model | direction | images | std | largest difference | differ | differ, cut off |")
    print("|---|---|---|---|---|---|---|---|---|")
    worst = 0
    with tempfile.TemporaryDirectory() as work:
        for case in CASES:
            folder = Path(work) / case.name
            write_images(folder, args.images, args.count, case.size)
            run_original(case, upstream, folder, args.width)
            for direction, row in compare(case, folder):
                flags = " ".join((case.model, *case.flags, *(["--eval"] if case.eval else [])))
                print(f"| {case.netG} | {case.norm} | {flags} | {direction} | {row.show()} |", flush=True)
                worst = max(worst, row.largest)
    print(f"\nlargest difference: {worst} of 255")
    return int(worst > 1)


def write_images(folder: Path, source: Path | None, count: int, size: int) -> None:
    """Writes two domains of square PNGs, ``testA`` and ``testB``, and the pairs of both side by side, ``test``."""
    if source is None:
        drawn = Synthetic(size=size, length=2 * count)
        pictures = [to_uint8(drawn.get(i, np.random.default_rng(i))["a"]) for i in range(2 * count)]
    else:
        files = sorted(path for path in source.iterdir() if path.suffix.lower() in (".jpg", ".png"))[: 2 * count]
        pictures = [np.asarray(Image.open(path).convert("RGB").resize((size, size))) for path in files]
    half = len(pictures) // 2
    for name in ("testA", "testB", "test"):
        (folder / name).mkdir(parents=True)
    for i in range(half):
        pair = pictures[i], pictures[half + i]
        for name, picture in zip(("testA", "testB", "test"), (*pair, np.concatenate(pair, 1)), strict=True):
            Image.fromarray(picture).save(folder / name / f"{i}.png")


def run_original(case: Case, upstream: Path, folder: Path, width: int) -> None:
    """Lets the original make weights and translate."""
    weights = folder / "checkpoints" / "model"
    gain = {"none": "0.06"}.get(case.norm, "0.1")
    _python(_WEIGHTS, upstream, str(weights), case.names, case.netG, case.norm, str(width), gain, case.dropout)
    flags = [
        *("--dataroot", str(folder / "testA" if case.model == "test" else folder)),
        *(
            "--name",
            "model",
            "--checkpoints_dir",
            str(folder / "checkpoints"),
            "--results_dir",
            str(folder / "original"),
        ),
        *("--model", case.model, "--netG", case.netG, "--norm", case.norm, "--ngf", str(width)),
        *("--preprocess", "none", "--num_test", "100000", *case.flags, *(["--eval"] if case.eval else [])),
    ]
    _python(_TEST, upstream, *flags)


def _python(program: str, folder: Path, *arguments: str) -> None:
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(folder)}
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], cwd=folder, env=environment, capture_output=True, text=True
    )
    if done.returncode:
        raise SystemExit(f"the original failed:\n{done.stderr}")


@dataclass
class Row:
    """What the files of one direction show."""

    count: int
    std: float
    largest: int
    differ: float
    differ_cut_off: float

    def show(self) -> str:
        return f"{self.count} | {self.std:.0f} | {self.largest} | {self.differ:.1%} | {self.differ_cut_off:.4%}"


def compare(case: Case, folder: Path) -> Iterator[tuple[str, Row]]:
    """Imports the original's files, translates its images and compares."""
    bundle = folder / "model.safetensors"
    policy = "running" if case.eval else "batch"
    _run("import_weights", str(folder / "checkpoints" / "model"), str(bundle), "--norm-policy", policy)
    translator = Translator.load(bundle, device="cpu")
    for direction, (images, ending) in case.views.items():
        translated = folder / f"ours_{direction}"
        options = ("--direction", direction, "--device", "cpu", "--precision", "fp32")
        _run("translate", str(bundle), str(folder / images), str(translated), *options)
        ours, cut_off, theirs = [], [], []
        for path in sorted((folder / images).iterdir()):
            ours.append(_pixels(translated / path.name))
            theirs.append(_pixels(next((folder / "original").rglob(f"{path.stem}_{ending}.png"))))
            cut_off.append(_cut_off(translator, direction, _pixels(path)))
        a, b, c = (np.stack(arrays).astype(int) for arrays in (ours, theirs, cut_off))
        difference = np.abs(a - b)
        yield (
            direction,
            Row(
                len(ours), float(b.std()), int(difference.max()), float((difference > 0).mean()), float((b != c).mean())
            ),
        )


def _cut_off(translator: Translator, direction: str, image: np.ndarray) -> np.ndarray:
    """Translates as the original writes: values are cut off, not rounded."""
    x = torch.from_numpy(image.copy()).permute(2, 0, 1)[None] / 127.5 - 1
    with torch.inference_mode(), translating(translator.pipeline, translator.info.norm_policy, "off"):
        y = translator.pipeline.translate(x, translator.info.directions[direction])
    values: np.ndarray = ((y[0].permute(1, 2, 0).numpy() + 1) / 2 * 255).astype(np.uint8)
    return values


def _pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def _run(name: str, *arguments: str) -> None:
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        code = command(name, arguments)
    if code:
        raise SystemExit(f"{name} failed:\n{said.getvalue()}")


if __name__ == "__main__":
    sys.exit(main())

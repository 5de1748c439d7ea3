"""How long a user waits: --help, import i2i, the first translated image from cold.

python benchmarks/startup.py
python benchmarks/startup.py --only image --threads 1

Each figure is the wall time of a whole process, its interpreter included; files are in the system's cache. The first
image is one 256² JPEG through resnet_9blocks at full width. What it cannot beat is a process that imports torch and
numpy, reads the same weights with safetensors into networks that were built without initial values, and takes one
forward pass of zeros; it reads no image, writes none, and checks nothing.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from hardware import ROOT
from harness import Figures, Row, column, measure, parser, report
from PIL import Image

sys.path.insert(0, str(ROOT))

from i2i.inference.bundle.bundle import save_bundle
from i2i.run.experiment import Experiment

SIZE = 256
_LEAST = """
import sys
import numpy, torch
from safetensors.torch import load_file
sys.path.insert(0, ".")
from i2i.networks.resnet import ResNetGenerator
with torch.device("meta"):
    G = ResNetGenerator(3, 3, num_blocks=9, base_channels=int(sys.argv[2]))
weights = {name[2:]: value for name, value in load_file(sys.argv[1]).items() if name.startswith("G.")}
G.load_state_dict(weights, assign=True)
with torch.inference_mode():
    G.eval()(torch.zeros(1, 3, int(sys.argv[3]), int(sys.argv[3])))
"""


def main() -> int:
    made = parser(__doc__)
    made.add_argument("--width", type=int, default=64, help="channels of the first layer (default: 64)")
    args = made.parse_args()
    if args.quick:
        args.width, args.repeats = 16, 2
    with tempfile.TemporaryDirectory() as work:
        rows = measured(Path(work), args.width, args.repeats, args.threads, args.only)
    return report(rows, args)


def measured(work: Path, width: int, repeats: int, threads: int, only: str) -> list[Row]:
    """Measures the rows whose name holds ``only``."""
    python = [sys.executable]
    bundle, image = work / "model.safetensors", work / "image.jpg"
    translate = [*python, "tools/translate.py", bundle, image, work / "out.png", "--overwrite"]
    least = [*python, "-c", _LEAST, bundle, width, SIZE]
    torch_alone = [*python, "-c", "import torch"]
    table: list[tuple[str, str, str, dict[str, Sequence[object]], str]] = [
        ("tools/train.py --help", "<= 0.3", "ours", {"ours": [*python, "tools/train.py", "--help"]}, ""),
        ("tools/translate.py --help", "<= 0.3", "ours", {"ours": [*python, "tools/translate.py", "--help"]}, ""),
        ("import i2i", "<= 0.1", "ours", {"ours": [*python, "-c", "import i2i"]}, "with the interpreter's own start"),
        (
            "first translated image from cold",
            "<= 1.3",
            "ours/baseline",
            {"ours": translate, "torch, weights, a forward": least, "torch": torch_alone},
            "",
        ),
    ]
    rows = []
    for name, goal, figure, commands, note in table:
        if only not in name:
            continue
        if "image" in name:
            prepare(bundle, image, width)
        contestants = {who: _timed(command, threads) for who, command in commands.items()}
        values = column(measure(contestants, repeats, warm_up=1), "seconds")
        if "torch" in values:
            note = f"import torch alone: {np.median(values.pop('torch')):.2f} s"
        rows.append(Row(name, "s", values, goal, figure, note=note))
    return rows


def _timed(command: Sequence[object], threads: int) -> Callable[[], Figures]:
    """Returns a function that measures a command's wall time."""
    environment = environment_of(threads)

    def run() -> Figures:
        started = time.perf_counter()
        done = subprocess.run(list(map(str, command)), cwd=ROOT, env=environment, capture_output=True, text=True)
        seconds = time.perf_counter() - started
        if done.returncode:
            raise SystemExit(f"{' '.join(map(str, command))}\nended with {done.returncode}\n{done.stderr}")
        return {"seconds": seconds}

    return run


def environment_of(threads: int) -> dict[str, str]:
    """Returns the environment of a process with so many threads."""
    return {**os.environ, **{f"{name}_NUM_THREADS": str(threads) for name in ("OMP", "MKL", "OPENBLAS")}}


def prepare(bundle: Path, image: Path, width: int) -> None:
    """Writes a model of random weights, and noise to translate."""
    overrides = ["data={type: synthetic}", f"generator.base_channels={width}"]
    experiment = Experiment.load(ROOT / "configs/cyclegan_horse2zebra.yaml", overrides)
    torch.manual_seed(0)
    pipeline = experiment.build_pipeline()
    save_bundle(bundle, experiment.bundle_info(pipeline, 0), pipeline)
    noise = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), np.uint8)
    Image.fromarray(noise).save(image, quality=95)


if __name__ == "__main__":
    sys.exit(main())

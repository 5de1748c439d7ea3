"""Takes training steps when asked, ours, the original's, or only a step's convolutions; or translates.

python benchmarks/contestants.py '{"who": "ours", "case": {"pipeline": "cyclegan", "size": 64, "channels": 8}}'

A child of other benchmarks: each line on stdin is a measurement, answered in JSON; the first one warms up. All take
the same random batch, without a data set.
"""

import json
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from convolutions import Convolutions
from hardware import ROOT, resident
from harness import Child, Figures, serve
from original import Original
from torch import nn

sys.path.insert(0, str(ROOT))

from i2i.core.errors import I2IError
from i2i.inference.translator import Translator
from i2i.run.experiment import Experiment
from i2i.run.plan.rehearsal import build, fill_pools, random_batch
from i2i.training.compilation import Compilation
from i2i.training.precision import Precision

CONFIGS = {"cyclegan": "configs/cyclegan_horse2zebra.yaml", "pix2pix": "configs/pix2pix_facades.yaml"}
FLAGS = {
    "cyclegan": "--model cycle_gan --netG resnet_9blocks --dataset_mode unaligned",
    "pix2pix": "--model pix2pix --netG unet_256",
}
WARM_STEPS = {"cpu": 0, "cuda": 10}  # after the first


@dataclass(frozen=True)
class Case:
    """A training step.

    Attributes:
        pipeline: ``cyclegan`` with ResNet-9 and an identity loss, or ``pix2pix`` with U-Net-256; published recipes.
        size: Of the images, in pixels.
        batch: Images of each domain.
        channels: Of the first layer; 64 in the papers.
        precision: Ours.
        config: More overrides of our YAML.
        device: ``cpu`` or ``cuda``.
        upstream: The checkout of the original, where it is needed.
        seconds: How long to measure each time, at least a step.
    """

    pipeline: str = "cyclegan"
    size: int = 256
    batch: int = 1
    channels: int = 64
    precision: str = "auto"
    config: list[str] = field(default_factory=list)
    device: str = "cpu"
    upstream: str = ""
    seconds: float = 1.0

    def child(self, who: str, threads: int | None) -> Child:
        """Starts the one who takes these steps."""
        return Child([__file__, json.dumps({"who": who, "case": asdict(self)})], threads)

    def experiment(self) -> Experiment:
        line = f"data.crop_size={self.size} data.load_size=null discriminator.base_channels={self.channels}"
        line += f" generator.base_channels={self.channels} trainer.batch_size={self.batch}"
        line += f" trainer.precision={self.precision} trainer.device={self.device}"
        return Experiment.load(ROOT / CONFIGS[self.pipeline], [*line.split(), *self.config])

    def original(self, folder: str) -> Original:
        line = f"{FLAGS[self.pipeline]} --ngf {self.channels} --ndf {self.channels} --batch_size {self.batch}"
        flags = [*line.split(), "--dataroot", folder, "--checkpoints_dir", folder]
        return Original(Path(self.upstream).resolve(), flags, torch.float32, 0, self.device, has_data=False)


class Ours:
    """What the trainer does of a batch."""

    def __init__(self, case: Case) -> None:
        experiment = case.experiment()
        self.updater = build(experiment, torch.device(case.device))
        if experiment.settings.compile:
            told = partial(print, file=sys.stderr, flush=True)
            self.updater.compilation = Compilation(self.updater.pipeline, self.updater.precision, told)
        self.batch = random_batch(experiment)
        self.networks: list[nn.Module] = list(self.updater.pipeline.members.values())

    def step(self) -> None:
        self.updater.step(self.batch)

    def settle(self) -> None:
        fill_pools(self.updater)

    def facts(self) -> Figures:
        return {"precision": self.updater.precision.name}


class Theirs:
    """What the original's training loop does of a batch: float32, eager, as it ships."""

    def __init__(self, case: Case) -> None:
        with tempfile.TemporaryDirectory() as folder:
            self.original = case.original(folder)
        batch = random_batch(case.experiment())
        self.a, self.b = batch["a"], batch["b"]
        self.networks = [self.original.network(name) for name in self.original.model.model_names]

    def step(self) -> None:
        self.original.take(self.a, self.b)

    def settle(self) -> None:
        self.original.fill_pools()

    def facts(self) -> Figures:
        return {"precision": "fp32", "tf32": torch.cuda.is_available() and torch.backends.cudnn.allow_tf32}


class Only:
    """The convolutions of the original's step, in the format that this device is fastest in."""

    def __init__(self, case: Case) -> None:
        theirs = Theirs(case)
        self.networks = theirs.networks
        precision = Precision.pick(case.precision, torch.device(case.device)).name
        self.dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision, torch.float32)
        self.convolutions = Convolutions(theirs.step, self.dtype)

    def step(self) -> None:
        self.convolutions.run()

    def settle(self) -> None:
        pass

    def facts(self) -> Figures:
        return {"precision": str(self.dtype).removeprefix("torch.")}


class Translating:
    """What ``translate`` does between reading a file and writing one, with new weights."""

    def __init__(self, case: Case) -> None:
        experiment = case.experiment()
        pipeline = experiment.build_pipeline()
        self.networks: list[nn.Module] = list(pipeline.members.values())
        self.translator = Translator(experiment.bundle_info(pipeline, 0), pipeline, case.device)
        rng = np.random.default_rng(0)
        self.images = [rng.integers(0, 256, (case.size, case.size, 3), np.uint8) for _ in range(case.batch)]

    def step(self) -> None:
        self.translator.batch(self.images)

    def settle(self) -> None:
        pass

    def facts(self) -> Figures:
        return {"precision": self.translator.precision.name}


class Stopwatch:
    """Measures a contestant.

    Args:
        who: Its class.
        case: What to step.
    """

    def __init__(self, who: type, case: Case) -> None:
        self.case, self.contestant, self.first = case, who(case), 0.0
        self.before = resident()

    def measure(self) -> Figures:
        """Takes steps for a while; returns seconds of a step, bytes of memory at the peak, and what else is known.

        The first time warms up: a step, and on a GPU some more.
        """
        if self.first:
            self.step = self._time(max(1, round(self.case.seconds / self.step)))
        else:
            self.first = self.step = self._time(1)
            self.contestant.settle()
            if WARM_STEPS[self.case.device]:
                self.step = self._time(WARM_STEPS[self.case.device])
        parameters = sum(p.numel() for network in self.contestant.networks for p in network.parameters())
        return {
            "seconds": self.step,
            "images_per_second": self.case.batch / self.step,
            "first_step": self.first,
            "parameters": parameters,
            **self._memory(),
            **self.contestant.facts(),
        }

    def _time(self, steps: int) -> float:
        started = time.perf_counter()
        for _ in range(steps):
            self.contestant.step()
        if self.case.device == "cuda":
            torch.cuda.synchronize()
        return (time.perf_counter() - started) / steps

    def _memory(self) -> Figures:
        """On a CPU resident memory less that before the first step; on a GPU all that torch has handed out."""
        if self.case.device == "cuda":
            return {"memory": torch.cuda.max_memory_allocated(), "reserved": torch.cuda.max_memory_reserved()}
        return {"memory": resident("VmHWM") - self.before}


def main(text: str) -> None:
    spec: dict[str, Any] = json.loads(text)
    who = {"ours": Ours, "original": Theirs, "convolutions": Only, "translate": Translating}[spec["who"]]
    try:
        serve(Stopwatch(who, Case(**spec["case"])).measure)
    except I2IError as error:
        raise SystemExit(str(error)) from None


if __name__ == "__main__":
    main(sys.argv[1])

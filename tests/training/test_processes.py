"""Several processes that do not agree, or of which one is gone: all end soon, and the reason is told once."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from tests.conftest import REPOSITORY

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)}
TINY = """generator.base_channels=4 generator.num_blocks=1 discriminator.base_channels=4 data.length=6 data.size=32
          trainer.batch_size=2 trainer.log_every=1""".split()
SECONDS = 20  # within which all have to be gone; alone it takes two


def start(folder, *arguments, tiny=TINY):
    """Starts processes whose arguments may name ``$RANK``."""
    command = " ".join(
        [sys.executable, str(REPOSITORY / "tools/train.py"), str(REPOSITORY / "configs/tiny/cyclegan.yaml")]
    )
    shell = f"exec {command} --out {folder} {' '.join([*tiny, *arguments])}"
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    return subprocess.Popen(
        [*launcher, "--no-python", "bash", "-c", shell],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=ENVIRONMENT,
        start_new_session=True,
    )


def said_by(process, timeout=240):
    """What the processes said, without what the launcher has to add."""
    output = process.communicate(timeout=timeout)[0]
    assert process.returncode != 0
    return output.split("Traceback (most recent call last)")[0]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["trainer.steps=4", "trainer.seed=$RANK"], "configuration: trainer.seed: 0 in process 0, 1 in process 1"),
        (["trainer.steps=4", "trainer.sed=1"], "<command line> trainer.sed: unknown key"),
        (["trainer.steps=$RANK"], "process 0 of 2: <command line> trainer.steps: steps must be at least 1"),
    ],
    ids=["another seed", "the same mistake", "a mistake of one"],
)
def test_what_is_wrong_at_the_start_is_told_once(tmp_path, arguments, expected):
    said = said_by(start(tmp_path / "run", *arguments))
    assert said.count(expected) == 1 and "internal error" not in said
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_processes_that_see_other_files_are_told_so(tmp_path):
    """Of the same number and names; as on machines with a copy each."""
    rng = np.random.default_rng(0)
    for rank in "01":
        for side in ("trainA", "trainB"):
            (tmp_path / rank / side).mkdir(parents=True)
            for index in range(3):
                pixels = rng.integers(0, 256, (32, 32 + int(rank), 3), np.uint8)
                Image.fromarray(pixels).save(tmp_path / rank / side / f"{index}.png")
    data = f"'data={{type: unpaired, root: {tmp_path}/'$RANK', crop_size: 32, transforms: crop}}'"
    tiny = [argument for argument in TINY if not argument.startswith("data.")]
    said = said_by(start(tmp_path / "run", "trainer.steps=4", data, tiny=tiny))
    assert said.count("data set: files: ") == 1 and "data set: images" not in said


def training(folder, steps):
    """Waits until some steps are logged."""
    deadline = time.monotonic() + 200
    log = folder / "log.jsonl"
    while not log.exists() or log.read_bytes().count(b"\n") < steps:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def ranks_of(process):
    """The processes that the launcher has started."""
    listed = subprocess.run(["ps", "-o", "pid=", "--ppid", str(process.pid)], capture_output=True, text=True).stdout
    return [int(pid) for pid in listed.split()]


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_when_one_process_is_killed_all_end_and_one_says_why(tmp_path, victim):
    process = start(tmp_path / "run", "trainer.steps=100000", "trainer.checkpoint_every=3")
    training(tmp_path / "run", 4)
    os.kill(ranks_of(process)[victim], signal.SIGKILL)
    killed = time.monotonic()
    said = said_by(process)
    assert time.monotonic() - killed < SECONDS
    assert said.count("another process of the run has died") == 1 and "internal error" not in said
    assert list((tmp_path / "run/checkpoints").glob("step_*.safetensors"))


@pytest.mark.slow
def test_an_error_of_one_process_ends_all_and_is_told_once(tmp_path):
    plugin = tmp_path / "breaks.py"
    plugin.write_text(
        "from i2i.training.updater import Updater\n"
        "from i2i.training import distributed\n"
        "from i2i.core.errors import DataError\n"
        "step = Updater.step\n"
        "def broken(self, batch):\n"
        "    if self.num_steps == 3 and distributed.rank() == 1:\n"
        "        raise DataError('photo.png: is gone')\n"
        "    return step(self, batch)\n"
        "Updater.step = broken\n"
    )
    process = start(tmp_path / "run", "trainer.steps=100000", f"plugins=[{plugin}]")
    started = time.monotonic()
    said = said_by(process)
    assert said.count("photo.png: is gone") == 1 and "another process" not in said
    assert time.monotonic() - started < 200

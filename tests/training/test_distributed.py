"""Two processes train as one."""

import os
import subprocess
import sys

import pytest
import torch

from tests.conftest import REPOSITORY

TINY = """generator.base_channels=4 generator.num_blocks=1 discriminator.base_channels=4 data.length=6 data.size=32
          trainer.steps=3 trainer.batch_size=2 trainer.log_every=1 pipeline.pool_size=0""".split()


def run(folder, processes):
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"] if processes > 1 else []
    command = [sys.executable, *launcher, str(REPOSITORY / "tools/train.py")]
    command += [str(REPOSITORY / "configs/tiny/cyclegan.yaml"), "--out", str(folder), *TINY]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=240)
    assert done.returncode == 0, done.stderr
    return torch.load(folder / "checkpoints/step_00000003.ckpt", weights_only=True)


@pytest.mark.slow
def test_two_processes_give_the_weights_of_one(tmp_path):
    one, two = run(tmp_path / "one", 1), run(tmp_path / "two", 2)
    different = [
        (one["networks"][name] - two["networks"][name]).abs().max().item()
        for name in one["networks"]
        # A bias before an instance norm has no gradient but rounding noise, which Adam turns into whole steps.
        if name.endswith("weight")
    ]
    # Adam turns a rounding error into a step of the learning rate, here and there; nearly all weights agree.
    assert sorted(different)[len(different) // 2] < 1e-5
    assert max(different) < 3 * 2 * 2e-4

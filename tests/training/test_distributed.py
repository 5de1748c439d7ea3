"""Two processes train as one."""

import json
import os
import socket
import subprocess
import sys

import pytest
import torch

from i2i.training.checkpoints import load
from tests.conftest import REPOSITORY

# Five images and a batch of two: passes end in the middle of a batch, and no process may run out before the other.
TINY = """generator.base_channels=4 generator.num_blocks=1 discriminator.base_channels=4 data.length=5 data.size=32
          trainer.steps=4 trainer.batch_size=2 trainer.log_every=1 pipeline.pool_size=0
          trainer.precision=fp32""".split()
# Adam would turn the rounding of a gradient near zero into a whole step.
TINY.append("optimizer={type: sgd, lr: 1e-3}")
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)}
EACH = "validation={split: test, every: 4, count: 5, metrics: [psnr]}"


def launch(processes, *command):
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"] if processes > 1 else []
    command = [sys.executable, *launcher, *map(str, command)]
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, timeout=240)
    assert done.returncode == 0, done.stderr
    return done.stdout


def run(folder, processes):
    said = launch(
        processes,
        REPOSITORY / "tools/train.py",
        REPOSITORY / "configs/tiny/cyclegan.yaml",
        "--out",
        folder,
        *TINY,
        EACH,
    )
    assert said.count("done: translate with") == 1, "only the first process speaks"
    log = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return load(folder / "checkpoints/step_00000004.safetensors"), log


@pytest.mark.slow
def test_two_processes_give_the_weights_of_one(tmp_path):
    (one, log_one), (two, log_two) = run(tmp_path / "one", 1), run(tmp_path / "two", 2)
    for name, weights in one["networks"].items():
        assert torch.allclose(weights, two["networks"][name], rtol=1e-3, atol=2e-5), name
    assert len(log_one) == len(log_two), "one log, written once"
    for name in ("G_adversarial", "cycle_x", "D_Y"):  # of both shares, not of the first process's alone
        assert log_two[0][name] == pytest.approx(log_one[0][name], rel=1e-4), name
    assert log_two[-1]["val_psnr_a2b"] == pytest.approx(log_one[-1]["val_psnr_a2b"], abs=1e-2)


GOING_ON = {
    # Running statistics: each process would gather those of its own images.
    "pix2pix": [*"generator.base_channels=4 discriminator.base_channels=4 data.length=5 trainer.batch_size=2".split(),
                "trainer.ema=0.9", "pipeline.norm_policy=running", EACH],
    # A lazy phase, labels, noise, an average in images; four parts over two processes.
    "gan": "pipeline.r1_every=3 data.length=9 trainer.batch_size=8 trainer.accumulate=2".split(),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", GOING_ON)
def test_two_processes_go_on_as_if_they_had_never_stopped(tmp_path, name):
    config, tiny = REPOSITORY / f"configs/tiny/{name}.yaml", [*GOING_ON[name], "trainer.checkpoint_every=2"]
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    launch(2, REPOSITORY / "tools/train.py", config, "--out", whole, "trainer.steps=4", *tiny)
    checkpoint = whole / "checkpoints/step_00000002.safetensors"
    again = ["--out", parts, "--resume", checkpoint, "trainer.steps=4"]
    launch(2, REPOSITORY / "tools/train.py", config, *again, *tiny)
    one, two = (load(f / "checkpoints/step_00000004.safetensors") for f in (whole, parts))
    for part in ("networks", "ema"):
        assert one[part] and all(torch.equal(value, two[part][name]) for name, value in one[part].items())
    assert (whole / "model.safetensors").read_bytes() == (parts / "model.safetensors").read_bytes()


@pytest.mark.slow
def test_two_machines_train_as_one(tmp_path):
    """Two launchers that know each other by an address alone, as on two machines with a shared file system."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nnodes=2",
        "--nproc-per-node=1",
        f"--master-port={port}",
    ]
    command += ["--master-addr=127.0.0.1"]
    training = [str(REPOSITORY / "tools/train.py"), str(REPOSITORY / "configs/tiny/cyclegan.yaml")]
    training += ["--out", str(tmp_path / "nodes"), *TINY, EACH]
    launched = [
        subprocess.Popen(
            [*command, f"--node-rank={rank}", *training],
            env=ENVIRONMENT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        for rank in range(2)
    ]
    said = [process.communicate(timeout=240)[0].decode() for process in launched]
    assert [process.returncode for process in launched] == [0, 0], said
    assert sum("done: translate with" in text for text in said) == 1
    alone, _ = run(tmp_path / "one", 1)
    together = load(tmp_path / "nodes/checkpoints/step_00000004.safetensors")
    for name, weights in alone["networks"].items():
        assert torch.allclose(weights, together["networks"][name], rtol=1e-3, atol=2e-5), name


@pytest.mark.slow
@pytest.mark.parametrize("pipeline", ["cyclegan", "pix2pix"])
def test_two_processes_give_the_gradients_of_one_with_the_joint_batch(tmp_path, pipeline):
    script = REPOSITORY / "tests/training/joint_gradients.py"
    for processes in (1, 2):
        launch(processes, script, pipeline, tmp_path / f"{processes}.pt")
    one, two = (torch.load(tmp_path / f"{processes}.pt") for processes in (1, 2))
    for letter in {name.split(".")[0] for name in one}:
        names = [name for name in one if name.startswith(f"{letter}.")]
        largest = max(one[name].abs().max().item() for name in names)
        difference = max((one[name] - two[name]).abs().max().item() for name in names)
        assert largest > 1e-4 and difference < 1e-12 * largest, letter


LEAVING = """
from pathlib import Path
import torch
from torch import nn
from i2i.training import distributed
with distributed.joined():
    network = nn.Linear(2, 2)
    network(torch.ones(1, 2)).sum().backward()
    distributed.average([network.weight.grad])
    torch.optim.Adam(network.parameters()).step()
threads = sorted(path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm"))
Path(f"{OUT}/{distributed.os.environ['RANK']}").write_text(" ".join(name for name in threads if "gloo" in name))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_process_that_leaves_the_group_has_none_of_its_threads(tmp_path):
    """They sometimes ended the process with SIGABRT, and torchrun then ended the one that was writing the report."""
    (tmp_path / "leaving.py").write_text(LEAVING.replace("{OUT}", str(tmp_path)))
    launch(2, tmp_path / "leaving.py")
    assert [(tmp_path / rank).read_text() for rank in "01"] == ["", ""]

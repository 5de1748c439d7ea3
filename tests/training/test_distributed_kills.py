"""Two processes that train as one, killed and resumed."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from i2i.run.proof.comparison import compare_runs, entries_of
from tests.conftest import REPOSITORY
from tests.training.test_distributed import ENVIRONMENT

pytestmark = pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for processes in /proc")

STEPS = 40
TINY = f"""generator.base_channels=4 discriminator.base_channels=4 data.length=5 trainer.batch_size=4
           trainer.steps={STEPS} trainer.checkpoint_every=2 trainer.log_every=1 trainer.sample_every=10 trainer.ema=0.9
           trainer.device=cpu data.workers=1""".split()


def start(folder):
    """Starts a launcher and its two processes."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command += [REPOSITORY / "tools/train.py", REPOSITORY / "configs/tiny/pix2pix.yaml", "--out", folder]
    with folder.with_suffix(".txt").open("ab") as said:  # no pipe: loaders of killed processes keep it open
        return subprocess.Popen(
            [*map(str, command), *TINY, "--resume", "auto"], stdout=said, stderr=said, env=ENVIRONMENT
        )


def process_of(rank, launcher):
    """Finds a training process by what the launcher has told it."""
    for environment in Path("/proc").glob("[0-9]*/environ"):
        try:
            told = environment.read_bytes().split(b"\0")
            parent = int((environment.parent / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, IndexError):
            continue
        if parent == launcher and f"RANK={rank}".encode() in told:
            return int(environment.parent.name)
    return None


def wait_for_step(folder, step, process):
    """Waits until a step is logged; tells whether it was before the run ended."""
    deadline = time.monotonic() + 120
    log = folder / "log.jsonl"
    while time.monotonic() < deadline and process.poll() is None:
        lines = log.read_text().splitlines() if log.exists() else []
        steps = [json.loads(line)["step"] for line in lines if line.endswith("}")]
        if steps and steps[-1] >= step:
            return True
        time.sleep(0.01)
    return False


@pytest.mark.slow
def test_two_processes_survive_kills_of_one_and_of_both(tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert start(whole).wait(timeout=240) == 0, (tmp_path / "whole.txt").read_text()
    rng = random.Random(5)
    for ranks, step in (([1], 5), ([0, 1], 14), ([0], 23)):
        launched = start(killed)
        assert wait_for_step(killed, step, launched), (tmp_path / "killed.txt").read_text()
        time.sleep(rng.uniform(0, 0.1))
        victims = [process_of(rank, launched.pid) for rank in ranks]
        for process in [launched.pid, *victims] if len(ranks) == 2 else victims:
            os.kill(process, signal.SIGKILL)
        assert launched.wait(timeout=60) != 0, "one process alone does not go on"
        assert max(entry["step"] for entry in entries_of(killed)) < STEPS
    assert start(killed).wait(timeout=240) == 0, (tmp_path / "killed.txt").read_text()
    assert compare_runs(whole, killed).differences == []
    assert [entry["step"] for entry in entries_of(killed)] == list(range(1, STEPS + 1))
    assert not list(killed.rglob(".*.tmp"))

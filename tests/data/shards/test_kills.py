"""Two processes that train as one on shards behind an address, in a store smaller than the set, killed and resumed."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from i2i.run.proof.comparison import compare_runs, entries_of
from tests.conftest import REPOSITORY
from tests.data.shards.shard_sets import paired_set, serving
from tests.training.test_distributed import ENVIRONMENT
from tests.training.test_distributed_kills import process_of, wait_for_step

pytestmark = pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for processes in /proc")

STEPS = 30
TINY = f"""generator.base_channels=4 discriminator.base_channels=4 trainer.batch_size=4 trainer.steps={STEPS}
          trainer.checkpoint_every=2 trainer.log_every=1 trainer.sample_every=10 trainer.device=cpu
          data.workers=1""".split()


def start(config, folder, store):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command += [str(REPOSITORY / "tools/train.py"), str(config), "--out", str(folder), *TINY, f"data.store={store}"]
    environment = {**ENVIRONMENT, "no_proxy": "127.0.0.1"}
    with folder.with_suffix(".txt").open("ab") as said:
        return subprocess.Popen([*command, "--resume", "auto"], stdout=said, stderr=said, env=environment)


@pytest.mark.slow
def test_a_run_on_shards_survives_kills(tmp_path):
    remote = paired_set(tmp_path / "remote", [5, 4, 6, 3, 5, 4])
    size = max(path.stat().st_size for path in remote.glob("*.tar"))
    tiny = (REPOSITORY / "configs/tiny/pix2pix.yaml").read_text().splitlines()
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    with serving(remote) as server:
        data = (
            f"data: {{type: shards, root: '{server.url}', urls: 'train-{{000..005}}.tar', open_shards: 2, "
            f"load_size: 36, crop_size: 32, store_gb: {4 * size / 1e9:.9f}}}"
        )
        config = tmp_path / "run.yaml"
        config.write_text("\n".join(data if line.startswith("data:") else line for line in tiny))
        run = start(config, whole, tmp_path / "store")
        assert run.wait(timeout=240) == 0, whole.with_suffix(".txt").read_text()
        shutil.rmtree(tmp_path / "store")
        for step, ranks in ((4, [0]), (13, [0, 1])):
            run = start(config, killed, tmp_path / "store")
            assert wait_for_step(killed, step, run), killed.with_suffix(".txt").read_text()
            for process in [process_of(rank, run.pid) for rank in ranks]:
                assert process is not None
                os.kill(process, signal.SIGKILL)
            assert run.wait(timeout=120) != 0
        run = start(config, killed, tmp_path / "store")
        assert run.wait(timeout=240) == 0, killed.with_suffix(".txt").read_text()
    assert compare_runs(whole, killed).differences == []
    assert [entry["step"] for entry in entries_of(killed)] == list(range(1, STEPS + 1))

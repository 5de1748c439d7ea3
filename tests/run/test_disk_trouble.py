"""A disk that is full, read-only or cleared away under a run: training goes on, says so, and saves when it can."""

import json
import os
import resource
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

import i2i
from i2i.core.files.atomic import append
from tests.run import test_run
from tests.run.test_run import TINY, log_of, state_of


@i2i.TRACKERS.register("trouble")
class Trouble:
    """Does something to the disk after a log entry."""

    todo: dict = {}

    def on_log(self, step, values):
        if step in self.todo:
            self.todo.pop(step)()


@pytest.fixture
def trouble(monkeypatch):
    """Receives what is to be done: step -> a function."""

    def at(**steps):
        monkeypatch.setattr(Trouble, "todo", {int(name.removeprefix("step_")): act for name, act in steps.items()})
        return "trackers=[{type: trouble}]"

    return at


@pytest.fixture
def disk(tmp_path):
    """A disk of its own, of 4 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounting = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)]
    if os.name != "posix" or os.geteuid() or subprocess.run(mounting, capture_output=True).returncode:
        pytest.skip("disks can be mounted by root alone")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(disk):
    """Writes to the disk until nothing more fits."""
    with (disk / "filler").open("ab", buffering=0) as file:
        for size in (65536, 512, 1):
            try:
                while file.write(bytes(size)) == size:
                    pass
            except OSError:
                pass


def remount(disk, mode):
    subprocess.run(["mount", "-o", f"remount,{mode}", str(disk)], check=True)


EIGHT = ["trainer.steps=8", "trainer.sample_every=3"]  # checkpoints at 4 and 8
train = partial(test_run.train, config="pix2pix")


def steps_of(folder):
    return [entry["step"] for entry in log_of(folder)]


def test_a_disk_that_stays_full_ends_the_run_with_1(repository, disk, trouble, capsys):
    run = disk / "run"
    assert train(repository, run, *EIGHT, trouble(step_2=lambda: fill(disk))) == 1
    output = capsys.readouterr().out
    assert output.count("saving failed, training goes on") == 2
    assert "ended at step 8; its last save failed" in output
    assert "step 3: the samples cannot be written, training goes on" in output
    told = output.count("the log cannot be written, training goes on")
    assert 8 - len(log_of(run)) <= told, "the last page of a file may still have room"
    assert not list((run / "checkpoints").iterdir()) and not list(run.rglob(".*.tmp"))


def test_a_full_disk_that_is_freed_takes_the_next_save(repository, disk, tmp_path, trouble, capsys):
    run = disk / "run"
    freeing = trouble(step_2=lambda: fill(disk), step_6=(disk / "filler").unlink)
    assert train(repository, run, *EIGHT, freeing) == 0
    assert capsys.readouterr().out.count("saving failed, training goes on") == 1
    assert [path.name for path in (run / "checkpoints").iterdir()] == ["step_00000008.safetensors"]
    assert steps_of(run) == list(range(1, 9)), "what did not fit is written later"
    # The weights are those of a run without trouble.
    assert train(repository, tmp_path / "calm", *EIGHT, "trackers=[{type: trouble}]") == 0
    assert (run / "model.safetensors").read_bytes() == (tmp_path / "calm/model.safetensors").read_bytes()


def test_what_does_not_fit_is_not_appended_in_part(disk):
    append(disk / "file", b"first\n")
    (disk / "filler").write_bytes(bytes(3 << 20))
    with pytest.raises(OSError, match="No space left"):
        append(disk / "file", bytes(2 << 20))
    assert (disk / "file").read_bytes() == b"first\n"
    append(disk / "file", b"second\n")
    assert (disk / "file").read_bytes() == b"first\nsecond\n"


def test_an_older_checkpoint_stays_when_the_disk_is_full(repository, disk, trouble):
    run = disk / "run"
    assert train(repository, run, *EIGHT, trouble(step_5=lambda: fill(disk))) == 1
    assert state_of(run, 4)["step"] == 4
    (disk / "filler").unlink()
    assert train(repository, run, *EIGHT, "trackers=[{type: trouble}]", "--resume", "auto") == 0
    assert state_of(run, 8)["step"] == 8
    assert steps_of(run) == list(range(1, 9))


def test_a_disk_that_turns_read_only_does_not_end_a_run(repository, disk, trouble, capsys):
    """As file systems do that meet an error."""
    run = disk / "run"

    def cover():
        subprocess.run(["mount", "--bind", str(run), str(run)], check=True)
        subprocess.run(["mount", "-o", "remount,ro,bind", str(run)], check=True)

    code = train(repository, run, *EIGHT, trouble(step_2=cover))
    subprocess.run(["umount", "-l", str(run)], check=True)
    output = capsys.readouterr().out
    assert code == 1, output
    assert output.count("saving failed, training goes on") == 2 and "Read-only file system" in output
    assert steps_of(run) == [1, 2] and output.count("the log cannot be written") == 6


def test_a_read_only_folder_is_refused_at_the_start(repository, disk, capsys):
    remount(disk, "ro")
    assert train(repository, disk / "run", *EIGHT) == 2
    assert "cannot be written: Read-only file system" in capsys.readouterr().err


def test_checkpoints_that_are_deleted_are_written_again(repository, tmp_path, trouble):
    run = tmp_path / "run"
    assert train(repository, run, *EIGHT, trouble(step_5=lambda: shutil.rmtree(run / "checkpoints"))) == 0
    assert [path.name for path in (run / "checkpoints").iterdir()] == ["step_00000008.safetensors"]


def test_a_run_folder_that_is_gone_is_told_at_every_save(repository, tmp_path, trouble, capsys):
    run = tmp_path / "run"
    assert train(repository, run, *EIGHT, "trainer.checkpoint_every=2", trouble(step_3=lambda: shutil.rmtree(run))) == 1
    output = capsys.readouterr().out
    assert output.count("saving failed, training goes on") == 3  # steps 4, 6 and 8
    assert "its last save failed" in output


def test_a_log_that_is_deleted_does_not_end_a_run(repository, tmp_path, trouble):
    run = tmp_path / "run"

    def delete():
        (run / "log.jsonl").unlink()
        for events in run.glob("events.*"):
            events.unlink()

    assert train(repository, run, *EIGHT, trouble(step_5=delete)) == 0
    assert state_of(run, 8)["step"] == 8
    assert steps_of(run) == [6, 7, 8]


def test_samples_that_cannot_be_written_do_not_end_a_run(repository, tmp_path, capsys):
    tmp_path.joinpath("run").mkdir()
    (tmp_path / "run/samples").write_text("a file where the folder should be")
    assert train(repository, tmp_path / "run", *EIGHT) == 0
    assert capsys.readouterr().out.count("the samples cannot be written, training goes on") == 3  # steps 3, 6 and 8
    assert state_of(tmp_path / "run", 8)["step"] == 8


@pytest.mark.slow
def test_a_quota_on_the_size_of_files_ends_in_words(repository, tmp_path):
    """No file may grow beyond 20 kB: not the checkpoint, nor the model, TensorBoard's events, or samples."""
    config = str(repository / "configs/tiny/cyclegan.yaml")
    command = [sys.executable, str(repository / "tools/train.py"), config, "--out", str(tmp_path), *TINY, *EIGHT]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000)),
    )
    assert done.returncode == 1, done.stderr
    assert done.stdout.count("saving failed, training goes on") == 2
    assert "its last save failed" in done.stdout and "Traceback" not in done.stdout + done.stderr
    entries = [json.loads(line) for line in Path(tmp_path / "log.jsonl").read_text().splitlines()]
    assert [entry["step"] for entry in entries] == list(range(1, 9))
    assert not list(tmp_path.rglob(".*.tmp"))

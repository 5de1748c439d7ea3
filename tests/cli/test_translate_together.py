"""Several jobs on one OUTPUT at once: each file is whole, and the manifest says how it was made."""

import os
import random
import shutil
import signal
import time

import pytest

from i2i.core.plugins import sha256
from i2i.images.codecs import ImageCodec
from i2i.inference.jobs.targets import Target
from tests.bundles import make_image
from tests.cli.translating import check_end, check_truth, lines, refusals, seen, translate, unfinished


def together(forks, *jobs):
    """Runs jobs at once; returns their exit codes."""
    return [forks.wait(pid) for pid in [forks.start(*job) for job in jobs]]


def test_the_same_command_several_times(forks, work, tmp_path):
    root, (model, _), expected = work
    assert together(forks, *[(model, root / "many", tmp_path / "out")] * 3) == [0, 0, 0]
    check_end(tmp_path / "out", expected["many"][sha256(model)])


def test_two_models_on_the_same_images(forks, work, tmp_path):
    root, (first, second), expected = work
    out = tmp_path / "out"
    jobs = [(model, root / "many", out, *more) for model in (first, second) for more in ((), ("--overwrite",))]
    assert together(forks, *jobs) == [0, 0, 0, 0]
    check_truth(out, expected["many"])
    assert {entry["bundle"] for entry in lines(out / "manifest.jsonl")} == {sha256(first), sha256(second), None}
    assert forks.run(first, root / "many", out) == 0
    check_end(out, expected["many"][sha256(first)])


def test_parts_of_the_images(forks, work, tmp_path):
    """As on several machines, and each part has an image that is refused."""
    root, (model, _), expected = work
    for index in range(40):
        part = tmp_path / f"in{index % 4}"
        part.mkdir(exist_ok=True)
        if index < 3:
            (part / f"{index}.png").touch()
        else:
            shutil.copy(root / f"many/{index}.png", part)
    out = tmp_path / "out"
    assert together(forks, *[(model, tmp_path / f"in{part}", out) for part in range(4)]) == [1, 1, 1, 0]
    check_end(out, expected["many"][sha256(model)])
    assert refusals(out) == {f"{index}.png": "is empty (0 bytes)" for index in range(3)}


def test_inputs_of_one_name_do_not_replace_each_other(forks, model, tmp_path):
    for index in range(20):
        make_image(tmp_path / f"jpg/{index}.jpg", seed=index)
        make_image(tmp_path / f"webp/{index}.webp", seed=100 + index)
    out = tmp_path / "out"
    codes = together(forks, (model, tmp_path / "jpg", out), (model, tmp_path / "webp", out))
    made = [entry["input"] for entry in lines(out / "manifest.jsonl")]
    assert len(made) == 20 == len(seen(out))
    assert len(refusals(out)) == 20 and not refusals(out).keys() & set(made)
    for code, suffix in zip(codes, ("jpg", "webp"), strict=True):
        assert code == any(name.endswith(suffix) for name in refusals(out))


def test_a_job_says_that_it_is_not_alone_and_leaves_the_others_parts(model, photos, tmp_path, capsys):
    out = tmp_path / "out"
    scratch, _ = Target(out, "png").prepare(ImageCodec(3))
    with scratch:
        part = scratch.part(out / "a.png")
        part.touch()
        assert translate(model, photos, out) == 0
        assert f"another job is writing into {out} as well" in capsys.readouterr().out
        assert part.exists()
    assert translate(model, photos, out) == 0
    assert "another job" not in capsys.readouterr().out
    assert not unfinished(out)


@pytest.mark.slow
def test_many_jobs_of_which_some_are_killed(forks, work, tmp_path):
    root, models, expected = work
    draw, out = random.Random(0), tmp_path / "out"
    killed = 0
    for _ in range(12):
        pids = []
        for _ in range(5):
            more = draw.choice(((), (), ("--overwrite",)))
            pids.append(forks.start(draw.choice(models), root / "many", out, *more))
        for pid in pids[:3]:
            time.sleep(draw.uniform(0, 0.1))
            os.kill(pid, signal.SIGKILL)
        codes = [forks.wait(pid) for pid in pids]
        killed += codes.count(-signal.SIGKILL)
        assert set(codes) <= {0, -signal.SIGKILL}
        check_truth(out, expected["many"])
    assert killed >= 12, "jobs of this machine end before they can be killed"
    assert forks.run(models[0], root / "many", out) == 0
    check_end(out, expected["many"][sha256(models[0])])

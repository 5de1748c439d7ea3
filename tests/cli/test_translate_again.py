"""What is done is not done again, however the run before has ended."""

import os
import shutil
import signal
import time

import numpy as np
import pytest

from i2i.core.plugins import sha256
from i2i.inference.translator import Translator
from tests import fork_server
from tests.bundles import make_bundle, make_image, pixels
from tests.cli.translating import contents, lines, refusals, translate, tree


def test_what_is_done_is_skipped(model, photos, tmp_path, capsys):
    out = tmp_path / "out"
    assert translate(model, photos, out) == 0
    before = {name: (out / name).stat().st_mtime_ns for name in tree(out)}
    (out / "deep/three.png").unlink()
    del before["deep/three.png"]
    capsys.readouterr()
    assert translate(model, photos, out) == 0
    assert "translated 1, skipped 2 (done before), refused 0" in capsys.readouterr().out
    assert before == {name: (out / name).stat().st_mtime_ns for name in before}
    assert translate(model, photos, out) == 0
    assert "translated 0, skipped 3 (done before), refused 0; 0.0 images/s" in capsys.readouterr().out


def test_an_output_that_a_power_cut_left_empty_is_done_again(model, photos, tmp_path, capsys):
    assert translate(model, photos, tmp_path / "out") == 0
    (tmp_path / "out/one.png").write_bytes(b"")
    assert translate(model, photos, tmp_path / "out") == 0
    assert "translated 1, skipped 2" in capsys.readouterr().out


def test_another_model_other_options_or_a_changed_input_redo(model, photos, tmp_path, capsys):
    out = tmp_path / "out"
    other = make_bundle(tmp_path / "other.safetensors", "cyclegan", "trainer.seed=7")
    assert translate(model, photos, out) == 0
    for arguments, count in (((model, "--direction", "b2a"), 3), ((other, "--direction", "b2a"), 3), ((other,), 3)):
        before = contents(out)
        capsys.readouterr()
        assert translate(arguments[0], photos, out, *arguments[1:]) == 0
        said = capsys.readouterr().out
        assert f"translated {count}, skipped 0" in said and f"{count} of the translations replaced older ones" in said
        assert all(contents(out)[name] != data for name, data in before.items())
    make_image(photos / "one.jpg", (37, 53), seed=99)
    assert translate(other, photos, out) == 0
    assert "translated 1, skipped 2" in capsys.readouterr().out
    np.testing.assert_array_equal(pixels(out / "one.png"), Translator.load(other)(photos / "one.jpg"))


def test_overwrite_redoes_all(model, photos, tmp_path, capsys):
    assert translate(model, photos, tmp_path / "out") == 0
    assert translate(model, photos, tmp_path / "out", "--overwrite") == 0
    assert "translated 3, skipped 0 (done before), refused 0" in capsys.readouterr().out.splitlines()[-1]


def test_files_of_others_are_not_replaced(model, photos, tmp_path):
    out = tmp_path / "out"
    make_image(out / "one.png", seed=8)
    precious = (out / "one.png").read_bytes()
    assert translate(model, photos, out) == 1
    assert (out / "one.png").read_bytes() == precious
    assert refusals(out) == {"one.jpg": "one.png exists and is not in the manifest; --overwrite replaces it"}
    assert translate(model, photos, out, "--overwrite") == 0
    assert (out / "one.png").read_bytes() != precious
    assert not (out / "refused.jsonl").exists()


def test_translations_of_other_images_are_not_replaced(model, tmp_path):
    make_image(tmp_path / "in/a.jpg", seed=1)
    make_image(tmp_path / "in/a.png", seed=2)
    out = tmp_path / "out"
    assert translate(model, tmp_path / "in/*.jpg", out) == 0
    before = contents(out)
    assert translate(model, tmp_path / "in/*.png", out) == 1
    assert contents(out) == before
    assert refusals(out) == {"a.png": "a.png exists as the translation of another image; --overwrite replaces it"}


def test_a_manifest_that_was_cut_off_is_repaired(model, photos, tmp_path, capsys):
    out = tmp_path / "out"
    assert translate(model, photos, out) == 0
    manifest = out / "manifest.jsonl"
    whole = manifest.read_bytes()
    last = lines(manifest)[-1]["output"]
    (out / last).unlink()
    manifest.write_bytes(whole[:-20])
    assert translate(model, photos, out) == 0
    assert "translated 1, skipped 2" in capsys.readouterr().out
    assert manifest.read_bytes() == whole
    manifest.write_bytes(whole[:-1])
    assert translate(model, photos, out) == 0
    assert "translated 0, skipped 3" in capsys.readouterr().out
    assert manifest.read_bytes() == whole


def test_a_manifest_of_something_else_is_left_alone(model, photos, tmp_path, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/manifest.jsonl").write_text('{"file": "x.bin"}\n')
    assert translate(model, photos, tmp_path / "out") == 2
    assert "manifest.jsonl: is not a list of translations" in capsys.readouterr().err
    assert (tmp_path / "out/manifest.jsonl").read_text() == '{"file": "x.bin"}\n'


def test_outputs_inside_the_input_are_not_translated(model, photos, capsys):
    assert translate(model, photos, photos / "deep/out") == 0
    assert translate(model, photos, photos / "deep/out") == 0
    assert "translated 0, skipped 3" in capsys.readouterr().out.splitlines()[-1]
    assert tree(photos / "deep/out") == {"one.png", "deep/er/two.png", "deep/three.png"}


def start(*arguments):
    code = "import sys; from i2i.cli import main; sys.exit(main('translate', sys.argv[1:]))"
    return fork_server.start(["-c", code, *arguments])


def wait_for(condition, process):
    deadline = time.monotonic() + 60
    while not condition() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    assert process.poll() is None, process.communicate()


@pytest.fixture
def many(tmp_path):
    """Enough images to be stopped in between."""
    first = make_image(tmp_path / "in/000.png", (128, 128))
    for index in range(1, 200):
        os.link(first, tmp_path / f"in/{index:03d}.png")
    return tmp_path / "in"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_cleanly_and_a_rerun_goes_on(number, model, many, tmp_path, monkeypatch, capsys):
    translated = []
    batch = Translator.batch

    def stop_at_the_fifth(translator, images, direction):
        translated.extend(images)
        if len(translated) == 5:
            os.kill(os.getpid(), number)
        return batch(translator, images, direction)

    out = tmp_path / "out"
    monkeypatch.setattr(Translator, "batch", stop_at_the_fifth)
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    assert translate(model, many, out) == 128 + number
    assert before == [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    said = capsys.readouterr().out
    assert "translated 5, skipped 0" in said and said.endswith("stopped; the same command goes on from here\n")
    assert {entry["output"] for entry in lines(out / "manifest.jsonl")} == tree(out)
    assert len(tree(out)) == 5
    assert translate(model, many, out) == 0
    assert "translated 195, skipped 5 (done before), refused 0" in capsys.readouterr().out


def test_a_signal_ends_the_process(model, many, tmp_path):
    out = tmp_path / "out"
    process = start(model, many, out)
    wait_for(lambda: len(list(out.glob("*.png"))) >= 3, process)
    process.terminate()
    said = process.communicate(timeout=60)[0]
    assert process.returncode == 143, said
    assert "stopped" in said
    assert {entry["output"] for entry in lines(out / "manifest.jsonl")} == tree(out)


def test_a_kill_loses_nothing_and_mistakes_nothing(model, many, tmp_path, capsys):
    out = tmp_path / "out"
    process = start(model, many, out)
    wait_for(lambda: len(list(out.glob("*.png"))) >= 10, process)
    process.kill()
    process.communicate()
    done = set(out.glob("*.png"))
    assert translate(model, many, out) == 0
    assert f"skipped {len(done)} (done before), refused 0" in capsys.readouterr().out
    assert len(set(out.glob("*.png"))) == 200
    for path in out.glob("*.png"):
        pixels(path)


def test_a_model_that_is_replaced_while_it_is_loaded_is_loaded_again(model, photos, tmp_path, monkeypatch):
    """The run may still be training: what is listed is what has translated."""
    other = make_bundle(tmp_path / "other.safetensors", "cyclegan", "trainer.seed=7")
    used = tmp_path / "model.safetensors"
    shutil.copy(model, used)
    load, loaded = Translator.load, []

    def replace(path, **options):
        loaded.append(load(path, **options))
        if len(loaded) == 1:
            shutil.copy(other, tmp_path / "new")
            (tmp_path / "new").replace(used)
        return loaded[-1]

    monkeypatch.setattr(Translator, "load", replace)
    assert translate(used, photos / "one.jpg", tmp_path / "out/") == 0
    assert len(loaded) == 2
    assert lines(tmp_path / "out/manifest.jsonl")[0]["bundle"] == sha256(other)
    np.testing.assert_array_equal(pixels(tmp_path / "out/one.png"), loaded[1](photos / "one.jpg"))
    assert (pixels(tmp_path / "out/one.png") != loaded[0](photos / "one.jpg")).any()

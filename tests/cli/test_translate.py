"""The command from end to end: what is translated, what is refused, what is said, and how it ends."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from i2i.cli import main
from i2i.inference.translator import Translator
from tests.bundles import make_bundle, make_image, pixels


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_bundle(tmp_path_factory.mktemp("model") / "cyclegan.safetensors")


@pytest.fixture
def photos(tmp_path):
    """Three images in a tree, none of a size that the network takes without padding."""
    make_image(tmp_path / "in/one.jpg", (37, 53), seed=1)
    make_image(tmp_path / "in/deep/er/two.png", (16, 21), seed=2)
    make_image(tmp_path / "in/deep/three.webp", (5, 9), seed=3)
    return tmp_path / "in"


def translate(*arguments):
    return main("translate", [str(argument) for argument in arguments])


def tree(folder):
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    return names - {"manifest.jsonl", "refused.jsonl"}


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def refusals(folder):
    return {entry["input"]: entry["reason"] for entry in lines(folder / "refused.jsonl")}


def contents(folder):
    return {name: (folder / name).read_bytes() for name in tree(folder)}


# -- what comes out ----------------------------------------------------------------------------------------------------


def test_names_tree_and_size_are_kept(model, photos, tmp_path, capsys):
    assert translate(model, photos, tmp_path / "out") == 0
    assert tree(tmp_path / "out") == {"one.png", "deep/er/two.png", "deep/three.png"}
    for name, size in (("one", (37, 53)), ("deep/er/two", (16, 21)), ("deep/three", (5, 9))):
        with Image.open(tmp_path / f"out/{name}.png") as image:
            assert image.size == size and image.mode == "RGB"
    out = capsys.readouterr().out
    assert "cyclegan, step 0: a2b on cpu, fp32; normalisation policy running, dropout policy off" in out
    assert re.search(
        rf"translated 3, skipped 0 \(done before\), refused 0; \d+\.\d images/s; output in {tmp_path}/out\n", out
    )
    assert not (tmp_path / "out/refused.jsonl").exists()


def test_the_manifest_lists_what_was_done_and_how(model, photos, tmp_path):
    from i2i.plugins import sha256

    assert translate(model, photos, tmp_path / "out", "--format", "jpg", "--quality", 80, "--direction", "b2a") == 0
    entries = {entry["input"]: entry for entry in lines(tmp_path / "out/manifest.jsonl")}
    assert set(entries) == {"one.jpg", "deep/er/two.png", "deep/three.webp"}
    assert entries["deep/er/two.png"] == {
        "input": "deep/er/two.png",
        "output": "deep/er/two.jpg",
        "bundle": sha256(model),
        "options": {"direction": "b2a", "precision": "fp32", "format": "jpg", "quality": 80},
        "size": [16, 21],
        "input_bytes": (photos / "deep/er/two.png").stat().st_size,
    }


def test_translations_are_those_of_the_python_interface(model, photos, tmp_path):
    translator = Translator.load(model, device="cpu")
    for direction in ("a2b", "b2a"):
        out = tmp_path / direction
        assert translate(model, photos, out, "--direction", direction, "--device", "cpu") == 0
        expected = translator(photos / "one.jpg", direction)
        np.testing.assert_array_equal(pixels(out / "one.png"), expected)
    assert (pixels(tmp_path / "a2b/one.png") != pixels(tmp_path / "b2a/one.png")).any()


@pytest.mark.parametrize("config", ["cyclegan", "pix2pix"])
def test_batches_and_the_order_of_files_change_nothing(config, tmp_path):
    model = make_bundle(tmp_path / "model.safetensors", config)
    for index in range(7):
        make_image(tmp_path / f"in/{index}.png", (33, 40) if index % 3 else (32, 32), seed=index)
        make_image(tmp_path / f"reversed/{9 - index}.png", (33, 40) if index % 3 else (32, 32), seed=index)
    assert translate(model, tmp_path / "in", tmp_path / "one", "--batch-size", 1) == 0
    assert translate(model, tmp_path / "in", tmp_path / "four", "--batch-size", 4) == 0
    assert translate(model, tmp_path / "reversed", tmp_path / "back", "--batch-size", 3) == 0
    assert contents(tmp_path / "one") == contents(tmp_path / "four")
    assert {f"{9 - int(name[0])}.png": data for name, data in contents(tmp_path / "one").items()} == contents(
        tmp_path / "back"
    )


def test_dropout_as_noise_depends_on_the_image_alone(tmp_path):
    model = make_bundle(tmp_path / "model.safetensors", "pix2pix", "generator.num_downsamplings=6", "data.size=64")
    make_image(tmp_path / "in/a.png", (32, 32), seed=1)
    shutil.copy(tmp_path / "in/a.png", tmp_path / "in/b.png")
    assert translate(model, tmp_path / "in", tmp_path / "out") == 0
    assert translate(model, tmp_path / "in/b.png", tmp_path / "alone.png") == 0
    images = [pixels(tmp_path / name) for name in ("out/a.png", "out/b.png", "alone.png")]
    np.testing.assert_array_equal(images[0], images[1])
    np.testing.assert_array_equal(images[0], images[2])


def test_inputs_that_would_share_a_name_keep_their_suffix(model, tmp_path, capsys):
    for name in ("a.jpg", "a.png", "b.png", "sub/a.jpg", "sub/A.webp", "sub/c.jpg"):
        make_image(tmp_path / "in" / name, (8, 8))
    assert translate(model, tmp_path / "in", tmp_path / "out") == 0
    expected = {"a.jpg.png", "a.png.png", "b.png", "sub/a.jpg.png", "sub/A.webp.png", "sub/c.png"}
    assert tree(tmp_path / "out") == expected
    assert capsys.readouterr().out.count("some images would share a name") == 1


def test_a_glob_keeps_the_tree_below_its_fixed_part(model, photos, tmp_path):
    assert translate(model, photos / "**/*[eo].[jp][pn]g", tmp_path / "some") == 0
    assert tree(tmp_path / "some") == {"one.png", "deep/er/two.png"}
    assert translate(model, photos / "deep/*/*", tmp_path / "others") == 0
    assert tree(tmp_path / "others") == {"er/two.png"}


def test_without_recursion_folders_are_left_out(model, photos, tmp_path):
    assert translate(model, photos, tmp_path / "out", "--no-recursive") == 0
    assert tree(tmp_path / "out") == {"one.png"}


def test_a_file_becomes_a_file(model, photos, tmp_path):
    assert translate(model, photos / "one.jpg", tmp_path / "zebra.webp") == 0
    with Image.open(tmp_path / "zebra.webp") as image:
        assert image.format == "WEBP" and image.size == (37, 53)
    assert {path.name for path in tmp_path.iterdir()} == {"in", "zebra.webp"}


def test_a_file_may_go_into_a_folder_even_its_own(model, photos, tmp_path):
    assert translate(model, photos / "one.jpg", tmp_path / "new/") == 0
    assert tree(tmp_path / "new") == {"one.png"}
    assert translate(model, photos / "one.jpg", photos) == 0
    assert (photos / "one.png").exists()
    assert translate(model, photos / "one.png", photos, "--overwrite") == 1
    assert "would replace the original" in refusals(photos)["one.png"]


def test_a_run_folder_is_a_model(model, photos, tmp_path):
    (tmp_path / "run").mkdir()
    shutil.copy(model, tmp_path / "run/model.safetensors")
    shutil.copy(
        make_bundle(tmp_path / "other.safetensors", "cyclegan", "trainer.seed=7"), tmp_path / "run/best.safetensors"
    )
    assert translate(tmp_path / "run", photos, tmp_path / "last") == 0
    assert translate(model, photos, tmp_path / "same") == 0
    assert translate(tmp_path / "run", photos, tmp_path / "best", "--best") == 0
    assert contents(tmp_path / "last") == contents(tmp_path / "same") != contents(tmp_path / "best")


def test_half_of_side_by_side_files(model, tmp_path):
    make_image(tmp_path / "in/pair.png", (40, 24), seed=4)
    make_image(tmp_path / "in/odd.png", (41, 24), seed=5)
    for half, box in (("left", (0, 0, 20, 24)), ("right", (20, 0, 40, 24))):
        with Image.open(tmp_path / "in/pair.png") as image:
            image.crop(box).save(tmp_path / f"{half}.png")
        assert translate(model, tmp_path / "in", tmp_path / half, "--half", half) == 1
        assert translate(model, tmp_path / f"{half}.png", tmp_path / f"{half}_expected.png") == 0
        np.testing.assert_array_equal(pixels(tmp_path / half / "pair.png"), pixels(tmp_path / f"{half}_expected.png"))
        assert refusals(tmp_path / half) == {"odd.png": "is 41 pixels wide, an odd number, so it has no halves"}
    assert lines(tmp_path / "left/manifest.jsonl")[0]["options"]["half"] == "left"


# -- what is done is not done again ------------------------------------------------------------------------------------


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


# -- odd files ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def odd_files(tmp_path):
    folder = tmp_path / "odd"
    make_image(folder / "good.png")
    make_image(folder / "gray.png", mode="L")
    make_image(folder / "gray2.png", mode="L")
    make_image(folder / "cmyk.jpg", mode="CMYK")
    make_image(folder / "palette.gif", mode="P")
    Image.fromarray(np.arange(256, dtype=np.uint16).reshape(16, 16) * 257).save(folder / "deep.png")
    exif = Image.Exif()
    exif[274] = 6
    make_image(folder / "turned.jpg", (20, 10), exif=exif)
    make_image(folder / "opaque.png", mode="RGBA")
    (folder / "bad").mkdir()
    Image.new("RGBA", (8, 8), (1, 2, 3, 100)).save(folder / "bad/clear.png")
    (folder / "bad/empty.jpg").touch()
    (folder / "bad/text.jpg").write_text("not an image\n")
    data = make_image(folder / "bad/cut.jpg", (64, 64)).read_bytes()
    (folder / "bad/cut.jpg").write_bytes(data[: len(data) // 2])
    (folder / "notes.txt").write_text("not listed at all\n")
    return folder


def test_odd_files_are_converted_or_refused_by_name(model, odd_files, tmp_path, capsys):
    out = tmp_path / "out"
    assert translate(model, odd_files, out) == 1
    assert tree(out) == {f"{n}.png" for n in "good gray gray2 cmyk palette deep turned opaque".split()}
    with Image.open(out / "turned.png") as image:
        assert image.size == (10, 20)
    said = capsys.readouterr().out
    for line in ("3 images: gray to RGB", "1 image: CMYK to RGB", "1 image: EXIF rotation", "1 image: palette to RGB",
                 "1 image: opaque alpha dropped", "translated 8, skipped 0 (done before), refused 4;",
                 f"{odd_files}/bad/empty.jpg: is empty (0 bytes)", f"all of them: {out}/refused.jsonl"):  # fmt: skip
        assert line in said
    found = refusals(out)
    assert set(found) == {"bad/clear.png", "bad/empty.jpg", "bad/text.jpg", "bad/cut.jpg"}
    assert found["bad/text.jpg"] == "is text, not an image"
    assert found["bad/clear.png"].startswith("has transparent pixels")
    assert found["bad/cut.jpg"].startswith("damaged JPEG")

    shutil.rmtree(odd_files / "bad")
    assert translate(model, odd_files, out) == 0
    assert not (out / "refused.jsonl").exists()


def test_16_bit_is_translated_at_full_depth(model, odd_files, tmp_path):
    deep = np.repeat(pixels(odd_files / "deep.png").astype(np.uint16)[..., None], 3, axis=2)
    assert translate(model, odd_files / "deep.png", tmp_path / "deep.png") == 0
    np.testing.assert_array_equal(pixels(tmp_path / "deep.png"), Translator.load(model)(deep))


def test_colour_is_refused_by_a_model_for_gray(tmp_path):
    data = f"data={{type: unpaired, root: {tmp_path}, channels: 1}}"
    model = make_bundle(tmp_path / "gray.safetensors", "cyclegan", data)
    make_image(tmp_path / "in/colour.png")
    make_image(tmp_path / "in/gray.png", mode="L")
    assert translate(model, tmp_path / "in", tmp_path / "out") == 1
    assert refusals(tmp_path / "out") == {"colour.png": "is in colour, 1 channel is needed"}
    with Image.open(tmp_path / "out/gray.png") as image:
        assert image.mode == "L"


def test_only_the_first_refusals_are_printed(model, tmp_path, capsys):
    for index in range(25):
        (tmp_path / f"in/{index:02d}.png").parent.mkdir(exist_ok=True)
        (tmp_path / f"in/{index:02d}.png").touch()
    assert translate(model, tmp_path / "in", tmp_path / "out") == 1
    said = capsys.readouterr().out
    assert said.count("is empty (0 bytes)") == 20 and "and 5 more" in said
    assert len(refusals(tmp_path / "out")) == 25


def test_a_name_that_cannot_be_written_is_refused_by_name(model, photos, tmp_path):
    make_image(photos / f"{'x' * 251}.jpg")
    assert translate(model, photos, tmp_path / "out", "--format", "jpeg") == 1
    assert refusals(tmp_path / "out") == {f"{'x' * 251}.jpg": "file name too long"}


def test_names_that_no_terminal_shows(model, tmp_path, capfd):
    (tmp_path / "in").mkdir()
    make_image(tmp_path / "in/é\n.png")
    (tmp_path / "in" / os.fsdecode(b"\xff.png")).touch()
    assert translate(model, tmp_path / "in", tmp_path / "out") == 1
    assert tree(tmp_path / "out") == {"é\n.png"}
    assert f"{tmp_path}/in/\\udcff.png: is empty" in capfd.readouterr().out
    assert translate(model, tmp_path / "in", tmp_path / "out") == 1
    assert "skipped 1" in capfd.readouterr().out


def test_folders_that_cannot_be_read_do_not_end_the_job(model, photos, tmp_path, monkeypatch):
    scandir = os.scandir

    def refuse(path):
        if str(path).endswith("er"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert translate(model, photos, tmp_path / "out") == 1
    assert tree(tmp_path / "out") == {"one.png", "deep/three.png"}
    assert refusals(tmp_path / "out") == {"deep/er": "may not be read"}


def test_a_full_disk_ends_the_job_early(model, tmp_path, monkeypatch, capsys):
    from i2i.inference import jobs

    def full(path, array, *arguments, **options):
        raise OSError(28, "No space left on device")

    for index in range(60):
        make_image(tmp_path / f"in/{index:02d}.png", (8, 8))
    monkeypatch.setattr(jobs, "save_image", full)
    assert translate(model, tmp_path / "in", tmp_path / "out") == 1
    printed = capsys.readouterr()
    assert printed.err.startswith(f"OUTPUT {tmp_path}/out: given up after")
    assert "its translation cannot be written: no space left on device" in printed.err
    assert "translated 0" in printed.out
    assert len(refusals(tmp_path / "out")) < 60
    assert not lines(tmp_path / "out/manifest.jsonl")


# -- what is wrong before anything starts ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere", "in", "out"], "nowhere: no such run folder or bundle"),
        (["in", "in", "out"], "in: the folder holds no model.safetensors"),
        (["in/one.jpg", "in", "out"], "in/one.jpg: not a bundle"),
        (["M", "nowhere", "out"], "INPUT nowhere: no such file or folder"),
        (["M", "", "out"], "INPUT is empty"),
        (["M", "in", ""], "OUTPUT is empty"),
        (["M", "nowhere/*.jpg", "out"], "INPUT nowhere/*.jpg: no folder "),
        (["M", "in/*.bmp", "out"], "INPUT in/*.bmp: matches no images\n    to reach into folders: '**/*.jpg'"),
        (["M", "empty", "out"], "INPUT empty: the folder holds no images\n    images: "),
        (["M", "in/film.mp4", "out"], "INPUT in/film.mp4: is a video; only images can be translated"),
        (["M", "in/*.mov", "out"], "INPUT in/*.mov: is a video"),
        (["M", "in", "in"], "OUTPUT in: is INPUT's own folder, where originals and translations would mix"),
        (["M", "in/deep", "in"], "OUTPUT in: contains INPUT"),
        (["M", "in/*.jpg", "in"], "OUTPUT in: is INPUT's own folder"),
        (["M", "in", "out.png"], "OUTPUT out.png: is a file, by its suffix, but INPUT is many images\n    expected"),
        (["M", "in/one.jpg", "out.xyz"], "OUTPUT out.xyz: images cannot be written as 'xyz', only as png, jpg"),
        (["M", "in/one.jpg", "out.png", "--format", "jpg"], "OUTPUT out.png: its suffix contradicts --format jpg"),
        (["M", "in/one.jpg", "no/out.png"], "OUTPUT no/out.png: no folder "),
        (["M", "in/one.jpg", "in/one.jpg", "--overwrite"], "OUTPUT in/one.jpg: is INPUT itself"),
        (["M", "in/one.jpg", "in/film.png"], "OUTPUT in/film.png: exists already\n    replace it with --overwrite"),
        (["M", "in", "file"], "OUTPUT file: is a file, not a folder"),
        (["M", "in", "file/out"], "OUTPUT file/out: cannot be written: not a directory"),
        (["M", "in", "out", "--format", "xyz"], "--format: images cannot be written as 'xyz', only as png, jpg"),
        (["M", "in", "out", "--direction", "b2c"], "--direction is a2b or b2a, not 'b2c'"),
        (["P", "in", "out", "--direction", "b2a"], "this model translates a2b only, not b2a"),
        (["M", "in", "out", "--quality", "90"], "--quality: png loses nothing; formats with a quality: avif, jpeg"),
        (["M", "in", "out", "--format", "jpg", "--quality", "0"], "--quality is from 1 to 100, got 0"),
        (["M", "in", "out", "--batch-size", "0"], "--batch-size must be at least 1, got 0"),
        (["M", "in", "out", "--device", "tpu9"], "no device is named 'tpu9'"),
        (["M", "in", "out", "--precision", "fp16", "--device", "cpu"], "precision fp16 needs a GPU"),
        (["M", "in", "out", "--plugin", "no.py"], "no plugin file "),
    ],
)  # fmt: skip
def test_errors_before_the_start(arguments, message, model, photos, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (photos / "film.mp4").touch()
    (photos / "film.png").touch()
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    if arguments[0] == "P":
        make_bundle(tmp_path / "pix2pix.safetensors", "pix2pix")
    models = {"M": model, "P": tmp_path / "pix2pix.safetensors"}
    assert translate(*[models.get(argument, argument) for argument in arguments]) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith(message) and not printed.out
    assert not (tmp_path / "out").exists()


# -- signals and kills -------------------------------------------------------------------------------------------------


def start(*arguments):
    code = "import sys; from i2i.cli import main; sys.exit(main('translate', sys.argv[1:]))"
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def wait_for(condition, process):
    deadline = time.monotonic() + 60
    while not condition() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    assert process.poll() is None, process.communicate()[0]


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


def test_help_does_not_import_torch(repository):
    code = (
        "import sys; from i2i.cli import main\n"
        "try: main('translate', ['--help'])\n"
        "except SystemExit: assert 'torch' not in sys.modules and 'numpy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL, cwd=repository)


def test_errors_of_input_do_not_import_torch(repository):
    code = (
        "import sys; from i2i.cli import main\n"
        "assert main('translate', ['model', 'nowhere', 'out']) == 2 and 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stderr=subprocess.DEVNULL, cwd=repository)

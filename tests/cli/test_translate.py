"""What the command makes of images: names, sizes, pixels, halves."""

import re
import shutil

import numpy as np
from PIL import Image

from i2i.inference.translator import Translator
from tests.bundles import make_bundle, make_image, pixels
from tests.cli.translating import contents, lines, refusals, translate, tree


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
    from i2i.core.plugins import sha256

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
        assert refusals(tmp_path / half) == {
            "odd.png": "has two halves side by side, but its width of 41 pixels is odd"
        }
    assert lines(tmp_path / "left/manifest.jsonl")[0]["options"]["half"] == "left"

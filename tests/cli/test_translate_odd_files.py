"""Odd files are converted or refused by name, and never end the job."""

import os
import shutil

import numpy as np
import pytest
from PIL import Image

from i2i.inference.translator import Translator
from tests.bundles import make_bundle, make_image, pixels
from tests.cli.translating import lines, refusals, translate, tree


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
    from i2i.inference.jobs import jobs

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

"""The command generate: folders that go on where they stopped, grids, and what it refuses."""

import json

import numpy as np
import pytest

from i2i.cli import main
from i2i.cli.generate import parse_seeds
from i2i.core.errors import I2IError
from i2i.inference.generator import Generator
from i2i.inference.jobs.generating import grid_of
from tests.bundles import make_bundle, pixels


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    return make_bundle(tmp_path_factory.mktemp("model") / "digits.safetensors", "gan")


def generate(*arguments):
    return main("generate", [str(argument) for argument in arguments] + ["--device", "cpu"])


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_folder_gets_an_image_a_seed_and_is_not_made_twice(digits, tmp_path, capsys):
    assert generate(digits, tmp_path, "--seeds", "3-5,9") == 0
    names = {f"seed000{seed}.png" for seed in (3, 4, 5, 9)}
    assert {path.name for path in tmp_path.iterdir()} == {*names, "manifest.jsonl"}
    said = capsys.readouterr().out
    assert "generated 4, skipped 0" in said and "classes are drawn from the seeds: 3: " in said
    before = {name: (tmp_path / name).stat().st_mtime_ns for name in names}
    assert generate(digits, tmp_path, "--seeds", "3-6") == 0
    assert "generated 1, skipped 3" in capsys.readouterr().out
    assert all((tmp_path / name).stat().st_mtime_ns == time for name, time in before.items())
    expected = Generator.load(digits, device="cpu")([4])[0]
    np.testing.assert_array_equal(pixels(tmp_path / "seed0004.png"), expected[..., 0])
    assert {entry["output"] for entry in lines(tmp_path / "manifest.jsonl")} == names | {"seed0006.png"}


def test_another_model_or_label_makes_them_anew(digits, tmp_path, capsys):
    assert generate(digits, tmp_path, "--seeds", "0-1", "--class", "3") == 0
    first = pixels(tmp_path / "seed0000.png")
    assert generate(digits, tmp_path, "--seeds", "0-1", "--class", "4") == 0
    assert "generated 2, skipped 0" in capsys.readouterr().out.splitlines()[-1]
    assert (pixels(tmp_path / "seed0000.png") != first).any()
    np.testing.assert_array_equal(
        pixels(tmp_path / "seed0001.png"), Generator.load(digits, device="cpu")([1], 4)[0, ..., 0]
    )


def test_what_others_have_put_there_stays(digits, tmp_path, capsys):
    (tmp_path / "seed0001.png").write_bytes(b"mine")
    assert generate(digits, tmp_path, "--seeds", "0-2") != 0
    assert "--overwrite replaces it" in capsys.readouterr().err
    assert (tmp_path / "seed0001.png").read_bytes() == b"mine"
    assert generate(digits, tmp_path, "--seeds", "0-2", "--overwrite") == 0
    assert pixels(tmp_path / "seed0001.png").shape == (16, 16)


def test_a_grid_is_one_image_row_by_row(digits, tmp_path):
    assert generate(digits, tmp_path / "sheet.png", "--seeds", "0-4", "--grid", "2x3", "--class", "1") == 0
    sheet, images = pixels(tmp_path / "sheet.png"), Generator.load(digits, device="cpu")(range(5), 1)[..., 0]
    assert sheet.shape == (32, 48)
    np.testing.assert_array_equal(sheet[16:, 16:32], images[4])
    np.testing.assert_array_equal(sheet[:16, 32:], images[2])
    assert not sheet[16:, 32:].any()
    assert generate(digits, tmp_path / "sheet.png") != 0, "it is there already"


def test_the_number_of_columns_is_the_root():
    assert grid_of(np.zeros((7, 4, 5, 3), np.uint8), 3).shape == (12, 15, 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["out", "--seeds", "a"], "expected numbers such as 0-63"),
        (["out", "--seeds", "5-3"], "no range of numbers"),
        (["out", "--seeds", "4294967296"], "no range of numbers"),
        (["out", "--class", "eleven"], "no class 'eleven'"),
        (["out", "--class", "3", "--label", "x=1"], "classes or attributes, not both"),
        (["out", "--label", "x"], "expected NAME=NUMBER"),
        (["out", "--label", "x=nan"], "expected NAME=NUMBER"),
        (["out", "--label", "x=1", "x=2"], "x is set twice"),
        (["out", "--truncation", "1", "--option", "truncation=1"], "one of them is enough"),
        (["out.png", "--format", "jpg"], "says .png"),
        (["out", "--label", "x=1"], "has classes, not attributes"),
        (["out", "--grid", "2x2"], "is a folder"),
        (["out.png", "--grid", "2"], "expected rows and columns"),
        (["out.png", "--grid", "0x2"], "expected rows and columns"),
        (["out.png", "--grid", "2x2", "--seeds", "0-4"], "has 4 places, and there are 5 seeds"),
        (["out.xyz"], "cannot be written as 'xyz'"),
        (["out", "--quality", "0"], "--quality is from 1 to 100"),
        (["out", "--batch-size", "0"], "--batch-size must be at least 1"),
        (["out", "--truncation", "0.5"], "truncation: unknown option"),
        (["out", "--option", "strength=1"], "strength: unknown option"),
    ],
)
def test_bad_input_is_named_and_writes_nothing(digits, tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert generate(digits, *arguments) == 2
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error
    assert not list(tmp_path.rglob("*.*"))


def test_a_folder_in_the_place_of_an_image(digits, tmp_path, capsys):
    (tmp_path / "out/seed0001.png").mkdir(parents=True)
    for more in ((), ("--overwrite",)):
        assert generate(digits, tmp_path / "out", "--seeds", "0-1", *more) == 2
        assert "seed0001.png: is a folder, where an image is to be" in capsys.readouterr().err


def test_a_translator_is_told_from_a_generator(model, digits, photos, tmp_path, capsys):
    assert generate(model, tmp_path / "out") == 2
    assert "this model translates images" in capsys.readouterr().err
    assert main("translate", [str(digits), str(photos), str(tmp_path / "out")]) == 2
    assert "generate" in capsys.readouterr().err


def test_seeds():
    assert parse_seeds("0-3") == [0, 1, 2, 3] and parse_seeds("5, 1,5 - 6") == [5, 1, 6]
    with pytest.raises(I2IError, match="more than 10,000,000"):
        parse_seeds("0-10000000")

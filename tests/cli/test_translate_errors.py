"""What is wrong before anything starts: one line, exit code 2, and nothing left behind."""

import subprocess
import sys

import pytest

from tests.bundles import make_bundle
from tests.cli.translating import translate


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere", "in", "out"], "nowhere: no such run folder or bundle"),
        (["", "in", "out"], "the name of the model is empty\n    expected a run folder"),
        (["x" * 300, "in", "out"], "x" * 57 + "...: file name too long\n"),
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
        (["M", "in", "out", "--direction", "b2c"], "this model translates a2b and b2a only, not b2c"),
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

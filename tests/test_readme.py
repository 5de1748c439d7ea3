"""The README keeps its promises: its commands run, its links lead somewhere."""

import re
import shlex
import subprocess
import sys

import pytest

from i2i.cli import COMMANDS, main
from tests.conftest import REPOSITORY

README = (REPOSITORY / "README.md").read_text()
BLOCKS = re.findall(r"```bash\n(.*?)```", README, re.DOTALL)
LINES = [line.partition("  #")[0].strip() for block in BLOCKS for line in block.splitlines()]
COMMAND_LINES = [line for line in LINES if line.startswith("python tools/")]
TINY = ["trainer.steps=2", "generator.base_channels=4", "generator.num_blocks=1", "data.length=4", "data.size=32"]


def test_commands_were_found():
    assert len(COMMAND_LINES) >= 5
    assert {"make demo", "make test"} <= set(LINES)


@pytest.mark.parametrize("path", sorted(set(re.findall(r"\]\(([\w/.-]+)\)", README))))
def test_links_lead_somewhere(path):
    assert (REPOSITORY / path).exists()


def test_the_make_targets_exist():
    makefile = (REPOSITORY / "Makefile").read_text()
    for line in LINES:
        if line.startswith("make "):
            assert re.search(rf"^{line.split()[1]}:", makefile, re.MULTILINE)


@pytest.mark.slow
@pytest.mark.parametrize("line", [line for line in COMMAND_LINES if "train.py" in line and "nafnet" not in line])
def test_train_commands_are_checked(line, capsys):
    assert main("train", [*shlex.split(line)[2:], "--dry-run", "--no-measure"]) == 0


@pytest.mark.parametrize("name", sorted(path.stem for path in (REPOSITORY / "tools").glob("*.py")))
def test_tools_run_from_any_directory(name, tmp_path):
    done = subprocess.run(
        [sys.executable, str(REPOSITORY / f"tools/{name}.py"), "--help"], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert name in COMMANDS


def test_the_example_of_an_error_is_what_is_printed(tmp_path, capsys, monkeypatch):
    (tmp_path / "configs").mkdir()
    base = REPOSITORY / "configs/tiny/cyclegan.yaml"
    (tmp_path / "configs/my.yaml").write_text(f"extends: {base}\n\ngenerator: {{num_blocs: 9}}\n")
    monkeypatch.chdir(tmp_path)
    assert main("train", ["configs/my.yaml"]) == 2
    assert capsys.readouterr().err.splitlines()[0] in README


@pytest.mark.slow
def test_the_yaml_of_the_readme_is_the_shipped_recipe(tmp_path, capsys):
    (block,) = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    (tmp_path / "readme.yaml").write_text(block)
    assert main("train", [str(tmp_path / "readme.yaml"), "--dry-run", "--no-measure"]) == 0
    written = capsys.readouterr().out.partition("\n")[2]
    assert main("train", [str(REPOSITORY / "configs/cyclegan_horse2zebra.yaml"), "--dry-run", "--no-measure"]) == 0
    assert capsys.readouterr().out.partition("\n")[2] == written


def test_components_named_in_the_readme_exist():
    from i2i.core.registry import REGISTRIES

    table = README.partition("| pipelines | generators")[2].splitlines()[2]
    named = set(re.findall(r"\b[a-z][a-z0-9_]+\b", table))
    registered = {name for registry in REGISTRIES.values() for name in registry.names()}
    kinds = ("pipeline", "generator", "discriminator", "loss", "dataset")
    builtin = {n for k in kinds for n, es in REGISTRIES[k].entries().items() if es[0].owner == "i2i"}
    assert builtin <= named
    words = {"and", "yours", "any", "other", "around", "depth", "spectral", "norm", "gradient", "penalty", "1x1"}
    assert named - words <= registered


def test_the_demo_ends_with_pictures(tmp_path, capsys):
    code = main("demo", [*TINY, "discriminator.base_channels=4", "--out", str(tmp_path / "run"), "--seed", "3"])
    output = capsys.readouterr().out
    assert code == 0, output
    assert (tmp_path / "run/before_after.png").stat().st_size > 10_000
    assert len(list((tmp_path / "run/translated/a2b").glob("*.png"))) == 64
    assert len(list((tmp_path / "run/translated/b2a").glob("*.png"))) == 64
    assert str(tmp_path / "run/before_after.png") in output
    assert "held-out plain animals" in output


def test_the_python_line_works(tmp_path):
    import numpy as np

    import i2i

    assert main("train", [str(REPOSITORY / "configs/tiny/cyclegan.yaml"), "--out", str(tmp_path / "run"), *TINY]) == 0
    from i2i.images.files import save_image

    save_image(tmp_path / "photo.png", np.full((37, 53, 3), 128, np.uint8))
    result = i2i.Translator.load(tmp_path / "run/model.safetensors")(tmp_path / "photo.png")
    assert result.shape == (37, 53, 3) and result.dtype == np.uint8

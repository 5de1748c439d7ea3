"""``i2i new plugin``: what it writes works as it is, installed by lying on the path."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from i2i.cli import main
from i2i.cli.new import KINDS, check_name, render
from i2i.core.errors import I2IError
from tests import fork_server
from tests.conftest import REPOSITORY
from tests.core.fake_distributions import install

ALL = [*KINDS, "pipeline_from_noise"]

RUN_TESTS = "import pytest, sys\nsys.exit(pytest.main(['-q', '-p', 'no:cacheprovider', '-c', os.devnull, *folders]))"
TRAIN = """
from pathlib import Path
from i2i.cli import main
for folder in folders:
    keys = ["trainer.steps=2", "trainer.log_every=1", "trainer.sample_every=2", "trainer.checkpoint_every=2"]
    code = main("train", [f"{folder}/example.yaml", *keys, "--out", f"{folder}/run"])
    assert code == 0, folder
"""


@pytest.fixture(scope="module")
def skeletons(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A skeleton of each kind."""
    root = tmp_path_factory.mktemp("skeletons")
    for kind in ALL:
        name, of_noise = f"i2i-trial-{kind.replace('_', '-')}", kind == "pipeline_from_noise"
        more = ["--kind", "pipeline", "--from", "noise"] if of_noise else ["--kind", kind]
        assert main("new", ["plugin", name, *more, "--out", str(root / kind)]) == 0
    return {kind: root / kind for kind in ALL}


@pytest.fixture(scope="module")
def path(skeletons: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What pip would add to the path: the sources, and the metadata that each pyproject.toml describes."""
    site = tmp_path_factory.mktemp("site")
    for folder in skeletons.values():
        project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
        install(site, project["name"], project["entry-points"], version=project["version"])
    return [str(site), *(str(folder / "src") for folder in skeletons.values())]


def python(code: str, folders: list[Path], path: list[str]) -> subprocess.CompletedProcess[str]:
    prologue = f"import os, sys\nsys.path[:0] = {[*path, str(REPOSITORY)]!r}\nfolders = {list(map(str, folders))!r}\n"
    return fork_server.run(["-c", prologue + code], cwd=folders[0])


some_and_all = pytest.mark.parametrize(
    "kinds", [["generator"], pytest.param([kind for kind in ALL if kind != "generator"], marks=pytest.mark.slow)]
)


@pytest.mark.slow
@some_and_all
def test_their_own_tests_pass(skeletons: dict[str, Path], path: list[str], kinds: list[str]) -> None:
    folders = [skeletons[kind] for kind in kinds]
    result = python(RUN_TESTS, folders, path)
    assert result.returncode == 0, result.stdout + result.stderr
    assert all(len(list(folder.glob("tests/test_*.py"))) == 1 for folder in folders)
    assert int(result.stdout.split(" passed")[0].split()[-1]) >= 2 * len(kinds)


@some_and_all
def test_their_yaml_trains_and_names_them(skeletons: dict[str, Path], path: list[str], kinds: list[str]) -> None:
    result = python(TRAIN, [skeletons[kind] for kind in kinds], path)
    assert result.returncode == 0, result.stdout + result.stderr
    for kind in kinds:
        run = skeletons[kind] / "run"
        assert (run / "model.safetensors").exists()
        assert f"type: trial_{kind}" in (run / "config.yaml").read_text()
        assert (run / "best.safetensors").exists() == (kind == "metric")  # which chooses there


def test_they_pass_the_checks_of_style(skeletons: dict[str, Path]) -> None:
    config = ["--config", str(REPOSITORY / "pyproject.toml"), "--no-cache"]
    for command in (["check"], ["format", "--check"]):
        result = subprocess.run(
            [sys.executable, "-m", "ruff", *command, *config, *map(str, skeletons.values())],
            capture_output=True,
            text=True,
        )
        assert result.returncode == 0, result.stdout + result.stderr


def test_the_names_are_derived() -> None:
    values = check_name("i2i-soft-edges", "loss")
    assert (values["package"], values["component"], values["class_name"]) == (
        "i2i_soft_edges",
        "soft_edges",
        "SoftEdges",
    )
    assert values["group"] == "i2i.losses"
    assert check_name("blur", "generator")["class_name"] == "BlurGenerator"
    assert check_name("my-pipeline", "pipeline")["class_name"] == "MyPipeline"


def test_nothing_is_left_of_the_templates() -> None:
    for kind in ALL:
        values = check_name("i2i-trial", "pipeline" if kind == "pipeline_from_noise" else kind)
        for name, content in render(kind, values).items():
            assert "$" not in name + content
            assert content.endswith("\n")


def test_it_says_what_comes_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    assert main("new", ["plugin", "i2i-trial"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "i2i-trial: the generator 'trial' in 6 files. Next:"
    assert lines[1:3] == ["    pip install -e i2i-trial", "    pytest i2i-trial"]
    assert lines[3].endswith(os.path.join("i2i-trial", "example.yaml"))  # noqa: PTH118 (as it is printed)
    assert [path.name for path in tmp_path.iterdir()] == ["i2i-trial"]


def test_nothing_is_overwritten(tmp_path: Path, capsys) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name in ("mine", "link"):
        assert main("new", ["plugin", "i2i-trial", "--out", str(tmp_path / name)]) == 2
        assert capsys.readouterr().err.startswith(f"{tmp_path / name}: is there already, nothing is overwritten")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["link", "mine"]
    (tmp_path / "file").write_text("x")
    assert main("new", ["plugin", "i2i-trial", "--out", str(tmp_path / "file/below")]) == 2
    assert capsys.readouterr().err == f"{tmp_path / 'file'}: File exists\n"


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("I2I-Blur", "loss", "'I2I-Blur' cannot be a package's name"),
        ("2blur", "loss", "'2blur' cannot be a package's name"),
        ("../blur", "loss", "'../blur' cannot be a package's name"),
        ("a--b", "loss", "'a--b' cannot be a package's name"),
        ("", "loss", "'' cannot be a package's name"),
        ("i2i-class", "loss", "'class' cannot be a module"),
        ("i2i-1x", "loss", "'1x' cannot be a module"),
        ("json", "loss", "there is a module 'json' already"),
        ("torch", "loss", "there is a module 'torch' already"),
        ("i2i-l1", "loss", "there is a loss 'l1' already, of i2i"),
        ("i2i-lsgan", "adversarial_loss", "there is a loss 'lsgan' already, of i2i"),
        ("i2i-resnet", "generator", "there is a generator 'resnet' already, of i2i"),
    ],
)
def test_names_that_cannot_be(name: str, kind: str, message: str) -> None:
    with pytest.raises(I2IError, match=message):
        check_name(name, kind)


def test_a_name_is_taken_only_within_its_kind() -> None:
    assert check_name("i2i-resnet", "discriminator")["component"] == "resnet"


def test_command_line_errors(capsys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for words in (["network", "x"], ["plugin"], ["plugin", "x", "--kind", "thing"]):
        with pytest.raises(SystemExit) as stopped:
            main("new", words)
        assert stopped.value.code == 2
    assert not list(tmp_path.iterdir())

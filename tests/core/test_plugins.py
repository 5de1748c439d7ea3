"""The example plugin, installed by lying on the path: offline, without pip, in processes of its own."""

import importlib.metadata
import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from tests import fork_server
from tests.conftest import REPOSITORY
from tests.core.fake_distributions import install

PLUGIN = REPOSITORY / "plugins" / "i2i-nafnet"
PROJECT = tomllib.loads((PLUGIN / "pyproject.toml").read_text())["project"]
TINY = f"extends: {REPOSITORY}/configs/tiny/cyclegan.yaml\n"
NAFNET = "generator: {type: nafnet, width: 4, enc_blocks: [1, 1], middle_blocks: 1, dec_blocks: [1, 1]}\n"
PROLOGUE = "import os, sys\nsys.path[:0] = [path for path in os.environ['EXTRA_PATH'].split(os.pathsep) if path]\n"
LOAD = "from i2i import Translator, I2IError\ntry:\n    Translator.load(sys.argv[1], plugins=sys.argv[2:])\n"

not_installed = pytest.mark.skipif(
    any(importlib.metadata.distributions(name="i2i-nafnet")), reason="i2i-nafnet is installed in this environment"
)


@pytest.fixture(scope="session")
def installed(tmp_path_factory) -> list[str]:
    """What pip would add to the path: the source, and the metadata that pyproject.toml describes."""
    site = tmp_path_factory.mktemp("site")
    install(site, PROJECT["name"], PROJECT["entry-points"], version=PROJECT["version"])
    return [str(site), str(PLUGIN / "src")]


def python(code: str, *arguments: object, path: list[str] | None = None) -> subprocess.CompletedProcess[str]:
    """Runs code in a process of its own, with folders on its path."""
    environment = {**os.environ, "EXTRA_PATH": os.pathsep.join(path or []), "OMP_NUM_THREADS": "1"}
    environment.pop("PYTHONPATH", None)
    code = f"{PROLOGUE}sys.path.insert(0, {str(REPOSITORY)!r})\n{code}"
    return fork_server.run(["-c", code, *arguments], env=environment)


def i2i(*arguments: object, path: list[str] | None = None) -> subprocess.CompletedProcess[str]:
    return python("from i2i.cli import main\nsys.exit(main())", *arguments, path=path)


@pytest.fixture(scope="session")
def run_folder(installed, tmp_path_factory) -> Path:
    """A run with the plugin: two steps."""
    folder = tmp_path_factory.mktemp("nafnet")
    (folder / "config.yaml").write_text(TINY + NAFNET)
    steps = ["trainer.steps=2", "trainer.sample_every=2", "trainer.checkpoint_every=2", "trainer.log_every=1"]
    result = i2i("train", folder / "config.yaml", *steps, "--out", folder / "run", path=installed)
    assert result.returncode == 0, result.stderr
    return folder / "run"


def test_metadata_of_the_plugin():
    assert PROJECT["name"] == "i2i-nafnet"
    assert {re.split("[<>=]", requirement)[0] for requirement in PROJECT["dependencies"]} == {"i2i", "torch"}
    assert PROJECT["entry-points"] == {"i2i.generators": {"nafnet": "i2i_nafnet:NAFNetGenerator"}}


@pytest.mark.slow
def test_its_own_tests_pass(installed):
    code = "import pytest\nsys.exit(pytest.main(['-q', '-p', 'no:cacheprovider', '-c', os.devnull, sys.argv[1]]))"
    result = python(code, PLUGIN / "tests", path=installed)
    assert result.returncode == 0, result.stdout + result.stderr
    assert " passed" in result.stdout


def test_it_is_listed_and_described(installed):
    listed = i2i("components", "generators", path=installed)
    assert "nafnet               i2i-nafnet" in listed.stdout
    described = i2i("components", "generator", "nafnet", path=installed)
    assert "generator nafnet, from i2i-nafnet (i2i_nafnet:NAFNetGenerator)" in described.stdout
    assert "enc_blocks: a list of which each item is an integer; default (2, 2, 4, 8)" in described.stdout


@pytest.mark.slow
@pytest.mark.parametrize("config", sorted(PLUGIN.glob("*.yaml")), ids=lambda path: path.stem)
def test_its_configs_are_sound(installed, config):
    result = i2i("train", config, "--dry-run", "--no-measure", path=installed)
    assert result.returncode == 0, result.stderr
    assert "nafnet" in result.stdout


def test_its_arguments_are_checked_with_their_line(installed, tmp_path):
    unknown, wrong = tmp_path / "unknown.yaml", tmp_path / "wrong.yaml"
    unknown.write_text(TINY + "generator:\n  type: nafnet\n  widht: 8\n")
    wrong.write_text(TINY + "generator:\n  type: nafnet\n  dec_blocks: [1]\n")
    code = "from i2i.cli import main\nprint([main('train', [config, '--dry-run']) for config in sys.argv[1:]])"
    result = python(code, unknown, wrong, path=installed)
    assert result.stdout == "[2, 2]\n"
    assert f"{unknown}:4 generator.widht: unknown key, did you mean 'width'?" in result.stderr
    assert f"{wrong}:4 generator.dec_blocks: dec_blocks must have as many entries" in result.stderr


def test_it_trains_and_the_bundle_names_it(run_folder, installed):
    assert len((run_folder / "log.jsonl").read_text().splitlines()) == 2
    code = (
        "from i2i import Translator\nimport numpy as np\nT = Translator.load(sys.argv[1])\n"
        "print(T.info.networks['G']['owner'], T(np.zeros((13, 21, 3), np.uint8)).shape)"
    )
    result = python(code, run_folder, path=installed)
    owner = {"distribution": "i2i-nafnet", "version": PROJECT["version"]}
    assert result.stdout.strip() == f"{owner} (13, 21, 3)", result.stderr


@not_installed
def test_without_the_plugin_the_config_is_refused_with_the_names_there_are(tmp_path):
    config = tmp_path / "config.yaml"
    config.write_text(TINY + NAFNET)
    result = i2i("train", config, "--dry-run")
    assert result.returncode == 2
    lines = result.stderr.splitlines()
    assert lines[0].startswith(f"{config}:2 generator.type: no generator is named 'nafnet'")
    assert re.search(r"^    generators: .*resnet.*unet", lines[1])


@not_installed
def test_without_the_plugin_the_bundle_says_what_to_install(run_folder):
    result = python(LOAD + "except I2IError as error:\n    print(error)", run_folder)
    assert result.returncode == 0, result.stderr
    message, hint = result.stdout.splitlines()
    assert message.startswith(
        f"{run_folder}/model.safetensors: the generator 'nafnet' of G comes from i2i-nafnet {PROJECT['version']}, "
        "which is not installed"
    )
    assert hint == "    if you trust that package: pip install i2i-nafnet"


# -- a file beside the YAML --------------------------------------------------------------------------------------------


def blocks_of(readme: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", readme.read_text(), re.DOTALL)


@pytest.fixture(scope="session")
def local_folder(tmp_path_factory) -> Path:
    """The example of plugins/README.md as it stands there, trained for one step."""
    folder = tmp_path_factory.mktemp("local")
    module, check = blocks_of(REPOSITORY / "plugins" / "README.md", "python")
    (config,) = blocks_of(REPOSITORY / "plugins" / "README.md", "yaml")
    (folder / "my_blocks.py").write_text(module)
    (folder / "check.py").write_text(check)
    (folder / "experiment.yaml").write_text(config.replace("../configs", f"{REPOSITORY}/configs"))
    short = ["trainer.steps=1", "data.size=32", "data.length=8", "trainer.sample_count=1"]
    result = i2i("train", folder / "experiment.yaml", *short, "--out", folder / "run")
    assert result.returncode == 0, result.stderr
    return folder


def test_the_example_of_the_readme_keeps_the_contract(local_folder):
    result = python(f"import runpy; runpy.run_path({str(local_folder / 'check.py')!r})", path=[str(local_folder)])
    assert result.returncode == 0, result.stderr


def test_a_bundle_never_runs_a_local_file_by_itself(local_folder):
    load = LOAD + "except I2IError as error:\n    print(error)\nelse:\n    print('loaded')"
    refused = python(load, local_folder / "run")
    message, hint, _ = refused.stdout.splitlines()
    assert "the generator 'shallow' of G is in the local plugin file my_blocks.py (sha256 " in message
    assert hint == "    if you trust that file: --plugin path/to/my_blocks.py"
    assert python(load, local_folder / "run", local_folder / "my_blocks.py").stdout == "loaded\n"


def test_another_file_of_the_same_name_is_not_taken_for_it(local_folder, tmp_path):
    other = tmp_path / "my_blocks.py"
    other.write_text((local_folder / "my_blocks.py").read_text() + "\nchanged = True\n")
    load = LOAD + "except I2IError as error:\n    print(error)"
    assert "is in the local plugin file my_blocks.py" in python(load, local_folder / "run", other).stdout

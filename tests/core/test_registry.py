"""Names come from metadata, code is imported when it is asked for, and whoever is at fault is named."""

import json
import subprocess
import sys
import time
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from i2i.cli import COMMANDS, main
from i2i.core.errors import ConfigError, RegistryError
from i2i.core.plugins import load_plugin_file
from i2i.core.registry import GENERATORS, REGISTRIES, Registry, registry_of
from i2i.run.experiment import Experiment
from tests.core.fake_distributions import install

HEAVY = ("torch", "torchvision", "albumentations", "timm", "tensorboard", "cv2")
TINY = Path(__file__).resolve().parents[2] / "configs" / "tiny" / "cyclegan.yaml"
CLASS = "class {name}:\n    def __init__(self, in_channels: int, out_channels: int, depth: int = 2) -> None: ...\n"


def modules_after(code: str, *path: Path) -> set[str]:
    """The top-level modules that a fresh interpreter has imported once it has run some code."""
    program = (
        f"import json, sys\nsys.path[:0] = {[str(folder) for folder in path]!r}\n"
        f"try:\n    {code}\nexcept SystemExit as end:\n    assert not end.code\n"
        "print('\\n' + json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return set(json.loads(result.stdout.splitlines()[-1]))


def command(*arguments: str) -> str:
    return f"from i2i.cli import main; main(None, {list(arguments)!r})"


# -- what is not imported ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "code",
    [
        "import i2i; dir(i2i); i2i.GENERATORS.names(); i2i.ConfigError",
        command("--help"),
        command("components"),
        *(command("components", kind) for kind in REGISTRIES),
        *(command(name, "--help") for name in COMMANDS),
    ],
)
def test_help_and_listings_are_light(code):
    assert not modules_after(code) & set(HEAVY)


@pytest.mark.parametrize("name", [pytest.param("torch", marks=pytest.mark.slow), "cv2"])
def test_that_check_sees_an_import(name):
    assert name in modules_after(f"import i2i, {name}")


@pytest.mark.slow
def test_that_check_sees_an_import_of_our_own():
    assert "torch" in modules_after("from i2i import Translator")
    assert "torch" in modules_after(command("components", "generator", "resnet"))


def test_listing_names_imports_no_plugin(tmp_path):
    install(tmp_path, "i2i-fake", {"i2i.generators": {"fake": "fake_module:Fake"}}, {"fake_module.py": "boom"})
    code = "import i2i; assert 'fake' in i2i.GENERATORS.names()"
    assert "fake_module" not in modules_after(code, tmp_path)
    assert "fake_module" not in modules_after(command("components", "generators"), tmp_path)


# -- installed packages ------------------------------------------------------------------------------------------------


@pytest.fixture
def packages(tmp_path, monkeypatch):
    """Installs packages for one test: ``packages(distribution, {name: target}, {file: content})``."""

    def add(distribution, generators, files=None, place="one"):
        folder = install(tmp_path / place / distribution, distribution, {"i2i.generators": generators}, files)
        monkeypatch.syspath_prepend(str(folder))
        return folder

    before = set(sys.modules)
    yield add
    for name in set(sys.modules) - before:
        if name.startswith("fake_"):
            del sys.modules[name]


def test_a_plugin_is_listed_with_its_owner_and_loaded_by_name(packages, capsys):
    packages("i2i-fake", {"fake": "fake_good:Good"}, {"fake_good.py": CLASS.format(name="Good")})
    assert GENERATORS.entry("fake").owner == "i2i-fake"
    assert GENERATORS.get("fake").__name__ == "Good"
    assert main("components", ["generators"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["fake", "i2i-fake"] in lines
    assert ["resnet", "i2i"] in lines


def test_a_clash_names_both_owners_and_hurts_nobody_else(packages, capsys):
    packages("i2i-first", {"twice": "fake_one:One", "first": "fake_one:One"}, {"fake_one.py": CLASS.format(name="One")})
    packages("i2i-second", {"twice": "fake_two:Two"}, {"fake_two.py": CLASS.format(name="Two")})
    with pytest.raises(RegistryError, match="^the generator name 'twice' is claimed by i2i-") as caught:
        GENERATORS.get("twice")
    assert "i2i-first" in caught.value.message
    assert "i2i-second" in caught.value.message
    assert caught.value.hints
    assert GENERATORS.get("first").__name__ == "One"
    assert main("components", ["generators"]) == 0
    assert "i2i-second and i2i-first" in capsys.readouterr().out


def test_a_built_in_name_cannot_be_taken(packages):
    packages("i2i-thief", {"resnet": "fake_thief:Thief"}, {"fake_thief.py": CLASS.format(name="Thief")})
    with pytest.raises(RegistryError, match="'resnet' is claimed by i2i and i2i-thief"):
        GENERATORS.get("resnet")


def test_an_editable_install_that_is_listed_twice_is_no_clash(packages):
    content = {"fake_editable.py": CLASS.format(name="Good")}
    packages("i2i-editable", {"editable": "fake_editable:Good"}, content)
    packages("i2i-editable", {"editable": "fake_editable:Good"}, content, place="two")
    assert GENERATORS.get("editable").__name__ == "Good"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("import a_library_that_is_missing", "ModuleNotFoundError: No module named 'a_library_that_is_missing'"),
        ("raise RuntimeError('no GPU')", "RuntimeError: no GPU"),
        ("def half(:", "SyntaxError: "),
        ("Other = 1", "AttributeError: "),
    ],
)
def test_a_plugin_that_cannot_be_imported_is_reported_where_it_is_asked_for(packages, content, reason):
    packages("i2i-broken", {"broken": "fake_broken:Broken"}, {"fake_broken.py": content})
    assert "broken" in GENERATORS.names()
    assert GENERATORS.get("resnet").__name__ == "ResNetGenerator"
    Experiment.load(TINY)
    with pytest.raises(RegistryError) as caught:
        GENERATORS.get("broken")
    assert caught.value.message.startswith(
        f"generator 'broken' of i2i-broken cannot be imported from fake_broken:Broken: {reason}"
    )
    assert "i2i-broken" in caught.value.hints[0]
    with pytest.raises(ConfigError) as refused:
        Experiment.load(TINY, ["generator={type: broken}"])
    assert str(refused.value).startswith("<command line> generator.type: generator 'broken' of i2i-broken cannot be")


# -- names that are not there ------------------------------------------------------------------------------------------


def test_an_unknown_name_suggests_and_lists():
    with pytest.raises(RegistryError) as caught:
        GENERATORS.get("resnt")
    assert caught.value.message == "no generator is named 'resnt', did you mean 'resnet'?"
    assert "resnet" in caught.value.hints[0]
    assert "unet" in caught.value.hints[0]
    with pytest.raises(RegistryError, match="^no generator is named 'zzzzzz'$|^no generator is named 'zzzzzz'\n"):
        GENERATORS.get("zzzzzz")


@pytest.mark.parametrize("kind", list(REGISTRIES))
def test_kinds_in_singular_and_plural(kind):
    plural = f"{kind}es" if kind.endswith("s") else f"{kind}s"
    assert registry_of(kind) is registry_of(plural) is REGISTRIES[kind]


def test_an_unknown_kind_suggests_and_lists():
    with pytest.raises(RegistryError, match="no kind of component is named 'generatr', did you mean 'generator'"):
        registry_of("generatr")


# -- running code ------------------------------------------------------------------------------------------------------


def test_the_decorator_registers_a_class():
    registry = Registry("thing", {"taken": "somewhere:Taken"})

    @registry.register("mine")
    class Mine:
        pass

    assert registry.get("mine") is Mine
    assert registry.names() == ["mine", "taken"]
    assert registry.entry("mine").owner == __file__
    registry.register("mine")(Mine)  # the same file again, as a notebook's cell run twice
    with pytest.raises(RegistryError, match="the thing name 'mine' is claimed by .*test_registry.py and elsewhere"):
        registry.register("mine", owner="elsewhere")(Mine)
    with pytest.raises(RegistryError, match="the thing name 'taken' is claimed by i2i and "):
        registry.register("taken")(Mine)


def test_a_package_may_register_what_it_also_lists(packages):
    """One file begun as a plugin file, and moved into a package with its decorators."""
    registered = "from i2i.core.registry import GENERATORS\n" + CLASS.format(name="Moved")
    registered += "\nGENERATORS.register('moved')(Moved)\n"
    packages("i2i-fake", {"moved": "fake_moved:Moved"}, {"fake_moved.py": registered})
    for _ in range(2):
        assert GENERATORS.get("moved").__name__ == "Moved" and len(GENERATORS.entries()["moved"]) == 1


def test_a_local_class_and_an_installed_one_of_the_same_name_clash(packages):
    packages("i2i-fake", {"both": "fake_both:Both"}, {"fake_both.py": CLASS.format(name="Both")})
    registry = Registry("generator", {}, "i2i.generators")
    registry.register("both", owner="here.py")(object)
    with pytest.raises(RegistryError, match="'both' is claimed by i2i-fake and here.py"):
        registry.get("both")


# -- local plugin files ------------------------------------------------------------------------------------------------

BLOCKS = """
from torch import nn
from i2i import GENERATORS

@GENERATORS.register("{name}")
class Blocks(nn.Module):
    '''One convolution.'''

    def __init__(self, in_channels: int, out_channels: int, kernel: int = 3) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2), nn.Tanh())

    def forward(self, x):
        return self.layers(x)
"""


@pytest.fixture
def local(tmp_path, monkeypatch):
    """Writes a YAML with a plugin file beside it; what it registers is forgotten after the test."""
    monkeypatch.setattr(GENERATORS, "_local", dict(GENERATORS._local))

    def write(content: str, generator: str = "{type: local_blocks}") -> Path:
        (tmp_path / "blocks.py").write_text(content)
        config = tmp_path / "experiment.yaml"
        config.write_text(f"extends: {TINY}\nplugins: [./blocks.py]\ngenerator: {generator}\n")
        return config

    return write


def test_a_yaml_may_bring_its_own_code(local, monkeypatch, tmp_path):
    config = local(BLOCKS.format(name="local_blocks"))
    monkeypatch.chdir("/")  # the path is relative to the YAML
    experiment = Experiment.load(config, ["generator.kernel=5"])
    assert experiment.network_plans["G"].arguments["kernel"] == 5
    owner = experiment.network_plans["G"].owner()
    assert owner["file"] == "blocks.py"
    assert len(owner["sha256"]) == 64
    Experiment.load(config)  # once more in the same process
    assert experiment.resolved()["plugins"] == [str(tmp_path / "blocks.py")]


def test_its_arguments_are_checked_like_any_others(local):
    config = local(BLOCKS.format(name="local_checked"), "{type: local_checked, kernl: 5}")
    with pytest.raises(ConfigError, match=r"experiment.yaml:3 generator.kernl: unknown key, did you mean 'kernel'"):
        Experiment.load(config)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("import a_library_that_is_missing", "ModuleNotFoundError: No module named 'a_library_that_is_missing'"),
        ("class (:", "SyntaxError: "),
        (BLOCKS.format(name="resnet"), "RegistryError: the generator name 'resnet' is claimed by i2i and "),
    ],
)
def test_a_file_that_fails_is_named_with_its_reason(local, tmp_path, content, reason):
    config = local(content)
    with pytest.raises(ConfigError) as caught:
        Experiment.load(config)
    file = tmp_path / "blocks.py"
    assert str(caught.value).startswith(f"{config}:2 plugins.0: the plugin {str(file)!r} fails: {reason}")


def test_a_file_that_is_missing_is_named(tmp_path):
    config = tmp_path / "experiment.yaml"
    config.write_text(f"extends: {TINY}\nplugins: [./nothing.py]\n")
    with pytest.raises(ConfigError, match=rf"{config}:2 plugins.0: no plugin file '{tmp_path}/nothing.py'"):
        Experiment.load(config)


def test_a_file_runs_once(local, tmp_path):
    config = local(f"open({str(tmp_path / 'runs')!r}, 'a').write('x')\n" + BLOCKS.format(name="local_once"))
    for _ in range(2):
        load_plugin_file(config.parent / "blocks.py")
    assert (tmp_path / "runs").read_text() == "x"


def test_components_shows_a_local_file(local, capsys):
    file = local(BLOCKS.format(name="local_shown")).parent / "blocks.py"
    assert main("components", ["--plugin", str(file), "generator", "local_shown"]) == 0
    shown = capsys.readouterr().out
    assert f"generator local_shown, from {file}" in shown
    assert "kernel: an integer; default 3" in shown
    assert "One convolution." in shown


def test_metadata_are_read_once_and_again_when_something_is_installed(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(
        "i2i.core.registry.entry_points", lambda group: calls.append(group) or entry_points(group=group)
    )
    monkeypatch.syspath_prepend(tmp_path)
    registry = Registry("generator", {}, "i2i.generators")
    for _ in range(3):
        assert "late" not in registry.names()
    assert calls == ["i2i.generators"]
    time.sleep(0.01)  # the clock of some file systems is coarse
    install(tmp_path, "i2i-late", {"i2i.generators": {"late": "late:Late"}})
    assert registry.entry("late").owner == "i2i-late"
    with next(tmp_path.glob("i2i_late*/entry_points.txt")).open("a") as file:
        file.write("\nlater = late:Later\n")  # which does not change the folder that is watched
    assert registry.entry("later").owner == "i2i-late"

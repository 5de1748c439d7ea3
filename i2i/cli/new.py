"""Start a plugin: a package of your own with a small component that works, its tests and a YAML that uses it.

i2i new plugin i2i-blur                          a generator named blur, in ./i2i-blur
i2i new plugin i2i-blur --kind loss --out blur   a loss, in ./blur
i2i new plugin i2i-dream --kind pipeline --from noise
"""

import argparse
import keyword
import re
import shutil
import sys
import tempfile
from importlib import resources
from importlib.util import find_spec
from pathlib import Path
from string import Template

from i2i.core.errors import I2IError
from i2i.core.registry import registry_of

HELP = "start a plugin: a package with a small component that works"
# Kind -> the registry that it goes into.
KINDS = {
    "generator": "generator",
    "discriminator": "discriminator",
    "loss": "loss",
    "adversarial_loss": "loss",
    "dataset": "dataset",
    "pipeline": "pipeline",
    "metric": "metric",
}
_NAME = re.compile(r"[a-z][a-z0-9]*([-_][a-z0-9]+)*")
SOURCES = ("images", "noise")
MIN_VERSION = "0.2"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.add_argument("what", choices=("plugin",), help="what to start")
    parser.add_argument("name", metavar="NAME", help="the package's name, such as i2i-blur; the component is then blur")
    parser.add_argument("--kind", choices=KINDS, default="generator", help="of the component (default: generator)")
    parser.add_argument(
        "--from", dest="source", choices=SOURCES, default="images", help="of a pipeline: what it starts from"
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="the new folder (default: NAME, here)")


def run(args: argparse.Namespace) -> int:
    """Writes the package.

    Returns:
        0.

    Raises:
        I2IError: The name cannot be used, the folder is there already or cannot be written.
    """
    values = check_name(args.name, args.kind)
    folder: Path = args.out or Path(args.name)
    if args.source != "images" and args.kind != "pipeline":
        raise I2IError(f"--from {args.source}: goes with --kind pipeline")
    files = render("pipeline_from_noise" if args.source == "noise" else args.kind, values)
    write_files(folder, files)
    print(f"{folder}: the {values['kind']} {values['component']!r} in {len(files)} files. Next:")
    train = "i2i train" if shutil.which("i2i") else "python tools/train.py"
    for command in (f"pip install -e {folder}", f"pytest {folder}", f"{train} {folder / 'example.yaml'}"):
        print(f"    {command}")
    return 0


def check_name(name: str, kind: str) -> dict[str, str]:
    """Derives from a package's name all other names.

    Raises:
        I2IError: It is no package's name, or one of the others is taken.
    """
    if not _NAME.fullmatch(name):
        hint = "lower-case letters and digits in words joined by '-', such as i2i-blur"
        raise I2IError(f"NAME: {name!r} cannot be a package's name", [hint])
    package = name.replace("-", "_")
    component = package.removeprefix("i2i_")
    for word in (package, component):
        if keyword.iskeyword(word) or not word.isidentifier():
            raise I2IError(f"NAME: {word!r} cannot be a module of Python", ["another name, such as i2i-blur"])
    if package in sys.stdlib_module_names or find_spec(package) is not None:
        raise I2IError(f"NAME: there is a module {package!r} already", [f"another name, such as i2i-{package}"])
    registry = registry_of(KINDS[kind])
    if component in registry.names():
        owner = registry.entries()[component][0].owner
        raise I2IError(f"NAME: there is a {registry.kind} {component!r} already, of {owner}", ["another name"])
    words = component.split("_")
    suffix = "" if registry.kind in ("loss", "metric", words[-1]) else registry.kind.capitalize()
    return {
        "name": name,
        "package": package,
        "component": component,
        "class_name": "".join(map(str.capitalize, words)) + suffix,
        "kind": kind.replace("_", " "),
        "registry": registry.kind,
        "group": str(registry.group),
        "version": MIN_VERSION,
    }


def render(kind: str, values: dict[str, str]) -> dict[str, str]:
    """Returns the package's files: path below its folder -> content."""
    templates = resources.files("i2i.cli") / "templates" / "plugin"
    package, component = values["package"], values["component"]
    sources = {
        "pyproject.toml": "pyproject.toml",
        "README.md": "README.md",
        "example.yaml": f"{kind}/example.yaml",
        f"src/{package}/__init__.py": "init.py",
        f"src/{package}/{component}.py": f"{kind}/component.py",
        f"tests/test_{component}.py": f"{kind}/test.py",
    }
    return {
        path: Template((templates / f"{source}.txt").read_text(encoding="utf-8")).substitute(values)
        for path, source in sources.items()
    }


def write_files(folder: Path, files: dict[str, str]) -> None:
    """Writes all files into a folder that is not there yet, or none of them.

    Raises:
        I2IError: The folder is there, or cannot be written.
    """
    if folder.exists() or folder.is_symlink():
        raise I2IError(f"{folder}: is there already, nothing is overwritten", ["another folder: --out DIR"])
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".new_", dir=folder.parent) as work:
            whole = Path(work) / "plugin"
            for name, content in files.items():
                (whole / name).parent.mkdir(parents=True, exist_ok=True)
                (whole / name).write_text(content, encoding="utf-8")
            whole.rename(folder)
    except OSError as error:
        raise I2IError(f"{error.filename or folder}: {error.strerror or error}") from error

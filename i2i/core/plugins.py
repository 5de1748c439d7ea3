"""Local plugin files: ``plugins: [./my_blocks.py]`` in a YAML, ``--plugin FILE`` on a command line."""

import hashlib
import importlib.util
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from i2i.core.errors import RegistryError
from i2i.core.registry import REGISTRIES

_LOADED: dict[str, str] = {}  # path -> SHA-256 of the code that was run


def loaded_files() -> dict[str, str]:
    """Returns the plugin files that were run, with the SHA-256 that they had then."""
    return dict(_LOADED)


def installed_version(distribution: str) -> str | None:
    """Returns the version of an installed distribution; a checkout that is not installed has none."""
    try:
        return version(distribution)
    except (PackageNotFoundError, ValueError):  # the latter for a name that cannot be one
        return None


def owner_of(kind: str, name: str) -> dict[str, str]:
    """Tells where a component's code comes from: a distribution with its version, or a local file with its SHA-256."""
    owner = REGISTRIES[kind].entry(name).owner
    if owner in _LOADED:
        return {"file": Path(owner).name, "sha256": _LOADED[owner]}
    return {"distribution": owner, "version": installed_version(owner) or "unknown"}


def sha256(path: str | Path) -> str:
    """Returns the hexadecimal SHA-256 of a file."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def load_plugin_file(path: str | Path) -> None:
    """Runs a Python file, whose decorators register components. A file already loaded is not run again.

    Raises:
        RegistryError: There is no such file, or running it fails.
    """
    path = Path(path).resolve()
    if not path.is_file():
        raise RegistryError(f"no plugin file {str(path)!r}")
    digest = sha256(path)
    name = f"i2i_plugin_{path.stem}_{digest[:12]}"
    if name in sys.modules:
        return
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise RegistryError(f"the plugin {str(path)!r} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    _LOADED[str(path)] = digest
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # the file is the user's: whatever it raises is reported by its name
        del sys.modules[name], _LOADED[str(path)]
        raise RegistryError(f"the plugin {str(path)!r} fails: {type(error).__name__}: {error}") from error

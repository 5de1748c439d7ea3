"""Fixtures of the whole suite. Nothing here needs a network or a GPU."""

import gc
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from i2i.core import plugins
from i2i.core.registry import REGISTRIES

if TYPE_CHECKING:
    from torch import Tensor

# One thread a test process: xdist runs as many processes as there are cores, and threads that wait for a core spin.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

# Without files of bytecode each process that a test starts compiles the package anew, and pytest each test file.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# Who starts the suite in the background has it ignore Ctrl-C, and nohup a terminal that closes; tests send both.
signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP"):
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

REPOSITORY = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get("I2I_SHARED", REPOSITORY.parent / "shared"))


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Collects tests, whose modules last: the garbage collector need not visit them then, nor ever after."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_unconfigure() -> None:
    """Gives the garbage collector back what was frozen: extension modules complain at exit of what is left."""
    gc.unfreeze()


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Names bytes by their argument: where they hold a time, processes of xdist would collect different tests."""
    return argname if isinstance(val, bytes) else None


def without_new_plugins() -> Iterator[None]:
    """Forgets the plugin files that are run meanwhile: loader processes of later tests would run them, too."""
    before = plugins.loaded_files()
    local = {kind: dict(registry._local) for kind, registry in REGISTRIES.items()}
    yield
    for kind, registry in REGISTRIES.items():
        registry._local = local[kind]
    if before == plugins._LOADED:
        return
    plugins._LOADED.clear()
    plugins._LOADED.update(before)
    kept = {f"i2i_plugin_{Path(path).stem}_{digest[:12]}" for path, digest in before.items()}
    for name in [name for name in sys.modules if name.startswith("i2i_plugin_") and name not in kept]:
        del sys.modules[name]


# A module's own lies around those of its tests: fixtures of a module may run plugin files as well.
forget_plugins_of_a_module = pytest.fixture(autouse=True, scope="module")(without_new_plugins)
forget_plugins_of_a_test = pytest.fixture(autouse=True)(without_new_plugins)


@pytest.fixture(scope="session")
def repository() -> Path:
    return REPOSITORY


def shared_folder(name: str) -> Path:
    """What lies outside the repository: golden numbers and real images; without it the test is skipped."""
    folder = SHARED / name
    if not folder.is_dir():
        pytest.skip(f"no {name} at {folder}; I2I_SHARED names the folder that holds it")
    return folder


@pytest.fixture(scope="session")
def golden_folder() -> Path:
    """Numbers of the reference implementations."""
    return shared_folder("golden")


@pytest.fixture(scope="session")
def golden(golden_folder: Path) -> "Callable[[str], tuple[dict[str, Tensor], dict]]":
    """Reads the golden file ``NAME`` as its tensors and its metadata."""
    from safetensors import safe_open
    from safetensors.torch import load_file

    def read(name: str) -> "tuple[dict[str, Tensor], dict]":
        path = golden_folder / f"{name}.safetensors"
        with safe_open(path, "pt") as file:
            metadata = {key: json.loads(value) for key, value in file.metadata().items()}
        return load_file(path), metadata

    return read


@pytest.fixture(scope="session")
def real_images() -> Path:
    """Real data sets."""
    return shared_folder("data")

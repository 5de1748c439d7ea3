"""The benchmarks are scripts beside the package: their folder is put on the path, as Python does when it runs one."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import fork_server


@pytest.fixture
def benchmarks(repository: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = repository / "benchmarks"
    monkeypatch.syspath_prepend(str(folder))
    return folder


@pytest.fixture
def bench(repository: Path, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs a benchmark."""

    def run(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [repository / f"benchmarks/{name}.py", *arguments]
        return fork_server.run(command, cwd=tmp_path, env={**os.environ, "TMPDIR": str(tmp_path)})

    return run

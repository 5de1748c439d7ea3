"""A run that ended well, trained once a process."""

import shutil
from pathlib import Path

import pytest

from tests.run.test_run import train


@pytest.fixture(scope="session")
def eight_steps(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of eight steps, with checkpoints at 4 and 8; for reading only."""
    folder = tmp_path_factory.mktemp("eight") / "run"
    assert train(repository, folder, "trainer.steps=8") == 0
    return folder


@pytest.fixture
def finished(eight_steps: Path, tmp_path: Path) -> Path:
    """A copy of the folder of a run of eight steps."""
    return shutil.copytree(eight_steps, tmp_path / "finished")

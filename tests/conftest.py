"""Fixtures of the whole suite. Nothing here needs a network or a GPU."""

import os
from pathlib import Path

import pytest

# One thread a test process: xdist runs as many processes as there are cores, and threads that wait for a core spin.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

REPOSITORY = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get("I2I_SHARED", REPOSITORY.parent / "shared"))


@pytest.fixture(scope="session")
def repository() -> Path:
    return REPOSITORY


@pytest.fixture(scope="session")
def golden_folder() -> Path:
    """Numbers of the reference implementations; they lie outside the repository."""
    folder = SHARED / "golden"
    if not folder.is_dir():
        pytest.skip(f"no golden numbers at {folder} (I2I_SHARED names another place)")
    return folder


@pytest.fixture(scope="session")
def real_images() -> Path:
    """Real data sets; they lie outside the repository."""
    folder = SHARED / "data"
    if not folder.is_dir():
        pytest.skip(f"no real images at {folder} (I2I_SHARED names another place)")
    return folder

"""A tiny model and a few images for the command."""

import pytest

from tests.bundles import make_bundle, make_image
from tests.cli.forking import Forks


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    return make_bundle(tmp_path_factory.mktemp("model") / "cyclegan.safetensors")


@pytest.fixture
def photos(tmp_path):
    """Three images in a tree, none of a size that the network takes without padding."""
    make_image(tmp_path / "in/one.jpg", (37, 53), seed=1)
    make_image(tmp_path / "in/deep/er/two.png", (16, 21), seed=2)
    make_image(tmp_path / "in/deep/three.webp", (5, 9), seed=3)
    return tmp_path / "in"


@pytest.fixture(scope="module")
def forks(model, tmp_path_factory):
    """Starts jobs in milliseconds."""
    server = Forks(model, tmp_path_factory.mktemp("forks") / "log")
    yield server
    server.close()

"""A tiny model and a few images for the command."""

import sys

import pytest

from i2i.core.plugins import sha256
from i2i.training.precision import Precision
from tests.bundles import make_bundle, make_image
from tests.cli.forking import Forks
from tests.cli.translating import contents


@pytest.fixture(autouse=True)
def exact(monkeypatch):
    """No precision is faster than fp32: what ``auto`` takes depends on time, and outputs are compared here."""
    monkeypatch.setattr(Precision, "candidates", classmethod(lambda cls, device: ()))


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


@pytest.fixture(scope="session")
def forks(model, tmp_path_factory):
    """Starts jobs in milliseconds."""
    if sys.platform != "linux":
        pytest.skip("jobs are forked from a process whose threads are counted in /proc")
    server = Forks(model, tmp_path_factory.mktemp("forks") / "log")
    yield server
    server.close()


@pytest.fixture(scope="session")
def work(model, forks, tmp_path_factory):
    """Images, two models, and the folders that undisturbed jobs make: hash of the model -> name -> content."""
    root = tmp_path_factory.mktemp("work")
    for index in range(40):
        make_image(root / f"few/{index % 2}/{index}.png" if index < 3 else root / f"many/{index}.png", seed=index)
    models = [model, make_bundle(root / "other.safetensors", "cyclegan", "trainer.seed=7")]
    expected = {"few": {}, "many": {}}
    for name, results in expected.items():
        for one in models:
            out = root / f"{name}_{one.stem}"
            assert forks.run(one, root / name, out) == 0
            results[sha256(one)] = contents(out)
    return root, models, expected

"""Every registered component, of this package and of installed plugins, keeps its contract and is documented.

A new component is tested here without a line being added; an entry in ``TINY`` only makes it quick.
"""

import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from i2i.core.config.build import check_arguments, parameters_of
from i2i.core.config.document import node_of
from i2i.core.registry import REGISTRIES
from i2i.data.shards.make import plan_shards, write_shards
from i2i.networks.mlp import MLPDiscriminator, MLPGenerator
from i2i.testing import (
    check_adversarial_loss,
    check_dataset,
    check_discriminator,
    check_generator,
    check_loss,
    check_pipeline,
)

TINY: dict[tuple[str, str], dict[str, Any]] = {
    ("generator", "resnet"): {"base_channels": 4, "num_blocks": 2},
    ("generator", "unet"): {"base_channels": 4, "num_downsamplings": 4},
    ("generator", "mlp"): {"size": 8, "z_dim": 4, "widths": (8, 16)},
    ("discriminator", "mlp"): {"size": 8, "widths": (8, 4)},
    ("discriminator", "patchgan"): {"base_channels": 4},
    ("discriminator", "multiscale"): {"num_scales": 2, "discriminator": {"type": "patchgan", "base_channels": 4}},
    ("pipeline", "gan"): {
        "networks": {"G": lambda: MLPGenerator(3, 8, 4, (8,)), "D": lambda: MLPDiscriminator(3, 8, (8,))},
        "input_size": 8,
        "r1": 1.0,
    },
    ("loss", "perceptual"): {"backbone": "test_resnet", "weights": "random"},
    ("loss", "style"): {"backbone": "test_resnet", "weights": "random"},
    ("dataset", "synthetic"): {"size": 32, "length": 6},
    ("dataset", "digits"): {"size": 16, "length": 12},
    ("dataset", "paired"): {"load_size": 20, "crop_size": 16},
    ("dataset", "unpaired"): {"load_size": 20, "crop_size": 16},
    ("dataset", "labels"): {"classes": 5, "folders": ("L", "A"), "load_size": 20, "crop_size": 16},
}
FOREIGN = ("optimizer",)  # kinds whose code is not ours to document
NAMES = [(kind, name) for kind, registry in REGISTRIES.items() for name in registry.names()]
EXCUSED: dict[tuple[str, str], str] = {}


def of_kind(kind: str) -> list[Any]:
    return [
        pytest.param(name, marks=pytest.mark.xfail(reason=EXCUSED[kind, name], strict=True))
        if (kind, name) in EXCUSED
        else name
        for of, name in NAMES
        if of == kind
    ]


def check(kind: str, name: str, contract: Callable[..., None], **arguments: Any) -> None:
    contract(REGISTRIES[kind].get(name), **TINY.get((kind, name), {}), **arguments)


def test_the_table_of_tiny_arguments_names_components_that_exist():
    assert set(NAMES) >= set(TINY)
    assert {kind for kind, _ in NAMES} >= {"generator", "discriminator", "loss", "dataset", "pipeline", "optimizer"}


@pytest.mark.parametrize(("kind", "name"), NAMES)
def test_its_code_is_where_the_registry_says(kind, name):
    component = REGISTRIES[kind].get(name)
    assert callable(component)
    for argument, parameter in parameters_of(component).items():
        assert not isinstance(parameter.annotation, str), f"{argument}: {parameter.annotation} cannot be resolved"


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, name in NAMES if kind not in FOREIGN])
def test_it_documents_its_arguments(kind, name):
    component = REGISTRIES[kind].get(name)
    documentation = inspect.getdoc(component) or ""
    assert documentation, "no docstring"
    undocumented = [a for a in parameters_of(component) if a not in documented_arguments(component)]
    assert not undocumented, f"not in the docstring's Args: {', '.join(undocumented)}"


def documented_arguments(component: Any) -> list[str]:
    """The names in the ``Args:`` sections of a class, its bases and their constructors."""
    found = []
    parts = inspect.getmro(component) if inspect.isclass(component) else (component,)
    texts = [text for part in parts for text in (part.__doc__, getattr(vars(part).get("__init__"), "__doc__", None))]
    for text in texts:
        _, _, section = inspect.cleandoc(text or "").partition("Args:\n")
        section = re.split(r"^\S", section, maxsplit=1, flags=re.MULTILINE)[0]
        found += re.findall(r"^    (\w+): ", section, flags=re.MULTILINE)
    return found


def test_documented_arguments_are_those_of_the_section():
    class Example:
        """Does nothing.

        Args:
            one: The first,
                in words: two lines.
            two: The second.

        Attributes:
            three: No argument.
        """

    assert documented_arguments(Example) == ["one", "two"]


@pytest.mark.parametrize("name", of_kind("generator"))
def test_generator(name):
    check("generator", name, check_generator)


@pytest.mark.parametrize("name", of_kind("discriminator"))
def test_discriminator(name):
    check("discriminator", name, check_discriminator)


@pytest.mark.parametrize("name", of_kind("loss"))
def test_loss(name):
    adversarial = hasattr(REGISTRIES["loss"].get(name), "discriminator")
    check("loss", name, check_adversarial_loss if adversarial else check_loss)


@pytest.mark.parametrize("name", of_kind("pipeline"))
def test_pipeline(name):
    check("pipeline", name, check_pipeline)


@pytest.mark.parametrize("labels", [{"num_classes": 3}, {"num_attributes": 2}])
def test_a_pipeline_with_labels(labels):
    networks = {
        "G": lambda: MLPGenerator(3, 8, 4, (8,), **labels),
        "D": lambda: MLPDiscriminator(3, 8, (8,), **labels),
    }
    check_pipeline(REGISTRIES["pipeline"].get("gan"), networks=networks, input_size=8, **labels, r1=1.0)
    check_generator(MLPGenerator, size=8, widths=(8,), **labels)
    check_discriminator(MLPDiscriminator, size=8, widths=(8,), **labels)


@pytest.mark.parametrize("name", of_kind("dataset"))
def test_dataset(name, folder_of_pairs, tmp_path):
    takes_root, root = "root" in parameters_of(REGISTRIES["dataset"].get(name)), folder_of_pairs
    if name == "shards":
        root = tmp_path / "shards"
        write_shards(plan_shards(str(folder_of_pairs), paired=True), root, 10**6)
    check("dataset", name, check_dataset, **({"root": str(root)} if takes_root else {}))


@pytest.mark.parametrize("name", of_kind("metric"))
def test_metric(name):
    component = REGISTRIES["metric"].get(name)
    for method in ("update", "compute", "reset"):
        assert callable(getattr(component, method, None)), f"has no method {method!r}"


@pytest.mark.parametrize("name", of_kind("optimizer"))
def test_optimizer(name):
    component = REGISTRIES["optimizer"].get(name)
    assert not check_arguments(component, node_of({"lr": 0.1}), ("params",))
    parameter = torch.nn.Parameter(torch.ones(2))
    optimizer = component([parameter], lr=0.1)
    parameter.square().sum().backward()
    optimizer.step()
    assert (parameter != 1).all()


@pytest.fixture(scope="session")
def folder_of_pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small random images, of the same names in trainA and trainB; label maps for trainA in trainL."""
    root = tmp_path_factory.mktemp("pairs")
    rng = np.random.default_rng(0)
    for part in ("trainA", "trainB", "testA", "testB"):
        (root / part).mkdir()
        for index in range(4):
            Image.fromarray(rng.integers(0, 256, (24, 24, 3), dtype=np.uint8)).save(root / part / f"{index}.png")
    (root / "trainL").mkdir()
    for index in range(4):
        Image.fromarray(rng.integers(0, 5, (24, 24), dtype=np.uint8)).save(root / f"trainL/{index}.png")
    return root

"""The translation of an image depends on the image alone: bit for bit, whatever is translated beside it, on a CPU."""

import shutil

import pytest

from tests.bundles import make_bundle, make_image
from tests.cli.translating import contents, translate

SIZES = [(32, 32), (33, 40), (64, 48)]
UNET = ("pix2pix", "generator.num_downsamplings=6", "data.size=64")  # a shallower one has no dropout


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    root = tmp_path_factory.mktemp("images")
    for index in range(12):
        make_image(root / f"{index:02}.png", SIZES[index % 3], seed=index)
    make_image(root / "12.jpg", SIZES[0], "L", seed=12)
    return sorted(root.iterdir())


def reverse(path, root):
    return root / f"{99 - int(path.stem)}{path.suffix}"


def scatter(path, root):
    return root / str(int(path.stem) % 5) / path.name


@pytest.mark.parametrize(
    "config",
    [
        ("cyclegan",),  # ResNet, instance norm
        pytest.param(("cyclegan", "generator.norm=batch"), marks=pytest.mark.slow),
        ("cyclegan", "generator.norm=batch", "pipeline.norm_policy=batch"),
        (*UNET, "pipeline.norm_policy=batch", "pipeline.dropout_policy=on"),
        *(
            pytest.param(
                (*UNET, f"pipeline.norm_policy={norm}", f"pipeline.dropout_policy={dropout}"), marks=pytest.mark.slow
            )
            for norm, dropout in (("running", "on"), ("batch", "off"), ("running", "off"))
        ),
    ],
    ids=lambda config: "-".join(part.rpartition("=")[2] for part in config),
)
def test_order_batches_and_neighbours_change_nothing(config, images, tmp_path):
    model = make_bundle(tmp_path / "model.safetensors", *config)
    for path in images:
        assert translate(model, path, tmp_path / "alone") == 0
    expected = contents(tmp_path / "alone")
    assert len(set(expected.values())) == len(images)
    for name, place, batch_size in (
        ("by one", lambda path, root: root / path.name, 1),
        ("by three", lambda path, root: root / path.name, 3),
        ("by eight, reversed", reverse, 8),
        ("by three, in folders", scatter, 3),
    ):
        places = {path: place(path, tmp_path / f"in {name}") for path in images}
        for path, where in places.items():
            where.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, where)
        root = tmp_path / f"in {name}"
        assert translate(model, root, tmp_path / name, "--batch-size", batch_size) == 0
        found = contents(tmp_path / name)
        for path, where in places.items():
            output = where.relative_to(root).with_suffix(".png").as_posix()
            assert found[output] == expected[f"{path.stem}.png"], (name, output)

"""Gray, RGBA, N channels, 16 bits, floats; channels and sizes that differ: read, trained, translated, written."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from i2i.cli import main
from i2i.core.errors import ArgumentError, DataError
from i2i.data.folder import Folder
from i2i.data.pictures import Paired, Unpaired
from i2i.images.codecs import codecs_of
from i2i.images.files import load_image, save_image
from i2i.testing import check_dataset
from tests.bundles import make_bundle
from tests.cli.translating import translate
from tests.conftest import REPOSITORY
from tests.data.domain_folders import SMALL, rng

KINDS: dict[str, tuple[Any, ...]] = {
    # dtype, largest value, channels, suffix of files, suffix of translations, YAML
    "gray": (np.uint8, 255, 1, "png", "png", {}),
    "rgba": (np.uint8, 255, 4, "png", "png", {}),
    "deep": (np.uint16, 65535, 3, "png", "png", {}),
    "deep gray": (np.uint16, 65535, 1, "tiff", "png", {}),
    "bands": (np.uint8, 255, 5, "tiff", "tiff", {}),
    "deep bands": (np.uint16, 65535, 2, "npy", "tiff", {}),
    "12 bits": (np.uint16, 4095, 1, "png", "png", {"value_range": [0, 4095]}),
    "floats": (np.float32, 30.0, 3, "npy", "tiff", {"value_range": [0, 30]}),
    "float tiff": (np.float64, 30.0, 1, "tiff", "tiff", {"value_range": [0, 30]}),
}


def image_of(kind: str, seed: int, size: tuple[int, int] = (24, 28)) -> np.ndarray:
    dtype, most, channels = KINDS[kind][:3]
    values = np.random.default_rng(seed).uniform(0, most, (*size, channels))
    return (values if np.dtype(dtype).kind == "f" else np.round(values)).astype(dtype)


def write_set(root: Path, kind_a: str, kind_b: str, count: int = 3) -> Path:
    for domain, kind in (("A", kind_a), ("B", kind_b)):
        (root / f"train{domain}").mkdir(parents=True)
        for index in range(count):
            save_image(root / f"train{domain}/{index}.{KINDS[kind][3]}", image_of(kind, index))
    return root


@pytest.mark.parametrize("kind", KINDS)
def test_pixels_arrive_as_they_are(kind: str, tmp_path: Path) -> None:
    _, most, channels, _, _, own = KINDS[kind]
    dataset = Paired(str(write_set(tmp_path, kind, "gray")), channels=(channels, 1), transforms="none", **with_a(own))
    assert dataset.channels == {"a": channels, "b": 1}
    for index in range(3):
        a = dataset.get(index, rng(0))["a"]
        expected = image_of(kind, index).astype(np.float64).transpose(2, 0, 1) / most * 2 - 1
        torch.testing.assert_close(a, torch.from_numpy(expected).float(), rtol=0, atol=1e-6)
    unpaired = {"root": str(tmp_path), "channels": [channels, 1], **with_a(own)}
    check_dataset(Unpaired, **{**unpaired, **SMALL})
    depth = codecs_of(dataset)["a"].describe()["depth"]
    assert depth == {"u1": 8, "u2": 16, "f4": 32, "f8": 32}[np.dtype(KINDS[kind][0]).str[1:]]


def with_a(own: dict[str, Any]) -> dict[str, Any]:
    return {key: {"a": tuple(value)} for key, value in own.items()}


@pytest.mark.parametrize(
    ("config", "kind"),
    [("cyclegan", "bands"), *(("pix2pix", kind) for kind in ("rgba", "deep", "deep bands", "12 bits", "floats"))],
)
def test_trained_and_translated_both_ways(kind: str, config: str, tmp_path: Path, capsys: Any) -> None:
    dtype, most, channels, suffix, output, own = KINDS[kind]
    root = write_set(tmp_path / "set", "gray", kind)
    data: dict[str, Any] = {"type": "paired" if config == "pix2pix" else "unpaired", "root": str(root)}
    data |= {"channels": [1, channels], "load_size": 32, "crop_size": 32}
    data |= {key: {"b": value} for key, value in own.items()}
    overrides = [f"data={data}", "trainer.steps=1", "trainer.batch_size=1", "generator.base_channels=4"]
    overrides += ["losses.identity.weight=0"] if config == "cyclegan" else []
    run = tmp_path / "run"
    assert main("train", [str(REPOSITORY / f"configs/tiny/{config}.yaml"), *overrides, "--out", str(run)]) == 0
    capsys.readouterr()
    assert translate(run, root / "trainA", tmp_path / "out") == 0
    assert (f"written as {output}: png does not hold" in capsys.readouterr().out) == (output != "png")
    for index in range(3):
        made, notes = load_image(tmp_path / f"out/{index}.{output}", channels, any_type=True)
        assert made.shape == (24, 28, channels) and notes == ()
        assert made.dtype == (np.float32 if np.dtype(dtype).kind == "f" else dtype)
        assert made.min() >= 0 and made.max() <= most and made.std() > 0
        assert made.dtype != np.uint16 or (made % 257 != 0).any(), "8 bits blown up to 16"
    if config == "cyclegan":
        assert translate(run, root / "trainB", tmp_path / "back", "--direction", "b2a") == 0
        assert load_image(tmp_path / "back/0.png", 1)[0].dtype == np.uint8


@pytest.mark.parametrize(
    ("kind", "format", "about"),
    [
        ("deep", "jpg", "16-bit images of 3 channels"),
        ("bands", "png", "8-bit images of 5 channels"),
        ("floats", "png", "float images of 3 channels"),
    ],
)
def test_formats_that_would_cut_are_refused(kind: str, format: str, about: str, tmp_path: Path, capsys: Any) -> None:
    root = write_set(tmp_path / "set", "gray", kind)
    dtype, _, channels, _, _, own = KINDS[kind]
    depth = 32 if np.dtype(dtype).kind == "f" else 8 * np.dtype(dtype).itemsize
    data = {"type": "paired", "root": str(root), "channels": [1, channels], "depth": [8, depth], "crop_size": 32}
    data |= {key: {"b": value} for key, value in own.items()}
    make_bundle(tmp_path / "m.safetensors", "pix2pix", f"data={data}")
    assert translate(tmp_path / "m.safetensors", root / "trainA", tmp_path / "out", "--format", format) == 2
    assert f"{format} does not hold what this model makes: {about}\n" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_depth_may_be_chosen(tmp_path: Path) -> None:
    root = write_set(tmp_path, "deep", "deep gray")
    dataset = Paired(str(root), channels=(3, 1), depth=(8, 16), **SMALL)
    dataset.scan()
    assert [dataset.codecs[name].describe()["depth"] for name in "ab"] == [8, 16]
    unchecked = Paired(str(root), channels=(3, 1), check=False, **SMALL)
    unchecked.scan()
    assert [unchecked.codecs[name].describe()["depth"] for name in "ab"] == [16, 16]


def test_mixed_depths_are_told(tmp_path: Path) -> None:
    root = write_set(tmp_path, "gray", "gray")
    save_image(root / "trainA/1.png", image_of("deep gray", 1))
    dataset = Paired(str(root), channels=1, **SMALL)
    dataset.scan()
    assert dataset.notes == ("images in trainA: 1 of 16 bits, so translations have that many",)
    faces = Folder(str(root / "trainA"), channels=1, crop_size=16)
    faces.scan()
    assert faces.notes == ("images: 1 of 16 bits, so translations have that many",)


def test_values_outside_of_the_range_are_found_by_the_scan(tmp_path: Path) -> None:
    root = write_set(tmp_path, "floats", "floats")
    np.save(root / "trainB/1.npy", image_of("floats", 0) + 20)
    with pytest.raises(DataError) as caught:
        Paired(str(root), value_range=(0, 30), **SMALL).scan()
    (hint,) = caught.value.hints
    assert hint.startswith(f"{root}/trainB/1.npy: holds values from 20") and "outside of value_range [0, 30]" in hint
    with pytest.raises(DataError) as caught:
        Paired(str(root), **SMALL).scan()
    assert "holds float32 values, of which black and white are not known" in caught.value.hints[0]


@pytest.mark.parametrize(
    ("arguments", "path"),
    [
        ({"value_range": (3, 3)}, ("value_range",)),
        ({"value_range": {"b": (3, float("nan"))}}, ("value_range", "b")),
        ({"depth": 32}, ("depth",)),
        ({"depth": (8, 32), "value_range": {"a": (0, 1)}}, ("depth",)),
    ],
)
def test_wrong_arguments(arguments: dict[str, Any], path: tuple[str, ...]) -> None:
    with pytest.raises(ArgumentError) as caught:
        Paired("nowhere", **arguments)
    assert caught.value.path == path

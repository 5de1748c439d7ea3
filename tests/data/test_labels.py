"""Label maps and photographs: where they lie, and that they stay together."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from i2i.core.errors import ArgumentError, DataError
from i2i.data.finding.classes import SCHEMES
from i2i.data.labels import Labels
from i2i.images.codecs import LabelCodec
from i2i.images.files import to_uint8
from i2i.testing import check_dataset
from tests.data.domain_folders import SMALL, rng, save

COUNT = 3


def ids_of(value: int, size: tuple[int, int] = (24, 20)) -> Image.Image:
    """A label map of one class."""
    return Image.new("L", size, value)


def photo_of(value: int, size: tuple[int, int] = (24, 20)) -> Image.Image:
    return Image.new("RGB", size, (value, 0, 0))


def two_folders(root: Path, labels: str = "train/labels", photos: str = "train/images") -> Path:
    for value in range(COUNT):
        save(root / f"{labels}/{value}.png", ids_of(value))
        save(root / f"{photos}/{value}.jpg", photo_of(200 + value))
    return root


def cityscapes(root: Path, split: str = "train") -> Path:
    for value, city in enumerate(("aachen", "bochum", "ulm")):
        stem = f"{city}/{city}_00000{value}_000019"
        for kind in ("labelIds", "labelTrainIds", "instanceIds", "color"):
            save(root / f"gtFine/{split}/{stem}_gtFine_{kind}.png", ids_of(7 + value if kind == "labelIds" else 99))
        save(root / f"leftImg8bit/{split}/{stem}_leftImg8bit.png", photo_of(200 + value))
    return root


def side_by_side(root: Path, suffix: str = "png") -> Path:
    for value in range(COUNT):
        both = photo_of(200 + value, (48, 20))
        colour = SCHEMES["cityscapes"][value].colour
        both.paste(Image.new("RGB", (24, 20), colour), (24, 0))
        save(root / f"train/{value}.{suffix}", both)
    return root


def values_of(dataset: Labels, index: int) -> tuple[int, int]:
    """The one class and the one red of an item of plain images."""
    item = dataset.get(index, rng(index))
    onehot = item["a"].flatten(1)
    assert (onehot.sum(0) == 1).all() and (onehot == onehot[:, :1]).all()
    return int(onehot[:, 0].argmax()), int(to_uint8(item["b"])[0, 0, 0])


@pytest.mark.parametrize(
    ("labels", "photos"),
    [
        ("train/labels", "train/images"),
        ("labels/train", "images/train"),
        ("trainlabels", "trainimages"),
        ("train/masks", "train/images"),
        ("annotations", "images"),
        ("train/ids/deep", "train/street/deep"),
    ],
)
def test_two_folders_of_any_names(tmp_path: Path, labels: str, photos: str) -> None:
    two_folders(tmp_path, labels, photos)
    own: Any = {"folders": ("ids", "street")} if "ids" in labels else {}
    dataset = Labels(str(tmp_path), classes=COUNT, **SMALL, **own)
    assert len(dataset) == COUNT and dataset.channels == {"a": COUNT, "b": 3} and dataset.size == (16, 16)
    assert [values_of(dataset, index)[0] for index in range(COUNT)] == [0, 1, 2]
    item = dataset.get(1, rng(0))
    assert Path(item["a_path"]) == tmp_path / f"{labels}/1.png" and Path(item["b_path"]) == tmp_path / f"{photos}/1.jpg"
    assert dataset.splits == ["train"] and dataset.domains == ("label", "photo")


def test_cityscapes_matches_by_what_names_have_in_common(tmp_path: Path) -> None:
    dataset = Labels(str(cityscapes(tmp_path)), layout="cityscapes", **SMALL)
    assert dataset.channels == {"a": 20, "b": 3}
    assert [values_of(dataset, index) for index in range(3)] == [
        (0, 200),
        (1, 201),
        (19, 202),
    ]  # id 9, parking, is void
    everything = Labels(str(tmp_path), "cityscapes_ids", **SMALL)
    assert [values_of(everything, index) for index in range(3)] == [(7, 200), (8, 201), (9, 202)]
    cityscapes(tmp_path, "val")
    assert everything.splits == ["train", "val"]
    (tmp_path / "leftImg8bit/train/ulm/ulm_000002_000019_leftImg8bit.png").unlink()
    with pytest.raises(DataError) as caught:
        Labels(str(tmp_path), layout="cityscapes").scan()
    assert caught.value.hints == ("1 of 3 only in train: ulm/ulm_000002_000019",)


def test_side_by_side_has_the_photo_left(tmp_path: Path) -> None:
    dataset = Labels(str(side_by_side(tmp_path / "cityscapes")), **SMALL)
    assert [values_of(dataset, index) for index in range(3)] == [(0, 200), (1, 201), (2, 202)]
    assert dataset.get(0, rng(0))["a_path"] == dataset.get(0, rng(0))["b_path"]
    for path in (tmp_path / "cityscapes/train").iterdir():
        Image.open(path).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(path)
    turned = Labels(str(tmp_path / "cityscapes"), labels_half="left", **SMALL)
    assert [values_of(turned, index) for index in range(3)] == [(0, 200), (1, 201), (2, 202)]


@pytest.mark.parametrize("count", [3, 4, 5])
def test_side_by_side_with_any_number_of_classes(tmp_path: Path, count: int) -> None:
    classes: list[Any] = [{"id": one.id, "colour": list(one.colour)} for one in SCHEMES["cityscapes"][:count]]
    dataset = Labels(str(side_by_side(tmp_path)), classes=classes, **SMALL)
    assert [values_of(dataset, index)[0] for index in range(3)] == [0, 1, 2]


def test_side_by_side_jpeg_needs_the_nearest_colours(tmp_path: Path) -> None:
    side_by_side(tmp_path / "cityscapes", "jpg")
    with pytest.raises(DataError) as caught:
        Labels(str(tmp_path / "cityscapes")).scan()
    assert caught.value.message == "3 of 3 images of split 'train' cannot be used"
    assert "its right half" in caught.value.hints[0] and "pixels have colours of no class" in caught.value.hints[0]
    dataset = Labels(str(tmp_path / "cityscapes"), colours="nearest", transforms="none")
    for index in range(3):
        label = dataset.get(index, rng(0))["a"].argmax(0)
        assert (label[:, 2:] == index).all()  # JPEG mixes the halves where they meet


def test_a_label_map_keeps_its_photographs_geometry(tmp_path: Path) -> None:
    """The photograph is bright where the label map is of the last class, so that one can be told from the other."""
    blocks = np.kron(np.random.default_rng(0).integers(0, 2, (4, 5)), np.ones((12, 12), int)).astype(np.uint8)
    for index in range(2):
        save(tmp_path / f"train/labels/{index}.png", Image.fromarray(blocks * 7))
        save(tmp_path / f"train/images/{index}.png", Image.fromarray(np.repeat(blocks[..., None] * 255, 3, axis=2)))
    rotation = [{"type": "Rotate", "limit": 40, "p": 1}, {"type": "Resize", "height": 30, "width": 30}]
    for transforms in ("resize_crop_flip", rotation):
        dataset = Labels(str(tmp_path), classes=8, load_size=(60, 70), crop_size=40, transforms=transforms)
        seen = set()
        for seed in range(8):
            item = dataset.get(0, rng(seed))
            assert (item["a"].sum(0) == 1).all() and (item["a"][[0, 7]].sum(0) == 1).all(), "a class between two"
            agree = (item["b"][0] > 0) == (item["a"][7] == 1)  # but for rounding, where the two meet
            assert agree.float().mean() > 0.94
            seen.add(item["a"].numpy().tobytes())
        assert len(seen) > 4


@pytest.mark.parametrize("transforms", ["resize", [{"type": "Resize", "height": 4, "width": 3}]])
def test_resizing_samples_pixel_centres(tmp_path: Path, transforms: Any) -> None:
    """A third as large, what is left of each 3 x 3 block is its middle."""
    ids = np.random.default_rng(1).integers(0, 5, (12, 9)).astype(np.uint8)
    for index in range(2):
        save(tmp_path / f"train/labels/{index}.png", Image.fromarray(ids))
        save(tmp_path / f"train/images/{index}.png", photo_of(0, (9, 12)))
    dataset = Labels(str(tmp_path), classes=5, crop_size=(4, 3), transforms=transforms)
    np.testing.assert_array_equal(dataset.get(0, rng(0))["a"].argmax(0), ids[1::3, 1::3])


@pytest.mark.parametrize(
    ("node", "key"),
    [
        ({"type": "Rotate", "mask_interpolation": "linear"}, "mask_interpolation"),
        ({"type": "Resize", "height": 8, "width": 8, "area_for_downscale": "image_mask"}, "area_for_downscale"),
    ],
)
def test_nothing_interpolates_classes(node: dict[str, Any], key: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        Labels("nowhere", classes=3, transforms=[node])
    assert caught.value.path == ("transforms", 0, key) and "label maps are never" in str(caught.value)


def test_unpaired_labels_meet_any_photograph_and_have_a_geometry_of_their_own(tmp_path: Path) -> None:
    for value in range(12):
        save(tmp_path / f"train/labels/{value % 3}.png", ids_of(value % 3))
        save(tmp_path / f"train/images/other{value}.png", photo_of(200 + value, (31, 33)))
    dataset = Labels(str(tmp_path), classes=COUNT, paired=False, **SMALL)
    assert len(dataset) == 12
    met = {values_of(dataset, index) for index in range(12)}
    assert {label for label, _ in met} == {0, 1, 2} and len({red for _, red in met}) > 4
    with pytest.raises(DataError, match="without a partner"):
        Labels(str(tmp_path), classes=COUNT).scan()


def test_unknown_ids_are_found_before_training(tmp_path: Path) -> None:
    save(two_folders(tmp_path) / "train/labels/1.png", ids_of(9))
    with pytest.raises(DataError) as caught:
        Labels(str(tmp_path), classes=COUNT).scan()
    assert caught.value.message == "1 of 6 images of split 'train' cannot be used"
    assert caught.value.hints == (f"{tmp_path / 'train/labels/1.png'}: holds ids that are no class: 9 (480 pixels)",)
    unchecked = Labels(str(tmp_path), classes=COUNT, check=False)
    with pytest.raises(DataError, match="1.png: holds ids that are no class: 9"):
        unchecked.get(1, rng(0))
    kept = Labels(str(tmp_path), classes=COUNT, ignore=[9], **SMALL)
    assert kept.get(1, rng(0))["a"].sum() == 0


def test_layouts_that_are_not_there_or_not_one(tmp_path: Path) -> None:
    save(tmp_path / "train/other/0.png", photo_of(1))
    with pytest.raises(DataError) as caught:
        Labels(str(tmp_path), classes=3).scan()
    assert caught.value.message == f"{str(tmp_path)!r} has no split 'train'"
    assert caught.value.hints[:2] == (
        "found there: train/",
        "understood as two folders: train/labels/ and train/images/, with files of the same names",
    )
    cityscapes(two_folders(tmp_path))
    with pytest.raises(DataError) as caught:
        Labels(str(tmp_path), classes=3).scan()
    assert caught.value.hints == ("say which: data.layout=cityscapes or data.layout=folders",)
    assert len(Labels(str(tmp_path), classes=3, layout="folders")) == 3


@pytest.mark.parametrize(
    ("arguments", "path", "message"),
    [
        ({}, (), "classes must be given: how many there are, their names, or a published set's name"),
        ({"classes": 3, "ignore": [2]}, ("ignore", 0), "id 2 is that of a class"),
        ({"classes": 3, "ignore": [-1]}, ("ignore", 0), "a class id is an integer from 0 to 255, got -1"),
        ({"classes": 3, "files": "x.csv", "folders": ("a", "b")}, ("files",), "files stands in place of folders"),
        ({"classes": 3, "depth": 32}, ("depth",), "depth 32 needs a value_range"),
        ({"classes": 3, "value_range": (1, 1)}, ("value_range",), "value_range is [lowest, highest], got [1, 1]"),
    ],
)
def test_wrong_arguments(arguments: dict[str, Any], path: tuple[str, ...], message: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        Labels("nowhere", **arguments)
    assert caught.value.path == path and str(caught.value).startswith(message)


def test_the_contract(tmp_path: Path) -> None:
    for arguments in ({}, {"encoding": "palette"}, {"paired": False}, {"split": "test"}, {"transforms": "none"}):
        root = two_folders(tmp_path / str(arguments))
        two_folders(root, "test/labels", "test/images")
        check_dataset(Labels, root=str(root), classes=COUNT, **{**SMALL, **arguments})


def test_camvid(real_images: Path) -> None:
    root = real_images / "camvid"
    dataset = Labels(str(root), transforms="none", split="val")
    assert len(dataset) == 40 and dataset.channels == {"a": 12, "b": 3} and dataset.splits == ["train", "val"]
    item = dataset.get(5, rng(0))
    with Image.open(item["a_path"]) as image:
        ids = np.asarray(image)
    np.testing.assert_array_equal(item["a"].argmax(0), ids)
    assert isinstance(dataset.codecs["a"], LabelCodec)
    assert item["b"].shape == (3, 360, 480) and Path(item["b_path"]).stem == Path(item["a_path"]).stem
    check_dataset(Labels, root=str(root), load_size=144, crop_size=128, check=False)

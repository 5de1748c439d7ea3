"""Images of one folder, with or without classes."""

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from i2i.core.errors import ArgumentError, DataError
from i2i.data.folder import Folder
from i2i.testing import check_dataset
from tests.data.domain_folders import plain, rng, save, value_of


def by_class(root: Path, names: tuple[str, ...] = ("cat", "dog"), split: str = "train") -> Path:
    for label, name in enumerate(names):
        for number in range(2):
            save(root / f"{split}/{name}/deep/{number}.png", plain(10 * label + number))
    return root


def refusal(**arguments: Any) -> DataError:
    with pytest.raises(DataError) as caught:
        Folder(**arguments).scan()
    return caught.value


def test_items_are_images_with_their_paths(tmp_path: Path) -> None:
    dataset = Folder(str(by_class(tmp_path)), crop_size=16)
    assert len(dataset) == 4 and dataset.channels == {"image": 3} and dataset.size == (16, 16)
    assert dataset.num_classes == 0 and dataset.classes == ()
    item = dataset.get(3, rng(0))
    assert set(item) == {"image", "path"} and item["path"] == str(tmp_path / "train/dog/deep/1.png")
    assert item["image"].shape == (3, 16, 16) and value_of(item["image"]) == 11


def test_classes_are_the_first_folders_names(tmp_path: Path) -> None:
    dataset = Folder(str(by_class(tmp_path)), classes="auto", crop_size=16)
    assert dataset.classes == ("cat", "dog") and dataset.num_classes == 2
    labels = [dataset.get(index, rng(0))["label"] for index in range(4)]
    assert [int(label) for label in labels] == [0, 0, 1, 1]
    assert labels[0].dtype == torch.int64 and labels[0].shape == ()


def test_numbers_are_ordered_by_value(tmp_path: Path) -> None:
    dataset = Folder(str(by_class(tmp_path, ("10", "9", "1"))), classes="auto")
    assert dataset.classes == ("1", "9", "10")


def test_what_is_declared_needs_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "scandir", None)
    assert Folder("nowhere", classes=10).num_classes == 10
    named = Folder("nowhere", classes=["dog", "cat", "bird"])
    assert named.classes == ("dog", "cat", "bird") and named.num_classes == 3
    monkeypatch.undo()
    by_class(tmp_path)
    found = Folder(str(tmp_path), classes=["dog", "cat", "bird"])
    assert int(found.get(0, rng(0))["label"]) == 1  # a cat


def test_a_flat_folder_is_the_training_split(tmp_path: Path) -> None:
    for value in range(3):
        save(tmp_path / f"{value}.png", plain(value))
    dataset = Folder(str(tmp_path))
    assert len(dataset) == 3 and dataset.splits == ["train"]
    error = refusal(root=str(tmp_path), split="test")
    assert error.message == f"{str(tmp_path)!r} has no split 'test'" and "splits found: train" in error.hints
    by_class(tmp_path, split="test")
    assert dataset.splits == ["test"]
    assert refusal(root=str(tmp_path)).hints == ("found there: 0.png, 1.png, 2.png, test/", "splits found: test")


def test_classes_that_do_not_agree(tmp_path: Path) -> None:
    by_class(tmp_path)
    three = refusal(root=str(tmp_path), classes=3)
    assert three.message == f"{str(tmp_path)!r}, split 'train': 2 classes, not 3" and three.hints == (
        "found: cat, dog",
    )
    other = refusal(root=str(tmp_path), classes=["cat", "bird"])
    assert other.message == f"{str(tmp_path)!r} has classes that data.classes does not list: dog"
    save(tmp_path / "train/loose.png", plain(1))
    loose = refusal(root=str(tmp_path), classes="auto")
    assert loose.message == (f"{tmp_path}/train/loose.png: lies in no folder that names its class, like 1 of 5 images")
    assert len(Folder(str(tmp_path))) == 5


def test_unusable_files_are_listed(tmp_path: Path) -> None:
    (by_class(tmp_path) / "train/cat/x.png").write_text("text")
    save(tmp_path / "train/cat/small.png", Image.new("RGB", (8, 30)))
    error = refusal(root=str(tmp_path), transforms="crop", crop_size=16)
    assert error.message == "2 of 6 images of split 'train' cannot be used"
    assert error.hints == (
        f"{tmp_path}/train/cat/x.png: is text, not an image",
        f"{tmp_path}/train/cat/small.png: is 8 x 30 pixels, smaller than the crop of 16 x 16: load_size enlarges it",
    )
    assert len(Folder(str(tmp_path), check=False)) == 6
    (tmp_path / "val").mkdir()
    assert refusal(root=str(tmp_path), split="val").message == f"{str(tmp_path / 'val')!r} holds no images"


def test_randomness_comes_from_the_generator(tmp_path: Path) -> None:
    gradient = Image.linear_gradient("L").convert("RGB")
    for number in range(2):
        save(tmp_path / f"{number}.png", gradient)
    transforms = [{"type": "RandomCrop", "height": 64, "width": 64}]
    dataset = Folder(str(tmp_path), transforms=transforms)
    crops = {dataset.get(0, rng(seed))["image"].numpy().tobytes() for seed in range(8)}
    assert len(crops) > 4
    assert torch.equal(dataset.get(0, rng(5))["image"], dataset.get(0, rng(5))["image"])
    assert dataset.get(0, rng(5))["image"].shape == (3, 64, 64)
    with pytest.raises(IndexError, match="item 2 of 2"):
        dataset.get(2, rng(0))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"crop_size": 0}, "crop_size must be at least 1, got 0"),
        ({"channels": 0}, "channels must be at least 1, got 0"),
        ({"classes": 0}, "classes must be at least 1, got 0"),
        ({"classes": []}, r"classes must be at least 1, got \[\]"),
        ({"classes": ["a", "a"]}, "the class 'a' is listed twice"),
        ({"depth": 32}, "depth 32 needs a value_range"),
        ({"transforms": "shear"}, "no preset is named 'shear'"),
    ],
)
def test_wrong_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises((ValueError, ArgumentError), match=message):
        Folder("nowhere", **arguments)


def test_the_contract(tmp_path: Path) -> None:
    by_class(by_class(tmp_path), split="test")
    for arguments in ({}, {"classes": "auto"}, {"classes": 2, "split": "test"}, {"transforms": "flip"}):
        check_dataset(Folder, root=str(tmp_path), **arguments)


def test_real_sets(real_images: Path) -> None:
    digits = Folder(str(real_images / "mnist"), classes=10, channels=1, crop_size=28, split="test")
    assert len(digits) == 1000 and digits.splits == ["train", "test"]
    assert digits.classes == tuple("0123456789") and digits.notes == ()
    last = digits.get(999, rng(0))
    assert int(last["label"]) == 9 and last["image"].shape == (1, 28, 28)
    faces = Folder(str(real_images / "anime_faces"), transforms="flip")
    assert len(faces) == 4000 and faces.get(7, rng(0))["image"].shape == (3, 64, 64)

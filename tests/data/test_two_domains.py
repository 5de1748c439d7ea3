"""What sets of two domains share: finding, checking and loading their images."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from i2i.core.errors import ArgumentError, DataError
from i2i.data.finding.sides import find_splits
from i2i.data.known.sets import KNOWN_SETS, known_set
from i2i.data.pictures import Paired, Unpaired
from i2i.data.two_domains import TwoDomains
from i2i.images.files import to_uint8
from tests.data.domain_folders import SMALL, plain, refusal, rng, save, side_by_side, two_folders, value_of

BOTH = pytest.mark.parametrize("kind", [Paired, Unpaired])


@BOTH
@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("train{}/{}.png", "AB"),
        ("train/{}/{}.png", "AB"),
        ("{}/train/{}.png", "AB"),
        ("train/{}/{}.png", "ab"),
        ("train/{}/{}.png", ("images", "labels")),
        ("train/{}/{}.jpg", ("input", "target")),
        ("{}/{}.png", "AB"),
    ],
)
def test_folder_layouts(tmp_path: Path, kind: type[TwoDomains], pattern: str, names: Any) -> None:
    dataset = kind(str(two_folders(tmp_path, pattern=pattern, names=names)), **SMALL)
    assert dataset.channels == {"a": 3, "b": 3} and dataset.size == (16, 16)
    assert len(dataset) == 3
    item = dataset.get(2, rng(1))
    assert set(item) == {"a", "b", "a_path", "b_path"}
    assert item["a"].shape == (3, 16, 16) and item["a"].dtype == torch.float32
    assert value_of(item["a"]) == 2 and value_of(item["b"]) >= 100
    assert Path(item["a_path"]).stem == "2"
    assert names[1] in Path(item["b_path"]).relative_to(tmp_path).as_posix()


@BOTH
def test_side_by_side_layout(tmp_path: Path, kind: type[TwoDomains]) -> None:
    dataset = kind(str(side_by_side(tmp_path)), **SMALL)
    for index in range(3):
        item = dataset.get(index, rng(index))
        assert value_of(item["a"]) == index
        assert value_of(item["b"]) == 100 + int(Path(item["b_path"]).stem)
        assert kind is Unpaired or item["b_path"] == item["a_path"]


@BOTH
def test_named_folders(tmp_path: Path, kind: type[TwoDomains]) -> None:
    two_folders(tmp_path, pattern="train/{}/{}.png", names=("photos", "drawings"))
    assert len(kind(str(tmp_path), folders=("photos", "drawings"), **SMALL)) == 3
    error = refusal(lambda: kind(str(tmp_path), folders=("photos", "paintings"), **SMALL))
    assert "has no 'photos' and 'paintings' of split 'train'" in error.message


@BOTH
def test_both_layouts_at_once_are_ambiguous(tmp_path: Path, kind: type[TwoDomains]) -> None:
    side_by_side(two_folders(tmp_path), count=2)
    assert "both as two folders and side by side" in refusal(lambda: kind(str(tmp_path), **SMALL)).message
    assert len(kind(str(tmp_path), layout="folders", **SMALL)) == 3
    assert len(kind(str(tmp_path), layout="side_by_side", **SMALL)) == 2


@BOTH
def test_the_constructor_touches_no_file(kind: type[TwoDomains]) -> None:
    assert kind("datasets/horse2zebra").channels == {"a": 3, "b": 3}
    assert kind("x", channels=(3, 1)).channels == {"a": 3, "b": 1}
    assert kind("datasets/horse2zebra").domains == ("horse", "zebra")
    assert kind("mine").domains == ("a", "b")


@BOTH
def test_missing_root(kind: type[TwoDomains], tmp_path: Path) -> None:
    error = refusal(lambda: kind(str(tmp_path / "horse2zebra")))
    assert error.message == f"no folder {str(tmp_path / 'horse2zebra')!r}"
    assert error.hints == (
        "get it: python tools/prepare_data.py horse2zebra",
        "say where it is: data.root=/path/to/horse2zebra",
        "or begin with configs/cyclegan_animals.yaml, which needs no files",
    )
    assert not any("prepare_data" in hint for hint in refusal(lambda: kind(str(tmp_path / "mine"))).hints)
    (tmp_path / "file").write_text("")
    assert refusal(lambda: kind(str(tmp_path / "file"))).message.endswith("is a file, not a folder")


@BOTH
def test_unknown_layouts_say_what_is_there(kind: type[TwoDomains], tmp_path: Path) -> None:
    two_folders(tmp_path, pattern="test{}/{}.png")
    save(tmp_path / "trainA/x.png", plain(1))
    error = refusal(lambda: kind(str(tmp_path)))
    assert error.message == f"{str(tmp_path)!r} has no split 'train'"
    assert error.hints[:2] == ("found there: testA/, testB/, trainA/", "splits found: test")
    assert any("trainA/ and trainB/" in hint for hint in error.hints)
    assert any("train/*.jpg" in hint for hint in error.hints)


@BOTH
def test_empty_and_tiny_folders(kind: type[TwoDomains], tmp_path: Path) -> None:
    (tmp_path / "trainA").mkdir()
    (tmp_path / "trainB").mkdir()
    assert refusal(lambda: kind(str(tmp_path))).message == f"{str(tmp_path / 'trainA')!r} holds no images"
    two_folders(tmp_path, 1, 1)
    assert "holds 1 image, training needs at least 2" in refusal(lambda: kind(str(tmp_path))).message
    two_folders(tmp_path, 1, 1, "test{}/{}.png")
    assert len(kind(str(tmp_path), "test")) == 1


@BOTH
def test_a_folder_of_single_images_is_not_taken_for_halves(kind: type[TwoDomains], tmp_path: Path) -> None:
    side_by_side(tmp_path, size=(20, 20))
    error = refusal(lambda: kind(str(tmp_path), **SMALL))
    assert "no wider than high" in error.message and "layout=side_by_side" in error.hints[0]
    assert len(kind(str(tmp_path), layout="side_by_side", **SMALL)) == 3


@BOTH
def test_unusable_files_are_listed(kind: type[TwoDomains], tmp_path: Path) -> None:
    two_folders(tmp_path, 14, 14)
    for value in range(12):
        (tmp_path / f"trainB/{value}.png").write_bytes(b"not an image")
    error = refusal(lambda: kind(str(tmp_path), **SMALL))
    assert error.message == "12 of 28 images of split 'train' cannot be used"
    assert error.hints[0] == f"{tmp_path / 'trainB/0.png'}: is text, not an image"
    assert error.hints[10:] == ("and 2 more",)
    unchecked = kind(str(tmp_path), check=False, **SMALL)
    assert len(unchecked) == 14
    with pytest.raises(DataError, match=r"\d+.png: is text, not an image"):
        for index in range(14):
            unchecked.get(index, rng(index))


@BOTH
def test_conversions_are_counted(kind: type[TwoDomains], tmp_path: Path) -> None:
    two_folders(tmp_path)
    plain(100).convert("L").save(tmp_path / "trainB/0.png")
    plain(101).convert("L").save(tmp_path / "trainB/1.png")
    dataset = kind(str(tmp_path), **SMALL)
    dataset.scan()
    assert dataset.notes == ("2 of 3 images in trainB: gray to RGB",)
    assert value_of(dataset.get(0, rng(0))["b"]) >= 100


@BOTH
@pytest.mark.parametrize("layout", [two_folders, side_by_side])
def test_channels_of_each_domain(kind: type[TwoDomains], layout: Callable[[Path], Path], tmp_path: Path) -> None:
    item = kind(str(layout(tmp_path)), channels=(3, 1), **SMALL).get(1, rng(1))
    assert item["a"].shape == (3, 16, 16) and item["b"].shape == (1, 16, 16)


@BOTH
@pytest.mark.parametrize("layout", [two_folders, side_by_side])
def test_transparency_as_a_channel(kind: type[TwoDomains], layout: Callable[[Path], Path], tmp_path: Path) -> None:
    for path in layout(tmp_path).rglob("*.png"):
        image = Image.open(path).convert("RGBA")
        image.putalpha(77)
        image.save(path)
    item = kind(str(tmp_path), channels=4, **SMALL).get(1, rng(1))
    assert item["b"].shape == (4, 16, 16) and value_of(item["b"][3:]) == 77
    assert "transparent" in refusal(lambda: kind(str(tmp_path), **SMALL)).hints[0]


@BOTH
def test_a_coloured_half_for_one_channel_is_found_by_the_scan(kind: type[TwoDomains], tmp_path: Path) -> None:
    side_by_side(tmp_path)
    image = plain(1, (48, 20))
    image.paste((255, 0, 0), (30, 0, 40, 10))
    save(tmp_path / "train/1.png", image)
    assert len(kind(str(tmp_path), channels=(1, 3), **SMALL)) == 3
    error = refusal(lambda: kind(str(tmp_path), channels=(3, 1), **SMALL))
    assert error.hints[0].endswith("1.png: its right half is in colour, 1 channel is needed")


@BOTH
def test_odd_widths_name_the_file(kind: type[TwoDomains], tmp_path: Path) -> None:
    save(side_by_side(tmp_path) / "train/7.png", plain(7, (49, 20)))
    error = refusal(lambda: kind(str(tmp_path), **SMALL))
    assert error.hints == (f"{tmp_path / 'train/7.png'}: its width of 49 pixels cannot be halved",)
    with pytest.raises(DataError, match="7.png: has two halves side by side, but its width of 49 pixels is odd"):
        kind(str(tmp_path), check=False, **SMALL).get(3, rng(0))


@BOTH
def test_same_seed_epoch_and_index_give_the_same_item(kind: type[TwoDomains], tmp_path: Path) -> None:
    noise = np.random.default_rng(0)
    for folder in ("trainA", "trainB"):
        for index in range(4):
            values = noise.integers(0, 256, (30, 40, 3), dtype=np.uint8)
            save(tmp_path / folder / f"{index}.png", Image.fromarray(values))
    first = kind(str(tmp_path), **SMALL)
    items = [first.get(index, rng(5, 1, index)) for index in range(4)]
    second = pickle.loads(pickle.dumps(first))  # as in a worker process
    for index in reversed(range(4)):
        again = second.get(index, rng(5, 1, index))
        assert all(torch.equal(again[k], items[index][k]) for k in "ab")
        assert again["b_path"] == items[index]["b_path"]
    assert any(not torch.equal(first.get(index, rng(5, 2, index))["a"], items[index]["a"]) for index in range(4))


@BOTH
def test_other_splits_are_calm_and_whole(kind: type[TwoDomains], tmp_path: Path) -> None:
    two_folders(tmp_path, 4, 4, "test{}/{}.png")
    gradient = np.repeat(np.arange(24, dtype=np.uint8)[None, :, None] * 10, 20, axis=0).repeat(3, axis=2)
    save(tmp_path / "testA/1.png", Image.fromarray(gradient))
    dataset = kind(str(tmp_path), "test", **SMALL)
    items = [dataset.get(1, rng(seed)) for seed in range(5)]
    assert all(torch.equal(item["a"], items[0]["a"]) and item["b_path"] == items[0]["b_path"] for item in items)
    row = to_uint8(items[0]["a"])[0, :, 0]
    assert row[0] < 15 and row[-1] > 215 and (np.diff(row.astype(int)) > 0).all()  # neither cut nor flipped
    whole = kind(str(tmp_path), "test", transforms="crop_flip", crop_size=16)
    assert whole.get(1, rng(0))["a"].shape == (3, 20, 24)
    other = kind(str(tmp_path), "test", eval_transforms=[{"type": "CenterCrop", "height": 8, "width": 12}])
    assert other.get(1, rng(0))["a"].shape == (3, 8, 12) and other.size == (8, 12)


@BOTH
def test_items_end(kind: type[TwoDomains], tmp_path: Path) -> None:
    dataset = kind(str(two_folders(tmp_path)), **SMALL)
    assert [Path(item["a_path"]).stem for item in dataset] == ["0", "1", "2"]
    with pytest.raises(IndexError):
        dataset.get(-1, rng(0))


@BOTH
def test_wrong_arguments(kind: type[TwoDomains]) -> None:
    for arguments, message in [
        ({"load_size": 0}, "load_size must be at least 1, got 0"),
        ({"crop_size": (16, -1)}, "crop_size must be at least 1, got -1"),
        ({"channels": 0}, "channels must be at least 1, got 0"),
    ]:
        with pytest.raises(ValueError, match=message):
            kind("x", **arguments)
    for argument in ("transforms", "eval_transforms"):
        with pytest.raises(ArgumentError, match="did you mean") as error:
            kind("x", **{argument: [{"type": "Rotat"}]})
        assert error.value.path == (argument, 0, "type")


def test_known_sets() -> None:
    assert known_set("/data/Horse2Zebra/") == ("horse2zebra", KNOWN_SETS["horse2zebra"])
    assert known_set("datasets\\maps") == ("maps", KNOWN_SETS["maps"])
    assert known_set("maps2") is None
    assert KNOWN_SETS["maps"].counts == {"train": 1096, "val": 1098}
    assert KNOWN_SETS["horse2zebra"].counts == {"trainA": 1067, "trainB": 1334, "testA": 120, "testB": 140}


def test_splits(tmp_path: Path) -> None:
    two_folders(tmp_path)
    two_folders(tmp_path, pattern="test{}/{}.png")
    assert find_splits(str(tmp_path)) == ["train", "test"]
    assert Paired(str(tmp_path)).splits == ["train", "test"]
    assert find_splits(str(tmp_path / "nowhere")) == []


@pytest.mark.parametrize(
    ("kind", "name", "split", "count", "channels"),
    [
        (Unpaired, "horse2zebra", "train", 1334, 3),
        (Unpaired, "horse2zebra", "test", 140, 3),
        (Paired, "maps", "train", 110, 3),
        (Unpaired, "maps", "val", 40, 3),
        (Paired, "facades", "val", 40, 3),
        (Paired, "camvid", "train", 180, (3, 1)),
    ],
)
def test_real_images(
    real_images: Path, kind: type[TwoDomains], name: str, split: str, count: int, channels: int | tuple[int, int]
) -> None:
    dataset = kind(str(real_images / name), split, channels=channels)
    assert len(dataset) == count
    item = dataset.get(count - 1, rng(1))
    for letter in "ab":
        assert item[letter].shape == (dataset.channels[letter], 256, 256)
        assert item[letter].std() > 0 and item[letter].min() >= -1 and item[letter].max() <= 1
    expected = ("7 of 1334 images in trainB: gray to RGB",) if (name, split) == ("horse2zebra", "train") else ()
    assert dataset.notes == expected

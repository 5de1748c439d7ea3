"""Lists of files: what they may say, and what is told about wrong ones."""

from pathlib import Path
from typing import Any

import pytest

from i2i.core.errors import ArgumentError, DataError
from i2i.data.finding.file_lists import FileList
from i2i.data.folder import Folder
from i2i.data.labels import Labels
from i2i.data.pictures import Paired, Unpaired
from tests.data.domain_folders import SMALL, plain, rng, save, value_of


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for value in range(6):
        save(tmp_path / f"left/{value}.png", plain(value))
        save(tmp_path / f"right, too/x{value}.png", plain(100 + value))
    return tmp_path


def pairs(*numbers: int, split: str = "") -> list[str]:
    return [f'left/{n}.png,"right, too/x{n}.png"' + (f",{split}" if split else "") for n in numbers]


def write(path: Path, lines: list[str], encoding: str = "utf-8", newline: str = "\n") -> None:
    path.write_bytes(newline.join([*lines, ""]).encode(encoding))


def refusal(make: Any) -> DataError:
    with pytest.raises(DataError) as caught:
        make().scan()
    return caught.value


@pytest.mark.parametrize(("encoding", "newline"), [("utf-8", "\n"), ("utf-8-sig", "\r\n")])
def test_a_csv_of_pairs(root: Path, encoding: str, newline: str) -> None:
    write(root / "pairs.csv", ["A , b", *pairs(4, 1, 2)], encoding, newline)
    dataset = Paired(str(root), files="pairs.csv", **SMALL)
    assert len(dataset) == 3 and dataset.splits == ["train"]
    for index, value in enumerate((4, 1, 2)):
        item = dataset.get(index, rng(index))
        assert (value_of(item["a"]), value_of(item["b"])) == (value, 100 + value)
        assert item["b_path"] == str(root / f"right, too/x{value}.png")


def test_absolute_paths_and_lists_elsewhere(root: Path, tmp_path_factory: Any) -> None:
    elsewhere = tmp_path_factory.mktemp("lists") / "all.csv"
    write(elsewhere, ["a,b,comment", *(f"{root}/left/{n}.png,left/{n}.png,as it is" for n in (0, 5))])
    dataset = Paired(str(root), files=str(elsewhere), **SMALL)
    assert [value_of(dataset.get(index, rng(0))["b"]) for index in range(2)] == [0, 5]


def test_a_column_names_the_split(root: Path) -> None:
    lines = ["a,b,split", *pairs(0, 1, 2, split="train"), "", *pairs(3, 4, split="val"), *pairs(5, split="extra")]
    write(root / "pairs.csv", lines)
    sets = {split: Paired(str(root), files="pairs.csv", split=split, **SMALL) for split in ("train", "val", "extra")}
    assert {split: len(dataset) for split, dataset in sets.items()} == {"train": 3, "val": 2, "extra": 1}
    assert sets["val"].splits == ["train", "val"]
    error = refusal(lambda: Paired(str(root), files="pairs.csv", split="test"))
    assert error.message == f"{root}/pairs.csv: name no a and no b of 'test'"
    assert error.hints == ("splits found: train, val",)


def test_the_name_of_a_list_may_hold_the_split(root: Path) -> None:
    write(root / "train.csv", ["a,b", *pairs(0, 1, 2)])
    write(root / "test.csv", ["a,b", *pairs(3, 4)])
    assert len(Paired(str(root), files="{split}.csv", split="test", **SMALL)) == 2
    assert Paired(str(root), files="{split}.csv").splits == ["train", "test"]


def test_two_text_lists(root: Path) -> None:
    write(root / "a.txt", ["left/0.png", "", "left/1.png  "])
    write(root / "b.txt", [f"right, too/x{n}.png" for n in (3, 4, 5)])
    dataset = Unpaired(str(root), files=("a.txt", "b.txt"), **SMALL)
    assert len(dataset) == 3
    assert {value_of(dataset.get(index, rng(index))["a"]) for index in range(3)} == {0, 1}
    error = refusal(lambda: Paired(str(root), files=("a.txt", "b.txt")))
    assert error.message == f"{root}/a.txt and {root}/b.txt: name 2 and 3 files, but line by line they are pairs"
    write(root / "a.txt", [f"left/{n}.png" for n in (3, 4, 5)])
    item = Paired(str(root), files=("a.txt", "b.txt"), **SMALL).get(2, rng(0))
    assert value_of(item["a"]) == 5 and value_of(item["b"]) == 105
    assert len(FileList(str(root), ("a.txt", "b.txt"), ("a", "b"), True).splits) == 1


def test_columns_of_different_length_without_pairs(root: Path) -> None:
    write(root / "all.csv", ["a,b", "left/0.png,left/1.png", ",left/2.png", "left/3.png,", "left/4.png,"])
    dataset = Unpaired(str(root), files="all.csv", **SMALL)
    assert len(dataset) == 3 and value_of(dataset.get(1, rng(0))["a"]) == 3
    error = refusal(lambda: Paired(str(root), files="all.csv"))
    assert error.message == "3 lines of data.files cannot be used"
    assert error.hints == (f"{root}/all.csv:3: has no a", f"{root}/all.csv:4: has no b", f"{root}/all.csv:5: has no b")


def test_all_wrong_lines_are_counted_and_the_first_ten_named(root: Path) -> None:
    wrong = [f"left/none{n}.png,left/0.png" for n in range(10)]
    write(root / "pairs.csv", ["a,b", *pairs(0), "left/1.png", "left,left/1.png", *wrong])
    error = refusal(lambda: Paired(str(root), files="pairs.csv"))
    assert error.message == "12 lines of data.files cannot be used"
    assert error.hints[:3] == (
        f"{root}/pairs.csv:3: has 1 cells, the header 2",
        f"{root}/pairs.csv:4: a {str(root / 'left')!r}: is a folder",
        f"{root}/pairs.csv:5: a {str(root / 'left/none0.png')!r}: no such file",
    )
    assert len(error.hints) == 11 and error.hints[-1] == "and 2 more"
    write(root / "pairs.csv", ["a,b", *pairs(0), "left/1.png,left/99.png"])
    one = refusal(lambda: Paired(str(root), files="pairs.csv"))
    assert one.message == f"{root}/pairs.csv:3: b {str(root / 'left/99.png')!r}: no such file"
    assert one.hints == ("paths are relative to data.root",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"x,b\nleft/0.png,left/1.png\n", "pairs.csv:1: the header has no column a"),
        (b"", "pairs.csv:1: the header has no column a and no column b"),
        (b'a,b\n"left/0.png,left/1.png\n', "pairs.csv:2: is no CSV"),
        (b"a,b\n\xff\xfe,x\n", "pairs.csv: is not text in UTF-8"),
        (b"a,b\n", "pairs.csv: name no a and no b of 'train'"),
        (None, "pairs.csv: no such file"),
    ],
)
def test_files_that_are_no_list(root: Path, content: bytes | None, message: str) -> None:
    if content is not None:
        (root / "pairs.csv").write_bytes(content)
    assert refusal(lambda: Paired(str(root), files="pairs.csv")).message.startswith(f"{root}/{message}")


def test_lists_stand_in_place_of_folders() -> None:
    for arguments in ({"folders": ("a", "b")}, {"layout": "side_by_side"}):
        with pytest.raises(ArgumentError, match="files stands in place of folders and layout"):
            Paired("nowhere", files="x.csv", **arguments)


def test_labels_and_photographs(root: Path) -> None:
    write(root / "pairs.csv", ["b,a", *pairs(1, 2, 3)])
    for value in (1, 2, 3):  # the labels are the right column here
        save(root / f"right, too/x{value}.png", plain(value).convert("L"))
    dataset = Labels(str(root), classes=4, files="pairs.csv", **SMALL)
    item = dataset.get(0, rng(0))
    assert (item["a"].argmax(0) == 1).all() and value_of(item["b"]) == 1


def test_images_with_classes(root: Path) -> None:
    write(root / "all.csv", ["image,label,split", "left/0.png,cat,train", "left/1.png,dog,train", "left/2.png,cat,val"])
    dataset = Folder(str(root), classes="auto", files="all.csv", crop_size=16)
    assert dataset.classes == ("cat", "dog") and dataset.num_classes == 2
    assert [int(dataset.get(index, rng(0))["label"]) for index in range(2)] == [0, 1]
    assert "label" not in Folder(str(root), files="all.csv").get(0, rng(0))
    fixed = Folder(str(root), classes=["dog", "cat"], files="all.csv", split="val")
    assert int(fixed.get(0, rng(0))["label"]) == 1
    write(root / "all.csv", ["image", "left/0.png", "left/1.png"])
    error = refusal(lambda: Folder(str(root), classes="auto", files="all.csv"))
    assert error.message == "all.csv: the header has no column label, which classes need"
    write(root / "all.csv", ["image,label", "left/0.png,cat", "left/1.png,"])
    assert (
        refusal(lambda: Folder(str(root), classes="auto", files="all.csv")).message == f"{root}/all.csv:3: has no label"
    )

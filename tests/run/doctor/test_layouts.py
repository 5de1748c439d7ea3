"""What DATA may be, and which of its files are taken for partners."""

import numpy as np
import pytest

from tests.bundles import make_image
from tests.run.doctor.sets import doctor, files, noise, put


def ids(path, size=(80, 70)):
    put(path, np.random.default_rng(0).integers(0, 3, size[::-1]).astype(np.uint8))


def names(document):
    return {group["name"]: group["images"] for group in document["groups"]}


def test_one_image(tmp_path):
    code, found, document = doctor(put(tmp_path / "x.png"))
    assert (code, found, names(document)) == (0, {}, {"x.png": 1})


def test_a_folder_of_images_and_classes(tmp_path):
    for split in ("train", "test"):
        for kind in "01":
            put(tmp_path / f"set/{split}/{kind}/x.png")
    assert names(doctor(tmp_path / "set")[2]) == {"train": 2, "test": 2}
    assert names(doctor(tmp_path / "set/train")[2]) == {"train": 2}


def test_side_by_side(tmp_path, capsys):
    for split in ("train", "val"):
        put(tmp_path / f"set/{split}/1.png", noise((160, 80)))
    assert names(doctor(tmp_path / "set")[2]) == {"train": 1, "val": 1}
    assert "twice as wide as high: side by side?" in capsys.readouterr().out


def test_labels_and_photos(tmp_path):
    for index in range(4):
        ids(tmp_path / f"set/train/labels/{index}.png")
        put(tmp_path / f"set/train/images/{index}.jpg")
    ids(tmp_path / "set/train/labels/lonely.png")
    ids(tmp_path / "set/train/labels/other.png", (64, 64))
    put(tmp_path / "set/train/images/other.jpg")
    code, found, document = doctor(tmp_path / "set")
    assert code == 1 and found.keys() == {"unmatched", "pair_sizes"}
    assert files(found["unmatched"]) == ["lonely.png"] and found["unmatched"]["severity"] == "error"
    assert files(found["pair_sizes"]) == ["other.png"] and found["pair_sizes"]["severity"] == "warning"
    assert [group["labels"] for group in document["groups"]] == [True, False]


def test_gray_jpeg_as_labels(tmp_path):
    for index in range(2):
        make_image(tmp_path / f"set/labels/{index}.jpg", (80, 70), "L")
        put(tmp_path / f"set/images/{index}.jpg")
    code, found, _ = doctor(tmp_path / "set")
    assert code == 1 and files(found["unfit"]) == ["0.jpg", "1.jpg"]


def test_cityscapes(tmp_path):
    for city in ("a", "b"):
        ids(tmp_path / f"set/gtFine/train/{city}/{city}_1_gtFine_labelIds.png")
        ids(tmp_path / f"set/gtFine/train/{city}/{city}_1_gtFine_instanceIds.png")
        put(tmp_path / f"set/leftImg8bit/train/{city}/{city}_1_leftImg8bit.png")
    code, found, document = doctor(tmp_path / "set")
    assert list(names(document).values()) == [2, 2]
    assert (code, found) == (0, {}), "other files beside the label maps are as published"


def test_a_and_b_are_pairs_where_their_names_agree(tmp_path):
    for index in range(6):
        put(tmp_path / f"set/trainA/{index}.png")
        put(tmp_path / f"set/trainB/{index + 2}.jpg")
    code, found, _ = doctor(tmp_path / "set")
    assert code == 0 and found["unmatched"]["severity"] == "warning"
    assert files(found["unmatched"]) == ["0.png", "1.png", "6.jpg", "7.jpg"]


def test_the_same_stem_twice(tmp_path):
    for name in ("input/1.png", "input/1.jpg", "target/1.png"):
        put(tmp_path / "set/train" / name)
    code, found, _ = doctor(tmp_path / "set")
    assert code == 1 and "but for the suffix" in found["unmatched"]["files"][0]["detail"]


@pytest.mark.parametrize("arguments", [["gone"], ["empty"], ["empty", "gone"], ["empty", "a.b=1"], ["gone.yaml"]])
def test_nothing_to_examine(tmp_path, monkeypatch, capsys, arguments):
    from i2i.cli import main

    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    assert main("doctor", arguments) == 2
    error = capsys.readouterr().err
    assert error and "internal error" not in error


# -- a YAML -----------------------------------------------------------------------------------------------------------


def config(tmp_path, data, more=""):
    path = tmp_path / "c.yaml"
    path.write_text(f"data: {data}\n{more}")
    return path


def test_a_yaml_reads_as_training_does(tmp_path):
    root = tmp_path / "set"
    for index in range(3):
        put(root / f"trainA/{index}.png")
        put(root / f"trainB/{index}.png", noise()[..., 0])
        put(root / f"valB/{index}.png", noise()[..., 0])
        put(root / f"valA/{index}.png")
    put(root / "trainB/colour.png")
    put(root / "trainA/small.png", noise((40, 40)))
    path = config(tmp_path, f"{{type: unpaired, root: {root}, channels: [3, 1], transforms: crop, crop_size: 64}}")
    code, found, document = doctor(path)
    assert code == 1 and names(document).keys() == {"trainA", "trainB", "valA", "valB"}
    assert found["unfit"]["files"][0]["detail"] == "is in colour, 1 channel is needed"
    assert files(found["crop"]) == ["small.png"] and "the crop is 64 x 64" in found["crop"]["files"][0]["detail"]
    code, found, _ = doctor(path, "data.channels=3", "data.crop_size=32")
    assert code == 0 and "crop" not in found and "unfit" not in found


def test_pairs_that_training_refuses(tmp_path):
    root = tmp_path / "set"
    for index in range(3):
        put(root / f"trainA/{index}.png")
        put(root / f"trainB/{index}.png", noise((90, 70)) if index == 1 else None)
    put(root / "trainA/lonely.png")
    path = config(tmp_path, f"{{type: paired, root: {root}, transforms: crop, crop_size: 64}}")
    code, found, _ = doctor(path)
    assert code == 1 and files(found["unmatched"]) == ["lonely.png"] and files(found["pair_sizes"]) == ["1.png"]
    assert found["pair_sizes"]["severity"] == "error"
    assert doctor(path, "data.transforms=resize_crop")[1]["pair_sizes"]["severity"] == "warning"


def test_halves(tmp_path):
    root = tmp_path / "set"
    put(root / "train/good.png", noise((160, 80)))
    put(root / "train/good2.png", noise((160, 80)))
    put(root / "train/odd.png", noise((161, 80)))
    half = noise((160, 80))
    half[:, 80:] = 7
    put(root / "train/halfblack.png", half)
    code, found, _ = doctor(config(tmp_path, f"{{type: paired, root: {root}, crop_size: 32}}"))
    assert code == 1 and files(found["unfit"]) == ["odd.png"] and files(found["flat"]) == ["halfblack.png"]
    assert "its width of 161 pixels is odd" in found["unfit"]["files"][0]["detail"]


def test_label_ids_without_a_class(tmp_path):
    root = tmp_path / "set"
    for index in range(3):
        ids(root / f"train/labels/{index}.png")
        put(root / f"train/images/{index}.png")
    put(root / "train/labels/2.png", np.full((70, 80), 9, np.uint8))
    code, found, _ = doctor(config(tmp_path, f"{{type: labels, root: {root}, classes: 3, crop_size: 32}}"))
    assert code == 1 and files(found["unfit"]) == ["2.png"]
    assert "ids that are no class: 9 (5600 pixels)" in found["unfit"]["files"][0]["detail"]


def test_validation_and_lists_and_folders(tmp_path):
    root = tmp_path / "set"
    for name in ("1.png", "2.png", "3.png"):
        put(root / name)
        put(tmp_path / "held/val" / name, noise((160, 80)))
    (root / "pairs.csv").write_text("a,b\n1.png,2.png\n3.png,1.png\n")
    data = f"{{type: paired, root: {root}, files: pairs.csv, crop_size: 32}}"
    path = config(tmp_path, data, f"validation: {{data: {{root: {tmp_path / 'held'}, files: null}}}}")
    code, found, document = doctor(path)
    assert code == 0 and names(document) == {"train a": 2, "train b": 2, "val": 3}
    code, found, document = doctor(config(tmp_path, f"{{type: folder, root: {root}, crop_size: 32}}"))
    assert (code, found, names(document)) == (0, {}, {"train": 3})


def test_a_data_set_without_files(tmp_path, capsys):
    from i2i.cli import main

    assert main("doctor", [str(config(tmp_path, "{type: synthetic}"))]) == 2
    assert "the data set 'synthetic' has no files" in capsys.readouterr().err

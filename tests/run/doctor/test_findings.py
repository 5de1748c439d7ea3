"""Each thing that can be wrong with a data set is found, and nothing else is."""

import os

import numpy as np
import pytest
from PIL import Image

from tests.run.doctor.sets import doctor, files, noise, put, two_domains


@pytest.fixture
def root(tmp_path):
    return two_domains(tmp_path / "set")


def test_nothing_is_wrong(root, capsys):
    code, found, document = doctor(root)
    assert code == 0 and found == {}
    assert document["images"] == 16
    assert [(group["name"], group["images"]) for group in document["groups"]] == [
        ("trainA", 4), ("trainB", 4), ("testA", 4), ("testB", 4)]  # fmt: skip
    out = capsys.readouterr().out
    assert "trainA: 4 images, 4 PNG, 80 x 70, 3 channels of 8 bits\n" in out
    assert "16 images examined: nothing is wrong" in out


def test_too_few(root):
    for index in range(4):
        (root / f"trainA/trainA{index}.png").unlink()
        (root / f"trainB/trainB{index}.png").rename(root / f"testB/{index}.png")
    put(root / "trainA/one.png")
    code, found, document = doctor(root)
    assert code == 1 and [finding["kind"] for finding in document["findings"]] == ["few", "few"]
    assert found["few"]["title"] == "too few images in trainB: 0, at least 2 are needed"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes there")
def test_odd_things_with_names_of_images(root, capsys):
    """A pipe keeps no one waiting, a link to itself ends, a name that is no text is shown and written."""
    os.mkfifo(root / "trainA/pipe.png")
    (root / "trainA/self.png").symlink_to(root / "trainA/self.png")
    (root / os.fsdecode(b"trainA/\xff\n.png")).touch()
    code, found, _ = doctor(root)
    assert code == 1 and found.keys() == {"unreadable"}
    assert set(files(found["unreadable"])) == {"pipe.png", "self.png", "\udcff\n.png"}
    assert "\\udcff\\n.png: is empty (0 bytes)\n" in capsys.readouterr().out


def test_a_folder_that_others_have_named_is_shown_as_text(tmp_path, capsys):
    put(tmp_path / "set\x1b[2J/black.png", np.zeros((70, 80, 3), np.uint8))
    _, found, _ = doctor(tmp_path / "set\x1b[2J")
    assert "in set\x1b[2J: 1" in found["flat"]["title"]
    out = capsys.readouterr().out
    assert "set\\x1b[2J: 1 image, " in out and "of one colour only in set\\x1b[2J: 1\n" in out and "\x1b" not in out


def test_unreadable(root, capsys):
    """The middle of a file is damaged as well as its end: every pixel is decoded."""
    data = put(root / "trainA/cut.png").read_bytes()
    (root / "trainA/cut.png").write_bytes(data[:-200])
    data = bytearray(put(root / "trainA/inside.png").read_bytes())
    data[len(data) // 2] ^= 255
    (root / "trainA/inside.png").write_bytes(data)
    (root / "trainB/empty.jpg").touch()
    (root / "trainB/gone.jpg").symlink_to(root / "nowhere")
    code, found, _ = doctor(root)
    assert code == 1 and found.keys() == {"unreadable"}
    details = {entry["file"].rpartition("/")[2]: entry["detail"] for entry in found["unreadable"]["files"]}
    assert details == {
        "cut.png": details["cut.png"],
        "inside.png": "damaged PNG file: the checksum of its pixels is wrong",
        "empty.jpg": "is empty (0 bytes)",
        "gone.jpg": "no such file",
    }
    assert details["cut.png"].startswith("damaged PNG file")
    assert "error: files that cannot be read: 4 of 20" in capsys.readouterr().out


def test_transparency_is_no_damage(root):
    put(root / "trainA/clear.png", np.dstack([noise(), np.full((70, 80), 9, np.uint8)]))
    code, found, _ = doctor(root)
    assert code == 1 and found.keys() == {"unfit"} and files(found["unfit"]) == ["clear.png"]


def test_leak(root):
    """Another format, other metadata, gray in three channels: the same pixels."""
    put(root / "testA/copy.bmp", noise(seed=1))
    put(root / "trainA/original.png", noise(seed=1), dpi=(300, 300))
    gray = noise(seed=2)[..., 0]
    put(root / "testB/gray.png", gray)
    put(root / "trainB/gray.png", np.dstack([gray] * 3))
    changed = noise(seed=3)
    put(root / "trainA/almost.png", changed)
    changed[0, 0, 0] ^= 1
    put(root / "testA/almost.png", changed)
    code, found, _ = doctor(root)
    assert code == 0
    assert found.keys() == {"leak", "gray"} and found["leak"]["severity"] == "warning"
    assert [entry["detail"] for entry in found["leak"]["files"]] == [
        f"= {root}/trainA/original.png", f"= {root}/trainB/gray.png"]  # fmt: skip
    assert files(found["leak"]) == ["copy.bmp", "gray.png"]


def test_repeats_and_both_domains(root):
    for name in ("trainA/x.png", "trainA/y.png", "trainA/z.bmp", "trainB/x.png"):
        put(root / name, noise(seed=4))
    _, found, _ = doctor(root)
    assert found.keys() == {"twice", "both_domains"}
    assert files(found["twice"]) == ["y.png", "z.bmp"]
    assert found["both_domains"]["files"] == [{"file": f"{root}/trainB/x.png", "detail": f"= {root}/trainA/x.png"}]


def test_gray_among_colours(root):
    put(root / "trainA/g.png", noise()[..., 0])
    put(root / "trainA/h.png", np.dstack([noise()[..., 0]] * 3))
    _, found, _ = doctor(root)
    assert found.keys() == {"gray"} and files(found["gray"]) == ["g.png", "h.png"]
    assert found["gray"]["title"] == "gray images in trainA: 2 of 6"


def test_a_gray_set_is_no_finding(tmp_path):
    for index in range(3):
        put(tmp_path / f"set/{index}.png", noise()[..., 0])
    assert doctor(tmp_path / "set")[1] == {}


def test_sizes(root):
    for index in range(40):
        put(root / f"trainA/more{index}.png")
    put(root / "trainA/tiny.png", noise((30, 26)))
    put(root / "trainA/wide.png", noise((300, 65)))
    _, found, _ = doctor(root)
    assert files(found["tiny"]) == ["tiny.png"] and files(found["odd_size"]) == ["tiny.png", "wide.png"]
    assert doctor(root, "--min-size", "20")[1].keys() == {"odd_size"}


def test_sizes_of_all_kinds(tmp_path):
    for width in range(100, 130):
        put(tmp_path / f"set/{width}.png", noise((width, width + 10)))
    put(tmp_path / "set/strip.png", noise((300, 100)))
    put(tmp_path / "set/huge.png", noise((600, 640)))
    _, found, _ = doctor(tmp_path / "set")
    assert files(found["odd_size"]) == ["huge.png", "strip.png"]


def test_flat(root):
    put(root / "trainA/black.png", np.zeros((70, 80, 3), np.uint8))
    put(root / "testA/black.png", np.zeros((70, 80, 3), np.uint8))
    put(root / "trainB/red.png", np.zeros((70, 80, 3), np.uint8) + np.uint8([200, 0, 0]))
    _, found, document = doctor(root)
    assert found.keys() == {"flat", "gray"}, "a placeholder in two splits is no leak"
    flats = [finding for finding in document["findings"] if finding["kind"] == "flat"]
    assert sorted(sum(map(files, flats), [])) == ["black.png", "black.png", "red.png"]


def test_depths(root):
    Image.fromarray(noise()[..., 0].astype(np.uint16) * 257).save(root / "trainA/deep.png")
    np.save(root / "trainB/float.npy", noise().astype(np.float32))
    _, found, _ = doctor(root)
    assert found.keys() == {"depth", "gray", "range"}
    assert files(found["depth"]) == ["deep.png"] and files(found["range"]) == ["float.npy"]


def test_large(root):
    put(root / "trainA/large.png", noise((100, 90)))
    code, found, _ = doctor(root, "--max-pixels", "8k")
    assert code == 0 and found.keys() == {"large"} and files(found["large"]) == ["large.png"]
    assert found["large"]["files"][0]["detail"] == "100 x 90 pixels are more than the 8,000 that are allowed"


def test_larger_than_training_takes(root, monkeypatch):
    monkeypatch.setattr("i2i.run.doctor.rules.MAX_PIXELS", 8000)
    put(root / "trainA/large.png", noise((100, 90)))
    code, found, _ = doctor(root, "--max-pixels", "10k")
    assert code == 1 and found.keys() == {"large"} and files(found["large"]) == ["large.png"]


def test_other_files(root):
    put(root / "trainAA/lost.png")
    for name in ("trainA/a.heic", "trainA/b.HEIC", "notes.txt", "trainB/.c.png", "README"):
        (root / name).touch()
    (root / ".cache").mkdir()
    (root / ".cache/x.png").touch()
    code, found, document = doctor(root)
    assert code == 0 and found.keys() == {"outside", "format"}
    assert files(found["outside"]) == ["lost.png"]
    assert found["format"]["title"] == "files of formats that are not read: 2 .heic"
    assert document["other_files"] == {".heic": 2, ".txt": 1, "hidden": 1, "no suffix": 1}


def test_misnamed_and_converted(root, capsys):
    put(root / "trainA/photo.jpg", format="PNG")
    put(root / "trainA/turned.jpg", noise((70, 80)), exif=_rotated())
    _, found, document = doctor(root)
    assert found == {}
    group = document["groups"][0]
    assert group["misnamed"] == [{"file": f"{root}/trainA/photo.jpg", "format": "PNG"}]
    assert group["conversions"] == {"EXIF rotation": 1}
    assert "another format than the name says, such as " in capsys.readouterr().out


def _rotated():
    exif = Image.Exif()
    exif[274] = 6
    return exif


def test_only_the_first_files_are_printed(root, capsys):
    for index in range(25):
        (root / f"trainA/bad{index:02}.jpg").touch()
    code, found, _ = doctor(root)
    out = capsys.readouterr().out
    assert code == 1 and len(found["unreadable"]["files"]) == 25
    assert "bad09.jpg" in out and "bad10.jpg" not in out and "        and 15 more\n" in out

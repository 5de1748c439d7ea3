import io
import os
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from i2i.core.errors import DataError
from i2i.data.finding.files import check_images, is_image_name, list_images, survey

NOISE = np.random.default_rng(1).integers(0, 256, (40, 60, 3), dtype=np.uint8)


def save(path: Path, mode: str = "RGB", **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(NOISE).convert(mode).save(path, **options)
    return path


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


def names(folder: Path, **options: bool) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in list_images(folder, **options)]


def test_image_names() -> None:
    assert all(map(is_image_name, ("a.jpg", "A.JPG", "x.y.jpeg", "b.PnG", "c.tif", "d.webp", "e.jfif", "f.pgm")))
    assert not any(map(is_image_name, (".jpg", "._a.jpg", "Thumbs.db", "a.txt", "jpg", "a.jpg.part", ".x.png")))


def test_order_is_by_code_point_files_before_folders(tmp_path: Path) -> None:
    wanted = ("b.jpg", "B.jpg", "a10.png", "a2.png", "é.png", "A/z.png", "c/a.png", "c/d/x.png")
    touch(*(tmp_path / name for name in wanted))
    touch(tmp_path / "notes.txt", tmp_path / ".hidden.png", tmp_path / ".cache/x.png", tmp_path / "__MACOSX/a.png")
    assert names(tmp_path) == ["B.jpg", "a10.png", "a2.png", "b.jpg", "é.png", "A/z.png", "c/a.png", "c/d/x.png"]
    assert names(tmp_path, recursive=False) == ["B.jpg", "a10.png", "a2.png", "b.jpg", "é.png"]


def test_a_folder_named_like_an_image(tmp_path: Path) -> None:
    touch(tmp_path / "x.jpg" / "y.jpg")
    assert names(tmp_path) == ["x.jpg/y.jpg"]


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_links_are_followed_without_loops(tmp_path: Path) -> None:
    touch(tmp_path / "set/a/1.png", tmp_path / "far/2.png")
    (tmp_path / "set/a/up").symlink_to(tmp_path / "set")
    (tmp_path / "set/far").symlink_to(tmp_path / "far")
    (tmp_path / "set/far2").symlink_to(tmp_path / "far")
    (tmp_path / "set/self").symlink_to(tmp_path / "set/self")
    (tmp_path / "set/gone.png").symlink_to(tmp_path / "nowhere.png")
    assert names(tmp_path / "set") == ["gone.png", "a/1.png", "far/2.png", "far2/2.png"]
    assert check_images([tmp_path / "set/gone.png"]) == [(str(tmp_path / "set/gone.png"), "no such file")]


def test_listing_begins_at_once(tmp_path: Path) -> None:
    touch(tmp_path / "a.png", tmp_path / "deep/b.png")
    listing = list_images(tmp_path)
    assert next(listing).name == "a.png"
    (tmp_path / "deep/a.png").write_bytes(b"")  # not looked at before it is needed
    assert [path.name for path in listing] == ["a.png", "b.png"]


def test_missing_folders(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no folder .*gone"):
        next(list_images(tmp_path / "gone"))
    touch(tmp_path / "x.png")
    with pytest.raises(DataError, match="is a file, not a folder"):
        next(list_images(tmp_path / "x.png"))


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may read everything")
def test_a_locked_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0)
    with pytest.raises(DataError, match="locked: may not be read"):
        list(list_images(tmp_path))


def test_good_files_pass(tmp_path: Path) -> None:
    paths = [save(tmp_path / f"x.{suffix}") for suffix in ("jpg", "png", "webp", "tif", "bmp", "gif", "ppm")]
    deep = save(tmp_path / "trailing.jpg")
    deep.write_bytes(deep.read_bytes() + b"camera notes")  # no end marker at the end, but whole
    assert check_images([*paths, deep]) == []


# Without its last 12 bytes, its end marker, a PNG still has all its pixels.
CUTS = [(suffix, cut) for suffix in ("jpg", "png", "webp", "tif", "bmp", "gif") for cut in (1000, 13)]


@pytest.mark.parametrize(("suffix", "missing"), [cut for cut in CUTS if cut != ("png", 13)])
def test_truncated_files_are_found(tmp_path: Path, suffix: str, missing: int) -> None:
    path = save(tmp_path / f"x.{suffix}")
    data = path.read_bytes()
    path.write_bytes(data[:-missing])
    ((found, reason),) = check_images([path])
    assert found == str(path)
    assert reason.startswith("damaged") and str(path) not in reason


def test_other_unusable_files(tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("hello")
    (tmp_path / "empty.png").write_bytes(b"")
    save(tmp_path / "half.png", "RGBA")
    Image.new("RGBA", (4, 4)).save(tmp_path / "clear.png")
    reasons = {Path(path).name: reason for path, reason in check_images(sorted(tmp_path.iterdir()))}
    assert reasons == {
        "text.jpg": "is text, not an image",
        "empty.png": "is empty (0 bytes)",
        "clear.png": "has transparent pixels, 3 channels are needed",
    }


def test_colour_for_one_channel(tmp_path: Path) -> None:
    colour, gray = save(tmp_path / "c.png"), save(tmp_path / "g.png", "L")
    gray_as_rgb = tmp_path / "r.png"
    Image.fromarray(NOISE).convert("L").convert("RGB").save(gray_as_rgb)
    result = survey([str(colour), str(gray), str(gray_as_rgb)], channels=1)
    assert result.problems == [(str(colour), "is in colour, 1 channel is needed")]
    assert result.notes == {"RGB to gray": 1}


def test_survey_predicts_what_loading_says(tmp_path: Path) -> None:
    from i2i.images.files import load_image

    rotated = Image.Exif()
    rotated[274] = 6
    buffer = io.BytesIO()
    Image.fromarray(NOISE).save(buffer, "PNG")
    save(tmp_path / "rgb.png")
    save(tmp_path / "l.png", "L")
    save(tmp_path / "p.png", "P")
    save(tmp_path / "1.png", "1")
    save(tmp_path / "cmyk.jpg", "CMYK")
    save(tmp_path / "cmyk.tif", "CMYK")
    save(tmp_path / "rgba.png", "RGBA")
    save(tmp_path / "la.png", "LA")
    save(tmp_path / "ycc.tif", "YCbCr")
    save(tmp_path / "turned.jpg", exif=rotated)
    save(tmp_path / "turned.png", exif=rotated)
    save(tmp_path / "turned.tif", tiffinfo={274: 6})
    Image.fromarray(NOISE[..., 0].astype(np.uint16)).save(tmp_path / "i16.png")
    for path in sorted(tmp_path.iterdir()):
        array, notes = load_image(path)
        result = survey([str(path)])
        assert sorted(result.notes) == sorted(notes), path.name
        assert result.sizes[str(path)] == array.shape[1::-1], path.name


def test_real_images_are_checked_quickly(real_images: Path) -> None:
    paths = [path for name in ("trainA", "trainB") for path in list_images(real_images / "horse2zebra" / name)]
    start = time.perf_counter()
    result = survey([str(path) for path in paths])
    assert time.perf_counter() - start < 3
    assert len(paths) == 2401 and result.problems == []
    assert result.notes == {"gray to RGB": 7}

"""Arrays and TIFF bands as files."""

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from i2i.core.errors import DataError
from i2i.images.codecs.label_files import read_labels
from i2i.images.decoding import Refused, TooLarge
from i2i.images.files import load_image, save_image
from i2i.images.rasters import decode_raster, is_raster
from tests.images.malformed import with_tiff_tags

ARRAYS = {
    "five bytes": np.random.default_rng(0).integers(0, 256, (6, 7, 5)).astype(np.uint8),
    "two deep": np.random.default_rng(1).integers(0, 65536, (6, 7, 2)).astype(np.uint16),
    "one float": np.random.default_rng(2).normal(size=(6, 7, 1)).astype(np.float32),
    "three floats": np.random.default_rng(3).normal(size=(6, 7, 3)),
    "signed": np.random.default_rng(4).integers(-1000, 3000, (6, 7, 1)).astype(np.int16),
    "four bands": np.random.default_rng(5).integers(0, 256, (6, 7, 4)).astype(np.uint8),
}


@pytest.mark.parametrize("name", [name for name in ARRAYS if name != "four bands"])
@pytest.mark.parametrize("suffix", ["npy", "tiff"])
def test_what_is_written_is_read(name: str, suffix: str, tmp_path: Path) -> None:
    array = ARRAYS[name]
    save_image(tmp_path / f"x.{suffix}", array)
    with (tmp_path / f"x.{suffix}").open("rb") as file:
        assert is_raster(file) and file.tell() == 0
    read, notes = load_image(tmp_path / f"x.{suffix}", array.shape[2], any_type=True)
    assert read.dtype == array.dtype and notes == () and read.flags.writeable
    np.testing.assert_array_equal(read, array)


@pytest.mark.parametrize("name", ["five bytes", "four bands", "two deep"])
@pytest.mark.parametrize(
    "options",
    [
        {"planarconfig": "contig"},
        {"planarconfig": "separate"},
        {"planarconfig": "contig", "compression": "zlib", "tile": (16, 16)},
        {"planarconfig": "contig", "byteorder": ">"},
        {"planarconfig": "contig", "bigtiff": True},
    ],
)
def test_tiffs_of_others(name: str, options: dict[str, Any], tmp_path: Path) -> None:
    array = ARRAYS[name]
    stored = np.moveaxis(array, -1, 0) if options["planarconfig"] == "separate" else array
    tifffile.imwrite(tmp_path / "x.tif", stored, photometric="minisblack", **options)
    np.testing.assert_array_equal(load_image(tmp_path / "x.tif", array.shape[2])[0], array)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "RGB", "RGBA", "CMYK", "P", "I;16"])
def test_pictures_are_left_to_the_picture_decoder(mode: str) -> None:
    buffer = BytesIO()
    Image.new("RGB" if mode == "P" else mode, (4, 4)).convert(mode).save(buffer, "TIFF")
    buffer.seek(0)
    assert not is_raster(buffer)
    assert not is_raster(BytesIO(b"\x89PNG\r\n"))
    assert not is_raster(BytesIO(b"II*\0"))


def test_numbers_without_a_range_are_refused(tmp_path: Path) -> None:
    for name in ("one float", "signed"):
        np.save(tmp_path / "x.npy", ARRAYS[name])
        with pytest.raises(DataError, match=rf"x.npy: holds {ARRAYS[name].dtype} values, of which black") as caught:
            load_image(tmp_path / "x.npy", 1)
        assert "data.value_range" in caught.value.hints[0]


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (np.zeros(5, np.uint8), r"is an array of shape \[5\], not \[H, W\] or \[H, W, C\]"),
        (np.zeros((0, 3), np.uint8), r"is an array of shape \[0, 3\], which has no pixels"),
        (np.zeros((2, 3), complex), "holds complex128 values, which are no image"),
        (np.zeros((2, 3), bool), "holds bool values, which are no image"),
        (np.array([[None]]), "holds object values, which are no image"),
    ],
)
def test_arrays_that_are_no_image(array: np.ndarray, reason: str) -> None:
    buffer = BytesIO()
    np.save(buffer, array, allow_pickle=True)
    with pytest.raises(Refused, match=reason):
        decode_raster(buffer.getvalue())


def test_damage_and_size() -> None:
    buffer = BytesIO()
    np.save(buffer, ARRAYS["five bytes"])
    with pytest.raises(Refused, match="damaged or cut off: 10 bytes are missing"):
        decode_raster(buffer.getvalue()[:-10])
    with pytest.raises(Refused, match="damaged header"):
        decode_raster(buffer.getvalue()[:20])
    with pytest.raises(Refused, match="7 x 6 pixels are more than the 40 that are allowed"):
        decode_raster(buffer.getvalue(), max_pixels=40)
    tiff = BytesIO()
    tifffile.imwrite(tiff, ARRAYS["five bytes"], photometric="minisblack", planarconfig="contig")
    with pytest.raises(Refused, match="damaged"):
        decode_raster(tiff.getvalue()[:-100])


def test_pages_and_rotations_are_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "x.tif", np.zeros((5, 6, 7), np.float32), photometric="minisblack")
    with pytest.raises(DataError, match="holds 5 pictures, only one can be used"):
        load_image(tmp_path / "x.tif", 5, any_type=True)
    tags = [(274, 3, 1, 6, True)]
    tifffile.imwrite(
        tmp_path / "x.tif", ARRAYS["five bytes"], photometric="minisblack", planarconfig="contig", extratags=tags
    )
    with pytest.raises(DataError, match="asks to be rotated"):
        load_image(tmp_path / "x.tif", 5)


def sparse_tiff(height: int, width: int, channels: int, kind: str) -> bytes:
    """A TIFF whose only strip has no bytes, as geographers write emptiness."""
    buffer = BytesIO()
    one, planar = np.zeros((1, 1, channels), kind), "contig" if channels > 1 else None
    tifffile.imwrite(buffer, one, photometric="minisblack", planarconfig=planar, metadata=None)
    return with_tiff_tags(buffer.getvalue(), {256: width, 257: height, 278: height, 279: 0})


@pytest.fixture
def no_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    def decode(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("was decoded")

    monkeypatch.setattr(tifffile.TiffPageSeries, "asarray", decode)
    monkeypatch.setattr(np, "load", decode)


def test_bands_count_like_pixels(no_decoding: None, tmp_path: Path) -> None:
    """Eight bytes are a pixel, as 4 channels of 16 bits are."""
    reason = (
        "1000 x 1000 pixels of 400 float64 channels take as much as 400,000,000 of a picture, more than the {} that"
    )
    data = sparse_tiff(1000, 1000, 400, "f8")
    with pytest.raises(TooLarge, match=reason.format("399,999,999")):
        decode_raster(data, 399_999_999)
    with pytest.raises(Refused, match="damaged file: was decoded"):
        decode_raster(data, 400_000_000)
    with pytest.raises(TooLarge, match="more than the 1,000,000,000 that are allowed"):
        decode_raster(sparse_tiff(30_000, 30_000, 9, "u1"))
    np.save(tmp_path / "x.npy", np.zeros((10, 20, 9), np.float32))
    with pytest.raises(DataError, match="20 x 10 pixels of 9 float32 channels take as much as 900 of"):
        load_image(tmp_path / "x.npy", 9, any_type=True, max_pixels=899)


def test_what_cannot_be_used_is_not_decoded(no_decoding: None, tmp_path: Path) -> None:
    for kind, channels, wanted, any_type, reason in (
        ("f8", 400, None, False, "holds float64 values, of which black and white are not known"),
        ("i2", 1, 1, False, "holds int16 values, of which"),
        ("f4", 400, 3, True, "has 400 channels, 3 are needed"),
        ("u1", 5, 4, False, "has 5 channels, 4 are needed"),
    ):
        (tmp_path / "x.tif").write_bytes(sparse_tiff(100, 100, channels, kind))
        np.save(tmp_path / "x.npy", np.zeros((2, 3, channels), kind))
        for name in ("x.tif", "x.npy"):
            with pytest.raises(DataError, match=rf"{name}: {reason}"):
                load_image(tmp_path / name, wanted, any_type=any_type)
    for kind, channels, reason in (
        ("f8", 1, "holds float64 values, but class ids are integers"),
        ("u1", 5, "has 5 channels; a label map has 1, or 3 with"),
    ):
        (tmp_path / "x.tif").write_bytes(sparse_tiff(100, 100, channels, kind))
        with pytest.raises(Refused, match=reason):
            read_labels(tmp_path / "x.tif")

"""Directories of TIFF files, whoever wrote them."""

import struct
from io import BytesIO
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from i2i.images import tiff
from i2i.images.decoding import Refused, decode
from i2i.images.rasters import decode_raster


def pages(count: int, **options: Any) -> bytes:
    buffer = BytesIO()
    with tifffile.TiffWriter(buffer, **options) as writer:
        for _ in range(count):
            writer.write(np.zeros((4, 5), np.uint8), photometric="minisblack", metadata=None)
    return buffer.getvalue()


def chain(count: int, last: int = 0, channels: int = 1) -> bytes:
    """A picture of zeros, and directories without tags behind it; the last points at that of number ``last``."""
    buffer, planar = BytesIO(), "contig" if channels > 1 else None
    picture = np.zeros((4, 6, channels), np.uint8)
    tifffile.imwrite(buffer, picture, photometric="minisblack", planarconfig=planar, metadata=None, byteorder="<")
    data = bytearray(buffer.getvalue())
    (at,) = struct.unpack_from("<I", data, 4)
    (tags,) = struct.unpack_from("<H", data, at)
    starts = [at] + [len(data) + 6 * index for index in range(count - 1)]
    struct.pack_into("<I", data, at + 2 + 12 * tags, starts[1])
    for after in [*starts[2:], starts[last] if last else 0]:
        data += struct.pack("<HI", 0, after)
    return bytes(data)


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("bigtiff", [False, True])
def test_directories(byteorder: str, bigtiff: bool) -> None:
    stream = BytesIO(pages(5, byteorder=byteorder, bigtiff=bigtiff))
    if byteorder == "<" or not bigtiff:  # Pillow reads no big-endian BigTIFF
        assert tiff.first_tags(stream)[256] == 5 and tiff.first_tags(stream)[257] == 4
    assert [tiff.count_directories(stream, most) for most in (3, 4, 5, 100)] == [4, 5, 5, 5]


def test_a_ring_of_directories_ends() -> None:
    assert tiff.count_directories(BytesIO(chain(9, last=3)), 100) == 9


def test_a_directory_that_is_cut_off_ends_the_count() -> None:
    assert tiff.count_directories(BytesIO(pages(5)[:-3]), 100) <= 5
    assert tiff.count_directories(BytesIO(chain(9)[:-2]), 100) == 9


def test_thousands_of_directories_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Refused, match="holds 9 pictures, only one can be used"):
        decode(pages(9))
    reason = "holds more than 256 pictures, thumbnails and masks, only one picture can be used"
    with monkeypatch.context() as patch:
        patch.setattr(Image.OPEN["TIFF"][0], "n_frames", property(lambda _: pytest.fail("all were read")))
        with pytest.raises(Refused, match=reason):
            decode(chain(32_000))
    monkeypatch.setattr(tifffile.TiffPages, "__len__", lambda _: pytest.fail("all were read"))
    with pytest.raises(Refused, match=reason):
        decode_raster(chain(32_000, channels=9))

"""Bounds on compression hold for the best compressed files; lies beyond them are seen."""

import io
import struct

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageFile

from i2i.decoding import Damaged, Refused, decode
from i2i.integrity import broken_chunk, shortfall, shortfall_of_tiff
from i2i.rasters import decode_raster
from tests.malformed import RGB, encoded, flipped, with_ihdr

SIDE = 3000


def flat(format: str, mode: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, (SIDE, SIDE)).save(buffer, format, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("format", "mode", "options"),
    [
        ("PNG", "1", {"compress_level": 9}),
        ("PNG", "RGB", {"compress_level": 9}),
        ("JPEG", "L", {"quality": 1, "optimize": True}),
        ("JPEG", "RGB", {"quality": 1, "subsampling": 2, "progressive": True, "optimize": True}),
        ("TIFF", "RGB", {"compression": "tiff_lzw"}),
        ("TIFF", "1", {"compression": "group4"}),
        ("TIFF", "1", {"compression": "packbits"}),
        ("TIFF", "L", {"compression": "tiff_adobe_deflate"}),
        ("BMP", "1", {}),
        ("PPM", "1", {}),
        ("GIF", "P", {}),
        ("WEBP", "RGB", {"lossless": True}),
    ],
)
def test_one_colour_compressed_as_well_as_can_be(format: str, mode: str, options: dict[str, object]) -> None:
    assert decode(flat(format, mode, **options), None)[0].shape[:2] == (SIDE, SIDE)


def test_bands_of_one_value() -> None:
    buffer = io.BytesIO()
    bands = np.zeros((1000, 1000, 5), np.float32)
    tifffile.imwrite(buffer, bands, photometric="minisblack", planarconfig="contig", compression="zlib", metadata=None)
    np.testing.assert_array_equal(decode_raster(buffer.getvalue()), bands)


def test_a_jpeg_with_arithmetic_coding_has_no_bound() -> None:
    data = bytearray(encoded(RGB, "JPEG"))
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", 9_000, 9_000)
    image = Image.open(io.BytesIO(bytes(data)))
    assert isinstance(image, ImageFile.ImageFile)
    for marker, is_short in ((0xC0, True), (0xC2, True), (0xC9, False), (0xCA, False)):
        data[at + 1] = marker
        assert bool(shortfall(image, io.BytesIO(bytes(data)))) is is_short


def test_a_lie_is_told_with_its_size() -> None:
    data = with_ihdr(encoded(RGB, "PNG"), struct.pack(">II", 30_000, 30_000), 0)
    with pytest.raises(Damaged, match=f"claims 30000 x 30000 pixels, which {len(data):,} bytes cannot hold"):
        decode(data)
    with pytest.raises(Refused, match="30000 x 30000 pixels are more than the 1,000,000"):
        decode(data, max_pixels=10**6)


def test_a_sparse_tiff_may_be_small() -> None:
    tags = {259: 1, 258: (8,), 277: 1, 279: (0, 0)}
    assert shortfall_of_tiff(tags, (10_000, 10_000), 500) == ""
    assert shortfall_of_tiff({**tags, 279: (100, 100)}, (10_000, 10_000), 500)
    assert shortfall_of_tiff({**tags, 259: 50_000, 279: (100, 100)}, (10_000, 10_000), 500) == "", "zstd has no bound"


def test_sums_of_pixels() -> None:
    import random

    data = encoded(RGB, "PNG")
    assert broken_chunk(data) == "" and broken_chunk(data[:-13]) == ""
    assert broken_chunk(data[:-100]) == "cut off within its pixels"
    at = data.index(b"IDAT") + 40
    changed = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
    assert broken_chunk(changed) == "the checksum of its pixels is wrong"
    with pytest.raises(Damaged, match="damaged PNG file: the checksum of its pixels is wrong"):
        decode(changed)
    assert broken_chunk(flipped(data, random.Random(0), 8)) == "", "what is before the chunks is the decoder's"


def test_a_gif_that_leaves_part_of_its_canvas_open() -> None:
    data = encoded(RGB, "GIF")
    with pytest.raises(Refused, match="picture of 40 x 24 pixels leaves the rest of 60 x 24 transparent"):
        decode(data[:6] + struct.pack("<HH", 60, 24) + data[10:])

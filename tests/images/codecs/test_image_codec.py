"""Depths and ranges of images."""

import numpy as np
import pytest
import torch

from i2i.images.codecs import ImageCodec, codec_of
from i2i.images.decoding import Refused


@pytest.mark.parametrize("dtype", [np.int16, np.float32, np.float64, np.uint16, np.uint8])
def test_a_range_is_mapped_to_minus_one_and_one(dtype):
    codec = ImageCodec(1, 32, (10, 60))
    array = np.array([[10, 60], [35, 22.5 if dtype in (np.float32, np.float64) else 22]], dtype)[..., None]
    tensor = codec.encode(codec.fit(array)[0])
    expected = [[-1, 1], [0, -0.5 if array.dtype.kind == "f" else -0.52]]
    torch.testing.assert_close(tensor[0], torch.tensor(expected, dtype=torch.float32))
    written = codec.decode(tensor)
    assert written.dtype == np.float32
    np.testing.assert_allclose(written, array, rtol=1e-6)


@pytest.mark.parametrize(("depth", "dtype", "most"), [(8, np.uint8, 200), (16, np.uint16, 4095)])
def test_integers_in_a_part_of_their_range_come_back(depth, dtype, most):
    codec = ImageCodec(2, depth, (0, most))
    array = np.random.default_rng(0).integers(0, most + 1, (9, 8, 2)).astype(dtype)
    written = codec.decode(codec.encode(codec.fit(array)[0]))
    assert written.dtype == dtype
    np.testing.assert_array_equal(written, array)


def test_every_16_bit_value_comes_back():
    codec = ImageCodec(1, 16)
    array = np.arange(65536, dtype=np.uint16).reshape(256, 256, 1)
    np.testing.assert_array_equal(codec.decode(codec.encode(codec.fit(array)[0])), array)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([0, 61], r"holds values from 0 to 61, outside of value_range \[10, 60\]"),
        ([20, np.nan], r"holds values that are no numbers, outside of value_range \[10, 60\]"),
        ([20, np.inf], "holds values from 20 to inf"),
    ],
)
def test_values_outside_of_the_range_are_refused(values, message):
    with pytest.raises(Refused, match=message):
        ImageCodec(1, 32, (10, 60)).fit(np.array([values], np.float32)[..., None])


def test_the_depth_is_that_of_the_deepest_file_unless_given():
    codec = ImageCodec(3, None)
    assert codec.depth == 8 and codec.settle({}) == "" and codec.settle({16: 3}) == "" and codec.depth == 16
    mixed = ImageCodec(3, None)
    assert mixed.settle({8: 5, 16: 1}) == "1 of 16 bits, so translations have that many" and mixed.depth == 16
    fixed = ImageCodec(3, 8)
    assert fixed.settle({16: 3}) == "" and fixed.depth == 8


@pytest.mark.parametrize(
    ("codec", "formats"),
    [
        (ImageCodec(3), {"png", "jpg", "webp", "avif", "bmp", "tiff", "npy"}),
        (ImageCodec(1, 16), {"png", "tiff", "tif", "npy"}),
        (ImageCodec(5), {"tiff", "tif", "npy"}),
        (ImageCodec(3, 32, (0, 1)), {"tiff", "tif", "npy"}),
    ],
)
def test_formats_are_those_that_cut_nothing(codec, formats):
    assert formats <= set(codec.formats)
    assert codec.depth == 8 and codec.channels == 3 or set(codec.formats) == formats
    assert codec.formats[0] == ("png" if "png" in formats else "tiff")


def test_a_codec_is_what_its_description_makes():
    for codec in (ImageCodec(3), ImageCodec(5, 16), ImageCodec(1, 32, (-1000, 3000.5))):
        assert vars(codec_of(codec.describe())) == vars(codec)
    assert codec_of({"kind": "image", "channels": 4, "depth": 8}).channels == 4
    for wrong in ({"depth": 12}, {"value_range": [1]}, {"channels": "many"}):
        with pytest.raises(ValueError):
            codec_of({**ImageCodec(3).describe(), **wrong})

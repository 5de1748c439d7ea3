from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from i2i.core.errors import DataError
from i2i.images.files import load_image, make_grid, save_image, to_tensor, to_uint8, unit_float, write_bytes

LEVELS = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
RGB = np.random.default_rng(3).integers(0, 256, (20, 30, 3), dtype=np.uint8)


def test_ranges() -> None:
    tensor = to_tensor(LEVELS)
    assert tensor.dtype == torch.float32 and tensor.shape == (1, 16, 16)
    assert (tensor.min(), tensor.max()) == (-1, 1)
    torch.testing.assert_close(tensor.flatten(), torch.arange(256) / 127.5 - 1, rtol=0, atol=0)


def test_ranges_of_16_bit_and_float() -> None:
    values = np.arange(65536, dtype=np.uint16).reshape(256, 256, 1)
    tensor = to_tensor(values)
    torch.testing.assert_close(tensor.flatten(), torch.arange(65536) / 32767.5 - 1, rtol=0, atol=0)
    torch.testing.assert_close(to_tensor(unit_float(values)), tensor, rtol=0, atol=2e-7)
    torch.testing.assert_close(to_tensor(unit_float(LEVELS)), to_tensor(LEVELS), rtol=0, atol=2e-7)
    with pytest.raises(TypeError, match="int64"):
        to_tensor(values.astype(np.int64))


def test_8_bit_round_trip_is_the_identity() -> None:
    np.testing.assert_array_equal(to_uint8(to_tensor(LEVELS)), LEVELS)
    np.testing.assert_array_equal(to_uint8(to_tensor(RGB)), RGB)
    np.testing.assert_array_equal(to_uint8(to_tensor(RGB)[None].repeat(2, 1, 1, 1)), np.stack([RGB, RGB]))


def test_rounding_is_to_nearest_and_clamps() -> None:
    values = torch.tensor([-60, 0, 0.4, 0.6, 254.4, 254.6, 255, 999]) / 127.5 - 1
    expected = [0, 0, 0, 1, 254, 255, 255, 255]
    assert to_uint8(values.reshape(1, 1, 8)).ravel().tolist() == expected
    half = to_uint8(values.reshape(1, 1, 8).bfloat16())
    assert half.dtype == np.uint8 and half.ravel().tolist()[-2:] == [255, 255]


def test_to_uint8_leaves_its_input_alone() -> None:
    tensor = torch.full((1, 2, 2), 0.3, requires_grad=True)
    to_uint8(tensor)
    assert (tensor == 0.3).all()


def test_to_tensor_owns_its_memory() -> None:
    for array in (RGB.copy(), unit_float(RGB), unit_float(RGB[..., :1])):
        before = array.copy()
        tensor = to_tensor(array)
        np.testing.assert_array_equal(array, before)
        array[:] = 0
        np.testing.assert_array_equal(to_uint8(tensor), RGB[..., : array.shape[2]])


def test_load_errors_name_the_file(tmp_path: Path) -> None:
    text = tmp_path / "text.jpg"
    text.write_text("no image")
    for path, reason in [
        (text, "is text, not an image"),
        (tmp_path / "missing.png", "no such file"),
        (tmp_path, "is a folder"),
    ]:
        with pytest.raises(DataError) as error:
            load_image(path)
        assert error.value.message == f"{path}: {reason}"


def test_load_keeps_hints(tmp_path: Path) -> None:
    Image.new("RGBA", (4, 4)).save(tmp_path / "a.png")
    with pytest.raises(DataError, match="a.png: has transparent pixels, 3 channels are needed") as error:
        load_image(str(tmp_path / "a.png"))
    assert len(error.value.hints) == 1


@pytest.mark.parametrize("suffix", ["png", "PNG", "bmp", "tif", "tiff"])
def test_exact_formats_round_trip(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"x.{suffix}"
    save_image(path, RGB)
    np.testing.assert_array_equal(load_image(path)[0], RGB)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_16_bit_round_trip(tmp_path: Path, suffix: str) -> None:
    deep = (RGB.astype(np.uint16) << 8) + 7
    save_image(tmp_path / f"x.{suffix}", deep)
    np.testing.assert_array_equal(load_image(tmp_path / f"x.{suffix}")[0], deep)


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tif", "bmp"])
def test_gray_is_saved_as_gray(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"x.{suffix}"
    save_image(path, LEVELS)
    expected = "RGB" if suffix == "webp" else "L"  # WebP has no gray
    with Image.open(path) as image:
        assert image.mode == expected and image.size == (16, 16)
    save_image(path, LEVELS[..., 0])
    assert load_image(path, 3 if suffix == "webp" else 1)[0].shape[:2] == (16, 16)


def test_rgba_is_saved_with_alpha(tmp_path: Path) -> None:
    rgba = np.dstack([RGB, RGB[..., 0]])
    save_image(tmp_path / "x.png", rgba)
    np.testing.assert_array_equal(load_image(tmp_path / "x.png", 4)[0], rgba)


def test_jpeg_keeps_colour_edges(tmp_path: Path) -> None:
    stripes = np.zeros((16, 16, 3), np.uint8)
    stripes[:, ::2, 0] = 255
    stripes[:, 1::2, 2] = 255
    save_image(tmp_path / "x.jpg", stripes)
    difference = np.abs(load_image(tmp_path / "x.jpg")[0].astype(int) - stripes)
    assert difference.mean() < 3  # 4:2:0 would mix the stripes
    with Image.open(tmp_path / "x.jpg") as image:
        assert image.layer[0][1:3] == (1, 1)


def test_format_over_suffix_and_unknown_formats(tmp_path: Path) -> None:
    save_image(tmp_path / "x.out", RGB, "jpeg", quality=50)
    with Image.open(tmp_path / "x.out") as image:
        assert image.format == "JPEG"
    with pytest.raises(DataError, match=r"x.psd: images cannot be written as 'psd', only as png, jpg"):
        save_image(tmp_path / "x.psd", RGB)


def test_what_a_format_cannot_hold(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"x.jpg: a 30 x 20 image of 4 uint8 channels cannot be written as jpg"):
        save_image(tmp_path / "x.jpg", np.dstack([RGB, RGB[..., 0]]))
    with pytest.raises(DataError, match="only png, tiff and npy hold 16 bits"):
        save_image(tmp_path / "x.jpg", RGB.astype(np.uint16))
    with pytest.raises(DataError, match="only 1, 3 or 4 channels"):
        save_image(tmp_path / "x.png", np.dstack([RGB, RGB]))
    with pytest.raises(DataError, match=r"x.jpg: a 70000 x 1 image"):
        save_image(tmp_path / "x.jpg", np.zeros((1, 70000, 3), np.uint8))
    assert list(tmp_path.iterdir()) == []


def test_a_failed_save_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.png"
    save_image(path, RGB)
    before = path.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(DataError, match="x.png: cannot be written: no space left on device"):
        save_image(path, RGB[::-1])
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["x.png"]


def test_saving_into_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be written: no such file"):
        save_image(tmp_path / "missing" / "x.png", RGB)


def test_write_bytes_respects_the_umask(tmp_path: Path) -> None:
    write_bytes(tmp_path / "x", b"1", durable=True)
    (tmp_path / "plain").write_bytes(b"1")
    assert (tmp_path / "x").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_grid_layout() -> None:
    real = [RGB[:, :20]] * 2
    fake = torch.ones(1, 1, 20, 20)
    sheet = make_grid({"real": real, "fake": fake}, gap=4)
    cell = 7 * 20  # enlarged to at least 128
    assert sheet.shape == (20 + 2 * (cell + 4), 4 + 2 * (cell + 4), 3) and sheet.dtype == np.uint8
    first = sheet[20 : 20 + cell, 4 : 4 + cell]
    np.testing.assert_array_equal(first[::7, ::7], RGB[:, :20])
    np.testing.assert_array_equal(first[6::7, 6::7], RGB[:, :20])
    assert (sheet[20 : 20 + cell, 8 + cell : 8 + 2 * cell] == 255).all()
    assert (sheet[4:18, 4:100] < 128).any()  # the name


def test_grid_takes_any_channels_and_sizes() -> None:
    wide = torch.zeros(2, 200, 300)
    sheet = make_grid({"a name that is longer than its column is wide": [torch.zeros(5, 8, 8)], "": [wide]})
    assert sheet.shape == (20 + 204, 4 + 2 * 304, 3)
    with pytest.raises(ValueError, match="at least one image"):
        make_grid({"a": []})

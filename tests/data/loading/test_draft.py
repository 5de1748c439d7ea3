"""JPEGs that are shrunk anyway may be decoded at a fraction of their size."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from i2i.data.folder import Folder
from i2i.data.labels import Labels
from i2i.data.pictures import Paired, Unpaired
from i2i.images import decoding
from i2i.images.decoding import AtLeast, decode


def smooth(width, height):
    """Waves that are longer than what a fraction leaves out."""
    rows, columns = np.mgrid[:height, :width]
    planes = [np.sin(rows / 40 + columns / (30 + 10 * channel)) for channel in range(3)]
    return np.round(np.stack(planes, -1) * 100 + 128).astype(np.uint8)


def jpeg(array, **options):
    buffer = BytesIO()
    Image.fromarray(array).save(buffer, "JPEG", quality=95, subsampling=0, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("size", "wanted", "part"),
    [
        ((640, 480), AtLeast(60, 60), 8),
        ((640, 480), AtLeast(61, 60), 4),
        ((640, 480), AtLeast(200, 300), 2),
        ((640, 480), AtLeast(241, 241), 1),
        ((641, 483), AtLeast(60, 60), 8),
        ((640, 240), AtLeast(100, 100, parts=2), 2),
        ((644, 480), AtLeast(60, 40, parts=2), 2),
        ((642, 240), AtLeast(100, 100, parts=2), 1),
    ],
)
def test_the_smallest_fraction_that_will_do(size, wanted, part):
    array = smooth(*size)
    found, _ = decode(jpeg(array), at_least=wanted)
    assert found.shape == (-(-size[1] // part), -(-size[0] // part), 3)
    rows, columns = (length // part * part for length in array.shape[:2])
    means = array[:rows, :columns].reshape(rows // part, part, columns // part, part, 3).mean((1, 3))
    assert np.abs(found[: rows // part, : columns // part] - means).max() < 6


def test_rotated_files_count_as_they_are_shown():
    exif = Image.Exif()
    exif[274] = 6
    data = jpeg(smooth(240, 640), exif=exif)
    assert decode(data)[0].shape == (240, 640, 3)
    assert decode(data, at_least=AtLeast(100, 100, parts=2))[0].shape == (120, 320, 3)
    assert decode(data, at_least=AtLeast(100, 200, parts=2))[0].shape == (240, 640, 3)


def test_other_formats_are_decoded_whole():
    buffer = BytesIO()
    Image.fromarray(smooth(640, 480)).save(buffer, "PNG")
    assert decode(buffer.getvalue(), at_least=AtLeast(10, 10))[0].shape == (480, 640, 3)


def test_a_file_that_is_cut_off_is_refused_at_any_size():
    data = jpeg(smooth(640, 480))
    with pytest.raises(decoding.Damaged):
        decode(data[: len(data) // 2], at_least=AtLeast(60, 60))


@pytest.fixture
def sizes(monkeypatch):
    """Of what is decoded."""
    seen = []
    real = decoding._decode_pillow

    def spying(image):
        array = real(image)
        seen.append(array.shape[:2])
        return array

    monkeypatch.setattr(decoding, "_decode_pillow", spying)
    return seen


def write(root, *names, width=640):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(jpeg(smooth(width, 480)))


def test_data_sets_decode_what_their_resize_needs(tmp_path, sizes):
    sized = {"load_size": 110, "crop_size": 100, "transforms": "resize_crop_flip"}
    write(tmp_path / "one", "trainA/0.jpg", "trainA/1.jpg", "trainB/0.jpg", "trainB/1.jpg")
    write(tmp_path / "two", "train/0.jpg", "train/1.jpg", width=960)
    write(tmp_path / "three", "0.jpg", "1.jpg")
    for dataset, shape in [
        (Unpaired(str(tmp_path / "one"), **sized), (120, 160)),
        (Paired(str(tmp_path / "two"), **sized), (120, 240)),
        (Folder(str(tmp_path / "three"), **sized), (120, 160)),
    ]:
        whole = dataset[0]
        assert dataset.use_draft()
        sizes.clear()
        item = dataset[0]
        assert set(sizes) == {shape}
        for name in {"a", "b", "image"} & item.keys():
            assert item[name].shape == (3, 100, 100)
            assert 0 < (item[name] - whole[name]).abs().max() < 8 / 127.5


def test_without_a_resize_there_is_none(tmp_path, sizes):
    write(tmp_path, "0.jpg", "1.jpg")
    dataset = Folder(str(tmp_path), transforms="crop", crop_size=50)
    assert not dataset.use_draft()
    sizes.clear()
    dataset[0]
    assert sizes == [(480, 640)]


def test_labels_are_never_reduced(tmp_path, sizes):
    for number in range(2):
        write(tmp_path, f"train/images/{number}.jpg")
        (tmp_path / "train/labels").mkdir(exist_ok=True)
        Image.fromarray(np.full((480, 640), number, np.uint8)).save(tmp_path / f"train/labels/{number}.png")
    dataset = Labels(str(tmp_path), classes=2, load_size=110, crop_size=100, colours="nearest")
    assert dataset.use_draft()
    assert dataset.codecs["a"].least_size is None and dataset.codecs["b"].least_size == (110, 110)
    dataset[0]
    assert (120, 160) in sizes

"""Class ids, one-hot tensors, colours: what a label file holds and what networks see."""

import itertools
import pickle

import numpy as np
import pytest
import torch
from PIL import Image

from i2i.core.errors import DataError
from i2i.data.finding.classes import SCHEMES
from i2i.images.codecs import LabelClass, LabelCodec, codec_of
from i2i.images.files import save_image

CLASSES = (
    LabelClass(3, "sky", (10, 20, 200)),
    LabelClass(0, "road", (128, 64, 128), ((7, (250, 170, 160)), (8, None))),
    LabelClass(200, "car", (0, 0, 142)),
)
IDS = np.array([[3, 0, 200], [7, 8, 0]], np.uint8)[..., None]
INDEX = [[0, 1, 2], [1, 1, 1]]


def save(path, array, mode=None, palette=None, **options):
    image = Image.fromarray(array[..., 0] if array.shape[-1] == 1 else array)
    if palette is not None:
        image.putpalette(np.asarray(palette, np.uint8).tobytes())
    (image.convert(mode) if mode else image).save(path, **options)
    return path


def refusal(codec, path):
    with pytest.raises(DataError) as caught:
        codec.load(path)
    assert caught.value.message.startswith(f"{path}: ")
    return caught.value.message.removeprefix(f"{path}: ")


def test_one_hot_has_a_channel_a_class_in_their_order():
    tensor = LabelCodec(CLASSES).encode(IDS)
    assert tensor.dtype == torch.float32 and tensor.shape == (3, 2, 3)
    for (row, column), channel in itertools.product(np.ndindex(2, 3), range(3)):
        assert tensor[channel, row, column] == float(INDEX[row][column] == channel)


def test_palette_shows_the_classes_colours_in_the_range_of_images():
    tensor = LabelCodec(CLASSES, "palette").encode(IDS)
    assert tensor.shape == (3, 2, 3)
    torch.testing.assert_close(tensor[:, 0, 2], torch.tensor([0, 0, 142]) / 127.5 - 1)
    torch.testing.assert_close(tensor[:, 1, 0], torch.tensor([128, 64, 128]) / 127.5 - 1)  # counts as road


@pytest.mark.parametrize("encoding", ["onehot", "palette"])
def test_the_likeliest_class_is_written_by_its_id(encoding):
    codec = LabelCodec(CLASSES, encoding)
    noise = torch.from_numpy(np.random.default_rng(0).uniform(-0.2, 0.2, (2, codec.channels, 2, 3))).float()
    ids = codec.decode(torch.stack([codec.encode(IDS)] * 2) + noise)
    assert ids.dtype == np.uint8 and ids.shape == (2, 2, 3, 1)
    np.testing.assert_array_equal(ids[0, ..., 0], [[3, 0, 200], [0, 0, 0]])  # ids 7 and 8 are the road's too
    np.testing.assert_array_equal(ids[1], ids[0])
    shown = codec.show(codec.encode(IDS))
    np.testing.assert_array_equal(shown[1, 0], (128, 64, 128))
    assert shown.shape == (2, 3, 3) and shown.dtype == np.uint8


@pytest.mark.parametrize("ignore", [[5, 255], "others"])
def test_ignored_ids_are_no_class(ignore, tmp_path):
    array = np.array([[3, 255], [5, 0]], np.uint8)[..., None]
    codec = LabelCodec(CLASSES, ignore=ignore)
    np.testing.assert_array_equal(codec.load(save(tmp_path / "x.png", array))[0], array)
    tensor = codec.encode(array)
    np.testing.assert_array_equal(tensor.sum(0), [[1, 0], [0, 1]])
    np.testing.assert_array_equal(codec.show(tensor)[0, 1], (0, 0, 0))
    black = LabelCodec(CLASSES, "palette", ignore=ignore).encode(array)
    np.testing.assert_array_equal(black[:, 0, 1], [-1, -1, -1])


def test_unknown_ids_are_told_with_file_and_count(tmp_path):
    array = np.full((4, 5, 1), 3, np.uint8)
    array[0, :3], array[1, 0] = 77, 12
    path = save(tmp_path / "x.png", array)
    assert refusal(LabelCodec(CLASSES), path) == "holds ids that are no class: 12 (1 pixels), 77 (3 pixels)"
    assert refusal(LabelCodec(CLASSES, ignore=[77]), path) == "holds ids that are no class: 12 (1 pixels)"


def test_every_way_to_write_a_label_map_gives_the_same_ids(tmp_path):
    codec = LabelCodec(CLASSES)
    viewer = np.random.default_rng(1).integers(0, 256, (256, 3))  # a palette for viewers
    colours = np.array([CLASSES[i].colour for i in np.ravel(INDEX)], np.uint8).reshape(2, 3, 3)
    opaque = np.dstack([colours, np.full((2, 3, 1), 255, np.uint8)])
    plain = np.array([[3, 0, 200], [0, 0, 0]])
    save_image(tmp_path / "ours.png", IDS, palette=codec.palette)
    save_image(tmp_path / "ours.tiff", IDS, palette=codec.palette)
    save_image(tmp_path / "ours.bmp", IDS, palette=codec.palette)
    np.save(tmp_path / "wide.npy", IDS.astype(np.int64))
    exact = [
        save(tmp_path / "gray.png", IDS),
        save(tmp_path / "gray.bmp", IDS),
        save(tmp_path / "palette.png", IDS, palette=viewer),
        save(tmp_path / "deep.png", IDS.astype(np.uint16)),
        *(tmp_path / name for name in ("ours.png", "ours.tiff", "ours.bmp", "wide.npy")),
    ]
    for path in exact:
        np.testing.assert_array_equal(codec.load(path)[0], IDS, err_msg=path.name)
    for path in (save(tmp_path / "colour.png", colours), save(tmp_path / "opaque.png", opaque)):
        array, notes = codec.load(path)
        np.testing.assert_array_equal(array[..., 0], plain)
        assert notes[-1] == "colours to class ids"


def test_one_bit_holds_the_ids_0_and_1(tmp_path):
    bits = np.array([[0, 1], [1, 1]], np.uint8)[..., None]
    path = save(tmp_path / "x.png", bits * 255, "1")
    np.testing.assert_array_equal(LabelCodec(SCHEMES["camvid"]).load(path)[0], bits)


def test_our_own_files_show_the_classes_colours(tmp_path):
    codec = LabelCodec(CLASSES)
    save_image(tmp_path / "x.png", IDS, palette=codec.palette)
    with Image.open(tmp_path / "x.png") as image:
        assert image.mode == "P"
        np.testing.assert_array_equal(np.asarray(image), IDS[..., 0])
        np.testing.assert_array_equal(np.asarray(image.convert("RGB"))[0, 2], (0, 0, 142))


def test_what_is_no_label_map_is_refused_with_its_reason(tmp_path):
    codec = LabelCodec(CLASSES)
    gray = save(tmp_path / "gray.jpg", np.full((8, 8, 1), 3, np.uint8))
    assert refusal(codec, gray) == "is a gray JPEG, whose compression has changed the class ids"
    colours = np.zeros((8, 8, 3), np.uint8) + np.array([10, 20, 200], np.uint8)
    colours[0, 0] = (10, 20, 201)
    assert refusal(codec, save(tmp_path / "near.png", colours)) == (
        "1 pixels have colours of no class, such as (10, 20, 201)"
    )
    clear = np.dstack([colours, np.full((8, 8, 1), 100, np.uint8)])
    assert refusal(codec, save(tmp_path / "clear.png", clear)).startswith("has transparent pixels")
    instances = save(tmp_path / "instances.png", np.array([[3, 26001]], np.uint16)[..., None])
    assert refusal(codec, instances) == "holds ids from 3 to 26001, but class ids are 0 to 255: a map of instances?"
    (tmp_path / "text.png").write_text("hello")
    assert refusal(codec, tmp_path / "text.png") == "is text, not an image"
    np.save(tmp_path / "float.npy", np.zeros((4, 4), np.float32))
    assert refusal(codec, tmp_path / "float.npy") == "holds float32 values, but class ids are integers"
    assert refusal(codec, tmp_path / "gone.png") == "no such file"
    whole = save(
        tmp_path / "cut.png", np.random.default_rng(0).integers(0, 4, (64, 64, 1), np.uint8), palette=[0] * 768
    )
    whole.write_bytes(whole.read_bytes()[:-60])
    assert refusal(codec, whole).startswith("damaged PNG file")


def test_a_palette_that_contradicts_its_indices_is_refused(tmp_path):
    """A colour image that was reduced to a palette has the right colours at the wrong indices."""
    codec = LabelCodec(CLASSES)
    palette = np.zeros((256, 3), np.uint8)
    palette[0], palette[3] = CLASSES[0].colour, CLASSES[1].colour  # sky at 0, road at 3
    path = save(tmp_path / "x.png", np.array([[0, 3]], np.uint8)[..., None], palette=palette)
    assert refusal(codec, path) == "its palette has the colour of class 3 (sky) at index 0"


@pytest.mark.parametrize("scheme", ["camvid", "cityscapes"])
def test_the_nearest_colour_is_the_nearest(scheme, tmp_path):
    classes = SCHEMES[scheme]
    table = [(one.colour, one.id) for one in classes]
    table += [(colour, id) for one in classes for id, colour in one.also if colour]
    array = np.random.default_rng(2).integers(0, 256, (13, 11, 3)).astype(np.uint8)
    codec = LabelCodec(classes, colours="nearest")
    for _ in range(2):  # the second time from what the first has found
        found = codec.load(save(tmp_path / "x.png", array))[0]
        for place in np.ndindex(13, 11):
            distances = {id: ((array[place].astype(int) - colour) ** 2).sum() for colour, id in reversed(table)}
            assert distances[int(found[(*place, 0)])] == min(distances.values())


def test_a_colour_of_several_classes_means_the_first(tmp_path):
    colours = np.array([[(0, 0, 0), (153, 153, 153)]], np.uint8)
    found = LabelCodec(SCHEMES["cityscapes_ids"]).load(save(tmp_path / "x.png", colours))[0]
    np.testing.assert_array_equal(found[..., 0], [[0, 17]])  # unlabeled of five, pole of two


def test_jpeg_colours_come_back_with_nearest(tmp_path):
    ids = np.kron(np.random.default_rng(3).integers(0, 12, (6, 8)), np.ones((16, 16), int)).astype(np.uint8)
    codec = LabelCodec(SCHEMES["camvid"], colours="nearest")
    path = save(tmp_path / "x.jpg", codec.palette[ids], quality=90, subsampling=0)
    found = codec.load(path)[0][..., 0]
    assert (found == ids).mean() > 0.98
    assert "colours of no class" in refusal(LabelCodec(SCHEMES["camvid"]), path)


@pytest.mark.parametrize("encoding", ["onehot", "palette"])
def test_a_codec_is_what_its_description_makes(encoding):
    codec = LabelCodec(CLASSES, encoding, "nearest", [99])
    codec.fit(np.zeros((2, 2, 3), np.uint8))
    for copy in (codec_of(codec.describe()), pickle.loads(pickle.dumps(codec))):
        assert copy.describe() == codec.describe()
        assert copy.channels == codec.channels == (3 if encoding == "palette" else len(CLASSES))
        assert torch.equal(copy.encode(IDS), codec.encode(IDS))
    assert len(pickle.dumps(codec)) < 10_000


@pytest.mark.parametrize(
    "change", [{"encoding": "else"}, {"classes": []}, {"kind": "else"}, {"classes": [{"id": 300}]}, {"classes": 3}]
)
def test_damaged_descriptions_are_refused(change):
    with pytest.raises(ValueError):
        codec_of({**LabelCodec(CLASSES).describe(), **change})

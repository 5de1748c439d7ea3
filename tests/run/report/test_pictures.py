"""Pictures of a report: what the bundle makes of held-out images, and what a perfect one would."""

import numpy as np
import pytest
import torch
from PIL import Image

from i2i.cli import main
from i2i.core.errors import DataError, I2IError
from i2i.data.drawn.dataset import Synthetic
from i2i.inference.bundle.bundle import save_bundle
from i2i.run.experiment import Experiment
from i2i.run.report.pictures import collect_pictures, collect_sheets
from i2i.run.report.run import report_run
from tests.bundles import REPOSITORY
from tests.run.report.pages import smooth_image

SMALL = ["generator.base_channels=4", "discriminator.base_channels=4"]


def make_run(folder, data, config="cyclegan", *overrides):
    """A run folder of an untrained model, and its experiment."""
    folder.mkdir(parents=True, exist_ok=True)
    yaml = f"extends: {REPOSITORY}/configs/tiny/{config}.yaml\ndata: {data}\n"
    (folder / "config.yaml").write_text(yaml)
    experiment = Experiment.load(folder / "config.yaml", [*SMALL, *overrides])
    pipeline = experiment.build_pipeline()
    save_bundle(folder / "model.safetensors", experiment.bundle_info(pipeline, 0), pipeline)
    return experiment


def write_folders(root, splits=("train", "test"), count=3):
    for number, split in enumerate(splits):
        for side in "AB":
            folder = root / f"{split}{side}"
            folder.mkdir(parents=True)
            for index in range(count):
                image = smooth_image((32, 32), 100 * number + index + 50 * (side == "B"))
                Image.fromarray(image).save(folder / f"{split}_{index}.png")
    return root


def translated_by_command(run, image, direction, folder):
    """The file that ``translate`` writes for an array."""
    folder.mkdir()
    Image.fromarray(image).save(folder / "image.png")
    arguments = [
        str(run),
        str(folder / "image.png"),
        str(folder / "out.png"),
        "--direction",
        direction,
        "--device",
        "cpu",
    ]
    assert main("translate", arguments) == 0
    return np.asarray(Image.open(folder / "out.png"))


def test_each_direction_shows_what_translate_makes(tmp_path):
    experiment = make_run(tmp_path / "run", "{length: 10}")
    pictures = collect_pictures(experiment, tmp_path / "run", count=2, device="cpu")
    assert [picture.direction for picture in pictures] == ["a2b", "a2b", "b2a", "b2a"]
    for number, picture in enumerate(pictures):
        expected = translated_by_command(tmp_path / "run", picture.before, picture.direction, tmp_path / str(number))
        np.testing.assert_array_equal(picture.after, expected)


def test_the_target_is_the_truth_that_the_data_knows(tmp_path):
    experiment = make_run(tmp_path, "{length: 10}")
    there, _, back, _ = collect_pictures(experiment, tmp_path, count=2, device="cpu")
    data = Synthetic(size=experiment.dataset.size[0], length=10, split=there.split)
    (a, a_truth), (b, b_truth) = data.draw(0)
    np.testing.assert_array_equal(there.before, a.image)
    np.testing.assert_array_equal(there.target, a_truth.image)
    np.testing.assert_array_equal(back.before, b.image)
    np.testing.assert_array_equal(back.target, b_truth.image)
    assert (there.domains, back.domains) == (("plain", "striped"), ("striped", "plain"))


FOLDERS = "{{type: {type}, root: {root}, load_size: 32, crop_size: 32}}"


@pytest.mark.parametrize(
    ("splits", "shown"), [(("train", "val", "test"), "test"), (("train", "val"), "val"), (("train",), "train")]
)
def test_images_are_held_out_where_there_are_such(tmp_path, splits, shown):
    root = write_folders(tmp_path / "data", splits)
    experiment = make_run(tmp_path, FOLDERS.format(type="unpaired", root=root))
    pictures = collect_pictures(experiment, tmp_path, count=3, device="cpu")
    assert {picture.split for picture in pictures} == {shown}
    assert [picture.name for picture in pictures][:3] == [f"{shown}_{index}.png" for index in range(3)]
    assert all(picture.target is None and picture.domains is None for picture in pictures)
    if shown != "train":  # where nothing is random
        stored = np.asarray(Image.open(root / f"{shown}B/{shown}_2.png"))
        np.testing.assert_array_equal(pictures[-1].before, stored)


def test_images_of_the_validation_come_first(tmp_path):
    root = write_folders(tmp_path / "data", ("train", "val", "test"))
    data = FOLDERS.format(type="paired", root=root)
    experiment = make_run(tmp_path, f"{data}\nvalidation: {{split: val, every: 1, metrics: [l1]}}", "pix2pix")
    assert {picture.split for picture in collect_pictures(experiment, tmp_path, device="cpu")} == {"val"}


@pytest.mark.parametrize("direction", ["a2b", "b2a"])
def test_the_target_of_a_pair_is_its_other_half(tmp_path, direction):
    root = write_folders(tmp_path / "data")
    experiment = make_run(tmp_path, FOLDERS.format(type="paired", root=root), "pix2pix", f"data.direction={direction}")
    pictures = collect_pictures(experiment, tmp_path, count=2, device="cpu")
    assert [picture.direction for picture in pictures] == [direction] * 2
    before, target = ("A", "B") if direction == "a2b" else ("B", "A")
    for index, picture in zip((0, 1), pictures, strict=True):
        for side, image in ((before, picture.before), (target, picture.target)):
            np.testing.assert_array_equal(image, np.asarray(Image.open(root / f"test{side}/test_{index}.png")))


def test_label_maps_are_shown_in_their_colours(tmp_path):
    ids = np.zeros((32, 32), np.uint8)
    ids[:, 16:] = 1
    for split in ("train", "test"):
        for name in ("labels", "images"):
            (tmp_path / f"data/{split}/{name}").mkdir(parents=True)
        for index in range(2):
            Image.fromarray(ids).save(tmp_path / f"data/{split}/labels/{index}.png")
            Image.fromarray(smooth_image((32, 32), index)).save(tmp_path / f"data/{split}/images/{index}.png")
    classes = "[{id: 0, name: sky, colour: [10, 20, 200]}, {id: 1, name: road, colour: [90, 80, 70]}]"
    data = f"{{type: labels, root: {tmp_path / 'data'}, classes: {classes}, load_size: 32, crop_size: 32}}"
    for direction, folder in (("a2b", tmp_path / "there"), ("b2a", tmp_path / "back")):
        experiment = make_run(folder, data, "pix2pix", f"data.direction={direction}")
        picture = collect_pictures(experiment, folder, count=1, device="cpu")[0]
        labels, photo = (picture.before, picture.target) if direction == "a2b" else (picture.target, picture.before)
        np.testing.assert_array_equal(labels, np.array([[10, 20, 200], [90, 80, 70]], np.uint8)[ids])
        np.testing.assert_array_equal(photo, smooth_image((32, 32), 0))
        assert picture.domains == (("label", "photo") if direction == "a2b" else ("photo", "label"))
        found = {tuple(map(int, colour)) for colour in picture.after.reshape(-1, 3)}
        assert (found <= {(10, 20, 200), (90, 80, 70)}) == (direction == "b2a")


def test_pictures_are_spread_over_the_data(tmp_path):
    experiment = make_run(tmp_path, "{length: 100}")
    names = [picture.name for picture in collect_pictures(experiment, tmp_path, count=4, device="cpu")]
    assert names[:4] == ["000000.png", "000025.png", "000050.png", "000075.png"]


def test_few_images_are_all_shown(tmp_path):
    experiment = make_run(tmp_path, "{length: 2}")
    assert len(collect_pictures(experiment, tmp_path, count=4, device="cpu")) == 4


def test_no_image_is_begun_after_the_time(tmp_path):
    experiment = make_run(tmp_path, "{length: 10}")
    pictures = collect_pictures(experiment, tmp_path, count=4, device="cpu", seconds=0)
    assert [picture.direction for picture in pictures] == ["a2b", "b2a"]


def test_an_image_that_breaks_is_left_out(tmp_path):
    root = write_folders(tmp_path / "data")
    experiment = make_run(tmp_path, FOLDERS.format(type="unpaired", root=root).replace("}", ", check: false}"))
    (root / "testA/test_0.png").write_bytes(b"broken")
    names = [picture.name for picture in collect_pictures(experiment, tmp_path, count=3, device="cpu")]
    assert names == ["test_1.png", "test_2.png"] * 2
    for index in (1, 2):
        (root / f"testA/test_{index}.png").write_bytes(b"broken")
    with pytest.raises(DataError, match=r"test_2\.png"):
        collect_pictures(experiment, tmp_path, count=3, device="cpu")


def test_random_numbers_of_the_process_are_left_alone(tmp_path):
    # Deep enough for dropout, which is the noise of pix2pix.
    experiment = make_run(tmp_path, "{length: 2, size: 128}", "pix2pix", "generator.num_downsamplings=7")
    torch.manual_seed(123)
    before = torch.random.get_rng_state()
    first = collect_pictures(experiment, tmp_path, device="cpu")
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.rand(3)
    for one, other in zip(first, collect_pictures(experiment, tmp_path, device="cpu"), strict=True):
        np.testing.assert_array_equal(one.after, other.after)


def test_a_model_of_nan_has_no_pictures(tmp_path):
    experiment = make_run(tmp_path, "{length: 4}")
    pipeline = experiment.build_pipeline()
    with torch.no_grad():
        next(pipeline.members["G"].parameters()).fill_(float("nan"))
    save_bundle(tmp_path / "model.safetensors", experiment.bundle_info(pipeline, 0), pipeline)
    with pytest.raises(I2IError, match="not finite"):
        collect_pictures(experiment, tmp_path, device="cpu")


def test_images_from_noise_are_shown_by_class(tmp_path):
    """Beside the class stands what generate makes of the same seeds."""
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "config.yaml").write_text(f"extends: {REPOSITORY}/configs/tiny/gan.yaml\n")
    experiment = Experiment.load(folder / "config.yaml")
    pipeline = experiment.build_pipeline()
    save_bundle(folder / "model.safetensors", experiment.bundle_info(pipeline, 0), pipeline)
    (sheet,) = collect_sheets(folder, rows=2, device="cpu")
    assert (
        main("generate", [str(folder), str(tmp_path / "made"), "--seeds", "0,1", "--class", "7", "--device", "cpu"])
        == 0
    )
    side, gap, header = 128, 4, 20
    for row in range(2):
        expected = np.asarray(Image.open(tmp_path / f"made/seed000{row}.png")).repeat(8, 0).repeat(8, 1)
        top, left = header + row * (side + gap), gap + 7 * (side + gap)
        np.testing.assert_array_equal(sheet.image[top : top + side, left : left + side, 0], expected)
    text = report_run(experiment, folder, "cpu").read_text()
    assert "Made from noise" in text and "i2i generate" in text and "i2i translate" not in text

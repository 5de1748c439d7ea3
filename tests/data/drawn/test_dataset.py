"""The embedded data set: drawn animals and the items made of them."""

import inspect
from itertools import islice

import cv2
import numpy as np
import pytest
import torch

from i2i.data.drawn.animals import draw_animal, draw_partners
from i2i.data.drawn.dataset import Synthetic, write_split
from i2i.images.files import load_image, to_tensor
from i2i.run.demo.stripes import stripe_energy

SEEDS = range(12)


@pytest.mark.parametrize("size", [32, 64, 100, 129, 256])
def test_a_scene_has_the_size_asked_for(size: int) -> None:
    scene = draw_animal(3, size, striped=True)
    assert scene.image.shape == (size, size, 3) and scene.image.dtype == np.uint8
    assert scene.mask.shape == (size, size) and scene.mask.dtype == np.bool_


def test_a_seed_always_gives_the_same_scene() -> None:
    before = [draw_partners(seed, 64) for seed in SEEDS]
    np.random.default_rng(0).random(100)
    after = [draw_partners(seed, 64) for seed in reversed(SEEDS)][::-1]
    for one, other in zip(before, after, strict=True):
        for i in (0, 1):
            np.testing.assert_array_equal(one[i].image, other[i].image)
            np.testing.assert_array_equal(one[i].mask, other[i].mask)


def test_seeds_give_different_scenes() -> None:
    assert len({draw_animal(seed, 64, striped=False).image.tobytes() for seed in range(50)}) == 50


def test_drawing_leaves_the_global_generator_alone() -> None:
    np.random.seed(0)
    expected = np.random.random()
    np.random.seed(0)
    draw_animal(0, 64, striped=False)
    assert np.random.random() == expected


@pytest.mark.parametrize("size", [64, 256])
def test_partners_differ_inside_the_mask_alone(size: int) -> None:
    for seed in SEEDS:
        plain, striped = draw_partners(seed, size)
        np.testing.assert_array_equal(plain.mask, striped.mask)
        changed = np.any(plain.image != striped.image, axis=-1)
        assert not changed[~plain.mask].any()
        assert changed[plain.mask].mean() > 0.8


def test_one_scene_equals_the_same_one_drawn_with_its_partner() -> None:
    for seed in SEEDS:
        for striped, partner in enumerate(draw_partners(seed, 64)):
            alone = draw_animal(seed, 64, bool(striped))
            np.testing.assert_array_equal(alone.image, partner.image)
            np.testing.assert_array_equal(alone.mask, partner.mask)


@pytest.mark.parametrize("striped", [False, True])
def test_a_seed_shows_one_scene_at_any_size(striped: bool) -> None:
    others = []
    for seed in SEEDS:
        small, large = draw_animal(seed, 64, striped), draw_animal(seed, 256, striped)
        reduced = cv2.resize(large.image, (64, 64), interpolation=cv2.INTER_AREA).astype(float)
        assert np.abs(reduced - small.image).mean() < 5  # of 255
        overlap = (small.mask & large.mask[2::4, 2::4]).sum() / (small.mask | large.mask[2::4, 2::4]).sum()
        assert overlap > 0.85
        others.append(np.abs(reduced - draw_animal(seed + 1, 64, striped).image).mean())
    assert np.mean(others) > 20  # so that the bound above tells scenes apart


def test_masks_cover_a_sensible_share_and_stay_off_the_border() -> None:
    masks = np.stack([draw_animal(seed, 64, striped=False).mask for seed in range(300)])
    shares = masks.mean((1, 2))
    assert shares.min() > 0.10 and shares.max() < 0.40
    assert not masks[:, 0].any() and not masks[:, -1].any() and not masks[:, :, 0].any() and not masks[:, :, -1].any()


def test_scenes_vary_in_place_direction_and_colour() -> None:
    scenes = [draw_partners(seed, 64)[0] for seed in range(100)]
    columns = [np.nonzero(scene.mask.any(0))[0] for scene in scenes]
    assert np.std([c.min() for c in columns]) > 2
    highest = [np.argwhere(scene.mask)[0, 1] for scene in scenes]  # column in the topmost row
    assert 0.3 < np.mean(np.array(highest) < [c.mean() for c in columns]) < 0.7  # ears left and right
    coats = np.array([np.median(scene.image[scene.mask], axis=0) for scene in scenes])
    assert (coats.std(0) > 25).all()
    assert np.array([scene.image[-4:].mean((0, 1)) for scene in scenes]).std(0).min() > 25


def test_the_animal_stands_out_from_the_ground_around_it() -> None:
    distances = []
    for seed in range(100):
        scene = draw_animal(seed, 64, striped=False)
        ring = cv2.dilate(scene.mask.astype(np.uint8), np.ones((9, 9), np.uint8)).astype(bool) & ~scene.mask
        ring[:32] = False  # below the horizon
        distances.append(np.abs(np.median(scene.image[scene.mask], 0) - np.median(scene.image[ring], 0)).sum())
    assert min(distances) > 40


def test_pictures_use_the_range_without_clipping_much() -> None:
    images = np.stack([draw_animal(seed, 64, striped=True).image for seed in range(50)])
    assert images.min() < 40 and images.max() > 225
    assert (images == 255).mean() < 0.05 and (images == 0).mean() < 0.01


@pytest.mark.parametrize("size", [64, 128])
def test_stripes_are_told_from_plain_coats_by_their_energy(size: int) -> None:
    plain, striped = np.array(
        [[stripe_energy(scene.image, scene.mask) for scene in draw_partners(seed, size)] for seed in range(150)]
    ).T
    median = np.median(striped)
    assert plain.max() < 0.4 * median
    assert np.mean(striped >= 0.8 * median) >= 0.97


def test_stripes_keep_the_brightness_of_a_middling_coat() -> None:
    means = np.array([[s.image[s.mask].mean() for s in draw_partners(seed, 64)] for seed in range(100)])
    plain, striped = means.mean(0)
    assert abs(plain - striped) < 40


def test_the_rest_of_the_picture_tells_the_colour_of_the_plain_coat() -> None:
    """What the way back needs: with a mane of one colour, the plain coat could be had from memory only."""
    from i2i.data.drawn.animals import COATS

    hairs = np.array([coat.hair for coat in COATS], float)
    gaps = np.abs(hairs[:, None] - hairs[None]).sum(-1) + 1e3 * np.eye(len(COATS))
    assert gaps.min() > 8


@pytest.mark.parametrize(
    ("seed", "size", "message"),
    [(-1, 64, "seed must be at least 0, got -1"), (0, 31, "size must be at least 32, got 31")],
)
def test_drawing_refuses_what_it_cannot_draw(seed: int, size: int, message: str) -> None:
    for draw in (lambda: draw_animal(seed, size, striped=True), lambda: draw_partners(seed, size)):
        with pytest.raises(ValueError, match=f"^{message}$"):
            draw()


# --- the data set ----------------------------------------------------------------------------------------------------


def test_an_item_holds_both_domains_their_truths_and_masks() -> None:
    dataset = Synthetic(length=20)
    item = dataset[12]
    assert len(dataset) == 20 and dataset.channels == {"a": 3, "b": 3}
    assert item["a_path"] == "synthetic/animals/train/plain/000012.png"
    assert item["b_path"] == "synthetic/animals/train/striped/000012.png"
    for side, truth in (("a", "a_truth"), ("b", "b_truth")):
        mask = item[f"{side}_mask"]
        assert mask.dtype == torch.bool and mask.shape == (1, 64, 64)
        for name in (side, truth):
            assert item[name].dtype == torch.float32 and item[name].shape == (3, 64, 64)
            assert item[name].min() >= -1 and item[name].max() <= 1 and item[name].max() > 0.5
        assert torch.equal(item[side][:, ~mask[0]], item[truth][:, ~mask[0]])
        assert not torch.equal(item[side], item[truth])
    assert not torch.equal(item["a"], item["b_truth"])  # another animal


def test_plain_is_a_and_striped_is_b() -> None:
    (a, a_truth), (b, b_truth) = Synthetic().draw(0)
    for plain, striped in ((a, a_truth), (b_truth, b)):
        assert stripe_energy(plain.image, plain.mask) < 0.5 * stripe_energy(striped.image, striped.mask)


def test_paired_items_are_true_partners() -> None:
    item = Synthetic(paired=True)[5]
    assert torch.equal(item["b"], item["a_truth"]) and torch.equal(item["a"], item["b_truth"])
    assert torch.equal(item["a_mask"], item["b_mask"])
    assert torch.equal(item["a"], Synthetic()[5]["a"])


def test_items_depend_on_their_index_alone() -> None:
    one, other = Synthetic(length=8), Synthetic(length=80)
    forwards = [one.get(i, np.random.default_rng(1)) for i in range(8)]
    backwards = [other.get(i, np.random.default_rng(2)) for i in reversed(range(8))][::-1]
    for first, second in zip(forwards, backwards, strict=True):
        for name in ("a", "b", "a_truth", "b_truth", "a_mask", "b_mask"):
            assert torch.equal(first[name], second[name])


def test_no_picture_occurs_twice_in_or_across_splits() -> None:
    seen = set()
    for split in ("train", "test"):
        dataset = Synthetic(length=60, size=32, split=split)
        for index in range(60):
            item = dataset[index]
            seen |= {item[name].numpy().tobytes() for name in ("a", "b", "a_truth", "b_truth")}
    assert len(seen) == 2 * 60 * 4


def test_splits_cannot_meet_however_long_they_are() -> None:
    huge = 2**38
    assert Synthetic(length=huge, split="train", size=32)[huge - 1]["a"].shape == (3, 32, 32)
    last, first = Synthetic(length=huge, size=32).draw(huge - 1), Synthetic(split="test", size=32).draw(0)
    assert not np.array_equal(last[0][0].image, first[0][0].image)


def test_iteration_ends() -> None:
    assert len(list(islice(Synthetic(length=3, size=32), 5))) == 3
    for index in (-1, 3):
        with pytest.raises(IndexError, match="index must be from 0 to 2"):
            Synthetic(length=3)[index]


@pytest.mark.parametrize(
    ("arguments", "size"),
    [
        ({"size": 48}, 48),
        ({"load_size": 72}, 72),
        ({"crop_size": 32, "load_size": 72, "size": 48}, 32),
        ({"crop_size": 40}, 40),
    ],
)
def test_the_common_size_keys_stand_in_for_size(arguments: dict[str, int], size: int) -> None:
    dataset = Synthetic(**arguments)
    assert dataset[0]["a"].shape == (3, size, size) and dataset.size == (size, size)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": 31}, "size must be at least 32, got 31"),
        ({"load_size": 8}, "load_size must be at least 32, got 8"),
        ({"crop_size": 0}, "crop_size must be at least 32, got 0"),
        ({"length": 0}, "length must be at least 1, got 0"),
        ({"split": "val"}, "split must be one of train, test, got 'val'"),
        ({"domain": "cats"}, "domain must be one of animals, maps, streets, got 'cats'"),
    ],
)
def test_arguments_out_of_range_are_named(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        Synthetic(**arguments)
    assert "root" not in inspect.signature(Synthetic).parameters


def test_items_collate() -> None:
    batch = next(iter(torch.utils.data.DataLoader(Synthetic(length=4, size=32), batch_size=4)))
    assert batch["a"].shape == (4, 3, 32, 32) and batch["a_mask"].shape == (4, 1, 32, 32) and len(batch["a_path"]) == 4


@pytest.mark.parametrize("paired", [False, True])
def test_a_split_is_written_as_the_data_set_gives_it(tmp_path, paired: bool) -> None:
    folders = write_split(tmp_path / "new" / "test", 3, size=40, paired=paired)
    assert folders == (tmp_path / "new" / "test" / "plain", tmp_path / "new" / "test" / "striped")
    dataset = Synthetic(length=3, size=40, split="test", paired=paired)
    for index in range(3):
        for folder, side in zip(folders, "ab", strict=True):
            image, _ = load_image(folder / f"{index:06}.png")
            assert torch.equal(to_tensor(image), dataset[index][side])
    assert len(list(tmp_path.rglob("*.png"))) == 6

"""The drawn domains that have classes: maps and streets."""

from types import ModuleType

import cv2
import numpy as np
import pytest
import torch

from i2i.data.drawn import maps, streets
from i2i.data.drawn.dataset import Synthetic, write_split
from i2i.data.drawn.painting import Canvas, Material, Scene
from i2i.data.drawn.town import plan_town
from i2i.images.files import load_image

SEEDS = range(10)
# Module, and which of the two partners shows the labels.
DOMAINS = [pytest.param(maps, 1, id="maps"), pytest.param(streets, 0, id="streets")]
each_domain = pytest.mark.parametrize(("module", "label_side"), DOMAINS)


def _draw_all(module: ModuleType, size: int, seeds: range) -> list[tuple[Scene, Scene]]:
    return [module.draw_partners(seed, size) for seed in seeds]


@pytest.mark.parametrize("size", [32, 64, 100, 129, 256])
@each_domain
def test_scenes_have_the_size_asked_for(module: ModuleType, label_side: int, size: int) -> None:
    for scene in module.draw_partners(3, size):
        assert scene.image.shape == (size, size, 3) and scene.image.dtype == np.uint8
        assert scene.ids is not None and scene.ids.shape == (size, size) and scene.ids.dtype == np.uint8
        assert scene.mask.shape == (size, size) and scene.mask.dtype == np.bool_ and scene.mask.all()


@each_domain
def test_a_seed_always_gives_the_same_scene(module: ModuleType, label_side: int) -> None:
    np.random.seed(0)
    expected = np.random.random()
    np.random.seed(0)
    before = _draw_all(module, 64, SEEDS)
    after = _draw_all(module, 64, range(len(SEEDS) - 1, -1, -1))[::-1]
    for one, other in zip(before, after, strict=True):
        for side in (0, 1):
            np.testing.assert_array_equal(one[side].image, other[side].image)
    assert len({scene.image.tobytes() for pair in before for scene in pair}) == 2 * len(SEEDS)
    assert np.random.random() == expected


@each_domain
def test_the_label_side_shows_the_ids_in_the_colours_of_the_classes(module: ModuleType, label_side: int) -> None:
    for seed in SEEDS:
        pair = module.draw_partners(seed, 64)
        np.testing.assert_array_equal(pair[0].ids, pair[1].ids)
        for one in module.CLASSES:
            assert (pair[label_side].image[pair[0].ids == one.id] == one.colour).all()


@each_domain
def test_classes_can_be_had_one_hot(module: ModuleType, label_side: int) -> None:
    name = module.__name__.rpartition(".")[2]
    dataset = Synthetic(name, size=32, length=4, encoding="onehot", paired=True)  # type: ignore[arg-type]
    labels, picture = ("a", "b") if label_side == 0 else ("b", "a")
    assert dataset.channels == {labels: len(module.CLASSES), picture: 3}
    for index in range(4):
        item, ((scene, _), _) = dataset[index], dataset.draw(index)
        assert (item[labels].sum(0) == 1).all() and item[picture].min() < 0
        np.testing.assert_array_equal(item[labels].argmax(0).numpy(), scene.ids)
        assert torch.equal(item[f"{picture}_truth"], item[labels]), "the truth is encoded as its side is"
        np.testing.assert_array_equal(dataset.codecs[labels].decode(item[labels])[..., 0], scene.ids)


def test_animals_have_no_classes() -> None:
    with pytest.raises(ValueError, match="encoding must be palette"):
        Synthetic("animals", encoding="onehot")


@each_domain
def test_classes_have_names_and_colours_of_their_own(module: ModuleType, label_side: int) -> None:
    assert [one.id for one in module.CLASSES] == list(range(len(module.CLASSES)))
    assert len({one.name for one in module.CLASSES}) == len(module.CLASSES)
    colours = np.array([one.colour for one in module.CLASSES], int)
    gaps = np.abs(colours[:, None] - colours[None]).sum(-1) + 1000 * np.eye(len(colours), dtype=int)
    assert gaps.min() > 60  # of 765: a network's colour is not mistaken easily


@pytest.mark.parametrize(("module", "least"), [(maps, 0.02), (streets, 0.001)])
def test_every_class_occurs_and_none_covers_all(module: ModuleType, least: float) -> None:
    ids = np.stack([pair[0].ids for pair in _draw_all(module, 64, range(50))])
    shares = np.bincount(ids.ravel(), minlength=len(module.CLASSES)) / ids.size
    assert len(shares) == len(module.CLASSES) and shares.min() > least and shares.max() < 0.6


@each_domain
def test_a_seed_shows_one_scene_at_any_size(module: ModuleType, label_side: int) -> None:
    others = []
    for seed in SEEDS:
        small, large = (module.draw_partners(seed, size) for size in (64, 256))
        assert (small[0].ids == large[0].ids[2::4, 2::4]).mean() > 0.9
        reduced = cv2.resize(large[1 - label_side].image, (64, 64), interpolation=cv2.INTER_AREA).astype(float)
        assert np.abs(reduced - small[1 - label_side].image).mean() < 12  # of 255
        others.append(np.abs(reduced - module.draw_partners(seed + 1, 64)[1 - label_side].image).mean())
    assert np.mean(others) > 25  # so that the bound above tells scenes apart


@pytest.mark.parametrize(
    ("module", "label_side", "names"), [(maps, 1, ("land", "building")), (streets, 0, ("building", "car"))]
)
def test_labels_do_not_tell_what_the_picture_looks_like(
    module: ModuleType, label_side: int, names: tuple[str, ...]
) -> None:
    """Colours of a class differ from picture to picture and from pixel to pixel."""
    number = {one.name: one.id for one in module.CLASSES}
    for name in names:
        means, spreads = [], []
        for pair in _draw_all(module, 64, range(25)):
            pixels = pair[1 - label_side].image[pair[0].ids == number[name]].astype(float)
            if len(pixels) > 20:
                means.append(pixels.mean(0))
                spreads.append(pixels.std(0).mean())
        assert np.std(means, axis=0).mean() > 8 and np.mean(spreads) > 10


def test_a_street_is_seen_in_perspective() -> None:
    """Sky above, road below and wider towards the camera, no sky under the road."""
    number = {one.name: one.id for one in streets.CLASSES}
    for seed in range(40):
        ids = streets.draw_partners(seed, 64)[0].ids
        assert ids is not None
        rows = np.arange(64)[:, None] * np.ones(64)
        assert rows[ids == number["sky"]].mean() < rows[ids == number["building"]].mean() + 8
        assert rows[ids == number["sky"]].max() < 40 < rows[ids == number["road"]].mean()
        width = (ids == number["road"]).sum(1)
        assert width[56:].mean() > width[40:48].mean() or (ids[40:] == number["car"]).mean() > 0.1


def test_roads_of_a_map_reach_its_border_and_cross_the_water() -> None:
    number = {one.name: one.id for one in maps.CLASSES}
    bridges = 0
    for seed in range(40):
        ids = maps.draw_partners(seed, 64)[1].ids
        assert ids is not None
        roads = np.isin(ids, (number["street"], number["main road"]))
        assert np.concatenate([roads[0], roads[-1], roads[:, 0], roads[:, -1]]).any()
        near_water = cv2.dilate((ids == number["water"]).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
        bridges += int((near_water & (ids == number["main road"])).sum() > 20)
    assert bridges >= 3


def test_no_building_stands_on_a_road_or_in_the_water() -> None:
    buildings = 0
    for seed in range(25):
        town = plan_town(np.random.default_rng(seed))
        taken = [np.stack([o.real, o.imag], -1).astype(np.float32) for o in (*town.streets, *town.mains, *town.water)]
        for corners in (*town.houses, *town.blocks):
            buildings += 1
            for point in (*corners, corners.mean(), *((corners + np.roll(corners, 1)) / 2)):
                if 0 < point.real < 1 and 0 < point.imag < 1:
                    inside = [cv2.pointPolygonTest(outline, (point.real, point.imag), True) for outline in taken]
                    assert max(inside, default=-1.0) < 0.008
    assert buildings > 200


@pytest.mark.parametrize(
    ("seed", "size", "message"),
    [(-1, 64, "seed must be at least 0, got -1"), (0, 31, "size must be at least 32, got 31")],
)
@each_domain
def test_drawing_refuses_what_it_cannot_draw(
    module: ModuleType, label_side: int, seed: int, size: int, message: str
) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        module.draw_partners(seed, size)


# --- the canvas ------------------------------------------------------------------------------------------------------


def test_a_canvas_paints_in_order_and_takes_ids_at_the_centres() -> None:
    canvas = Canvas(32)
    canvas.add(Material(0, (10, 20, 30)))
    square = np.array([0.25 + 0.25j, 0.75 + 0.25j, 0.75 + 0.75j, 0.25 + 0.75j])
    canvas.fill(canvas.add(Material(4, (200, 100, 50))), [square])
    canvas.fill(canvas.add(Material(2, (0, 0, 0))), [square / 2 + 0.25 + 0.25j])
    ids = canvas.ids()
    assert (ids[8:24, 8:24] != 0).all() and (ids[:8] == 0).all() and (ids[24:] == 0).all()
    assert (ids[12:20, 12:20] == 2).all() and (ids[9:11, 9:23] == 4).all()
    flat = np.zeros((32, 32), np.float32)
    picture = canvas.render(flat, flat, shadow=0.5)
    np.testing.assert_allclose(picture[2, 2] * 255, (10, 20, 30), atol=0.01)
    np.testing.assert_allclose(picture[10, 10] * 255, (200, 100, 50), atol=0.01)


def test_a_canvas_has_room_for_many_materials() -> None:
    canvas = Canvas(32)
    for number in range(400):
        canvas.add(Material(number % 7, (number % 200, 0, 0)))
    canvas.fill(399, [np.array([0, 1, 1 + 1j, 1j])])
    assert (canvas.ids() == 399 % 7).all()
    assert canvas.render(np.zeros((32, 32)), np.zeros((32, 32)), 0.0)[16, 16, 0] * 255 == pytest.approx(199)


def test_shadows_fall_on_ground_alone() -> None:
    canvas = Canvas(32)
    canvas.add(Material(0, (100, 100, 100), ground=True))
    right = np.array([0.5, 1, 1 + 1j, 0.5 + 1j])
    canvas.fill(canvas.add(Material(1, (100, 100, 100))), [right])
    canvas.darken([np.array([0, 1, 1 + 0.5j, 0.5j])])
    picture = canvas.render(np.zeros((32, 32), np.float32), np.zeros((32, 32), np.float32), shadow=0.5)
    quarters = [
        picture[rows, columns].mean() * 255
        for rows in (slice(2, 13), slice(19, 30))
        for columns in (slice(2, 13), slice(19, 30))
    ]
    np.testing.assert_allclose(quarters, (50, 100, 100, 100), atol=1)


def test_noise_lightens_and_darkens_in_proportion_to_grain() -> None:
    canvas = Canvas(32)
    canvas.add(Material(0, (100, 100, 100), grain=0.2))
    noise = np.linspace(-1, 1, 32 * 32, dtype=np.float32).reshape(32, 32)
    picture = canvas.render(noise, 0 * noise, shadow=0.0)
    np.testing.assert_allclose(picture[..., 0] * 255, 100 * (1 + 0.2 * noise), atol=0.2)


# --- the data set ----------------------------------------------------------------------------------------------------

NAMES = {"maps": ("aerial", "map"), "streets": ("label", "street")}


@pytest.mark.parametrize("domain", NAMES)
def test_an_item_holds_both_sides_and_the_truth(domain: str) -> None:
    dataset = Synthetic(domain, length=4)
    item = dataset[2]
    assert dataset.channels == {"a": 3, "b": 3} and dataset.domains == NAMES[domain]
    assert (item["a_path"], item["b_path"]) == tuple(
        f"synthetic/{domain}/train/{name}/000002.png" for name in NAMES[domain]
    )
    for side in "ab":
        for name in (side, f"{side}_truth"):
            assert item[name].shape == (3, 64, 64) and item[name].dtype == torch.float32
            assert item[name].min() >= -1 and item[name].max() <= 1
        assert item[f"{side}_mask"].shape == (1, 64, 64) and item[f"{side}_mask"].all()
        assert not torch.equal(item[side], item[f"{side}_truth"])
    assert not torch.equal(item["a"], item["b_truth"]) and not torch.equal(item["b"], item["a_truth"])  # another place


@pytest.mark.parametrize("domain", NAMES)
def test_paired_items_are_true_partners(domain: str) -> None:
    item = Synthetic(domain, paired=True)[5]
    assert torch.equal(item["b"], item["a_truth"]) and torch.equal(item["a"], item["b_truth"])
    assert torch.equal(item["a"], Synthetic(domain)[5]["a"])


@pytest.mark.parametrize(("domain", "module"), [("maps", maps), ("streets", streets)])
def test_the_data_set_names_the_classes_of_its_scenes(domain: str, module: ModuleType) -> None:
    dataset = Synthetic(domain, paired=True)
    assert dataset.classes == module.CLASSES
    (a, a_truth), _ = dataset.draw(0)
    assert a.ids is not None and a_truth.ids is not None and int(a.ids.max()) < len(dataset.classes)
    assert Synthetic("animals").classes == ()


def test_a_split_of_labels_is_written_in_colours(tmp_path) -> None:
    labels, photos = write_split(tmp_path, 2, size=40, domain="streets", paired=True)
    assert (labels.name, photos.name) == ("label", "street")
    (a, b), _ = Synthetic("streets", 40, 2, "test", paired=True).draw(1)
    np.testing.assert_array_equal(load_image(labels / "000001.png")[0], a.image)
    np.testing.assert_array_equal(load_image(photos / "000001.png")[0], b.image)

import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from i2i.core.errors import ArgumentError, DataError
from i2i.data.augment.augmentation import build_compose
from i2i.data.augment.transforms import PRESETS, Transforms, evaluation_spec, preset

PAIR = {"a": "image", "b": "image"}
RNG = np.random.default_rng(5)
IMAGE = RNG.integers(0, 256, (60, 80, 3), dtype=np.uint8)
RANDOM = [  # some draw from Python's generator, some from numpy's, some from both
    {"type": "RandomResizedCrop", "size": [32, 32], "scale": [0.3, 1.0]},
    {"type": "HorizontalFlip", "p": 0.5},
    {"type": "OneOf", "transforms": [{"type": "ColorJitter", "p": 1}, {"type": "GaussNoise", "p": 1}], "p": 0.8},
    {"type": "SomeOf", "n": 1, "transforms": [{"type": "Affine", "rotate": [-30, 30]}, {"type": "GridDistortion"}]},
    {"type": "ElasticTransform", "p": 0.5},
    {"type": "CoarseDropout", "p": 0.5},
    {"type": "Sequential", "transforms": [{"type": "RandomGamma"}, {"type": "ISONoise"}], "p": 0.7},
]


def rng(*seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def run(transforms: Transforms, seed: int, **images: np.ndarray) -> dict[str, np.ndarray]:
    return transforms(images or {"a": IMAGE}, rng(seed), "x.png")


def single(spec: object, load: object = 40, crop: object = 32) -> Transforms:
    return Transforms(spec, load, crop, {"a": "image"})


def test_presets_are_what_their_names_say() -> None:
    kinds = {name: [node["type"] for node in preset(name, 40, 32)] for name in PRESETS}
    words = {"Resize": "resize", "RandomCrop": "crop", "HorizontalFlip": "flip"}
    assert {name: "_".join(words[kind] for kind in types) or "none" for name, types in kinds.items()} == {
        name: name for name in PRESETS
    }
    assert preset("resize_crop", (40, 50), (30, 20))[0]["width"] == 50
    assert preset("resize_crop", (40, 50), (30, 20))[1]["height"] == 30
    assert preset("resize", 40, 32)[0]["height"] == 32
    assert preset("resize_crop", None, 32)[0]["type"] == "RandomCrop"


def test_preset_errors() -> None:
    for arguments, message, path in [
        (("resize_crop_flop", 40, 32), "did you mean 'resize_crop_flip'", "transforms"),
        (("resize_crop", 32, 40), "crop_size 40 x 40 is larger than load_size 32 x 32", "crop_size"),
        (("resize_crop", (40, 30), (30, 40)), "crop_size 30 x 40 is larger", "crop_size"),
        (("crop", 40, None), "needs a crop_size", "crop_size"),
    ]:
        with pytest.raises(ArgumentError, match=message) as error:
            preset(*arguments)
        assert error.value.path == (path,)


@pytest.mark.parametrize("size", [(40, 32), ((40, 48), (32, 24))])
def test_sizes(size: tuple) -> None:
    transforms = single("resize_crop_flip", *size)
    expected = (32, 32) if size[1] == 32 else (32, 24)
    assert transforms.size == expected
    assert run(transforms, 1)["a"].shape == (*expected, 3)


def test_size_of_lists() -> None:
    assert single([{"type": "RandomResizedCrop", "size": [32, 24]}, {"type": "HorizontalFlip"}]).size == (32, 24)
    assert single([{"type": "SmallestMaxSize", "max_size": 32}]).size is None
    assert single([]).size is None


def test_shrinking_does_not_alias() -> None:
    checks = (np.indices((120, 120)).sum(0)[..., None] % 2 * 255).astype(np.uint8)
    resize = {"type": "Resize", "height": 32, "width": 32}
    for spec in ("resize", [resize], [{"type": "LongestMaxSize", "max_size": 32}]):
        small = run(single(spec), 1, a=checks)["a"]
        assert small.std() < 20, spec  # plain linear interpolation gives a standard deviation of 90
        assert abs(small.mean() - 127.5) < 2


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_channels_and_types_are_kept(channels: int, dtype: type) -> None:
    image = RNG.integers(0, np.iinfo(dtype).max, (60, 80, channels)).astype(dtype)
    output = run(single("resize_crop_flip"), 3, a=image)["a"]
    assert output.shape == (32, 32, channels)
    assert output.dtype == (np.uint8 if dtype == np.uint8 else np.float32)
    assert output.min() >= 0 and output.max() <= (255 if dtype == np.uint8 else 1)
    assert abs(output.mean() / (255 if dtype == np.uint8 else 1) - 0.5) < 0.05


def test_none_changes_nothing() -> None:
    assert run(single("none"), 1)["a"] is IMAGE


@pytest.mark.parametrize(
    "spec",
    [
        "resize_crop_flip",
        [
            {"type": "Resize", "height": 64, "width": 64, "interpolation": "nearest", "area_for_downscale": None},
            {"type": "RandomCrop", "height": 48, "width": 40},
            {"type": "HorizontalFlip", "p": 0.5},
            {"type": "Rotate", "limit": 40, "p": 1, "interpolation": "nearest", "border_mode": "reflect"},
            {"type": "RandomRotate90", "p": 0.5},
            {"type": "OneOf", "transforms": [{"type": "VerticalFlip"}, {"type": "Transpose"}], "p": 0.7},
        ],
    ],
)
def test_pairs_get_one_geometry(spec: object) -> None:
    """Each pixel of a says where it was; b is the same picture in other values, so that it must stay in step."""
    rows, columns = np.indices((60, 80))
    a = np.stack([rows * 3, columns * 3, rows * 0], axis=-1).astype(np.uint8)
    b = 255 - a
    transforms = Transforms(spec, 64, 40, PAIR)
    distinct = set()
    for seed in range(20):
        output = run(transforms, seed, a=a, b=b)
        inside = output["a"].sum(-1) > 0  # what a border fills in is not inverted
        difference = np.abs(output["a"].astype(int) + output["b"] - 255)
        assert (difference[inside] <= 1).all()
        distinct.add(output["a"].tobytes())
    assert len(distinct) > 15


def test_masks_are_not_interpolated() -> None:
    labels = RNG.choice(np.array([0, 7, 200], np.uint8), (60, 80, 1))
    nodes = [{"type": "Resize", "height": 97, "width": 33}, {"type": "Rotate"}]
    transforms = Transforms(nodes, 1, 1, {"a": "image", "b": "mask"})
    assert set(np.unique(run(transforms, 2, a=IMAGE, b=labels)["b"])) == {0, 7, 200}


@pytest.mark.parametrize("spec", ["resize_crop_flip", RANDOM])
def test_all_randomness_comes_from_the_generator(spec: object) -> None:
    import random

    first, second = Transforms(spec, 40, 32, PAIR), pickle.loads(pickle.dumps(Transforms(spec, 40, 32, PAIR)))
    for seed in range(12, 24):  # a different order and different global states must not matter
        run(second, seed + 1, a=IMAGE, b=IMAGE)
    outputs = []
    for seed in range(12):
        random.seed(seed)
        np.random.seed(seed)
        outputs.append(run(first, seed, a=IMAGE, b=IMAGE)["b"])
    random.seed(99)
    np.random.seed(99)
    for seed in reversed(range(12)):
        np.testing.assert_array_equal(run(second, seed, a=IMAGE, b=IMAGE)["b"], outputs[seed])
    assert len({output.tobytes() for output in outputs}) > 6


def test_threads_do_not_share_random_state() -> None:
    transforms = single(RANDOM)
    expected = [run(transforms, seed)["a"] for seed in range(40)]
    with ThreadPoolExecutor(4) as pool:
        for output, other in zip(pool.map(lambda seed: run(transforms, seed)["a"], range(40)), expected, strict=True):
            np.testing.assert_array_equal(output, other)


def test_a_crop_larger_than_the_image_names_file_and_ways_on() -> None:
    with pytest.raises(DataError) as error:
        run(single("crop", None, 70), 1)
    assert error.value.message == "x.png: is smaller than the crop, (height, width) (70, 70) of (60, 80)"
    assert "load_size" in error.value.hints[0] and "PadIfNeeded" in error.value.hints[1]


def test_failing_transforms_name_the_file() -> None:
    with pytest.raises(DataError, match="^x.png: the transforms fail: .*"):
        run(single([{"type": "ToSepia", "p": 1}]), 1, a=IMAGE[..., :2].copy())


def test_transforms_that_change_channels_are_caught() -> None:
    with pytest.raises(DataError, match=r"^x.png: the transforms turn 1 channels .* shape \(60, 80, 3\)"):
        run(single([{"type": "ToRGB", "p": 1}]), 1, a=IMAGE[..., :1].copy())


@pytest.mark.parametrize(
    ("node", "message", "path"),
    [
        ("HorizontalFlip", "needs a type, as in", ()),
        ({"p": 0.5}, "needs a type, as in", ()),
        ({"type": "HorizontalFlap"}, "no transform 'HorizontalFlap', did you mean 'HorizontalFlip'?", ("type",)),
        ({"type": "Compose", "transforms": []}, "no transform 'Compose'", ("type",)),
        ({"type": "RandomCrop", "heigth": 3, "width": 3}, "no argument 'heigth', did you mean 'height'", ("heigth",)),
        ({"type": "HorizontalFlip", "zzz": 3}, "HorizontalFlip has no argument 'zzz', only p", ("zzz",)),
        ({"type": "RandomCrop", "width": 3}, "RandomCrop needs height", ()),
        ({"type": "RandomCrop", "width": 3, "height": 0}, "RandomCrop.height should be greater", ("height",)),
        ({"type": "HorizontalFlip", "p": 2}, "HorizontalFlip.p should be a number from 0 to 1, got 2", ("p",)),
        ({"type": "RandomResizedCrop", "size": [3, 3], "scale": [2, 1]}, "RandomResizedCrop.scale", ("scale",)),
        ({"type": "ColorJitter", "hue": "x"}, "ColorJitter.hue should be", ("hue",)),
        ({"type": "Rotate", "border_mode": "mirror"}, "border_mode is one of constant,", ("border_mode",)),
        ({"type": "Rotate", "interpolation": "cubik"}, "did you mean 'cubic'", ("interpolation",)),
        ({"type": "Normalize"}, "Normalize is not needed", ("type",)),
        ({"type": "ToTensorV2"}, "ToTensorV2 is not needed", ("type",)),
        ({"type": "FDA"}, "FDA cannot be used: it needs fda_metadata", ()),
        ({"type": "OneOf", "transforms": {"type": "Blur"}}, "a list of transforms is needed", ("transforms",)),
        ({"type": "OneOf", "transforms": [{"type": "Blur"}, {"type": "Blurr"}]}, "'Blur'?", ("transforms", 1, "type")),
        ({"type": "OneOf", "transforms": "Blur"}, "a list of transforms is needed", ("transforms",)),
        ({"type": "OneOf", "pp": 1, "transforms": []}, "OneOf has no argument 'pp'", ("pp",)),
    ],
)
def test_wrong_nodes_are_placed(node: object, message: str, path: tuple) -> None:
    with pytest.raises(ArgumentError) as error:
        Transforms([{"type": "HorizontalFlip"}, node], 40, 32, PAIR)
    assert message in str(error.value) and "\n" not in str(error.value)
    assert error.value.path == ("transforms", 1, *path)


@pytest.mark.filterwarnings("ignore::UserWarning")  # albumentations recommends some of its transforms over others
def test_every_transform_of_the_library_can_be_named() -> None:
    """Whatever it needs is said in one line; nothing else comes out than a pipeline or such an error."""
    import albumentations

    kinds = [name for name, value in vars(albumentations).items() if isinstance(value, type)]
    built = 0
    for name in kinds:
        try:
            build_compose([{"type": name}], {}, ("transforms",))
            built += 1
        except ArgumentError as error:
            assert "\n" not in str(error), name
    assert built > 60


def test_evaluation_is_calm() -> None:
    assert evaluation_spec("resize_crop_flip") == "resize"
    assert evaluation_spec("crop_flip") == "none"
    assert evaluation_spec(RANDOM) == "resize"
    assert evaluation_spec([{"type": "RandomCrop", "height": 3, "width": 3}]) == "none"


def test_equal_sizes() -> None:
    assert single("resize_crop").equalizes_sizes and not single("crop").equalizes_sizes
    assert not single([{"type": "Resize", "height": 3, "width": 3, "p": 0.5}]).equalizes_sizes


def test_deep_images_stay_in_range_where_the_kernel_overshoots():
    edge = np.zeros((64, 64, 3), np.uint16)
    edge[:, 32:] = 65535
    transforms = Transforms("resize", 100, None, {"a": "image"})
    result = transforms({"a": edge}, np.random.default_rng(0), "edge.png")["a"]
    assert result.dtype == np.float32
    assert result.min() == 0 and result.max() == 1

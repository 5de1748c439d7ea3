"""A model as a function of seeds."""

from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from i2i import Generator
from i2i.cli import main
from i2i.core.errors import ConfigError, I2IError
from i2i.core.registry import DATASETS, GENERATORS, PIPELINES
from i2i.data.base import Dataset
from i2i.images.codecs import ImageCodec
from i2i.inference.bundle.bundle import load_bundle
from i2i.pipelines.gan import GAN
from tests.bundles import make_bundle


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return make_bundle(tmp_path_factory.mktemp("model") / "digits.safetensors", "gan")


@pytest.fixture(scope="module")
def generator(bundle):
    return Generator.load(bundle, device="cpu")


def test_an_image_is_that_of_its_seeds_latent(generator, bundle):
    """z = RandomState(seed).randn(1, z_dim), as the published StyleGAN code has it; float64 made float32."""
    images = generator([5, 0, 2**32 - 1], label=7)
    assert images.shape == (3, 16, 16, 1) and images.dtype == np.uint8
    _, pipeline = load_bundle(bundle)
    pipeline.eval()
    for seed, image in zip((5, 0, 2**32 - 1), images, strict=True):
        z = torch.from_numpy(np.random.RandomState(seed).randn(1, 16)).float()
        with torch.no_grad():
            expected = pipeline.G(z, torch.tensor([7]))
        rounded = ((expected[0, 0].double() + 1) * 127.5).round().numpy()
        assert abs(rounded - image[..., 0]).max() <= 1


def test_a_seed_gives_the_same_bits_in_any_company(generator):
    together = generator(range(10))
    for seed in (0, 3, 9):
        np.testing.assert_array_equal(generator([seed])[0], together[seed])
    np.testing.assert_array_equal(generator([9, 3])[1], together[3])


def test_labels_are_drawn_from_the_seed_or_given(generator):
    drawn = generator.labels(range(200)).tolist()
    assert set(drawn) == set(range(10)) and drawn == generator.labels(range(200)).tolist()
    assert generator.labels([1, 2], 4).tolist() == [4, 4]
    assert generator.class_of("4") == 4
    for wrong in ("10", "four", "-1"):
        with pytest.raises(I2IError, match="no class"):
            generator.class_of(wrong)
    with pytest.raises(I2IError, match="no class 10: the model knows 10"):
        generator([0], 10)
    with pytest.raises(I2IError, match="has classes, not attributes"):
        generator([0], {"smiling": 1})


def test_a_model_without_labels(tmp_path):
    plain = Generator.load(make_bundle(tmp_path / "m.safetensors", "gan", "data.labels=false"), device="cpu")
    assert plain([1, 2]).shape == (2, 16, 16, 1)
    with pytest.raises(I2IError, match="this model has no labels"):
        plain([1], 3)
    with pytest.raises(I2IError, match="this model has no classes"):
        plain.class_of("3")


class Faces(Dataset):
    codecs: ClassVar[Any] = {"image": ImageCodec(1)}
    size, attributes = (16, 16), ("smiling", "old")

    def __len__(self):
        return 5

    def get(self, index, rng):
        return {"image": torch.zeros(1, 16, 16), "label": torch.tensor([index % 2, 0.5]), "path": str(index)}


def test_attributes_by_name(tmp_path):
    DATASETS.register("faces")(Faces)
    model = Generator.load(make_bundle(tmp_path / "m.safetensors", "gan", "data={type: faces}"), device="cpu")
    drawn = model.labels(range(50))
    assert drawn.shape == (50, 2) and set(drawn.flatten().tolist()) == {0, 1}
    given = model.labels(range(50), {"old": 0.5})
    assert (given[:, 1] == 0.5).all() and torch.equal(given[:, 0], drawn[:, 0])
    assert (model([1], {"old": 0}) != model([1], {"old": 1})).any()
    with pytest.raises(I2IError, match="no attribute 'olt', did you mean 'old'"):
        model([1], {"olt": 1})
    with pytest.raises(I2IError, match="has attributes, not classes"):
        model([1], 3)


def test_translators_make_nothing_from_noise(tmp_path):
    with pytest.raises(I2IError, match="this model translates images, it makes none from noise") as error:
        Generator.load(make_bundle(tmp_path / "m.safetensors"), device="cpu")
    assert "translate" in error.value.hints[0]


class Scaled(GAN):
    def generate(self, z, label=None, truncation: float = 1.0, steps: int = 1):
        return super().generate(z * truncation, label)


def test_options_come_from_the_signature_of_generate(tmp_path, capsys):
    PIPELINES.register("scaled")(Scaled)
    bundle = make_bundle(tmp_path / "m.safetensors", "gan", "pipeline={type: scaled}")
    plain, narrow = (Generator.load(bundle, device="cpu", options=o) for o in ({}, {"truncation": 0.1}))
    assert (plain([3], 1) != narrow([3], 1)).any()
    with pytest.raises(ConfigError, match="truncatoin: unknown option, did you mean 'truncation'"):
        Generator.load(bundle, device="cpu", options={"truncatoin": 1.0})
    assert main("components", ["pipeline", "scaled"]) == 0
    assert (
        "--option of generate:\n    truncation: a number; default 1.0\n    steps: an integer; default 1"
        in capsys.readouterr().out
    )
    with pytest.raises(ConfigError, match="steps"):
        Generator.load(bundle, device="cpu", options={"steps": "many"})


def test_numbers_that_are_not_finite_are_no_image(bundle):
    info, pipeline = load_bundle(bundle)
    pipeline.G.head.bias.data.fill_(float("nan"))
    with pytest.raises(I2IError, match="not finite"):
        Generator(info, pipeline, "cpu")([0])


class Drawing(torch.nn.Module):
    """A generator that draws numbers of its own, as StyleGAN's noise layers do."""

    z_dim = 16

    def __init__(self, out_channels: int, size: tuple[int, int] = (16, 16), z_dim: int = 16) -> None:
        super().__init__()
        self.w, self.shape = torch.nn.Parameter(torch.zeros(())), (out_channels, *size)

    def forward(self, z):
        return torch.randn(len(z), *self.shape, device=z.device) / 4 + self.w


def test_numbers_that_a_network_draws_are_those_of_the_seed(tmp_path):
    GENERATORS.register("drawing")(Drawing)
    path = make_bundle(tmp_path / "m.safetensors", "gan", "data.labels=false", "generator={type: drawing}")
    loaded = Generator.load(path, device="cpu")
    state = torch.get_rng_state()
    together = loaded([0, 1, 2])
    assert torch.equal(torch.get_rng_state(), state), "the process's own numbers are left alone"
    np.testing.assert_array_equal(loaded([2])[0], together[2])
    assert (together[0] != together[1]).any()

"""A classifier that tells surfaces apart by look, learnt on the spot."""

import pytest
import torch
from torch import Tensor

from i2i.run.demo.segmenter import Segmenter


def _pictures(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Left of a random column stripes that run down, right of it stripes that run across, in one random colour each."""
    rng = torch.Generator().manual_seed(seed)
    images, ids = torch.empty(count, 3, 32, 32), torch.zeros(count, 32, 32, dtype=torch.uint8)
    stripe = (torch.arange(32) // 2 % 2).float() * 0.8 - 0.4
    for image, classes in zip(images, ids, strict=True):
        colour = torch.rand((3, 1, 1), generator=rng) - 0.5
        column = int(torch.randint(8, 24, (), generator=rng))
        image[..., :column] = colour + stripe[None, None, :column]
        image[..., column:] = colour + stripe[None, :, None]
        classes[:, column:] = 1
    return images + 0.05 * torch.randn(images.shape, generator=rng), ids


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    return Segmenter(*_pictures(32, 0), num_classes=2, steps=100)


def test_it_tells_textures_apart_where_colours_do_not(segmenter: Segmenter) -> None:
    images, ids = _pictures(16, 1)
    found = segmenter(images)
    assert found.shape == ids.shape
    assert (found == ids).float().mean() > 0.9
    turned = segmenter(images.transpose(2, 3).contiguous())  # down becomes across
    assert (turned == 1 - ids.transpose(1, 2).long()).float().mean() > 0.85


def test_a_blurred_picture_loses_its_labels(segmenter: Segmenter) -> None:
    images, ids = _pictures(16, 1)
    flat = torch.nn.functional.avg_pool2d(images, 9, 1, 4, count_include_pad=False)
    assert (segmenter(flat) == ids).float().mean() < 0.75


def test_it_repeats_itself_and_leaves_torch_alone() -> None:
    images, ids = _pictures(8, 0)
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    one, other = (Segmenter(images, ids, 2, steps=3, seed=5) for _ in range(2))
    assert torch.equal(torch.rand(1), expected)
    for first, second in zip(one.network.parameters(), other.network.parameters(), strict=True):
        assert torch.equal(first, second)


def test_images_without_their_ids_are_refused() -> None:
    images, ids = _pictures(2, 0)
    with pytest.raises(ValueError, match=r"^ids must be \[N, H, W\]"):
        Segmenter(images, ids[:1], 2)

"""The multi-scale discriminator against the scales written out, around any discriminator, and its features."""

import pytest
import torch
import torch.nn.functional as nnf
from torch import nn

from i2i.networks.multiscale import MultiScaleDiscriminator
from i2i.networks.patchgan import PatchGANDiscriminator


def small(**arguments):
    return lambda in_channels: PatchGANDiscriminator(in_channels, **{"num_layers": 1, "base_channels": 2} | arguments)


def half(image):
    """The mean of each 3x3 neighbourhood of every second pixel, of those that are inside."""
    height, width = image.shape[2:]
    rows = [slice(max(0, r - 1), min(height, r + 2)) for r in range(0, height, 2)]
    columns = [slice(max(0, c - 1), min(width, c + 2)) for c in range(0, width, 2)]
    return torch.stack([torch.stack([image[:, :, r, c].mean((2, 3)) for c in columns], -1) for r in rows], -2)


def test_each_scale_judges_half_of_the_size_before():
    torch.manual_seed(0)
    D = MultiScaleDiscriminator(3, num_scales=3, discriminator=small()).double()
    x = torch.randn(2, 3, 53, 64, dtype=torch.float64)
    images = [x, half(x), half(half(x))]
    expected = [judge(image) for judge, image in zip(D.scales, images, strict=True)]
    found = D(x)
    assert [list(image.shape[2:]) for image in images] == [[53, 64], [27, 32], [14, 16]]
    assert len(found) == 3
    assert all(torch.allclose(a, b) for a, b in zip(found, expected, strict=True))


def test_each_scale_has_weights_of_its_own():
    D = MultiScaleDiscriminator(3, discriminator=small())
    one, other = (list(scale.parameters())[0] for scale in D.scales[:2])
    assert one.shape == other.shape
    assert not torch.equal(one, other)


def test_defaults_are_the_papers():
    with torch.device("meta"):
        D = MultiScaleDiscriminator(6)
        shapes = [list(logits.shape) for logits in D(torch.empty(1, 6, 512, 1024))]
    assert shapes == [[1, 1, 62, 126], [1, 1, 30, 62], [1, 1, 14, 30]]
    assert all(isinstance(scale, PatchGANDiscriminator) and scale.num_layers == 3 for scale in D.scales)


@pytest.mark.parametrize(("num_scales", "num_layers"), [(1, 2), (2, 1), (3, 1), (3, 0), (2, 2)])
def test_smallest_size_leaves_one_logit_and_one_pixel_less_none(num_scales, num_layers):
    D = MultiScaleDiscriminator(3, num_scales=num_scales, discriminator=small(num_layers=num_layers, norm="batch"))
    x = torch.randn(2, 3, D.min_size, D.min_size)
    assert D(x)[-1].shape == (2, 1, 1, 1)
    if num_layers:
        with pytest.raises(RuntimeError):
            D(x[..., 1:, 1:])


@pytest.mark.parametrize(("num_scales", "patch"), [(1, 16), (2, 33), (3, 67)])
def test_receptive_field_is_the_footprint_of_a_logit_of_the_last_scale(num_scales, patch):
    torch.manual_seed(0)
    D = MultiScaleDiscriminator(1, num_scales=num_scales, discriminator=small(norm="none")).double()
    x = torch.randn(1, 1, 4 * patch, 4 * patch, dtype=torch.float64, requires_grad=True)
    logits = D(x)[-1]
    (gradient,) = torch.autograd.grad(logits[0, 0, logits.shape[2] // 2, logits.shape[3] // 2], x)
    rows = gradient[0, 0].abs().sum(1).nonzero().flatten()
    assert D.receptive_field == patch == rows[-1] - rows[0] + 1


def test_it_stands_around_any_discriminator():
    D = MultiScaleDiscriminator(3, num_scales=2, discriminator=lambda in_channels: nn.Conv2d(in_channels, 1, 3))
    assert [list(logits.shape) for logits in D(torch.zeros(1, 3, 8, 8))] == [[1, 1, 6, 6], [1, 1, 2, 2]]
    assert D.receptive_field is None
    assert D.min_size == 1
    assert not hasattr(D, "logits_and_features")
    nested = MultiScaleDiscriminator(
        3, num_scales=2, discriminator=lambda in_channels: MultiScaleDiscriminator(in_channels, discriminator=small())
    )
    logits, features = nested.logits_and_features(torch.randn(1, 3, 200, 200))
    assert len(logits) == 6
    assert len(features) == 6 * 2


@pytest.mark.parametrize("num_scales", [1, 3])
def test_features_are_those_of_every_layer_of_every_scale(num_scales):
    torch.manual_seed(0)
    D = MultiScaleDiscriminator(3, num_scales=num_scales, discriminator=small(num_layers=2)).eval()
    x = torch.randn(1, 3, 96, 96)
    logits, features = D.logits_and_features(x)
    assert all(torch.equal(a, b) for a, b in zip(logits, D(x), strict=True))
    assert len(features) == 3 * num_scales
    first = D.scales[0]
    assert torch.equal(features[0], nnf.leaky_relu(first.layers[0].conv(x), 0.2))
    assert torch.equal(first.head(features[2]), logits[0])


def test_messages_start_with_the_argument():
    with pytest.raises(ValueError, match=r"^num_scales must be at least 1, got 0$"):
        MultiScaleDiscriminator(3, num_scales=0)

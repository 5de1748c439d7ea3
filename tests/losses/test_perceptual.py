"""Perceptual and style losses: formulas on the feature maps of timm itself."""

import pytest
import timm
import torch

from i2i.core.errors import ArgumentError, DataError
from i2i.losses.perceptual import Perceptual, Style, gram_matrix

BACKBONE = "test_resnet"  # timm's smallest; levels act1, layer1 ... layer4


def maps(images, indices, name=BACKBONE):
    """Feature maps by timm alone, with the weights that ``random`` means."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = timm.create_model(name, features_only=True).double().eval()
    config = timm.get_pretrained_cfg(name)
    mean, std = (torch.tensor(v, dtype=torch.float64).reshape(1, 3, 1, 1) for v in (config.mean, config.std))
    with torch.no_grad():
        found = net(((images + 1) / 2 - mean) / std)
    return [found[index] for index in indices]


@pytest.fixture
def images():
    rng = torch.Generator().manual_seed(3)
    prediction, target = torch.rand(2, 2, 3, 40, 48, generator=rng, dtype=torch.float64) * 2 - 1
    return prediction, target


def gram(features):
    channels, height, width = features.shape
    rows = [[(features[c] * features[d]).sum() for d in range(channels)] for c in range(channels)]
    return torch.tensor(rows, dtype=torch.float64) / (channels * height * width)


@pytest.mark.parametrize("distance", ["l1", "l2"])
def test_content_by_formula(images, distance):
    loss = Perceptual(BACKBONE, {"layer1": 2, "3": 0.5}, "random", distance)
    expected = 0.0
    for weight, p, t in zip((2, 0.5), maps(images[0], (1, 3)), maps(images[1], (1, 3)), strict=True):
        gap = (p - t).abs() if distance == "l1" else (p - t) ** 2
        expected += weight * gap.sum() / gap.numel()
    assert loss(*images).item() == pytest.approx(float(expected), rel=1e-9)
    assert loss(images[0], images[0]).item() == 0


def test_style_by_formula(images):
    loss = Style(BACKBONE, ["layer1", 2], "random")
    expected = 0.0
    for p, t in zip(maps(images[0], (1, 2)), maps(images[1], (1, 2)), strict=True):
        gaps = [((gram(one) - gram(other)) ** 2).mean() for one, other in zip(p, t, strict=True)]
        expected += float(sum(gaps)) / len(gaps)
    assert loss(*images).item() == pytest.approx(expected, rel=1e-9)


def test_style_does_not_see_where_things_are(images):
    features = maps(images[0], (1,))[0]
    shuffled = features.flatten(2)[..., torch.randperm(features[0, 0].numel())].reshape(features.shape)
    assert torch.allclose(gram_matrix(features), gram_matrix(shuffled))
    assert not torch.allclose(gram_matrix(features), gram_matrix(features**2))


def test_defaults_are_the_papers_on_vgg():
    """relu3_3 of VGG-16: the third convolution after the second pooling, with its activation."""
    with torch.device("meta"):
        content, style = (loss("vgg16.tv_in1k", weights="random") for loss in (Perceptual, Style))
        layers = timm.create_model("vgg16").features
    depth = int(next(iter(content.backbone.net.return_layers)).removeprefix("features_"))
    kinds = [type(layer).__name__ for layer in layers[: depth + 1]]
    assert kinds[-1] == "ReLU"
    assert kinds.count("MaxPool2d") == 2
    assert len(kinds) - 1 - max(i for i, kind in enumerate(kinds) if kind == "MaxPool2d") == 2 * 3
    assert len(content.backbone.net) == len(kinds), "what lies behind is left out"
    shapes = [list(maps.shape) for maps in style.backbone(torch.empty(1, 3, 64, 64, device="meta"))]
    assert shapes == [[1, 64, 64, 64], [1, 128, 32, 32], [1, 256, 16, 16], [1, 512, 8, 8]]


def test_gray_is_seen_as_rgb_and_others_are_refused(images):
    loss = Perceptual(BACKBONE, weights="random")
    gray = images[0][:, :1]
    assert torch.equal(loss(gray, images[1]), loss(gray.repeat(1, 3, 1, 1), images[1]))
    with pytest.raises(DataError, match=r"^the backbone 'test_resnet' sees gray or RGB images, got 4 channels$"):
        loss(torch.zeros(1, 4, 32, 32), torch.zeros(1, 4, 32, 32))
    with pytest.raises(
        ValueError, match=r"^prediction is \[1, 3, 32, 32\], target \[1, 3, 32, 40\]: sizes must agree$"
    ):
        loss(torch.zeros(1, 3, 32, 32), torch.zeros(1, 3, 32, 40))


@pytest.mark.parametrize("loss", [Perceptual, Style])
def test_gradients_reach_the_prediction_alone(loss, images):
    measure = loss(BACKBONE, weights="random")
    prediction, target = (image.clone().requires_grad_() for image in images)
    measure(prediction, target).backward()
    assert prediction.grad.abs().sum() > 0
    assert target.grad is None
    step = 1e-3 * prediction.grad / prediction.grad.norm()
    assert measure(prediction - step, target) < measure(prediction, target)


@pytest.mark.parametrize("loss", [Perceptual, Style])
def test_autocast(loss, images):
    measure, (prediction, target) = loss(BACKBONE, weights="random"), (image.float() for image in images)
    with torch.autocast("cpu", torch.bfloat16):
        value = measure(prediction.requires_grad_(), target)
    value.backward()
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(measure(prediction, target).item(), rel=0.1)
    assert prediction.grad.isfinite().all()


@pytest.mark.parametrize(
    ("arguments", "path", "message"),
    [
        ({"backbone": "vgg91"}, ("backbone",), "backbone: timm has no model 'vgg91', did you mean 'vgg19'?"),
        ({"backbone": "vgg19.x"}, ("backbone",), "backbone: timm has no weights 'vgg19.x'"),
        ({"layers": ["layer1", "relu1_1"]}, ("layers", 1), "layers: 'test_resnet' has no level 'relu1_1'"),
        ({"layers": [5]}, ("layers", 0), "layers: 'test_resnet' has no level 5"),
        ({"layers": {"layer9": 1.0}}, ("layers", "layer9"), "layers: 'test_resnet' has no level 'layer9'"),
        (
            {"layers": {"layer1": 0.0}},
            ("layers", "layer1"),
            "layers: a weight must be greater than 0 and finite, got 0.0",
        ),
        ({"layers": ["layer1", 1]}, ("layers", 1), "layers: 1 stands twice"),
        ({"layers": []}, ("layers",), "layers: expected at least one level"),
    ],
)
def test_arguments_that_are_refused(arguments, path, message):
    with pytest.raises(ArgumentError) as error:
        Perceptual(**{"backbone": BACKBONE, "weights": "random"} | arguments)
    assert str(error.value) == message
    assert error.value.path == path


def test_a_wrong_level_lists_those_there_are():
    with pytest.raises(ArgumentError) as error:
        Style("resnet18", ["layer5"], "random")
    assert "0 act1 (64 channels, 1/2), 1 layer1 (64 channels, 1/4)" in error.value.hints[0]


@pytest.mark.parametrize("name", ["test_vit", "test_convnext", "test_efficientnet", "swin_tiny_patch4_window7_224"])
def test_other_families_of_backbones(name):
    size = 224 if "swin" in name else 160
    rng = torch.Generator().manual_seed(0)
    prediction, target = (torch.rand(1, 3, size, size, generator=rng) * 2 - 1 for _ in range(2))
    loss = Style(name, weights="random")
    value = loss(prediction.requires_grad_(), target)
    value.backward()
    assert value > 0
    assert prediction.grad.abs().sum() > 0

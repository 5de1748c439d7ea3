"""Metrics against formulas by hand, and against torchmetrics' own."""

import math

import numpy as np
import pytest
import torch

from i2i.metrics.labels import MeanIoU, PixelAccuracy
from i2i.metrics.pixels import PSNR, SSIM, L1Distance


def images(seed, count=3, size=24):
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_l1_is_on_the_scale_of_0_to_1():
    metric = L1Distance()
    metric.update(torch.full((2, 3, 4, 4), -1.0), torch.full((2, 3, 4, 4), 1.0))
    assert float(metric.compute()) == 1.0
    metric.update(torch.zeros(2, 3, 4, 4), torch.zeros(2, 3, 4, 4))
    assert float(metric.compute()) == 0.5, "the mean over the images of all updates"
    metric.reset()
    metric.update(torch.zeros(1, 3, 4, 4), torch.full((1, 3, 4, 4), 0.5))
    assert float(metric.compute()) == 0.25


def test_psnr_is_averaged_over_images():
    one, other = images(1), images(2)
    other[2] = one[2]
    metric = PSNR()
    metric.update(one, other)
    a, b = ((x.double().numpy() + 1) / 2 for x in (one, other))
    by_hand = [10 * math.log10(1 / np.mean((a[i] - b[i]) ** 2)) for i in range(2)]
    assert float(metric.compute()) == pytest.approx((sum(by_hand) + 100) / 3, rel=1e-5), "equal images count as 100 dB"


def test_ssim_of_equal_images_is_1_and_of_one_image_that_of_torchmetrics():
    from torchmetrics.image import StructuralSimilarityIndexMeasure

    one = images(1)
    metric = SSIM()
    metric.update(one, one)
    assert float(metric.compute()) == pytest.approx(1)
    metric.reset()
    metric.update(one[:1], (one[:1] * 0.8 + 0.1))
    reference = StructuralSimilarityIndexMeasure(data_range=1.0)
    reference.update((one[:1] + 1) / 2, (one[:1] * 0.8 + 0.1 + 1) / 2)
    assert float(metric.compute()) == pytest.approx(float(reference.compute()), abs=1e-5)


def onehot(classes, count=3):
    return torch.nn.functional.one_hot(torch.tensor(classes), count).movedim(-1, 0)[None].float()


def test_label_metrics_by_hand():
    target = onehot([[0, 0], [1, 1]])
    seen = onehot([[0, 1], [1, 1]]) * 0.3 - 0.1  # values need not be probabilities
    accuracy, iou = PixelAccuracy(), MeanIoU()
    for metric in (accuracy, iou):
        metric.update(seen, target)
    assert float(accuracy.compute()) == pytest.approx(0.75)
    assert float(iou.compute()) == pytest.approx((1 / 2 + 2 / 3) / 2), "class 2 does not occur and does not count"


def test_pixels_without_a_class_do_not_count():
    target, seen = onehot([[0, 0], [1, 1]]), onehot([[0, 1], [1, 2]])
    target[:, :, 1, 1] = 0
    accuracy, iou = PixelAccuracy(), MeanIoU()
    for metric in (accuracy, iou):
        metric.update(seen, target)
    assert float(accuracy.compute()) == pytest.approx(2 / 3)
    assert float(iou.compute()) == pytest.approx((1 / 2 + 1 / 2) / 2)


@pytest.mark.parametrize("metric", [PSNR, SSIM, L1Distance, PixelAccuracy, MeanIoU])
def test_shapes_must_agree(metric):
    with pytest.raises(ValueError, match="target"):
        metric().update(torch.zeros(1, 3, 16, 16), torch.zeros(1, 1, 16, 16))

"""What the demos say of themselves: held-out translations against the truth, which the embedded data set knows."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from i2i.data.drawn.dataset import Synthetic
from i2i.data.drawn.painting import Scene

if TYPE_CHECKING:
    from torch import Tensor

Images = Sequence[np.ndarray]  # uint8 [H, W, 3]
Translated = Mapping[str, Images]  # direction -> translations of the first items, in order
Judgement = tuple[dict[str, float], str]  # figures, and what they say

_LEARNT_FROM = 256  # true pictures


def judge_animals(dataset: Synthetic, translated: Translated) -> Judgement:
    """How many plain animals got stripes, whether striped ones lost theirs, and how much the ground changed."""
    from i2i.run.demo.stripes import ground_change, stripe_energy

    scenes = [dataset.draw(index) for index in range(len(dataset))]
    plain, striped = [a for (a, _), _ in scenes], [b for _, (b, _) in scenes]
    made_striped, made_plain = translated["a2b"], translated["b2a"]
    real = float(np.median([stripe_energy(scene.image, scene.mask) for scene in striped]))
    gained = [stripe_energy(image, scene.mask) / real for image, scene in zip(made_striped, plain, strict=True)]
    left = [stripe_energy(image, scene.mask) / real for image, scene in zip(made_plain, striped, strict=True)]
    there = [ground_change(scene.image, image, scene.mask) for scene, image in zip(plain, made_striped, strict=True)]
    back = [ground_change(scene.image, image, scene.mask) for scene, image in zip(striped, made_plain, strict=True)]
    figures = {
        "striped": float(np.mean(np.array(gained) >= 0.8)),
        "contrast": float(np.median(gained)),
        "contrast_left": float(np.median(left)),
        "ground_change": float(np.mean(there)),
        "ground_change_back": float(np.mean(back)),
    }
    text = (
        f"of {len(dataset)} held-out plain animals {figures['striped']:.0%} got stripes of at least 80 % of real ones' "
        f"contrast; the ground changed by {figures['ground_change']:.3f} of the value range.\n"
        f"of the striped ones' contrast {figures['contrast_left']:.0%} is left when they are made plain."
    )
    return figures, text


def judge_maps(dataset: Synthetic, translated: Translated) -> Judgement:
    """Whether each pixel of a map shows the right class: the one whose colour is nearest."""
    from i2i.images.codecs import LabelCodec

    codec = LabelCodec(dataset.classes, "palette")
    truth = [dataset.draw(index)[0][1] for index in range(len(dataset))]
    seen = codec.decode(_stack(translated["a2b"]))[..., 0]
    figures = _compare_ids(seen, truth, len(dataset.classes)) | _compare_images(translated["a2b"], truth)
    figures["commonest_class"] = _commonest(truth)
    text = (
        f"of the pixels of {len(dataset)} held-out maps {figures['pixel_accuracy']:.1%} have the colour of the right "
        f"class (all land would be {figures['commonest_class']:.0%}); mean IoU of {len(dataset.classes)} classes "
        f"{figures['mean_iou']:.2f}.\n"
        f"to the true map: L1 {figures['l1']:.3f} of the value range, PSNR {figures['psnr']:.1f} dB."
    )
    return figures, text


def judge_streets(dataset: Synthetic, translated: Translated) -> Judgement:
    """Whether the labels are found again in the streets, by a classifier that was learnt on true ones."""
    import torch

    from i2i.run.demo.segmenter import Segmenter

    known = Synthetic("streets", dataset.size[0], _LEARNT_FROM, "train", paired=True)
    lessons = [known.draw(index)[1][0] for index in range(_LEARNT_FROM)]
    ids = torch.from_numpy(np.stack([_ids(scene) for scene in lessons]))
    segmenter = Segmenter(_stack([scene.image for scene in lessons]), ids, len(dataset.classes))
    truth = [dataset.draw(index)[0][1] for index in range(len(dataset))]
    figures = _compare_ids(segmenter(_stack(translated["a2b"])).numpy(), truth, len(dataset.classes))
    real = segmenter(_stack([scene.image for scene in truth])).numpy()
    for name, found in (("true", real), ("wrong", np.roll(real, 1, axis=0))):  # wrong: streets of other labels
        scores = _compare_ids(found, truth, len(dataset.classes))
        figures |= {f"{name}_{key}": value for key, value in scores.items()}
    figures |= _compare_images(translated["a2b"], truth)
    text = (
        f"a classifier learnt on true streets finds the right label in {figures['pixel_accuracy']:.1%} of the pixels "
        f"of {len(dataset)} held-out streets; in true ones in {figures['true_pixel_accuracy']:.1%}, in those of other "
        f"labels in {figures['wrong_pixel_accuracy']:.1%}.\n"
        f"to the true street, whose colours no label tells: L1 {figures['l1']:.3f} of the value range, "
        f"PSNR {figures['psnr']:.1f} dB."
    )
    return figures, text


JUDGES: Mapping[str, Callable[[Synthetic, Translated], Judgement]] = {
    "animals": judge_animals,
    "maps": judge_maps,
    "streets": judge_streets,
}


def _stack(images: Images) -> "Tensor":
    """[N, 3, H, W] in [-1, 1]."""
    import torch

    from i2i.images.files import to_tensor

    return torch.stack([to_tensor(image) for image in images])


def _ids(scene: Scene) -> np.ndarray:
    assert scene.ids is not None  # domains with classes have them
    return scene.ids


def _commonest(truth: Sequence[Scene]) -> float:
    """What a judge would say of a picture that shows the commonest class alone."""
    counts = np.bincount(np.concatenate([_ids(scene).ravel() for scene in truth]))
    return float(counts.max() / counts.sum())


def _compare_ids(seen: np.ndarray, truth: Sequence[Scene], num_classes: int) -> dict[str, float]:
    import torch
    import torch.nn.functional as nnf

    from i2i.metrics.labels import MeanIoU, PixelAccuracy

    figures = {}
    ids = np.stack([_ids(scene) for scene in truth])
    found, right = (nnf.one_hot(torch.from_numpy(x).long(), num_classes).movedim(-1, 1) for x in (seen, ids))
    for name, metric in (("pixel_accuracy", PixelAccuracy()), ("mean_iou", MeanIoU())):
        metric.update(found, right)
        figures[name] = float(metric.compute())
    return figures


def _compare_images(images: Images, truth: Sequence[Scene]) -> dict[str, float]:
    from i2i.metrics.pixels import PSNR, L1Distance

    figures = {}
    for name, metric in (("l1", L1Distance()), ("psnr", PSNR())):
        metric.update(_stack(images), _stack([scene.image for scene in truth]))
        figures[name] = float(metric.compute())
    return figures

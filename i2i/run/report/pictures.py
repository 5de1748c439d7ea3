"""Before and after: what a run's model makes of images, held out from training where there are such."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from i2i.core.config.build import make
from i2i.core.config.document import Node, merge
from i2i.core.errors import I2IError
from i2i.core.registry import DATASETS
from i2i.data.loading.stream import SeededDataset, spread
from i2i.images.codecs import codecs_of
from i2i.inference.translator import Translator
from i2i.pipelines.policy import translating
from i2i.run.experiment import Experiment

HELD_OUT = ("test", "val")
SECONDS = 60.0


@dataclass(frozen=True)
class Picture:
    """One image and its translation.

    Attributes:
        direction: ``a2b`` or ``b2a``.
        name: Of the image, for the reader.
        before: uint8 ``[H, W, 3]``.
        after: uint8 ``[H, W, 3]``, perhaps of another size.
        target: What a perfect translation gives, where that is known.
        split: Where the image is from.
        domains: Names of what the direction leads from and to, where they are known.
    """

    direction: str
    name: str
    before: np.ndarray
    after: np.ndarray
    target: np.ndarray | None = None
    split: str = "train"
    domains: tuple[str, str] | None = None


def collect_pictures(
    experiment: Experiment, folder: Path, count: int = 4, device: str = "auto", seconds: float = SECONDS
) -> list[Picture]:
    """Translates some images of an experiment with the bundle of its run folder.

    Args:
        experiment: Whose data set the images are from: its test or val split, or else its training images.
        folder: The run folder, which holds ``model.safetensors``.
        count: Images of each direction.
        device: Where to translate.
        seconds: No further image is begun after this time.

    Raises:
        I2IError: There is no bundle or no usable image.
    """
    dataset, split = shown_images(experiment)
    translator = Translator.load(folder, device=device)
    images, failure = SeededDataset(dataset, experiment.settings.seed), None
    deadline = time.monotonic() + seconds
    pictures: list[Picture] = []
    for index in spread(len(dataset), count):
        if time.monotonic() > deadline and pictures:
            break
        item = images[(0, index)]
        if isinstance(item, I2IError):
            failure = item
            continue
        for direction in translator.info.directions:
            pictures.append(_picture(translator, direction, images, item, split))
    if failure is not None and not pictures:
        raise failure
    return sorted(pictures, key=lambda picture: list(translator.info.directions).index(picture.direction))


def shown_images(experiment: Experiment) -> tuple[Any, str]:
    """Returns images that training never saw, and their split's name; training images where there are no others."""
    if experiment.held_out is not None:
        return experiment.held_out.dataset, getattr(experiment.held_out.dataset, "split", "val")
    trained: str = getattr(experiment.dataset, "split", "train")
    splits = getattr(experiment.dataset, "splits", ())
    for split in HELD_OUT:
        if split in splits and split != trained:
            own = experiment.data.node
            choice = Node({"split": Node(split, own.place, (*own.path, "split"))}, own.place, own.path)
            return make(DATASETS, merge(own, choice)), split
    return experiment.dataset, trained


def _picture(
    translator: Translator, direction: str, images: SeededDataset, item: dict[str, Any], split: str
) -> Picture:
    source, result = direction[0], direction[2]
    codecs = codecs_of(images.dataset)
    truth = images.target_of(item, direction)
    names = dict(zip("ab", getattr(images.dataset, "domains", ("a", "b")), strict=True))
    return Picture(
        direction,
        Path(str(item.get(f"{source}_path", ""))).name,
        codecs[source].show(item[source]),
        codecs[result].show(_translated(translator, item[source], direction)),
        None if truth is None else codecs[result].show(truth),
        split,
        None if names == {"a": "a", "b": "b"} else (names[source], names[result]),
    )


def _translated(translator: Translator, x: Tensor, direction: str) -> Tensor:
    """Translates one image as the data set gives it, ``[C, H, W]``, with one draw of the generator's noise."""
    info, device = translator.info, translator.device
    own_noise = torch.random.fork_rng([device.index or 0] if device.type == "cuda" else [])
    state = translating(translator.pipeline, info.norm_policy, info.dropout_policy)
    with torch.inference_mode(), own_noise, state, translator.precision.autocast():
        torch.manual_seed(info.seed)
        y = translator.pipeline.translate(x[None].to(device), info.directions[direction])[0]
    if not torch.isfinite(y).all():
        raise I2IError("the model's values are not finite numbers")
    return y.float().cpu()

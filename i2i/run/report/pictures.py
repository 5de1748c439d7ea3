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
from i2i.data.base import Dataset, adapted
from i2i.data.loading.stream import SeededDataset, spread
from i2i.images.files import make_grid
from i2i.inference.generator import Generator
from i2i.inference.translator import Translator
from i2i.run.experiment import Experiment

HELD_OUT = ("test", "val")
SECONDS = 60.0
SHOWN = 10  # columns of images from noise


@dataclass(frozen=True)
class Picture:
    """One image and its translation.

    Attributes:
        direction: As users name it.
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


@dataclass(frozen=True)
class Sheet:
    """Images that a model makes from noise.

    Attributes:
        direction: As users name it.
        image: uint8 ``[H, W, 3]``: a row for each latent, with a column for each class where the model has such.
        caption: What is in it.
    """

    direction: str
    image: np.ndarray
    caption: str


def collect_sheets(folder: Path, rows: int = 4, device: str = "auto") -> list[Sheet]:
    """Makes images from noise with the bundle of a run folder; with classes, one latent a row.

    Raises:
        I2IError: There is no bundle, or it makes none.
    """
    generator = Generator.load(folder, device=device)
    classes = generator.info.classes[:SHOWN]
    columns: dict[str, list[np.ndarray]] = {}
    for column in range(len(classes) or SHOWN):
        seeds = range(rows) if classes else range(column * rows, (column + 1) * rows)
        made = generator(list(seeds), column if classes else None)
        shown = [generator.codec.show(generator.codec.encode(image)) for image in made]
        columns[f"class {classes[column]}" if classes else f"seeds {seeds[0]} to {seeds[-1]}"] = shown
    caption = f"seeds 0 to {rows - 1}, a row each" if classes else f"seeds 0 to {rows * SHOWN - 1}"
    return [Sheet(generator.direction, make_grid(columns), caption)]


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
        for direction in translator.directions:
            pictures.append(_picture(translator, direction, images, item, split))
    if failure is not None and not pictures:
        raise failure
    return sorted(pictures, key=lambda picture: list(translator.directions).index(picture.direction))


def shown_images(experiment: Experiment) -> tuple[Dataset, str]:
    """Returns images that training never saw, and their split's name; training images where there are no others."""
    if experiment.held_out is not None:
        return experiment.held_out.dataset, experiment.held_out.dataset.split
    trained = experiment.dataset.split
    for split in HELD_OUT:
        if split in experiment.dataset.splits and split != trained:
            own = experiment.data.node
            choice = Node({"split": Node(split, own.place, (*own.path, "split"))}, own.place, own.path)
            return adapted(make(DATASETS, merge(own, choice))), split
    return experiment.dataset, trained


def _picture(
    translator: Translator, direction: str, images: SeededDataset, item: dict[str, Any], split: str
) -> Picture:
    one = translator.directions[direction]
    source, result = one.source, one.target
    codecs = images.dataset.codecs
    truth = images.target_of(item, one)
    names = dict(zip("ab", getattr(images.dataset, "domains", ("a", "b")), strict=True))
    is_named = names != {"a": "a", "b": "b"} and {source, result} <= names.keys()
    return Picture(
        direction,
        Path(str(item.get("path" if source == "image" else f"{source}_path", ""))).name,
        codecs[source].show(item[source]),
        codecs[result].show(_translated(translator, item[source], direction)),
        None if truth is None else codecs[result].show(truth),
        split,
        (names[source], names[result]) if is_named else None,
    )


def _translated(translator: Translator, x: Tensor, direction: str) -> Tensor:
    """Translates one image as the data set gives it, ``[C, H, W]``."""
    own, seed = translator.directions[direction].own, translator.info.seed
    with torch.inference_mode():
        (y,) = translator.applied.outputs([x], own, lambda _: seed, translator.precision, **translator.options)
    if not torch.isfinite(y).all():
        raise I2IError("the model's values are not finite numbers")
    return y[0].cpu()

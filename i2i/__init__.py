"""i2i: image-to-image translation from YAML.

The public names below are imported when first used, so ``import i2i`` costs nothing.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from i2i.core.errors import CheckpointError, ConfigError, DataError, I2IError, RegistryError, TrainingError
    from i2i.core.numerics import full_precision, without_autocast
    from i2i.core.registry import (
        DATASETS,
        DISCRIMINATORS,
        ENCODERS,
        GENERATORS,
        LOSSES,
        METRICS,
        NETWORKS,
        PIPELINES,
        TRACKERS,
        Nested,
    )
    from i2i.data.base import Dataset
    from i2i.data.finding.files import UnusableFiles, list_images
    from i2i.data.loading.caching import Cacheable
    from i2i.images.codecs import ImageCodec, LabelClass, LabelCodec
    from i2i.images.files import load_image, save_image
    from i2i.inference.generator import Generator
    from i2i.inference.translator import Translator
    from i2i.losses.adversarial import AdversarialLoss
    from i2i.losses.penalties import gradient_penalty, r1_penalty
    from i2i.metrics.base import ImageMean, Metric
    from i2i.networks.blocks.conditions import label_vector
    from i2i.networks.blocks.normalization import InstanceNorm2d
    from i2i.pipelines.base import (
        Batch,
        Channels,
        Direction,
        LossRole,
        NetworkRole,
        Now,
        Phase,
        Pipeline,
        Shared,
        Stage,
        Terms,
        View,
        WeightedLosses,
        accuracy,
        fitted,
        latents_of,
        logits_of,
        mean_over_maps,
    )
    from i2i.pipelines.image_pool import ImagePool
    from i2i.run.api import train

_HOMES = {
    "core.errors": ["CheckpointError", "ConfigError", "DataError", "I2IError", "RegistryError", "TrainingError"],
    "core.numerics": ["full_precision", "without_autocast"],
    "core.registry": [
        "DATASETS",
        "DISCRIMINATORS",
        "ENCODERS",
        "GENERATORS",
        "LOSSES",
        "METRICS",
        "NETWORKS",
        "PIPELINES",
        "TRACKERS",
        "Nested",
    ],
    "data.base": ["Dataset"],
    "data.finding.files": ["UnusableFiles", "list_images"],
    "data.loading.caching": ["Cacheable"],
    "images.codecs": ["ImageCodec", "LabelClass", "LabelCodec"],
    "images.files": ["load_image", "save_image"],
    "inference.generator": ["Generator"],
    "inference.translator": ["Translator"],
    "losses.adversarial": ["AdversarialLoss"],
    "losses.penalties": ["gradient_penalty", "r1_penalty"],
    "metrics.base": ["ImageMean", "Metric"],
    "networks.blocks.conditions": ["label_vector"],
    "networks.blocks.normalization": ["InstanceNorm2d"],
    "pipelines.base": [
        "Batch",
        "Channels",
        "Direction",
        "LossRole",
        "NetworkRole",
        "Now",
        "Phase",
        "Pipeline",
        "Shared",
        "Stage",
        "Terms",
        "View",
        "WeightedLosses",
        "accuracy",
        "fitted",
        "latents_of",
        "logits_of",
        "mean_over_maps",
    ],
    "pipelines.image_pool": ["ImagePool"],
    "run.api": ["train"],
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "AdversarialLoss",
    "Batch",
    "Cacheable",
    "Channels",
    "CheckpointError",
    "ConfigError",
    "DATASETS",
    "DISCRIMINATORS",
    "DataError",
    "Dataset",
    "Direction",
    "ENCODERS",
    "GENERATORS",
    "Generator",
    "I2IError",
    "ImageCodec",
    "ImageMean",
    "ImagePool",
    "InstanceNorm2d",
    "LOSSES",
    "LabelClass",
    "LabelCodec",
    "LossRole",
    "METRICS",
    "Metric",
    "NETWORKS",
    "Nested",
    "NetworkRole",
    "Now",
    "PIPELINES",
    "Phase",
    "Pipeline",
    "RegistryError",
    "Shared",
    "Stage",
    "TRACKERS",
    "Terms",
    "TrainingError",
    "Translator",
    "UnusableFiles",
    "View",
    "WeightedLosses",
    "accuracy",
    "fitted",
    "full_precision",
    "gradient_penalty",
    "label_vector",
    "latents_of",
    "list_images",
    "load_image",
    "logits_of",
    "mean_over_maps",
    "r1_penalty",
    "save_image",
    "train",
    "without_autocast",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'i2i' has no attribute {name!r}")
    return getattr(importlib.import_module(f"i2i.{_HOME_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)

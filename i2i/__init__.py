"""i2i: image-to-image translation from YAML.

The public names below are imported when first used, so ``import i2i`` costs nothing.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from i2i.core.errors import CheckpointError, ConfigError, DataError, I2IError, RegistryError
    from i2i.core.registry import (
        DATASETS,
        DISCRIMINATORS,
        ENCODERS,
        GENERATORS,
        LOSSES,
        METRICS,
        PIPELINES,
        TRACKERS,
        Nested,
    )
    from i2i.inference.translator import Translator
    from i2i.pipelines.base import Channels, LossRole, NetworkRole, Phase, Pipeline, Terms, View
    from i2i.run.api import train

_HOMES = {
    "run.api": ["train"],
    "core.errors": ["CheckpointError", "ConfigError", "DataError", "I2IError", "RegistryError"],
    "inference.translator": ["Translator"],
    "pipelines.base": ["Channels", "LossRole", "NetworkRole", "Phase", "Pipeline", "Terms", "View"],
    "core.registry": [
        "DATASETS",
        "DISCRIMINATORS",
        "ENCODERS",
        "GENERATORS",
        "LOSSES",
        "METRICS",
        "PIPELINES",
        "TRACKERS",
        "Nested",
    ],
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "CheckpointError",
    "ConfigError",
    "DataError",
    "I2IError",
    "RegistryError",
    "Translator",
    "Channels",
    "LossRole",
    "NetworkRole",
    "Phase",
    "Pipeline",
    "Terms",
    "View",
    "DATASETS",
    "DISCRIMINATORS",
    "ENCODERS",
    "GENERATORS",
    "LOSSES",
    "METRICS",
    "PIPELINES",
    "TRACKERS",
    "train",
    "Nested",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'i2i' has no attribute {name!r}")
    return getattr(importlib.import_module(f"i2i.{_HOME_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)

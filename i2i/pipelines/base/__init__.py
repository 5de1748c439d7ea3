"""The contract of an objective: what it declares, what a step may know, and the class that all derive from."""

from i2i.pipelines.base.applied import Applied, Arithmetic
from i2i.pipelines.base.declarations import (
    Channels,
    Direction,
    LossRole,
    NetworkRole,
    Phase,
    Stage,
    View,
)
from i2i.pipelines.base.latents import latents_of
from i2i.pipelines.base.logits import accuracy, logits_of, mean_over_maps
from i2i.pipelines.base.pipeline import Pipeline
from i2i.pipelines.base.policy import depends_on_batch, translating
from i2i.pipelines.base.sizes import fitted
from i2i.pipelines.base.step import Batch, Now, Shared, Terms, each_of
from i2i.pipelines.base.weighted import WeightedLosses, family_of

__all__ = [
    "Applied",
    "Arithmetic",
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
    "depends_on_batch",
    "each_of",
    "family_of",
    "fitted",
    "latents_of",
    "logits_of",
    "mean_over_maps",
    "translating",
]

"""Uses a bundle once, so that a run whose model cannot be used does not end with "done"."""

from pathlib import Path

import torch

from i2i.core.errors import CheckpointError, TrainingError, one_line
from i2i.inference.bundle.bundle import BundleInfo, load_bundle
from i2i.pipelines.base import Applied, Direction, latents_of
from i2i.training.precision import Precision

_SIDE = 64  # pixels of an image where the bundle does not tell the size of training


def try_bundle(path: Path) -> None:
    """Loads a bundle on the CPU and uses each direction once.

    Raises:
        TrainingError: It cannot be loaded or used, or gives numbers that are not finite.
    """
    try:
        info, pipeline = load_bundle(path)  # local plugin files have been run by this process
        applied = Applied(pipeline, Precision("fp32", torch.device("cpu")), info.norm_policy, info.dropout_policy)
        with torch.inference_mode(), applied.policies():
            for name, direction in pipeline.directions.items():
                if all(letter in pipeline.members for letter in direction.networks):
                    _try_direction(applied, info, name, direction)
    except CheckpointError as error:
        raise TrainingError(f"the run is done, and its model cannot be read: {error.message}", error.hints) from error
    except Exception as error:  # a plugin's code may raise anything
        raise TrainingError(
            f"the run is done, and its model {path} cannot be used: {type(error).__name__}: {one_line(error)}",
            ["its checkpoint is there: mend the pipeline, then --resume auto with a larger trainer.steps"],
        ) from error


def _try_direction(applied: Applied, info: BundleInfo, name: str, direction: Direction) -> None:
    pipeline = applied.pipeline
    if direction.source:
        told = next(one for one in info.directions.values() if one.own == name)
        image = torch.zeros(info.codec(told.source).channels, *(info.size or (_SIDE, _SIDE)))
        image[..., ::2, ::3] = 0.5  # of one colour, it would be zero after a normalisation
        made = applied.outputs([image], name, lambda _: 0) if direction.target else applied.scores([image], name)
    else:
        label = None
        if info.classes:
            label = torch.zeros(1, dtype=torch.int64)
        elif info.attributes:
            label = torch.zeros(1, len(info.attributes))
        made = applied.generated(latents_of([0], pipeline.latent_shape), label, [0])
    for result in made:
        if not torch.isfinite(result).all():
            raise ValueError(f"{name} gives numbers that are not finite")

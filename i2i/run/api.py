"""Training from Python, as the command does it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from i2i.core.errors import I2IError
from i2i.run.experiment import Experiment
from i2i.run.start import train as train_experiment
from i2i.training import distributed


def train(
    config: str | Path | Mapping[str, Any],
    overrides: Sequence[str] = (),
    *,
    out: str | Path | None = None,
    resume: str = "never",
    max_hours: float | None = None,
) -> Path:
    """Trains what a YAML describes.

    Args:
        config: The YAML file, or what would stand in one as plain data.
        overrides: ``key.path=value``, as on the command line.
        out: The run folder; by default ``runs/NAME/NUMBER``.
        resume: ``never``, ``auto``, or a checkpoint or run folder to continue.
        max_hours: When to stop at the latest, with a checkpoint to go on from.

    Returns:
        The run folder: ``i2i.Translator.load`` takes it.

    Raises:
        ConfigError: The YAML is wrong; holds every problem found.
        I2IError: Training cannot start or go on, or its last save failed.
        KeyboardInterrupt: SIGINT or SIGTERM came; the checkpoint is written.
    """
    with distributed.joined():
        with distributed.agreeing():
            experiment = Experiment.load(config, overrides)
        code, folder = train_experiment(experiment, out, resume, max_hours=max_hours)
    if code == 1:
        raise I2IError(f"{folder}: the last save failed")
    if code:
        raise KeyboardInterrupt
    return folder

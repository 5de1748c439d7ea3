"""The report of a run, whether the run is at hand or only its folder."""

from pathlib import Path

from i2i.core.errors import I2IError
from i2i.run.experiment import Experiment
from i2i.run.report.page import write_report
from i2i.run.report.pictures import Picture, Sheet, collect_pictures, collect_sheets


def report_run(experiment: Experiment, folder: Path, device: str = "auto", count: int = 4) -> Path:
    """Writes the report of a run, with pictures where they can be made; the page says why where they cannot.

    Args:
        experiment: The run's.
        folder: The run folder.
        device: Where to translate.
        count: Pictures of each direction.

    Returns:
        The page's path.

    Raises:
        OSError: A file may not be read, or the page cannot be written.
    """
    pictures: list[Picture] = []
    sheets: list[Sheet] = []
    notes = []
    directions = [direction for direction in experiment.own_directions.values() if direction.target]
    try:
        if any(direction.source for direction in directions):
            pictures = collect_pictures(experiment, folder, count, device)
        if any(not direction.source for direction in directions):
            sheets = collect_sheets(folder, count, device)
    except Exception as error:  # data sets and networks of others may raise anything; the curves do not depend on them
        notes.append(f"no pictures could be made: {_reason(error)}")
    return write_report(folder, pictures, sheets, notes)


def report_folder(folder: Path, device: str = "auto", count: int = 4) -> Path:
    """As :func:`report_run`, with the experiment that the folder's ``config.yaml`` describes."""
    if not count:
        return write_report(folder)
    try:
        experiment = Experiment.load(folder / "config.yaml")
    except I2IError as error:
        return write_report(folder, notes=[f"no pictures could be made: {_reason(error)}"])
    return report_run(experiment, folder, device, count)


def _reason(error: Exception) -> str:
    if not isinstance(error, I2IError):
        return f"{type(error).__name__}: {error}"
    return error.message.splitlines()[0]

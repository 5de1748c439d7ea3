"""Where a bundle lies: told without torch, so that its file is read while torch is imported."""

from pathlib import Path

from i2i.core.errors import CheckpointError, shortened

FOREIGN = "weights of other projects become a bundle: i2i import_weights FILE OUT.safetensors"


def find_bundle(model: str | Path, best: bool = False) -> Path:
    """Finds the bundle of a run folder; a bundle is its own.

    Raises:
        CheckpointError: There is none.
    """
    if not str(model):
        raise CheckpointError("the name of the model is empty", ["expected a run folder, or a bundle file"])
    try:
        return _find(Path(model), best)
    except OSError as error:  # such as a name that is too long, or a folder that may not be searched
        raise CheckpointError(f"{shortened(str(model))}: {(error.strerror or str(error)).lower()}") from error


def _find(path: Path, best: bool) -> Path:
    if path.is_dir():
        name = "best.safetensors" if best else "model.safetensors"
        if not (path / name).is_file():
            hints = ["expected a run folder, which has one after its first checkpoint, or a bundle file"]
            raise CheckpointError(
                f"{path}: the folder holds no {name}", [*hints, FOREIGN] if any(path.glob("*.pth")) else hints
            )
        return path / name
    if not path.is_file():
        raise CheckpointError(f"{path}: no such run folder or bundle")
    return path

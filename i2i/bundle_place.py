"""Where a bundle lies: told without torch, so that its file is read while torch is imported."""

from pathlib import Path

from i2i.errors import CheckpointError

FOREIGN = "weights of other projects become a bundle: i2i import_weights FILE OUT.safetensors"


def find_bundle(model: str | Path, best: bool = False) -> Path:
    """Finds the bundle of a run folder; a bundle is its own.

    Raises:
        CheckpointError: There is none.
    """
    path = Path(model)
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

"""Images of many seeds in a folder, each written whole; what the manifest lists is not done again."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from i2i.core.errors import DataError
from i2i.images.files import save_image
from i2i.inference.generator import Generator, Label
from i2i.inference.jobs.manifest import Manifest
from i2i.inference.jobs.targets import LOSSY, Target


@dataclass
class Made:
    """What has become of the seeds.

    Attributes:
        generated: Images written.
        skipped: Images that were there already.
        is_complete: Whether nothing is left to do.
    """

    generated: int = 0
    skipped: int = 0
    is_complete: bool = False


def seed_name(seed: int, format: str) -> str:
    """Returns the file's name of a seed: ``seed0042.png``."""
    return f"seed{seed:04d}.{format}"


def generate_folder(
    generator: Generator,
    seeds: Sequence[int],
    label: Label,
    target: Target,
    digest: str,
    *,
    batch_size: int = 1,
    quality: int = 95,
    overwrite: bool = False,
    stopping: Callable[[], bool] = lambda: False,
    progress: Callable[[Made], None] = lambda made: None,
) -> Made:
    """Writes the image of each seed into a folder.

    Args:
        generator: The model.
        seeds: Without repetition.
        label: Of all images; see :class:`i2i.inference.generator.Generator`.
        target: The folder and the format.
        digest: SHA-256 of the bundle.
        batch_size: Images made together.
        quality: Of formats that lose something, 1 to 100.
        overwrite: Whether to do again what is done, and to replace files that are not listed.
        stopping: Whether to stop before the next batch.
        progress: Called after each batch.

    Raises:
        DataError: The folder cannot be written, or holds files of these names from elsewhere.
    """
    options: dict[str, Any] = {"precision": generator.precision.name, "format": target.format}
    if target.format in LOSSY:
        options["quality"] = quality
    if label is not None:
        options["label"] = dict(label) if isinstance(label, dict) else label
    if generator.options:
        options["options"] = generator.options
    made = Made()
    scratch, _ = target.prepare(generator.codec)
    with scratch:
        manifest = Manifest(target.folder / "manifest.jsonl", digest, options)
        try:
            waiting = []
            for seed in seeds:
                output, path = _place(target, seed)
                if path.is_dir():
                    raise DataError(f"{path}: is a folder, where an image is to be", ["choose another OUTPUT"])
                if not path.exists() or overwrite:
                    waiting.append(seed)
                elif manifest.is_done(output, f"seed {seed}", 0):
                    made.skipped += 1
                elif manifest.listed_input(output, f"seed {seed}"):
                    waiting.append(seed)  # of another model, or made in another way
                else:
                    raise DataError(f"{path}: exists and is not in the manifest", ["--overwrite replaces it"])
            for first in range(0, len(waiting), batch_size):
                if stopping():
                    break
                batch = waiting[first : first + batch_size]
                for seed, array in zip(batch, generator(batch, label), strict=True):
                    output, path = _place(target, seed)
                    part = scratch.part(path)
                    try:
                        palette = generator.codec.palette
                        save_image(part, array, target.format, quality=quality, palette=palette, is_atomic=False)
                        size = (array.shape[1], array.shape[0])
                        with manifest.held():
                            is_new = not path.exists()
                            # A new image is listed before it appears, one that replaces another after.
                            manifest.append(output, f"seed {seed}", 0, size, is_made=is_new)
                            part.replace(path)
                            if not is_new:
                                manifest.append(output, f"seed {seed}", 0, size)
                    finally:
                        part.unlink(missing_ok=True)
                    made.generated += 1
                progress(made)
            made.is_complete = made.generated == len(waiting)
        finally:
            with suppress(OSError):
                manifest.close()
    return made


def _place(target: Target, seed: int) -> tuple[str, Path]:
    name = seed_name(seed, target.format)
    return name, target.folder / name


def grid_of(images: np.ndarray, columns: int) -> np.ndarray:
    """Lays images ``[N, H, W, C]`` out in rows; missing ones are black (or 0)."""
    rows = -(-len(images) // columns)
    blank = np.zeros((rows * columns - len(images), *images.shape[1:]), images.dtype)
    height, width, channels = images.shape[1:]
    cells = np.concatenate([images, blank]).reshape(rows, columns, height, width, channels)
    return np.ascontiguousarray(cells.transpose(0, 2, 1, 3, 4).reshape(rows * height, columns * width, channels))

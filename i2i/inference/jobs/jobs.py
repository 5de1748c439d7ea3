"""One image of a folder, from its file to the file of its translation."""

import errno
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from i2i.core.errors import DataError
from i2i.images.codecs import Codec, Half
from i2i.images.decoding import Refused
from i2i.images.files import describe_os_error, save_image
from i2i.inference.jobs.inputs import Refuse
from i2i.inference.jobs.manifest import Manifest
from i2i.inference.jobs.scratch import Scratch
from i2i.inference.jobs.targets import LOSSY, Target, folded, output_names


@dataclass(frozen=True)
class Options:
    """How images are translated.

    Attributes:
        direction: One of the model's.
        format: A key of ``i2i.images.files.WRITERS``.
        quality: 1 to 100, of formats that lose something.
        half: Which half of side-by-side files is translated; ``None`` for the whole.
        batch_size: Images of one size that go through the networks together; ``None`` to choose.
        overwrite: Whether to translate what is done, and to replace files that are not ours.
        own: Options of the model's pipeline.
    """

    direction: str
    format: str = "png"
    quality: int = 95
    half: Half | None = None
    batch_size: int | None = None
    overwrite: bool = False
    own: Mapping[str, Any] = field(default_factory=dict)

    def deciding(self, precision: str, is_calibrated: bool = False) -> dict[str, Any]:
        """Returns what a translation depends on, as the manifest lists it, and who chose the precision."""
        values: dict[str, Any] = {"direction": self.direction, "precision": precision, "format": self.format}
        if is_calibrated:
            values["calibrated"] = True
        if self.format in LOSSY:
            values["quality"] = self.quality
        if self.half:
            values["half"] = self.half
        if self.own:
            values["options"] = dict(self.own)
        return values


@dataclass(frozen=True)
class Job:
    """An image to translate.

    Attributes:
        source: Its file.
        input: Its name as the manifest has it, relative to INPUT's root.
        output: The translation's name, relative to the output folder.
    """

    source: Path
    input: str
    output: str


def name_jobs(
    root: Path,
    folders: Iterable[tuple[str, list[str]]],
    target: Target,
    folds_case: bool,
    refuse: Refuse,
    say: Callable[[str], None],
) -> Iterator[Job]:
    """Names the translation of every image, folder by folder.

    Args:
        root: What the folders' names are relative to.
        folders: As :meth:`i2i.inference.jobs.inputs.Inputs.folders` yields them.
        target: Where the translations go.
        folds_case: Whether their folder takes names that differ only by case for the same.
        refuse: Receives the images that it would mix up.
        say: Receives a line when images keep their suffix, the first time.
    """
    told = False
    for folder, names in folders:
        inside = f"{folder}/" if folder else ""
        taken: dict[str, str] = {}
        for named in output_names(names, target.format):
            job = Job(root / folder / named.name, inside + named.name, target.file or inside + named.output)
            if named.keeps_suffix and not told:
                told = True
                say(f"some images would share a name: they keep their suffix, as in {job.output}")
            if folds_case and named.keeps_suffix:  # others share no name, whatever their case
                first = taken.setdefault(folded(named.output), named.output)
                if first != named.output:
                    refuse(job.input, f"its translation would replace {inside}{first}: their names differ only by case")
                    continue
            yield job


@dataclass(frozen=True)
class Loaded:
    """An image that was read.

    Attributes:
        job: Which.
        array: ``[H, W, C]`` as the input's codec loads it; empty where the translation is done, or the image refused.
        notes: The conversions that were made.
        input_bytes: Size of the file.
        is_done: Whether it was translated before.
        refusal: Why it cannot be translated.
    """

    job: Job
    array: np.ndarray
    notes: tuple[str, ...] = ()
    input_bytes: int = 0
    is_done: bool = False
    refusal: str = ""


_NOTHING = np.empty((0, 0, 0), np.uint8)


class Files:
    """Reads the images and writes the translations of a job; any thread may call any method.

    Args:
        scratch: Makes files in the folder of the translations.
        manifest: What is done.
        options: How to translate.
        source: What the model takes.
        target: What it makes.
    """

    def __init__(self, scratch: Scratch, manifest: Manifest, options: Options, source: Codec, target: Codec) -> None:
        self.scratch, self.manifest, self.options = scratch, manifest, options
        self.folder = scratch.folder
        self.source, self.target = source, target

    def read(self, job: Job) -> Loaded:
        """Reads an image unless its translation is done; what is wrong with it becomes its ``refusal``."""
        try:
            self.scratch.sweep((self.folder / job.output).parent)
            source = job.source.stat()
            status = _status(self.folder / job.output)
            if status is not None and os.path.samestat(status, source):
                raise Refused(f"its translation would replace the original: {job.output}")
            if self._is_done(job, source.st_size, status):
                return Loaded(job, _NOTHING, is_done=True)
            array, notes = self.source.load(job.source, self.options.half)
        except Refused as error:
            return Loaded(job, _NOTHING, refusal=str(error))
        except DataError as error:
            return Loaded(job, _NOTHING, refusal=error.message.removeprefix(f"{job.source}: "))
        except OSError as error:
            return Loaded(job, _NOTHING, refusal=describe_os_error(error))
        return Loaded(job, array, notes, source.st_size)

    def _is_done(self, job: Job, input_bytes: int, status: os.stat_result | None) -> bool:
        """Tells whether what lies at the translation's place will do.

        Raises:
            Refused: It may not be replaced.
            OSError: The place cannot be.
        """
        if status is None:
            return False
        is_its_own = self.manifest.listed_input(job.output, job.input)
        if not self.options.overwrite and not is_its_own:
            owner = "as the translation of another image" if is_its_own is False else "and is not in the manifest"
            raise Refused(f"{job.output} exists {owner}; --overwrite replaces it")
        if is_its_own is None and not self._is_inside((self.folder / job.output).parent):
            raise Refused(f"{job.output} lies outside of OUTPUT, where a link leads to, and is not in the manifest")
        is_whole = stat.S_ISREG(status.st_mode) and status.st_size > 0
        return not self.options.overwrite and is_whole and self.manifest.is_done(job.output, job.input, input_bytes)

    def _is_inside(self, folder: Path) -> bool:
        return folder.resolve().is_relative_to(self.folder.resolve())

    def write(self, image: Loaded, array: np.ndarray) -> str:
        """Writes a translation, whole or not at all, and lists it.

        Whatever moment the process is killed at, the next run finds a translation that is listed and there, or does it
        again: a new one is listed just before it appears, so that none is ever taken for someone else's file; one that
        replaces another is listed just after, and before it as about to be replaced. Other jobs wait meanwhile.

        Args:
            image: What was translated.
            array: ``[H, W, C]`` as files of the output hold it.

        Returns:
            ``new``; ``replaced``; or ``done`` where another job has been faster.

        Raises:
            Refused: The format does not hold such an image, or something else has its place by now.
            OSError: The file cannot be written.
        """
        path = self.folder / image.job.output
        part = self.scratch.part(path)
        listing = (image.job.output, image.job.input, image.input_bytes, (array.shape[1], array.shape[0]))
        try:
            quality, palette = self.options.quality, self.target.palette
            save_image(part, array, self.options.format, quality=quality, palette=palette, is_atomic=False)
            with self.manifest.held():
                status = _status(path)
                if self._is_done(image.job, image.input_bytes, status):
                    return "done"
                self.manifest.append(*listing, is_made=status is None)
                part.replace(path)
                if status is not None:
                    self.manifest.append(*listing)
            return "new" if status is None else "replaced"
        except DataError as error:
            cause = error.__cause__
            if isinstance(cause, FileNotFoundError):
                raise OSError(errno.ESTALE, "the folder was removed meanwhile") from error
            if isinstance(cause, OSError) and cause.errno is not None:
                raise cause from error
            raise Refused(error.message.removeprefix(f"{part}: ")) from error
        finally:
            part.unlink(missing_ok=True)


def _status(path: Path) -> os.stat_result | None:
    """Returns what is there; a link that leads nowhere is there all the same."""
    for look in (path.stat, path.lstat):
        try:
            return look()
        except (FileNotFoundError, NotADirectoryError):
            continue
    return None

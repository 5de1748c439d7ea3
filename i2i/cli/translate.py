"""Translate images with a trained model; names, folders and image sizes are kept.

  python tools/translate.py runs/horses/001 photos translated
  python tools/translate.py horses.safetensors 'photos/**/*.jpg' translated --direction b2a --format jpg
  python tools/translate.py horses.safetensors photo.jpg zebra.png

The folder OUTPUT keeps a list, manifest.jsonl: what is in it with the same model and options is not done again.
"""

import argparse
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from i2i.cli.parts.model import add_model
from i2i.cli.parts.pixels import add_max_pixels, max_pixels
from i2i.core.errors import I2IError, printable
from i2i.core.progress import say

if TYPE_CHECKING:
    from i2i.inference.jobs.folders import Tally
    from i2i.inference.jobs.inputs import Inputs
    from i2i.inference.jobs.jobs import Options
    from i2i.inference.jobs.manifest import Refusals
    from i2i.inference.jobs.targets import Target
    from i2i.inference.translator import Translator

HELP = "translate images with a trained model"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_model(
        parser,
        "arithmetic of the networks: fp32 is exact, others are faster (default: auto, which takes a faster one where "
        "that keeps 99.5 %% of the values of the first images within 1 of 255, and none beyond 4)",
        "cpu, cuda, mps; several as cuda:0,cuda:1; all GPUs of this host as all (default: auto, which takes one)",
    )
    parser.add_argument("input", metavar="INPUT", help="an image, a folder, or a glob in quotes ('photos/**/*.jpg')")
    parser.add_argument("output", metavar="OUTPUT", help="a folder, or a file (with a suffix) where INPUT is one image")
    parser.add_argument("--direction", metavar="NAME", help="such as a2b or b2a (default: the model's first)")
    parser.add_argument("--format", metavar="png|jpg|…", help="of the translations (default: OUTPUT's suffix, or png)")
    parser.add_argument("--quality", type=int, metavar="N", help="1 to 100, of jpg, webp and avif (default: 95)")
    parser.add_argument("--half", choices=("left", "right"), help="translate this half of side-by-side images")
    parser.add_argument("--overwrite", action="store_true", help="translate what is done, and replace files not listed")
    parser.add_argument("--no-recursive", action="store_true", help="leave out the folders inside of INPUT")
    parser.add_argument(
        "--batch-size",
        type=int,
        metavar="N",
        help="images of one size that go through the networks together (default: 1 on a cpu, else 8)",
    )
    add_max_pixels(parser)


def run(args: argparse.Namespace) -> int:
    from i2i.inference.jobs.inputs import find_inputs, no_images
    from i2i.inference.jobs.jobs import Options
    from i2i.inference.jobs.targets import find_target

    # All that can be wrong without a model comes first: loading torch takes seconds.
    format = _check_options(args)
    inputs = find_inputs(args.input, not args.no_recursive)
    target = find_target(args.output, inputs, format, args.overwrite)
    _check_quality(args.quality, target.format)
    unreadable: list[tuple[str, str]] = []
    folders = inputs.folders(target.folder, lambda name, reason: unreadable.append((name, reason)))
    first = next(folders, None)
    if first is None:
        raise no_images(args.input, inputs, unreadable)

    translators, digest = _load_model(args)
    translator = translators[0]
    direction = translator.check_direction(args.direction)
    chosen = target
    target = chosen.fitted(translator.codecs(direction)[1])
    if target.format != chosen.format:
        say(f"written as {target.format}: {chosen.format} does not hold {translator.codecs(direction)[1].about}")
    own = translator.options
    options = Options(direction, target.format, args.quality or 95, args.half, args.batch_size, args.overwrite, own)
    return _translate(translators, digest, args.precision, options, inputs, target, chain([first], folders), unreadable)


def _check_options(args: argparse.Namespace) -> str | None:
    """Checks what argparse does not; returns the format asked for."""
    from i2i.images.files import WRITERS

    if args.batch_size is not None and args.batch_size < 1:
        raise I2IError(f"--batch-size must be at least 1, got {args.batch_size}")
    if args.format is None:
        return None
    format: str = args.format.lower().removeprefix(".")
    if format not in WRITERS:
        raise I2IError(f"--format: images cannot be written as {args.format!r}, only as {', '.join(WRITERS)}")
    return format


def _check_quality(quality: int | None, format: str) -> None:
    from i2i.inference.jobs.targets import LOSSY

    if quality is None:
        return
    if not 1 <= quality <= 100:
        raise I2IError(f"--quality is from 1 to 100, got {quality}")
    if format not in LOSSY:
        raise I2IError(f"--quality: {format} loses nothing; formats with a quality: {', '.join(sorted(LOSSY))}")


def _load_model(args: argparse.Namespace) -> tuple[list["Translator"], str]:
    """Loads the model, once a device; returns its file's SHA-256 as well."""
    from i2i.core.plugins import sha256
    from i2i.inference.bundle.place import find_bundle

    path = find_bundle(args.model, args.best)
    with ThreadPoolExecutor(1) as pool:
        while True:
            before = _identity(path)
            reading = pool.submit(sha256, path)  # while torch is imported
            from i2i.core.config.options import parse_options
            from i2i.inference.jobs.lanes import devices_of
            from i2i.inference.translator import Translator

            translators = [
                Translator.load(
                    path,
                    device=device,
                    precision=args.precision,
                    max_pixels=max_pixels(args),
                    plugins=args.plugin,
                    options=parse_options(args.option),
                )
                for device in devices_of(args.device)
            ]
            digest = reading.result()
            if _identity(path) == before:  # a run that is still training may have replaced it
                return translators, digest


def _identity(path: Path) -> tuple[int, ...]:
    status = path.stat()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _translate(
    translators: list["Translator"],
    digest: str,
    asked: str,
    options: "Options",
    inputs: "Inputs",
    target: "Target",
    folders: Iterable[tuple[str, list[str]]],
    unreadable: list[tuple[str, str]],
) -> int:
    """Translates all images and reports; ``unreadable`` fills while ``folders`` are walked."""
    from i2i.core.progress import Progress
    from i2i.core.signals import StopRequest
    from i2i.inference.jobs.folders import FolderTranslation
    from i2i.inference.jobs.jobs import Files, name_jobs
    from i2i.inference.jobs.manifest import Manifest, Refusals
    from i2i.inference.jobs.precisions import PrecisionChoice, counts_as_done, recorded_precision

    translator = translators[0]
    info, direction = translator.info, options.direction
    source, output_codec = translator.codecs(direction)
    lists = target.folder if target.file is None else None
    scratch, folds_case = target.prepare(output_codec)
    with scratch:
        refusals = Refusals(lists and lists / "refused.jsonl", keep=not scratch.is_alone)
        recorded = recorded_precision(lists / "manifest.jsonl", digest, options) if lists and asked == "auto" else None
        choice = PrecisionChoice(asked, translators, direction, recorded, say)
        listed = options.deciding(choice.name, choice.is_calibrated)
        manifest = Manifest(lists and lists / "manifest.jsonl", digest, listed, counts_as_done(asked, options))
        files = Files(scratch, manifest, options, source, output_codec)
        say(
            f"{info.name}, step {info.step}: {direction} on {', '.join(str(one.device) for one in translators)}, "
            f"{choice.name}; "
            f"normalisation policy {info.norm_policy}, dropout policy {info.dropout_policy}"
        )
        if lists and not scratch.is_alone:
            say(f"another job is writing into {lists} as well")
        with StopRequest() as stop, Progress("", None, count="images") as progress:
            jobs = name_jobs(inputs.root, folders, target, folds_case, refusals.add, progress.say)
            translation = FolderTranslation(
                translators, files, options, refusals, choice, lambda: stop.number is not None,
                lambda tally: progress.reach(tally.translated, f"skipped {tally.skipped}, refused {refusals.count}"),
            )  # fmt: skip
            tally = translation.run(jobs)
        for name, reason in unreadable:
            refusals.add(name, reason)
        for file in (refusals, manifest):
            with suppress(OSError):  # a full disk: what it did not take is in the tally
                file.close()
    output = target.folder / (target.file or "")
    _report(tally, refusals, inputs, output)
    if tally.trouble:
        print(printable(f"OUTPUT {output}: {tally.trouble}"), file=sys.stderr)
        return 1
    if stop.number is not None and not tally.is_complete:
        say("stopped; the same command goes on from here")
        return stop.exit_code
    return 1 if refusals.count else 0


def _report(tally: "Tally", refusals: "Refusals", inputs: "Inputs", output: Path) -> None:
    for note, count in sorted(tally.notes.items()):
        say(f"{count} {'image' if count == 1 else 'images'}: {note}")
    if tally.replaced:
        say(f"{tally.replaced} of the translations replaced older ones")
    if refusals.count:
        say("refused:")
        for name, reason in refusals.first:
            say(f"    {inputs.root / name}: {reason}")
        if refusals.count > len(refusals.first):
            say(f"    and {refusals.count - len(refusals.first)} more")
        if refusals.path is not None:
            say(f"    all of them: {refusals.path}")
    say(
        f"translated {tally.translated}, skipped {tally.skipped} (done before), refused {refusals.count}; "
        f"{tally.translated / tally.seconds:.1f} images/s; output in {output}"
    )

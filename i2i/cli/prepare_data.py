"""Download a classic data set, verify it and lay it out.

python tools/prepare_data.py horse2zebra                       into datasets/horse2zebra
python tools/prepare_data.py maps --from ~/maps.tar.gz         from a file downloaded elsewhere
python tools/prepare_data.py cityscapes --from a.zip b.zip     a set that needs a login
"""

import argparse
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from i2i.core.errors import DataError
from i2i.core.progress import human_size, say
from i2i.data.known.prepare import prepare
from i2i.data.known.sources import SOURCES, Source, find_source

HELP = "download a classic data set, verify it and lay it out"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.add_argument("name", nargs="?", metavar="NAME", help=f"one of: {', '.join(SOURCES)}")
    parser.add_argument(
        "--root", type=Path, default=Path("datasets"), metavar="DIR", help="folder of all data sets (default: datasets)"
    )
    parser.add_argument(
        "--from",
        dest="given",
        nargs="+",
        action="extend",
        default=[],
        metavar="FILE",
        help="take these archives or unpacked folders instead of downloading",
    )


def run(args: argparse.Namespace) -> int:
    """Prepares the data set.

    Returns:
        0 when it lies in place, 130 or 143 after a signal.

    Raises:
        DataError: If the data cannot be had or are not what they should be.
    """
    name, given = _split(args.name, args.given)
    return prepare_and_tell(find_source(name), args.root, given)


def prepare_and_tell(source: Source, root: Path, given: Sequence[Path]) -> int:
    """Prepares a data set and says so; after a signal, says what is kept.

    Args:
        source: The data set.
        root: The folder of all data sets.
        given: Archives or folders to take instead of downloading.

    Returns:
        0, or 130 or 143 after a signal.

    Raises:
        DataError: If the data cannot be had or are not what they should be.
    """
    try:
        with _sigterm_raises():
            say(str(prepare(source, root, given, say=say)))
    except (KeyboardInterrupt, _Terminated) as stop:
        say(_farewell(source, root))
        return 143 if isinstance(stop, _Terminated) else 130
    return 0


def _split(name: str | None, given: list[str]) -> tuple[str, list[Path]]:
    """Finds NAME where it follows ``--from FILE…``, which takes all that comes after it."""
    if name is None:
        for word in reversed(given):
            if word in SOURCES and not Path(word).exists():
                return word, [Path(other) for other in given if other != word]
        raise DataError("<command line>: NAME is missing", [f"known: {', '.join(SOURCES)}"])
    return name, [Path(word) for word in given]


def _farewell(source: Source, root: Path) -> str:
    part = root / f"{source.archive_name}.part"
    if part.exists():
        return f"stopped; {part} keeps {human_size(part.stat().st_size)}, the same command goes on from there"
    return f"stopped; {root / source.name} was not touched, the same command starts again"


class _Terminated(BaseException):
    """SIGTERM came."""


@contextmanager
def _sigterm_raises() -> Iterator[None]:
    """Lets SIGTERM unwind the stack as Ctrl-C does, so that the working folder goes."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        raise _Terminated

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)

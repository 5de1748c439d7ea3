"""Offers to download a known data set that is missing, where somebody sits at a terminal."""

import os
import sys
from pathlib import Path

from i2i.cli.prepare_data import prepare_and_tell
from i2i.core.progress import human_size
from i2i.data.known.download import Downloader
from i2i.data.known.prepare import RECORD
from i2i.data.known.sources import SOURCES, Source

_OF_LAUNCHERS = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "TORCHELASTIC_RUN_ID")


def offer_download(root: str | None) -> int:
    """Asks whether to download the data set, if it is missing, known, and there is somebody to ask.

    Args:
        root: The YAML's ``data.root``; the last part of it names the data set.

    Returns:
        130 or 143 where a signal stopped the download, else 0. Where the answer is no, the data set stays missing.

    Raises:
        DataError: The data cannot be had or are not what they should be.
    """
    source = _missing_source(root)
    if root is None or source is None or not _somebody_is_there():
        return 0
    size = Downloader().size(source.urls)
    amount = f" ({human_size(size)})" if size is not None else ""
    try:
        answer = input(f"{root} is missing. Download {source.name} now{amount}? [y/N] ")
    except EOFError:
        print()
        return 0
    if answer.strip().lower() not in ("y", "yes"):
        return 0
    return prepare_and_tell(source, Path(root).expanduser().parent, [])


def _missing_source(root: str | None) -> Source | None:
    """The known data set that should lie there and does not."""
    if root is None or "://" in root:
        return None
    folder = Path(root).expanduser()
    source = SOURCES.get(folder.name)
    if source is None or not source.urls:
        return None
    is_free = not folder.exists() or (folder.is_dir() and {path.name for path in folder.iterdir()} <= {RECORD})
    return source if is_free else None


def _somebody_is_there() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty() and not any(name in os.environ for name in _OF_LAUNCHERS)

"""What the original wrote about a run beside its weights: ``train_opt.txt``, ``test_opt.txt``."""

import re
from collections.abc import Mapping
from pathlib import Path

_NAMES = ("train_opt.txt", "test_opt.txt")
_NAME = re.compile(r"\w+")
_MAX_BYTES = 1 << 20


def read_options(folder: Path) -> tuple[str, Mapping[str, str]]:
    """Reads the options of a run; its training's come first.

    Args:
        folder: Where the weights lie.

    Returns:
        The file's name, and its options as text; both empty where there is no such file.
    """
    for name in _NAMES:
        path = folder / name
        try:
            if not path.is_file() or path.stat().st_size > _MAX_BYTES:
                continue
            lines = path.read_bytes().decode("utf-8", "replace").splitlines()
        except OSError:  # it helps where it can be read, and nothing depends on it
            continue
        pairs = (line.strip().partition(": ") for line in lines)
        options = {key: _value(rest) for key, colon, rest in pairs if colon and _NAME.fullmatch(key)}
        if options:
            return name, options
    return "", {}


def _value(rest: str) -> str:
    """Takes away what a value would be by default, which the original appends."""
    value, opening, _ = rest.rpartition("[default: ") if rest.endswith("]") else (rest, "", "")
    return (value if opening else rest).strip()

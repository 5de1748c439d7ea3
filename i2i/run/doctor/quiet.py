"""Decoders written in C print about damaged files on standard error, each as it likes."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Discards what C libraries print; what Python prints on standard error, such as a progress bar, still appears."""
    try:
        is_own = sys.stderr.fileno() == 2
    except (OSError, ValueError, AttributeError):  # replaced by something that is no file
        is_own = False
    if not is_own:
        yield
        return
    before = sys.stderr
    before.flush()
    with os.fdopen(os.dup(2), "w", encoding=before.encoding, errors=before.errors, buffering=1) as python_only:
        nothing = os.open(os.devnull, os.O_WRONLY)
        try:
            sys.stderr = python_only
            os.dup2(nothing, 2)
            yield
        finally:
            python_only.flush()
            os.dup2(python_only.fileno(), 2)
            sys.stderr = before
            os.close(nothing)

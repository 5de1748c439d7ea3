"""Standard output and error that never end the work: their disk may be full, their reader or their terminal gone."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast


class _Patient:
    """A stream that says no more once it has failed."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        try:
            self._stream.write(text)
        except OSError:
            self._fall_silent()
        return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError:
            self._fall_silent()

    def _fall_silent(self) -> None:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, self._stream.fileno())  # what the stream still holds goes there when the process ends
        os.close(null)


@contextmanager
def patient_streams() -> Iterator[None]:
    """Makes the standard streams patient; where they are closed, they lead nowhere."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:  # a file opened later would get this number, and what libraries print to it
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    before = sys.stdout, sys.stderr
    patient = [_Patient(stream or Path(os.devnull).open("w")) for stream in before]  # noqa: SIM115
    sys.stdout, sys.stderr = cast(Any, patient)
    try:
        yield
    finally:
        for stream in patient:
            stream.flush()
        sys.stdout, sys.stderr = before

"""Runs a dry run under watch, and judges what it says: what the fuzz test of configurations expects of every mutant."""

import contextlib
import io
import os
import re
import resource
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from i2i.cli import main

SECONDS = 300  # far more than any needs, on a machine that is busy with other work
MEMORY = 2**30  # that one run may add; the largest shipped network takes nothing on the meta device
ADDRESSES = 16 * 2**30  # what a run away can ask for before it is refused
_LINE_BREAK = re.compile(rb"\r\n|\n|\r|\xc2\x85|\xe2\x80[\xa8\xa9]")  # as YAML 1.1 counts lines
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_CHANGES = {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.symlink", "os.link", "os.truncate", "shutil.rmtree"}
_CHANGES |= {"os.system", "subprocess.Popen", "socket.connect"}
_CACHES = ("__pycache__", "torchinductor", os.devnull)  # Python's and torch's own

_watched: list[str] | None = None  # what was touched; None while nobody looks


class TooLong(BaseException):
    """The time is up; no ``except Exception`` holds it back."""


@dataclass(frozen=True)
class Outcome:
    """What a command did."""

    code: int
    out: str
    err: str


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if _watched is None:
        return
    is_written = event == "open" and isinstance(arguments[2], int) and arguments[2] & _WRITING
    if (is_written or event in _CHANGES) and not any(cache in str(arguments) for cache in _CACHES):
        _watched.append(f"{event} {arguments}")


sys.addaudithook(_watch)


def dry_run(arguments: list[str]) -> Outcome:
    """Runs ``train ... --dry-run --no-measure`` in this process.

    Raises:
        AssertionError: It took too long or too much memory, or touched anything but its own memory.
    """
    global _watched
    streams = [io.TextIOWrapper(io.BytesIO(), "utf-8", errors) for errors in ("strict", "backslashreplace")]
    before, started = _peak(), time.monotonic()
    _watched = touched = []
    try:
        with _limits(), contextlib.redirect_stdout(streams[0]), contextlib.redirect_stderr(streams[1]):
            try:
                code = main("train", [*arguments, "--dry-run", "--no-measure"])
            except SystemExit as error:  # argparse's way out
                code = int(error.code or 0)
    except TooLong:
        raise AssertionError(f"not done after {time.monotonic() - started:.0f} s") from None
    finally:
        _watched = None
    assert not touched, touched
    assert _peak() - before < MEMORY, f"took {(_peak() - before) / 2**20:.0f} MiB"
    for stream in streams:
        stream.flush()
    out, err = (stream.buffer.getvalue().decode() for stream in streams)  # type: ignore[attr-defined]
    return Outcome(code, out, err)


@contextlib.contextmanager
def _limits() -> Iterator[None]:
    def end(*_: Any) -> None:
        raise TooLong

    old = resource.getrlimit(resource.RLIMIT_AS)
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    handler = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    resource.setrlimit(resource.RLIMIT_AS, (taken + ADDRESSES, old[1]))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
        resource.setrlimit(resource.RLIMIT_AS, old)


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def faults(outcome: Outcome, files: Mapping[str, bytes]) -> list[str]:
    """Tells what is wrong about the way in which a configuration was accepted or refused.

    Args:
        outcome: Of the dry run.
        files: The documents that problems may be placed in, by the names that messages call them.
    """
    found = [f"memory: {line}" for line in (outcome.out + outcome.err).splitlines() if "allocate" in line]
    if outcome.code == 0:
        return found + ([f"accepted, and says {outcome.err}"] if outcome.err else [])
    if outcome.code != 2 or not outcome.err.strip():
        return [*found, f"exit code {outcome.code}", outcome.err]
    if outcome.err.startswith(("usage: ", "expected one CONFIG, got ")):  # words that are no overrides
        return found
    return found + [fault for line in outcome.err.rstrip("\n").split("\n") for fault in _faults_of_line(line, files)]


def _faults_of_line(line: str, files: Mapping[str, bytes]) -> Iterator[str]:
    if not line.isprintable():
        yield f"not printable: {line!a}"
    if len(line) > 3000:
        yield f"{len(line)} characters: {line[:200]}"
    if line.startswith("    "):  # a hint
        return
    name = next((name for name in sorted(files, key=len, reverse=True) if line.startswith(f"{name}:")), None)
    if name is None:
        if not re.match(r"<command line>( \S.*?)?: \S", line) and not re.match(r"\S+: (no such file|cannot be)", line):
            yield f"no place: {line}"
        return
    match = re.match(r":(\d+)( \S.*?)?: \S", line.removeprefix(name))
    lines = len(_LINE_BREAK.split(files[name]))
    if match is None:
        yield f"no line: {line}"
    elif not 1 <= int(match[1]) <= lines:
        yield f"line {match[1]} of {lines}: {line}"

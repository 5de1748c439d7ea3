"""Moments at which a training process kills itself, as suddenly as ``kill -9``, to show that nothing is lost.

They are told by what anybody can see from outside, a log entry or a file that is opened, renamed or deleted, so that
training holds no hook for them.
"""

import os
import signal
import stat
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from i2i.core.config.document import Node
from i2i.run.experiment import Experiment

Point = Literal["step", "open", "half", "sync", "rename", "renamed", "prune"]
INSIDE = {
    "open": "before it is opened",
    "half": "half-written",
    "sync": "written, not yet forced to the disk",
    "rename": "before it takes its name",
    "renamed": "just renamed",
}


@dataclass(frozen=True)
class Moment:
    """When to die.

    Attributes:
        step: The step whose log entry arms it; 0 arms it from the start.
        point: ``step``: as soon as it is armed; ``prune``: before a file is deleted; else where in the writing of the
            next file.
        folder: The files' folder, relative to the run folder.
        size: For ``half``: the bytes after which the content breaks off.
    """

    step: int
    point: Point = "step"
    folder: str = "checkpoints"
    size: int = 0

    def __str__(self) -> str:
        file = {"checkpoints": "checkpoint", ".": "bundle"}.get(self.folder, self.folder)
        if self.point == "step":
            return f"after step {self.step}"
        if self.point == "prune":
            return f"before an old {file} is deleted, from step {self.step} on"
        return f"inside the next write of a {file} from step {self.step} on: {INSIDE[self.point]}"


class Executioner:
    """Kills this process at a moment; a tracker, so that it hears of every log entry.

    Args:
        moment: When.
        folder: The run folder.
    """

    def __init__(self, moment: Moment, folder: Path) -> None:
        self.moment, self.home = moment, os.path.realpath(folder / moment.folder)
        self.is_armed = moment.step == 0
        if moment.point == "half":
            _die_of_large_files()
        if moment.point in ("sync", "renamed"):
            self._sync = os.fsync
            os.fsync = self._watch_sync  # type: ignore[assignment]
        elif moment.point != "step":
            sys.addaudithook(self._watch)

    def on_log(self, step: int, values: dict[str, float]) -> None:
        self.is_armed = self.is_armed or step >= self.moment.step
        if self.is_armed and self.moment.point == "step":
            die()

    def _watch(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Receives Python's audit events, of which each comes before what it tells of."""
        if not self.is_armed or event not in ("open", "os.rename", "os.remove"):
            return
        point = self.moment.point
        if event == "open" and point in ("open", "half"):
            path, mode = arguments[0], arguments[1] or ""
            if isinstance(path, str) and set(mode) & set("wx") and self._is_here(path):  # no log, which grows by "a"
                if point == "open":
                    die()
                self._break_off()
        elif (event == "os.rename" and point == "rename" and self._is_here(os.fspath(arguments[1]))) or (
            event == "os.remove" and point == "prune" and self._is_here(os.fspath(arguments[0]))
        ):
            die()

    def _watch_sync(self, file: int) -> None:
        """Stands in for ``os.fsync``, which no audit event tells of."""
        if self.is_armed:
            status = os.fstat(file)
            is_folder = stat.S_ISDIR(status.st_mode)
            if is_folder and self.moment.point == "renamed" and os.path.samestat(status, os.stat(self.home)):  # noqa: PTH116
                die()
            if not is_folder and self.moment.point == "sync":
                with os.scandir(self.home) as entries:
                    if any(entry.inode() == status.st_ino for entry in entries):
                        die()
        self._sync(file)

    def _is_here(self, path: str) -> bool:
        return os.path.realpath(os.path.dirname(path)) == self.home  # noqa: PTH120

    def _break_off(self) -> None:
        import resource

        self.is_armed = False
        resource.setrlimit(resource.RLIMIT_FSIZE, (self.moment.size, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


def execute(experiment: Experiment, folder: Path, moment: Moment) -> None:
    """Arranges for the death of this process while it trains."""
    executioner = Executioner(moment, folder)
    experiment.trackers.append(("verify_resume", lambda: executioner, Node({}, "<verify_resume>")))


def die() -> None:
    """Ends this process at once; nothing that it would still have done is done."""
    os.kill(os.getpid(), signal.SIGKILL)


def _die_of_large_files() -> None:
    """Lets the kernel end this process in the middle of a write that exceeds the limit, without a core file."""
    import resource

    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


def was_killed(code: int) -> bool:
    """Whether a process's exit status tells that it died at its moment."""
    return code in (-signal.SIGKILL, -signal.SIGXFSZ)

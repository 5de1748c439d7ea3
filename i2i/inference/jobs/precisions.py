"""The precision that a job translates in: what is asked for, what its folder has, or what a calibration allows.

``auto`` counts as done what ``fp32`` has made, or any precision that a calibration had chosen: all is near enough. What
is left is translated as the folder's last calibration has chosen, so that a job that goes on keeps its arithmetic.
"""

import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from i2i.inference.jobs.calibration import EXACT, Calibration
from i2i.inference.jobs.jobs import Options
from i2i.inference.translator import Translator
from i2i.training.precision import Precision

AUTO = "auto"
_BLOCK = 1 << 16  # bytes


class PrecisionChoice:
    """Decides a job's precision once the first images are there, and says what it costs.

    Args:
        asked: What the user has asked for.
        translators: Of the job, one a device, in the precision asked for; ``auto`` is changed to what is chosen.
        direction: ``a2b`` or ``b2a``.
        recorded: What was chosen for the folder before.
        say: Receives the line.

    Attributes:
        is_open: Whether it waits for images.
        is_calibrated: Whether ``auto`` has compared.
    """

    def __init__(
        self,
        asked: str,
        translators: Sequence[Translator],
        direction: str,
        recorded: str | None,
        say: Callable[[str], None],
    ) -> None:
        self.asked, self.translators, self.direction, self.say = asked, translators, direction, say
        self.is_calibrated = False
        self._candidates = Precision.candidates(translators[0].device) if asked == AUTO else ()
        known = {one.name: one for one in (*self._candidates, translators[0].precision)}
        if asked == AUTO and recorded in known:
            self._take(known[recorded], is_calibrated=True)
        self.is_open = not self.is_calibrated and (bool(self._candidates) or self.name != EXACT)

    @property
    def name(self) -> str:
        """The precision's, as far as it is known."""
        return self.translators[0].precision.name

    def settle(self, images: Sequence[np.ndarray], are_all: bool) -> dict[int, np.ndarray]:
        """Decides.

        Args:
            images: The first to be translated, ``CALIBRATION_IMAGES`` at most; arrays as the input's codec loads them.
            are_all: Whether there are no more: to compare would take longer than to translate them exactly.

        Returns:
            Translations that were made in the precision decided on, by the image's index.
        """
        self.is_open = False
        if not images or (self.asked == AUTO and are_all):
            return {}
        calibration = Calibration(self.translators[0], self.direction, images)
        if self.asked == AUTO:
            precision, line = calibration.choose(self._candidates)
            self._take(precision, is_calibrated=True)
        else:
            precision = self.translators[0].precision
            line = f"precision {precision.name}: {calibration.fidelity(precision)}"
        self.say(line)
        return calibration.results(precision)

    def _take(self, precision: Precision, is_calibrated: bool) -> None:
        self.is_calibrated = is_calibrated
        self.translators[0].precision = precision
        for translator in self.translators[1:]:  # each its own, since they are at work at the same time
            translator.precision = Precision(precision.name, translator.device)


def counts_as_done(asked: str, options: Options) -> Callable[[Any], bool]:
    """Returns a function that tells, by the options of a manifest's line, whether a job need not do that image again.

    Args:
        asked: The precision that the user has asked for.
        options: The job's.
    """

    def is_alike(listed: Any) -> bool:
        if not isinstance(listed, dict):
            return False
        precision, is_calibrated = listed.get("precision"), listed.get("calibrated") is True
        if listed != options.deciding(str(precision), is_calibrated):
            return False
        return precision == EXACT or is_calibrated if asked == AUTO else precision == asked

    return is_alike


def recorded_precision(path: Path, bundle: str, options: Options) -> str | None:
    """Returns the precision that a calibration had chosen for a folder's last translations of this kind.

    Args:
        path: The folder's manifest, which need not be there.
        bundle: SHA-256 of the bundle.
        options: The job's.
    """
    try:
        for line in _from_the_end(path):
            if bundle.encode() not in line or b'"calibrated"' not in line:
                continue
            listed = json.loads(line)["options"]
            if listed == options.deciding(listed["precision"], True):
                return str(listed["precision"])
    except (OSError, ValueError, TypeError, KeyError, RecursionError):  # the manifest itself tells what is wrong
        return None
    return None


def _from_the_end(path: Path) -> Iterator[bytes]:
    """Yields a file's lines, the last one first."""
    with path.open("rb") as file:
        left, rest = file.seek(0, os.SEEK_END), b""
        while left:
            start = max(0, left - _BLOCK)
            file.seek(start)
            first, *others = (file.read(left - start) + rest).split(b"\n")
            yield from reversed(others)
            left, rest = start, first
        yield rest

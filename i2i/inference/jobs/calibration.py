"""What a faster precision gains in time and costs in accuracy: the first images of a job against exact float32."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from i2i.core.errors import one_line
from i2i.images.files import to_uint8
from i2i.inference.translator import Translator
from i2i.training.precision import Precision

CALIBRATION_IMAGES = 4
EXACT = "fp32"
_NEAR = 1  # of 255 levels
_SHARE = 0.995
_FARTHEST = 4
_GAIN = 0.75  # of the exact one's time: what is hardly faster is not worth any difference


@dataclass(frozen=True)
class Fidelity:
    """How near the values of a translation are to the exact ones, in steps of 8 bits.

    Attributes:
        share: Of values that are at most 1 off.
        farthest: How far the worst one is off. A class id is right, or far off.
        images: How many were compared.
        failure: Why there is nothing to compare, if there is not.
    """

    share: float = 0.0
    farthest: int = 255
    images: int = 0
    failure: str = ""

    @property
    def will_do(self) -> bool:
        """Whether nobody needs to be asked: at least 99.5 % within 1, none beyond 4."""
        return not self.failure and self.share >= _SHARE and self.farthest <= _FARTHEST

    def __str__(self) -> str:
        if self.failure:
            return self.failure
        percent = math.floor(self.share * 10_000) / 100  # never rounded up to 100
        first = "first image" if self.images == 1 else f"first {self.images} images"
        return f"{percent:g} % of values within 1 of {EXACT}, none beyond {self.farthest} ({first})"


class Calibration:
    """Translates images exactly and otherwise, one by one, and compares.

    Args:
        translator: The model.
        direction: ``a2b`` or ``b2a``.
        images: Arrays ``[H, W, C]`` as the input's codec loads them. Those that cannot be translated are left out.
    """

    def __init__(self, translator: Translator, direction: str, images: Sequence[np.ndarray]) -> None:
        self.translator, self.direction, self.images = translator, direction, images
        self.exact = Precision(EXACT, translator.device)
        self._is_labels = translator.codecs(direction)[1].target == "mask"
        self._results: dict[str, dict[int, np.ndarray]] = {}
        self._levels: dict[int, np.ndarray] = {}
        self._seconds: dict[str, float] = {}  # a pixel
        for index in range(len(images)):
            try:
                self._levels[index] = self._translate(index, self.exact)
            except Exception:  # the job meets it again, and tells
                continue

    def results(self, precision: Precision) -> dict[int, np.ndarray]:
        """Returns the translations made in a precision, ``[H, W, C]`` as files hold them, by the image's index."""
        return self._results.get(precision.name, {})

    def fidelity(self, precision: Precision) -> Fidelity:
        """Compares a precision with the exact one."""
        near = count = farthest = 0
        for index, exact in self._levels.items():
            try:
                levels = self._translate(index, precision)
            except Exception as error:  # such as numbers that are not finite
                return Fidelity(failure=one_line(error))
            off = np.abs(levels.astype(np.int16) - exact)
            off = np.where(off, 255, 0) if self._is_labels else off
            near, count = near + int((off <= _NEAR).sum()), count + off.size
            farthest = max(farthest, int(off.max()))
        if not count:
            return Fidelity(failure="no image to compare")
        return Fidelity(near / count, farthest, len(self._levels))

    def choose(self, candidates: Sequence[Precision]) -> tuple[Precision, str]:
        """Returns the first candidate that is faster and near enough, or the exact one, and what to say of it."""
        found = []
        for candidate in candidates:
            fidelity = self.fidelity(candidate)
            if not fidelity.will_do:
                found.append(f"{candidate.name} has {fidelity}")
            elif self._seconds[candidate.name] > _GAIN * self._seconds[EXACT]:
                found.append(f"{candidate.name} is no faster")
            else:
                return candidate, f"precision {candidate.name}: {fidelity}"
        return self.exact, f"precision {EXACT}: {'; '.join(found)}"

    def _translate(self, index: int, precision: Precision) -> np.ndarray:
        """Translates an image; returns its values in 8 bits, or its class ids."""
        codec = self.translator.codecs(self.direction)[1]
        started = time.perf_counter()
        (y,) = self.translator.outputs([self.images[index]], self.direction, precision)
        seconds = (time.perf_counter() - started) / (y.shape[-2] * y.shape[-1])
        self._seconds[precision.name] = min(seconds, self._seconds.get(precision.name, seconds))
        (result,) = codec.decode(y)
        self._results.setdefault(precision.name, {})[index] = result
        return result if self._is_labels else to_uint8(y)[0]

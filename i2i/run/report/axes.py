"""Axes of a chart: from values to pixels, and the round numbers along the way."""

import math
from dataclasses import dataclass

_TICKS = 5  # intervals at most


@dataclass(frozen=True)
class Axis:
    """One axis.

    Attributes:
        low: Value at ``start``.
        high: Value at ``end``, above ``low``.
        start: Pixel.
        end: Pixel; before ``start`` on an axis that rises upwards.
        is_log: Whether equal distances are equal ratios; ``low`` is positive then.
        step: Between ticks, where it is chosen already.
    """

    low: float
    high: float
    start: float
    end: float
    is_log: bool = False
    step: float | None = None

    def place(self, value: float) -> float:
        """Returns a value's pixel; what lies beyond an end is drawn at it."""
        low, high = self.low, self.high
        value = min(max(value, low), high)
        if self.is_log:
            value, low, high = math.log(value), math.log(low), math.log(high)
        return self.start + (value - low) / (high - low) * (self.end - self.start)

    @property
    def ticks(self) -> list[float]:
        """Round numbers on the axis, rising."""
        if self.is_log:
            return _log_ticks(self.low, self.high)
        step = self.step or _round_step(self.high - self.low)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [number * step for number in range(first, last + 1)]


def step_axis(last: int, start: float, end: float) -> Axis:
    """Returns the axis of training steps, from 0."""
    return Axis(0.0, float(max(last, 1)), start, end)


def value_axis(values: list[float], start: float, end: float, is_log: bool = False, from_zero: bool = False) -> Axis:
    """Returns an axis that holds some values, its ends on round numbers.

    Args:
        values: At least one; where ``is_log``, positive and more than one.
        start: Pixel of the low end.
        end: Pixel of the high end.
        is_log: See :class:`Axis`.
        from_zero: Whether the axis reaches to 0.
    """
    low, high = min(values), max(values)
    if is_log:
        return Axis(_round_down(low), _round_up(high), start, end, True)
    if from_zero:
        low, high = min(low, 0.0), max(high, 0.0)
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        margin = abs(high) / 2 or 1.0
        low, high = low - margin, high + margin
    step = _round_step(high - low)
    low, high = math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step
    return Axis(low, high, start, end, step=step)


def format_number(value: float) -> str:
    """Writes a number with four digits: 0.1234, 12.5k, 1.5M, 2e-4."""
    size = abs(value)
    for scale, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if 10 * scale <= size < 1e12 or (scale > 1e3 and scale <= size < 1e12):
            return f"{value / scale:.4g}{unit}"
    text = f"{value:.3e}" if 0 < size < 1e-3 or size >= 1e12 else f"{value:.4g}"
    digits, _, exponent = text.partition("e")
    if not exponent:
        return text
    if "." in digits:
        digits = digits.rstrip("0").rstrip(".")
    return f"{digits}e{int(exponent)}"


def _round_step(span: float) -> float:
    """The smallest of 1, 2, 2.5 and 5 times a power of ten that divides a span into few enough intervals."""
    rough = span / _TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    return next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * (1 - 1e-9))


def _log_ticks(low: float, high: float) -> list[float]:
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for factors in ((1, 2, 5), (1, 3), (1,)):
        ticks = [factor * 10.0**power for power in decades for factor in factors]
        ticks = [tick for tick in ticks if low * (1 - 1e-9) <= tick <= high * (1 + 1e-9)]
        if len(ticks) <= _TICKS + 2:
            return ticks
    return ticks[:: -(-len(ticks) // _TICKS)]


def _round_down(value: float) -> float:
    power = 10.0 ** math.floor(math.log10(value))
    return max(factor * power for factor in (1, 2, 5) if factor * power <= value * (1 + 1e-9))


def _round_up(value: float) -> float:
    power = 10.0 ** math.floor(math.log10(value))
    return min(factor * power for factor in (1, 2, 5, 10) if factor * power >= value * (1 - 1e-9))

"""Numbers as people read them."""

from collections.abc import Iterable


def shape(sizes: Iterable[int]) -> str:
    return "x".join(map(str, sizes))


def flops(count: float) -> str:
    """Floating-point operations with three digits."""
    for factor, unit in ((1e15, "PFLOP"), (1e12, "TFLOP"), (1e9, "GFLOP")):
        if count >= factor:
            return f"{_three_digits(count / factor)} {unit}"
    return f"{_three_digits(count / 1e6)} MFLOP"


def memory(size: float) -> str:
    """Bytes in GiB from one GiB on, else in MiB."""
    return f"{size / 2**30:,.2f} GiB" if size >= 2**30 else f"{size / 2**20:,.0f} MiB"


def duration(seconds: float) -> str:
    """Milliseconds to days."""
    for least, factor, unit in ((1.0, 1e-3, "ms"), (60, 1, "s"), (3600, 60, "minutes")):
        if seconds < least:
            return f"{_three_digits(seconds / factor)} {unit}"
    days = f" ({seconds / 86400:.1f} days)" if seconds >= 48 * 3600 else ""
    return f"{_three_digits(seconds / 3600)} hours{days}"


def _three_digits(value: float) -> str:
    digits = 2 if value < 10 else 1 if value < 100 else 0
    return f"{value:,.{digits}f}"

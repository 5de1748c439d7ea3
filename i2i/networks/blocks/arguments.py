"""Range checks of constructor arguments.

Each message starts with the argument's name, so that the framework can point at its line in a YAML.
"""

from typing import get_args

MAX_HALVINGS = 30


def check_at_least(name: str, value: float, minimum: float) -> None:
    """Refuses a number below its minimum.

    Raises:
        ValueError: If ``value`` is below ``minimum``.
    """
    if value < minimum:
        raise ValueError(f"{name} must be at least {minimum}, got {value}")


def check_positive(name: str, value: float) -> None:
    """Refuses a number that is not above zero.

    Raises:
        ValueError: If ``value`` is zero, negative or not a number.
    """
    if not value > 0:
        raise ValueError(f"{name} must be greater than 0, got {value}")


def check_rate(name: str, value: float) -> None:
    """Refuses a dropout rate outside ``[0, 1)``.

    Raises:
        ValueError: If ``value`` is not in ``[0, 1)``.
    """
    if not 0 <= value < 1:
        raise ValueError(f"{name} must be at least 0 and below 1, got {value}")


def check_choice(name: str, value: str, choices: object) -> None:
    """Refuses a word that is not among those of a ``Literal``.

    Raises:
        ValueError: If ``value`` is not one of ``choices``.
    """
    if value not in get_args(choices):
        raise ValueError(f"{name} must be one of {', '.join(get_args(choices))}, got {value}")


def check_halvings(name: str, value: int, least: int) -> None:
    """Refuses a number of halvings that no image has: its power of two alone can take all memory.

    Raises:
        ValueError: If ``value`` is below ``least`` or above ``MAX_HALVINGS``.
    """
    check_at_least(name, value, least)
    if value > MAX_HALVINGS:
        raise ValueError(f"{name} must be at most {MAX_HALVINGS}, got {value}")

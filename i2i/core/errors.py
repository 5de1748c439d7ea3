"""The exceptions users meet. Each prints as one line, with hints on indented lines below it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


def printable(text: str) -> str:
    """Returns text as one line that a terminal takes as text: line breaks and control characters become escapes."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def shortened(text: str, most: int = 60) -> str:
    """Returns the beginning of a text that is longer than what a message needs to show of it."""
    return text if len(text) <= most else text[: most - 3] + "..."


def one_line(error: BaseException, limit: int | None = None) -> str:
    """Returns the message of an exception as one line, at most ``limit`` characters; without one its type's name."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if limit is None or len(text) <= limit else f"{text[:limit]} ..."


def first_of(lines: Sequence[str], count: int) -> list[str]:
    """Returns the first few of many lines, and one that says how many more there are."""
    hidden = len(lines) - count
    return [*lines[:count], *([f"and {hidden} more"] if hidden > 0 else [])]


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception, of Python or of torch, says that there was not enough memory."""
    # torch has a type for that on a GPU only, and importing it here would take a second.
    is_named = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    return is_named or "can't allocate memory" in str(error)


class I2IError(Exception):
    """Base of all errors that are the user's to solve.

    Args:
        message: One line: where, what is wrong, what would work.
        hints: Ways on, each shown on an indented line of its own.

    Attributes:
        exit_code: Of a command that ends with this error: 2 where nothing was started.
    """

    exit_code = 2

    def __init__(self, message: str, hints: Iterable[str] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.hints = tuple(hints)

    def __str__(self) -> str:
        return "\n".join(map(printable, [*self.message.split("\n"), *(f"    {hint}" for hint in self.hints)]))


class RegistryError(I2IError):
    """A component's name is unknown or claimed twice, or its code cannot be imported."""


class DataError(I2IError):
    """Images or folders that cannot be used as asked."""


class CheckpointError(I2IError):
    """A checkpoint or bundle that cannot be read or does not fit."""


class TrainingError(I2IError):
    """Training began and could not go on."""

    exit_code = 1


class ArgumentError(ValueError):
    """A constructor argument that is out of range, somewhere inside a nested value.

    Args:
        message: What is wrong and what would work.
        path: Keys and indices from the node to the culprit, e.g. ``("transforms", 2, "height")``.
        hints: Ways on, each shown on an indented line of its own.
    """

    def __init__(self, message: str, path: Sequence[str | int] = (), hints: Iterable[str] = ()) -> None:
        super().__init__(message)
        self.path = tuple(path)
        self.hints = tuple(hints)


class ArgumentErrors(ValueError):
    """Several constructor arguments that are out of range, told at once."""

    def __init__(self, errors: Iterable[ArgumentError]) -> None:
        self.errors = tuple(errors)
        super().__init__("; ".join(map(str, self.errors)))


@dataclass(frozen=True)
class Problem:
    """One thing wrong with a configuration.

    Attributes:
        place: ``file.yaml:12`` or ``<command line>``.
        path: Keys and indices of the culprit in the document; empty for the document itself.
        message: What is wrong and, where one is near, what was meant.
        hints: Ways on.
    """

    place: str
    path: tuple[str | int, ...]
    message: str
    hints: tuple[str, ...] = ()

    def __str__(self) -> str:
        where = f"{self.place} {'.'.join(shortened(str(key)) for key in self.path)}".rstrip()
        return "\n".join(map(printable, [f"{where}: {self.message}", *(f"    {hint}" for hint in self.hints)]))


class ConfigError(I2IError):
    """A configuration with one or more problems, all shown at once."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))

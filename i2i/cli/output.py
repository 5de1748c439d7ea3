"""Where a command's text goes: standard output, or a file that is written whole or not at all."""

from pathlib import Path

from i2i.atomic import write_bytes
from i2i.errors import I2IError


def write_text(text: str, path: Path | None) -> None:
    """Prints a text, or writes it to a file in UTF-8.

    Raises:
        I2IError: The file cannot be written.
    """
    if path is None:
        print(text, end="")
        return
    try:
        write_bytes(path, text.encode())
    except OSError as error:
        raise I2IError(f"{path}: cannot be written: {error.strerror}") from error

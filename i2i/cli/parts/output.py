"""Where a command's text goes: standard output, or a file that is written whole or not at all."""

from pathlib import Path

from i2i.core.errors import I2IError
from i2i.core.files.atomic import write_bytes


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

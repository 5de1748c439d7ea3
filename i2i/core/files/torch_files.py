"""Files of ``torch.save`` from strangers, read without running code."""

import re
import stat
import zipfile
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, BinaryIO

import torch

from i2i.core.errors import CheckpointError, is_out_of_memory, one_line

MAX_PICKLE = 1 << 26  # bytes; tensors lie outside of the pickle, which thus holds little more than their names
_FOREIGN = (
    (b"version https://git-lfs", "it is a pointer of Git LFS, not the file itself (git lfs pull fetches it)"),
    (b"<", "it is a web page or XML, as a download that was refused leaves behind"),
)
_GLOBAL = re.compile(r"\bGLOBAL ([A-Za-z_][\w.]*)|\b(?:function|class|instantiate) ([A-Za-z_]\w*\.[\w.]*\w)")
_DETAIL = re.compile(r"WeightsUnpickler error: (.*?)(?: Check the documentation|$)")  # advice stands around it


class _Refused(Exception):
    """The reason why a file is not read."""


def load_torch_file(path: Path, what: str = "file of torch.save") -> Any:
    """Reads onto the CPU what ``torch.save`` wrote, today or in 2017.

    Tensors of an archive are read when they are used: the file must stay as it is for as long as they are.

    Args:
        path: The file.
        what: What the user calls such a file.

    Raises:
        CheckpointError: The file cannot be read, is no file of ``torch.save``, is damaged, could run code, or needs
            more memory than there is. Archives written with ``torch.serialization.set_crc32_options(False)`` count as
            damaged.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise _Refused("it is a folder or a device, not a file")
        with path.open("rb") as file:
            is_archive = _check_start(file)
        if is_archive:
            _check_archive(path)
        return torch.load(path, map_location="cpu", weights_only=True, mmap=is_archive)
    except _Refused as error:
        raise CheckpointError(f"{path}: not a readable {what}: {error}") from None
    except OSError as error:
        raise CheckpointError(f"{path}: not a readable {what} ({error.strerror or error})") from error
    except Exception as error:  # a damaged file may raise anything
        if is_out_of_memory(error):
            raise CheckpointError(f"{path}: not enough memory to read it as a {what}") from error
        raise CheckpointError(f"{path}: not a readable {what}: {_reason(error)}") from error


def _check_start(file: BinaryIO) -> bool:
    """Returns whether a file is an archive, as torch writes since 1.6; raises unless it begins like a file of torch."""
    start = file.read(64)
    if not start:
        raise _Refused("it is empty")
    for magic, what in _FOREIGN:
        if start.lstrip().startswith(magic):
            raise _Refused(what)
    if start[8:9] == b"{":
        raise _Refused("it looks like a safetensors file; such a file must end in .safetensors")
    if not start.startswith(b"PK\3\4") and start[:1] not in b"\x80(}]c":
        raise _Refused("it begins unlike one")
    return start.startswith(b"PK\3\4")


def _check_archive(path: Path) -> None:
    """Checks what ``torch.load`` does not: checksums, and records that would unpack to more than the file holds."""
    with zipfile.ZipFile(path) as archive:
        records = archive.infolist()
        if any(one.compress_type != zipfile.ZIP_STORED or one.compress_size != one.file_size for one in records):
            raise _Refused("its records are compressed, which torch.save never does")
        if sum(one.file_size for one in records) > path.stat().st_size:
            raise _Refused("its records claim more bytes than the file has")
        names = {one.filename.partition("/")[2]: one for one in records}
        if "constants.pkl" in names:
            raise _Refused("it is a TorchScript program, and was refused because it could run code")
        if "data.pkl" not in names:
            raise _Refused("it is another kind of archive: it has no data.pkl")
        if names["data.pkl"].file_size > MAX_PICKLE:
            raise _Refused(f"its data.pkl has {names['data.pkl'].file_size} bytes; more than {MAX_PICKLE} are not read")
        damaged = archive.testzip()
        if damaged is not None:
            raise _Refused(f"it is damaged: the checksum of {damaged!r} is wrong")


def _reason(error: Exception) -> str:
    """Returns why ``torch.load`` refused a file."""
    text = one_line(error)
    if not isinstance(error, UnpicklingError):
        return f"it is damaged ({type(error).__name__}: {text[:200]})"
    asked, detail = _GLOBAL.search(text), _DETAIL.search(text)
    what = (
        f"asks for {asked[1] or asked[2]}" if asked else f"holds more than tensors ({(detail or [text] * 2)[1][:100]})"
    )
    return f"it {what}, and was refused because it could run code"

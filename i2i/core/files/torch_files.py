"""Files of ``torch.save`` from strangers, read without running code and without more memory than they fill.

``torch.load(weights_only=True)`` runs no code, but it takes the file's word for sizes and verifies no checksum. So the
file is looked through first: an archive's records against their CRC-32, and its pickle by a walk that makes nothing but
plain data and knows the few functions that rebuild tensors. What the walk does not know is refused.
"""

import os
import stat
import struct
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import torch

from i2i.core.errors import CheckpointError, is_out_of_memory
from i2i.core.files.torch_pickles import PickleWalk, Storage, Unsound

MAX_PICKLE = 1 << 26  # bytes; tensors lie outside of the pickle, which thus holds little more than their names
_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001
_FOREIGN = (
    (b"version https://git-lfs", "it is a pointer of Git LFS, not the file itself (git lfs pull fetches it)"),
    (b"<", "it is a web page or XML, as a download that was refused leaves behind"),
)


def load_torch_file(path: Path, what: str = "file of torch.save") -> Any:
    """Reads what ``torch.save`` wrote, today or in 2017, onto the CPU.

    Only tensors, numbers, text and plain collections of them are read. A file may fill as much memory as its own size.

    Args:
        path: The file.
        what: What the user calls such a file.

    Raises:
        CheckpointError: The file cannot be read, is no file of ``torch.save``, is damaged, or holds more than data, so
            that it could run code or fill the memory, or the memory is full. Archives written with
            ``torch.serialization.set_crc32_options(False)`` count as damaged.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise Unsound("it is a folder or a device, not a file")
        with path.open("rb") as file:
            check_torch_file(file)
            file.seek(0)
            return torch.load(file, map_location="cpu", weights_only=True)
    except Unsound as error:
        raise CheckpointError(f"{path}: not a readable {what}: {error}") from None
    except OSError as error:
        raise CheckpointError(f"{path}: not a readable {what} ({error.strerror or error})") from error
    except Exception as error:  # a damaged file may raise anything
        if is_out_of_memory(error):
            raise CheckpointError(f"{path}: not enough memory to read it as a {what}") from error
        reason = (str(error).splitlines() or [""])[0][:200]
        message = f"{path}: not a readable {what}: it is damaged ({type(error).__name__}: {reason})"
        raise CheckpointError(message) from error


def check_torch_file(file: BinaryIO) -> None:
    """Checks an open file as :func:`load_torch_file` does before it reads it.

    Raises:
        Unsound: It is refused; damaged ones may raise anything else.
    """
    size = os.fstat(file.fileno()).st_size
    file.seek(0)
    start = file.read(64)
    file.seek(0)
    if not start:
        raise Unsound("it is empty")
    for magic, what in _FOREIGN:
        if start.lstrip().startswith(magic):
            raise Unsound(what)
    if start[8:9] == b"{":
        raise Unsound("it looks like a safetensors file; such a file must end in .safetensors")
    if start.startswith(b"PK\3\4"):
        _check_archive(file, size)
    elif start[:1] in b"\x80(}]c":  # also of protocols that torch.save never wrote, to name what they ask for
        _check_legacy(file, size)
    else:
        raise Unsound("it begins unlike one")


def _check_archive(file: BinaryIO, size: int) -> None:
    """Checks the archive that torch writes since 1.6."""
    _check_directory(file, size)
    with zipfile.ZipFile(file) as archive:
        records = {info.filename: info for info in archive.infolist()}
        if len({name.casefold() for name in records}) < len(archive.infolist()):  # torch takes A for a
            raise Unsound("two of its records have the same name")
        if any(i.compress_type != zipfile.ZIP_STORED or i.compress_size != i.file_size for i in records.values()):
            raise Unsound("its records are compressed, which torch.save never does")
        if sum(info.file_size for info in records.values()) > size:
            raise Unsound("its records claim more bytes than the file has")
        folder = next(iter(records), "").partition("/")[0]
        if f"{folder}/constants.pkl" in records:
            raise Unsound("it is a TorchScript program, and was refused because it could run code")
        pickle = records.get(f"{folder}/data.pkl")
        if pickle is None:
            raise Unsound("it is another kind of archive: it has no data.pkl")
        if pickle.file_size > MAX_PICKLE:
            raise Unsound(f"its data.pkl has {pickle.file_size} bytes; more than {MAX_PICKLE} are not read")
        damaged = archive.testzip()
        if damaged is not None:
            raise Unsound(f"it is damaged: the checksum of {damaged!r} is wrong")

        def find(storage: Storage) -> None:
            record = records.get(f"{folder}/data/{storage.key}")
            if record is None or record.file_size != storage.count * storage.itemsize:
                claimed, held = storage.count * storage.itemsize, record.file_size if record else "no"
                raise Unsound(f"storage {storage.key!r} claims {claimed} bytes and has {held} in the file")

        content = archive.read(pickle)
    walk = PickleWalk(find, size)
    walk.check(BytesIO(content))


def _check_directory(file: BinaryIO, size: int) -> None:
    """Checks that readers of archives, which search for the list of records in their ways, will all find the same."""
    file.seek(max(0, size - 98))
    end = file.read().rjust(98, b"\0")
    file.seek(0)
    if end[76:80] != b"PK\5\6" or end[96:] != b"\0\0":
        raise Unsound("it is cut off, or something was appended to it")
    length, begin = struct.unpack_from("<II", end, 76 + 12)
    before = 22
    if end[56:60] == b"PK\6\7":
        if end[:4] != b"PK\6\6" or struct.unpack_from("<Q", end, 56 + 8)[0] != size - 98:
            raise Unsound("it is damaged: its list of records is not where it should be")
        length, begin = struct.unpack_from("<QQ", end, 40)
        before = 98
    if begin + length + before != size:
        raise Unsound("it is damaged: its list of records is not where it should be")


def _check_legacy(file: BinaryIO, size: int) -> None:
    """Checks the format of before torch 1.6: five pickles, then the bytes of each storage behind their number."""
    room = size

    def find(storage: Storage) -> None:
        nonlocal room
        room -= storage.count * storage.itemsize
        if room < 0:
            raise Unsound("its tensors claim more bytes than the file has")

    pickles = BytesIO(file.read(MAX_PICKLE))
    walk = PickleWalk(find, size)
    if walk.check(pickles) != _MAGIC:
        raise Unsound("it is another kind of pickle; expected tensors saved by torch.save")
    if walk.check(pickles) != _PROTOCOL:
        raise Unsound("it is of an unknown version")
    walk.check(pickles)  # of the machine that wrote it
    walk.check(pickles)
    keys, storages = walk.check(pickles), walk.storages
    if not isinstance(keys, list) or sorted(map(str, keys)) != sorted(storages):
        raise Unsound("it is damaged: its list of storages is not that of its tensors")
    position = pickles.tell()
    for key in keys:
        file.seek(position)
        head = file.read(8)
        if len(head) < 8 or int.from_bytes(head, "little") != storages[key].count:
            raise Unsound(f"it is damaged: storage {key!r} has another size than its tensors")
        position += 8 + storages[key].count * storages[key].itemsize
    if position != size:
        raise Unsound("it is cut off, or something was appended to it")

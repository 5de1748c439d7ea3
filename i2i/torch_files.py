"""Files of ``torch.save`` from strangers, read without running code and without more memory than they fill.

``torch.load(weights_only=True)`` runs no code, but it takes the file's word for sizes and verifies no checksum. So the
file is looked through first: an archive's records against their CRC-32, and its pickle by a walk that makes nothing but
plain data and knows the few functions that rebuild tensors. What the walk does not know is refused.
"""

import math
import os
import stat
import struct
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from pickletools import genops
from types import NoneType
from typing import Any, BinaryIO, TypeVar

import torch

from i2i.errors import CheckpointError

MAX_PICKLE = 1 << 26  # bytes; tensors lie outside of the pickle, which thus holds little more than their names
_MAX_DEPTH = 100
_MAX_SHARING = 4  # how many times a file's size its tensors may hold, as views of the same memory
_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001
_FOREIGN = (
    (b"version https://git-lfs", "it is a pointer of Git LFS, not the file itself (git lfs pull fetches it)"),
    (b"<", "it is a web page or XML, as a download that was refused leaves behind"),
)
_STORAGES = {
    f"torch.{name}Storage": size
    for size, names in {
        1: ("Byte", "Char", "Bool"),
        2: ("Short", "Half", "BFloat16"),
        4: ("Int", "Float"),
        8: ("Long", "Double", "ComplexFloat"),
        16: ("ComplexDouble",),
    }.items()
    for name in names
} | {"torch.storage.UntypedStorage": 1}
_REBUILD = "torch._utils._rebuild_"
_TENSORS = {f"{_REBUILD}tensor": 4, f"{_REBUILD}tensor_v2": 6, f"{_REBUILD}tensor_v3": 7}  # -> arguments, at least
_FUNCTIONS = {"collections.OrderedDict", "torch.Size", "torch.device", "_codecs.encode", f"{_REBUILD}parameter"}
_LITERALS = {"BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "SHORT_BINSTRING"}
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


T = TypeVar("T")


class _Unsound(Exception):
    """What is wrong with a file."""


@dataclass(frozen=True)
class _Global:
    name: str


@dataclass(frozen=True)
class _Storage:
    key: str
    count: int
    itemsize: int


class _Tensor:
    """Stands for a tensor."""


def load_torch_file(path: Path, what: str = "file of torch.save") -> Any:
    """Reads what ``torch.save`` wrote, today or in 2017, onto the CPU.

    Only tensors, numbers, text and plain collections of them are read. A file may fill as much memory as its own size.

    Args:
        path: The file.
        what: What the user calls such a file.

    Raises:
        CheckpointError: The file cannot be read, is no file of ``torch.save``, is damaged, or holds more than data, so
            that it could run code or fill the memory. Archives written with
            ``torch.serialization.set_crc32_options(False)`` count as damaged.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise _Unsound("it is a folder or a device, not a file")
        with path.open("rb") as file:
            _check(file)
            file.seek(0)
            return torch.load(file, map_location="cpu", weights_only=True)
    except _Unsound as error:
        raise CheckpointError(f"{path}: not a readable {what}: {error}") from None
    except OSError as error:
        raise CheckpointError(f"{path}: not a readable {what} ({error.strerror or error})") from error
    except Exception as error:  # a damaged file may raise anything
        reason = (str(error).splitlines() or [""])[0][:200]
        message = f"{path}: not a readable {what}: it is damaged ({type(error).__name__}: {reason})"
        raise CheckpointError(message) from error


def _check(file: BinaryIO) -> None:
    size = os.fstat(file.fileno()).st_size
    start = file.read(64)
    file.seek(0)
    if not start:
        raise _Unsound("it is empty")
    for magic, what in _FOREIGN:
        if start.lstrip().startswith(magic):
            raise _Unsound(what)
    if start[8:9] == b"{":
        raise _Unsound("it looks like a safetensors file; such a file must end in .safetensors")
    if start.startswith(b"PK\3\4"):
        _check_archive(file, size)
    elif start.startswith(b"\x80"):
        _check_legacy(file, size)
    else:
        raise _Unsound("it begins unlike one")


def _check_archive(file: BinaryIO, size: int) -> None:
    """Checks the archive that torch writes since 1.6."""
    _check_directory(file, size)
    with zipfile.ZipFile(file) as archive:
        records = {info.filename: info for info in archive.infolist()}
        if len(records) < len(archive.infolist()):
            raise _Unsound("two of its records have the same name")
        if any(i.compress_type != zipfile.ZIP_STORED or i.compress_size != i.file_size for i in records.values()):
            raise _Unsound("its records are compressed, which torch.save never does")
        if sum(info.file_size for info in records.values()) > size:
            raise _Unsound("its records claim more bytes than the file has")
        folder = next(iter(records), "").partition("/")[0]
        if f"{folder}/constants.pkl" in records:
            raise _Unsound("it is a TorchScript program, and was refused because it could run code")
        pickle = records.get(f"{folder}/data.pkl")
        if pickle is None:
            raise _Unsound("it is another kind of archive: it has no data.pkl")
        if pickle.file_size > MAX_PICKLE:
            raise _Unsound(f"its data.pkl has {pickle.file_size} bytes; more than {MAX_PICKLE} are not read")
        damaged = archive.testzip()
        if damaged is not None:
            raise _Unsound(f"it is damaged: the checksum of {damaged!r} is wrong")

        def find(storage: _Storage) -> None:
            record = records.get(f"{folder}/data/{storage.key}")
            if record is None or record.file_size != storage.count * storage.itemsize:
                claimed, held = storage.count * storage.itemsize, record.file_size if record else "no"
                raise _Unsound(f"storage {storage.key!r} claims {claimed} bytes and has {held} in the file")

        content = archive.read(pickle)
    walk = _Walk(find, size)
    walk.check(BytesIO(content))


def _check_directory(file: BinaryIO, size: int) -> None:
    """Checks that readers of archives, which search for the list of records in their ways, will all find the same."""
    file.seek(max(0, size - 98))
    end = file.read().rjust(98, b"\0")
    file.seek(0)
    if end[76:80] != b"PK\5\6" or end[96:] != b"\0\0":
        raise _Unsound("it is cut off, or something was appended to it")
    length, begin = struct.unpack_from("<II", end, 76 + 12)
    before = 22
    if end[56:60] == b"PK\6\7":
        if end[:4] != b"PK\6\6" or struct.unpack_from("<Q", end, 56 + 8)[0] != size - 98:
            raise _Unsound("it is damaged: its list of records is not where it should be")
        length, begin = struct.unpack_from("<QQ", end, 40)
        before = 98
    if begin + length + before != size:
        raise _Unsound("it is damaged: its list of records is not where it should be")


def _check_legacy(file: BinaryIO, size: int) -> None:
    """Checks the format of before torch 1.6: five pickles, then the bytes of each storage behind their number."""
    storages: dict[str, _Storage] = {}

    def find(storage: _Storage) -> None:
        if storages.setdefault(storage.key, storage) != storage:
            raise _Unsound(f"storage {storage.key!r} is described in two ways")
        if sum(known.count * known.itemsize for known in storages.values()) > size:
            raise _Unsound("its tensors claim more bytes than the file has")

    pickles = BytesIO(file.read(MAX_PICKLE))
    walk = _Walk(find, size)
    if walk.check(pickles) != _MAGIC:
        raise _Unsound("it is another kind of pickle; expected tensors saved by torch.save")
    if walk.check(pickles) != _PROTOCOL:
        raise _Unsound("it is of an unknown version")
    walk.check(pickles)  # of the machine that wrote it
    walk.check(pickles)
    keys = walk.check(pickles)
    if not isinstance(keys, list) or len(set(keys)) != len(keys) or set(keys) != storages.keys():
        raise _Unsound("it is damaged: its list of storages is not that of its tensors")
    position = pickles.tell()
    for key in keys:
        file.seek(position)
        head = file.read(8)
        if len(head) < 8 or int.from_bytes(head, "little") != storages[key].count:
            raise _Unsound(f"it is damaged: storage {key!r} has another size than its tensors")
        position += 8 + storages[key].count * storages[key].itemsize
    if position != size:
        raise _Unsound("it is cut off, or something was appended to it")


def _names(pickle: BytesIO) -> Iterator[str]:
    """Lists what a pickle would import."""
    words = ["?", "?"]
    for code, argument, _ in genops(pickle):
        if code.name in ("GLOBAL", "INST"):
            yield str(argument).replace(" ", ".")
        elif code.name == "STACK_GLOBAL":
            yield ".".join(words)
        elif isinstance(argument, str):
            words = [words[-1], argument]


def _is_known(name: str) -> bool:
    if name in _FUNCTIONS or name in _TENSORS or name in _STORAGES:
        return True
    return name.startswith("torch.") and isinstance(getattr(torch, name[6:], None), torch.dtype)


class _Walk:
    """Follows a pickle's instructions on stand-ins, as far as ``torch.save`` uses them.

    Args:
        find: Raises where the file does not hold a storage.
        size: Of the file, in bytes.
    """

    def __init__(self, find: Callable[[_Storage], None], size: int) -> None:
        self.find = find
        self.room = _MAX_SHARING * size

    def check(self, pickle: BytesIO) -> Any:
        """Follows one pickle to its end and returns what it holds.

        Raises:
            _Unsound: It holds more than data, or does not fit the file.
        """
        begin = pickle.tell()
        for name in _names(pickle):
            if not _is_known(name):
                raise _Unsound(f"it was refused because it could run code: it asks for {name!r}")
        length = pickle.tell() - begin
        pickle.seek(begin)
        value = self._follow(pickle)
        _check_tree(value, _MAX_SHARING * length)
        return value

    def _follow(self, pickle: BytesIO) -> Any:
        stack: list[Any] = []
        marks: list[list[Any]] = []
        memo: dict[int, Any] = {}
        argument: Any
        for code, argument, _ in genops(pickle):
            name = code.name
            if name in _LITERALS:
                stack.append(argument)
            elif name in _CONSTANTS:
                stack.append(_CONSTANTS[name])
            elif name == "EMPTY_LIST":
                stack.append([])
            elif name == "EMPTY_DICT":
                stack.append({})
            elif name == "GLOBAL":
                stack.append(_Global(argument.replace(" ", ".")))
            elif name in ("BINPUT", "LONG_BINPUT"):
                memo[argument] = stack[-1]
            elif name in ("BINGET", "LONG_BINGET"):
                stack.append(memo[argument])
            elif name == "MARK":
                marks.append(stack)
                stack = []
            elif name in _TUPLES:
                items = [stack.pop() for _ in range(_TUPLES[name])]
                stack.append(tuple(reversed(items)))
            elif name == "TUPLE":
                items, stack = stack, marks.pop()
                stack.append(tuple(items))
            elif name in ("APPEND", "APPENDS"):
                items, stack = ([stack.pop()], stack) if name == "APPEND" else (stack, marks.pop())
                _as(list, stack[-1]).extend(items)
            elif name in ("SETITEM", "SETITEMS"):
                items, stack = ([stack.pop(-2), stack.pop()], stack) if name == "SETITEM" else (stack, marks.pop())
                _as(dict, stack[-1]).update(_pairs(zip(items[::2], items[1::2], strict=True)))
            elif name == "BINPERSID":
                stack.append(self._storage(*_as(tuple, stack.pop())))
            elif name == "REDUCE":
                arguments = _as(tuple, stack.pop())
                stack.append(self._call(_as(_Global, stack.pop()).name, arguments))
            elif name == "BUILD":
                attributes = _as(dict, stack.pop())
                _as(dict, stack[-1])
                if attributes.keys() - {"_metadata"}:
                    raise _Unsound("it was refused because it could run code: it sets attributes of an object")
            elif name == "STOP":
                return stack.pop()
            elif name != "PROTO":
                raise _Unsound(f"it was refused because it could run code: it holds the instruction {name}")
        raise _Unsound("it is cut off")

    def _storage(self, kind: Any, storage: Any, key: Any, location: Any, count: Any, view: Any = None) -> _Storage:
        size = _STORAGES.get(_as(_Global, storage).name)
        if kind != "storage" or size is None or not isinstance(location, str) or not _is_count(count):
            raise _Unsound("it is damaged: a storage is described wrongly")
        whole = _Storage(_as(str, key), count, size)
        self.find(whole)
        if view is None:
            return whole
        _, offset, length = _as(tuple, view)
        if not _is_count(offset) or not _is_count(length) or offset + length > count:
            raise _Unsound(f"it is damaged: a view leaves the storage {key!r}")
        return _Storage(key, length, size)

    def _call(self, function: str, arguments: tuple[Any, ...]) -> Any:
        """Stands in for the functions that files of tensors need, and for no others."""
        if function in _TENSORS and len(arguments) >= _TENSORS[function]:
            return self._tensor(arguments[6] if function.endswith("_v3") else None, *arguments[:4])
        match function.removeprefix(_REBUILD), arguments:
            case "parameter", (_Tensor() as data, bool(), _):
                return data
            case "collections.OrderedDict", ():
                return {}
            case "collections.OrderedDict", (list(pairs),):  # as Python 2 wrote it
                return _pairs(_as(list, pair) for pair in pairs)
            case "torch.Size", (tuple(sides),) if all(map(_is_count, sides)):
                return sides
            case "torch.device", (str(), *_):
                return arguments
            case "_codecs.encode", (str(text), "latin1"):  # bytes
                return text
        raise _Unsound(f"it was refused because it could run code: it calls {function!r} in a way of its own")

    def _tensor(self, dtype: Any, storage: Any, offset: Any, shape: Any, strides: Any) -> _Tensor:
        storage, shape, strides = _as(_Storage, storage), _as(tuple, shape), _as(tuple, strides)
        itemsize = storage.itemsize if dtype is None else getattr(torch, _as(_Global, dtype).name[6:]).itemsize
        if len(shape) != len(strides) or not all(map(_is_count, (offset, *shape, *strides))):
            raise _Unsound("it is damaged: a tensor is described wrongly")
        count = math.prod(shape)
        end = offset + (sum((n - 1) * stride for n, stride in zip(shape, strides, strict=True)) + 1 if count else 0)
        if end * itemsize > storage.count * storage.itemsize:
            raise _Unsound(f"a tensor of shape {list(shape)} does not fit its storage of {storage.count} values")
        self.room -= count * itemsize
        if self.room < 0:
            raise _Unsound(f"a tensor of shape {list(shape)} is larger than the file: its values repeat")
        return _Tensor()


def _as(kind: type[T], value: Any) -> T:
    if not isinstance(value, kind):
        raise _Unsound(f"it is damaged: {type(value).__name__} for {kind.__name__}")
    return value


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 1 << 62


def _pairs(pairs: Iterable[Any]) -> dict[Any, Any]:
    """Makes a dict. Only plain keys: to hash deeply nested ones would end the process."""
    found = {}
    for key, value in pairs:
        if not isinstance(key, (str, int, float, bool, NoneType)):
            raise _Unsound("a key of its dictionaries is neither text nor a number")
        found[key] = value
    return found


def _check_tree(value: Any, room: int) -> None:
    """Checks that a value is a finite tree: nesting ends, and what is shared is not shared again and again."""
    todo = [(value, 0)]
    while todo:
        node, depth = todo.pop()
        room -= 1
        if depth > _MAX_DEPTH or room < 0:
            raise _Unsound("its collections are nested too deeply, or hold themselves")
        if isinstance(node, dict):
            todo += [(child, depth + 1) for child in node.values()]
        elif isinstance(node, (list, tuple)):
            todo += [(child, depth + 1) for child in node]

"""The pickles within files of ``torch.save``, followed without making anything but plain data.

Whatever is not an instruction that ``torch.save`` writes, a function that rebuilds a dense tensor, or a tensor that the
file has the bytes of, is refused.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from io import BytesIO
from pickletools import genops
from types import NoneType
from typing import Any, TypeVar

import torch

_MAX_INSTRUCTIONS = 1 << 21  # a tensor takes about 50
_MAX_DEPTH = 100
_MAX_SHARING = 4  # how many times a file's size its tensors may hold, as views of the same memory
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


class Unsound(Exception):
    """What is wrong with a file."""


@dataclass(frozen=True)
class _Global:
    name: str


@dataclass(frozen=True)
class Storage:
    """The values of a tensor in the file: ``count`` of ``itemsize`` bytes, under a key."""

    key: str
    count: int
    itemsize: int


class _Tensor:
    """Stands for a tensor."""


def _culprit(pickle: BytesIO) -> str | None:
    """Finds the first thing that a pickle would import and may not."""
    words = ["?", "?"]
    name = None
    for count, (code, argument, _) in enumerate(genops(pickle)):
        if code.name in ("GLOBAL", "INST"):
            name = str(argument).replace(" ", ".")
        elif code.name == "STACK_GLOBAL":
            name = ".".join(words)
        elif isinstance(argument, str):
            words = [words[-1], argument]
        if count == _MAX_INSTRUCTIONS or (name and not _is_known(name)):
            break
    return name if name and not _is_known(name) else None


def _is_known(name: str) -> bool:
    if name in _FUNCTIONS or name in _TENSORS or name in _STORAGES:
        return True
    return name.startswith("torch.") and isinstance(getattr(torch, name[6:], None), torch.dtype)


class PickleWalk:
    """Follows a pickle's instructions on stand-ins, as far as ``torch.save`` uses them.

    Args:
        find: Raises where the file does not hold a storage; asked once for each.
        size: Of the file, in bytes.

    Attributes:
        storages: What was met, by key.
    """

    def __init__(self, find: Callable[[Storage], None], size: int) -> None:
        self.storages: dict[str, Storage] = {}
        self._views: dict[str, Any] = {}
        self._find = find
        self._room = _MAX_SHARING * size

    def check(self, pickle: BytesIO) -> Any:
        """Follows one pickle to its end and returns what it holds.

        Raises:
            Unsound: It holds more than data, or does not fit the file.
        """
        begin = pickle.tell()
        try:
            value = self._follow(pickle)
        except Exception:
            pickle.seek(begin)
            culprit = _culprit(pickle)
            if culprit is None:
                raise
            raise Unsound(f"it was refused because it could run code: it asks for {culprit!r}") from None
        _check_tree(value, room=_MAX_SHARING * (pickle.tell() - begin))
        return value

    def _follow(self, pickle: BytesIO) -> Any:
        stack: list[Any] = []
        marks: list[list[Any]] = []
        memo: dict[int, Any] = {}
        argument: Any
        for count, (code, argument, _) in enumerate(genops(pickle)):
            if count == _MAX_INSTRUCTIONS:
                raise Unsound("it describes more than a file of tensors would")
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
                stack.append(_known(argument.replace(" ", ".")))
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
                    raise Unsound("it was refused because it could run code: it sets attributes of an object")
            elif name == "STOP":
                return stack.pop()
            elif name != "PROTO":
                raise Unsound(f"it was refused because it could run code: it holds the instruction {name}")
        raise Unsound("it is cut off")

    def _storage(self, kind: Any, storage: Any, key: Any, location: Any, count: Any, view: Any = None) -> Storage:
        size = _STORAGES.get(_as(_Global, storage).name)
        if kind != "storage" or size is None or not isinstance(location, str) or not _is_count(count):
            raise Unsound("it is damaged: a storage is described wrongly")
        whole = Storage(_as(str, key), count, size)
        if key not in self.storages:
            self._find(whole)
        part = whole
        if view is not None:  # as torch 0.3 and before wrote it
            name, offset, length = _as(tuple, view)
            if not _is_count(offset) or not _is_count(length) or offset + length > count:
                raise Unsound(f"it is damaged: a view leaves the storage {key!r}")
            part = Storage(_as(str, name), length, size)
            if self._views.setdefault(name, (whole, offset, part)) != (whole, offset, part):
                raise Unsound(f"it is damaged: the view {name!r} is described in two ways")
        if self.storages.setdefault(key, whole) != whole or self._views.keys() & self.storages.keys():
            raise Unsound(f"it is damaged: the storage {key!r} is described in two ways")
        return part

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
        raise Unsound(f"it was refused because it could run code: it calls {function!r} in a way of its own")

    def _tensor(self, dtype: Any, storage: Any, offset: Any, shape: Any, strides: Any) -> _Tensor:
        storage, shape, strides = _as(Storage, storage), _as(tuple, shape), _as(tuple, strides)
        itemsize = storage.itemsize if dtype is None else getattr(torch, _as(_Global, dtype).name[6:]).itemsize
        if len(shape) != len(strides) or not all(map(_is_count, (offset, *shape, *strides))):
            raise Unsound("it is damaged: a tensor is described wrongly")
        count = math.prod(shape)
        end = offset + (sum((n - 1) * stride for n, stride in zip(shape, strides, strict=True)) + 1 if count else 0)
        if end * itemsize > storage.count * storage.itemsize:
            raise Unsound(f"a tensor of shape {list(shape)} does not fit its storage of {storage.count} values")
        self._room -= count * itemsize
        if self._room < 0:
            raise Unsound(f"a tensor of shape {list(shape)} is larger than the file: its values repeat")
        return _Tensor()


def _known(name: str) -> _Global:
    if not _is_known(name):
        raise Unsound(f"it asks for {name!r}")
    return _Global(name)


def _as(kind: type[T], value: Any) -> T:
    if not isinstance(value, kind):
        raise Unsound(f"it is damaged: {type(value).__name__} for {kind.__name__}")
    return value


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 1 << 62


def _pairs(pairs: Iterable[Any]) -> dict[Any, Any]:
    """Makes a dict. Only plain keys: to hash deeply nested ones would end the process."""
    found = {}
    for key, value in pairs:
        if not isinstance(key, (str, int, float, bool, NoneType)):
            raise Unsound("a key of its dictionaries is neither text nor a number")
        found[key] = value
    return found


def _check_tree(value: Any, room: int) -> None:
    """Checks that a value is a finite tree: nesting ends, and what is shared is not shared again and again."""
    todo = [(value, 0)]
    while todo:
        node, depth = todo.pop()
        room -= 1
        if depth > _MAX_DEPTH or room < 0:
            raise Unsound("its collections are nested too deeply, or hold themselves")
        if isinstance(node, dict):
            todo += [(child, depth + 1) for child in node.values()]
        elif isinstance(node, (list, tuple)):
            todo += [(child, depth + 1) for child in node]

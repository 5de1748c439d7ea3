"""The pickles within files of ``torch.save``, followed without making anything but plain data.

Whatever is not an instruction that ``torch.save`` writes, a function that rebuilds a tensor or a plain collection, or a
tensor that the file has the bytes of, is refused. So is what makes much of little: a pickle may have a thousand copies
made of the same list.
"""

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from io import BytesIO
from pickletools import genops
from types import NoneType
from typing import Any, TypeVar

import torch
from torch import nn

_MAX_INSTRUCTIONS = 1 << 21  # a tensor takes about 50
_MAX_DEPTH = 100
_MAX_SHARING = 4  # how many times a file's size its tensors may hold, as views of the same memory; texts likewise
_MAX_TUPLE_KEYS = 10_000  # whose hashes a stranger can make equal, so that each is compared with all others
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
_FROM_TYPE = "torch._tensor._rebuild_from_type_v2"
_FUNCTIONS = {
    *("collections.OrderedDict", "collections.Counter", "builtins.set", "builtins.bytearray", "builtins.complex"),
    *("torch.Size", "torch.device", "torch.serialization._get_layout", "torch.Tensor", "_codecs.encode", _FROM_TYPE),
    *(f"{_REBUILD}parameter", f"{_REBUILD}parameter_with_state", f"{_REBUILD}sparse_tensor"),
}
_PLAIN_KEYS = (str, int, float, bool, NoneType)
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


@dataclass(frozen=True)
class _Tensor:
    """Stands for a tensor of so many bytes, and what is kept with it."""

    nbytes: int
    attributes: tuple[Any, ...] = ()


def _culprit(pickle: BytesIO) -> str | None:
    """Finds the first thing that a pickle would import and may not."""
    words = ["?", "?"]
    name = None
    for count, (code, argument, _) in enumerate(genops(pickle)):
        if code.name in ("GLOBAL", "INST"):
            name = _name_of(str(argument))
        elif code.name == "STACK_GLOBAL":
            name = ".".join(words)
        elif isinstance(argument, str):
            words = [words[-1], argument]
        if count == _MAX_INSTRUCTIONS or (name and not _is_known(name)):
            break
    return name if name and not _is_known(name) else None


def _name_of(argument: str) -> str:
    """Names what an instruction imports, as Python 3 does."""
    return re.sub(r"^__builtin__\.", "builtins.", argument.replace(" ", "."))


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
        self._tuple_keys = _MAX_TUPLE_KEYS
        self._items = self._letters = 0  # that calls may still take

    def check(self, pickle: BytesIO) -> Any:
        """Follows one pickle to its end and returns what it holds.

        Raises:
            Unsound: It holds more than data, or does not fit the file.
        """
        begin = pickle.tell()
        self._items, self._letters = 0, _MAX_SHARING * (len(pickle.getbuffer()) - begin)
        try:
            value = self._follow(pickle)
        except Exception:
            pickle.seek(begin)
            culprit = _culprit(pickle)
            if culprit is None:
                raise
            if culprit.startswith(_REBUILD):
                raise Unsound(f"it holds a kind of tensor that is not read here: {culprit!r}") from None
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
            self._items += 1
            if name in _LITERALS:
                stack.append(argument)
            elif name in _CONSTANTS:
                stack.append(_CONSTANTS[name])
            elif name == "EMPTY_LIST":
                stack.append([])
            elif name == "EMPTY_DICT":
                stack.append({})
            elif name == "GLOBAL":
                stack.append(_known(_name_of(argument)))
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
                _as(dict, stack[-1]).update(self._pairs(zip(items[::2], items[1::2], strict=True)))
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
        self._charge(arguments)
        if function in _TENSORS and len(arguments) >= _TENSORS[function]:
            return self._tensor(arguments[6] if function.endswith("_v3") else None, *arguments[:4])
        match function.removeprefix(_REBUILD), arguments:
            case "parameter", (_Tensor() as data, bool(), _):
                return data
            case "parameter_with_state", (_Tensor() as data, bool(), dict(hooks), state) if not hooks:
                return _with_attributes(data, state)
            case "sparse_tensor", (str(), tuple(parts)):
                return self._sparse(parts)
            case "torch._tensor._rebuild_from_type_v2", (
                _Global(name=inner),
                _Global(name="torch.Tensor"),
                tuple(rest),
                state,
            ) if inner in _TENSORS or inner == f"{_REBUILD}sparse_tensor":
                return _with_attributes(self._call(inner, rest), state)
            case "collections.OrderedDict", ():
                return {}
            case "collections.OrderedDict", (list(pairs),):  # as Python 2 wrote it
                return self._pairs(_as(list, pair) for pair in pairs)
            case "collections.Counter", (dict(counts),):
                return dict(counts)
            case "builtins.set", (list(items),):
                return tuple(map(self._key, items))
            case "builtins.bytearray", () | (str(),) | (str(), "latin-1"):
                return arguments
            case "builtins.complex", (float(), float()):
                return complex(*arguments)
            case "torch.Size", (tuple(sides),) if all(map(_is_count, sides)):
                return sides
            case "torch.device", (str(), *_):
                return arguments
            case "torch.serialization._get_layout", (str(name),):
                return name
            case "_codecs.encode", (str(text), "latin1"):  # bytes
                return text
        raise Unsound(f"it was refused because it could run code: it calls {function!r} in a way of its own")

    def _charge(self, arguments: tuple[Any, ...]) -> None:
        """Counts what calls take. Where nothing is passed twice, every item has an instruction, every letter a byte."""
        self._items -= sum(len(value) for value in arguments if isinstance(value, (list, tuple, dict)))
        self._letters -= sum(len(value) for value in arguments if isinstance(value, str))
        if self._items < 0 or self._letters < 0:
            raise Unsound("it makes many copies of the same values, which would fill the memory")

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
        return _Tensor(count * itemsize)

    def _sparse(self, parts: tuple[Any, ...]) -> _Tensor:
        inner = [part for part in parts if isinstance(part, _Tensor)]
        size = sum(tensor.nbytes for tensor in inner)
        self._room -= size  # is looked through when it is read
        if self._room < 0:
            raise Unsound("its sparse tensors are larger than the file: their values repeat")
        return _Tensor(size, tuple(inner))

    def _pairs(self, pairs: Iterable[Any]) -> dict[Any, Any]:
        return {self._key(key): value for key, value in pairs}

    def _key(self, key: Any) -> Any:
        """Checks a key. Deeply nested ones would end the process when hashed; equal hashes would take forever."""
        items = key if isinstance(key, tuple) else (key,)
        if isinstance(key, tuple):
            self._tuple_keys -= 1
            self._charge((key,))
        if not all(
            isinstance(item, _PLAIN_KEYS) and (not isinstance(item, int) or abs(item) < 1 << 60) for item in items
        ):
            raise Unsound("a key of its dictionaries is neither text nor a number")
        if self._tuple_keys < 0:
            raise Unsound(f"its dictionaries have more than {_MAX_TUPLE_KEYS} keys that are tuples")
        return key


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


def _with_attributes(tensor: _Tensor, state: Any) -> _Tensor:
    """Gives a tensor attributes of its own; to replace those that it has would change what it does."""
    for name in _as(dict, state):
        if hasattr(nn.Parameter, _as(str, name)):
            raise Unsound(f"it was refused because it could run code: it sets the attribute {name!r} of a tensor")
    return replace(tensor, attributes=(*tensor.attributes, *state.values()))


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
        elif isinstance(node, _Tensor):
            todo += [(child, depth + 1) for child in node.attributes]
        elif isinstance(node, (list, tuple)):
            todo += [(child, depth + 1) for child in node]

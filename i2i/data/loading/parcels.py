"""Batches from loader processes through memory that is used again and again.

torch gives each tensor of each batch a new piece of shared memory, whose pages are zeroed, mapped by both processes and
given back: at 256 x 256 pixels that takes longer than decoding the image. Here each process writes its batches in turn
into slots that stay open, and whoever receives one copies it out: the thread that pins memory, where there is one.
"""

import secrets
import weakref
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.utils.data import default_collate, get_worker_info

from i2i.core.files.shared_memory import SharedMemory

IN_FLIGHT = 2  # batches of a process that are not received yet: torch's prefetch_factor
_SLOTS = IN_FLIGHT + 1  # one is being copied
_SLOT_BYTES = 1 << 28  # addresses; memory is taken as it is used
_ALIGNED = 64

_RECEIVERS: "weakref.WeakValueDictionary[int, Parcels]" = weakref.WeakValueDictionary()

Place = tuple[int, torch.Size, torch.dtype]  # first byte, shape, type


class Parcels:
    """The slots of a group of loader processes.

    Args:
        workers: How many processes there are.
    """

    def __init__(self, workers: int) -> None:
        self.token, self._count, self._packed = secrets.randbits(62), workers * _SLOTS, 0
        self._open(_memory(self._count * (_SLOT_BYTES + 8)) if workers else None)
        _RECEIVERS[self.token] = self

    def _open(self, memory: SharedMemory | None) -> None:
        self._memory = memory if memory is not None and memory.is_shared else None
        if self._memory is not None:
            whole = torch.from_numpy(self._memory.bytes)
            self._bytes, self._numbers = whole[: self._count * _SLOT_BYTES], whole[self._count * _SLOT_BYTES :]
            self._numbers = self._numbers.view(torch.int64)  # of the batch that lies in each slot

    def __getstate__(self) -> dict[str, Any]:
        return {"token": self.token, "_count": self._count, "_packed": 0, "memory": self._memory}

    def __setstate__(self, state: dict[str, Any]) -> None:
        memory = state.pop("memory")
        self.__dict__.update(state)
        self._open(memory)

    def pack(self, items: Sequence[Mapping[str, Any]]) -> "dict[str, Any] | Parcel":
        """Collates items, in a slot of this process if it is a loader process and they fit."""
        worker = get_worker_info()
        if worker is None or self._memory is None:
            return default_collate(list(items))
        slot = worker.id * _SLOTS + self._packed % _SLOTS
        places = _places(items, slot * _SLOT_BYTES)
        if not places:
            return default_collate(list(items))
        self._packed += 1
        self._numbers[slot] = self._packed
        for key, place in places.items():
            torch.stack([item[key] for item in items], out=self._at(place))
        rest = {key: default_collate([item[key] for item in items]) for key in items[0] if key not in places}
        return Parcel(self.token, slot, self._packed, places, rest, list(items[0]))

    def unpack(self, parcel: "Parcel", pin: bool = False) -> dict[str, Any]:
        """Copies a batch out of its slot.

        Raises:
            RuntimeError: It has been written over.
        """
        batch = {}
        for key in parcel.keys:
            if key not in parcel.places:
                value = parcel.rest[key]
                batch[key] = value.pin_memory() if pin and isinstance(value, torch.Tensor) else value
                continue
            source = self._at(parcel.places[key])
            batch[key] = torch.empty(source.shape, dtype=source.dtype, pin_memory=pin).copy_(source)
        if self._numbers[parcel.slot] != parcel.number:
            raise RuntimeError("a loader process has written over a batch that was not received yet")
        return batch

    def _at(self, place: Place) -> torch.Tensor:
        first, shape, dtype = place
        return self._bytes[first : first + shape.numel() * dtype.itemsize].view(dtype).view(shape)


class Parcel:
    """Where a batch lies, and what of it are no tensors."""

    def __init__(
        self, token: int, slot: int, number: int, places: dict[str, Place], rest: dict[str, Any], keys: list[str]
    ) -> None:
        self.token, self.slot, self.number, self.places, self.rest, self.keys = token, slot, number, places, rest, keys

    def pin_memory(self) -> dict[str, Any]:
        """Is called by torch's thread of that name."""
        return _RECEIVERS[self.token].unpack(self, pin=True)


def _places(items: Sequence[Mapping[str, Any]], first: int) -> dict[str, Place]:
    """Where the tensors of items go, from the first byte on; nothing where they do not fit, or not together."""
    places: dict[str, Place] = {}
    end = first + _SLOT_BYTES
    if any(item.keys() != items[0].keys() for item in items):
        return {}
    for key, value in items[0].items():
        if not isinstance(value, torch.Tensor):
            continue
        if not all(_is_like(item[key], value) for item in items):
            return {}
        shape = torch.Size((len(items), *value.shape))
        places[key] = (first, shape, value.dtype)
        first += -(-shape.numel() * value.dtype.itemsize // _ALIGNED) * _ALIGNED
        if first > end:
            return {}
    return places


def _is_like(value: Any, first: torch.Tensor) -> bool:
    if not isinstance(value, torch.Tensor) or value.requires_grad:
        return False
    kind = (value.shape, value.dtype, value.layout, value.device.type)
    return kind == (first.shape, first.dtype, torch.strided, "cpu")


def _memory(size: int) -> SharedMemory | None:
    try:
        return SharedMemory(size)
    except (OSError, OverflowError, ValueError):
        return None

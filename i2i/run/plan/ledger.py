"""Memory and arithmetic of a computation, found by running it on fake tensors, which have shapes and no contents."""

import weakref
from collections import Counter
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import DataDependentOutputException
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter
from torch.utils.flop_counter import flop_registry

aten = torch.ops.aten
_ROUNDING = {"cpu": 64, "cuda": 512}  # bytes that torch's allocators round up to
_ZEROS: dict[torch.dtype, bool | int] = {torch.bool: False, torch.int64: 0, torch.int32: 0}


@dataclass
class _Block:
    size: int
    kind: str = "activations"


class Ledger(TorchDispatchMode):
    """Counts the bytes of all tensors that are alive, and of what kind they are.

    Use it inside a ``FakeTensorMode``. Numbers that a computation asks of a fake tensor are taken to be zero, so that
    the norm of a gradient is finite.

    Args:
        device: The type of device whose memory counts.

    Attributes:
        flops: Floating-point operations of convolutions and matrix products; a multiply-add is two.
        live: Bytes of all tensors alive.
        peak: The most that were alive.
        at_peak: Those by kind; what was not marked is ``activations``.
    """

    def __init__(self, device: str) -> None:
        super().__init__()
        self.live = self.peak = self.flops = 0
        self._device, self._rounding = device, _ROUNDING.get(device, 1)
        self._blocks: dict[int, _Block] = {}
        self._blocks_at_peak: list[_Block] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        try:
            out = func(*args, **(kwargs or {}))
        except DataDependentOutputException:
            if func is not aten._local_scalar_dense.default:
                raise
            return _ZEROS.get(args[0].dtype, 0.0)
        if func.overloadpacket in flop_registry:
            self.flops += flop_registry[func.overloadpacket](*args, **(kwargs or {}), out_val=out)
        for value in tree_iter(out):
            if isinstance(value, Tensor) and value.device.type == self._device:
                self._see(value)
        return out

    def mark(self, tensor: Tensor | None, kind: str) -> None:
        """Says what a tensor is; of several views the last one counts."""
        if isinstance(tensor, Tensor):
            block = self._blocks.get(tensor.untyped_storage()._cdata)
            if block is not None:
                block.kind = kind

    def _see(self, tensor: Tensor) -> "_Block":
        storage = tensor.untyped_storage()
        known = self._blocks.get(storage._cdata)
        if known is not None:
            return known
        size = -(-storage.nbytes() // self._rounding) * self._rounding
        block = _Block(size)
        self._blocks[storage._cdata] = block
        weakref.finalize(storage, self._forget, storage._cdata)
        self.live += size
        if self.live > self.peak:
            self.peak, self._blocks_at_peak = self.live, list(self._blocks.values())
        return block

    def _forget(self, key: int) -> None:
        self.live -= self._blocks.pop(key).size

    def restart(self) -> None:
        """Forgets operations and peaks so far."""
        self.flops = 0
        self.peak, self._blocks_at_peak = self.live, list(self._blocks.values())

    @property
    def at_peak(self) -> Counter[str]:
        kinds: Counter[str] = Counter()
        for block in self._blocks_at_peak:
            kinds[block.kind] += block.size
        return kinds

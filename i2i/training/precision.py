"""Device, arithmetic and memory format of a run."""

import os
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import nn

from i2i.core.errors import I2IError
from i2i.networks.kernels.convolution import FastConvolutions, pays


def pick_device(name: str) -> torch.device:
    """Resolves ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.

    Raises:
        I2IError: There is no such device here.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise I2IError(f"no device is named {name!r}", ["devices: auto, cpu, cuda, cuda:0, mps"]) from None
    available = {
        "cpu": True,
        "cuda": torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count(),
        "mps": torch.backends.mps.is_available(),
    }
    if not available.get(device.type, False):
        raise I2IError(f"the device {name!r} is not available here", ["device: auto picks what is"])
    return device


class Precision:
    """The arithmetic of the networks; weights, losses and optimizers stay in float32.

    - ``fp32``: IEEE float32 and direct convolutions, the exact path, which the others follow within a tolerance.
    - ``winograd``: float32 on a CPU, with convolutions by :mod:`i2i.networks.kernels.winograd` and, of few pixels, as
      :mod:`i2i.networks.kernels.products`.
    - ``tf32``: float32 on a GPU whose products keep 10 bits of mantissa (NVIDIA, from Ampere on).
    - ``bf16``, ``fp16``: mixed precision by autocast.

    Args:
        name: One of these.
        device: Where.

    Attributes:
        name: One of these.
        device: Where.
        memory_format: The order in memory that images come in: channels-last is what convolutions of less than
            float32, and those of Winograd, want.
    """

    def __init__(self, name: str, device: torch.device) -> None:
        self.name, self.device = name, device
        self.memory_format = torch.contiguous_format if name in ("fp32", "tf32") else torch.channels_last
        is_fast = device.type == "cpu" and name in ("winograd", "bf16")
        self._convolutions = FastConvolutions(with_winograd=name == "winograd") if is_fast else None

    @property
    def is_exact(self) -> bool:
        return self.name == "fp32"

    @classmethod
    def pick(cls, name: str, device: torch.device, networks: Iterable[nn.Module] | None = None) -> "Precision":
        """Resolves ``auto``: the fastest that trains well on the device.

        Args:
            name: One of the above, or ``auto``.
            device: Where.
            networks: That are to be trained, where they are known: narrow ones gain nothing from ``winograd``.

        Raises:
            I2IError: The device cannot compute in this way.
        """
        if name == "auto":
            name = _fastest(device)
            if name == "winograd" and networks is not None and not pays(networks):
                name = "fp32"
        if name in ("fp16", "tf32") and device.type == "cpu":
            raise I2IError(f"precision {name} needs a GPU", ["on a CPU: fp32, winograd or bf16"])
        if name == "winograd" and device.type != "cpu":
            raise I2IError("precision winograd is for CPUs", ["on a GPU: fp32, tf32, bf16 or fp16"])
        return cls(name, device)

    @classmethod
    def candidates(cls, device: torch.device) -> "tuple[Precision, ...]":
        """Returns what the device computes faster than exact float32, the fastest first.

        What each costs in accuracy is for a calibration to find out.
        """
        if device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0):
            return cls("bf16", device), cls("tf32", device)
        if device.type == "cpu":
            return tuple(cls(name, device) for name in dict.fromkeys((_fastest(device), "winograd")))
        return ()

    def autocast(self) -> AbstractContextManager[object]:
        """The number format of a forward and its loss."""
        if self.name not in ("bf16", "fp16"):
            return nullcontext()
        dtype = torch.bfloat16 if self.name == "bf16" else torch.float16
        return torch.autocast(self.device.type, dtype)

    @contextmanager
    def kernels(self) -> Iterator[None]:
        """The kernels of forward and backward passes, and the memory that belongs to them."""
        convolutions: Any = torch.backends.cudnn.conv  # type: ignore[attr-defined]
        products = torch.backends.cuda.matmul
        before = convolutions.fp32_precision, products.fp32_precision
        convolutions.fp32_precision = products.fp32_precision = "tf32" if self.name == "tf32" else "ieee"
        try:
            with self._convolutions or nullcontext():
                yield
        finally:
            convolutions.fp32_precision, products.fp32_precision = before

    def release(self) -> None:
        """Gives the memory back that the kernels keep while weights stay as they are."""
        if self._convolutions is not None:
            self._convolutions.release()


@contextmanager
def deterministic_algorithms(demanded: bool) -> Iterator[None]:
    """Demands deterministic kernels for a while; an operation that has none raises."""
    if not demanded:
        yield
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS asks for it
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


def _fastest(device: torch.device) -> str:
    if device.type == "cuda":
        return "bf16" if torch.cuda.get_device_capability(device) >= (8, 0) else "fp32"
    if device.type == "cpu":
        # Without these instructions bfloat16 is emulated, and 5 times slower than float32.
        flags = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
        return "bf16" if any(getattr(torch.cpu, flag, lambda: False)() for flag in flags) else "winograd"
    return "fp32"

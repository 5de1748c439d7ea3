"""Device, number format and memory format of a run."""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

import torch

from i2i.errors import I2IError


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


@dataclass(frozen=True)
class Precision:
    """The number format of the networks' arithmetic; weights and optimizers stay in float32.

    Attributes:
        name: ``fp32``, ``bf16`` or ``fp16``.
        device: Where.
    """

    name: str
    device: torch.device

    @classmethod
    def pick(cls, name: str, device: torch.device) -> "Precision":
        """Resolves ``auto``: bfloat16 where the hardware computes in it, float32 elsewhere.

        Raises:
            I2IError: The device cannot compute in this format.
        """
        if name == "auto":
            name = "bf16" if _has_bfloat16(device) else "fp32"
        if name == "fp16" and device.type == "cpu":
            raise I2IError("precision fp16 needs a GPU", ["on a CPU: fp32, or bf16"])
        return cls(name, device)

    def autocast(self) -> AbstractContextManager[object]:
        if self.name == "fp32":
            return nullcontext()
        dtype = torch.bfloat16 if self.name == "bf16" else torch.float16
        return torch.autocast(self.device.type, dtype)


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


def _has_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "cpu":
        # Without these instructions bfloat16 is emulated, and slower than float32.
        flags = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
        return any(getattr(torch.cpu, flag, lambda: False)() for flag in flags)
    return False

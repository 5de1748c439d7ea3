"""Several processes as one: thin helpers around ``torch.distributed``, no-ops in a single process."""

import os
from collections.abc import Iterable
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed, nn

Value = TypeVar("Value")


def start(device: torch.device) -> torch.device:
    """Joins the group that ``torchrun`` announces in the environment; returns this process's device."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return device
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    if not distributed.is_initialized():
        distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    return device


def stop() -> None:
    if distributed.is_initialized():
        distributed.destroy_process_group()


def rank() -> int:
    return distributed.get_rank() if distributed.is_initialized() else 0


def world_size() -> int:
    return distributed.get_world_size() if distributed.is_initialized() else 1


def is_main() -> bool:
    return rank() == 0


def barrier() -> None:
    if distributed.is_initialized():
        distributed.barrier()


def from_main(value: Value) -> Value:
    """Gives all processes the first one's value."""
    if not distributed.is_initialized():
        return value
    shared = [value]
    distributed.broadcast_object_list(shared, 0)
    return shared[0]


def gathered(value: Value) -> list[Value]:
    """Collects a value of each process, by rank."""
    if not distributed.is_initialized():
        return [value]
    values: list[Any] = [None] * world_size()
    distributed.all_gather_object(values, value)
    return values


def broadcast_weights(module: nn.Module) -> None:
    """Gives all processes the first one's parameters and buffers."""
    if distributed.is_initialized():
        for tensor in module.state_dict().values():
            if isinstance(tensor, Tensor):
                distributed.broadcast(tensor, 0)


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Replaces gradients by their mean over all processes, in one message."""
    if not distributed.is_initialized():
        return
    gradients = [p.grad for p in parameters if p.grad is not None]
    if not gradients:
        return
    flat = torch._utils._flatten_dense_tensors(gradients)
    distributed.all_reduce(flat)
    flat /= world_size()
    for gradient, mean in zip(gradients, torch._utils._unflatten_dense_tensors(flat, gradients), strict=True):
        gradient.copy_(mean)


def averaged(values: dict[str, float], device: torch.device) -> dict[str, float]:
    """Replaces each process's numbers, which have the same names, by their means."""
    if not distributed.is_initialized() or not values:
        return values
    means = torch.tensor(list(values.values()), dtype=torch.float32, device=device)
    distributed.all_reduce(means)
    return dict(zip(values, (means / world_size()).tolist(), strict=True))


def broadcast_buffers(module: nn.Module) -> None:
    """Gives all processes the first one's floating-point buffers, such as running statistics, in one message."""
    if not distributed.is_initialized():
        return
    buffers = [buffer for buffer in module.buffers() if buffer.is_floating_point()]
    if not buffers:
        return
    flat = torch._utils._flatten_dense_tensors(buffers)
    distributed.broadcast(flat, 0)
    for buffer, value in zip(buffers, torch._utils._unflatten_dense_tensors(flat, buffers), strict=True):
        buffer.copy_(value)


def largest(value: int, device: torch.device) -> int:
    """Returns the largest value of all processes."""
    if not distributed.is_initialized():
        return value
    shared = torch.tensor(value, device=device)
    distributed.all_reduce(shared, distributed.ReduceOp.MAX)
    return int(shared.item())

"""Several processes as one: thin helpers around ``torch.distributed``, no-ops in a single process.

Processes decide alike: what one of them knows and all have to act upon travels through :func:`gathered`,
:func:`largest` or :func:`from_main`. A process that fails takes the others with it, and one of them says why.
"""

import importlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor, distributed, nn

from i2i.core.errors import I2IError

GRACE = 1.0  # seconds

Value = TypeVar("Value")
Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class LostProcess(I2IError):
    """Another process of the run has ended, or cannot be reached any more."""

    exit_code = 1


def _collective(call: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Tells that others are gone, which torch tells in many ways."""

    @wraps(call)
    def wrapped(*arguments: Arguments.args, **options: Arguments.kwargs) -> Result:
        try:
            return call(*arguments, **options)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            raise LostProcess(
                "another process of the run has died or cannot be reached",
                [
                    f"as process {rank()} of {world_size()} was told: {' '.join(str(error).split())[:200]}",
                    "the last checkpoint is unharmed: --resume auto continues it",
                ],
            ) from error

    return wrapped


@contextmanager
def joined() -> Iterator[None]:
    """Joins the group that ``torchrun`` announces in the environment, for a while.

    Raises:
        SystemExit: Something failed here that was told by another process already.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or distributed.is_initialized():
        yield
        return
    # The first optimizer would import it and keep the group, whose threads then meet the end of the process: once in
    # some fifty runs it ended with SIGABRT, torchrun ended the others, and the report was missing (torch 2.15).
    importlib.import_module("torch._dynamo")
    own = int(os.environ.get("LOCAL_RANK", "0"))
    if own < torch.cuda.device_count():
        torch.cuda.set_device(own)
        distributed.init_process_group("cpu:gloo,cuda:nccl")
    else:
        distributed.init_process_group("gloo")
    try:
        yield
    except Exception as error:
        if _is_first_to_tell():
            raise
        time.sleep(GRACE)  # a launcher ends all when the first is gone: let the one speak who has it to say
        raise SystemExit(getattr(error, "exit_code", 1)) from None
    else:
        distributed.destroy_process_group()  # after a failure it might wait for those who are gone


def _is_first_to_tell() -> bool:
    """Whether no other process has failed before; the launcher keeps the count, whoever is gone."""
    with suppress(Exception):
        store = distributed.distributed_c10d._get_default_store()
        return bool(store.add("i2i/failures", 1) == 1)
    return True


@contextmanager
def agreeing() -> Iterator[None]:
    """Lets all processes do the same, and fail alike when one of them fails; no messages between them inside.

    Raises:
        I2IError: As the first process that failed has it; says which, where the others did not.
    """
    failure: I2IError | None = None
    try:
        yield
    except I2IError as error:
        if not distributed.is_initialized():
            raise
        failure = error
    failures = gathered((str(failure), failure.exit_code) if failure is not None else None)
    told = next((one for one in failures if one is not None), None)
    if told is None:
        return
    if failure is not None and all(other == told for other in failures):
        raise failure
    text, code = told
    first, *rest = text.splitlines()
    shared = I2IError(f"process {failures.index(told)} of {world_size()}: {first}", [line.strip() for line in rest])
    shared.exit_code = code
    raise shared


def local(device: torch.device) -> torch.device:
    """Returns this process's own of the GPUs of a machine."""
    if distributed.is_initialized() and device.type == "cuda":
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    return device


def rank() -> int:
    return distributed.get_rank() if distributed.is_initialized() else 0


def world_size() -> int:
    return distributed.get_world_size() if distributed.is_initialized() else 1


def is_main() -> bool:
    return rank() == 0


@_collective
def barrier() -> None:
    if distributed.is_initialized():
        distributed.barrier()


@_collective
def from_main(value: Value) -> Value:
    """Gives all processes the first one's value."""
    if not distributed.is_initialized():
        return value
    shared = [value]
    distributed.broadcast_object_list(shared, 0)
    return shared[0]


@_collective
def gathered(value: Value) -> list[Value]:
    """Collects a value of each process, by rank."""
    if not distributed.is_initialized():
        return [value]
    values: list[Any] = [None] * world_size()
    distributed.all_gather_object(values, value)
    return values


@_collective
def broadcast_weights(module: nn.Module) -> None:
    """Gives all processes the first one's parameters and buffers."""
    if distributed.is_initialized():
        for tensor in module.state_dict().values():
            if isinstance(tensor, Tensor):
                distributed.broadcast(tensor, 0)


@_collective
def average(tensors: Sequence[Tensor]) -> None:
    """Replaces tensors of one type by their means over all processes, in one message."""
    if not distributed.is_initialized() or not tensors:
        return
    flat = torch._utils._flatten_dense_tensors(tensors)
    distributed.all_reduce(flat)
    flat /= world_size()
    for tensor, mean in zip(tensors, torch._utils._unflatten_dense_tensors(flat, tensors), strict=True):
        tensor.copy_(mean)


@_collective
def averaged(values: dict[str, float], device: torch.device) -> dict[str, float]:
    """Replaces each process's numbers, which have the same names, by their means."""
    if not distributed.is_initialized() or not values:
        return values
    means = torch.tensor(list(values.values()), dtype=torch.float32, device=device)
    distributed.all_reduce(means)
    return dict(zip(values, (means / world_size()).tolist(), strict=True))


@_collective
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


@_collective
def largest(value: int, device: torch.device) -> int:
    """Returns the largest value of all processes."""
    if not distributed.is_initialized():
        return value
    shared = torch.tensor(value, device=device)
    distributed.all_reduce(shared, distributed.ReduceOp.MAX)
    return int(shared.item())

"""Networks as code that ``torch.compile`` makes of them, while training steps are taken.

Ansel et al., "PyTorch 2: Faster Machine Learning Through Dynamic Python Bytecode Transformation and Graph Compilation"
(2024).
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from i2i.pipelines.base import Pipeline
from i2i.training.precision import Precision

RECOMPILATIONS = 8  # of each network: training or not, with a graph or not, one size, any size; beyond that it is eager
_NEEDS = {"cpu": "a C++ compiler, such as g++; the variable CXX names another", "cuda": "Triton and a C compiler"}


class Compilation:
    """Runs networks as compiled code within :meth:`running`, and as they are at all other times.

    Samples, metrics, bundles and copies of a network never meet compiled code, which would be compiled again for them.
    Sizes that change are compiled once more, for any size.

    Args:
        pipeline: Whose networks; those whose gradient is itself differentiated stay as they are.
        precision: Of the steps.
        report: Receives lines for the user: what is not compiled, and why; how long compiling took.
        backend: Of ``torch.compile``.

    Attributes:
        letters: The networks that are compiled; none where that is not possible.
    """

    def __init__(
        self, pipeline: Pipeline, precision: Precision, report: Callable[[str], None], backend: str = "inductor"
    ) -> None:
        self._report = report
        self._seconds = self._started = 0.0
        eager = twice_differentiated(pipeline)
        self.letters = tuple(letter for letter in pipeline.members if letter not in eager)
        reason = obstacle(precision, backend)
        if reason:
            report(f"compile: off, {reason}")
            self.letters = ()
        elif eager:
            report(f"compile: not {', '.join(eager)}: a penalty differentiates their gradient")
        networks = [pipeline.members[letter] for letter in self.letters]
        # What nn.Module.compile() keeps; a module's copies come without it.
        self._calls = [(one, torch.compile(one._call_impl, dynamic=None, backend=backend)) for one in networks]
        self._limit = RECOMPILATIONS * max(len(networks), 1)  # torch counts those of all networks together

    @contextmanager
    def running(self) -> Iterator[None]:
        """The networks run as compiled code; it is made when it is first needed."""
        from torch._dynamo import config
        from torch._dynamo.callback import callback_handler

        callback_handler.register_start_callback(self._start)
        callback_handler.register_end_callback(self._end)
        try:
            for network, call in self._calls:
                _set_call(network, call)
            with config.patch(recompile_limit=self._limit):
                yield
        finally:
            for network, _ in self._calls:
                _set_call(network, None)
            callback_handler.remove_start_callback(self._start)
            callback_handler.remove_end_callback(self._end)

    def pop_seconds(self, step: int) -> float:
        """Returns, and says, how long compiling took since the last call; ``step`` names the step that needed it."""
        seconds, self._seconds = self._seconds, 0.0
        if seconds:
            self._report(f"step {step}: compiled in {seconds:.0f} s")
        return seconds

    def _start(self, *_: Any) -> None:
        self._started = time.perf_counter()

    def _end(self, *_: Any) -> None:
        self._seconds += time.perf_counter() - self._started


def twice_differentiated(pipeline: Pipeline) -> tuple[str, ...]:
    """Returns the networks whose gradient a penalty differentiates: ``torch.compile`` allows no second derivatives."""
    losses: list[Any] = [
        loss for objective in pipeline.objectives.values() for loss in getattr(objective, "losses", ())
    ]
    if not any(getattr(loss, "penalty", None) is not None and getattr(loss, "has_penalty", True) for loss in losses):
        return ()
    roles = [role for role in pipeline.networks.values() if role.kind == "discriminator"]
    return tuple(letter for role in roles for letter in role.makes if letter in pipeline.members)


def obstacle(precision: Precision, backend: str = "inductor") -> str | None:
    """Compiles something tiny; returns why networks cannot be compiled here, or ``None``."""
    device = precision.device
    if precision.name == "winograd":
        return "precision winograd brings its own kernels; trainer.precision=fp32 can be compiled"
    if precision.name == "bf16" and device.type == "cpu":
        # Seen with torch 2.15 in G of a CycleGAN, on a CPU that emulates bfloat16.
        return "compiled bfloat16 gave gradients that are not finite on a CPU; trainer.precision=fp32 can be compiled"
    try:
        torch.compile(_tiny, backend=backend)(torch.ones(8, device=device))
    except Exception as error:  # of many kinds, from compilers, Triton and torch itself
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        return f"it needs {_NEEDS.get(device.type, f'a backend for {device.type}')} ({reason[:200]})"
    return None


def _tiny(x: Tensor) -> Tensor:
    return x.sin() + x


def _set_call(network: nn.Module, call: Any) -> None:
    network._compiled_call_impl = call

"""What a pipeline may know of the step at hand, and what it gives back."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

_TAKEN = ("step", "epoch", "images_per_second", "data_wait")  # names of the log's own
Batch = Mapping[str, Any]
Shared = Mapping[str, Tensor]


@dataclass(frozen=True)
class Now:
    """The step at hand.

    Attributes:
        batch: This part of the batch, on the device: ``[N, C, H, W]`` by domain, ``label`` where the data have labels.
        rng: Seeded for seed, step, process, part and phase. It lives on the CPU. Global random states are seeded alike.
        step: Updates before this one.
        images: Images before this step, over all processes.
        progress: How much of the run is done, in [0, 1).
    """

    batch: Batch
    rng: torch.Generator
    step: int = 0
    images: int = 0
    progress: float = 0.0

    def noise(self, *shape: int) -> Tensor:
        """Returns standard normal numbers of a shape, on the batch's device; the same numbers on every device.

        They are drawn on the CPU. For noise as large as images, ``torch.randn_like`` is faster on a GPU.
        """
        return torch.randn(shape, generator=self.rng).to(self.device)

    @property
    def device(self) -> torch.device:
        """The device of the batch."""
        return next((value.device for value in self.batch.values() if isinstance(value, Tensor)), torch.device("cpu"))


@dataclass
class Terms:
    """What a phase gives back.

    Attributes:
        losses: Scalars by name, weights included. The trainer descends their sum.
        statistics: Scalars to log only, such as the accuracy of a discriminator.
        keep: Values for :meth:`Pipeline.commit`, detached. A key that ``Pipeline.averaged_state`` names holds a mean
            (over parts and processes it is averaged again, in float32), any other a tensor whose first dimension is
            the batch.
    """

    losses: dict[str, Tensor]
    statistics: dict[str, Tensor] = field(default_factory=dict)
    keep: dict[str, Tensor] = field(default_factory=dict)

    def total(self) -> Tensor:
        """Returns the sum of the losses."""
        return torch.stack(list(self.losses.values())).sum()

    @staticmethod
    def joined(terms: Iterable["Terms"]) -> "Terms":
        """Returns several as one."""
        whole = Terms({})
        for one in terms:
            whole.losses |= one.losses
            whole.statistics |= one.statistics
            whole.keep |= one.keep
        return whole


def each_of(given: Any, phase: str) -> Iterator[Terms]:
    """Yields what the loss of a phase gives: one :class:`Terms`, or each of several.

    Raises:
        TypeError: It gives something else, one name twice, or no loss at all.
    """
    example = 'return Terms({"G": value}), or yield several'
    if not isinstance(given, Terms | Iterator):
        raise TypeError(f"the loss of phase {phase!r} gives {type(given).__name__}, expected Terms: {example}")
    seen: set[str] = set()
    has_loss = False
    for terms in iter([given]) if isinstance(given, Terms) else given:
        if not isinstance(terms, Terms):
            raise TypeError(f"the loss of phase {phase!r} gives {type(terms).__name__}, expected Terms: {example}")
        for what, values in (("loss", terms.losses), ("statistic", terms.statistics)):
            odd = [name for name, value in values.items() if not isinstance(value, Tensor) or value.ndim]
            if odd:
                raise TypeError(f"the {what} {odd[0]!r} of phase {phase!r} is no scalar tensor")
        odd = [name for name, value in terms.keep.items() if not isinstance(value, Tensor)]
        if odd:
            raise TypeError(
                f"phase {phase!r} keeps {odd[0]!r}, which is {type(terms.keep[odd[0]]).__name__}, no tensor"
            )
        for name in (*terms.losses, *terms.statistics, *(f"keep {name}" for name in terms.keep)):
            if name in seen or name in _TAKEN:
                owner = "the log" if name in _TAKEN else "another loss, statistic or kept value"
                raise TypeError(f"{name!r} of phase {phase!r} has the name of {owner}")
            seen.add(name)
        has_loss |= bool(terms.losses)
        yield terms
    if not has_loss:
        raise TypeError(f"the loss of phase {phase!r} gives Terms without a loss: {example}")

"""Whether an update may be taken: no NaN and no infinity of a loss or gradient reaches the weights."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from i2i.core.errors import TrainingError
from i2i.training import distributed

SHOWN = 8  # image files that a message names


class NotFinite(TrainingError):
    """A loss or gradient is not finite. The weights are as they were before the update."""


@dataclass(frozen=True)
class Verdict:
    """What is known of an update before it is taken.

    Attributes:
        step: Number of the step, from 1.
        phase: The phase's name.
        is_broken: 1 where a loss or gradient of any process is not finite, else 0; on the device.
        losses: Of this process, by name.
        batches: What they were computed of.
    """

    step: int
    phase: str
    is_broken: Tensor
    losses: Mapping[str, Tensor]
    batches: Sequence[Mapping[str, Any]]

    def blame(self) -> "Blame":
        """Finds out, in all processes at once, what is not finite and which files were involved."""
        names = [name for name, value in self.losses.items() if not math.isfinite(float(value))]
        listed = [batch[key] for batch in self.batches for key in batch if key.endswith("path")]
        views = distributed.gathered((names, sorted({path for paths in listed for path in paths})))
        guilty = [view for view in views if view[0]] or views
        return Blame(self, _joined(names for names, _ in guilty), _joined(files for _, files in guilty))


@dataclass(frozen=True)
class Blame:
    """What is wrong with an update.

    Attributes:
        verdict: On which update.
        losses: Names of the losses that are not finite; where there is none, the gradient is not.
        files: The images, of the processes whose losses are not finite.
    """

    verdict: Verdict
    losses: list[str]
    files: list[str]

    def __str__(self) -> str:
        what = ", ".join(self.losses) or f"the gradient of {self.verdict.phase}"
        return f"step {self.verdict.step}: {what} is not finite"

    @property
    def images(self) -> list[str]:
        """A line for each image, up to a few."""
        more = len(self.files) - SHOWN
        return [f"image: {file}" for file in self.files[:SHOWN]] + ([f"and {more} more images"] if more > 0 else [])


def share_gradients(parameters: Iterable[nn.Parameter], total: Tensor) -> Tensor:
    """Averages gradients and loss over all processes, in one message; returns the loss ``[1]``.

    One that is not finite in any process is so in all of them afterwards.
    """
    gradients = [p.grad for p in parameters if p.grad is not None]
    loss = total.detach().to(gradients[0].dtype if gradients else total.dtype).reshape(1)
    distributed.average([*gradients, loss])
    return loss


def judge(parameters: Iterable[nn.Parameter], loss: Tensor) -> tuple[Tensor, Tensor]:
    """Looks whether gradients and loss are finite, without waiting for the device.

    Returns:
        The norm of all gradients, and 1 where something is not finite, else 0; both scalars.
    """
    norm = nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
    is_finite = torch.isfinite(norm.to(loss.device)) & torch.isfinite(loss[0])
    return norm, (~is_finite).float()


def _joined(lists: Iterable[Sequence[str]]) -> list[str]:
    return list(dict.fromkeys(item for one in lists for item in one))

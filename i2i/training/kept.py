"""What a phase has kept for ``commit``, of all parts and processes as one."""

from collections.abc import Collection, Mapping, Sequence

import torch
from torch import Tensor

from i2i.core.errors import TrainingError
from i2i.training import distributed


def merged(parts: Sequence[Mapping[str, Tensor]], averaged: Collection[str]) -> dict[str, Tensor]:
    """Merges the kept values of the parts of a batch.

    Args:
        parts: Of each part, by name.
        averaged: Names whose values are means, over parts and over processes, in float32. All others are concatenated
            over parts, batch first, and stay with their process.

    Raises:
        TrainingError: Parts keep different names, or a scalar is not named as averaged.
    """
    if any(part.keys() != parts[0].keys() for part in parts):
        raise TrainingError(f"parts of one batch keep different values: {', '.join(map(str, map(sorted, parts)))}")
    kept: dict[str, Tensor] = {}
    for name in parts[0]:
        values = [part[name].detach() for part in parts]
        if name in averaged:
            kept[name] = torch.stack(values).float().mean(0)
        elif values[0].ndim == 0:
            raise TrainingError(
                f"{name!r} is kept as a scalar, and kept values have the batch as their first dimension",
                [f"a mean: averaged_state = ({name!r},) in the class of the pipeline"],
            )
        else:
            kept[name] = torch.cat(values) if len(values) > 1 else values[0]
    means = [name for name in kept if name in averaged]
    if means and distributed.world_size() > 1:
        distributed.average([kept[name] for name in means])
    return kept

"""How normalisation and dropout behave when translating: decided once, kept in the bundle, never by accident."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd


@contextmanager
def translating(module: nn.Module, norm_policy: str, dropout_policy: str) -> Iterator[None]:
    """Puts networks into the state for translation, and back.

    Args:
        module: All networks involved.
        norm_policy: ``batch`` normalises with the statistics of the images at hand, ``running`` with those of training.
        dropout_policy: ``on`` keeps dropout as the generator's noise.
    """
    modes = {part: part.training for part in module.modules()}
    statistics: dict[_BatchNorm, tuple[object, object]] = {}
    module.eval()
    for part in modes:
        if isinstance(part, _DropoutNd) and dropout_policy == "on":
            part.training = True
        if isinstance(part, _BatchNorm) and norm_policy == "batch":
            # Without running statistics the layer uses the batch's own, and changes none.
            statistics[part] = (part.running_mean, part.running_var)
            part.running_mean = part.running_var = None
    try:
        yield
    finally:
        for part, (mean, variance) in statistics.items():
            part.running_mean, part.running_var = mean, variance  # type: ignore[assignment]
        for part, mode in modes.items():
            part.training = mode


def depends_on_batch(module: nn.Module, norm_policy: str, dropout_policy: str) -> bool:
    """Tells whether an image's translation depends on the other images of its batch, or on the batch's noise."""
    return any(
        (isinstance(part, _BatchNorm) and norm_policy == "batch")
        or (isinstance(part, _DropoutNd) and dropout_policy == "on" and part.p > 0)
        for part in module.modules()
    )

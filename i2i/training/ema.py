"""The exponential moving average of weights: steadier images than those of any one step.

Yazici et al., "The Unusual Effectiveness of Averaging in GAN Training" (2019), section 2.2.
"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from i2i.pipelines.base import Pipeline


class Average:
    """Averages the networks that a pipeline translates with.

    The decay of update ``t`` (from 0) is ``min(decay, (1 + t) / (10 + t))``, so that a short run's average is not that
    of its initial weights. Buffers, such as running statistics, are copied.

    Args:
        pipeline: Its ``averaged`` networks are.
        decay: In [0, 1).

    Attributes:
        networks: The averages, by letter.
    """

    def __init__(self, pipeline: Pipeline, decay: float) -> None:
        self.pipeline, self.decay = pipeline, decay
        letters = [letter for letter in pipeline.averaged if letter not in pipeline.frozen]
        self.networks = nn.ModuleDict({letter: copy.deepcopy(pipeline.members[letter]) for letter in letters})
        self.networks.eval().requires_grad_(False)

    def update(self, step: int) -> None:
        """Takes the weights after an update in; ``step`` counts from 0."""
        decay = min(self.decay, (1 + step) / (10 + step))
        with torch.no_grad():
            for letter, average in self.networks.items():
                network = self.pipeline.members[letter]
                torch._foreach_lerp_(list(average.parameters()), list(network.parameters()), 1 - decay)
                for kept, new in zip(average.buffers(), network.buffers(), strict=True):
                    kept.copy_(new)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Lets the pipeline use the averages for a while."""
        members = self.pipeline.members
        trained = {letter: members[letter] for letter in self.networks}
        try:
            for letter, average in self.networks.items():
                members[letter] = average
            yield
        finally:
            for letter, network in trained.items():
                members[letter] = network

"""The exponential moving average of weights: steadier images than those of any one step.

Yazici et al., "The Unusual Effectiveness of Averaging in GAN Training" (2019), section 2.2.
"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from i2i.pipelines.base import Pipeline
from i2i.training.decay import ImageDecay, StepDecay


class Average:
    """Averages the networks that a pipeline is used with.

    Buffers, such as running statistics, are copied.

    Args:
        pipeline: Its ``averaged`` networks are.
        decay: How fast.

    Attributes:
        networks: The averages, by letter.
    """

    def __init__(self, pipeline: Pipeline, decay: StepDecay | ImageDecay) -> None:
        self.pipeline, self.decay = pipeline, decay
        self.networks = nn.ModuleDict({letter: copy.deepcopy(pipeline.members[letter]) for letter in pipeline.averaged})
        self.networks.eval().requires_grad_(False)

    def update(self, step: int, images: int, batch_size: int) -> None:
        """Takes the weights after a step in.

        Args:
            step: Steps before it.
            images: Images before it.
            batch_size: Images of it.
        """
        decay = self.decay.at(step, images, batch_size)
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

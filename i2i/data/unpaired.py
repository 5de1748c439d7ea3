"""Images of two domains without pairs: CycleGAN, Zhu et al. 2017, section 7.1 (training details)."""

from typing import ClassVar

import numpy as np

from i2i.data.base import TwoDomains


class Unpaired(TwoDomains):
    """Two folders of images that do not belong together, or the halves of side-by-side files taken apart.

    An epoch is as long as the larger domain. In training, b is drawn at random, so that chance and not the order of the
    files decides which images meet; in other splits, item i is the i-th image of each, the smaller domain repeated.
    """

    joint: ClassVar[bool] = False

    def choose(self, index: int, counts: tuple[int, int], rng: np.random.Generator) -> tuple[int, int]:
        j = int(rng.integers(counts[1])) if self.split == "train" else index % counts[1]
        return index % counts[0], j

"""Images of two domains without pairs: CycleGAN, Zhu et al. 2017, section 7.1 (training details)."""

from typing import ClassVar

from i2i.data.pictures import Pictures


class Unpaired(Pictures):
    """Two folders of images that do not belong together, or the halves of side-by-side files taken apart.

    An epoch is as long as the larger domain. In training, b is drawn at random, so that chance and not the order of the
    files decides which images meet; in other splits, item i is the i-th image of each, the smaller domain repeated.
    """

    is_joint: ClassVar[bool] = False

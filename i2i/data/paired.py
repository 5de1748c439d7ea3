"""Pairs of images that show the same thing in two domains: pix2pix, Isola et al. 2017, section 6.2 and appendix."""

from typing import ClassVar

from i2i.data.pictures import Pictures


class Paired(Pictures):
    """Aligned pairs: both halves of one file, or two folders whose files have the same names but for the suffix.

    Both images of a pair get the same geometry. Images without a partner are an error that lists them.
    """

    is_joint: ClassVar[bool] = True

"""NAFNet as an i2i generator."""

from i2i_nafnet.nafnet import NAFNetGenerator

__all__ = ["NAFNetGenerator"]

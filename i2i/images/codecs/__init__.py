"""What the tensors of a domain mean: from a file to the tensor that networks see, and back to what a file holds.

Most domains are images. A domain of labels is a class at each pixel: networks see it one-hot, or as a picture in the
classes' colours; files hold class ids. The codec of each domain is kept in the bundle, so that translating needs
nothing else.
"""

from collections.abc import Mapping
from typing import Any

from i2i.images.codecs.base import Codec, Half, load_halves
from i2i.images.codecs.image import ImageCodec
from i2i.images.codecs.labels import LabelClass, LabelCodec

__all__ = [
    "Codec",
    "Half",
    "ImageCodec",
    "LabelClass",
    "LabelCodec",
    "codec_of",
    "codecs_of",
    "load_halves",
]


def codec_of(description: Mapping[str, Any]) -> Codec:
    """Makes a codec of what :meth:`Codec.describe` returned.

    Raises:
        ValueError: It is no such description.
    """
    try:
        values = dict(description)
        kind = values.pop("kind")
        if kind == ImageCodec.kind:
            return ImageCodec.of(values)
        if kind == LabelCodec.kind:
            return LabelCodec.of(values)
    except (KeyError, TypeError, IndexError, OverflowError) as error:
        raise ValueError(f"not the description of a domain: {error}") from error
    raise ValueError(f"no kind of domain is named {kind!r}")


def codecs_of(dataset: Any) -> dict[str, Codec]:
    """Returns the codec of each domain of a data set; one that names none holds images."""
    own: Mapping[str, Codec] | None = getattr(dataset, "codecs", None)
    return {name: (own or {}).get(name) or ImageCodec(count) for name, count in dataset.channels.items()}

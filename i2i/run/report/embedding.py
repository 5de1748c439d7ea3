"""Images inside a page: small enough, and as text."""

import base64
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from PIL import Image

EXACT_UP_TO = 32 * 1024  # bytes of a PNG
QUALITY = 85


@dataclass(frozen=True)
class Embedded:
    """An image as a data URI.

    Attributes:
        uri: ``data:image/...;base64,...``.
        width: Pixels.
        height: Pixels.
    """

    uri: str
    width: int
    height: int


def embed(array: np.ndarray, longest: int) -> Embedded:
    """Turns a picture into a data URI: as PNG where that is small, as of label maps and thumbnails, else as JPEG.

    Args:
        array: uint8 ``[H, W, 3]``.
        longest: Pixels that the longer side may have; larger pictures are scaled down.
    """
    image = Image.fromarray(array)
    image.thumbnail((longest, longest), Image.Resampling.LANCZOS)
    kind, data = "png", _encode(image, "PNG")
    if len(data) > EXACT_UP_TO:
        kind, data = "jpeg", _encode(image, "JPEG", quality=QUALITY, optimize=True)
    return Embedded(f"data:image/{kind};base64,{base64.b64encode(data).decode()}", image.width, image.height)


def _encode(image: Image.Image, format: str, **options: object) -> bytes:
    buffer = BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()

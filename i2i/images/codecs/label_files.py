"""Label maps as they stand in files: class ids must reach the codec untouched by any conversion to colours."""

import os
from io import BytesIO

import numpy as np

from i2i.images.decoding import (
    MAX_PIXELS,
    Damaged,
    Refused,
    check_data,
    decode,
    identify,
    load_pixels,
    orientation,
    recognize,
)
from i2i.images.files import open_regular
from i2i.images.rasters import decode_raster, is_raster


def read_labels(path: str | os.PathLike[str], max_pixels: int = MAX_PIXELS) -> tuple[np.ndarray, np.ndarray | None]:
    """Reads a label map.

    Args:
        path: Class ids as 8-bit gray or as indices into a palette, or colours. One-bit images hold the ids 0 and 1.
        max_pixels: Files whose header claims more are refused before they are decoded.

    Returns:
        Integers ``[H, W, C]``, and the palette ``[256, 3]`` of a file that has one.

    Raises:
        Refused: It is damaged, lossy where that would change ids, or rotated by EXIF.
        OSError: It cannot be read.
    """
    with open_regular(path) as file:
        is_array = is_raster(file)
        if not is_array:
            recognize(file)  # a film of many gigabytes is not read to find that it is none
        data = file.read()
    if is_array:
        return decode_raster(data, max_pixels, _check_raster), None
    image = identify(BytesIO(data), max_pixels)
    check_data(image, data)
    if image.format == "JPEG" and image.mode == "L":
        raise Refused("is a gray JPEG, whose compression has changed the class ids", ("save label maps as PNG",))
    if orientation(image, data) != 1:
        raise Refused("asks by EXIF to be rotated, which label maps do not do", ("rotate it and save it as PNG",))
    if image.mode not in ("P", "L", "1") or "transparency" in image.info and image.mode != "P":
        return decode(data, None, max_pixels)[0], None
    try:
        load_pixels(image)
        array = np.array(image)
    except Exception as error:  # decoders raise anything on damaged data
        raise Damaged(f"damaged {image.format} file: {error}") from error
    if image.mode != "P":
        return array.astype(np.uint8, copy=False)[..., None], None
    palette = np.zeros((256, 3), np.uint8)
    colours = np.array(image.getpalette("RGB") or [], np.uint8).reshape(-1, 3)
    palette[: len(colours)] = colours
    return np.ascontiguousarray(array[..., None], np.uint8), palette


def _check_raster(channels: int, dtype: np.dtype[np.generic]) -> None:
    if dtype.kind not in "ui":
        raise Refused(f"holds {dtype} values, but class ids are integers")
    if channels > 4:
        raise Refused(f"has {channels} channels; a label map has 1, or 3 with the classes' colours")

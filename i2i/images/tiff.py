"""The directories of a TIFF: each describes a picture, a thumbnail or a mask, and says where the next one is."""

import struct
from typing import Any, BinaryIO

from PIL import TiffImagePlugin

MAX_DIRECTORIES = 256  # a picture, its smaller copies and their masks are far fewer; decoders take long over thousands
_BIG = (b"II+\0", b"MM\0+")


def first_tags(stream: BinaryIO) -> Any:
    """Reads the tags of the first directory.

    Args:
        stream: The file, wherever it stands; its position is changed.

    Returns:
        A mapping from a tag's number to its value.

    Raises:
        Exception: Of any kind; the file is damaged.
    """
    tags = TiffImagePlugin.ImageFileDirectory_v2(_header(stream))
    stream.seek(tags.next)
    tags.load(stream)
    return tags


def count_directories(stream: BinaryIO, most: int = MAX_DIRECTORIES) -> int:
    """Counts directories without their tags, up to one more than ``most``; what is damaged ends the count.

    Args:
        stream: The file; its position is kept.
    """
    before = stream.tell()
    try:
        return _count(stream, most)
    except (OSError, OverflowError, ValueError, struct.error):  # an offset that no file has; too few bytes
        return 0
    finally:
        stream.seek(before)


def _count(stream: BinaryIO, most: int) -> int:
    header = _header(stream)
    order = "<" if header.startswith(b"II") else ">"
    offset, count, entry = (order + "Q", order + "Q", 20) if header[:4] in _BIG else (order + "I", order + "H", 12)
    seen: set[int] = set()
    at = _number(header[8:] if header[:4] in _BIG else header[4:], offset)
    while at and at not in seen and len(seen) <= most:
        stream.seek(at)
        size = stream.read(struct.calcsize(count))
        if len(size) < struct.calcsize(count):
            break
        seen.add(at)
        stream.seek(at + len(size) + entry * _number(size, count))
        at = _number(stream.read(struct.calcsize(offset)), offset)
    return len(seen)


def _number(data: bytes, form: str) -> int:
    size = struct.calcsize(form)
    return int(struct.unpack(form, data)[0]) if len(data) == size else 0


def _header(stream: BinaryIO) -> bytes:
    stream.seek(0)
    prefix = stream.read(4)
    return prefix + stream.read(12 if prefix in _BIG else 4)

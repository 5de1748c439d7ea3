"""Damage of an image file that its decoder does not find, or finds too late: checksums, cut-off data, endless scans."""

import re
import struct
import zlib

from PIL import ImageFile

_MOST_PIXELS = 1 << 16  # that a byte stands for: twice the best case of all formats but the unlimited ones
_UNLIMITED = ("WEBP", "AVIF")  # a few bytes may be one large area of one colour
# Whatever follows 0xFF in a JPEG, but for padding, escaped pixels, and marks between them that have no length.
_MARKER = re.compile(rb"\xff([^\x00\x01\xd0-\xd8\xff])")
_SOS, _EOI = b"\xda", b"\xd9"
# A scan may be nearly empty and still goes over all pixels, at about 1.3 ns each. Encoders write about 10.
_LEAST_SCANS, _MOST_SCANS, _SCANNED_PIXELS = 32, 1000, 2 * 10**9


def flaw(format: str | None, pixels: int, data: bytes) -> str:
    """Says what is wrong with a file's data, which its decoder does not find out or takes too long over; or nothing.

    Args:
        format: Of the file, as Pillow calls it.
        pixels: That its header claims.
        data: The file.
    """
    if format == "PNG":
        return broken_chunk(data)
    if format in ("JPEG", "MPO"):
        return _too_many_scans(data, max(_LEAST_SCANS, min(_MOST_SCANS, _SCANNED_PIXELS // max(pixels, 1))))
    return ""


def broken_chunk(data: bytes) -> str:
    """Checks the sums of a PNG's pixels, which Pillow does not; says what is wrong, or nothing.

    Args:
        data: The file.
    """
    view, at = memoryview(data), 8
    while at + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 8 + length
        if kind == b"IDAT" and end > len(data):
            return "cut off within its pixels"  # OpenCV would take memory for the length that the chunk claims
        if end + 4 > len(data):
            break
        if kind == b"IDAT" and zlib.crc32(view[at + 4 : end]) != struct.unpack_from(">I", data, end)[0]:
            return "the checksum of its pixels is wrong"
        if kind == b"IEND":  # what follows is not the picture's
            break
        at = end + 4
    return ""


def _too_many_scans(data: bytes, most: int) -> str:
    at = count = 0
    while (found := _MARKER.search(data, at)) is not None and found[1] != _EOI:
        count += found[1] == _SOS
        if count > most:
            return f"its pixels are coded in more than {most} scans, 10 are usual"
        at = found.end() + int.from_bytes(data[found.end() : found.end() + 2], "big")
    return ""


def overclaim(format: str | None, size: tuple[int, int], length: int) -> str:
    """Returns why a file is far too small for the pixels that its header claims; empty where it may hold them.

    Decoders take memory for all pixels before they find out that there are none: 100 bytes can ask for gigabytes.

    Args:
        format: Of the file, as Pillow calls it.
        size: Width and height that its header claims.
        length: Of the file, in bytes.
    """
    if format in _UNLIMITED or size[0] * size[1] <= _MOST_PIXELS * length:
        return ""
    return f"damaged or cut off: its header claims {size[0]} x {size[1]} pixels, which {length:,} bytes cannot hold"


def uncovered(image: ImageFile.ImageFile) -> str:
    """Says how a GIF's picture leaves part of its canvas without colour; empty where it does not."""
    extents = image.tile[0][1] if image.tile else None
    if extents is None or tuple(extents) == (0, 0, *image.size):
        return ""
    width, height = extents[2] - extents[0], extents[3] - extents[1]
    canvas = " x ".join(map(str, image.size))
    return f"its picture of {width} x {height} pixels leaves the rest of {canvas} transparent"

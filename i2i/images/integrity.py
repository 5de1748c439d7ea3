"""What tells, before any decoding, that an image file is damaged: checksums, and claims beyond the size of the file.

Decoders take memory for all the pixels that a header claims before they find out that the file has none: 100 bytes can
ask for gigabytes. Most formats have a limit to how well they compress. A file below it is damaged, whatever its pixels.
Each bound here holds for every legal file of its format; where there is none, nothing is said: one WebP of a few bytes
may well be one large area of one colour.
"""

import os
import re
import struct
import zlib
from typing import Any, BinaryIO

from PIL import ImageFile, TiffImagePlugin

_DEFLATE = 1032  # bytes out of a byte: 258 for two bits
_PACKBITS = 64  # 128 for two bytes
_TIFF_LZW = 4096  # at most a dictionary's longest entry for 9 to 12 bits
_GIF_LZW = 4096  # pixels
# A block of 8 x 8 samples takes at least a bit; the component that is finest across has at least one row of four.
_JPEG = 8 * 64 * 4  # pixels of a byte, with Huffman coding
_TIFF_RATIOS = {1: 1, 5: _TIFF_LZW, 8: _DEFLATE, 32946: _DEFLATE, 32773: _PACKBITS}  # compression -> bytes of a byte
_PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # colour type -> samples of a pixel
_BITS, _COMPRESSION, _PHOTOMETRIC, _STRIP_BYTES, _SAMPLES, _TILE_BYTES = 258, 259, 262, 279, 277, 325
_YCBCR = 6
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


def shortfall(image: ImageFile.ImageFile, stream: BinaryIO) -> str:
    """Says how a file is too small for the pixels that its header claims; empty where it may hold them.

    Args:
        image: As Pillow opened it, not decoded.
        stream: The file; its position is changed.
    """
    least = _least_bytes(image, stream)
    length = stream.seek(0, os.SEEK_END)
    return _text(image.size, length) if length < least else ""


def uncovered(image: ImageFile.ImageFile) -> str:
    """Says how a GIF's picture leaves part of its canvas without colour; empty where it does not."""
    extents = image.tile[0][1] if image.tile else None
    if extents is None or tuple(extents) == (0, 0, *image.size):
        return ""
    width, height = extents[2] - extents[0], extents[3] - extents[1]
    canvas = " x ".join(map(str, image.size))
    return f"its picture of {width} x {height} pixels leaves the rest of {canvas} transparent"


def shortfall_of_tiff(tags: Any, size: tuple[int, int], length: int) -> str:
    """As :func:`shortfall`, of a TIFF of whatever samples.

    Args:
        tags: Of its first directory, as Pillow reads them.
        size: Width and height.
        length: Of the file, in bytes.
    """
    return _text(size, length) if length < _least_tiff(tags, size[0] * size[1]) else ""


def _text(size: tuple[int, int], length: int) -> str:
    return f"damaged or cut off: its header claims {size[0]} x {size[1]} pixels, which {length:,} bytes cannot hold"


def _least_bytes(image: ImageFile.ImageFile, stream: BinaryIO) -> float:
    pixels = image.size[0] * image.size[1]
    if image.format == "PNG":
        stream.seek(24)
        depth, colours = stream.read(2)
        return pixels * depth * _PNG_CHANNELS.get(colours, 1) / 8 / _DEFLATE
    if image.format in ("JPEG", "MPO"):
        return 0 if _is_arithmetic(stream) else pixels / _JPEG
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        return _least_tiff(image.tag_v2, pixels)
    codec, extents = (image.tile[0][0], image.tile[0][1]) if image.tile else ("", None)
    if image.format == "GIF" and extents:
        return (extents[2] - extents[0]) * (extents[3] - extents[1]) / _GIF_LZW
    if image.format == "PPM" or (image.format == "BMP" and codec == "raw"):
        return pixels / 8  # a bit a pixel
    return 0


def _least_tiff(tags: Any, pixels: int) -> float:
    ratio = _TIFF_RATIOS.get(tags.get(_COMPRESSION, 1))
    counts = tags.get(_STRIP_BYTES) or tags.get(_TILE_BYTES) or (0,)
    if ratio is None or 0 in counts:  # parts of no bytes stand for emptiness, as geographers write it
        return 0
    samples = 1 if tags.get(_PHOTOMETRIC) == _YCBCR else tags.get(_SAMPLES, 1)  # chroma may be subsampled
    return pixels * samples * min(tags.get(_BITS, (1,))) / 8 / ratio


def _is_arithmetic(stream: BinaryIO) -> bool:
    """Whether a JPEG's pixels are coded arithmetically, which has no limit; ``True`` where that is not found."""
    stream.seek(2)
    while True:
        head = stream.read(2)
        if len(head) < 2 or head[0] != 0xFF:
            return True
        if head[1] == 0xFF:  # padding
            stream.seek(-1, os.SEEK_CUR)
        elif 0xC0 <= head[1] <= 0xCF and head[1] not in (0xC4, 0xC8, 0xCC):
            return head[1] >= 0xC9
        elif head[1] not in (0x01, *range(0xD0, 0xD8)):
            stream.seek(max(int.from_bytes(stream.read(2), "big") - 2, 0), os.SEEK_CUR)

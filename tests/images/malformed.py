"""Malformed image files, made from small good ones; the same on every run."""

import io
import random
import struct
import zlib
from collections.abc import Iterator

import numpy as np
import tifffile
from PIL import Image, features

RNG = np.random.default_rng(3)
RGB = RNG.integers(0, 256, (24, 40, 3), dtype=np.uint8)
SMOOTH = np.linspace(0, 255, 24 * 40 * 3).reshape(24, 40, 3).astype(np.uint8)
HUGE = 60_000  # pixels a side: 3.6 gigapixels, more than the limit
LARGE = 30_000  # 0.9 gigapixels, below it


def encoded(array: np.ndarray, format: str, mode: str = "RGB", **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).convert(mode).save(buffer, format, **options)
    return buffer.getvalue()


def tiff(array: np.ndarray, **options: object) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, array, metadata=None, **options)
    return buffer.getvalue()


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def deep_png() -> bytes:
    import cv2

    return cv2.imencode(".png", RGB.astype(np.uint16) * 257)[1].tobytes()


def good_files() -> dict[str, bytes]:
    """Name -> a file that is as it should be, of each kind that is read."""
    files = {
        "rgb.png": encoded(RGB, "PNG"),
        "palette.png": encoded(RGB, "PNG", "P"),
        "deep.png": deep_png(),
        "plain.jpg": encoded(RGB, "JPEG"),
        "progressive.jpg": encoded(SMOOTH, "JPEG", progressive=True),
        "gray.jpg": encoded(SMOOTH, "JPEG", "L"),
        "raw.tif": encoded(RGB, "TIFF"),
        "lzw.tif": encoded(RGB, "TIFF", compression="tiff_lzw"),
        "deflate.tif": encoded(RGB, "TIFF", compression="tiff_adobe_deflate"),
        "lossy.webp": encoded(SMOOTH, "WEBP"),
        "lossless.webp": encoded(RGB, "WEBP", lossless=True),
        "rgb.bmp": encoded(RGB, "BMP"),
        "palette.bmp": encoded(RGB, "BMP", "P"),
        "rgb.gif": encoded(RGB, "GIF"),
        "rgb.ppm": encoded(RGB, "PPM"),
        "gray.pgm": encoded(RGB, "PPM", "L"),
        "bytes.npy": npy(RGB),
        "floats.npy": npy(RGB.astype(np.float32)),
        "bands.tif": tiff(np.dstack([RGB, RGB]), photometric="minisblack", planarconfig="contig", compression="zlib"),
        "floats.tif": tiff(RGB[..., 0].astype(np.float32), photometric="minisblack"),
    }
    files["python2.npy"] = npy_header("(24L, 40L, 3L)", "|u1") + RGB.tobytes()
    if features.check("avif"):
        files["plain.avif"] = encoded(SMOOTH, "AVIF")
    return files


def malformed_files() -> Iterator[tuple[str, bytes]]:
    """Yields the name and the bytes of each file."""
    good = good_files()
    random_ = random.Random(5)
    for name, data in good.items():
        stem, suffix = name.split(".")
        for part in (2, 3, 4, 5, 6, 7, 8, 9):  # tenths
            yield f"{stem}-cut{part}.{suffix}", data[: len(data) * part // 10]
        for count in (1, 4, 12, 30, 64):
            yield f"{stem}-first{count}.{suffix}", data[:count]
        for number in range(8):
            yield f"{stem}-head{number}.{suffix}", flipped(data, random_, min(len(data), 120))
        for number in range(8):
            yield f"{stem}-flip{number}.{suffix}", flipped(data, random_, len(data), 1 + 8 * (number % 2))
        yield f"{stem}-hole.{suffix}", data[: len(data) // 3] + bytes(len(data) // 3) + data[len(data) * 2 // 3 :]
        yield f"{stem}-tail.{suffix}", data + b"\0" * 5000
        yield f"{stem}-twice.{suffix}", data + data
        yield f"{stem}-shift.{suffix}", b"\n" + data
    for name, other in zip(good, [*list(good)[7:], *list(good)[:7]], strict=True):
        yield f"named-{name.replace('.', '-')}.{other.split('.')[1]}", good[name]
    for suffix in ("png", "jpg", "tif", "webp", "bmp", "gif", "ppm", "npy", "avif"):
        yield f"empty.{suffix}", b""
        yield f"text.{suffix}", b"not an image\n" * 20
        yield f"noise.{suffix}", random_.randbytes(3000)
        yield f"zeros.{suffix}", bytes(3000)
    yield from wrong_headers(good)


def flipped(data: bytes, random_: random.Random, within: int, count: int = 1) -> bytes:
    result = bytearray(data)
    for _ in range(count):
        result[random_.randrange(within)] ^= 1 << random_.randrange(8)
    return bytes(result)


def wrong_headers(good: dict[str, bytes]) -> Iterator[tuple[str, bytes]]:
    """Headers that lie about sizes, depths and lengths, in files that are otherwise whole."""
    sides = (0, 1, 41, LARGE, HUGE, 2**31 - 1)
    for make, suffix in ((png_claiming, "png"), (bmp_claiming, "bmp"), (ppm_claiming, "ppm"), (npy_claiming, "npy")):
        for width in sides:
            for height in (24, LARGE, HUGE):
                yield f"claims{width}x{height}.{suffix}", make(good, width, height)
    for width, height in ((0, 0), (0, 24), (65535, 65535), (LARGE, LARGE), (41, 24), (1, 65535)):
        size = struct.pack(">HH", height, width)
        for name in ("plain.jpg", "progressive.jpg", "gray.jpg"):
            yield f"claims{width}x{height}-{name}", with_jpeg_size(good[name], size)
        at = 6
        gif = good["rgb.gif"]
        screen = struct.pack("<HH", width, height)
        yield f"claims{width}x{height}.gif", gif[:at] + screen + gif[at + 4 :]
        for name in ("raw.tif", "lzw.tif", "deflate.tif", "bands.tif", "floats.tif"):
            yield f"claims{width}x{height}-{name}", with_tiff_tags(good[name], {256: width, 257: height})
    for tag, values in TIFF_LIES.items():
        for value in values:
            for name in ("raw.tif", "lzw.tif", "bands.tif", "floats.tif"):
                yield f"tag{tag}is{value}-{name}", with_tiff_tags(good[name], {tag: value})
    for depth, colour in ((0, 2), (3, 2), (16, 2), (32, 2), (8, 0), (8, 1), (8, 3), (8, 4), (8, 6), (8, 7), (1, 0)):
        yield f"depth{depth}colour{colour}.png", with_ihdr(good["rgb.png"], struct.pack(">BB", depth, colour), 8)
    for length in (0, 1, 2**31 - 1, 2**32 - 1):
        for chunk in (b"IHDR", b"IDAT", b"IEND"):
            at = good["rgb.png"].index(chunk) - 4
            data = good["rgb.png"]
            yield f"{chunk.decode()}-long{length}.png", data[:at] + struct.pack(">I", length) + data[at + 4 :]
    for bits in (0, 2, 7, 15, 16, 32, 33, 65535):
        data = good["rgb.bmp"]
        yield f"bits{bits}.bmp", data[:28] + struct.pack("<H", bits) + data[30:]
    for compression in (1, 2, 3, 4, 5, 99):
        data = good["palette.bmp"]
        yield f"compression{compression}.bmp", data[:30] + struct.pack("<I", compression) + data[34:]
    for text in (
        b"P6 40 24 0\n",
        b"P6 40 24 70000\n",
        b"P6 -4 24 255\n",
        b"P6 a 24 255\n",
        b"P6 40",
        b"P3 2 2 255\n1 2",
    ):
        yield f"text{zlib.crc32(text)}.ppm", text + RGB.tobytes()
    for size in (0, 10, 2**31, 2**32 - 1):
        data = good["lossy.webp"]
        yield f"riff{size}.webp", data[:4] + struct.pack("<I", size) + data[8:]
        yield f"vp8-{size}.webp", data[:16] + struct.pack("<I", size) + data[20:]
    for shape, kind in NPY_LIES:
        yield f"npy{zlib.crc32(repr((shape, kind)).encode())}.npy", npy_header(shape, kind) + RGB.tobytes()


TIFF_LIES = {
    258: (0, 1, 7, 12, 16, 64, 65535),  # bits
    259: (0, 5, 7, 8, 50001, 65535),  # compression
    262: (0, 2, 3, 6, 8, 99),  # photometric
    273: (0, 7, 2**31),  # where the pixels are
    274: (0, 6, 9),  # orientation
    277: (0, 1, 2, 4, 5, 65535),  # channels
    278: (0, 1, 2**31),  # rows a strip
    279: (0, 1, 2**31),  # bytes of a strip
    284: (0, 2, 9),  # planes
    339: (0, 2, 3, 9),  # type of number
}
NPY_LIES: tuple[tuple[str, str], ...] = (
    ("(24, 40, 3)", "|O"),
    ("(24, 40, 3)", "<c8"),
    ("(24, 40, 3)", "|V3"),
    ("(24, 40, 3)", "<M8[s]"),
    ("(24, 40, 3)", "|S1"),
    ("(24, 40, 3)", "nonsense"),
    ("(24, 40, 3)", ">f8"),
    ("(-1, 40, 3)", "|u1"),
    ("(24, -40, 3)", "|u1"),
    ("(2880,)", "|u1"),
    ("()", "|u1"),
    ("(1, 24, 40, 3)", "|u1"),
    ("(24, 40, 100000000000)", "|u1"),
    ("(24, 40, 10000000)", "<f8"),
    ("(99999999999999999999, 2)", "|u1"),
    ("(True, 40)", "|u1"),
    ("__import__('os').system('true')", "|u1"),
)


def png_claiming(good: dict[str, bytes], width: int, height: int) -> bytes:
    return with_ihdr(good["rgb.png"], struct.pack(">II", width, height), 0)


def with_ihdr(data: bytes, content: bytes, offset: int) -> bytes:
    """Changes bytes of a PNG's header, and its checksum with them."""
    header = bytearray(data[16:29])
    header[offset : offset + len(content)] = content
    return data[:16] + bytes(header) + struct.pack(">I", zlib.crc32(b"IHDR" + header)) + data[33:]


def bmp_claiming(good: dict[str, bytes], width: int, height: int) -> bytes:
    data = good["rgb.bmp"]
    return data[:18] + struct.pack("<ii", width, height) + data[26:]


def ppm_claiming(good: dict[str, bytes], width: int, height: int) -> bytes:
    return b"P6 %d %d 255\n" % (width, height) + RGB.tobytes()


def npy_claiming(good: dict[str, bytes], width: int, height: int) -> bytes:
    return npy_header(f"({height}, {width}, 3)", "|u1") + RGB.tobytes()


def npy_header(shape: str, kind: str) -> bytes:
    text = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}".encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


def with_jpeg_size(data: bytes, size: bytes) -> bytes:
    at = max(data.find(b"\xff\xc0"), data.find(b"\xff\xc2")) + 5
    return data[:at] + size + data[at + 4 :]


def with_tiff_tags(data: bytes, values: dict[int, int]) -> bytes:
    """Overwrites the values of tags in the first directory of a little-endian TIFF; a list's becomes one value."""
    result = bytearray(data)
    (at,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, at)
    for entry in range(at + 2, at + 2 + 12 * count, 12):
        (tag,) = struct.unpack_from("<H", data, entry)
        if tag in values:
            struct.pack_into("<HII", result, entry + 2, 4, 1, values[tag])
    return bytes(result)

"""The option ``--max-pixels``, which translate and doctor share."""

import argparse

_UNITS = {"K": 10**3, "M": 10**6, "G": 10**9}


def add_max_pixels(parser: argparse.ArgumentParser) -> None:
    """Adds ``--max-pixels``; where it is not given, :func:`max_pixels` knows the default."""
    parser.add_argument(
        "--max-pixels",
        type=_pixels,
        metavar="N",
        help="refuse images whose header claims more, before they are decoded, such as 200M (default: 1G)",
    )


def max_pixels(args: argparse.Namespace) -> int:
    """Returns what was asked for, or the default."""
    from i2i.images.decoding import MAX_PIXELS  # and with it libraries that --help does not need

    return args.max_pixels or MAX_PIXELS


def _pixels(text: str) -> int:
    number, unit = (text[:-1], _UNITS[text[-1:].upper()]) if text[-1:].upper() in _UNITS else (text, 1)
    try:
        pixels = float(number) * unit
    except ValueError:
        pixels = 0
    if not 1 <= pixels < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a number of pixels such as 200M, got {text!r}")
    return int(pixels)

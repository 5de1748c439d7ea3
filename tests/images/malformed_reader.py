"""Reads every file of a folder in each way that files are read, and prints a line of JSON about each.

A process of its own, so that a crash of a decoder is seen as a crash, not as the end of the tests.
"""

import json
import resource
import sys
import time
from pathlib import Path

import numpy as np

from i2i.core.errors import DataError
from i2i.data.finding.files import survey
from i2i.images.codecs.label_files import read_labels
from i2i.images.decoding import Refused
from i2i.images.files import load_image


def picture(path: str) -> str:
    try:
        array, notes = load_image(path, 3)
    except DataError as error:
        return f"refused: {error.message}"
    assert array.ndim == 3 and array.shape[2] == 3 and array.size and array.dtype in (np.uint8, np.uint16)
    assert array.flags.writeable and array.flags.c_contiguous and isinstance(notes, tuple)
    return "decoded"


def anything(path: str) -> str:
    try:
        array, _ = load_image(path, None, any_type=True)
    except DataError as error:
        return f"refused: {error.message}"
    assert array.ndim == 3 and array.size and array.dtype.kind in "uif" and array.dtype.isnative
    return f"decoded: {array.shape[1]} x {array.shape[0]}"


def labels(path: str) -> str:
    try:
        array, _ = read_labels(path)
    except Refused as error:
        return f"refused: {path}: {error}"
    except OSError as error:
        return f"refused: {path}: {error}"
    assert array.ndim == 3 and array.size
    return "decoded"


def surveyed(path: str) -> str:
    result = survey([path])
    return f"refused: {path}: {result.problems[0][1]}" if result.problems else "decoded"


def main() -> None:
    for path in sorted(map(str, Path(sys.argv[1]).iterdir())):
        print(json.dumps({"begun": path}), flush=True)
        for way in (picture, anything, labels, surveyed):
            started = time.perf_counter()
            try:
                result = way(path)
            except BaseException as error:
                result = f"raised: {type(error).__name__}: {error}"
            seconds = time.perf_counter() - started
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            print(
                json.dumps({"file": path, "way": way.__name__, "result": result, "s": seconds, "peak": peak}),
                flush=True,
            )


if __name__ == "__main__":
    main()

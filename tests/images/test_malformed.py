"""No file, however damaged, does anything but be decoded or be refused by name."""

import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import REPOSITORY
from tests.images.malformed import good_files, malformed_files

# What libtiff, libpng and libjpeg say themselves, past any handler of ours.
C_LIBRARIES = re.compile(r"\w*(TIFF|Decode|JPEGLib)\w*: |tempfile\.tif: |libpng (error|warning): |^$")
WAYS = {"picture", "anything", "labels", "surveyed"}


@pytest.fixture(scope="module")
def readings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, dict[str, Any]]]:
    """File -> way of reading -> result, seconds and peak memory; read in a process of its own."""
    folder = tmp_path_factory.mktemp("malformed")
    for name, data in (*malformed_files(), *good_files().items()):
        assert not (folder / name).exists()
        (folder / name).write_bytes(data)
    command = [sys.executable, "-m", "tests.images.malformed_reader", str(folder)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=200)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, f"ended with {done.returncode} after {lines[-1:]}: {done.stderr[-2000:]}"
    noise = [line for line in done.stderr.splitlines() if not C_LIBRARIES.match(line)]
    assert not noise
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for line in lines:
        if "way" in line:
            found.setdefault(Path(line["file"]).name, {})[line["way"]] = line
    return found


def test_all_were_read_in_all_ways(readings: dict[str, Any]) -> None:
    assert len(readings) >= 1000
    assert all(ways.keys() == WAYS for ways in readings.values())


def test_whole_files_are_read(readings: dict[str, Any]) -> None:
    assert [name for name in good_files() if readings[name]["anything"]["result"] != "decoded: 40 x 24"] == []


def test_each_is_decoded_or_refused_by_name(readings: dict[str, Any]) -> None:
    odd = [
        line
        for ways in readings.values()
        for line in ways.values()
        if not line["result"].startswith(("decoded", f"refused: {line['file']}: "))
        or line["result"].endswith(": ")
        or "\n" in line["result"]
    ]
    assert odd == []


def test_none_takes_long(readings: dict[str, Any]) -> None:
    slow = [line for ways in readings.values() for line in ways.values() if line["s"] > 5]
    assert slow == []


def test_claims_beyond_the_file_take_no_memory(readings: dict[str, Any]) -> None:
    """The largest picture that a file here really holds is less than a megabyte."""
    peaks = [line["peak"] for ways in readings.values() for line in ways.values()]
    assert max(peaks) - min(peaks) < 100_000 * (1024 if sys.platform == "darwin" else 1)  # kilobytes on Linux


def test_what_is_cut_off_is_refused(readings: dict[str, Any]) -> None:
    """A GIF's and a PNG's last bytes hold no pixels; nine tenths of anything here lack some."""
    cut = [name for name in readings if re.search(r"-cut\d|-first\d", name)]
    assert len(cut) > 200
    assert [name for name in cut if readings[name]["anything"]["result"].startswith("decoded")] == []


def test_pixels_changed_behind_a_checksum_are_refused(readings: dict[str, Any]) -> None:
    """A PNG's chunks have sums; the flips here that change none of them hit what is not critical."""
    flips = [name for name in readings if re.match(r"(rgb|palette|deep)-(flip|head)\d\.png", name)]
    results = Counter(readings[name]["anything"]["result"].split(":")[0] for name in flips)
    assert results["decoded"] <= 2 and results["refused"] >= 40


def test_the_tally(readings: dict[str, Any], record_property: Any) -> None:
    count = Counter(ways["anything"]["result"].split(":")[0] for ways in readings.values())
    record_property("tally", dict(count))
    assert count["refused"] > 500 and count["decoded"] > 200

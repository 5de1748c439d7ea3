"""C libraries say nothing on the terminal, while Python still does."""

import os
import subprocess
import sys

import pytest

from i2i.run.doctor.quiet import quiet_libraries
from tests.conftest import REPOSITORY

SCRIPT = """
import os, sys
from i2i.run.doctor.quiet import quiet_libraries
os.write(2, b"before ")
try:
    with quiet_libraries():
        os.write(2, b"NOISE ")
        print("python", end=" ", file=sys.stderr)
        raise KeyError
except KeyError:
    os.write(2, b"after ")
    print("end", file=sys.stderr)
"""


def test_only_python_is_heard() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], cwd=REPOSITORY, capture_output=True, text=True)
    assert done.stderr == "before python after end\n"


def test_a_replaced_stream_is_left_alone(capsys: pytest.CaptureFixture[str]) -> None:
    with quiet_libraries():
        print("heard", file=sys.stderr)
    assert capsys.readouterr().err == "heard\n"


def test_damaged_tiffs_print_nothing(tmp_path) -> None:  # type: ignore[no-untyped-def]
    from tests.images.malformed import RGB, encoded, with_tiff_tags

    data = encoded(RGB, "TIFF", compression="tiff_adobe_deflate")
    (tmp_path / "set").mkdir()
    (tmp_path / "set/x.tif").write_bytes(with_tiff_tags(data, {279: 20}))
    command = [sys.executable, str(REPOSITORY / "tools/doctor.py"), str(tmp_path / "set")]
    done = subprocess.run(command, capture_output=True, text=True, env=dict(os.environ))
    assert done.returncode == 1 and done.stderr == "" and "x.tif: damaged TIFF file" in done.stdout

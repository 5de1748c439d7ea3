"""What a command prints is not its work: where nobody can read it, the work goes on and the exit code tells."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from i2i.cli.parts.streams import patient_streams

CODE = """if True:
    import os, sys
    from i2i.cli.parts.streams import patient_streams
    @patient_streams()
    def main():
        for index in range(3000):
            print("a line of some length", index, flush=index % 7 == 0)
            print("trouble", file=sys.stderr)
        return os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT)
    sys.exit(main() if len(sys.argv) > 1 else 0)
"""


def run(tmp_path, shell):
    command = f'"{sys.executable}" -c "$CODE" "{tmp_path}/file"; echo $? >"{tmp_path}/code"'
    script = f"( {command} ) {shell}"
    done = subprocess.run(["sh", "-c", script], env=os.environ | {"CODE": CODE}, capture_output=True, text=True)
    return int((tmp_path / "code").read_text()), done


@pytest.mark.parametrize("shell", ["", "| head -n 1", ">&-", ">&- 2>&-", "0<&- >&- 2>&-", "2>&-"])
def test_no_end_of_a_stream_ends_the_work(shell, tmp_path):
    """The exit code is the number of a file that is opened: never that of a standard stream."""
    code, done = run(tmp_path, shell)
    assert code > 2, done.stderr[-500:]
    assert "Exception ignored" not in done.stderr and "Broken" not in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
@pytest.mark.parametrize("shell", [">/dev/full", ">/dev/full 2>&1"])
def test_a_full_disk_under_the_log(shell, tmp_path):
    code, done = run(tmp_path, shell)
    assert code > 2 and "Exception ignored" not in done.stderr


def test_streams_are_as_they_were_afterwards(capsys):
    before = sys.stdout, sys.stderr
    with patient_streams():
        print("said")
        assert sys.stdout.isatty() is False and sys.stdout is not before[0]
    assert (sys.stdout, sys.stderr) == before
    assert capsys.readouterr().out == "said\n"

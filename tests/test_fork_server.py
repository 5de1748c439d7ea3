"""A program that is forked does what it does in a process that is started afresh."""

import os
import signal
import subprocess
import sys

import pytest

from tests import fork_server

PROGRAMS = {
    "output": "import os, sys; print(sys.argv, sys.path[0], __name__, os.getcwd()); print('x', file=sys.stderr)",
    "end": "import atexit; atexit.register(print, 'last'); print('first')",
    "a code": "import sys; sys.exit(3)",
    "words": "import sys; sys.exit('why')",
    "a thread": "import threading, time; threading.Thread(target=lambda: (time.sleep(0.1), print('done'))).start()",
    "a signal": "import os, signal; os.kill(os.getpid(), signal.SIGTERM)",
    "an environment": "import os; print(sorted(os.environ))",
    "input": "import sys; print(repr(sys.stdin.read()))",
}


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS)
@pytest.mark.parametrize("form", ["code", "script"])
def test_programs_end_alike(program, form, tmp_path):
    (tmp_path / "script.py").write_text(program)
    arguments = [*(["-c", program] if form == "code" else [str(tmp_path / "script.py")]), "one", "two"]
    options = {"cwd": tmp_path, "env": {"LC_ALL": "C.UTF-8", "ONLY": "this", "PATH": os.environ["PATH"]}}
    real = subprocess.run(
        [sys.executable, *arguments], **options, capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    done = fork_server.run(arguments, **options)
    assert (done.returncode, done.stdout, done.stderr) == (real.returncode, real.stdout, real.stderr)


@pytest.mark.parametrize(("program", "code"), [("1 / 0", 1), ("raise KeyboardInterrupt", -signal.SIGINT)])
def test_errors_are_told(program, code):
    done = fork_server.run(["-c", program])
    assert done.returncode == code and "Traceback" in done.stderr


def test_nothing_of_ours_is_imported_beforehand():
    done = fork_server.run(["-c", "import sys; print('torch' in sys.modules, 'i2i' in sys.modules)"])
    assert done.stdout == "True False\n"


def test_a_process_that_runs_can_be_waited_for_and_ended():
    process = fork_server.start(["-c", "import time; print('here', flush=True); time.sleep(100)"])
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.2)
    assert process.poll() is None
    process.kill()
    assert process.communicate() == ("here\n", "") and process.returncode == -signal.SIGKILL

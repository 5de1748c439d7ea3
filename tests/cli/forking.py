"""Jobs in processes that start in milliseconds: forked from one that has imported torch and has a single thread.

Run as a script it is that process: it reads a JSON object a line, ``{"start": ARGUMENTS, ...}`` or ``{"wait": PID}``,
and answers each with a number, the child's id or its exit code.
"""

import importlib
import itertools
import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
CHANGES = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate"}  # audit events


class Forks:
    """Starts jobs of ``translate`` with ``model``, or others; what they print is in the file ``log``."""

    def __init__(self, model, log):
        self.log = log
        threads = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "MKL", "OPENBLAS")}
        self._process = subprocess.Popen(
            [sys.executable, __file__, str(model)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | threads | {"PYTHONPATH": str(REPOSITORY)},
        )

    def start(self, *arguments, die_at=None, signals=(signal.SIGKILL,)):
        """Returns the id of a new job; at its n-th change of a file in OUTPUT, ``die_at``, it gets the signals."""
        return self._ask(start=list(map(str, arguments)), log=str(self.log), die_at=die_at, signals=signals)

    def wait(self, pid):
        """Returns a job's exit code, or the negative number of the signal that killed it."""
        return self._ask(wait=pid)

    def run(self, *arguments, **options):
        return self.wait(self.start(*arguments, **options))

    def _ask(self, **question):
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def close(self):
        self._process.stdin.close()
        assert self._process.wait(60) == 0
        self._process.stdout.close()


def die_at(number, folder, signals):
    """Sends signals to this process from its n-th change below a folder on; a line that it dies at is cut in half."""
    moments = {number + 4 * index: one for index, one in enumerate(signals)}
    count = itertools.count()
    write = os.write

    def step():
        with suppress(KeyError):
            os.kill(os.getpid(), moments[next(count)])

    def hook(event, arguments):
        if event in CHANGES and str(arguments[0]).startswith(folder):
            step()

    def cut(file, data):
        written = write(file, data[: len(data) // 2])
        step()
        return written + write(file, data[len(data) // 2 :])

    sys.addaudithook(hook)
    os.write = cut


def serve():
    import torch

    from i2i.cli import main

    torch.set_num_threads(1)
    importlib.import_module("cv2")
    importlib.import_module("i2i.inference.jobs.folders").Translator.load(sys.argv[1])  # imports what any job needs
    for line in sys.stdin:
        question = json.loads(line)
        if "wait" in question:
            print(os.waitstatus_to_exitcode(os.waitpid(question["wait"], 0)[1]), flush=True)
            continue
        assert len(list(Path("/proc/self/task").iterdir())) == 1, "a process with threads cannot be forked"
        pid = os.fork()
        if pid == 0:
            log = os.open(question["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
            for number in (1, 2):
                os.dup2(log, number)
            sys.stdout = open(1, "w")  # noqa: SIM115
            if question["die_at"] is not None:
                signal.signal(signal.SIGHUP, signal.SIG_DFL)  # whatever the tests were started by
                die_at(question["die_at"], question["start"][2], question["signals"])
            code = main("translate", [*question["start"], "--precision", "fp32"])  # auto depends on time
            sys.stdout.flush()
            os._exit(code)
        print(pid, flush=True)


if __name__ == "__main__":
    serve()

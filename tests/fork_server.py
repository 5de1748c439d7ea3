"""Python processes that start in a tenth of a second: forked from one that has imported torch, and nothing of i2i.

Run as a script it is that process: it reads a JSON object a message from the socket on descriptor 0, either the start
of a program with its three standard streams, or ``{"poll": PID}``.
"""

import atexit
import gc
import importlib
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import IO, Any, NoReturn

PRELOADED = ("torch", "torch._dynamo", "torch.utils.tensorboard", "torchvision", "pydantic", "yaml", "PIL.Image")
LONGEST = 1 << 20  # bytes of a message


class Process:
    """A running program, as :class:`subprocess.Popen` describes one whose output is captured as text.

    Args:
        pid: The id of the process.
        streams: Files that its output goes to, and its errors.
    """

    def __init__(self, pid: int, streams: Sequence[IO[str]]) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._streams = streams

    def poll(self) -> int | None:
        """Returns the exit code, negative after a signal, or None while the program runs."""
        if self.returncode is None:
            self.returncode = _server().ask({"poll": self.pid})
        return self.returncode

    def wait(self, timeout: float = 240) -> int:
        """Returns the exit code.

        Raises:
            subprocess.TimeoutExpired: The program still runs after ``timeout`` seconds.
        """
        deadline = time.monotonic() + timeout
        while (code := self.poll()) is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(str(self.pid), timeout)
            time.sleep(0.02)
        return code

    def communicate(self, timeout: float = 240) -> tuple[str, str]:
        """Returns output and errors of the program once it has ended."""
        self.wait(timeout)
        texts = []
        for stream in self._streams:
            stream.seek(0)
            texts.append(stream.read())
            stream.close()
        return texts[0], texts[1]

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def start(
    arguments: Sequence[object],
    *,
    stdout: int | None = None,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    start_new_session: bool = False,
) -> Process:
    """Starts ``python ARGUMENTS``: a script, or ``-c`` and code.

    Args:
        arguments: What follows ``python`` on a command line; no other option of the interpreter.
        stdout: A descriptor for the output, which is captured otherwise.
        cwd: The working directory.
        env: All environment variables.
        start_new_session: Whether the process leads a group of its own.
    """
    request = {
        "arguments": list(map(str, arguments)),
        "cwd": str(cwd or Path.cwd()),
        "env": dict(os.environ if env is None else env),
        "start_new_session": start_new_session,
    }
    files = [tempfile.TemporaryFile("w+") for _ in range(2)]  # noqa: SIM115 (the process keeps them)
    with Path(os.devnull).open() as nothing:
        streams = [nothing.fileno(), files[0].fileno() if stdout is None else stdout, files[1].fileno()]
        return Process(_server().ask(request, streams), files)


def run(arguments: Sequence[object], **options: Any) -> "subprocess.CompletedProcess[str]":
    """Runs ``python ARGUMENTS`` to its end, with the options of :func:`start`."""
    process = start(arguments, **options)
    output, errors = process.communicate()
    assert process.returncode is not None
    return subprocess.CompletedProcess(list(arguments), process.returncode, output, errors)


class _Server:
    """The process from which others are forked."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        threads = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "MKL", "OPENBLAS")}  # a fork has one thread only
        with theirs:
            self._process = subprocess.Popen([sys.executable, __file__], stdin=theirs, env=os.environ | threads)

    def ask(self, request: dict[str, Any], streams: Sequence[int] = ()) -> Any:
        socket.send_fds(self._socket, [json.dumps(request).encode()], list(streams))
        return json.loads(self._socket.recv(LONGEST))

    def close(self) -> None:
        self._socket.close()
        self._process.wait(60)


@cache
def _server() -> _Server:
    """Starts the server of this process, once."""
    server = _Server()
    atexit.register(server.close)
    return server


def _serve() -> dict[str, Any] | None:
    """Answers until the socket is closed; returns in a forked process, with the program that it is to run."""
    for name in PRELOADED:
        importlib.import_module(name)
    gc.freeze()
    with socket.socket(fileno=0) as channel:
        while True:
            message, streams, _, _ = socket.recv_fds(channel, LONGEST, 3)
            if not message:
                return None
            request = json.loads(message)
            if "poll" in request:
                pid, status = os.waitpid(request["poll"], os.WNOHANG)
                answer = os.waitstatus_to_exitcode(status) if pid else None
            else:
                tasks = Path("/proc/self/task")
                assert not tasks.exists() or len(list(tasks.iterdir())) == 1, "a process with threads cannot be forked"
                answer = os.fork()
                if answer == 0:
                    return request | {"streams": streams}
                for stream in streams:
                    os.close(stream)
            channel.send(json.dumps(answer).encode())


def _become(request: dict[str, Any]) -> None:
    """Runs a program in this process as the interpreter would that is started with it."""
    for number, stream in enumerate(request["streams"]):
        os.dup2(stream, number)
        os.close(stream)
    if request["start_new_session"]:
        os.setsid()
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    program, *rest = request["arguments"]
    sys.path[:1] = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    if program == "-c":
        sys.path.insert(0, "")
        sys.argv = ["-c", *rest[1:]]
        exec(compile(rest[0], "<string>", "exec"), {"__name__": "__main__", "__builtins__": __builtins__})
    else:
        sys.path.insert(0, str(Path(program).parent))
        sys.argv = [program, *rest]
        runpy.run_path(program, run_name="__main__")


def _outcome(request: dict[str, Any]) -> int:
    """Runs a program; returns its exit code, negative for the signal that ends it."""
    try:
        _become(request)
    except SystemExit as error:
        if isinstance(error.code, str):
            print(error.code, file=sys.stderr)
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    except KeyboardInterrupt:
        traceback.print_exc()
        return -signal.SIGINT
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def _end(code: int) -> NoReturn:
    """Ends this process as the interpreter does, except that modules are not taken apart: torch's take a second."""
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    if code < 0:
        signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)


if __name__ == "__main__":
    program = _serve()
    _end(_outcome(program) if program else 0)

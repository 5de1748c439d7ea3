"""SIGINT, SIGTERM and SIGHUP (a terminal that closes) as a wish to stop at a good place."""

import signal
import threading
from types import FrameType
from typing import Any


class StopRequest:
    """Notes a signal instead of dying of it, as a context manager; a second SIGINT interrupts at once.

    Outside of the main thread, where Python delivers no signals, it changes nothing.

    Attributes:
        number: The signal's number, or ``None`` while there was none.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        self._previous: dict[int, Any] = {}

    @property
    def exit_code(self) -> int:
        """0, or what a process returns after the signal: 128 and its number."""
        return 0 if self.number is None else 128 + self.number

    def __enter__(self) -> "StopRequest":
        if threading.current_thread() is threading.main_thread():
            numbers = [signal.SIGINT, signal.SIGTERM]
            hangup = getattr(signal, "SIGHUP", None)  # Windows has none, and nohup wants it to be ignored
            if hangup is not None and signal.getsignal(hangup) != signal.SIG_IGN:
                numbers.append(hangup)
            for number in numbers:
                self._previous[number] = signal.signal(number, self._handle)
        return self

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.number = number
        signal.signal(signal.SIGINT, signal.default_int_handler)

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

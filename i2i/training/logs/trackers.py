"""Trackers: whoever wants to hear of a run besides its own logs, such as a server's client, as a plugin.

A tracker is a class under the entry point ``i2i.trackers`` with a method ``on_log(step, values)``. It may also have
``on_start(name, config, folder)``, ``on_images(step, grid)`` and ``on_end()``. None can end a run: one that fails is
named and not asked again.
"""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from i2i.core.progress import say


class Trackers:
    """The trackers of a run.

    Args:
        makers: Name -> makes the tracker; called at once.
    """

    def __init__(self, makers: Iterable[tuple[str, Callable[[], Any]]]) -> None:
        self._trackers: dict[str, Any] = {}
        for name, make in makers:
            self._guarded(name, "starting", partial(self._start, name, make))

    def tell(self, event: str, *arguments: Any) -> None:
        """Calls the method of that name of each tracker that has it."""
        for name, tracker in list(self._trackers.items()):
            method = getattr(tracker, event, None)
            if method is not None:
                self._guarded(name, event, partial(method, *arguments))

    def _start(self, name: str, make: Callable[[], Any]) -> None:
        self._trackers[name] = make()

    def _guarded(self, name: str, what: str, call: Callable[[], object]) -> None:
        try:
            call()
        except Exception as error:  # a plugin may raise anything
            self._trackers.pop(name, None)
            say(f"tracker {name}: {what} fails, it is not asked again: {type(error).__name__}: {error}")

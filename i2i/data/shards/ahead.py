"""Downloads shards before they are used, in threads of their own."""

import contextlib
import threading
from collections.abc import Sequence

from i2i.data.shards.index import ShardError
from i2i.data.shards.members import Shard
from i2i.data.shards.store import ShardStore


class Ahead:
    """Brings what is wanted into a store, what is used first before the rest.

    What cannot be had is left to whoever needs it, who tells the user.

    Args:
        store: Where to.
        threads: Downloads at a time.
    """

    def __init__(self, store: ShardStore, threads: int = 4) -> None:
        self.store, self.threads = store, threads
        self._lock = threading.Lock()
        self._wanted: list[Shard] = []
        self._busy: set[Shard] = set()
        self._running = 0

    def want(self, shards: Sequence[Shard]) -> None:
        """Says what is used next, in this order, in place of what was said before."""
        missing = [shard for shard in self.store.announce(shards) if not self.store.holds(shard)]
        with self._lock:
            self._wanted = missing
            more = min(self.threads - self._running, len(missing))
            self._running += max(more, 0)
        for _ in range(more):
            threading.Thread(target=self._work, name="shards", daemon=True).start()

    def _work(self) -> None:
        while True:
            with self._lock:
                free = [shard for shard in self._wanted if shard not in self._busy]
                if not free:
                    self._running -= 1
                    return
                self._wanted.remove(free[0])
                self._busy.add(free[0])
            with contextlib.suppress(ShardError):
                self.store.bring(free[0])
            with self._lock:
                self._busy.discard(free[0])

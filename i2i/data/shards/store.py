"""Shards behind an address, of which as many as a budget allows lie on this machine.

A shard is downloaded whole when its images come up, and the one used longest ago makes room for it. All processes of a
host share the store: a lock for each shard sees to it that it is downloaded once, and a file has its name when it is
whole. What a killed process has downloaded, the next one goes on from.
"""

import contextlib
import hashlib
import http.client
import os
import time
import urllib.request
from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import Path

from i2i.core.errors import DataError
from i2i.core.files.atomic import write_bytes
from i2i.core.files.locks import locked, try_lock
from i2i.core.progress import human_size, say
from i2i.data.known.download import Downloader, DownloadError
from i2i.data.shards.index import BLOCK, Member, ShardError, ShardIndex, check_content, index_path, read_headers
from i2i.data.shards.members import Shard
from i2i.images.files import describe_os_error

ATTEMPTS = 8  # in a row, over a minute and a half: a network may be away for a while
PAUSE = 0.1  # seconds between looks whether there is room
_TAR, _PART = ".tar", ".tar.part"


class ShardStore:
    """Shards on their way between an address and the images.

    Args:
        folder: Where they lie; made if absent.
        budget: Bytes that they may take.
        alone: Whether an image of a shard that nobody has announced is fetched without the rest of its shard.
        downloader: Fetches them.
    """

    def __init__(self, folder: Path, budget: int, alone: bool = False, downloader: Downloader | None = None) -> None:
        self.folder, self.budget, self.alone = folder, budget, alone
        self.downloader = downloader or Downloader(attempts=ATTEMPTS, shows_progress=False)

    def index(self, url: str) -> ShardIndex:
        """Returns the index of a shard: that which was kept, the one beside it, or one made of the shard itself.

        Raises:
            DataError: It cannot be had.
            ShardError: The shard cannot.
        """
        kept = self.folder / f"{_digest(url)}.idx.json"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with self._locked(f"{_digest(url)}.index.lock"):
                if not kept.is_file():
                    self._make_index(url, kept)
                return ShardIndex.from_json(kept.read_bytes(), index_path(url))
        except OSError as error:
            raise DataError(f"{kept}: {describe_os_error(error, 'written')}") from error
        except DataError:
            kept.unlink(missing_ok=True)
            raise

    def read(self, shard: Shard, member: Member) -> bytes:
        """Returns a file of a shard, which is downloaded if need be.

        Raises:
            ShardError: It cannot be had, or is not what its index says.
        """
        while True:
            try:
                with self._path(shard).open("rb") as file:
                    with contextlib.suppress(FileNotFoundError):  # removed just now, and still open here
                        os.utime(self._path(shard))
                    return check_content(file, shard.url, member)
            except FileNotFoundError:
                is_coming = self._path(shard, _PART).exists()
            except OSError as error:
                raise ShardError(f"{self._path(shard)}: {describe_os_error(error)}") from error
            content = self._fetch_range(shard, member) if self.alone and not is_coming else None
            if content is not None:
                return content
            self.bring(shard)

    def holds(self, shard: Shard) -> bool:
        """Whether a shard is there, whole."""
        return self._path(shard).exists()

    def announce(self, shards: Sequence[Shard]) -> list[Shard]:
        """Keeps and makes room for the shards that come next, as many as fit; returns those."""
        fitting: list[Shard] = []
        for shard in shards:
            if sum(one.size for one in fitting) + shard.size > self.budget:
                break
            fitting.append(shard)
        for shard in reversed(fitting):  # the one that is used last is the first that may go
            for suffix in (_TAR, _PART):
                with contextlib.suppress(FileNotFoundError):
                    os.utime(self._path(shard, suffix))
        with contextlib.suppress(OSError):  # whoever needs them will meet it again, and tell
            self.folder.mkdir(parents=True, exist_ok=True)
            for shard in fitting:
                if not self.holds(shard) and not self._make_room(shard, fitting):
                    break
        return fitting

    def bring(self, shard: Shard) -> None:
        """Downloads a shard unless it is there; waits where another process is at it.

        Others that need room may have removed it again when this returns.

        Raises:
            ShardError: It cannot be had, or is not the one that the index was made of.
        """
        path = self._path(shard)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with self._locked(f"{_digest(shard.url)}.lock"):
                if path.exists():
                    return
                while not self._make_room(shard):
                    time.sleep(PAUSE)
                # Under the lock: who adds up what lies here would miss a file that changes its name meanwhile.
                self.downloader.fetch([shard.url], path, say, self._locked("store.lock"))
                try:
                    size = path.stat().st_size
                except FileNotFoundError:  # whoever needs room has removed it already
                    return
                if size != shard.size:
                    path.unlink(missing_ok=True)
                    (self.folder / f"{_digest(shard.url)}.idx.json").unlink(missing_ok=True)
                    what = f"has {size:,} bytes, its index says {shard.size:,}"
                    raise ShardError(f"{shard.url}: {what}", ["the index is read anew when training starts again"])
        except DownloadError as error:
            raise ShardError(error.message, error.hints) from error
        except OSError as error:
            raise ShardError(f"{path}: {describe_os_error(error, 'written')}") from error

    def _make_index(self, url: str, kept: Path) -> None:
        try:
            self.downloader.fetch([index_path(url)], kept, say)
            return
        except DownloadError as error:
            (reason,) = error.reasons.values()
            if not reason.startswith(("the server says 4", "answers with a web page")):
                raise
        size = self.downloader.size([url])
        if size is None:
            hint = f"an index beside it spares asking: {index_path(url)}, of tools/make_shards.py --index"
            raise DataError(f"{url}: the server does not tell how large it is, or cannot be reached", [hint])
        shard = Shard(url, size)
        while True:
            self.bring(shard)
            try:
                made = read_headers(self._path(shard), url)
            except DataError as error:
                if isinstance(error.__cause__, FileNotFoundError):  # others have made room already
                    continue
                raise
            write_bytes(kept, made.to_json())
            return

    def _make_room(self, shard: Shard, kept: Sequence[Shard] = ()) -> bool:
        """Removes what was used longest ago until a shard fits, and takes its place.

        Args:
            shard: What needs room.
            kept: What is not removed.

        Returns:
            Whether there is room; where not, others are downloading now, and what they have can be removed later.

        Raises:
            ShardError: It is larger than the store.
        """
        if shard.size > self.budget:
            what = f"{shard.url}: with {human_size(shard.size)} is larger than the store of {human_size(self.budget)}"
            raise ShardError(what, ["a larger data.store_gb"])
        fixed = {_digest(one.url) for one in kept}
        with self._locked("store.lock"):
            others = []
            for path in self.folder.glob(f"*{_TAR}*"):
                if path.name.endswith((_TAR, _PART)) and not path.name.startswith(f"{_digest(shard.url)}-"):
                    with contextlib.suppress(FileNotFoundError):
                        others.append((path.stat().st_mtime_ns, path))
            used = shard.size + sum(_size(path) for _, path in others)
            for _, path in sorted(others):
                if used > self.budget and path.name.partition("-")[0] not in fixed and self._remove(path):
                    used -= _size(path)
            if used <= self.budget and not self.holds(shard):
                self._path(shard, _PART).touch()
            return used <= self.budget

    def _remove(self, path: Path) -> bool:
        """Removes a shard, or a part of one that nobody is downloading."""
        try:
            if path.name.endswith(_PART):
                with (self.folder / f"{path.name.partition('-')[0]}.lock").open("ab") as lock:
                    if try_lock(lock.fileno()) is False:
                        return False
                    path.unlink(missing_ok=True)
                    path.with_name(f"{path.name}.json").unlink(missing_ok=True)
            else:
                path.unlink(missing_ok=True)  # whoever has it open can read on
        except PermissionError:  # Windows keeps what is open
            return False
        return True

    def _fetch_range(self, shard: Shard, member: Member) -> bytes | None:
        """Fetches one file of a shard; ``None`` where that does not work."""
        _, offset, size = member
        span = f"bytes={offset - BLOCK}-{offset + size - 1}"
        request = urllib.request.Request(shard.url, headers={"User-Agent": "i2i", "Range": span})
        try:
            with urllib.request.urlopen(request, timeout=self.downloader.timeout_seconds) as response:
                if response.status != 206:
                    return None
                content = response.read(BLOCK + size)
        except (OSError, http.client.HTTPException):
            return None
        return check_content(BytesIO(content), shard.url, (member[0], BLOCK, size))

    def _path(self, shard: Shard, suffix: str = _TAR) -> Path:
        return self.folder / f"{_digest(shard.url)}-{shard.size}{suffix}"

    @contextlib.contextmanager
    def _locked(self, name: str) -> Iterator[None]:
        with (self.folder / name).open("ab") as file, locked(file.fileno()):
            yield


def _digest(url: str) -> str:
    return hashlib.sha256(url.encode()).hexdigest()[:24]


def _size(path: Path) -> int:
    """What a shard will take once it is whole, which its name says."""
    return int(path.name.partition("-")[2].partition(".")[0])

"""Fetches one file over HTTP so that nothing is lost when the connection is.

Bytes go to ``FILE.part``; ``FILE.part.json`` beside it remembers where they came from. A later call asks the server for
the rest only (RFC 9110, sections 13.1.5 and 14), and only where the server's validators prove that the file has not
changed in between.
"""

import http.client
import json
import re
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from i2i.core.errors import DataError
from i2i.core.progress import Progress, Say, human_size

CHUNK = 1 << 18
PROGRESS_BYTES = 1 << 20  # an attempt that adds this much counts as success: only fruitless ones use up the patience


class DownloadError(DataError):
    """No address yielded the file. ``reasons`` tells, for each address, why."""

    def __init__(self, message: str, reasons: Mapping[str, str], hints: Sequence[str] = ()) -> None:
        super().__init__(message, hints)
        self.reasons = dict(reasons)


class _Transient(Exception):
    """Worth another attempt at the same address."""


class _Permanent(Exception):
    """Not worth another attempt at the same address."""


class _Unreachable(_Permanent):
    """Not worth another attempt, unless the server could be reached a moment ago."""


def exponential(failures: int) -> float:
    """Seconds to wait after that many failures in a row: 1, 2, 4, … 30."""
    return float(min(30, 2 ** (failures - 1)))


@dataclass(frozen=True)
class Downloader:
    """Settings of a download.

    Attributes:
        attempts: Fruitless attempts in a row before an address is given up.
        timeout_seconds: How long a silent server is waited for.
        backoff: Seconds to wait after n failures in a row.
        sleep: Does the waiting.
        shows_progress: Whether progress is shown, and not only what goes wrong.
    """

    attempts: int = 5
    timeout_seconds: float = 30.0
    backoff: Callable[[int], float] = exponential
    sleep: Callable[[float], None] = time.sleep
    shows_progress: bool = True

    def fetch(
        self,
        urls: Sequence[str],
        target: Path,
        say: Say = print,
        naming: AbstractContextManager[object] | None = None,
    ) -> str:
        """Brings the file to ``target``, resuming an earlier attempt, trying the addresses in turn.

        Args:
            urls: Its addresses.
            target: Where it goes.
            say: Takes a line for people.
            naming: Entered while the whole file gets its name.

        Returns:
            The address it came from.

        Raises:
            DownloadError: If no address yields the whole file; what has come stays in ``target.part``.
            OSError: If ``target``'s folder cannot be written.
        """
        part = _Part(target)
        if part.is_whole and part.url in urls:
            with naming or nullcontext():
                part.finish()
            return part.url
        reasons: dict[str, str] = {}
        for url in urls:
            try:
                self._persist(url, part, say)
            except _Permanent as error:
                reasons[url] = str(error)
            else:
                with naming or nullcontext():
                    part.finish()
                return url
        first = next(iter(reasons))
        hints = [f"mirror {url}: {reason}" for url, reason in reasons.items() if url != first]
        if part.size:
            hints.append(f"{part.path} keeps {human_size(part.size)}; the same command goes on from there")
        raise DownloadError(f"cannot download {first}: {reasons[first]}", reasons, hints)

    def size(self, urls: Sequence[str]) -> int | None:
        """Asks for the file's size in bytes; ``None`` where the first address does not tell, or not soon."""
        request = urllib.request.Request(urls[0], headers={"User-Agent": "i2i"}, method="HEAD")
        try:
            with urllib.request.urlopen(request, timeout=min(5.0, self.timeout_seconds)) as response:
                length = response.headers.get("Content-Length") or ""
        except (OSError, http.client.HTTPException):
            return None
        return int(length) if length.isdecimal() else None

    def _persist(self, url: str, part: "_Part", say: Say) -> None:
        failures = 0
        best = part.size
        while True:
            try:
                return self._transfer(url, part, say)
            except (_Transient, _Unreachable) as error:
                if isinstance(error, _Unreachable) and not failures:
                    raise
                # Against the most ever reached, or a server that always cuts and cannot resume would be asked for ever.
                failures = 1 if part.size >= best + PROGRESS_BYTES else failures + 1
                best = max(best, part.size)
                if failures >= self.attempts:
                    raise _Permanent(f"{error}, the last of {failures} attempts in a row") from error
                seconds = self.backoff(failures)
                say(f"{error}; trying again in {seconds:g} s")
                self.sleep(seconds)

    def _transfer(self, url: str, part: "_Part", say: Say) -> None:
        offset = part.resumable_bytes(url)
        request = urllib.request.Request(url, headers={"User-Agent": "i2i", "Accept-Encoding": "identity"})
        if offset:
            request.add_header("Range", f"bytes={offset}-")
            request.add_header("If-Range", part.validator)
        with self._open(request) as response:
            if response.status == 200:
                if response.headers.get_content_type() == "text/html":
                    raise _Permanent("answers with a web page, not with an archive")
                if offset:
                    say(f"{url} has changed or cannot be resumed; starting again")
                return self._receive(response, part, part.restart(url, response.headers), say)
            if not offset or response.status not in (206, 416):
                raise _Permanent(f"answers with the unexpected status {response.status}")
            end = part.continues(response.headers, offset) if response.status == 206 else None
            if end is not None:
                return self._receive(response, part, end, say)
        # The server holds another file than the one begun: only a request without Range brings it from its start.
        say(f"{url} is not the file that {part.path} was begun from; starting again")
        part.forget()
        self._transfer(url, part, say)

    def _open(self, request: urllib.request.Request) -> Any:
        """Opens the request; a 416 comes back as an answer, every other error is sorted into transient or permanent."""
        try:
            return urllib.request.urlopen(request, timeout=self.timeout_seconds)
        except urllib.error.HTTPError as error:
            if error.code == 416:
                return error
            error.close()
            kind = _Transient if error.code in (408, 425, 429) or error.code >= 500 else _Permanent
            raise kind(f"the server says {error.code} {error.reason}") from error
        except urllib.error.URLError as error:
            reason = error.reason
            if isinstance(reason, TimeoutError | ConnectionResetError | BrokenPipeError):
                raise _Transient(f"no answer ({reason})") from error
            if isinstance(reason, socket.gaierror):
                raise _Unreachable(f"no network, or no such host ({reason.strerror})") from error
            raise _Unreachable(f"no connection ({getattr(reason, 'strerror', None) or reason})") from error
        except (OSError, http.client.HTTPException) as error:
            raise _Transient(f"the server hung up ({error})") from error

    def _receive(self, response: Any, part: "_Part", end: int | None, say: Say) -> None:
        label = f"downloading {part.target.name}"
        limit = None if end is None else end - part.size
        progress = Progress(label, part.total, say, done=part.size) if self.shows_progress else None
        with part.path.open("ab") as file, progress or nullcontext():
            for chunk in _chunks(response, limit):
                file.write(chunk)
                if progress is not None:
                    progress.advance(len(chunk))
        if part.total is not None and part.size != part.total:
            raise _Transient(
                f"{part.target.name}: the connection was cut after {part.size} of {part.total} announced bytes"
            )


def _chunks(response: Any, limit: int | None) -> Iterator[bytes]:
    """The body as it comes, at most ``limit`` bytes; ends quietly when the other side hangs up."""
    while limit is None or limit > 0:
        try:
            chunk = response.read1(CHUNK if limit is None else min(CHUNK, limit))
        except (OSError, http.client.HTTPException) as error:
            raise _Transient(f"the connection was cut ({error})") from error
        if not chunk:
            return
        if limit is not None:
            limit -= len(chunk)
        yield chunk


class _Part:
    """The bytes received so far, and what proves that more bytes belong to them."""

    def __init__(self, target: Path) -> None:
        self.target = target
        self.path = target.with_name(target.name + ".part")
        self.notes_path = target.with_name(target.name + ".part.json")
        self.notes: dict[str, Any] = {}
        try:
            notes = json.loads(self.notes_path.read_text(encoding="utf-8"))
            self.notes = notes if isinstance(notes, dict) else {}
        except (FileNotFoundError, ValueError):
            pass

    @property
    def size(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    @property
    def url(self) -> str:
        return str(self.notes.get("url", ""))

    @property
    def total(self) -> int | None:
        return self.notes.get("size")

    @property
    def is_whole(self) -> bool:
        return bool(self.total) and self.size == self.total

    @property
    def validator(self) -> str:
        """What If-Range takes: a strong entity tag, else the date; a weak tag does not promise equal bytes."""
        tag = self.notes.get("etag") or ""
        return tag if tag and not tag.startswith("W/") else self.notes.get("last_modified") or ""

    def resumable_bytes(self, url: str) -> int:
        """Number of bytes that need not be fetched again from this address."""
        if self.url != url or not self.validator or self.total is None or self.size >= self.total:
            return 0
        return self.size

    def continues(self, headers: Mapping[str, str], offset: int) -> int | None:
        """Where a 206 answer ends in the file; ``None`` if it is no continuation of these bytes."""
        match = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", headers.get("Content-Range") or "")
        if match is None or int(match[1]) != offset or match[3] not in ("*", str(self.total)):
            return None
        for key, name in (("etag", "ETag"), ("last_modified", "Last-Modified")):
            # Some servers honour Range and ignore If-Range.
            if self.notes.get(key) and headers.get(name) not in (None, self.notes[key]):
                return None
        return min(int(match[2]) + 1, self.total or 0)

    def restart(self, url: str, headers: Mapping[str, str]) -> int | None:
        """Empties the part for a new answer; returns its announced length."""
        length = headers.get("Content-Length") or ""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_bytes(b"")  # before the notes: an empty part with old notes is harmless, the reverse is not
        self.notes = {
            "url": url,
            "etag": headers.get("ETag"),
            "last_modified": headers.get("Last-Modified"),
            "size": int(length) if length.isdecimal() else None,
        }
        draft = self.notes_path.with_name(self.notes_path.name + ".tmp")
        draft.write_text(json.dumps(self.notes), encoding="utf-8")
        draft.replace(self.notes_path)
        return self.total

    def forget(self) -> None:
        """Drops what was known of the bytes, so that the next answer replaces them."""
        self.notes = {}
        self.notes_path.unlink(missing_ok=True)

    def finish(self) -> None:
        """Gives the whole file its name."""
        self.path.replace(self.target)
        self.notes_path.unlink(missing_ok=True)

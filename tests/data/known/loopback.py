"""A server on this machine that misbehaves as told, and downloads from it that never really wait."""

import http.server
import os
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from i2i.data.known.download import Downloader, DownloadError

BODY = os.urandom(50_000)
DATE = "Wed, 06 Aug 2025 13:58:36 GMT"


@dataclass
class Site:
    """What the server serves, how it misbehaves, and what was asked of it.

    ``script`` holds one dict for each coming request: ``status``, ``cut`` (bytes after which it hangs up), ``html``,
    ``ignore_range``, ``ignore_if_range``, ``length`` (added to the announced length), ``hang`` (stalls after the cut),
    ``redirect`` (another address).
    """

    body: bytes = BODY
    etag: str | None = '"one"'
    date: str | None = DATE
    script: list[dict[str, Any]] = field(default_factory=list)
    requests: list[dict[str, str]] = field(default_factory=list)
    sent: list[int] = field(default_factory=list)
    url: str = ""
    released: threading.Event = field(default_factory=threading.Event)


def handler_for(site: Site) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            site.requests.append(dict(self.headers))
            trick = site.script.pop(0) if site.script else {}
            if "redirect" in trick:
                site.sent.append(0)
                self.send_response(302)
                self.send_header("Location", trick["redirect"])
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            if "status" in trick:
                site.sent.append(0)
                self.send_error(trick["status"])
                return
            start = 0
            matches = self.headers.get("If-Range") in (site.etag, site.date) or trick.get("ignore_if_range")
            if "Range" in self.headers and matches and not trick.get("ignore_range"):
                start = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-"))
            if start > len(site.body):
                site.sent.append(0)
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(site.body)}")
                self.end_headers()
                return
            rest = site.body[start:]
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(site.body) - 1}/{len(site.body)}")
            self.send_header("Content-Type", "text/html" if trick.get("html") else "application/zip")
            if trick.get("length", 0) is not None:
                self.send_header("Content-Length", str(len(rest) + trick.get("length", 0)))
            if site.etag:
                self.send_header("ETag", site.etag)
            if site.date:
                self.send_header("Last-Modified", site.date)
            rest = rest[: trick.get("cut", len(rest))]
            site.sent.append(len(rest))  # before the client can see any of it, or a test would be ahead of its server
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(rest)
            if trick.get("hang"):
                self.wfile.flush()
                site.released.wait(20)

    return Handler


class Fetch:
    """A download that never really waits, with what it said and how long it would have waited."""

    def __init__(self, target: Path, attempts: int = 3) -> None:
        self.target = target
        self.part = target.with_name(target.name + ".part")
        self.notes = target.with_name(target.name + ".part.json")
        self.said: list[str] = []
        self.waits: list[float] = []
        self.downloader = Downloader(attempts=attempts, timeout_seconds=5, sleep=self.waits.append)

    def __call__(self, *urls: str) -> str:
        return self.downloader.fetch(urls, self.target, self.said.append)


def begin(site: Site, fetch: Fetch, size: int = 20_000) -> None:
    """Leaves a part of that many bytes, as a process would that had to stop."""
    site.script = [{"cut": size}]
    with pytest.raises(DownloadError):
        Downloader(attempts=1).fetch([site.url], fetch.target, fetch.said.append)
    assert fetch.part.read_bytes() == site.body[:size]
    site.requests.clear()
    site.sent.clear()


def whole(site: Site, fetch: Fetch) -> bool:
    assert not fetch.part.exists()
    assert not fetch.notes.exists()
    return fetch.target.read_bytes() == site.body

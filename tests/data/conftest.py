"""Fixtures of downloads; no test leaves 127.0.0.1."""

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.data.known.loopback import Fetch, Site, handler_for


@pytest.fixture
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def site(no_proxy: None) -> Iterator[Site]:
    site = Site()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler_for(site))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    site.url = f"http://127.0.0.1:{server.server_port}/horse2zebra.zip"
    yield site
    site.released.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def fetch(tmp_path: Path, no_proxy: None) -> Fetch:
    return Fetch(tmp_path / "horse2zebra.zip")

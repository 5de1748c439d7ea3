"""Downloads against a server on this machine that misbehaves as told; no test leaves 127.0.0.1."""

import http.server
import io
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from i2i.data.download import Downloader, DownloadError, exponential
from i2i.data.prepare import prepare
from i2i.data.sources import UNPAIRED, Source
from i2i.errors import DataError
from i2i.progress import human_size

BODY = os.urandom(50_000)
DATE = "Wed, 06 Aug 2025 13:58:36 GMT"
REPOSITORY = Path(__file__).resolve().parents[2]


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


@pytest.fixture
def site() -> Iterator[Site]:
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


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")


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


@pytest.fixture
def fetch(tmp_path: Path) -> Fetch:
    return Fetch(tmp_path / "horse2zebra.zip")


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


def test_plain_download(site: Site, fetch: Fetch) -> None:
    assert fetch(site.url) == site.url
    assert whole(site, fetch)
    assert fetch.waits == []
    assert fetch.said[0] == "downloading horse2zebra.zip (50.0 kB)"


def test_a_cut_connection_is_taken_up_where_it_broke(site: Site, fetch: Fetch) -> None:
    site.script = [{"cut": 10_000}, {"cut": 15_000}]
    fetch(site.url)
    assert whole(site, fetch)
    assert site.sent == [10_000, 15_000, 25_000]
    assert fetch.waits == [1, 2]
    assert [exponential(n) for n in range(3, 8)] == [4, 8, 16, 30, 30]
    assert any("cut after 10000 of 50000 announced bytes; trying again in 1 s" in line for line in fetch.said)


def test_a_later_process_fetches_only_the_rest(site: Site, fetch: Fetch) -> None:
    begin(site, fetch)
    fetch(site.url)
    assert whole(site, fetch)
    assert site.sent == [30_000]
    assert site.requests[0]["Range"] == "bytes=20000-"
    assert site.requests[0]["If-Range"] == '"one"'


@pytest.mark.parametrize(
    ("etag", "date", "proof", "sent"),
    [('W/"one"', DATE, DATE, 30_000), (None, DATE, DATE, 30_000), ('W/"one"', None, None, 50_000)],
)
def test_a_weak_tag_is_no_proof_but_a_date_is(
    site: Site, fetch: Fetch, etag: str | None, date: str | None, proof: str | None, sent: int
) -> None:
    site.etag, site.date = etag, date
    begin(site, fetch)
    fetch(site.url)
    assert whole(site, fetch)
    assert site.requests[0].get("If-Range") == proof
    assert site.sent == [sent]


@pytest.mark.parametrize("notes", [None, "", "{", "[]", '{"url": "http://elsewhere/x"}'])
def test_a_part_of_unknown_origin_is_replaced(site: Site, fetch: Fetch, notes: str | None) -> None:
    fetch.part.write_bytes(b"x" * 1000)
    if notes is not None:
        fetch.notes.write_text(notes)
    fetch(site.url)
    assert whole(site, fetch)


def test_a_server_that_ignores_range(site: Site, fetch: Fetch) -> None:
    begin(site, fetch)
    site.script = [{"ignore_range": True}]
    fetch(site.url)
    assert whole(site, fetch)
    assert site.sent == [50_000]
    assert any("starting again" in line for line in fetch.said)


@pytest.mark.parametrize("stubborn", [False, True])
@pytest.mark.parametrize("size", [50_000, 40_000, 10_000])
def test_a_file_that_changed_in_between_is_fetched_whole(site: Site, fetch: Fetch, stubborn: bool, size: int) -> None:
    begin(site, fetch)
    site.body = os.urandom(size)
    site.etag, site.date = '"two"', "Thu, 07 Aug 2025 13:58:36 GMT"
    site.script = [{"ignore_if_range": stubborn}]
    fetch(site.url)
    assert whole(site, fetch)
    assert any("starting again" in line for line in fetch.said)


def test_too_long_an_announced_length_is_an_error_that_keeps_the_part(site: Site, fetch: Fetch) -> None:
    site.script = [{"length": 100}, {"status": 503}, {"status": 503}]
    with pytest.raises(DownloadError, match="503 Service Unavailable, the last of 3 attempts") as caught:
        fetch(site.url)
    assert fetch.part.read_bytes() == BODY
    assert not fetch.target.exists()
    assert f"{fetch.part} keeps 50.0 kB; the same command goes on from there" in caught.value.hints


def test_a_server_that_lies_every_time(site: Site, fetch: Fetch) -> None:
    site.script = [{"length": 100, "ignore_range": True}] * 9
    with pytest.raises(
        DownloadError, match="cut after 50000 of 50100 announced bytes, the last of 3 attempts in a row"
    ):
        fetch(site.url)
    assert len(site.sent) == 3


def test_a_server_that_announces_nothing(site: Site, fetch: Fetch) -> None:
    site.script = [{"length": None}]
    fetch(site.url)
    assert whole(site, fetch)


def test_gives_up_on_a_server_that_always_cuts_and_cannot_resume(site: Site, fetch: Fetch) -> None:
    site.body = os.urandom(3_000_000)
    site.script = [{"cut": cut, "ignore_range": True} for cut in (2_000_000, 100_000) * 9]
    with pytest.raises(DownloadError, match="of 3000000 announced bytes, the last of 3 attempts in a row"):
        fetch(site.url)
    assert len(site.sent) == 3


def test_progress_restores_patience(site: Site, fetch: Fetch) -> None:
    site.body = os.urandom(9_000_000)
    site.script = [{"cut": 1_200_000}] * 7
    fetch(site.url)
    assert whole(site, fetch)
    assert sum(site.sent) == 9_000_000
    assert set(fetch.waits) == {1}


def test_passing_faults_are_tried_again(site: Site, fetch: Fetch) -> None:
    site.script = [{"status": 429}, {"status": 503}]
    fetch(site.url)
    assert whole(site, fetch)
    assert len(site.requests) == 3


def test_lasting_faults_are_not(site: Site, fetch: Fetch) -> None:
    site.script = [{"status": 404}]
    with pytest.raises(DownloadError, match=f"cannot download {site.url}: the server says 404 Not Found"):
        fetch(site.url)
    assert len(site.requests) == 1
    assert fetch.waits == []
    assert not fetch.part.exists()


def test_a_mirror_that_fails_does_not_cost_the_part(site: Site, fetch: Fetch) -> None:
    begin(site, fetch)
    site.script = [{"status": 404}, {"html": True}]
    with pytest.raises(DownloadError) as caught:
        fetch(site.url, site.url + "?mirror")
    assert "\n" not in caught.value.message
    assert caught.value.hints[0] == f"mirror {site.url}?mirror: answers with a web page, not with an archive"
    fetch(site.url)
    assert site.sent[-1] == 30_000


def test_mirrors_are_tried_in_turn(site: Site, fetch: Fetch) -> None:
    site.script = [{"status": 404}]
    assert fetch(site.url, site.url + "?mirror") == site.url + "?mirror"
    assert whole(site, fetch)


def test_a_whole_part_needs_no_server(site: Site, fetch: Fetch) -> None:
    begin(site, fetch)
    fetch.part.write_bytes(BODY)  # stopped between the last byte and the renaming
    fetch(site.url)
    assert whole(site, fetch)
    assert site.requests == []


def test_a_part_longer_than_the_file_is_replaced(site: Site, fetch: Fetch) -> None:
    begin(site, fetch)
    fetch.part.write_bytes(BODY + b"x")
    fetch(site.url)
    assert whole(site, fetch)
    assert "Range" not in site.requests[0]


def test_a_silent_server_is_not_waited_for_for_ever(site: Site, fetch: Fetch) -> None:
    site.script = [{"cut": 10_000, "hang": True}]
    fetch.downloader = Downloader(timeout_seconds=0.2, sleep=fetch.waits.append)
    fetch(site.url)
    assert whole(site, fetch)
    assert site.sent == [10_000, 40_000]


def test_a_redirect_is_followed_and_resumed_through(site: Site, fetch: Fetch) -> None:
    away = site.url + "?moved"
    site.script = [{"redirect": away}, {"cut": 20_000}, {"redirect": away}]
    assert fetch(site.url) == site.url
    assert whole(site, fetch)
    assert site.sent == [0, 20_000, 0, 30_000]
    assert site.requests[-1]["Range"] == "bytes=20000-"


@pytest.mark.parametrize("where", ["file:///etc/hostname", "{url}"])
def test_a_redirect_that_leads_nowhere_is_an_error(site: Site, fetch: Fetch, where: str) -> None:
    site.script = [{"redirect": where.format(url=site.url)}] * 30
    with pytest.raises(DownloadError, match="the server says 302"):
        fetch(site.url)
    assert not fetch.target.exists()
    assert not fetch.part.exists()
    assert len(site.requests) < 15


def test_a_refusal_at_the_first_address_and_a_cut_at_the_second(site: Site, fetch: Fetch) -> None:
    site.script = [{"status": 403}, {"cut": 20_000}]
    assert fetch(site.url, site.url + "?mirror") == site.url + "?mirror"
    assert whole(site, fetch)
    assert site.sent == [0, 20_000, 30_000]


def test_the_size_is_asked_for_before(site: Site, fetch: Fetch) -> None:
    assert fetch.downloader.size([site.url]) == 50_000
    site.script = [{"length": None}, {"status": 404}]
    assert fetch.downloader.size([site.url]) is None
    assert fetch.downloader.size([site.url]) is None
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        assert fetch.downloader.size([f"http://127.0.0.1:{free.getsockname()[1]}/x.zip"]) is None


def horse_zip() -> bytes:
    file, picture = io.BytesIO(), io.BytesIO()
    Image.new("RGB", (8, 8)).save(picture, "JPEG")
    with zipfile.ZipFile(file, "w") as archive:
        for name in (f"{folder}/{n}" for folder in UNPAIRED for n in range(2)):
            archive.writestr(f"horse2zebra/{name}.jpg", picture.getvalue())
    return file.getvalue()


def horses(*urls: str, **changes: Any) -> Source:
    return Source("horse2zebra", "", dict.fromkeys(UNPAIRED, 2), urls=urls, **changes)


def test_prepare_downloads_records_and_tidies_up(site: Site, fetch: Fetch, tmp_path: Path) -> None:
    site.body = horse_zip()
    site.script = [{"cut": 900}]
    prepared = prepare(horses(site.url), tmp_path, downloader=fetch.downloader, say=fetch.said.append)
    assert prepared.counts == dict.fromkeys(UNPAIRED, 2)
    assert [path.name for path in tmp_path.iterdir()] == ["horse2zebra"]
    assert sum(site.sent) == len(site.body)
    origin = json.loads((prepared.folder / "SOURCE.json").read_text())["origins"][0]
    assert (origin["url"], origin["size"]) == (site.url, len(site.body))


def test_prepare_keeps_the_download_when_unpacking_fails(site: Site, fetch: Fetch, tmp_path: Path) -> None:
    site.body = horse_zip()
    short = Source("horse2zebra", "", {"trainA": 3}, urls=(site.url,))
    with pytest.raises(
        DataError, match=r"horse2zebra\.zip: not the data set horse2zebra: trainA holds 2 images, not 3"
    ):
        prepare(short, tmp_path, downloader=fetch.downloader, say=fetch.said.append)
    assert [path.name for path in tmp_path.iterdir()] == ["horse2zebra.zip"]
    with pytest.raises(DataError, match="not the published 00"):
        prepare(horses(site.url, sha256="00"), tmp_path, say=fetch.said.append)
    prepare(horses(site.url), tmp_path, downloader=fetch.downloader, say=fetch.said.append)
    assert len(site.requests) == 1
    assert f"{tmp_path / 'horse2zebra.zip'}: is here already and is used" in fetch.said


@pytest.mark.parametrize(
    ("trick", "message"),
    [
        ({"length": -100}, "the archive is damaged or cut short"),  # a server that announces too little
        ({"body": b"<!DOCTYPE html><html>busy</html>"}, "is a web page, not an archive"),  # under a zip's type
        ({"body": b""}, "is empty"),
    ],
)
def test_prepare_says_how_to_go_on_when_the_server_sent_no_archive(
    site: Site, fetch: Fetch, tmp_path: Path, trick: dict[str, Any], message: str
) -> None:
    site.body = trick.pop("body", horse_zip())
    site.script = [trick]
    with pytest.raises(DataError, match=message) as caught:
        prepare(horses(site.url), tmp_path, downloader=fetch.downloader, say=fetch.said.append)
    assert f"{fetch.target} is kept; delete it to download it again" in caught.value.hints
    assert [path.name for path in tmp_path.iterdir()] == ["horse2zebra.zip"]
    fetch.target.unlink()
    site.body = horse_zip()
    prepare(horses(site.url), tmp_path, downloader=fetch.downloader, say=fetch.said.append)
    assert [path.name for path in tmp_path.iterdir()] == ["horse2zebra"]


def test_prepare_without_network_says_all_in_one_line(fetch: Fetch, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/horse2zebra.zip"
        with pytest.raises(DataError) as caught:
            prepare(horses(url), tmp_path / "data", downloader=fetch.downloader, say=fetch.said.append)
    assert caught.value.message == (
        f"horse2zebra: cannot download {url}: no connection (Connection refused); "
        "with the file downloaded elsewhere: prepare_data horse2zebra --from FILE"
    )
    assert fetch.waits == []
    assert list((tmp_path / "data").iterdir()) == []


SCRIPT = """
import sys
from i2i.cli import main
from i2i.data.sources import SOURCES, Source
SOURCES["tiny"] = Source("tiny", "", {"trainA": None}, urls=(sys.argv[1],))
code = main("prepare_data", ["tiny", "--root", sys.argv[2]])
assert "torch" not in sys.modules
sys.exit(code)
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_keeps_the_part_and_says_so(site: Site, tmp_path: Path, number: signal.Signals, code: int) -> None:
    site.script = [{"cut": 20_000, "hang": True}]
    part = tmp_path / "tiny.zip.part"
    command = [sys.executable, "-c", SCRIPT, site.url, str(tmp_path)]
    with subprocess.Popen(
        command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        give_up = time.monotonic() + 20
        while process.poll() is None and not (part.exists() and part.stat().st_size) and time.monotonic() < give_up:
            time.sleep(0.01)
        process.send_signal(number)
        out, err = process.communicate(timeout=20)
    assert process.returncode == code, err
    assert err == ""
    kept = human_size(part.stat().st_size)
    assert out.splitlines()[-1] == f"stopped; {part} keeps {kept}, the same command goes on from there"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tiny.zip.part", "tiny.zip.part.json"]

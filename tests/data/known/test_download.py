"""Downloads against a server on this machine that misbehaves as told; no test leaves 127.0.0.1."""

import os
import socket

import pytest

from i2i.data.known.download import Downloader, DownloadError, exponential
from tests.data.known.loopback import BODY, DATE, Fetch, Site, begin, whole


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

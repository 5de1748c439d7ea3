"""prepare_data against a server on this machine that misbehaves as told."""

import io
import json
import signal
import socket
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from i2i.core.errors import DataError
from i2i.core.progress import human_size
from i2i.data.known.prepare import prepare
from i2i.data.known.sources import UNPAIRED, Source
from tests.data.known.loopback import Fetch, Site

REPOSITORY = Path(__file__).resolve().parents[3]


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
from i2i.data.known.sources import SOURCES, Source
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

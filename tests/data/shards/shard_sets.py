"""Small sets in shards for tests, and a server of this machine that has them."""

import http.server
import io
import tarfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

SMALL: dict[str, Any] = {"load_size": 10, "crop_size": 8}


def picture(value: int, size: tuple[int, int] = (12, 12), format: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, (value % 256, value // 256, 7)).save(buffer, format)
    return buffer.getvalue()


def write_tar(path: Path, files: Mapping[str, bytes], format: int = tarfile.PAX_FORMAT) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=format) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def paired_set(root: Path, counts: list[int], split: str = "train") -> Path:
    """Pairs whose a tells their number, and whose b tells it plus 500, in shards of so many pairs."""
    number = 0
    for shard, count in enumerate(counts):
        files = {}
        for _ in range(count):
            files |= {f"{number:04}.a.png": picture(number), f"{number:04}.b.png": picture(number + 500)}
            number += 1
        write_tar(root / f"{split}-{shard:03}.tar", files)
    return root


def unpaired_set(root: Path, counts: Mapping[str, list[int]]) -> Path:
    """Images of two domains whose colour tells their number, those of B plus 500."""
    for domain, (name, sizes) in enumerate(counts.items()):
        number = 500 * domain
        for shard, count in enumerate(sizes):
            files = {f"{value:04}.png": picture(value) for value in range(number, number + count)}
            write_tar(root / f"train{name}-{shard:03}.tar", files)
            number += count
    return root


def number_of(tensor: Any) -> int:
    """The number that a picture shows."""
    red, green, _ = ((tensor[:, 0, 0] + 1) * 127.5).round().tolist()
    return int(red + 256 * green)


@dataclass
class Server:
    """What a folder's server was asked for, and how it is to misbehave.

    Attributes:
        asked: Path of each request, with its range.
        cut: Path -> bytes after which the connection ends, once for each number.
        has_ranges: Whether it answers ranges.
        gate: What answers of whole files wait for.
    """

    url: str = ""
    asked: list[tuple[str, str]] = field(default_factory=list)
    cut: dict[str, list[int]] = field(default_factory=dict)
    has_ranges: bool = True
    is_down: bool = False
    gate: threading.Event = field(default_factory=threading.Event)

    def whole(self) -> list[str]:
        """Names of the files that were asked for from their start, as a whole."""
        return [path for path, span in self.asked if not span]


@contextmanager
def serving(folder: Path) -> Iterator[Server]:
    server = Server()
    server.gate.set()

    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

        def do_HEAD(self) -> None:
            path = folder / self.path[1:]
            self.send_response(200)
            self.send_header("Content-Length", str(path.stat().st_size))
            self.end_headers()

        def do_GET(self) -> None:
            name, span = self.path[1:], self.headers.get("Range", "")
            server.asked.append((name, span))
            if server.is_down:
                self.send_error(503)
                return
            if not (folder / name).is_file():
                self.send_error(404)
                return
            content = (folder / name).read_bytes()
            first, last = 0, len(content) - 1
            if span and server.has_ranges:
                one, _, other = span.removeprefix("bytes=").partition("-")
                first, last = int(one), int(other or last)
            else:
                server.gate.wait(20)
            self.send_response(206 if span and server.has_ranges else 200)
            if span and server.has_ranges:
                self.send_header("Content-Range", f"bytes {first}-{last}/{len(content)}")
            self.send_header("Content-Type", "application/x-tar")
            self.send_header("Content-Length", str(last + 1 - first))
            self.send_header("ETag", f'"{len(content)}"')
            self.end_headers()
            body = content[first : last + 1]
            cuts = server.cut.get(name)
            self.wfile.write(body[: cuts.pop(0)] if cuts else body)

    class Quiet(http.server.ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            pass  # clients that hang up

    httpd = Quiet(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    server.url = f"http://127.0.0.1:{httpd.server_port}"
    try:
        yield server
    finally:
        server.gate.set()
        httpd.shutdown()
        thread.join()
        httpd.server_close()

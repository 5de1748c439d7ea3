"""``train`` offers to download a missing data set: to people, never to programs. A server on this machine, no other."""

import io
import os
import select
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from i2i.cli import main
from i2i.cli.parts.offer import offer_download
from i2i.data.known.sources import SOURCES, UNPAIRED, Source

CONFIG = """
pipeline: {type: cyclegan}
generator: {type: resnet, num_blocks: 1, base_channels: 4}
discriminator: {type: patchgan, num_layers: 1, base_channels: 4}
losses: {adversarial: {type: lsgan}, cycle: {type: l1, weight: 10}}
data: {type: unpaired, root: ROOT, load_size: 20, crop_size: 16}
trainer: {steps: 1}
"""


def archive() -> bytes:
    file = io.BytesIO()
    rng = np.random.default_rng(0)
    with zipfile.ZipFile(file, "w") as zipped:
        for name in (f"{folder}/{n}" for folder in UNPAIRED for n in range(2)):
            picture = io.BytesIO()
            Image.fromarray(rng.integers(0, 256, (20, 20, 3), dtype=np.uint8)).save(picture, "PNG")
            zipped.writestr(f"dots/{name}.png", picture.getvalue())
    return file.getvalue()


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    body = archive()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        do_HEAD = do_GET

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/dots.zip"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def root(address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the data set ``dots`` should lie, and does not."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "TORCHELASTIC_RUN_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setitem(SOURCES, "dots", Source("dots", "", dict.fromkeys(UNPAIRED, 2), urls=(address,)))
    return tmp_path / "datasets/dots"


@pytest.fixture
def somebody(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Callable[[], str]]]:
    """Puts a real terminal in the place of stdin and stdout, at which somebody types a line."""
    ends: list[int] = []
    files: list[io.TextIOBase] = []

    def sits_down(line: str) -> Callable[[], str]:
        master, slave = os.openpty()
        ends.append(master)
        typed, shown = os.fdopen(slave), os.fdopen(os.dup(slave), "w", buffering=1)
        files.extend([typed, shown])
        monkeypatch.setattr(sys, "stdin", typed)
        monkeypatch.setattr(sys, "stdout", shown)
        os.write(master, line.encode())

        def screen() -> str:
            shown.flush()
            text = b""
            while select.select([master], [], [], 0.1)[0]:
                text += os.read(master, 100_000)
            return text.decode()

        return screen

    yield sits_down
    for file in files:
        file.close()
    for end in ends:
        os.close(end)


def config_for(root: Path) -> str:
    path = root.parents[1] / "config.yaml"
    path.write_text(CONFIG.replace("ROOT", str(root)))
    return str(path)


def test_yes_downloads_and_goes_on_training(root, somebody) -> None:
    screen = somebody("y\n")
    config = config_for(root)
    assert main("train", [config, "--out", str(root.parents[1] / "run")]) == 0
    shown = screen()
    size = len(archive())
    assert f"{root} is missing. Download dots now ({size / 1000:.1f} kB)? [y/N]" in shown
    assert f"{root}: ready, images: trainA 2, trainB 2, testA 2, testB 2" in shown
    assert (root.parents[1] / "run/model.safetensors").exists()
    assert [path.name for path in root.parent.iterdir()] == ["dots"]


@pytest.mark.parametrize("answer", ["n\n", "\n", "maybe\n", "\x04"])
def test_any_other_answer_leaves_the_error_as_it_is(root, somebody, answer, capfd) -> None:
    config = config_for(root)
    screen = somebody(answer)
    assert main("train", [config, "--out", str(root.parents[1] / "run")]) == 2
    assert "[y/N]" in screen()
    assert f"no folder '{root}'" in capfd.readouterr().err
    assert not root.parent.exists()


def test_nobody_is_asked_without_a_terminal(root, capsys, monkeypatch) -> None:
    monkeypatch.setattr("builtins.input", lambda prompt: pytest.fail("asked"))
    assert main("train", [config_for(root), "--out", str(root.parents[1] / "run")]) == 2
    assert f"no folder '{root}'" in capsys.readouterr().err


@pytest.mark.parametrize("variable", ["RANK", "LOCAL_RANK", "WORLD_SIZE"])
def test_nobody_is_asked_under_a_launcher(root, somebody, monkeypatch, variable) -> None:
    monkeypatch.setattr("builtins.input", lambda prompt: pytest.fail("asked"))
    monkeypatch.setenv(variable, "0")
    somebody("y\n")
    assert offer_download(str(root)) == 0


def test_only_known_sets_that_are_missing_are_offered(root, somebody, monkeypatch, tmp_path) -> None:
    monkeypatch.setattr("builtins.input", lambda prompt: pytest.fail("asked"))
    somebody("y\n")
    assert offer_download(None) == 0
    assert offer_download(str(tmp_path / "datasets/my_own")) == 0
    assert offer_download(str(tmp_path / "datasets/cityscapes")) == 0  # behind a login
    assert offer_download("https://example.org/horse2zebra") == 0  # shards
    root.mkdir(parents=True)
    (root / "something").write_text("of the user's")
    assert offer_download(str(root)) == 0


def test_a_set_of_which_only_the_record_is_left_is_offered_again(root, somebody) -> None:
    root.mkdir(parents=True)
    (root / "SOURCE.json").write_text("{}")
    screen = somebody("yes\n")
    assert offer_download(str(root)) == 0
    assert "ready, images" in screen()
    assert len(list(root.rglob("*.png"))) == 8


def test_a_signal_while_downloading_ends_training_before_it_began(root, somebody, monkeypatch) -> None:
    def interrupted(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("i2i.cli.prepare_data.prepare", interrupted)
    screen = somebody("y\n")
    assert main("train", [config_for(root), "--out", str(root.parents[1] / "run")]) == 130
    assert "the same command starts again" in screen()
    assert not (root.parents[1] / "run").exists()

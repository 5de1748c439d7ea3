"""Progress: a bar on a terminal, a plain line now and then elsewhere."""

import io
import sys

import pytest

from i2i.core import progress
from i2i.core.progress import Progress, human_size


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What time it is; the test sets it."""
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_lines_come_at_the_start_and_every_ten_seconds(clock: list[float]) -> None:
    lines: list[str] = []
    with Progress("downloading x.zip", 4_000_000, lines.append, done=1_000_000) as shown:
        for _ in range(25):
            clock[0] += 1
            shown.advance(100_000)
    assert lines == [
        "downloading x.zip (4.0 MB, 1.0 MB done before)",
        "downloading x.zip: 2.0 MB (50 %); 100.0 kB/s",
        "downloading x.zip: 3.0 MB (75 %); 100.0 kB/s",
    ]


def test_lines_of_what_has_neither_label_nor_total(clock: list[float]) -> None:
    lines: list[str] = []
    with Progress("", None, lines.append, count="images") as shown:
        clock[0] += 4
        shown.reach(10, "refused 1")
        clock[0] += 6
        shown.reach(25, "refused 2")
        shown.say("by the way")
    assert lines == ["25 images, refused 2; 2.5 images/s", "by the way"]


def test_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stderr", terminal)
    lines: list[str] = []
    with Progress("translating", 40, lines.append, count="images") as shown:
        shown.reach(10, "refused 1")
        shown.say("by the way")
        shown.advance(30)
    assert lines == ["by the way"]
    assert "translating: 100%" in terminal.getvalue()
    assert "40/40" in terminal.getvalue()


def test_sizes() -> None:
    assert [human_size(n) for n in (0, 999, 1000, 116_867_962, 3.2e9, 5e13)] == [
        "0 bytes",
        "999 bytes",
        "1.0 kB",
        "116.9 MB",
        "3.2 GB",
        "50.0 TB",
    ]


def test_what_others_have_named_is_said_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    progress.say("a\x1b[2J\nb\udcff.zip: größer, 大")
    assert capsys.readouterr().out == "a\\x1b[2J\\nb\\udcff.zip: größer, 大\n"

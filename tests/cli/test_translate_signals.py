"""Signals, at the start and in the middle: the exit code tells, nothing is broken, and the same command goes on."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from i2i.core.plugins import sha256
from i2i.inference.translator import Translator
from tests.cli.translating import check_end, check_truth, seen, translate, unfinished, wait_for


@pytest.mark.parametrize(
    ("signals", "code"),
    [
        ([signal.SIGINT], 130),
        ([signal.SIGTERM, signal.SIGTERM], 143),
        pytest.param([signal.SIGTERM], 143, marks=pytest.mark.slow),
        pytest.param([signal.SIGINT, signal.SIGINT], 130, marks=pytest.mark.slow),
        pytest.param([signal.SIGTERM, signal.SIGINT], 130, marks=pytest.mark.slow),
        pytest.param([signal.SIGHUP], 129, marks=pytest.mark.slow),  # a terminal that closes
    ],
)
def test_signals_in_the_middle(signals, code, forks, work, tmp_path):
    root, (model, _), expected = work
    out = tmp_path / "out"
    # A second one may come when the job has ended by the first.
    assert forks.run(model, root / "many", out, die_at=30, signals=signals) in {code, 128 + signals[0]}
    check_truth(out, expected["many"])
    assert len(seen(out)) < len(expected["many"][sha256(model)])
    assert len(signals) > 1 or not unfinished(out)
    assert forks.run(model, root / "many", out) == 0
    check_end(out, expected["many"][sha256(model)])


def test_an_interrupt_while_the_model_loads(model, photos, tmp_path, monkeypatch, capsys):
    load = Translator.load
    monkeypatch.setattr(Translator, "load", lambda *a, **o: os.kill(os.getpid(), signal.SIGINT) or load(*a, **o))
    assert translate(model, photos, tmp_path / "out") == 130
    assert capsys.readouterr().err == "interrupted\n" and not (tmp_path / "out").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells how far it is")
@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_a_signal_while_torch_loads(number, model, photos, tmp_path):
    code = "import sys; from i2i.cli import main; sys.exit(main('translate', sys.argv[1:]))"
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(model), str(photos), str(tmp_path / "out")], stderr=subprocess.PIPE, text=True
    )
    wait_for(lambda: "libtorch" in Path(f"/proc/{process.pid}/maps").read_text())
    process.send_signal(number)
    said = process.communicate(timeout=60)[1]
    assert process.returncode in (128 + number, -number)  # which a shell shows alike
    assert said in ("interrupted\n", "") and not (tmp_path / "out").exists()

"""What the benchmarks share."""

import argparse
import importlib
import json

import pytest

CHILD = """
import sys
sys.path.insert(0, {folder!r})
from harness import answer, serve
print("said on the way")
count = 0
def take():
    global count
    count += 1
    return {{"seconds": count * float(sys.argv[1])}}
if sys.argv[2] == "serve": serve(take)
elif sys.argv[2] == "once": answer(take())
else: sys.exit("it went wrong")
"""


@pytest.fixture
def harness(benchmarks):
    return importlib.import_module("harness")


@pytest.fixture
def script(benchmarks, tmp_path):
    path = tmp_path / "child.py"
    path.write_text(CHILD.format(folder=str(benchmarks)))
    return str(path)


def test_contestants_take_turns_and_the_warm_up_is_left_out(harness):
    order = []
    contestants = {name: lambda name=name: order.append(name) or {"seconds": len(order)} for name in "ab"}
    runs = harness.measure(contestants, repeats=3, warm_up=1)
    assert "".join(order) == "abbaabba"
    assert harness.column(runs, "seconds") == {"a": [4, 5, 8], "b": [3, 6, 7]}


@pytest.mark.parametrize(
    ("figure", "goal", "result", "is_met"),
    [
        ("baseline/ours", ">= 2.0", (2.0, 1.0, 3.0), True),
        ("baseline/ours", ">= 2.1", (2.0, 1.0, 3.0), False),
        ("ours/baseline", "<= 0.4", (0.5, 1 / 3, 1.0), False),
        ("ours", "<= 3", (3.0, 2.0, 6.0), True),
        ("ours", "", (3.0, 2.0, 6.0), None),
    ],
)
def test_a_figure_is_that_of_medians_with_its_spread(harness, figure, goal, result, is_met):
    row = harness.Row("step", "s", {"ours": [2.0, 3.0, 6.0], "original": [6.0, 8.0, 6.0]}, goal, figure)
    assert row.result() == pytest.approx(result)
    assert row.is_met is is_met


def test_what_is_not_measured_has_no_figure(harness):
    row = harness.Row("step", "s", {"ours": [1.0]}, ">= 2")
    assert row.result() is None and row.is_met is None
    assert "not measured" in harness.table([row])


def test_a_child_that_stays_is_asked_again(harness, script):
    with harness.Child([script, "2", "serve"]) as child:
        assert [child()["seconds"] for _ in range(3)] == [2, 4, 6]
    assert child._process.returncode == 0


def test_a_child_answers_once(harness, script):
    assert harness.child([script, "3", "once"], threads=1) == {"seconds": 3}


def test_a_child_that_fails_says_why(harness, script):
    with pytest.raises(SystemExit, match="it went wrong"):
        harness.child([script, "1", "fail"])


def test_threads_are_those_asked_for(harness, tmp_path, benchmarks):
    path = tmp_path / "threads.py"
    path.write_text(
        f"import os, sys; sys.path.insert(0, {str(benchmarks)!r}); from harness import answer\n"
        "answer({name: os.environ.get(name) for name in ('OMP_NUM_THREADS', 'MKL_NUM_THREADS', 'MINE')})"
    )
    assert harness.child([str(path)], 3, MINE="x") == {"OMP_NUM_THREADS": "3", "MKL_NUM_THREADS": "3", "MINE": "x"}


def test_figures_are_written_with_the_machine(harness, tmp_path, capsys):
    args = argparse.Namespace(json=tmp_path / "a.json", markdown=tmp_path / "a.md", threads=2)
    row = harness.Row("step", "s", {"ours": [1.0], "original": [3.0]}, ">= 2", limit=4.0, note="fp32")
    assert harness.report([row], args) == 0
    found = json.loads(args.json.read_text())
    assert found["machine"].keys() >= {"date", "processor", "cores", "memory", "python", "torch", "i2i"}
    assert found["machine"]["threads"] == 2
    assert found["rows"][0]["result"] == [3.0, 3.0, 3.0] and found["rows"][0]["met"] is True
    line = "| step | 1 s | 3 s (original) | 3 (3 to 3) | >= 2 | 4 | yes | fp32 |"
    assert line in args.markdown.read_text() and line in capsys.readouterr().out

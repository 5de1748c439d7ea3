"""The benchmarks of docs/performance.md run, at a tiny size, and say what they could not measure."""

import importlib
import json
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from i2i.images.files import save_image
from tests.conftest import REPOSITORY

TINY = ("--threads", "1", "--repeats", "1", "--channels", "4")


def rows_of(path: Path) -> list[dict]:
    return json.loads(path.read_text())["rows"]


@pytest.mark.slow
def test_a_step_alone_is_measured_without_the_original(bench, tmp_path):
    figures = tmp_path / "step.json"
    options = ("--only", "cyclegan", "--size", "64", "--seconds", "0.01", "--device", "cpu", "--json", str(figures))
    done = bench("step", *TINY, *options, "--config", "trainer.ema=0.9")
    assert done.returncode == 0, done.stderr
    step, exact, memory = rows_of(figures)
    assert step["name"] == "cyclegan, 64 px, batch 1, 4 channels, step" and exact["name"].endswith("step in fp32")
    assert step["values"].keys() == {"ours"} and 0 < step["values"]["ours"][0] < 60
    assert step["result"] is None and "--upstream" in step["note"] and step["note"] in done.stdout
    assert 1 < memory["values"]["ours"][0] < 2000  # MB


@pytest.mark.slow
def test_a_step_that_fails_says_why(bench):
    done = bench("step", *TINY, "--only", "cyclegan", "--size", "64", "--config", "trainer.em=1")
    assert done.returncode == 1 and "trainer.em" in done.stderr and "Traceback" not in done.stderr


def test_what_is_no_checkout_of_the_original_is_told_at_once(bench, tmp_path):
    done = bench("step", *TINY, "--upstream", str(tmp_path))
    assert done.returncode == 2 and "no checkout" in done.stderr


def test_the_convolutions_alone_are_those_of_the_step(benchmarks):
    """As many operations as torch counts itself, forward and backward, strided and transposed, with a bias or not."""
    convolutions = importlib.import_module("convolutions")
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.InstanceNorm2d(8),
        nn.Conv2d(8, 8, 3, stride=2, bias=False),
        nn.ConvTranspose2d(8, 3, 3, stride=2, padding=1, output_padding=1),
    )
    x = torch.rand(2, 3, 16, 16)

    def step() -> None:
        (network(x) + network(x)).square().mean().backward()

    with FlopCounterMode(display=False) as counted:
        step()
    alone = convolutions.Convolutions(step, torch.float32)
    with FlopCounterMode(display=False) as repeated:
        alone.run()
    assert repeated.get_total_flops() == counted.get_total_flops() > 1e6


def test_both_sides_have_the_same_networks(benchmarks, monkeypatch):
    step = importlib.import_module("step")
    step.check({"ours": [{"parameters": 3}], "original": [{"parameters": 3}]})
    with pytest.raises(SystemExit, match="not the same networks"):
        step.check({"ours": [{"parameters": 3}], "original": [{"parameters": 4}]})


def test_the_best_batch_is_found_and_what_no_longer_helps_ends_the_search(benchmarks, monkeypatch):
    step, contestants = importlib.import_module("step"), importlib.import_module("contestants")
    asked = []

    class Child:
        def __init__(self, batch: int) -> None:
            self.batch = batch

        def __enter__(self):
            asked.append(self.batch)
            return lambda: {"images_per_second": {1: 1.0, 2: 1.5, 4: 1.6, 8: 1.59}[self.batch], "memory": 1}

        def __exit__(self, *_: object) -> None: ...

    monkeypatch.setattr(contestants.Case, "child", lambda case, who, threads: Child(case.batch))
    args = step.argparse.Namespace(batches=None, threads=1, budget=1000.0)
    assert step.best_batch(contestants.Case(), "ours", args) == (4, {1: 1.0, 2: 1.5, 4: 1.6, 8: 1.59})
    assert asked == [1, 2, 4, 8]


@pytest.mark.slow
def test_images_are_measured_at_the_best_batch(bench, tmp_path):
    figures = tmp_path / "images.json"
    options = ("--size", "64", "--seconds", "0.01", "--batches", "1", "2", "--device", "cpu", "--json", str(figures))
    done = bench("step", *TINY, "--images", *options)
    assert done.returncode == 0, done.stderr
    (row,) = rows_of(figures)
    tried = row["more"]["tried"]["ours"]
    assert tried.keys() == {"1", "2"} and f"batch {max(tried, key=tried.get)}" in row["note"]


@pytest.mark.slow
def test_two_ranks_are_measured(bench, tmp_path):
    figures = tmp_path / "ranks.json"
    done = bench("ranks", *TINY, "--size", "64", "--steps", "6", "--json", str(figures))
    assert done.returncode == 0, done.stderr
    (row,) = rows_of(figures)
    assert list(row["values"]) == ["ranks", "one process"] and row["result"][0] > 0 and row["limit"] > 0
    assert len(row["more"]["by themselves"]) == 1


@pytest.mark.slow
@pytest.mark.parametrize("name", ["size", "folder"])
def test_growth_is_measured_and_drawn(bench, tmp_path, name):
    options = (
        "--quick",
        "--seconds",
        "0.01",
        "--device",
        "cpu",
        "--only",
        name,
        "--json",
        str(tmp_path / "growth.json"),
    )
    done = bench("growth", *TINY, *options, "--plots", str(tmp_path / "plots"))
    assert done.returncode == 0, done.stderr
    assert all(name in row["name"] and row["more"]["memory"] > 1e6 for row in rows_of(tmp_path / "growth.json"))
    assert [path.name for path in (tmp_path / "plots").iterdir()] == [f"growth_{name}.svg"]
    texts = ElementTree.parse(tmp_path / f"plots/growth_{name}.svg").getroot().itertext()
    assert any("4 channels" in text for text in texts), "the title says what is small"


def test_a_plot_shows_its_points_where_they_belong(benchmarks, tmp_path):
    plot = importlib.import_module("plot")
    points = [(1.0, 10.0), (2.0, 20.0), (4.0, 40.0)]
    path = tmp_path / "plot.svg"
    plot.write_plot(path, "A & B", [plot.Panel("images/s", "pixels", {"ours": points})])
    root = ElementTree.parse(path).getroot()
    circles = [(float(one.get("cx")), float(one.get("cy"))) for one in root.iter("{http://www.w3.org/2000/svg}circle")]
    (a, b, c) = circles
    assert b[0] - a[0] == pytest.approx(c[0] - b[0], abs=0.2), "equal distances are equal ratios"
    assert plot.BOTTOM - a[1] == pytest.approx((plot.BOTTOM - c[1]) / 4, abs=0.2), "up from zero, in proportion"
    assert plot.BOTTOM - b[1] == pytest.approx((plot.BOTTOM - c[1]) / 2, abs=0.2)
    assert {"1", "2", "4", "A & B", "ours", "images/s"} <= {
        text.text for text in root.iter("{http://www.w3.org/2000/svg}text")
    }


def test_many_points_are_a_line_from_zero_and_plots_stand_in_rows(benchmarks, tmp_path):
    plot = importlib.import_module("plot")
    panel = plot.Panel("loss", "step", {"ours": [(10.0, 1.0), (55.0, 3.0), (100.0, 2.0)]}, is_line=True)
    plot.write_plot(tmp_path / "plot.svg", "A", [panel] * 3, columns=2)
    root = ElementTree.parse(tmp_path / "plot.svg").getroot()
    svg = "{http://www.w3.org/2000/svg}"
    assert root.get("viewBox") == f"0 0 {2 * plot.WIDTH} {2 * plot.HEIGHT}" and not list(root.iter(f"{svg}circle"))
    places = [group.get("transform") for group in root.iter(f"{svg}g")]
    assert places == [f"translate({x} {y})" for x, y in ((0, 0), (plot.WIDTH, 0), (0, plot.HEIGHT))]
    line = next(root.iter(f"{svg}polyline")).get("points").split()
    across = [float(point.split(",")[0]) for point in line]
    width = plot.RIGHT - plot.LEFT
    assert across == pytest.approx([plot.LEFT + width * share for share in (0.1, 0.55, 1)], abs=0.2)


@pytest.fixture
def photographs(tmp_path):
    rng = np.random.default_rng(0)
    for side in ("trainA", "trainB"):
        folder = tmp_path / "data" / side
        folder.mkdir(parents=True)
        for number in range(3):
            save_image(folder / f"{number}.png", rng.integers(0, 256, (80, 80, 3), np.uint8))
    return tmp_path / "data"


@pytest.mark.slow
def test_the_fast_path_is_followed_beside_the_exact_one(bench, photographs, tmp_path):
    options = ("--size", "64", "--channels", "8", "--blocks", "1", "--steps", "10", "--folder", str(photographs))
    files = ("--json", str(tmp_path / "curves.json"), "--svg", str(tmp_path / "curves.svg"))
    done = bench("curves", "--threads", "1", *options, *files, "--precision", "bf16", "--device", "cpu")
    assert done.returncode == 0, done.stderr
    rows = rows_of(tmp_path / "curves.json")
    gradients, losses = rows[:4], rows[4:]
    assert all("gradient of" in row["name"] and row["name"].endswith("bf16") for row in gradients)
    assert all(0 < row["more"]["fp32 from float64"] < row["values"]["ours"][0] < 1 for row in gradients)
    assert len(losses) == 8 and all(row["values"].keys() == {"bf16", "fp32", "fp32, another seed"} for row in losses)
    assert all(row["values"]["bf16"] != row["values"]["fp32"] for row in losses), "another arithmetic was at work"
    svg = "{http://www.w3.org/2000/svg}"
    assert len(list(ElementTree.parse(tmp_path / "curves.svg").getroot().iter(f"{svg}polyline"))) == 4 * 3
    refused = bench("curves", *options, "--precision", "fp32")
    assert refused.returncode == 1 and "fp32 is the exact path" in refused.stderr


@pytest.mark.slow
def test_all_gathers_what_the_parts_measured(benchmarks, monkeypatch, tmp_path, capsys):
    everything = importlib.import_module("all")
    (tmp_path / "good.py").write_text(
        f"import sys; sys.path.insert(0, {str(benchmarks)!r})\n"
        "from harness import Row, parser, report\n"
        "args = parser('').parse_args()\n"
        "sys.exit(report([Row('one', 's', {'ours': [2.0] * args.repeats}, '<= 3', 'ours')], args))"
    )
    (tmp_path / "bad.py").write_text("import sys; sys.exit('out of luck')")
    parts = (everything.Part("good", "good.py"), everything.Part("bad", "bad.py"), everything.Part("absent", "x.py"))
    monkeypatch.setattr(everything, "HERE", tmp_path)
    monkeypatch.setattr(everything, "PARTS", (*parts, everything.Part("beside", "good.py", needs_upstream=True)))
    figures, text = tmp_path / "all.json", tmp_path / "all.md"
    monkeypatch.setattr("sys.argv", ["all", "--json", str(figures), "--markdown", str(text), "--repeats", "2"])
    assert everything.main() == 1, "a part has failed"
    found = json.loads(figures.read_text())
    assert [row["values"] for row in found["rows"]] == [{"ours": [2.0, 2.0]}]
    said = text.read_text()
    assert "| one | 2 s |" in said and "bad: failed with 1" in said
    assert "absent: left out: there is no x.py" in said and "beside: left out: needs --upstream PATH" in said
    monkeypatch.setattr("sys.argv", ["all", "--read", str(figures), "--markdown", str(tmp_path / "again.md")])
    assert everything.main() == 0
    assert (tmp_path / "again.md").read_text() == said


def test_the_page_names_benchmarks_that_exist():
    page = (REPOSITORY / "docs/performance.md").read_text()
    named = set(re.findall(r"benchmarks/(\w+)\.py", page))
    assert {"all", "step", "ranks", "growth"} <= named
    owned = ("all", "step", "ranks", "growth", "memory")
    assert all((REPOSITORY / f"benchmarks/{name}.py").is_file() for name in named & set(owned))

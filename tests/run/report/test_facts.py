"""What the tables of a report state, and what they keep to themselves."""

import ast
import os
import platform
from pathlib import Path

import pytest
import torch

from i2i.inference.bundle.bundle import save_bundle
from i2i.run.report import facts
from i2i.run.report.history import read_history
from i2i.run.report.page import write_report
from tests.run.report.pages import read_page, write_log
from tests.run.report.test_pictures import make_run


def table(page, section):
    rows = {}
    cells = page.all("td", inside=page.section(section))
    for head in page.all("th", inside=page.section(section)):
        if head.attributes["scope"] == "row":
            rows[head.text] = next(cell.text for cell in cells if cell.parents[-1] is head.parents[-1])
    return rows


def test_figures_add_up(tmp_path):
    (tmp_path / "config.yaml").write_text("name: x\ntrainer: {steps: 200, batch_size: 4}\n")
    entries = [{"step": s, "epoch": s * 4 / 100, "D": 1 / s, "images_per_second": 2.0} for s in (50, 100)]
    rows = table(read_page(write_report(write_log(tmp_path, entries))), "figures")
    assert rows["Training steps"] == "100 of 200"
    assert rows["Images seen"] == "400"
    assert rows["Epochs"] == "4"
    assert rows["Time spent training"] == "3 min 20 s"  # 400 images at 2 a second


def test_epochs_are_compared_with_those_planned(tmp_path):
    (tmp_path / "config.yaml").write_text("trainer: {epochs: 20}\n")
    rows = table(read_page(write_report(write_log(tmp_path, [{"step": 10, "epoch": 2.5, "D": 1.0}]))), "figures")
    assert (rows["Training steps"], rows["Epochs"]) == ("10", "2.5 of 20")


def test_last_lowest_and_highest_values(tmp_path):
    values = [3.0, 1.5, None, 4.0, 2.0]
    entries = [{"step": 10 * s, "cycle": v, "lr_generator": 1.0, "val_psnr": None} for s, v in enumerate(values)]
    history = read_history(write_log(tmp_path, entries) / "log.jsonl")
    assert facts.extremes(history) == [("cycle", "2", "1.5 (step 10)", "4 (step 30)")]


def test_the_best_model_is_named_with_its_metrics(tmp_path):
    experiment = make_run(tmp_path, "{length: 4}")
    pipeline = experiment.build_pipeline()
    info = experiment.bundle_info(pipeline, 1500, {"psnr_a2b": 21.25, "ssim_a2b": 0.5})
    save_bundle(tmp_path / "best.safetensors", info, pipeline)
    page = read_page(write_report(tmp_path))
    assert table(page, "figures")["Best model"] == "step 1,500: psnr_a2b 21.25, ssim_a2b 0.5"
    assert "--best" in page.section("translate").text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.5, "0.5 s"), (59.0, "59 s"), (60, "1 min 00 s"), (3599.7, "1 h 00 min"), (100_000, "27 h 46 min")],
)
def test_durations_read_well(seconds, text):
    assert facts._duration(seconds) == text


def test_the_environment_is_this_process(tmp_path):
    rows = table(read_page(write_report(tmp_path)), "environment")
    assert rows["PyTorch"] == torch.__version__
    assert rows["Python"] == platform.python_version()
    assert f"{torch.get_num_threads()} threads" in rows["CPU"]
    assert platform.node() not in " ".join(rows.values()).split()


def test_the_home_folder_is_not_told(tmp_path, monkeypatch):
    home = tmp_path / "home/jane"
    run = home / "my runs/1"
    run.mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    make_run(run, "{length: 4}")
    (run / "config.yaml").write_text(
        f"name: x\ndata: {{root: {home}/pictures, other: /mnt{home}/x, more: {home}2/y}}\n"
    )
    page = read_page(write_report(run, notes=[f"{home}/pictures/a.png: is broken", f"{run}/log.jsonl: too"]))
    text = page.section("configuration").text
    assert "root: ~/pictures" in text
    assert f"/mnt{home}/x" in text and f"{home}2/y" in text, "only the home folder itself"
    assert [e.text for e in page.all("li", inside=page.all("ul", "notes")[0])][:2] == [
        "~/pictures/a.png: is broken",
        "log.jsonl: too",
    ]
    code = page.section("translate").text
    assert "translate.py ~/'my runs/1' INPUT OUTPUT --direction a2b" in code
    assert str(home) not in code


def test_commands_work_as_they_stand(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_run(tmp_path / "runs/x y", "{length: 4}")
    page = read_page(write_report(Path("runs/x y")))
    blocks = [e.text for e in page.all("code", inside=page.section("translate")) if e.parents[-1].tag == "pre"]
    assert blocks[:2] == [
        f"python tools/translate.py 'runs/x y' INPUT OUTPUT --direction {direction}\n"
        f"i2i translate 'runs/x y' INPUT OUTPUT --direction {direction}"
        for direction in ("a2b", "b2a")
    ]
    make_photo(tmp_path / "photo.jpg")
    names = {}
    exec(compile(ast.parse(blocks[2]), "report", "exec"), names)
    assert names["result"].shape == (20, 30, 3)


def make_photo(path):
    from PIL import Image

    Image.new("RGB", (30, 20)).save(path)


@pytest.mark.skipif(os.name != "posix", reason="~ is the shell's")
def test_python_finds_a_run_below_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    code = facts.path_code(tmp_path / "runs/1")
    assert "~" in code and str(tmp_path) not in code
    assert eval(code, {"Path": Path}) == tmp_path / "runs/1"

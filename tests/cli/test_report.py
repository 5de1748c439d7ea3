"""The report command, on folders of runs that ended in different ways."""

import json

import pytest

from i2i.cli import main
from tests.run.report.pages import read_page, write_log
from tests.run.report.test_pictures import make_run


def report(*arguments):
    return main("report", [str(argument) for argument in arguments])


def notes_of(page):
    lists = page.all("ul", "notes")
    return [e.text for e in page.all("li", inside=lists[0])] if lists else []


def test_a_run_folder_gets_its_page(tmp_path, capsys):
    make_run(tmp_path, "{length: 10}")
    write_log(tmp_path, [{"step": 5, "D_X": 0.5}])
    assert report(tmp_path, "--device", "cpu") == 0
    assert capsys.readouterr().out == f"{tmp_path / 'report.html'}\n"
    page = read_page(tmp_path / "report.html")
    assert len(page.all("figure", "pair")) == 8
    assert notes_of(page) == []


@pytest.mark.parametrize("count", [0, 1])
def test_the_number_of_pictures_is_the_users(tmp_path, count):
    make_run(tmp_path, "{length: 10}")
    assert report(tmp_path, "--pictures", count, "--device", "cpu") == 0
    assert len(read_page(tmp_path / "report.html").all("figure", "pair")) == 2 * count


def test_a_run_killed_before_its_first_checkpoint_has_curves(tmp_path):
    make_run(tmp_path, "{length: 10}")
    (tmp_path / "model.safetensors").unlink()
    write_log(tmp_path, [{"step": 5, "D_X": 0.5}, '{"step": 10, "D_'])
    assert report(tmp_path) == 0
    page = read_page(tmp_path / "report.html")
    assert any(note.startswith("no pictures could be made: ") for note in notes_of(page))
    assert "model.safetensors is missing: the run ended before its first checkpoint" in notes_of(page)
    assert "1 line of log.jsonl could not be read" in notes_of(page)
    assert len(page.all("figure", "chart")) == 1


def test_without_its_data_a_run_keeps_everything_else(tmp_path):
    make_run(tmp_path, "{length: 10}")
    config = json.dumps({"type": "unpaired", "root": str(tmp_path / "gone")})
    text = (tmp_path / "config.yaml").read_text().partition("data:")[0]
    (tmp_path / "config.yaml").write_text(f"{text}data: {config}\n")
    assert report(tmp_path, "--device", "cpu") == 0
    page = read_page(tmp_path / "report.html")
    note = notes_of(page)[0]
    assert note.startswith("no pictures could be made: ") and "gone" in note
    assert page.section("translate") and page.section("configuration")


def test_a_damaged_config_is_noted(tmp_path):
    make_run(tmp_path, "{length: 10}")
    (tmp_path / "config.yaml").write_text("name: [\n")
    assert report(tmp_path) == 0
    notes = notes_of(read_page(tmp_path / "report.html"))
    assert notes[0].startswith("no pictures could be made: config.yaml:2: not valid YAML")
    assert notes[1].startswith("config.yaml could not be read: config.yaml:2: not valid YAML")


@pytest.mark.parametrize("name", ["nothing", "empty"])
def test_what_is_no_run_folder_is_refused(tmp_path, capsys, name):
    (tmp_path / "empty").mkdir()
    assert report(tmp_path / name) == 2
    assert capsys.readouterr().err == f"{tmp_path / name}: not a run folder, which holds config.yaml and log.jsonl\n"
    assert not list(tmp_path.rglob("report.html"))


def test_a_negative_number_of_pictures_is_refused(tmp_path, capsys):
    make_run(tmp_path, "{length: 10}")
    assert report(tmp_path, "--pictures=-1") == 2
    assert capsys.readouterr().err == "--pictures must be at least 0, got -1\n"


def test_an_unwritable_page_is_told_in_a_line(tmp_path, capsys):
    make_run(tmp_path, "{length: 10}")
    (tmp_path / "report.html").mkdir()
    assert report(tmp_path, "--pictures", 0) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"{tmp_path}: the report cannot be written: ") and error.count("\n") == 1


def test_a_failure_of_the_data_does_not_fail_the_report(tmp_path, monkeypatch):
    experiment = make_run(tmp_path, "{length: 10}")
    from i2i.run.report.run import report_run

    def get(*_):
        raise RuntimeError("out of luck")

    monkeypatch.setattr(type(experiment.dataset), "get", get)
    page = read_page(report_run(experiment, tmp_path, "cpu"))
    assert "no pictures could be made: RuntimeError: out of luck" in notes_of(page)

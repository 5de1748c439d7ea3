"""Every YAML in bad_configs is refused with the message in its first line, before anything is trained."""

from pathlib import Path

import pytest

from i2i.cli import main

FOLDER = Path(__file__).parent / "bad_configs"
CONFIGS = sorted(FOLDER.glob("*.yaml"))


def test_the_folder_has_configs():
    assert len(CONFIGS) > 30


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_message(path, capsys, tmp_path):
    expected = path.read_text().splitlines()[0].removeprefix("# ")
    code = main("train", [str(path), "--out", str(tmp_path / "run")])
    error = capsys.readouterr().err
    assert code == 2
    assert any(f"{FOLDER}/{expected}" in line for line in error.splitlines()), error
    assert "Traceback" not in error
    assert not (tmp_path / "run").exists()


def test_all_problems_are_shown_at_once(capsys):
    code = main(
        "train",
        [
            str(FOLDER / "unknown_key.yaml"),
            "generator.num_blocks=x",
            "losses.cycle.weight=-1",
            "data.length=0.5",
            "optimizer={type: adam, lr: fast}",
        ],
    )
    error = capsys.readouterr().err
    assert code == 2
    for place in ("trainr", "generator.num_blocks", "losses.cycle.weight", "data.length", "optimizer.lr"):
        assert f"{place}: " in error
    assert "<command line> generator.num_blocks: expected an integer" in error


def test_all_ranges_of_the_trainer_are_shown_at_once(capsys):
    arguments = ["trainer.steps=-1", "trainer.batch_size=0", "trainer.log_every=0", "trainer.seed=-1"]
    assert main("train", [str(FOLDER / "base.yml"), *arguments]) == 2
    error = capsys.readouterr().err
    for name in ("steps", "batch_size", "log_every", "seed"):
        assert f"<command line> trainer.{name}: {name} must be at least" in error


def test_the_base_they_extend_is_good(capsys):
    assert main("train", [str(FOLDER / "base.yml"), "--dry-run", "--no-measure"]) == 0

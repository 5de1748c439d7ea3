"""verify-resume: a proof for a user's own configuration."""

import json

import pytest

from i2i.cli import main
from i2i.run.proof.resume import Proof, Verdict
from tests.run.test_run import TINY, UNET

# Its own generator goes on from where the last item left it: a resumed run draws other numbers.
STATEFUL = """
import i2i, numpy as np, torch

@i2i.DATASETS.register("stateful")
class Stateful:
    def __init__(self):
        self.channels, self.rng, self.paired = {"a": 3, "b": 3}, np.random.default_rng(0), True
    def __len__(self):
        return 4
    def get(self, index, rng):
        pixels = torch.from_numpy(self.rng.uniform(-1, 1, (2, 3, 32, 32)).astype(np.float32))
        return {"a": pixels[0], "b": pixels[1], "a_path": "a", "b_path": "b"}
"""


@pytest.fixture
def verify(repository):
    def run(*arguments, config="cyclegan"):
        tiny = TINY if config == "cyclegan" else [o for o in UNET if not o.startswith("data.")]
        return main(None, ["verify-resume", str(repository / f"configs/tiny/{config}.yaml"), *tiny, *arguments])

    return run


@pytest.mark.slow
def test_a_shipped_config_resumes_exactly(verify, tmp_path, capsys):
    validation = "validation={split: test, every: 100, metrics: [psnr], best: psnr}"
    code = verify("--steps", "6", "--kills", "4", "--out", str(tmp_path / "kept"), validation, "trainer.ema=0.9")
    output = capsys.readouterr().out
    assert code == 0, output
    assert "resume is exact: 4 kills, " in output and "half-written" in output
    assert output.count("\nkill ") == 4
    entries = [json.loads(line) for line in (tmp_path / "kept/killed/log.jsonl").read_text().splitlines()]
    assert [entry["step"] for entry in entries if "epoch" in entry] == list(range(1, 7))
    assert any("val_psnr_a2b" in entry for entry in entries), "validation comes within the few steps"
    assert (tmp_path / "kept/killed.out").read_text().count("resumed at step") >= 2


@pytest.mark.slow
def test_a_data_set_with_random_numbers_of_its_own_is_found_out(verify, tmp_path, capsys):
    plugin = tmp_path / "stateful.py"
    plugin.write_text(STATEFUL)
    code = verify("--steps", "6", f"plugins=[{plugin}]", "data={type: stateful}", "--kills", "2", config="pix2pix")
    output = capsys.readouterr().out
    assert code == 1, output
    assert "resume is not exact: after 2 kills" in output and "log.jsonl, from step" in output
    assert "networks.G." in output and "the rng that get(index, rng) receives" in output


@pytest.mark.slow
def test_runs_that_never_repeat_are_told_apart_from_a_broken_resume(verify, tmp_path, capsys):
    plugin = tmp_path / "stateful.py"
    plugin.write_text(STATEFUL.replace("default_rng(0)", "default_rng()").replace("stateful", "unseeded"))
    arguments = ["--steps", "2", "--kills", "1", f"plugins=[{plugin}]", "data={type: unseeded}"]
    assert verify(*arguments, config="pix2pix") == 1
    assert "not deterministic here: two runs that nobody killed differ, too" in capsys.readouterr().out


@pytest.mark.slow
def test_data_that_are_not_there_are_told_as_train_tells_it(repository, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main("verify_resume", [str(repository / "configs/cyclegan_horse2zebra.yaml"), "trainer.device=cpu"]) == 2
    captured = capsys.readouterr()
    assert "data.root: no folder" in captured.err and "prepare_data.py horse2zebra" in captured.err
    assert "exact" not in captured.out and not list(tmp_path.iterdir())


def test_a_wrong_config_is_told_once_with_its_place(verify, capsys):
    assert verify("generator.num_blocs=3") == 2
    captured = capsys.readouterr()
    assert captured.err.count("unknown key") == 1 and "did you mean 'num_blocks'" in captured.err
    assert not captured.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--steps", "1"], "--steps must be at least 2, got 1"),
        (["--steps", "4", "--kills", "4"], "--kills must be at least 1 and below --steps 4, got 4"),
        (["--kills", "0"], "--kills must be at least 1"),
        (["--out", ""], "--out: is empty"),
        (["other.yaml"], "expected one CONFIG, got "),
    ],
)
def test_options_out_of_range_are_told(verify, capsys, arguments, message):
    assert verify(*arguments) == 2
    assert message in capsys.readouterr().err


def test_a_folder_in_use_is_left_alone(verify, tmp_path, capsys):
    (tmp_path / "mine").write_text("")
    assert verify("--out", str(tmp_path)) == 2
    assert "is not an empty folder" in capsys.readouterr().err


def test_under_a_launcher_it_is_refused(verify, monkeypatch, capsys):
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert verify() == 2
    assert "without torchrun" in capsys.readouterr().err


def test_kills_come_inside_and_outside_of_writes_all_over_the_run(repository, tmp_path):
    proof = Proof(str(repository / "configs/tiny/cyclegan.yaml"), TINY, 20, 9, print)
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints/step_00000020.safetensors").write_bytes(bytes(1000))
    (tmp_path / "model.safetensors").write_bytes(bytes(400))
    moments = proof.moments(tmp_path)
    assert [moment.step for moment in moments] == list(range(2, 20, 2))
    assert {(m.point, m.folder, m.size) for m in moments} >= {("half", "checkpoints", 500), ("half", ".", 200)}
    assert sum(moment.point == "step" for moment in moments) == 2


def test_only_the_first_differences_are_shown(verify, monkeypatch, capsys):
    monkeypatch.setattr(Proof, "carry_out", lambda *_: Verdict(3, 20, [f"w.{i}: differs" for i in range(11)]))
    assert verify() == 1
    output = capsys.readouterr().out
    assert "w.7: differs" in output and "w.8" not in output and "and 3 more" in output

"""Trackers hear of a run through an entry point, and cannot end it."""

import json

import pytest

import i2i
from tests.run.test_run import log_of, train

PLUGIN = """
import json
from pathlib import Path
import i2i

@i2i.TRACKERS.register("to_file_NAME")
class ToFile:
    def __init__(self, path: str, fails_at: int = 0) -> None:
        self.path, self.fails_at = Path(path), fails_at
        self.note("made")
    def note(self, *what):
        with self.path.open("a") as file:
            file.write(json.dumps(what) + "\\n")
    def on_start(self, name, config, folder):
        self.note("start", name, config["trainer"]["steps"], str(folder))
    def on_log(self, step, values):
        if step == self.fails_at:
            raise ConnectionError("the server is gone")
        self.note("log", step, values)
    def on_images(self, step, grid):
        self.note("images", step, str(grid.dtype), grid.ndim)
    def on_end(self):
        self.note("end")

@i2i.TRACKERS.register("mute_NAME")
class Mute:
    pass
"""


@pytest.fixture
def plugin(tmp_path, request):
    name = f"{abs(hash(request.node.name))}"
    path = tmp_path / "tracker.py"
    path.write_text(PLUGIN.replace("NAME", name))
    return path, name


def heard(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_tracker_hears_what_the_log_says(repository, tmp_path, plugin):
    file, name = plugin
    notes = tmp_path / "notes.jsonl"
    arguments = ["trainer.steps=4", "trainer.sample_every=4", f"plugins=[{file}]"]
    arguments += [f"trackers=[{{type: to_file_{name}, path: {notes}}}]", "validation={split: test, every: 4, count: 2}"]
    assert train(repository, tmp_path / "run", *arguments) == 0
    events = heard(notes)
    assert events[0] == ["made"] and events[1] == ["start", "cyclegan", 4, str(tmp_path / "run")]
    assert events[-1] == ["end"] and ["images", 4, "uint8", 3] in events
    logs = [(event[1], event[2]) for event in events if event[0] == "log"]
    told = {(step, key): value for step, values in logs for key, value in values.items()}
    for entry in log_of(tmp_path / "run"):
        step = entry.pop("step")
        for key, value in entry.items():
            assert told[step, key] == pytest.approx(value, rel=1e-4), key
    assert any(key.startswith("val_psnr") for _, key in told)


def test_a_tracker_that_fails_is_named_and_the_run_goes_on(repository, tmp_path, plugin, capsys):
    file, name = plugin
    notes = tmp_path / "notes.jsonl"
    node = f"trackers=[{{type: to_file_{name}, path: {notes}, fails_at: 2}}]"
    assert train(repository, tmp_path / "run", "trainer.steps=4", f"plugins=[{file}]", node) == 0
    shown = capsys.readouterr().out
    assert f"tracker to_file_{name}: on_log fails" in shown and "the server is gone" in shown
    assert [event[1] for event in heard(notes) if event[0] == "log"] == [1], "it is not asked again"


def test_a_tracker_hears_the_end_of_a_run_that_fails(repository, tmp_path, plugin):
    file, name = plugin
    notes = tmp_path / "notes.jsonl"
    node = f"trackers=[{{type: to_file_{name}, path: {notes}}}]"
    diverging = ["optimizer.lr=1e30", "trainer.steps=9"]
    assert train(repository, tmp_path / "run", *diverging, f"plugins=[{file}]", node) == 1
    assert heard(notes)[-1] == ["end"]


def test_a_tracker_that_cannot_start_is_left_out(repository, tmp_path, plugin, capsys):
    file, name = plugin
    node = f"trackers=[{{type: to_file_{name}, path: {tmp_path}}}]"  # a folder
    assert train(repository, tmp_path / "run", "trainer.steps=1", f"plugins=[{file}]", node) == 0
    assert f"tracker to_file_{name}: starting fails" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("trackers", "place", "message"),
    [
        ("[{type: to_fle_NAME, path: x}]", "trackers.0.type", "did you mean 'to_file_NAME'?"),
        ("[{type: to_file_NAME}]", "trackers.0", "needs 'path'"),
        ("[{type: mute_NAME}]", "trackers.0.type", "no method on_log"),
        ("{type: to_file_NAME}", "trackers", "expected a list"),
    ],
)
def test_mistakes_are_placed(repository, tmp_path, plugin, capsys, trackers, place, message):
    file, name = plugin
    node = f"trackers={trackers.replace('NAME', name)}"
    assert train(repository, tmp_path / "run", "trainer.steps=1", f"plugins=[{file}]", node) == 2
    shown = capsys.readouterr().err
    assert f"<command line> {place}" in shown and message.replace("NAME", name) in shown, shown


def test_training_from_python(repository, tmp_path):
    document = {
        "name": "from_python",
        "pipeline": {"type": "pix2pix"},
        "generator": {"type": "unet", "num_downsamplings": 3, "base_channels": 4},
        "discriminator": {"type": "patchgan", "num_layers": 1, "base_channels": 4},
        "losses": {"adversarial": {"type": "lsgan"}, "reconstruction": {"type": "l1", "weight": 100}},
        "data": {"type": "synthetic", "size": 32, "length": 8, "paired": True},
        "trainer": {"steps": 9, "batch_size": 2},
    }
    folder = i2i.train(document, ["trainer.steps=2"], out=tmp_path / "run")
    assert folder == tmp_path / "run" and log_of(folder)[-1]["step"] == 2
    model = i2i.Translator.load(folder)
    assert model.info.name == "from_python"
    assert i2i.train(document, ["trainer.steps=2"], out=folder, resume="auto") == folder, "finished already"
    with pytest.raises(i2i.I2IError, match="already holds a run"):
        i2i.train(document, ["trainer.steps=2"], out=folder)
    with pytest.raises(i2i.ConfigError, match=r"<config> generator.type: no generator is named 'unett'"):
        i2i.train(document | {"generator": {"type": "unett"}}, out=tmp_path / "other")
    stopped = i2i.train(repository / "configs/tiny/pix2pix.yaml", out=tmp_path / "short", max_hours=1e-9)
    assert log_of(stopped) == [] and (stopped / "model.safetensors").exists(), "stopped after a step"

"""The proof that ``--resume auto`` is exact for a configuration: some steps undisturbed, the same steps with kills."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path

from i2i.core.errors import I2IError
from i2i.run.experiment import Experiment
from i2i.run.proof.comparison import Comparison, compare_runs
from i2i.run.proof.moments import Moment, Point, was_killed
from i2i.training.checkpoints import Checkpoints
from i2i.training.precision import pick_device

POINTS: tuple[tuple[Point, str], ...] = (
    ("half", "checkpoints"),
    ("step", "checkpoints"),
    ("rename", "checkpoints"),
    ("half", "."),
)
IMAGES_TO_MEASURE = 8


@dataclass
class Verdict:
    """What came out.

    Attributes:
        kills: How often the run was killed.
        tensors: How many were compared.
        differences: From the run that nobody killed; none where resuming is exact.
        is_unstable: Whether already two runs that nobody kills differ.
    """

    kills: int
    tensors: int
    differences: list[str]
    is_unstable: bool = False


class Proof:
    """Trains a configuration with and without kills, each time in new processes, and compares.

    Args:
        config: The YAML.
        overrides: ``key.path=value``.
        steps: Length of the runs, at least 2.
        kills: How many, at least 1 and fewer than steps.
        report: Receives lines for the user.

    Raises:
        I2IError: The configuration is wrong, or a number out of range.
    """

    def __init__(
        self, config: str, overrides: Sequence[str], steps: int, kills: int, report: Callable[[str], None]
    ) -> None:
        if os.name != "posix":
            raise I2IError("verify-resume: needs Linux or macOS, whose processes can be killed at any moment")
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            raise I2IError("verify-resume: starts its processes itself, run it without torchrun")
        if steps < 2:
            raise I2IError(f"--steps must be at least 2, got {steps}")
        if not 1 <= kills < steps:
            raise I2IError(f"--kills must be at least 1 and below --steps {steps}, got {kills}")
        self.every = max(1, steps // 6)
        self.experiment = experiment = Experiment.load(config, overrides)
        self.config, self.steps, self.kills, self.report = config, steps, kills, report
        self.overrides = [*overrides, *self._shortened(experiment)]
        Experiment.load(config, self.overrides)

    def _shortened(self, experiment: Experiment) -> list[str]:
        """Overrides that bring what a long run meets now and then into a few steps."""
        every = dict.fromkeys(("trainer.checkpoint_every", "trainer.sample_every"), self.every)
        values = {"trainer.steps": self.steps, "trainer.log_every": 1, **every}
        if experiment.held_out is not None:
            count = min(experiment.held_out.settings.count or IMAGES_TO_MEASURE, IMAGES_TO_MEASURE)
            values |= {"validation.every": self.every, "validation.count": count}
        return [f"{key}={value}" for key, value in values.items()]

    def carry_out(self, out: Path | None) -> Verdict:
        """Runs the proof.

        Args:
            out: Where the runs are kept; a temporary folder by default.

        Raises:
            I2IError: The folder is in use, or the run that nobody kills fails by itself.
        """
        if out is not None and out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise I2IError(f"--out {out}: is not an empty folder")
        with tempfile.TemporaryDirectory(prefix="i2i_") if out is None else nullcontext(str(out)) as place:
            home = Path(place).absolute()
            self._undisturbed(home / "whole", f"{self.steps} steps without a kill, a checkpoint every {self.every}")
            kills, compared = self._with_kills(home)
            is_unstable = False
            if compared.differences:
                self._undisturbed(home / "again", "the runs differ; once more without a kill")
                is_unstable = bool(compare_runs(home / "whole", home / "again").differences)
            return Verdict(kills, compared.tensors, compared.differences, is_unstable)

    def _undisturbed(self, folder: Path, message: str) -> None:
        self.report(message)
        code, said = self._train(folder, None)
        if code == 2:
            raise I2IError(said)
        if code:
            raise I2IError(f"already without a kill, the run ends with exit code {code}", said.splitlines())

    def _with_kills(self, home: Path) -> tuple[int, Comparison]:
        folder, kills = home / "killed", 0
        for moment in self.moments(home / "whole"):
            self.report(f"kill {kills + 1} of {self.kills}: {moment}")
            code, said = self._train(folder, moment)
            if not was_killed(code):
                return kills, Comparison(differences=[f"--resume auto ended with exit code {code}: {said}"])
            kills += 1
        self.report("to the end")
        code, said = self._train(folder, None)
        if code:
            return kills, Comparison(differences=[f"--resume auto ended with exit code {code}: {said}"])
        return kills, compare_runs(home / "whole", folder)

    def moments(self, whole: Path) -> list[Moment]:
        """Spreads the kills over the run, by turns inside of writes and between them."""
        newest = Checkpoints(whole / "checkpoints").paths()[0]
        sizes = {"checkpoints": newest.stat().st_size, ".": (whole / "model.safetensors").stat().st_size}
        moments = []
        for number in range(self.kills):
            point, folder = POINTS[number % len(POINTS)]
            step = max(1, (number + 1) * self.steps // (self.kills + 1))
            moments.append(Moment(step, point, folder, sizes[folder] // 2))
        return moments

    def reasons(self, is_unstable: bool) -> list[str]:
        """What usually makes runs differ, as far as the configuration tells."""
        settings, reasons = self.experiment.settings, []
        if pick_device(settings.device).type != "cpu" and not settings.deterministic:
            reasons.append("kernels of a GPU that do not repeat their results: trainer.deterministic=true")
        if hasattr(self.experiment.dataset, "get"):
            reasons.append("a data set that draws from another generator than the rng that get(index, rng) receives")
        else:
            reasons.append("a data set that draws from a generator of its own: give it get(index, rng)")
        if not is_unstable:
            reasons.append("a component whose state is neither parameter nor buffer, such as a counter in an attribute")
        return reasons

    def _train(self, folder: Path, moment: Moment | None) -> tuple[int, str]:
        """Trains in a process of its own; returns its exit status, and its errors or what it said last."""
        folder.parent.mkdir(parents=True, exist_ok=True)
        told = {
            "config": self.config,
            "overrides": self.overrides,
            "folder": str(folder),
            "moment": asdict(moment) if moment else None,
        }
        paths = [str(Path(__file__).resolve().parents[3]), os.environ.get("PYTHONPATH", "")]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
        command = [sys.executable, "-m", "i2i.run.proof.child", json.dumps(told)]
        errors = folder.with_name(f"{folder.name}.err")
        # Files, no pipes: a killed process's loaders would keep a pipe open for seconds.
        output = folder.with_name(f"{folder.name}.out")
        with output.open("ab") as said, errors.open("wb") as complaints:
            done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=said, stderr=complaints, env=environment)
        last = output.read_text(errors="replace").splitlines()[-2:]
        return done.returncode, errors.read_text(errors="replace").strip() or "\n".join(last)

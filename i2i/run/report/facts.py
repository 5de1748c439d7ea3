"""What a report states in tables: figures of the run, and the machine it ran on."""

import os
import platform
import re
import shlex
import subprocess
from pathlib import Path

import torch

from i2i.core.plugins import installed_version
from i2i.inference.bundle.bundle import BundleInfo
from i2i.run.report.axes import format_number
from i2i.run.report.history import History, Series, group_of

Rows = list[tuple[str, str]]


def describe_run(
    history: History, trainer: dict[str, object], model: BundleInfo | None, best: BundleInfo | None
) -> Rows:
    """Returns the run's figures.

    Args:
        history: Its log.
        trainer: The configuration's ``trainer``.
        model: Of ``model.safetensors``.
        best: Of ``best.safetensors``.
    """
    step = max(history.step, model.step if model else 0)
    steps, epochs, batch_size = (_integer(trainer.get(key)) for key in ("steps", "epochs", "batch_size"))
    rows = [("Training steps", f"{step:,} of {steps:,}" if steps else f"{step:,}")]
    if history.epoch is not None:
        rows.append(("Epochs", f"{history.epoch:.4g}" + (f" of {epochs:,}" if epochs and not steps else "")))
    images = step * (batch_size or 1)
    rows.append(("Images seen", f"{images:,}"))
    seconds = history.seconds(batch_size or 1)
    if seconds is not None:
        rows.append(("Time spent training", _duration(seconds)))
    if model:
        rows.append(("Model written at step", f"{model.step:,}"))
    if best:
        metrics = ", ".join(f"{name} {format_number(value)}" for name, value in best.metrics.items())
        rows.append(("Best model", f"step {best.step:,}" + (f": {metrics}" if metrics else "")))
    return rows


def extremes(history: History) -> list[tuple[str, str, str, str]]:
    """Returns name, last value, lowest and highest, with their steps, of each loss, accuracy and metric."""
    wanted = [name for name in history.series if group_of(name) in ("losses", "accuracy", "metrics")]
    return [(name, *_extremes(history.series[name])) for name in wanted if history.series[name].finite]


def _extremes(series: Series) -> tuple[str, str, str]:
    lowest = min(series.finite, key=lambda point: point[1])
    highest = max(series.finite, key=lambda point: point[1])
    at = [f"{format_number(value)} (step {step:,})" for step, value in (lowest, highest)]
    return format_number(series.finite[-1][1]), at[0], at[1]


def describe_environment() -> Rows:
    """Returns versions and hardware of this process; no paths, no names of users or machines."""
    rows = [
        ("i2i", (installed_version("i2i") or "not installed") + _commit()),
        ("PyTorch", torch.__version__),
        ("Python", platform.python_version()),
        ("System", f"{platform.system()} {platform.release()} {platform.machine()}"),
        ("CPU", f"{_cpu()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads"),
    ]
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
        rows.append(("GPU", ", ".join(f"{names.count(name)} x {name}" for name in dict.fromkeys(names))))
        rows.append(("CUDA", str(torch.version.cuda)))
    else:
        rows.append(("GPU", "Apple, through Metal" if torch.backends.mps.is_available() else "none"))
    return rows


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _commit() -> str:
    """The commit of the checkout that this code is from, if it is from one."""
    home = Path(__file__).resolve().parents[3]
    if not (home / ".git").exists():  # an installed package may lie inside the checkout of something else
        return ""
    try:
        commit = _git(home, "rev-parse", "--short=12", "HEAD")
        changed = _git(home, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return ""
    return f", commit {commit}" + (" with changes" if changed else "")


def _git(home: Path, *arguments: str) -> str:
    command = ["git", "--no-optional-locks", "-C", str(home), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=5, check=True).stdout.strip()


def without_home(text: str) -> str:
    """Writes ``~`` for the user's home folder, whose name is theirs alone."""
    home = str(Path.home())
    if len(home) < 2:
        return text
    return re.sub(rf"(?<![\w.~/\\-]){re.escape(home)}(?=[/\\])", "~", text)


def shown_path(path: Path) -> str:
    """Writes a path as one would on a command line: from here, from home or from the root, quoted where needed."""
    path = path.absolute()
    if path.is_relative_to(Path.cwd()):
        return shlex.quote(str(path.relative_to(Path.cwd())))
    if path.is_relative_to(Path.home()) and path != Path.home():
        return "~/" + shlex.quote(str(path.relative_to(Path.home())))
    return shlex.quote(str(path))


def path_code(path: Path) -> str:
    """Writes a path as Python code, likewise."""
    path = path.absolute()
    if path.is_relative_to(Path.home()) and not path.is_relative_to(Path.cwd()):
        return f"Path({str(Path('~') / path.relative_to(Path.home()))!r}).expanduser()"
    return repr(str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path))


def _integer(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def _duration(seconds: float) -> str:
    hours, rest = divmod(round(seconds), 3600)
    minutes, rest = divmod(rest, 60)
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{seconds:.3g} s"

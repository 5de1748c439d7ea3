"""What the benchmarks share: interleaved runs in child processes, rows with their goals, Markdown and JSON.

A benchmark makes its rows and reports them:

    args = parser(__doc__).parse_args()
    runs = measure({"ours": lambda: child(ours), "original": lambda: child(theirs)}, args.repeats, warm_up=1)
    report([Row("start", "s", column(runs, "seconds"), goal=">= 2.0")], args)

A child prints one line with ``answer``. What takes long to prepare runs as a ``Child`` instead, which stays, says
``answer`` for each line that it reads (``serve``), and is measured as often as one likes.
"""

import argparse
import contextlib
import json
import operator
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from hardware import ROOT, cores, machine

Figures = dict[str, Any]
_MARK = '{"figures": '
_JUDGES = {">=": operator.ge, "<=": operator.le}


@dataclass
class Row:
    """One row of the table.

    Attributes:
        name: What is measured.
        unit: Of the values.
        values: Contestant -> one value a run; ours first, then the baseline, in the order of the runs.
        goal: ``>= 2.0`` or ``<= 0.3``: what the figure should be.
        figure: What the goal speaks of: ``baseline/ours``, ``ours/baseline``, or ``ours``, the median itself.
        limit: The best that the figure can be, as far as is known.
        note: What a reader must know.
        more: Other figures, for the JSON.
    """

    name: str
    unit: str
    values: dict[str, list[float]]
    goal: str = ""
    figure: str = "baseline/ours"
    limit: float | None = None
    note: str = ""
    more: Figures = field(default_factory=dict)

    def medians(self) -> dict[str, float]:
        return {name: statistics.median(values) for name, values in self.values.items() if values}

    def result(self) -> tuple[float, float, float] | None:
        """Returns the figure of the medians, and the lowest and highest of runs side by side; None if not measured."""
        medians = list(self.medians().values())
        if len(medians) < (1 if self.figure == "ours" else 2):
            return None
        runs = list(zip(*list(self.values.values())[: len(medians)], strict=False))
        each = [self._figure(run) for run in runs]
        return self._figure(medians), min(each), max(each)

    def _figure(self, values: Sequence[float]) -> float:
        if self.figure == "ours":
            return values[0]
        return values[1] / values[0] if self.figure == "baseline/ours" else values[0] / values[1]

    @property
    def is_met(self) -> bool | None:
        """Whether the goal is met; None where there is no goal, or no figure."""
        result, (sign, _, number) = self.result(), self.goal.partition(" ")
        return bool(_JUDGES[sign](result[0], float(number))) if result and number else None

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "medians": self.medians(), "result": self.result(), "met": self.is_met}


def parser(doc: str, repeats: int = 5) -> argparse.ArgumentParser:
    """Returns a parser with the options that all benchmarks have."""
    made = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    made.add_argument("--markdown", type=Path, metavar="FILE", help="write the table there, too")
    made.add_argument("--upstream", type=Path, metavar="PATH", help="a checkout of the original, to compare with")
    made.add_argument("--repeats", type=int, default=repeats, help=f"runs of each, interleaved (default: {repeats})")
    made.add_argument("--quick", action="store_true", help="less work, for a look; not for figures")
    made.add_argument("--threads", type=int, default=cores(), help="of torch in each process (default: all cores)")
    made.add_argument("--only", default="", metavar="TEXT", help="the rows whose name holds this")
    return made


def measure(
    contestants: Mapping[str, Callable[[], Figures]], repeats: int, warm_up: int = 0
) -> dict[str, list[Figures]]:
    """Runs contestants in turns, a b, b a, a b; the first ``warm_up`` turns are left out."""
    runs: dict[str, list[Figures]] = {name: [] for name in contestants}
    for turn in range(warm_up + repeats):
        for name in list(contestants)[:: -1 if turn % 2 else 1]:
            figures = contestants[name]()
            if turn >= warm_up:
                runs[name].append(figures)
    return runs


def column(runs: Mapping[str, Sequence[Figures]], key: str) -> dict[str, list[float]]:
    """Picks one of the figures of each run."""
    return {name: [float(figures[key]) for figures in done] for name, done in runs.items()}


def answer(figures: Figures) -> None:
    """Prints what a child has measured."""
    print(_MARK + json.dumps(figures) + "}", flush=True)


def serve(take: Callable[[], Figures]) -> None:
    """Answers each line of stdin with a measurement, as a ``Child``."""
    for _ in sys.stdin:
        answer(take())


def child(command: Sequence[str], threads: int | None = None, **environment: str) -> Figures:
    """Runs a command to its end and returns its answer."""
    with Child(command, threads, **environment) as running:
        return running()


class Child:
    """A process that measures when it is asked.

    Args:
        command: Python's arguments, the script first; from the repository's root.
        threads: Of torch, numpy and OpenMP; as the environment says by default.
        environment: More variables.
    """

    def __init__(self, command: Sequence[str], threads: int | None = None, **environment: str) -> None:
        limits = {f"{name}_NUM_THREADS": str(threads) for name in ("OMP", "MKL", "OPENBLAS") if threads}
        self.command = [sys.executable, *map(str, command)]
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115  # closed when the process ends
        self._process = subprocess.Popen(
            self.command,
            cwd=ROOT,
            env={**os.environ, "NO_ALBUMENTATIONS_UPDATE": "1", **limits, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )

    def __call__(self) -> Figures:
        """Measures once.

        Raises:
            SystemExit: The child has failed; says what it said.
        """
        assert self._process.stdin and self._process.stdout
        with contextlib.suppress(BrokenPipeError):  # one that answers only once may have gone
            self._process.stdin.write("\n")
            self._process.stdin.flush()
        for line in self._process.stdout:
            if line.startswith(_MARK):
                figures: Figures = json.loads(line)["figures"]
                return figures
        self._process.wait()
        self._errors.seek(0)
        raise SystemExit(f"{' '.join(self.command)}\nended with {self._process.returncode}\n{self._errors.read()}")

    def __enter__(self) -> "Child":
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._process.communicate()  # the end of its stdin ends it
        self._errors.close()


def report(rows: Sequence[Row], args: argparse.Namespace) -> int:
    """Prints the table, writes it where ``args`` says so, and returns the exit code, which is 0: goals are no tests."""
    where = machine(args.threads)
    text = f"{describe(where)}\n\n{table(rows)}"
    print(text, flush=True)
    if args.json:
        args.json.write_text(json.dumps({"machine": where, "rows": [row.as_json() for row in rows]}, indent=1) + "\n")
    if args.markdown:
        args.markdown.write_text(text + "\n")
    return 0


def describe(where: Mapping[str, Any]) -> str:
    """Returns a machine in one line."""
    return ", ".join(f"{key} {value}" for key, value in where.items())


def table(rows: Sequence[Row]) -> str:
    """Returns rows as Markdown."""
    lines = ["| row | ours | baseline | figure | goal | limit | met | note |", "|---|---|---|---|---|---|---|---|"]
    for row in rows:
        medians, result = list(row.medians().items()), row.result()
        ours = f"{medians[0][1]:.4g} {row.unit}" if medians else ""
        baseline = f"{medians[1][1]:.4g} {row.unit} ({medians[1][0]})" if len(medians) > 1 else ""
        figure = f"{result[0]:.3g} ({result[1]:.3g} to {result[2]:.3g})" if result else "not measured"
        met = {None: "", True: "yes", False: "no"}[row.is_met]
        cells = [row.name, ours, baseline, figure, row.goal, "" if row.limit is None else f"{row.limit:.3g}", met]
        lines.append(f"| {' | '.join([*cells, row.note])} |")
    return "\n".join(lines)

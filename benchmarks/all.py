"""Measures every row of docs/performance.md, one benchmark after the other, and gathers their figures.

python benchmarks/all.py --upstream PATH --json bench.json --markdown bench.md
python benchmarks/all.py --parts ranks startup
python benchmarks/all.py --read bench.json gpu.json --markdown both.md

Each row can be had by itself: python benchmarks/PART.py --help. Rows that compare with the original need --upstream,
a checkout of pytorch-CycleGAN-and-pix2pix; without, they are left out. A part that fails does not end the others.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from hardware import ROOT, cores, machine
from harness import Row, describe, parser, table

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Part:
    """One benchmark.

    Attributes:
        name: Of the part.
        file: Its script.
        options: Of its command line.
        needs_upstream: Whether it measures nothing without the original.
    """

    name: str
    file: str
    options: tuple[str, ...] = ()
    needs_upstream: bool = False


PARTS = (
    Part("step", "step.py", ("--repeats", "2"), needs_upstream=True),
    Part("images", "step.py", ("--images", "--repeats", "1"), needs_upstream=True),
    Part("folder", "folder.py", ("--repeats", "2"), needs_upstream=True),
    Part("data", "data.py", ("--repeats", "2")),
    Part("startup", "startup.py", ("--repeats", "3")),
    Part("listing", "listing.py", ("--repeats", "1")),
    Part("ranks", "ranks.py", ("--repeats", "2")),
)


def main() -> int:
    made = parser(__doc__)
    made.add_argument("--parts", nargs="+", choices=[part.name for part in PARTS], help="only these")
    made.add_argument("--read", type=Path, nargs="+", metavar="FILE", help="tables of figures measured before")
    made.set_defaults(threads=None, repeats=None)  # each part has its own
    args = made.parse_args()
    if args.read:
        found = [json.loads(path.read_text()) for path in args.read]
        write_markdown("\n\n".join(show(one["machine"], one["rows"], one.get("parts", [])) for one in found), args)
        return 0
    started, rows, told = time.perf_counter(), list[dict[str, Any]](), list[dict[str, Any]]()
    for part in PARTS:
        if not args.parts or part.name in args.parts:
            done = run(part, args)
            rows += done.pop("rows")
            told.append({"part": part.name, **done})
            print(f"{part.name}: {done['outcome']}, {done['seconds']:.0f} s", file=sys.stderr, flush=True)
    where = machine(args.threads or cores())
    write_markdown(show(where, rows, told), args)
    if args.json:
        args.json.write_text(json.dumps({"machine": where, "rows": rows, "parts": told}, indent=1) + "\n")
    print(f"\n{time.perf_counter() - started:.0f} s in all", file=sys.stderr)
    return int(any(part["outcome"].startswith("failed") for part in told))


def run(part: Part, args: argparse.Namespace) -> dict[str, Any]:
    """Runs a part; returns its rows, the outcome in words and the seconds."""
    if not (HERE / part.file).exists():
        return {"rows": [], "outcome": f"left out: there is no {part.file}", "seconds": 0.0}
    if part.needs_upstream and not args.upstream:
        return {"rows": [], "outcome": "left out: needs --upstream PATH", "seconds": 0.0}
    options = list(part.options)
    for name in ("repeats", "threads", "only"):
        if getattr(args, name):
            options += [f"--{name}", str(getattr(args, name))]
    options += ["--quick"] if args.quick else []
    options += ["--upstream", str(args.upstream.resolve())] if args.upstream else []
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        figures = Path(folder, "figures.json")
        command = [sys.executable, str(HERE / part.file), *options, "--json", str(figures)]
        code = subprocess.run(command, cwd=ROOT, stdout=2).returncode  # its table shows how far we are; ours is stdout
        rows = json.loads(figures.read_text())["rows"] if figures.exists() else []
    outcome = "done" if code == 0 else f"failed with {code}: {part.file} {' '.join(options)}"
    return {"rows": rows, "outcome": outcome, "seconds": time.perf_counter() - started}


def show(where: dict[str, Any], rows: list[dict[str, Any]], parts: list[dict[str, Any]]) -> str:
    """Returns the figures as Markdown, with a line for each part that has none."""
    names = {one.name for one in fields(Row)}
    made = [Row(**{key: value for key, value in row.items() if key in names}) for row in rows]
    missing = [f"- {part['part']}: {part['outcome']}" for part in parts if part["outcome"] != "done"]
    return "\n".join([describe(where), "", table(made), *(["", *missing] if missing else [])])


def write_markdown(text: str, args: argparse.Namespace) -> None:
    print(text, flush=True)
    if args.markdown:
        args.markdown.write_text(text + "\n")


if __name__ == "__main__":
    sys.exit(main())

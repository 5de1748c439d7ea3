"""Repeats a demo over seeds, in fresh processes: how long it takes and how good its translations are.

python benchmarks/demo.py --seeds 0 1 2 --json demo.json
python benchmarks/demo.py maps --seeds 0
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    parser.add_argument(
        "arguments", nargs="*", metavar="[DEMO] key.path=value", help="which demo (default: animals), overrides"
    )
    args = parser.parse_intermixed_args()
    rows = [measure(seed, args.arguments) for seed in args.seeds]
    columns = list(rows[0])
    print(f"\n{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    print("| " + " | ".join(columns) + " |\n|" + "---|" * len(columns))
    for row in rows:
        print("| " + " | ".join(f"{row[name]:.4g}" for name in columns) + " |")
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1))
    return 0


def measure(seed: int, arguments: list[str]) -> dict[str, float]:
    """Runs the demo once."""
    with tempfile.TemporaryDirectory() as folder:
        demo = [sys.executable, str(ROOT / "tools/demo.py")]
        command = [*demo, "--seed", str(seed), "--out", f"{folder}/run", *arguments]
        started = time.perf_counter()
        subprocess.run(command, check=True)
        seconds = time.perf_counter() - started
        return {"seed": seed, "seconds": seconds, **json.loads(Path(folder, "run/judgement.json").read_text())}


if __name__ == "__main__":
    sys.exit(main())

"""Prove that a run of your YAML may be killed at any moment: --resume auto then ends with the same weights.

python tools/verify_resume.py configs/cyclegan_animals.yaml
python tools/verify_resume.py my.yaml trainer.batch_size=4 --steps 60 --kills 10

The YAML is trained for a few steps in a temporary folder, once undisturbed and once with kills, at least one of them
inside the write of a checkpoint; states, bundles and logs of both are compared bit for bit. Steps, checkpoints, samples
and validation come closer together than the YAML says; all else is as it says, but its trackers do not hear of it.
Exit code: 0 where both are equal, 1 where they differ, 2 where nothing was compared.
"""

import argparse
from pathlib import Path

from i2i.cli.parts.one_config import add_config, one_config

HELP = "prove that a killed run of a YAML resumes exactly"
SHOWN = 8


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_config(parser)
    parser.add_argument("--steps", type=int, default=12, metavar="N", help="length of the runs (default: 12)")
    parser.add_argument("--kills", type=int, default=3, metavar="K", help="how many, below N (default: 3)")
    parser.add_argument("--out", metavar="DIR", help="keep the runs there (default: a temporary folder)")


def run(args: argparse.Namespace) -> int:
    from i2i.core.errors import I2IError, first_of

    config, overrides = one_config(args)
    if args.out == "":
        raise I2IError("--out: is empty", ["leave it out for a temporary folder"])
    from i2i.run.proof.resume import Proof

    proof = Proof(config, overrides, args.steps, args.kills, lambda line: print(line, flush=True))
    verdict = proof.carry_out(Path(args.out) if args.out else None)
    if not verdict.differences:
        print(f"resume is exact: {verdict.kills} kills, {verdict.tensors} tensors equal")
        return 0
    if verdict.is_unstable:
        print("this configuration is not deterministic here: two runs that nobody killed differ, too")
    else:
        print(f"resume is not exact: after {verdict.kills} kills the run ended differently")
    for line in first_of(verdict.differences, SHOWN):
        print(f"    {line}")
    print("likely reasons:")
    for reason in proof.reasons(verdict.is_unstable):
        print(f"    {reason}")
    return 1

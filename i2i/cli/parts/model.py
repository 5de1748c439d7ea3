"""The argument MODEL and the options that every command has which takes one."""

import argparse

PRECISIONS = ("auto", "fp32", "winograd", "tf32", "bf16", "fp16")


def add_model(parser: argparse.ArgumentParser, precision_help: str = "", device_help: str = "") -> None:
    """Adds MODEL, ``--best``, ``--plugin``, ``--precision``, ``--device`` and ``--option``."""
    parser.add_argument("model", metavar="MODEL", help="a run folder, or a bundle (.safetensors)")
    parser.add_argument("--best", action="store_true", help="the run's best weights by its metric, not its last")
    parser.add_argument(
        "--plugin",
        metavar="FILE",
        action="append",
        default=[],
        help="a local plugin file that the model needs and you trust (may be repeated)",
    )
    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        default="auto",
        help=precision_help or "arithmetic of the networks: fp32 is exact, others are faster (default: auto, fp32)",
    )
    parser.add_argument(
        "--device", default="auto", metavar="NAME", help=device_help or "cpu, cuda, cuda:1, mps (default: auto)"
    )
    parser.add_argument(
        "--option",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="an option of the model's pipeline (may be repeated); `i2i components pipeline NAME` lists them",
    )

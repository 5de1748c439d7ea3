"""Commands: ``python tools/NAME.py`` from a checkout, ``i2i NAME`` once installed.

A command is a module with ``HELP``, ``add_arguments(parser)`` and ``run(args)``, which returns the exit code. None
imports torch before it runs.
"""

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from types import ModuleType

from i2i.cli.parts.streams import patient_streams
from i2i.core.errors import I2IError, printable

# Threads that wait for each other spin, by default for so long that another program on the same cores slows training
# down tenfold (measured on two cores: 0.12 s a step alone, up to 10 s beside one busy process). Shorter costs nothing.
os.environ.setdefault("GOMP_SPINCOUNT", "5000")

COMMANDS = (
    "train",
    "translate",
    "generate",
    "prepare_data",
    "make_shards",
    "import_weights",
    "components",
    "schema",
    "new",
    "demo",
    "report",
    "doctor",
    "verify_resume",
)


@patient_streams()
def main(command: str | None = None, arguments: Sequence[str] | None = None) -> int:
    """Runs a command and returns its exit code.

    Args:
        command: Its name; by default the first argument.
        arguments: By default those of the process.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    program = f"{command}.py"
    if command is None:
        if not arguments or arguments[0] in ("-h", "--help"):
            print(_overview())
            return 0 if arguments else 2
        command = arguments.pop(0).replace("-", "_")
        program = f"i2i {command}"
        if command not in COMMANDS:
            print(f"i2i: no command is named {command!r}\n{_overview()}", file=sys.stderr)
            return 2
    module = importlib.import_module(f"i2i.cli.{command}")
    args = _parser(program, module).parse_intermixed_args(arguments)
    try:
        return int(module.run(args))
    except I2IError as error:
        if args.debug:
            raise
        print(error, file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except Exception as error:  # the last line of defence: a bug is reported as one
        if args.debug:
            raise
        about = printable(f"internal error: {type(error).__name__}: {error}")
        print(f"{about}\n    --debug shows where", file=sys.stderr)
        return 2


def _parser(program: str, module: ModuleType) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=program,
        description=module.__doc__,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    module.add_arguments(parser)
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    return parser


def _overview() -> str:
    lines = ["usage: i2i COMMAND ...", "", "commands (each has --help):"]
    for name in COMMANDS:
        lines.append(f"  {name:14} {importlib.import_module(f'i2i.cli.{name}').HELP}")
    return "\n".join(lines)

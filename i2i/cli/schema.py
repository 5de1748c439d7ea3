"""Write the JSON schema of the YAML, which gives editors completion, hover texts and errors while one writes.

python tools/schema.py --out experiment.schema.json

In the first line of a YAML, for editors with the YAML language server such as VS Code with Red Hat's YAML extension:

# yaml-language-server: $schema=experiment.schema.json
"""

import argparse
import sys
from pathlib import Path

HELP = "write the JSON schema of the YAML, for editors"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, metavar="FILE", help="default: standard output")
    parser.add_argument(
        "--plugin", action="append", default=[], metavar="FILE", help="a local plugin file to include (may be repeated)"
    )
    parser.add_argument("--no-plugins", action="store_true", help="leave out the components of installed plugins")


def run(args: argparse.Namespace) -> int:
    import json

    from i2i.cli.parts.output import write_text
    from i2i.core.plugins import load_plugin_file
    from i2i.run.reference.schema import config_schema

    for plugin in args.plugin:
        load_plugin_file(plugin)
    schema = config_schema(not args.no_plugins, lambda line: print(line, file=sys.stderr))
    write_text(json.dumps(schema, indent=1, ensure_ascii=False) + "\n", args.out)
    return 0

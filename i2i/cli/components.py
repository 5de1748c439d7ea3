"""List the components that a YAML may name.

python tools/components.py                    the kinds
python tools/components.py generators         names, and which package each comes from
python tools/components.py generator resnet   arguments, defaults and documentation
python tools/components.py --markdown         the configuration reference
"""

import argparse
from pathlib import Path

HELP = "list generators, losses and all other components"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "kind", nargs="?", metavar="KIND", help="generator, discriminator, loss, ...; singular or plural"
    )
    parser.add_argument("name", nargs="?", metavar="NAME", help="a component of the kind")
    parser.add_argument(
        "--plugin", action="append", default=[], metavar="FILE", help="a local plugin file to load before"
    )
    parser.add_argument("--markdown", action="store_true", help="all kinds and keys as one Markdown document")
    parser.add_argument("--out", type=Path, metavar="FILE", help="where --markdown goes (default: standard output)")
    parser.add_argument("--no-plugins", action="store_true", help="--markdown without components of installed plugins")


def run(args: argparse.Namespace) -> int:
    from i2i.core.plugins import load_plugin_file
    from i2i.core.registry import REGISTRIES, registry_of

    for plugin in args.plugin:
        load_plugin_file(plugin)
    if args.markdown:
        from i2i.cli.parts.output import write_text
        from i2i.run.reference.page import reference

        write_text(reference(plugins=not args.no_plugins), args.out)
    elif args.kind is None:
        for kind, registry in REGISTRIES.items():
            print(f"{kind:14} {len(registry.names()):3}")
    elif args.name is None:
        for name, entries in registry_of(args.kind).entries().items():
            print(f"{name:20} {' and '.join(entry.owner for entry in entries)}")
    else:
        print(_describe(args.kind, args.name))
    return 0


def _describe(kind: str, name: str) -> str:
    import inspect

    from i2i.core.registry import registry_of
    from i2i.run.reference.documentation import FROM_DATA, arguments_of, options_of_uses

    registry = registry_of(kind)
    component, entry = registry.get(name), registry.entry(name)
    lines = [f"{registry.kind} {name}, from {entry.owner} ({entry.target})", ""]
    for argument in arguments_of(component):
        default = "required" if argument.is_required else f"default {argument.default!r}"
        if argument.name in FROM_DATA:
            default = "from the data"
        lines.append(f"  {argument.name}: {argument.type_text}; {default}")
    for method, options in options_of_uses(component).items():
        lines += ["", f"  --option of {method}:"]
        lines += [f"    {one.name}: {one.type_text}; default {one.default!r}" for one in options]
    texts = [component.__doc__, component.__init__.__doc__ if "__init__" in vars(component) else None]
    documentation = [inspect.cleandoc(text) for text in texts if text]
    return "\n\n".join(["\n".join(lines), *documentation])

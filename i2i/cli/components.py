"""List the components that a YAML may name.

python tools/components.py                    the kinds
python tools/components.py generators         names, and which package each comes from
python tools/components.py generator resnet   arguments, defaults and documentation
"""

import argparse

HELP = "list generators, losses and all other components"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "kind", nargs="?", metavar="KIND", help="generator, discriminator, loss, ...; singular or plural"
    )
    parser.add_argument("name", nargs="?", metavar="NAME", help="a component of the kind")
    parser.add_argument(
        "--plugin", action="append", default=[], metavar="FILE", help="a local plugin file to load before"
    )


def run(args: argparse.Namespace) -> int:
    from i2i.plugins import load_plugin_file
    from i2i.registry import REGISTRIES, registry_of

    for plugin in args.plugin:
        load_plugin_file(plugin)
    if args.kind is None:
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

    from i2i.build import FRAMEWORK_ARGUMENTS, describe, parameters_of
    from i2i.registry import registry_of

    registry = registry_of(kind)
    component, entry = registry.get(name), registry.entry(name)
    lines = [f"{registry.kind} {name}, from {entry.owner} ({entry.target})", ""]
    for argument, parameter in parameters_of(component).items():
        if argument in FRAMEWORK_ARGUMENTS:
            continue
        default = "required" if parameter.default is parameter.empty else f"default {parameter.default!r}"
        if argument in ("in_channels", "out_channels"):
            default = "from the data"
        lines.append(f"  {argument}: {describe(parameter.annotation)}; {default}")
    texts = [component.__doc__, component.__init__.__doc__ if "__init__" in vars(component) else None]
    documentation = [inspect.cleandoc(text) for text in texts if text]
    return "\n\n".join(["\n".join(lines), *documentation])

"""The arguments ``CONFIG key.path=value``, which train and verify_resume share."""

import argparse


def add_config(parser: argparse.ArgumentParser) -> None:
    """Adds them."""
    parser.add_argument(
        "arguments",
        nargs="+",
        metavar="CONFIG key.path=value",
        help="the YAML, and any number of overrides, in any order",
    )


def one_config(args: argparse.Namespace) -> tuple[str, list[str]]:
    """Returns the YAML and the overrides.

    Raises:
        I2IError: There is no YAML, or more than one.
    """
    from i2i.core.config.document import split_arguments
    from i2i.core.errors import I2IError

    configs, overrides = split_arguments(args.arguments)
    if len(configs) != 1:
        raise I2IError(
            f"expected one CONFIG, got {', '.join(configs) or 'none'}",
            ["an override has the form key.path=value, without spaces"],
        )
    return configs[0], overrides

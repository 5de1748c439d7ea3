"""The configuration reference: every key of the YAML and every component, as one Markdown document.

Written from the registries, the signatures and the docstrings, so it cannot tell what the code does not do.
"""

import json
from collections.abc import Iterable
from typing import Any

from i2i.core.errors import RegistryError
from i2i.core.registry import REGISTRIES, Registry
from i2i.run.reference.documentation import FROM_DATA, Argument, arguments_of, entries_of, summary_of
from i2i.run.reference.schema import KEYS, REQUIRED_KEYS
from i2i.training.settings import DataSettings, TrainerSettings, ValidationSettings

HEAD = """\
# Configuration reference

Written by the program itself, from the code that reads the YAML; `python tools/components.py --markdown` prints it
anew, with what your plugins add. How documents extend one another, and what the parts mean, is told in
[configuration.md](configuration.md).
"""
VALIDATION = """\
`split` names the part of the data set to measure on, `val` by default; `data` holds keys of the data set that differ
there; `metrics` is a list of [metrics](#metrics), each a name or a node, by default those of pixels.
"""
_ADDED = {
    "loss": "Each also takes `weight`, a number, 1 by default: its weight in the role.",
    "dataset": "Each also takes the keys of [data](#data).",
    "optimizer": "Each also takes a node for every network role, such as `discriminator: {lr: 1.0e-4}`, which overrides"
    " keys for that network.",
    "generator": "`in_channels` and `out_channels` are taken from the data. `frozen: true` leaves the network as it is;"
    " `{bundle: PATH}` in the place of a node takes one that was trained before.",
    "discriminator": "`in_channels` is taken from the data. Bundles hold no discriminators: they always start anew.",
}


def reference(plugins: bool = True) -> str:
    """Returns the reference.

    Args:
        plugins: Whether to include what installed plugins and plugin files bring besides this package's components.
    """
    registries = [registry for registry in REGISTRIES.values() if entries_of(registry, plugins)]
    links = ", ".join(f"[{_plural(registry)}](#{_plural(registry)})" for registry in registries)
    parts = [
        HEAD,
        f"[The document](#the-document), [trainer](#trainer), [data](#data), [validation](#validation), {links}.",
    ]
    parts += ["## The document", _document()]
    parts += ["## trainer", _table(arguments_of(TrainerSettings)), "One of `steps` and `epochs` must be there."]
    parts += ["## data", "Besides the data set's own keys:", _table(arguments_of(DataSettings))]
    parts += ["## validation", VALIDATION, _table(arguments_of(ValidationSettings))]
    for registry in registries:
        parts.append(f"## {_plural(registry)}")
        if registry.kind in _ADDED:
            parts.append(_ADDED[registry.kind])
        for name, entry in entries_of(registry, plugins).items():
            owner = "" if entry.owner == "i2i" else f" ({entry.owner})"
            parts.append(f"### {name}{owner}")
            try:
                parts += _component(registry, registry.get(name))
            except RegistryError as error:
                parts.append(error.message)
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def _plural(registry: Registry) -> str:
    return {"loss": "losses"}.get(registry.kind, f"{registry.kind}s")


def _document() -> str:
    rows = [f"| `{key}`{_mark(key in REQUIRED_KEYS)} | {schema['description']} |" for key, schema in KEYS.items()]
    roles = "| `generator`, … | The network roles of the [pipeline](#pipelines): each a node. |"
    return "\n".join(["| key | what |", "|---|---|", *rows, roles, "", "Keys with a star must be there."])


def _mark(is_required: bool) -> str:
    return " *" if is_required else ""


def _component(registry: Registry, component: Any) -> list[str]:
    parts = [summary_of(component)]
    if registry.kind == "pipeline":
        parts.append(_roles(component))
    arguments = [argument for argument in arguments_of(component) if argument.name not in FROM_DATA]
    return [part for part in (*parts, _table(arguments) if arguments else "") if part]


def _roles(pipeline: Any) -> str:
    lines = ["| role | what |", "|---|---|"]
    for role, network in pipeline.networks.items():
        lines.append(f"| `{role}`{_mark(network.required)} | {network.kind}, for {' and '.join(network.makes)} |")
    for role, loss in pipeline.losses.items():
        lines.append(f"| `losses.{role}`{_mark(loss.required)} | {' or '.join(loss.families)} loss |")
    return "\n".join(lines)


def _table(arguments: Iterable[Argument]) -> str:
    arguments = list(arguments)
    if not any(argument.text for argument in arguments):  # torch's own, which is told elsewhere
        return f"Keys and defaults: {', '.join(f'`{argument.name}` {_default(argument)}' for argument in arguments)}."
    lines = ["| key | type | default | what |", "|---|---|---|---|"]
    for argument in arguments:
        cells = (f"`{argument.name}`", argument.type_text, _default(argument), argument.text)
        lines.append("| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |")
    return "\n".join(lines)


def _default(argument: Argument) -> str:
    return "required" if argument.is_required else f"`{json.dumps(argument.default, ensure_ascii=False)}`"

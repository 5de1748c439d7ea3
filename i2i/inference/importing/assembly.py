"""Networks of other projects put together as a bundle."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import nn

from i2i.core.errors import CheckpointError, I2IError
from i2i.core.plugins import installed_version, owner_of
from i2i.core.registry import GENERATORS, PIPELINES
from i2i.images.codecs import ImageCodec
from i2i.inference.bundle.bundle import BundleInfo, as_users_say
from i2i.inference.importing.architecture import OPTION, Architectures
from i2i.inference.importing.files import Source, read_tensors
from i2i.inference.importing.networks import Imported, import_network
from i2i.inference.importing.options import read_options
from i2i.inference.importing.recognition import Shapes, what_else
from i2i.pipelines.base import Direction, Pipeline

# The original's G_A translates A to B and D_A judges B; the paper calls them G and D_Y.
_GENERATORS = {"": "G", "A": "G", "B": "F"}
_DISCRIMINATORS = {"": "D_Y", "A": "D_Y", "B": "D_X"}
_KNOWN = "known: the generators and discriminators of pytorch-CycleGAN-and-pix2pix, the ResNets and PatchGANs of CUT"


@dataclass(frozen=True)
class Policies:
    """How the bundle translates.

    Attributes:
        norm: See :func:`i2i.pipelines.base.translating`.
        dropout: Likewise.
        direction: Which way the networks were trained, ``b2a`` where the data's b was their input; ``None`` leaves it
            to the original's options, or else is ``a2b``.
    """

    norm: str = "running"
    dropout: str = "off"
    direction: str | None = None


@dataclass
class Model:
    """What becomes a bundle.

    Attributes:
        info: Its metadata.
        pipeline: Its networks.
        networks: The same by letter, with what is known about each.
        notes: Lines for the user: what was left out and what was taken from where.
    """

    info: BundleInfo
    pipeline: Pipeline
    networks: dict[str, Imported]
    notes: list[str] = field(default_factory=list)


def assemble(sources: Sequence[Source], architectures: Architectures, policies: Policies, name: str) -> Model:
    """Reads all files and puts their networks together.

    Two generators that translate to and fro make a cyclegan, one alone a pix2pix, or a cyclegan's half where its
    discriminator sees translations alone. Discriminators come along for further training where they fit.

    Args:
        sources: The files.
        architectures: What the user says about the networks.
        policies: How the bundle translates.
        name: The bundle's, where no options beside the files tell the experiment's.

    Raises:
        CheckpointError: A file cannot be read or recognised, or the networks are not of one model.
        ConfigError: An architecture's argument is wrong.
        I2IError: Dropout is asked for, and there is none.
    """
    found, beside, notes = _read(sources, architectures)
    type_, networks, left_out = _lettered(found)
    notes += left_out
    parts = (part for imported in networks.values() for part in imported.network.modules())
    if policies.dropout == "on" and not any(isinstance(part, nn.Dropout) for part in parts):
        hints = ["in a U-Net it leaves no tensors: --architecture '{dropout: 0.5}' says that it was there"]
        raise I2IError("--dropout on: the generators have no dropout", hints)
    if policies.direction is None and beside.get("direction") == "BtoA":
        policies = replace(policies, direction="b2a")
        notes.append("direction BtoA, as the original's options say: what users call b is what the networks take as A")
    info = _describe(type_, networks, policies, beside, name)
    pipeline: Pipeline = PIPELINES.get(type_)(
        networks={letter: imported.network for letter, imported in networks.items()},
        losses={},
        norm_policy=policies.norm,
        dropout_policy=policies.dropout,
    )
    return Model(info, pipeline, networks, notes)


def _read(
    sources: Sequence[Source], architectures: Architectures
) -> tuple[list[Imported], Mapping[str, str], list[str]]:
    """Returns the networks, the original's options where they lie beside one, and lines for the user."""
    notes: list[str] = []
    beside: Mapping[str, str] = {}
    found: list[Imported] = []
    for source in sources:
        said_by, options = read_options(source.path.parent)
        beside = beside or options
        tensors = read_tensors(source.path)
        network = import_network(source, tensors, architectures, options)
        if network is not None:
            found.append(network)
            notes += _disagreement(network, said_by, options) + _not_finite(network)
            continue
        shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
        other = what_else(shapes)
        if other is None or len(sources) == 1:
            raise _unknown(source, shapes, other)
        notes.append(f"left out: {source.name}: it is {other}")
    if not any(network.kind == GENERATORS.kind for network in found):
        hints = [*notes, *(f"{network.source.name} is a {network.kind}" for network in found)]
        raise CheckpointError("no generator among the files, and nothing translates without one", hints)
    return found, beside, notes


def _describe(
    type_: str, networks: Mapping[str, Imported], policies: Policies, beside: Mapping[str, str], name: str
) -> BundleInfo:
    """Makes the metadata: domains and directions are the user's, which may be turned against the networks'."""
    declared: dict[str, Direction] = PIPELINES.get(type_).directions  # type: ignore[attr-defined]
    there = {own: direction for own, direction in declared.items() if set(direction.networks) <= networks.keys()}
    is_turned = policies.direction == "b2a"
    a, b = _channels(networks).values()
    channels = {"a": b, "b": a} if is_turned else {"a": a, "b": b}
    return BundleInfo(
        name=_name(beside.get("name", "")) or name,
        step=0,
        pipeline={"type": type_, "norm_policy": policies.norm, "dropout_policy": policies.dropout},
        pipeline_owner=owner_of("pipeline", type_),
        networks={letter: imported.spec() for letter, imported in networks.items()},
        directions=as_users_say(there, is_turned),
        channels=channels,
        domains={domain: ImageCodec(count).describe() for domain, count in channels.items()},
        norm_policy=policies.norm,
        dropout_policy=policies.dropout,
        size=_crop(beside),
        versions={"i2i": installed_version("i2i") or "unknown", "torch": torch.__version__},
    )


def _crop(beside: Mapping[str, str]) -> list[int] | None:
    """Height and width of the training crops; the options of a test have none."""
    crop = beside.get("crop_size", "")
    if beside.get("isTrain") != "True" or "crop" not in beside.get("preprocess", ""):
        return None
    return [int(crop)] * 2 if re.fullmatch("[1-9][0-9]{0,4}", crop) else None


def _disagreement(network: Imported, said_by: str, options: Mapping[str, str]) -> list[str]:
    """What the original's options say, and neither the tensors nor the user do."""
    said = {"syncbatch": "batch"}.get(options.get("norm", ""), options.get("norm"))
    if said and said != network.told.get("norm", said):
        own = network.told["norm"]
        return [f"{network.source.name}: {said_by} says norm {said}, and {own} was taken"]
    return []


def _not_finite(network: Imported) -> list[str]:
    names = network.not_finite
    if not names:
        return []
    others = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return [
        f"{network.source.name}: holds NaN or infinite values, and translates to such: {', '.join(names[:3])}{others}"
    ]


def _unknown(source: Source, shapes: Shapes, other: str | None) -> CheckpointError:
    if other is not None:
        return CheckpointError(f"{source.path}: holds {other}", [_KNOWN])
    first = ", ".join(f"{name} {list(shape)}" for name, shape in list(shapes.items())[:3])
    return CheckpointError(
        f"{source.path}: its tensors are of no network known here; the first are {first}",
        [
            _KNOWN,
            f"a registered network, with its own names: {OPTION} '{{type: NAME, in_channels: 3, out_channels: 3}}'",
        ],
    )


def _lettered(found: Sequence[Imported]) -> tuple[str, dict[str, Imported], list[str]]:
    """Returns the pipeline, the networks by letter, generators first, and what had to be left out."""
    generators = [network for network in found if network.kind == GENERATORS.kind]
    judges = [network for network in found if network.kind != GENERATORS.kind]
    networks = _by_letter(generators, _GENERATORS)
    judges_by_letter = _by_letter(judges, _DISCRIMINATORS)
    G, D = networks.get("G"), judges_by_letter.get("D_Y")
    alone = G is not None and not G.source.way and len(networks) == 1
    if alone and (D is None or D.arguments.get("in_channels") == sum(_ends(networks["G"]))):
        return "pix2pix", networks | ({"D": D} if D is not None else {}), []
    a, b = _channels(networks).values()
    notes = []
    for letter, count in (("D_X", a), ("D_Y", b)):
        judge = judges_by_letter.get(letter)
        if judge is not None and judge.arguments.get("in_channels") == count:
            networks[letter] = judge
        elif judge is not None:
            given = judge.arguments.get("in_channels")
            notes.append(f"left out: {judge.source.name}: it judges {given} channels, and {letter} would judge {count}")
    return "cyclegan", networks, notes


def _by_letter(found: Sequence[Imported], letters: Mapping[str, str]) -> dict[str, Imported]:
    networks: dict[str, Imported] = {}
    for network in found:
        letter = letters[network.source.way]
        if letter in networks:
            both = f"{networks[letter].source.path} and {network.source.path}"
            raise CheckpointError(
                f"two {network.kind}s for the same direction: {both}",
                ["name one of them, or call them G_A.pth (a to b) and G_B.pth (b to a)"],
            )
        networks[letter] = network
    return {letter: networks[letter] for letter in dict.fromkeys(letters.values()) if letter in networks}


def _name(experiment: str) -> str:
    """The experiment's name, where it is one: not the original's default, nothing that a terminal would obey."""
    return experiment if re.fullmatch(r"[\w. -]{1,100}", experiment) and experiment != "experiment_name" else ""


def _ends(network: Imported) -> tuple[int, int]:
    try:
        return network.arguments["in_channels"], network.arguments["out_channels"]
    except KeyError as error:
        raise CheckpointError(f"{network.source.path}: {network.type} does not tell its {error.args[0]}") from None


def _channels(networks: Mapping[str, Imported]) -> dict[str, int]:
    """Channels of the domains, as the networks have them."""
    ways: dict[str, tuple[int, int]] = {}
    if "G" in networks:
        ways["G"] = _ends(networks["G"])
    if "F" in networks:
        ways["F"] = _ends(networks["F"])[::-1]
    if len(set(ways.values())) > 1:
        said = ", ".join(
            f"{networks[letter].source.name} {' to '.join(map(str, _ends(networks[letter])))}" for letter in ways
        )
        raise CheckpointError(f"the generators are not of one model, by their channels: {said}")
    a, b = next(iter(ways.values()))
    return {"a": a, "b": b}

"""A bundle: one ``.safetensors`` file with all that a trained model needs to be used.

The tensors are the weights of the networks that its directions need, ``LETTER.parameter``. The metadata, one JSON value
a key, tell how to build the networks and how to use them.

Reading a bundle runs no code from it, and takes no more memory than its weights fill. It names components; those that
are registered are imported, which runs the code of packages that the user installed, and nothing else is.
"""

import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from i2i.core.config.build import constructor_arguments, nested_components, parameters_of
from i2i.core.config.document import node_of
from i2i.core.errors import CheckpointError, RegistryError, shortened
from i2i.core.files.tensor_files import write_tensor_file
from i2i.core.meta import filled, limited, on_meta
from i2i.core.plugins import installed_version, load_plugin_file, loaded_files
from i2i.core.registry import NETWORK_KINDS, PIPELINES, REGISTRIES, Registry
from i2i.images.codecs import Codec, ImageCodec, codec_of
from i2i.inference.bundle.files import read_metadata, read_outline, read_shapes, read_state
from i2i.inference.bundle.place import FOREIGN, find_bundle
from i2i.pipelines.base import Direction, Pipeline

__all__ = [
    "FORMAT",
    "BundleInfo",
    "DirectionInfo",
    "as_users_say",
    "find_bundle",
    "load_bundle",
    "misfit",
    "network_of",
    "read_info",
    "read_shapes",
    "read_state",
    "save_bundle",
]

FORMAT = 2
_MAX_CHANNELS = 4096
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_SPARE = 1 << 24  # numbers in buffers that are computed and not saved


@dataclass(frozen=True)
class DirectionInfo:
    """One use of a bundle.

    Attributes:
        own: The pipeline's name for it.
        networks: Letters of the networks that it needs. Bundles of format 1 do not say.
        source: The domain that it reads, as users name it; empty where it starts from noise.
        target: The domain that it makes; empty where it gives a score.
    """

    own: str
    networks: list[str]
    source: str
    target: str


@dataclass
class BundleInfo:
    """The metadata of a bundle.

    Attributes:
        name: The experiment's.
        step: Training steps behind the weights.
        pipeline: ``{"type": ..., **arguments}``.
        pipeline_owner: Where its code comes from; see :func:`i2i.core.plugins.owner_of`.
        networks: By letter: ``kind``, ``type``, ``arguments`` and ``owner`` of each, and ``nested``, the kind, type and
            owner of each component inside of it.
        directions: By the names that users give.
        channels: Of the domains, as users name them.
        domains: What :func:`i2i.images.codecs.codec_of` makes the codec of each domain of; images where it is empty.
        value_range: Of the tensors that the networks take and give.
        norm_policy: See :func:`i2i.pipelines.base.translating`.
        dropout_policy: See :func:`i2i.pipelines.base.translating`.
        size: Height and width of the training crops, where known.
        seed: Decides the noise of generators with dropout.
        classes: Names of the classes that the networks know; empty without.
        attributes: Names of the attributes that the networks read; empty without.
        config: The resolved configuration.
        metrics: Measured on the weights.
        versions: Of i2i and torch.
        format: Of the metadata.
    """

    name: str
    step: int
    pipeline: dict[str, Any]
    networks: dict[str, dict[str, Any]]
    directions: dict[str, DirectionInfo]
    channels: dict[str, int]
    norm_policy: str
    dropout_policy: str
    domains: dict[str, dict[str, Any]] = field(default_factory=dict)
    pipeline_owner: dict[str, str] = field(default_factory=dict)
    size: list[int] | None = None
    seed: int = 0
    classes: list[str] = field(default_factory=list)
    attributes: list[str] = field(default_factory=list)
    config: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    value_range: list[float] = field(default_factory=lambda: [-1.0, 1.0])
    format: int = FORMAT

    def codec(self, domain: str) -> Codec:
        """Returns the codec of a domain, as users name it."""
        description = self.domains.get(domain)
        return codec_of(description) if description else ImageCodec(self.channels[domain])


_SWAPPED = {"a": "b", "b": "a", "a2b": "b2a", "b2a": "a2b"}


def as_users_say(directions: Mapping[str, Direction], is_swapped: bool) -> dict[str, DirectionInfo]:
    """Returns a pipeline's directions by the names that users give.

    Args:
        directions: The pipeline's.
        is_swapped: Whether the pipeline's a is the user's b (``data.direction: b2a``).
    """
    names = _SWAPPED if is_swapped else {}

    def named(name: str) -> str:
        return names.get(name, name)

    return {
        named(own): DirectionInfo(own, list(one.networks), named(one.source), named(one.target))
        for own, one in directions.items()
    }


def save_bundle(path: Path, info: BundleInfo, pipeline: Pipeline) -> None:
    """Writes the networks of a pipeline that ``info`` names, whole or not at all."""
    tensors = {
        f"{letter}.{name}": tensor
        for letter in info.networks
        for name, tensor in pipeline.members[letter].state_dict().items()
    }
    write_tensor_file(path, tensors, asdict(info))


def read_info(path: Path) -> BundleInfo:
    """Reads a bundle's metadata, not its weights.

    Raises:
        CheckpointError: The file is no bundle, or of a newer format.
    """
    values = read_metadata(path)
    if values.get("format") == 1:
        values = _from_format_1(values)
    if values.get("format") != FORMAT:
        found = shortened(repr(values.get("format")))
        raise CheckpointError(
            f"{path}: not a bundle of i2i in format 1 or {FORMAT}",
            [f"its metadata says format {found}", FOREIGN],
        )
    return _checked(path, values)


def _from_format_1(values: dict[str, Any]) -> dict[str, Any]:
    """Returns the metadata of a bundle of i2i 0.1 as those of today; what is damaged stays so."""
    directions = values.get("directions")
    if not isinstance(directions, dict) or not directions.keys() <= {"a2b", "b2a"}:
        return values | {"format": FORMAT, "directions": None}
    told = {
        name: {"own": own, "networks": [], "source": name[0], "target": name[2]} for name, own in directions.items()
    }
    return values | {"format": FORMAT, "directions": told}


def _checked(path: Path, values: dict[str, Any]) -> BundleInfo:
    """Turns metadata into a :class:`BundleInfo`, which holds what it says."""
    from pydantic import TypeAdapter, ValidationError

    try:
        info = TypeAdapter(BundleInfo).validate_python(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise CheckpointError(f"{path}: the bundle's metadata is damaged: {where}: {first['msg']}") from error
    directions = info.directions.values()
    domains = {domain for direction in directions for domain in (direction.source, direction.target) if domain}
    try:
        fitting = all(info.codec(domain).channels == info.channels[domain] for domain in domains & info.channels.keys())
    except ValueError as error:
        raise CheckpointError(f"{path}: the bundle's metadata is damaged: {error}") from error
    sound = (
        fitting
        and info.directions
        and all(_NAME.fullmatch(name) for name in info.directions)
        and all(set(direction.networks) <= info.networks.keys() for direction in directions)
        and domains <= info.channels.keys()
        and info.norm_policy in ("batch", "running")
        and info.dropout_policy in ("on", "off")
        and isinstance(info.pipeline.get("type"), str)
        and _is_complete(info.pipeline_owner)
        and all(0 < count <= _MAX_CHANNELS for count in info.channels.values())
        and 0 <= info.seed < 1 << 63
        and info.step >= 0
        and all(
            isinstance(spec.get("arguments"), dict)
            and _is_owned(spec)
            and isinstance(spec.get("nested", []), list)
            and all(map(_is_owned, spec.get("nested", [])))
            for spec in info.networks.values()
        )
    )
    if not sound:
        raise CheckpointError(f"{path}: the bundle's metadata is damaged: its parts do not fit each other")
    return info


def _is_owned(inner: Any) -> bool:
    return (
        isinstance(inner, dict)
        and isinstance(inner.get("kind"), str)
        and inner["kind"] in NETWORK_KINDS  # a loss, say, would fetch what it compares with
        and isinstance(inner.get("type"), str)
        and isinstance(inner.get("owner"), dict)
        and all(isinstance(value, str) for value in inner["owner"].values())
        and _is_complete(inner["owner"])
    )


def _is_complete(owner: dict[str, str]) -> bool:
    return "file" not in owner or "sha256" in owner


def load_bundle(path: Path, plugins: list[str] | None = None) -> tuple[BundleInfo, Pipeline]:
    """Builds a bundle's networks on the CPU and loads their weights.

    Args:
        path: The bundle.
        plugins: Local plugin files that the user trusts; a bundle never loads one by itself.

    Raises:
        CheckpointError: The bundle is damaged, needs a plugin that is not here, or its weights do not fit its networks.
    """
    info = read_info(path)
    for plugin in plugins or []:
        load_plugin_file(plugin)
    constructors = {}
    for letter in info.networks:
        component, arguments = network_of(path, info, letter)
        constructors[letter] = partial(_construct, component, arguments)
    name = info.pipeline["type"]
    pipeline = _component(path, f"the pipeline {name!r}", PIPELINES, name, info.pipeline_owner)
    try:
        networks = {letter: _network(path, letter, construct) for letter, construct in constructors.items()}
        arguments = constructor_arguments(pipeline, node_of(info.pipeline))
        built: Pipeline = pipeline(networks=networks, losses={}, **arguments)
        for name, told in info.directions.items():
            direction = built.directions.get(told.own)
            if direction is None:
                raise ValueError(f"its pipeline has no direction {told.own!r}")
            missing = [letter for letter in direction.networks if letter not in networks]
            if missing:
                raise ValueError(f"it holds no {' and no '.join(missing)}, which {name} needs")
        return info, built
    except CheckpointError:
        raise
    except Exception as error:  # damaged metadata reaches constructors, which may raise anything
        raise misfit(path, error) from error


def network_of(path: Path, info: BundleInfo, letter: str) -> tuple[Callable[..., Any], dict[str, Any]]:
    """Returns the component of one of a bundle's networks and its arguments, as plain data.

    Raises:
        CheckpointError: Its code is not here, or it holds what is no network.
    """
    spec = info.networks[letter]
    for inner in spec.get("nested", ()):
        what = f"the {inner['kind']} {inner['type']!r} within {letter}"
        _component(path, what, REGISTRIES[inner["kind"]], inner["type"], inner["owner"])
    what = f"the {spec['kind']} {spec['type']!r} of {letter}"
    component = _component(path, what, REGISTRIES[spec["kind"]], spec["type"], spec["owner"])
    arguments = {k: v for k, v in spec["arguments"].items() if k in parameters_of(component)}
    try:
        kinds = {kind for kind, _ in nested_components(component, arguments)}
    except Exception as error:  # they may be anything
        raise misfit(path, error) from error
    if kinds - NETWORK_KINDS:
        raise CheckpointError(
            f"{path}: a bundle holds networks alone, and {letter} asks for a {min(kinds - NETWORK_KINDS)}"
        )
    return component, arguments


def misfit(path: Path, error: Exception) -> CheckpointError:
    """Says that weights do not fit a network, with the first reason that torch names."""
    lines = str(error).splitlines() or [type(error).__name__]
    reason = lines[1].strip() if lines[0].startswith("Error(s) in loading") and len(lines) > 1 else lines[0]
    return CheckpointError(f"{path}: its networks and weights do not fit each other: {shortened(reason, 300)}")


def _component(path: Path, what: str, registry: Registry, name: str, owner: dict[str, str]) -> Callable[..., Any]:
    """Finds a component's code, once it is sure that it is the code the bundle was made with."""
    if "file" in owner and owner["sha256"] not in loaded_files().values():
        place = shlex.quote(f"path/to/{owner['file']}")
        raise CheckpointError(
            f"{path}: {what} is in the local plugin file {owner['file']} (sha256 {owner['sha256'][:16]}…)"
            + _others(owner),
            [
                f"if you trust that file: --plugin {place}",
                f"in a YAML that builds on the bundle: plugins: [path/to/{owner['file']}]",
            ],
        )
    try:
        return registry.get(name)
    except RegistryError as error:
        distribution = owner.get("distribution", "")
        package = f"{distribution} {owner.get('version')}"
        upgrade = "--upgrade " if installed_version(distribution) else ""
        is_name = re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", distribution)  # and nothing else for a shell to run
        raise CheckpointError(
            f"{path}: {what} comes from {package}, which is not installed or does not work here: {error.message}",
            [f"if you trust that package: pip install {upgrade}{distribution}"] if is_name else [],
        ) from error


def _construct(component: Callable[..., Any], arguments: dict[str, Any]) -> nn.Module:
    network: nn.Module = component(**constructor_arguments(component, node_of(arguments)))
    return network


def _others(owner: dict[str, str]) -> str:
    digests = [digest for name, digest in loaded_files().items() if Path(name).name == owner["file"]]
    return f", and the one given is another (sha256 {digests[0][:16]}…)" if digests else ""


def _network(path: Path, letter: str, construct: Callable[[], nn.Module]) -> nn.Module:
    """Builds a network of the size that the bundle has weights for, and loads them."""
    outline = read_outline(path, letter)
    most = _SPARE + 4 * sum(tensor.numel() for tensor in outline.values())  # reparametrized weights register again

    def bounded() -> nn.Module:
        with limited(most):
            return construct()

    network = on_meta(bounded)
    _compare(network, outline)
    return filled(network, bounded, read_state(path, letter)).float()


def _compare(network: nn.Module, outline: dict[str, Tensor]) -> None:
    """Compares what a network needs with what a bundle has, before any of it is read."""
    for name, own in network.state_dict().items():
        there = outline.get(name, own)
        if own.shape != there.shape:
            raise ValueError(f"{name} is {list(there.shape)} in the file, and {list(own.shape)} in the network")
        if own.is_floating_point() != there.is_floating_point():
            raise ValueError(f"{name} is of the type {there.dtype} in the file, and {own.dtype} in the network")

"""Registries: the names that a YAML may use, and where their code is.

A name comes from one of three places: the table of built-in components below, an installed package's entry point
(group ``i2i.generators`` and so on, value ``package.module:Class``), or a decorator in running code. Listing names
reads metadata only; a component's code is imported when its name is used, never before.
"""

import difflib
import inspect
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, TypeVar

from i2i.core.errors import RegistryError

Component = TypeVar("Component", bound=Callable[..., Any])


def did_you_mean(name: str, candidates: Iterable[str]) -> str:
    """Returns ``", did you mean 'x'?"`` for the nearest candidate, or an empty string where none is near."""
    near = difflib.get_close_matches(name, list(candidates), n=1, cutoff=0.6)
    return f", did you mean {near[0]!r}?" if near else ""


@dataclass(frozen=True)
class Entry:
    """A registered name.

    Attributes:
        name: The name in YAML.
        target: ``package.module:Class``.
        owner: The distribution, ``i2i`` or the local file that registered it.
        loaded: The class itself, where it was registered by running code.
    """

    name: str
    target: str
    owner: str
    loaded: Callable[..., Any] | None = None

    def load(self) -> Callable[..., Any]:
        if self.loaded is not None:
            return self.loaded
        return EntryPoint(self.name, self.target, "").load()


@dataclass(frozen=True)
class Nested:
    """Marks a constructor argument that is itself a component of a YAML, ``{type: NAME, ...}``.

    The argument is annotated ``Annotated[Callable[..., nn.Module], Nested("discriminator")]``; the constructor receives
    a function that builds the component, and passes it the channels: ``discriminator(in_channels=3)``.

    Attributes:
        kind: The registry that the name is looked up in.
    """

    kind: str


class Registry:
    """The components of one kind.

    Args:
        kind: Singular, as in messages: ``generator``.
        builtin: Name -> ``package.module:Class`` of the components of this package.
        group: Entry-point group that other packages use; ``None`` where plugins have no place.
    """

    def __init__(self, kind: str, builtin: Mapping[str, str], group: str | None = None) -> None:
        self.kind = kind
        self.group = group
        self._builtin = dict(builtin)
        self._local: dict[str, Entry] = {}

    def register(self, name: str, *, owner: str | None = None) -> Callable[[Component], Component]:
        """Registers a class from running code: ``@GENERATORS.register("name")``.

        Raises:
            RegistryError: Another component of the kind has the name already.
        """

        def decorate(component: Component) -> Component:
            module = inspect.getmodule(component)
            source = owner or getattr(module, "__file__", None) or component.__module__
            previous = self._local.get(name)
            if previous is not None and previous.owner != source:
                raise self._clash(name, [previous.owner, source])
            if name in self._builtin:
                raise self._clash(name, ["i2i", source])
            target = f"{component.__module__}:{component.__qualname__}"
            self._local[name] = Entry(name, target, source, component)
            return component

        return decorate

    def entries(self) -> dict[str, list[Entry]]:
        """All entries by name, sorted; a name with more than one entry is a clash."""
        found: dict[str, list[Entry]] = {}
        for name, target in self._builtin.items():
            found.setdefault(name, []).append(Entry(name, target, "i2i"))
        for entry in _installed(self.group, _folders()) if self.group else ():
            if entry not in found.setdefault(entry.name, []):  # an editable install can be listed twice
                found[entry.name].append(entry)
        for name, entry in self._local.items():
            others = found.setdefault(name, [])
            if all(entry.target != other.target for other in others):  # or a package registers what it also lists
                others.append(entry)
        return dict(sorted(found.items()))

    def names(self) -> list[str]:
        return list(self.entries())

    def entry(self, name: str) -> Entry:
        """Finds a name without importing its code.

        Raises:
            RegistryError: The name is unknown, or claimed by two owners.
        """
        entries = self.entries()
        if name not in entries:  # or it was being installed when the metadata were read
            _installed.cache_clear()
            entries = self.entries()
        if name not in entries:
            raise RegistryError(
                f"no {self.kind} is named {name!r}{did_you_mean(name, entries)}",
                [f"{'losses' if self.kind == 'loss' else f'{self.kind}s'}: {', '.join(entries) or 'none'}"],
            )
        if len(entries[name]) > 1:
            raise self._clash(name, [entry.owner for entry in entries[name]])
        return entries[name][0]

    def get(self, name: str) -> Callable[..., Any]:
        """Imports and returns the component of a name.

        Raises:
            RegistryError: The name is unknown or ambiguous, or importing its code fails.
        """
        entry = self.entry(name)
        try:
            return entry.load()
        except Exception as error:  # third-party code may raise anything while it is imported
            raise RegistryError(
                f"{self.kind} {name!r} of {entry.owner} cannot be imported from {entry.target}: "
                f"{type(error).__name__}: {error}",
                [f"reinstall or remove {entry.owner}, or report this to its author"] if entry.owner != "i2i" else [],
            ) from error

    def _clash(self, name: str, owners: list[str]) -> RegistryError:
        return RegistryError(
            f"the {self.kind} name {name!r} is claimed by {' and '.join(owners)}",
            ["uninstall one of them, or rename one component"],
        )


def _folders() -> tuple[tuple[str, int], ...]:
    """Where packages are, and when each folder has changed."""
    found = []
    for folder in sys.path:
        try:
            found.append((folder, os.stat(folder or ".").st_mtime_ns))  # noqa: PTH116 (it may be an archive)
        except (OSError, ValueError):
            found.append((folder, 0))
    return tuple(found)


@lru_cache(maxsize=32)
def _installed(group: str, _: tuple[tuple[str, int], ...]) -> list[Entry]:
    """Returns what packages register; the metadata of all of them are read, so not again while their folders stay."""
    return [
        Entry(point.name, point.value, point.dist.name if point.dist else point.value)
        for point in entry_points(group=group)
    ]


GENERATORS = Registry(
    "generator",
    {
        "resnet": "i2i.networks.resnet:ResNetGenerator",
        "unet": "i2i.networks.unet:UNetGenerator",
        "mlp": "i2i.networks.mlp:MLPGenerator",
    },
    "i2i.generators",
)
DISCRIMINATORS = Registry(
    "discriminator",
    {
        "patchgan": "i2i.networks.patchgan:PatchGANDiscriminator",
        "multiscale": "i2i.networks.multiscale:MultiScaleDiscriminator",
        "mlp": "i2i.networks.mlp:MLPDiscriminator",
    },
    "i2i.discriminators",
)
ENCODERS = Registry("encoder", {}, "i2i.encoders")
NETWORKS = Registry("network", {}, "i2i.networks")
LOSSES = Registry(
    "loss",
    {
        "vanilla": "i2i.losses.adversarial:Vanilla",
        "lsgan": "i2i.losses.adversarial:LSGAN",
        "hinge": "i2i.losses.adversarial:Hinge",
        "non_saturating": "i2i.losses.adversarial:NonSaturating",
        "wgan": "i2i.losses.adversarial:WGAN",
        "l1": "i2i.losses.pixel:L1",
        "l2": "i2i.losses.pixel:L2",
        "smooth_l1": "i2i.losses.pixel:SmoothL1",
        "charbonnier": "i2i.losses.pixel:Charbonnier",
        "ssim": "i2i.losses.structure:SSIM",
        "perceptual": "i2i.losses.perceptual:Perceptual",
        "style": "i2i.losses.perceptual:Style",
        "total_variation": "i2i.losses.regularizers:TotalVariation",
    },
    "i2i.losses",
)
DATASETS = Registry(
    "dataset",
    {
        "paired": "i2i.data.pictures:Paired",
        "unpaired": "i2i.data.pictures:Unpaired",
        "labels": "i2i.data.labels:Labels",
        "folder": "i2i.data.folder:Folder",
        "shards": "i2i.data.shards.dataset:Shards",
        "synthetic": "i2i.data.drawn.dataset:Synthetic",
        "digits": "i2i.data.drawn.digits:Digits",
    },
    "i2i.datasets",
)
PIPELINES = Registry(
    "pipeline",
    {
        "pix2pix": "i2i.pipelines.pix2pix:Pix2Pix",
        "cyclegan": "i2i.pipelines.cyclegan:CycleGAN",
        "gan": "i2i.pipelines.gan:GAN",
    },
    "i2i.pipelines",
)
METRICS = Registry(
    "metric",
    {
        "psnr": "i2i.metrics.pixels:PSNR",
        "ssim": "i2i.metrics.pixels:SSIM",
        "l1": "i2i.metrics.pixels:L1Distance",
        "pixel_accuracy": "i2i.metrics.labels:PixelAccuracy",
        "mean_iou": "i2i.metrics.labels:MeanIoU",
    },
    "i2i.metrics",
)
TRACKERS = Registry("tracker", {}, "i2i.trackers")
OPTIMIZERS = Registry(
    "optimizer",
    {
        name.lower(): f"torch.optim:{name}"
        for name in ("Adadelta", "Adagrad", "Adam", "AdamW", "Adamax", "NAdam", "RAdam", "RMSprop", "SGD")
    },
)
SCHEDULES = Registry(
    "schedule",
    {
        name.lower(): f"i2i.training.schedules:{name}"
        for name in ("Constant", "Linear", "Cosine", "Step", "MultiStep", "Exponential")
    },
)

REGISTRIES = {
    registry.kind: registry
    for registry in (
        GENERATORS,
        DISCRIMINATORS,
        ENCODERS,
        NETWORKS,
        LOSSES,
        DATASETS,
        PIPELINES,
        METRICS,
        TRACKERS,
        OPTIMIZERS,
        SCHEDULES,
    )
}

NETWORK_KINDS = {registry.kind for registry in (GENERATORS, DISCRIMINATORS, ENCODERS, NETWORKS)}


def registry_of(kind: str) -> Registry:
    """Finds a registry by its kind, in singular or plural.

    Raises:
        RegistryError: No such kind.
    """
    plurals = {"losses": "loss"}
    singular = plurals.get(kind, kind if kind in REGISTRIES else kind.removesuffix("s"))
    if singular not in REGISTRIES:
        raise RegistryError(
            f"no kind of component is named {kind!r}{did_you_mean(kind, REGISTRIES)}",
            [f"kinds: {', '.join(REGISTRIES)}"],
        )
    return REGISTRIES[singular]

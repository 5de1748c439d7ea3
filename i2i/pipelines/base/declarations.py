"""What an objective declares: networks, losses, phases, directions, stages."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from torch import Tensor


def _check_tuple(owner: Any, name: str) -> None:
    """Refuses a text in the place of a tuple: ``("a")`` is one, and its letters would count."""
    value = getattr(owner, name)
    if isinstance(value, str):
        raise TypeError(f"{name} of {type(owner).__name__} is a tuple: {name}=({value!r},)")


@dataclass(frozen=True)
class Channels:
    """The domains that a network reads and writes; several are concatenated along channels.

    Attributes:
        inputs: Keys of a batch. Empty: the network takes no image.
        outputs: Keys of a batch. Empty: the network judges, or makes no image.
    """

    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("inputs", "outputs"):
            _check_tuple(self, name)


@dataclass(frozen=True)
class NetworkRole:
    """A top-level key of the YAML that names a network.

    Attributes:
        kind: The registry in which its type is looked up.
        makes: The networks built from the node, by the paper's letter.
        required: Whether the YAML must have the key. A network that is missing is not in ``Pipeline.members``.
        takes: Constructor argument -> where its value comes from: ``G.num_latents`` (an attribute of another network),
            ``data.size``, ``data.num_classes``, ``data.num_attributes``. Passed where the constructor names the
            argument and the YAML does not set it.
        offers: Methods that the pipeline calls beside ``forward``, such as ``features``.

    Example:
        >>> NetworkRole("generator", {"G": Channels(outputs=("image",))}, takes={"size": "data.size"})
    """

    kind: str
    makes: Mapping[str, Channels]
    required: bool = True
    takes: Mapping[str, str] = field(default_factory=dict)
    offers: tuple[str, ...] = ()


@dataclass(frozen=True)
class LossRole:
    """A key of the YAML's ``losses``.

    Attributes:
        families: Families of losses that fit: ``adversarial`` judges logits, ``pairwise`` compares a prediction with a
            target, ``latent`` judges latents. A loss class names its own ``family``.
        required: Whether the objective makes no sense without a loss here.
        needs: What the loss needs of networks, as ``ROLE.METHOD``: ``discriminator.logits_and_features``.

    Raises:
        TypeError: ``families`` is a text.
    """

    families: tuple[str, ...]
    required: bool = True
    needs: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check_tuple(self, "families")


@dataclass(frozen=True)
class Direction:
    """One use of the trained networks, by a name such as ``a2b``, ``generate`` or ``reconstruct``.

    Attributes:
        networks: The networks that a bundle needs for it.
        source: The domain that it reads. Empty: it starts from noise.
        target: The domain that it makes. Empty: it gives a score instead of an image.
    """

    networks: tuple[str, ...]
    source: str = ""
    target: str = "image"


@dataclass(frozen=True)
class Phase:
    """One optimizer step within a training step.

    Attributes:
        name: Passed to :meth:`Pipeline.loss` and :meth:`Pipeline.commit`.
        trains: The networks that receive gradients. All others are constants here.
        optimizer: The role in the YAML whose optimizer steps. Phases of one name share its state.
        every: Steps from one turn to the next. The first step has one. The loss counts ``every`` times, and learning
            rate and betas of the optimizer are corrected (StyleGAN2, arXiv:1912.04958, appendix B, "lazy
            regularization").
        part: The leading share of the batch that the phase sees, at least one image.
        second_order: Whether the phase differentiates a gradient. It is then computed in float32 and not compiled.
        constant_shared: Whether what the phases share is a constant here, so that it comes without a graph.

    Raises:
        ValueError: ``every`` or ``part`` is out of range.
    """

    name: str
    trains: tuple[str, ...]
    optimizer: str
    every: int = 1
    part: float = 1.0
    second_order: bool = False
    constant_shared: bool = False

    def __post_init__(self) -> None:
        _check_tuple(self, "trains")
        if self.every < 1:
            raise ValueError(f"every must be at least 1, got {self.every} in phase {self.name!r}")
        if not 0 < self.part <= 1:
            raise ValueError(f"part must be above 0 and at most 1, got {self.part} in phase {self.name!r}")


@dataclass(frozen=True)
class Stage:
    """A part of the run with a batch size of its own: networks that grow have several.

    Attributes:
        first_image: How many images the run has seen when the stage begins. It begins with the next step.
        batch_size: Images of a step, over all processes and parts.
        resets_optimizers: Whether optimizers forget their moments when the stage begins.
        lr_factor: What the learning rates are multiplied by.

    Raises:
        ValueError: A number is out of range.
    """

    first_image: int
    batch_size: int
    resets_optimizers: bool = False
    lr_factor: float = 1.0

    def __post_init__(self) -> None:
        for name, least in (("first_image", 0), ("batch_size", 1), ("lr_factor", 0)):
            if not getattr(self, name) >= least:
                raise ValueError(f"{name} of a stage must be at least {least}, got {getattr(self, name)}")


class View(NamedTuple):
    """A column of a sample grid.

    Attributes:
        domain: The domain of the images.
        images: ``[N, C, H, W]``. Several images of one row are shown side by side.
    """

    domain: str
    images: Tensor

"""What an objective declares and what the trainer asks of it.

A pipeline owns networks and losses and reads like its paper. The trainer owns what is mechanical: precision, gradients,
optimizers, schedules, checkpoints. Between them stands the :class:`Phase`: which networks learn from which loss, in
which order.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal, NamedTuple, Self, cast

import torch
from torch import Tensor, nn

Batch = Mapping[str, Any]
Shared = dict[str, Tensor]
Direction = Literal["a2b", "b2a"]


@dataclass(frozen=True)
class Phase:
    """One optimizer step within a training step.

    Attributes:
        name: Passed to :meth:`Pipeline.loss`.
        trains: The networks that receive gradients; all others are constants here.
        optimizer: The role in the YAML whose optimizer steps; phases of one name share its state.
        constant_shared: Whether what the phases share is a constant here: then it comes without its graph, as it was
            when a phase of this step first computed it.
        late_commit: Whether what :meth:`Pipeline.commit` changes for this phase matters to this phase alone: the change
            may then wait until the phase comes again, which lets a GPU run ahead.
    """

    name: str
    trains: tuple[str, ...]
    optimizer: str
    constant_shared: bool = False
    late_commit: bool = False


@dataclass(frozen=True)
class Channels:
    """Which domains a network reads and writes; several are concatenated along channels.

    Attributes:
        inputs: Keys of a batch.
        outputs: Keys of a batch; empty for a network that judges.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...] = ()


@dataclass(frozen=True)
class NetworkRole:
    """A top-level key of the YAML that names a network.

    Attributes:
        kind: The registry that its type is looked up in.
        makes: The networks built from the node, by the paper's letter.
    """

    kind: str
    makes: Mapping[str, Channels]


@dataclass(frozen=True)
class LossRole:
    """A key of the YAML's ``losses``.

    Attributes:
        family: ``adversarial`` judges logits; ``pairwise`` compares a prediction with a target.
        required: Whether the objective makes no sense without it.
        features_of: The network role whose feature maps the loss compares, in place of images; its networks need a
            method ``logits_and_features``. Empty for most.
    """

    family: Literal["adversarial", "pairwise"]
    required: bool = True
    features_of: str = ""


@dataclass
class Terms:
    """What a phase gives back.

    Attributes:
        losses: Scalars by name, weights included: the trainer descends their sum.
        statistics: Scalars to log only, such as discriminator accuracy.
    """

    losses: dict[str, Tensor]
    statistics: dict[str, Tensor] = field(default_factory=dict)

    def total(self) -> Tensor:
        return torch.stack(list(self.losses.values())).sum()

    @staticmethod
    def joined(terms: Iterable["Terms"]) -> "Terms":
        """Returns several as one."""
        whole = Terms({})
        for one in terms:
            whole.losses |= one.losses
            whole.statistics |= one.statistics
        return whole


class View(NamedTuple):
    """A column of a sample grid.

    Attributes:
        domain: Whose images these are, ``a`` or ``b``.
        images: ``[N, C, H, W]``.
    """

    domain: str
    images: Tensor


class WeightedLosses(nn.Module):
    """The losses that play one role, as one loss: the sum of each times its weight.

    Args:
        losses: Adversarial losses or pairwise losses, not mixed.
        weights: One a loss.
    """

    def __init__(self, losses: Sequence[nn.Module], weights: Sequence[float]) -> None:
        super().__init__()
        self.losses = nn.ModuleList(losses)
        self.weights = tuple(weights)

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        return self._sum(lambda loss: loss(prediction, target))

    def generator(self, fake: Any, real: Any = None) -> Tensor:
        return self._sum(lambda loss: loss.generator(fake, real))

    def discriminator(self, real: Any, fake: Any) -> Tensor:
        return self._sum(lambda loss: loss.discriminator(real, fake))

    def penalty(self, discriminator: Callable[[Tensor], Any], real: Tensor, fake: Tensor) -> Tensor | None:
        """Returns the sum of the penalties, or ``None`` where no loss has one."""
        penalties = []
        for loss, weight in zip(self.losses, self.weights, strict=True):
            penalty: Callable[..., Tensor | None] | None = getattr(loss, "penalty", None)
            value = penalty(discriminator, real, fake) if penalty is not None else None
            if value is not None:
                penalties.append(weight * value)
        return torch.stack(penalties).sum() if penalties else None

    @property
    def boundary(self) -> float:
        """The logit between real and fake of the first loss; 0 where it names none."""
        boundary: float = getattr(self.losses[0], "boundary", 0.0)
        return boundary

    def _sum(self, evaluate: Callable[[Any], Tensor]) -> Tensor:
        values = [weight * evaluate(loss) for loss, weight in zip(self.losses, self.weights, strict=True)]
        return torch.stack(values).sum()


class Pipeline(nn.Module):
    """Base of all objectives.

    Args:
        networks: By the letters that the roles make. For translation alone the generators suffice.
        losses: By role; empty for translation.
        norm_policy: Statistics of batch normalisation when translating: those of the image itself (``batch``) or the
            running ones (``running``).
        dropout_policy: Whether dropout stays on when translating, as the noise of the generator.

    Attributes:
        frozen: Letters of the networks that stay as they are; set by who assembles the pipeline.
    """

    networks: ClassVar[Mapping[str, NetworkRole]]
    losses: ClassVar[Mapping[str, LossRole]]
    phases: tuple[Phase, ...]
    directions: Mapping[Direction, str]  # direction -> the network that translates it
    learns_pairs: ClassVar[bool] = False  # whether a and b of a batch have to show the same things

    def __init__(
        self,
        networks: Mapping[str, nn.Module],
        losses: Mapping[str, WeightedLosses],
        norm_policy: str,
        dropout_policy: str,
    ) -> None:
        super().__init__()
        self.members = nn.ModuleDict(dict(networks))
        self.objectives = nn.ModuleDict(dict(losses))
        self.norm_policy = norm_policy
        self.dropout_policy = dropout_policy
        self.frozen: frozenset[str] = frozenset()

    @classmethod
    def conflicts(cls, channels: Mapping[str, int], roles: Collection[str]) -> Iterator[tuple[tuple[str, ...], str]]:
        """Names what cannot go together in a YAML: the path of a key, and why.

        Args:
            channels: Of the domains, as the pipeline has them.
            roles: The losses that are used.
        """
        return iter(())

    @property
    def averaged(self) -> tuple[str, ...]:
        """The networks of which a moving average of the weights is worth keeping: those that translate."""
        return tuple(dict.fromkeys(self.directions.values()))

    @property
    def active_phases(self) -> tuple[Phase, ...]:
        """The phases without frozen networks; those that would train nothing are left out."""
        phases = (
            replace(phase, trains=tuple(letter for letter in phase.trains if letter not in self.frozen))
            for phase in self.phases
        )
        return tuple(phase for phase in phases if phase.trains)

    def train(self, mode: bool = True) -> Self:
        """Sets the networks that are trained into training mode, and all others into evaluation mode."""
        super().train(mode)
        trained = {letter for phase in self.active_phases for letter in phase.trains}
        for letter, network in self.members.items():
            network.train(mode and letter in trained)
        return self

    def __getattr__(self, name: str) -> Any:
        # Lets equations read as in the paper: self.G is self.members["G"].
        members = self.__dict__.get("_modules", {}).get("members")
        if members is not None and name in members:
            return members[name]
        return super().__getattr__(name)

    def objective(self, role: str) -> WeightedLosses:
        """Returns the losses that play a role."""
        return cast(WeightedLosses, self.objectives[role])

    def forward(self, batch: Batch, rng: torch.Generator) -> Shared:
        """Computes what the phases share; differentiable, nothing frozen."""
        raise NotImplementedError

    def loss(self, phase: str, batch: Batch, shared: Shared, rng: torch.Generator) -> Terms:
        """Computes a phase's named losses. Pure: changes no state.

        Args:
            phase: A phase's name.
            batch: ``a`` and ``b``, each ``[N, C, H, W]`` in [-1, 1].
            shared: What :meth:`forward` returned in this step.
            rng: Seeded for this step and phase; :meth:`commit` receives one in the same state.
        """
        raise NotImplementedError

    def aside(self, phase: str, batch: Batch, rng: torch.Generator) -> Iterator[Terms]:
        """Yields those losses of a phase that use nothing of what the phases share, apart from each other.

        The gradient of each may be taken before anything else is computed, so that memory holds one graph at a time.
        """
        return iter(())

    def terms(self, phase: str, batch: Batch, shared: Shared, rng: torch.Generator) -> Terms:
        """Returns all losses of a phase: those of :meth:`aside` and :meth:`loss`."""
        return Terms.joined([*self.aside(phase, batch, rng), self.loss(phase, batch, shared, rng)])

    def commit(self, phase: str, batch: Batch, shared: Shared, rng: torch.Generator) -> None:
        """Changes the pipeline's own state, once the phase's step has been taken."""

    def translate(self, x: Tensor, direction: Direction) -> Tensor:
        """Translates images ``[N, C, H, W]`` in [-1, 1] of any size; the size is kept."""
        return fitted(self.members[self.directions[direction]], x)

    def previews(self, batch: Batch) -> dict[str, View]:
        """Returns the columns of a sample grid."""
        raise NotImplementedError

    def own_state(self) -> dict[str, Any]:
        """Returns the state that is neither network nor loss, such as an image pool."""
        return {
            key: value for key, value in self.state_dict().items() if not key.startswith(("members.", "objectives."))
        }

    def load_own_state(self, state: dict[str, Any], device: torch.device) -> None:
        """Restores what :meth:`own_state` returned, its tensors moved to the device."""
        self.load_state_dict(_moved(state, device), strict=False)


def _moved(value: Any, device: torch.device) -> Any:
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, dict):
        return {key: _moved(child, device) for key, child in value.items()}
    return [_moved(child, device) for child in value] if isinstance(value, list) else value


def fitted(network: nn.Module, x: Tensor) -> Tensor:
    """Applies a generator to images of any size: pads to its stride and least size, and crops back.

    Args:
        network: With attributes ``stride`` and ``min_size``, both 1 where absent.
        x: ``[N, C, H, W]``.

    Returns:
        ``[N, C_out, H, W]``.
    """
    height, width = x.shape[-2:]
    stride, least = getattr(network, "stride", 1), getattr(network, "min_size", 1)
    bottom, right = (_padding(length, stride, least) for length in (height, width))
    if not bottom and not right:
        return network(x)
    y: Tensor = network(_extended(_extended(x, bottom, -2), right, -1))
    return y[..., :height, :width]


def _padding(length: int, stride: int, least: int) -> int:
    return -(-max(length, least) // stride) * stride - length


def _extended(x: Tensor, amount: int, dim: int) -> Tensor:
    """Mirrors the image beyond its end; where it is too small for that, repeats the edge.

    By slices: the padding kernels of CUDA have no deterministic backward.
    """
    length = x.shape[dim]
    if amount == 0:
        return x
    if amount < length:
        beyond = x.narrow(dim, length - 1 - amount, amount).flip(dim)
    else:
        beyond = x.narrow(dim, length - 1, 1).repeat_interleave(amount, dim)
    return torch.cat([x, beyond], dim)


def logits_of(output: Tensor | Sequence[Tensor]) -> list[Tensor]:
    """A discriminator returns logits or a list of them, one a scale."""
    return [output] if isinstance(output, Tensor) else list(output)


def mean_over_maps(
    loss: Callable[[Tensor, Tensor], Tensor], maps: Sequence[Tensor], targets: Sequence[Tensor]
) -> Tensor:
    """Compares lists of feature maps; each map counts the same."""
    return torch.stack([loss(one, target) for one, target in zip(maps, targets, strict=True)]).mean()


def accuracy(real: Any, fake: Any, boundary: float) -> dict[str, Tensor]:
    """Shares of logits on the right side of a loss's boundary: near 0.5 D guesses, near 1 it has won."""
    return {
        "real": torch.cat([(logits > boundary).float().flatten() for logits in logits_of(real)]).mean(),
        "fake": torch.cat([(logits < boundary).float().flatten() for logits in logits_of(fake)]).mean(),
    }

"""The base of all objectives.

A pipeline owns networks and losses and reads like its paper. The trainer owns what is mechanical: precision, gradients,
optimizers, schedules, checkpoints. Between them stands the :class:`Phase`: which networks learn from which loss, in
which order.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from typing import Any, ClassVar, Self, cast

import torch
from torch import Tensor, nn

from i2i.pipelines.base.declarations import Direction, LossRole, NetworkRole, Phase, Stage, View
from i2i.pipelines.base.sizes import fitted
from i2i.pipelines.base.step import Batch, Now, Shared, Terms
from i2i.pipelines.base.weighted import WeightedLosses


class Pipeline(nn.Module):
    """Base of all objectives.

    A subclass declares ``networks`` and ``losses`` as class attributes, and ``phases`` and ``directions`` as class or
    instance attributes: both are read from the pipeline as built, so they may depend on arguments.

    Args:
        networks: By the letters that the roles make. A bundle brings those that its directions need.
        losses: By role; empty where nothing is trained.
        norm_policy: Statistics of batch normalisation when translating: those of the image itself (``batch``) or the
            running ones (``running``).
        dropout_policy: Whether dropout stays on when translating, as the noise of the generator.

    Attributes:
        averaged_state: Keys of :attr:`Terms.keep` whose values are means: parts and processes are averaged again. All
            others are concatenated over parts and stay with their process.
        frozen: Letters of the networks that stay as they are; set by the code that assembles the pipeline.

    Example:
        >>> class Autoencoder(Pipeline):
        ...     networks = {"generator": NetworkRole("generator", {"G": Channels(("image",), ("image",))})}
        ...     losses = {"reconstruction": LossRole(("pairwise",))}
        ...     phases = (Phase("G", ("G",), "generator"),)
        ...     directions = {"reconstruct": Direction(("G",), source="image")}
        ...
        ...     def loss(self, phase, now, shared):
        ...         x = now.batch["image"]
        ...         return Terms({"reconstruction": self.objective("reconstruction")(self.G(x), x)})
    """

    networks: ClassVar[Mapping[str, NetworkRole]]
    losses: ClassVar[Mapping[str, LossRole]]
    phases: tuple[Phase, ...]
    directions: Mapping[str, Direction]
    averaged_state: ClassVar[tuple[str, ...]] = ()
    learns_pairs: ClassVar[bool] = False  # whether a and b of a batch have to show the same things

    def __init__(
        self,
        networks: Mapping[str, nn.Module],
        losses: Mapping[str, WeightedLosses],
        norm_policy: str = "running",
        dropout_policy: str = "off",
    ) -> None:
        super().__init__()
        self.members = nn.ModuleDict(dict(networks))
        self.objectives = nn.ModuleDict(dict(losses))
        self.norm_policy = norm_policy
        self.dropout_policy = dropout_policy
        self.frozen: frozenset[str] = frozenset()

    # -- what a subclass defines ---------------------------------------------------------------------------------------

    @classmethod
    def conflicts(cls, channels: Mapping[str, int], roles: Collection[str]) -> Iterator[tuple[tuple[str, ...], str]]:
        """Yields what cannot go together in a YAML: the path of a key, and why.

        Args:
            channels: Of the domains, as the pipeline has them.
            roles: The losses that are used.
        """
        return iter(())

    def forward(self, now: Now) -> Shared:
        """Computes what the phases share; differentiable, nothing frozen. Called when a phase first asks for it."""
        return {}

    def loss(self, phase: str, now: Now, shared: Shared) -> "Terms | Iterator[Terms]":
        """Computes a phase's named losses. Pure: changes no state.

        A generator function may yield several :class:`Terms`. Each is differentiated before the next is computed, so
        that memory holds one graph at a time. (In exact ``fp32`` all are summed first.)

        Args:
            phase: A phase's name.
            now: The step at hand.
            shared: What :meth:`forward` returns, computed when it is first read.
        """
        raise NotImplementedError(f"{type(self).__name__} has no loss(phase, now, shared)")

    def commit(self, phase: str, keep: Mapping[str, Tensor]) -> None:
        """Changes the pipeline's own state, once a step has been taken.

        Args:
            phase: A phase's name.
            keep: What :attr:`Terms.keep` of the phase held.
        """

    def stages(self, batch_size: int) -> tuple[Stage, ...]:
        """Returns the stages of the run, in order; the first begins at image 0.

        Args:
            batch_size: The trainer's.
        """
        return (Stage(0, batch_size),)

    def translate(self, x: Tensor, direction: str, rng: torch.Generator, *_: Any, **options: Any) -> Tensor:
        """Translates images.

        Args:
            x: ``[N, C, H, W]`` in [-1, 1]; H and W are multiples of the stride of the direction's networks.
            direction: One with a source and a target.
            rng: For anything random.
            **options: A subclass names its own; users set them by ``--option name=value``.

        Returns:
            ``[N k, C, H, W]``: k images for each.
        """
        networks = self.directions[direction].networks
        if len(networks) != 1:
            raise NotImplementedError(f"{type(self).__name__} has no translate(x, direction, rng) for {direction!r}")
        return fitted(self.members[networks[0]], x)

    def generate(self, z: Tensor, label: Tensor | None = None, *_: Any, **options: Any) -> Tensor:
        """Makes images of latents.

        Args:
            z: ``[N, z_dim]``, or ``[N, *z_dim]`` where it is a shape.
            label: ``[N]`` int64 for classes, ``[N, K]`` float for attributes, ``None`` without.
            **options: As for :meth:`translate`.

        Returns:
            ``[N, C, H, W]`` in [-1, 1].
        """
        raise NotImplementedError(f"{type(self).__name__} has no generate(z, label)")

    def score(self, x: Tensor, direction: str, *_: Any, **options: Any) -> Tensor:
        """Judges images ``[N, C, H, W]`` in a direction without a target; returns logits ``[N, K]``."""
        raise NotImplementedError(f"{type(self).__name__} has no score(x, direction)")

    def previews(self, batch: Batch) -> dict[str, View]:
        """Returns the columns of a sample grid; anything random comes from the global random state.

        By default: the images of each source, and what each direction makes of it. Images from noise are added by the
        framework, with the same latents throughout a run.
        """
        rng = torch.Generator().manual_seed(torch.initial_seed() % 2**63)
        used = [direction.source or direction.target for direction in self.directions.values()]
        columns = {domain: View(domain, batch[domain]) for domain in used if domain in batch}
        for name, direction in self.directions.items():
            if direction.source and direction.target:
                columns[name] = View(direction.target, self.translate(batch[direction.source], name, rng))
        return columns

    # -- what a subclass uses ------------------------------------------------------------------------------------------

    def objective(self, role: str) -> WeightedLosses:
        """Returns the losses that play a role.

        Raises:
            ValueError: The role has none; :meth:`has` tells whether one that is not required has.
        """
        if role not in self.objectives:
            raise ValueError(f"no loss has the role {role!r}; roles here: {', '.join(self.objectives) or 'none'}")
        return cast(WeightedLosses, self.objectives[role])

    def has(self, role: str) -> bool:
        """Returns whether a role has a loss."""
        return role in self.objectives

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """The shape of a latent: ``z_dim`` of the first network that has one, in a direction that starts from noise.

        Raises:
            ValueError: There is none.
        """
        for direction in self.directions.values():
            for letter in direction.networks if not direction.source else ():
                dim = getattr(self.members[letter], "z_dim", None)
                if dim is not None:
                    return (dim,) if isinstance(dim, int) else tuple(dim)
        raise ValueError(f"{type(self).__name__} has no network with a z_dim in a direction that starts from noise")

    @property
    def device(self) -> torch.device:
        """The device of the networks."""
        return next(iter(self.members.parameters())).device

    # -- what the framework uses ---------------------------------------------------------------------------------------

    @property
    def trained(self) -> tuple[str, ...]:
        """The networks that some phase trains."""
        return tuple(dict.fromkeys(letter for phase in self.active_phases for letter in phase.trains))

    @property
    def used(self) -> tuple[str, ...]:
        """The networks that some direction needs: those of a bundle."""
        return tuple(dict.fromkeys(letter for direction in self.directions.values() for letter in direction.networks))

    @property
    def averaged(self) -> tuple[str, ...]:
        """The networks of which a moving average of the weights is kept: those that are trained and used."""
        return tuple(letter for letter in self.used if letter in self.trained)

    @property
    def active_phases(self) -> tuple[Phase, ...]:
        """The phases without frozen and missing networks; those that would train nothing are left out."""
        there = self.members.keys() - self.frozen
        phases = (
            replace(phase, trains=tuple(letter for letter in phase.trains if letter in there)) for phase in self.phases
        )
        return tuple(phase for phase in phases if phase.trains)

    def train(self, mode: bool = True) -> Self:
        """Sets the networks that are trained into training mode, and all others into evaluation mode."""
        super().train(mode)
        trained = self.trained
        for letter, network in self.members.items():
            network.train(mode and letter in trained)
        return self

    def __getattr__(self, name: str) -> Any:
        # Lets equations read as in the paper: self.G is self.members["G"].
        members = self.__dict__.get("_modules", {}).get("members")
        if members is not None and name in members:
            return members[name]
        return super().__getattr__(name)

    def own_state(self) -> dict[str, Any]:
        """Returns the state that is neither network nor loss, such as an image pool."""
        return {
            key: value for key, value in self.state_dict().items() if not key.startswith(("members.", "objectives."))
        }

    def load_own_state(self, state: dict[str, Any], device: torch.device) -> None:
        """Restores what :meth:`own_state` returned, its tensors moved to the device; buffers may have grown since."""
        moved = _moved(state, device)
        for prefix, module in self.named_modules():
            if prefix.partition(".")[0] in ("members", "objectives"):
                continue
            for name, buffer in module._buffers.items():
                value = moved.get(f"{prefix}.{name}" if prefix else name)
                if isinstance(value, Tensor) and (buffer is None or buffer.shape != value.shape):
                    module._buffers[name] = value.clone()
        self.load_state_dict(moved, strict=False)


def _moved(value: Any, device: torch.device) -> Any:
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, dict):
        return {key: _moved(child, device) for key, child in value.items()}
    return [_moved(child, device) for child in value] if isinstance(value, list) else value

"""CycleGAN: unpaired translation with cycle consistency (Zhu et al. 2017, arXiv:1703.10593)."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any, ClassVar, Literal

from torch import Tensor, nn

from i2i.pipelines.base import (
    Batch,
    Channels,
    Direction,
    LossRole,
    NetworkRole,
    Now,
    Phase,
    Pipeline,
    Shared,
    Terms,
    View,
    WeightedLosses,
    accuracy,
    fitted,
)
from i2i.pipelines.image_pool import ImagePool


class CycleGAN(Pipeline):
    """G: X -> Y and F: Y -> X, judged by D_Y and D_X; X is domain a, Y is domain b.

    Args:
        networks: ``G``, ``F`` and, for training, ``D_X``, ``D_Y``.
        losses: ``adversarial``, ``cycle`` and, optionally, ``identity``; ``perceptual``, which compares a fake with the
            image it was made of, for the content is to stay; ``style``, which compares it with a real image of its
            domain.
        pool_size: Images of the past that each discriminator sees (section 4, "training details").
        norm_policy: See :class:`Pipeline`.
        dropout_policy: See :class:`Pipeline`.
    """

    networks: ClassVar[Mapping[str, NetworkRole]] = {
        "generator": NetworkRole("generator", {"G": Channels(("a",), ("b",)), "F": Channels(("b",), ("a",))}),
        "discriminator": NetworkRole(
            "discriminator", {"D_X": Channels(("a",)), "D_Y": Channels(("b",))}, takes={"size": "data.size"}
        ),
    }
    losses: ClassVar[Mapping[str, LossRole]] = {
        "adversarial": LossRole(("adversarial",)),
        "cycle": LossRole(("pairwise",)),
        "identity": LossRole(("pairwise",), required=False),
        "perceptual": LossRole(("pairwise",), required=False),
        "style": LossRole(("pairwise",), required=False),
    }
    directions = {"a2b": Direction(("G",), "a", "b"), "b2a": Direction(("F",), "b", "a")}

    def __init__(
        self,
        networks: Mapping[str, nn.Module],
        losses: Mapping[str, WeightedLosses],
        pool_size: int = 50,
        norm_policy: Literal["batch", "running"] = "running",
        dropout_policy: Literal["on", "off"] = "off",
    ) -> None:
        super().__init__(networks, losses, norm_policy, dropout_policy)
        has_penalty = self.has("adversarial") and self.objective("adversarial").has_penalty
        self.phases = (
            Phase("G", ("G", "F"), "generator"),
            Phase("D", ("D_X", "D_Y"), "discriminator", second_order=has_penalty, constant_shared=True),
        )
        self.pool_x = ImagePool(pool_size)
        self.pool_y = ImagePool(pool_size)

    @classmethod
    def conflicts(cls, channels: Mapping[str, int], roles: Collection[str]) -> Iterator[tuple[tuple[str, ...], str]]:
        if "identity" in roles and channels["a"] != channels["b"]:
            counts = f"a has {channels['a']}, b {channels['b']}"
            yield ("losses", "identity"), f"needs domains of as many channels, and {counts}: leave the role out"

    def forward(self, now: Now) -> Shared:
        x, y = now.batch["a"], now.batch["b"]
        # The original's order: gradients of a network's calls are summed in it, and it decides the last bit.
        fake_y = fitted(self.G, x)
        recon_x = fitted(self.F, fake_y)  # F(G(x))
        fake_x = fitted(self.F, y)
        recon_y = fitted(self.G, fake_x)  # G(F(y))
        return {"fake_y": fake_y, "fake_x": fake_x, "recon_x": recon_x, "recon_y": recon_y}

    def loss(self, phase: str, now: Now, shared: Shared) -> Terms | Iterator[Terms]:
        return self._generators(now, shared) if phase == "G" else self._discriminators(now, shared)

    def _generators(self, now: Now, shared: Shared) -> Iterator[Terms]:
        x, y = now.batch["a"], now.batch["b"]
        if self.has("identity"):  # these need nothing shared: each graph is freed before the next is built
            identity = self.objective("identity")
            yield Terms({"identity_x": identity(fitted(self.F, x), x)})  # section 5.2, L_identity
            yield Terms({"identity_y": identity(fitted(self.G, y), y)})
        adversarial, cycle = self.objective("adversarial"), self.objective("cycle")
        losses = {
            "G_adversarial": adversarial.generator(self.D_Y(shared["fake_y"])),  # eq. 1
            "F_adversarial": adversarial.generator(self.D_X(shared["fake_x"])),
            "cycle_x": cycle(shared["recon_x"], x),  # eq. 2
            "cycle_y": cycle(shared["recon_y"], y),
        }
        if self.has("perceptual"):
            perceptual = self.objective("perceptual")
            losses["perceptual_y"] = perceptual(shared["fake_y"], x)
            losses["perceptual_x"] = perceptual(shared["fake_x"], y)
        if self.has("style"):
            style = self.objective("style")
            losses["style_y"] = style(shared["fake_y"], y)
            losses["style_x"] = style(shared["fake_x"], x)
        yield Terms(losses)

    def _discriminators(self, now: Now, shared: Shared) -> Terms:
        adversarial = self.objective("adversarial")
        terms = Terms({})
        for letter, D, real, fake in self._judged(now.batch, shared):
            seen, places = self._pool(letter).query(fake, now.rng)
            real_logits, fake_logits = D(real), D(seen)
            # Halved, so that D learns more slowly relative to G (section 7.1).
            terms.losses[f"D_{letter}"] = 0.5 * adversarial.discriminator(real_logits, fake_logits)
            penalty = adversarial.penalty(D, real, seen)
            if penalty is not None:
                terms.losses[f"D_{letter}_penalty"] = 0.5 * penalty
            hits = accuracy(real_logits, fake_logits, adversarial.boundary)
            terms.statistics[f"D_{letter}_accuracy_real"] = hits["real"]
            terms.statistics[f"D_{letter}_accuracy_fake"] = hits["fake"]
            terms.keep |= {f"fake_{letter}": fake.detach(), f"places_{letter}": places}
        return terms

    def commit(self, phase: str, keep: Mapping[str, Tensor]) -> None:
        if phase == "D":
            for letter in "YX":
                self._pool(letter).commit(keep[f"fake_{letter}"], keep[f"places_{letter}"])

    def _judged(self, batch: Batch, shared: Shared) -> tuple[tuple[str, Any, Tensor, Tensor], ...]:
        """Letter, discriminator, real and fake images of each domain."""
        return (
            ("Y", self.D_Y, batch["b"], shared["fake_y"]),
            ("X", self.D_X, batch["a"], shared["fake_x"]),
        )

    def _pool(self, letter: str) -> ImagePool:
        return self.pool_y if letter == "Y" else self.pool_x

    def previews(self, batch: Batch) -> dict[str, View]:
        columns = {}
        for one, other, there, back in (("a", "b", self.G, self.F), ("b", "a", self.F, self.G)):
            real = batch[one]
            fake = fitted(there, real)
            columns[f"real {one}"] = View(one, real)
            columns[f"fake {other}"] = View(other, fake)
            columns[f"reconstructed {one}"] = View(one, fitted(back, fake))
            if real.shape[1] == batch[other].shape[1]:  # else the network does not take its own domain
                columns[f"identity {one}"] = View(one, fitted(back, real))
        return columns

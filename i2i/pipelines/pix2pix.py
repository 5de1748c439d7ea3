"""Pix2Pix: paired translation with a conditional GAN (Isola et al. 2017, arXiv:1611.07004)."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from i2i.pipelines.base import (
    Batch,
    Channels,
    LossRole,
    NetworkRole,
    Phase,
    Pipeline,
    Shared,
    Terms,
    View,
    WeightedLosses,
    accuracy,
    fitted,
)


class Pix2Pix(Pipeline):
    """G: a -> b, judged by D, which sees input and output together (section 3).

    D steps first; G is then judged by the updated D. The noise z of the paper is G's dropout, kept on when translating,
    and batch normalisation uses the statistics of the test image (section 3.2, "at inference time"): both are policies,
    written into the bundle. Whether there is dropout or batch normalisation is the generator's choice.

    Args:
        networks: ``G`` and, for training, ``D``.
        losses: ``adversarial`` and ``reconstruction``.
        norm_policy: See :class:`Pipeline`; the paper's is ``batch``.
        dropout_policy: See :class:`Pipeline`; the paper's is ``on``.
    """

    networks: ClassVar[Mapping[str, NetworkRole]] = {
        "generator": NetworkRole("generator", {"G": Channels(("a",), ("b",))}),
        "discriminator": NetworkRole("discriminator", {"D": Channels(("a", "b"))}),
    }
    losses: ClassVar[Mapping[str, LossRole]] = {
        "adversarial": LossRole("adversarial"),
        "reconstruction": LossRole("pairwise"),
    }
    phases = (Phase("D", ("D",), "discriminator", constant_shared=True), Phase("G", ("G",), "generator"))
    directions = {"a2b": "G"}

    def __init__(
        self,
        networks: Mapping[str, nn.Module],
        losses: Mapping[str, WeightedLosses],
        norm_policy: Literal["batch", "running"] = "batch",
        dropout_policy: Literal["on", "off"] = "on",
    ) -> None:
        super().__init__(networks, losses, norm_policy, dropout_policy)

    def forward(self, batch: Batch, rng: torch.Generator) -> Shared:
        return {"fake": fitted(self.G, batch["a"])}  # G(x, z)

    def loss(self, phase: str, batch: Batch, shared: Shared, rng: torch.Generator) -> Terms:
        x, y, fake = batch["a"], batch["b"], shared["fake"]
        adversarial = self.objective("adversarial")

        def D(image: Tensor) -> Any:  # D(x, .)
            return self.D(torch.cat([x, image], dim=1))

        if phase == "D":
            real_logits, fake_logits = D(y), D(fake)
            # Halved, so that D learns more slowly relative to G (section 3.3).
            losses = {"D": 0.5 * adversarial.discriminator(real_logits, fake_logits)}
            penalty = adversarial.penalty(D, y, fake)
            if penalty is not None:
                losses["D_penalty"] = 0.5 * penalty
            hits = accuracy(real_logits, fake_logits, adversarial.boundary)
            return Terms(losses, {"D_accuracy_real": hits["real"], "D_accuracy_fake": hits["fake"]})

        return Terms(
            {
                "G_adversarial": adversarial.generator(D(fake)),  # eq. 1
                "G_reconstruction": self.objective("reconstruction")(fake, y),  # eq. 3
            }
        )

    def previews(self, batch: Batch) -> dict[str, View]:
        return {
            "input": View("a", batch["a"]),
            "output": View("b", self.translate(batch["a"], "a2b")),
            "target": View("b", batch["b"]),
        }

"""Pix2Pix: paired translation with a conditional GAN (Isola et al. 2017, arXiv:1611.07004)."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
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
    mean_over_maps,
)


class Pix2Pix(Pipeline):
    """G: a -> b, judged by D, which sees input and output together (section 3).

    D steps first; G is then judged by the updated D. The noise z of the paper is G's dropout, kept on when translating,
    and batch normalisation uses the statistics of the test image (section 3.3, "at inference time"): both are policies,
    written into the bundle. Whether there is dropout or batch normalisation is the generator's choice.

    Feature matching is pix2pixHD's (Wang et al. 2018, arXiv:1711.11585, section 3.3, equation 3): it compares what D's
    layers make of real and fake. Here it is the mean over all layers of all scales, where the paper sums, and so is the
    adversarial loss over the scales: the paper's balance, 10 on three scales of four layers, is 10 x 4 = 40 here.

    Args:
        networks: ``G`` and, for training, ``D``.
        losses: ``adversarial`` and ``reconstruction``; optionally ``perceptual`` and ``style``, which compare fake and
            target, too, and ``feature_matching``.
        norm_policy: See :class:`Pipeline`; the paper's is ``batch``.
        dropout_policy: See :class:`Pipeline`; the paper's is ``on``.
    """

    networks: ClassVar[Mapping[str, NetworkRole]] = {
        "generator": NetworkRole("generator", {"G": Channels(("a",), ("b",))}),
        "discriminator": NetworkRole("discriminator", {"D": Channels(("a", "b"))}, takes={"size": "data.size"}),
    }
    losses: ClassVar[Mapping[str, LossRole]] = {
        "adversarial": LossRole(("adversarial",)),
        "reconstruction": LossRole(("pairwise",)),
        "perceptual": LossRole(("pairwise",), required=False),
        "style": LossRole(("pairwise",), required=False),
        "feature_matching": LossRole(("pairwise",), required=False, needs=("discriminator.logits_and_features",)),
    }
    directions = {"a2b": Direction(("G",), "a", "b")}
    learns_pairs = True

    def __init__(
        self,
        networks: Mapping[str, nn.Module],
        losses: Mapping[str, WeightedLosses],
        norm_policy: Literal["batch", "running"] = "batch",
        dropout_policy: Literal["on", "off"] = "on",
    ) -> None:
        super().__init__(networks, losses, norm_policy, dropout_policy)
        has_penalty = self.has("adversarial") and self.objective("adversarial").has_penalty
        self.phases = (
            Phase("D", ("D",), "discriminator", second_order=has_penalty, constant_shared=True),
            Phase("G", ("G",), "generator"),
        )

    def forward(self, now: Now) -> Shared:
        return {"fake": fitted(self.G, now.batch["a"])}  # G(x, z)

    def loss(self, phase: str, now: Now, shared: Shared) -> Terms:
        x, y, fake = now.batch["a"], now.batch["b"], shared["fake"]
        adversarial = self.objective("adversarial")

        def D(image: Tensor) -> Any:  # D(x, .)
            return self.D(torch.cat([x, image], dim=1))

        if phase == "D":
            fake_logits, real_logits = D(fake), D(y)  # running statistics remember the original's order
            # Halved, so that D learns more slowly relative to G (section 3.3).
            losses = {"D": 0.5 * adversarial.discriminator(real_logits, fake_logits)}
            penalty = adversarial.penalty(D, y, fake)
            if penalty is not None:
                losses["D_penalty"] = 0.5 * penalty
            hits = accuracy(real_logits, fake_logits, adversarial.boundary)
            return Terms(losses, {"D_accuracy_real": hits["real"], "D_accuracy_fake": hits["fake"]})

        losses = {}
        if self.has("feature_matching"):
            logits, features = self.D.logits_and_features(torch.cat([x, fake], dim=1))
            with torch.no_grad():
                _, real_features = self.D.logits_and_features(torch.cat([x, y], dim=1))
            losses["G_feature_matching"] = mean_over_maps(
                self.objective("feature_matching"), features, real_features
            )  # pix2pixHD, eq. 3
        else:
            logits = D(fake)
        losses["G_adversarial"] = adversarial.generator(logits)  # eq. 1
        for role in ("reconstruction", "perceptual", "style"):
            if self.has(role):
                losses[f"G_{role}"] = self.objective(role)(fake, y)  # reconstruction: eq. 3
        return Terms(losses)

    def previews(self, batch: Batch) -> dict[str, View]:
        return {
            "input": View("a", batch["a"]),
            "output": View("b", fitted(self.G, batch["a"])),
            "target": View("b", batch["b"]),
        }

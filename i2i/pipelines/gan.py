"""GAN: images from noise (Goodfellow et al. 2014, arXiv:1406.2661).

With labels: Mirza and Osindero 2014, arXiv:1411.1784.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor, nn

from i2i.losses.penalties import r1_penalty
from i2i.pipelines.base import (
    Channels,
    Direction,
    LossRole,
    NetworkRole,
    Now,
    Phase,
    Pipeline,
    Shared,
    Terms,
    WeightedLosses,
    accuracy,
)

_LABELS = {"num_classes": "data.num_classes", "num_attributes": "data.num_attributes", "size": "data.size"}


class GAN(Pipeline):
    """G makes an image of a latent z, D tells it from a real one (section 3, algorithm 1).

    Where the data have labels and the networks read them, both get those of the real images: D judges whether image and
    label belong together. D steps first; G is then judged by the updated D.

    Args:
        networks: ``G`` and, for training, ``D``.
        losses: ``adversarial``.
        r1: Weight of the gradient penalty on real images, ``r1 / 2 * E |grad D(x)|^2`` (Mescheder et al. 2018,
            arXiv:1801.04406, equation 9); 0 for none.
        r1_every: Steps from one penalty to the next (StyleGAN2, arXiv:1912.04958, appendix B).
    """

    networks: ClassVar[Mapping[str, NetworkRole]] = {
        "generator": NetworkRole("generator", {"G": Channels(outputs=("image",))}, takes=_LABELS),
        "discriminator": NetworkRole("discriminator", {"D": Channels(inputs=("image",))}, takes=_LABELS),
    }
    losses: ClassVar[Mapping[str, LossRole]] = {"adversarial": LossRole(("adversarial",))}
    directions = {"generate": Direction(("G",))}

    def __init__(
        self,
        networks: Mapping[str, nn.Module],
        losses: Mapping[str, WeightedLosses],
        r1: float = 0.0,
        r1_every: int = 16,
    ) -> None:
        super().__init__(networks, losses)
        if not r1 >= 0:
            raise ValueError(f"r1 must not be negative, got {r1}")
        if r1_every < 1:
            raise ValueError(f"r1_every must be at least 1, got {r1_every}")
        self.r1 = r1
        has_penalty = self.has("adversarial") and self.objective("adversarial").has_penalty
        penalty = Phase("D_r1", ("D",), "discriminator", every=r1_every, second_order=True, constant_shared=True)
        self.phases = (
            Phase("D", ("D",), "discriminator", second_order=has_penalty, constant_shared=True),
            *((penalty,) if r1 else ()),
            Phase("G", ("G",), "generator"),
        )

    def forward(self, now: Now) -> Shared:
        count = len(now.batch["image"])
        return {"fake": _called(self.G, now.noise(count, *self.latent_shape), self._label(now))}  # G(z)

    def loss(self, phase: str, now: Now, shared: Shared) -> Terms:
        x, label, adversarial = now.batch["image"], self._label(now), self.objective("adversarial")

        def D(image: Tensor) -> Any:
            return _called(self.D, image, label)

        if phase == "D_r1":
            return Terms({"D_r1": self.r1 / 2 * r1_penalty(D, x)})  # eq. 9
        fake = shared["fake"]
        if phase == "G":
            return Terms({"G": adversarial.generator(D(fake))})
        real_logits, fake_logits = D(x), D(fake)
        losses = {"D": adversarial.discriminator(real_logits, fake_logits)}  # eq. 1
        penalty = adversarial.penalty(D, x, fake)
        if penalty is not None:
            losses["D_penalty"] = penalty
        hits = accuracy(real_logits, fake_logits, adversarial.boundary)
        return Terms(losses, {"D_accuracy_real": hits["real"], "D_accuracy_fake": hits["fake"]})

    def generate(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        image: Tensor = _called(self.G, z, label)
        return image

    def _label(self, now: Now) -> Tensor | None:
        """The labels of the batch, where a network reads them."""
        return now.batch["label"] if any(map(_reads_labels, self.members.values())) else None


def _called(network: nn.Module, x: Tensor, label: Tensor | None) -> Any:
    return network(x, label) if _reads_labels(network) else network(x)


def _reads_labels(network: nn.Module) -> bool:
    return bool(getattr(network, "num_classes", 0) or getattr(network, "num_attributes", 0))

"""Are the surfaces of a picture where its label map has them? Asked of a small network that knows only true pictures.

After the FCN-score of Isola et al., "Image-to-Image Translation with Conditional Adversarial Networks" (2017), section
3.2: where a translation from labels is good, a classifier trained on real pictures finds the labels in it. Distances to
one true picture cannot tell that, as the labels leave colours open. This classifier is learnt on the spot, in seconds,
and sees 15 pixels across, so that it judges by look rather than by place; its score on true pictures is the bound.
"""

import torch
import torch.nn.functional as nnf
from torch import Tensor, nn

_CHANNELS = 16
_BATCH, _RATE = 8, 1e-2


class Segmenter:
    """Finds the class of each pixel.

    Args:
        images: True pictures to learn from, [N, 3, H, W] in [-1, 1].
        ids: Their classes, integers [N, H, W] from 0 to ``num_classes - 1``.
        num_classes: How many there are.
        steps: How long it learns, 8 pictures at a time.
        seed: Of weights and order; torch's own generator is left alone.

    Raises:
        ValueError: Images and ids do not belong together.
    """

    def __init__(self, images: Tensor, ids: Tensor, num_classes: int, steps: int = 240, seed: int = 0) -> None:
        if images.shape[1:2] != (3,) or ids.shape != (*images.shape[:1], *images.shape[2:]):
            raise ValueError(f"ids must be [N, H, W] for images [N, 3, H, W], got {[*ids.shape]} for {[*images.shape]}")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            layers: list[nn.Module] = []
            for channels, dilation in ((3, 1), (_CHANNELS, 2), (_CHANNELS, 4)):
                layers += [
                    nn.Conv2d(channels, _CHANNELS, 3, padding=dilation, dilation=dilation, bias=False),
                    nn.BatchNorm2d(_CHANNELS),
                    nn.ReLU(),
                ]
            self.network = nn.Sequential(*layers, nn.Conv2d(_CHANNELS, num_classes, 1))
        order = torch.Generator().manual_seed(seed)
        optimizer = torch.optim.Adam(self.network.parameters(), _RATE)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _RATE, total_steps=steps)
        for _ in range(steps):
            batch = torch.randint(len(images), (_BATCH,), generator=order)
            loss = nnf.cross_entropy(self.network(images[batch]), ids[batch].long())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        self.network.eval()

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """The classes [N, H, W] of pictures [N, 3, H, W] in [-1, 1]."""
        return self.network(images).argmax(1)

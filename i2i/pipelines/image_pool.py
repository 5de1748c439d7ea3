"""A history of generated images for the discriminator (Shrivastava et al. 2017, section 2.3)."""

from typing import Any

import torch
from torch import Tensor, nn


class ImagePool(nn.Module):
    """Keeps some of the images generated so far.

    Half of the time the discriminator sees an image of the past instead of the newest, which then takes its place.
    Reading is pure; :meth:`commit` changes the pool, given a generator in the same state.

    Args:
        size: Number of images kept; 0 passes all images through.

    Raises:
        ValueError: ``size`` is negative.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        if size < 0:
            raise ValueError(f"pool_size must not be negative, got {size}")
        self.size = size
        self.images: list[Tensor] = []  # each [C, H, W]

    def query(self, images: Tensor, rng: torch.Generator) -> Tensor:
        """Returns ``[N, C, H, W]``: each image, or one of the past in its place."""
        return self._exchange(images, rng, list(self.images))

    def commit(self, images: Tensor, rng: torch.Generator) -> None:
        """Takes the images in, as :meth:`query` with the same random numbers assumed."""
        self._exchange(images, rng, self.images)

    def _exchange(self, images: Tensor, rng: torch.Generator, pool: list[Tensor]) -> Tensor:
        if self.size == 0:
            return images
        shown = []
        for image in images.detach():
            if len(pool) < self.size:
                pool.append(image.clone())
            elif torch.rand((), generator=rng) < 0.5:
                place = int(torch.randint(self.size, (), generator=rng))
                image, pool[place] = pool[place], image.clone()
            shown.append(image)
        return torch.stack(shown)

    def get_extra_state(self) -> dict[str, Any]:
        return {"images": list(self.images)}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        self.images = list(state["images"])

"""A history of generated images for the discriminator (Shrivastava et al. 2017, section 2.3)."""

from typing import Any

import torch
from torch import Tensor, nn

_NOWHERE = -1  # the place of an image that is not kept


class ImagePool(nn.Module):
    """Keeps some of the images generated so far.

    Half of the time the discriminator sees an image of the past instead of the newest, which then takes its place.
    Reading is pure; :meth:`commit` changes the pool.

    Args:
        size: Number of images kept; 0 passes all images through.

    Raises:
        ValueError: ``size`` is negative.

    Example:
        >>> seen, places = pool.query(fake, now.rng)     # in Pipeline.loss
        >>> keep = {"fake": fake.detach(), "places": places}
        >>> pool.commit(keep["fake"], keep["places"])    # in Pipeline.commit
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        if size < 0:
            raise ValueError(f"pool_size must not be negative, got {size}")
        self.size = size
        self.images: list[Tensor] = []  # each [C, H, W]

    def query(self, images: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """Chooses what a discriminator sees.

        Args:
            images: ``[N, C, H, W]``.
            rng: Decides.

        Returns:
            ``[N, C, H, W]``: each image, or one of the past in its place; and where each image goes, ``[N]`` int64 on
            the CPU, for :meth:`commit`.
        """
        if self.size == 0:
            return images, torch.full((len(images),), _NOWHERE)
        pool, seen, places = list(self.images), [], []
        for image in images.detach():
            place = _NOWHERE
            if len(pool) < self.size:
                place = len(pool)
                pool.append(image)
            elif torch.rand((), generator=rng) < 0.5:
                place = int(torch.randint(self.size, (), generator=rng))
                image, pool[place] = pool[place], image
            seen.append(image)
            places.append(place)
        return torch.stack(seen), torch.tensor(places)

    def commit(self, images: Tensor, places: Tensor) -> None:
        """Takes images in.

        Args:
            images: Those given to :meth:`query`, detached.
            places: What it returned.
        """
        for image, place in zip(images, map(int, places), strict=True):
            if 0 <= place < len(self.images):
                self.images[place] = image.clone()
            elif place >= 0:
                self.images.append(image.clone())

    def get_extra_state(self) -> dict[str, Any]:
        return {"images": list(self.images)}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        self.images = list(state["images"])

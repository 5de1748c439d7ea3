"""A pipeline in use: the one way from a model to images, for translating, samples, validation and generating."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any, Protocol

import torch
import torch.nn.functional as nnf
from torch import Tensor

from i2i.pipelines.base.pipeline import Pipeline
from i2i.pipelines.base.policy import depends_on_batch, translating
from i2i.pipelines.base.sizes import multiple_of, padded_to

_NOISE = threading.Lock()  # a CPU has one random state, shared by all threads


class Arithmetic(Protocol):
    """How networks compute: :class:`i2i.training.precision.Precision` is one."""

    device: torch.device
    memory_format: torch.memory_format

    def kernels(self) -> AbstractContextManager[Any]:
        """The kernels of forward passes."""

    def autocast(self) -> AbstractContextManager[Any]:
        """The number format of forward passes."""


class Applied:
    """A pipeline with its policies and an arithmetic, ready for any direction.

    An image's result depends on the image and its seed alone, not on its batch: where a network or the pipeline draws
    random numbers, or normalises with the statistics of the batch, images go through one by one. So they do on a CPU,
    which gains nothing from batches and rounds differently in them.

    Args:
        pipeline: On the arithmetic's device.
        arithmetic: How it computes.
        norm_policy: In place of the pipeline's own; see :class:`Pipeline`.
        dropout_policy: In place of the pipeline's own.
        keep_model_size: Whether results of a network that takes one size only keep that size.

    Attributes:
        is_noisy: Whether a result depends on the batch, or on global random numbers.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        arithmetic: Arithmetic,
        norm_policy: str | None = None,
        dropout_policy: str | None = None,
        keep_model_size: bool = False,
    ) -> None:
        self.pipeline, self.arithmetic, self.keep_model_size = pipeline, arithmetic, keep_model_size
        self._policies = (norm_policy or pipeline.norm_policy, dropout_policy or pipeline.dropout_policy)
        self.is_noisy = depends_on_batch(pipeline, *self._policies)
        self._draws = False  # set once the pipeline has been seen to use its rng, or a network to draw by itself
        self._watched: set[str] = set()  # directions of which that is known
        self._lock = threading.Lock()

    def policies(self) -> AbstractContextManager[None]:
        """The state of the networks for translating; enter it around all calls below."""
        return translating(self.pipeline, *self._policies)

    @property
    def is_alone(self) -> bool:
        """Whether images go through one by one."""
        return self.is_noisy or self._draws or self.arithmetic.device.type == "cpu"

    def fixed_size(self, direction: str) -> tuple[int, int] | None:
        """Returns the only size that a direction's networks take, ``None`` where they take any."""
        networks = self._networks(direction)
        sizes = {size for network in networks if (size := getattr(network, "fixed_size", None)) is not None}
        return min(sizes) if sizes else None

    def outputs(
        self,
        images: Sequence[Tensor],
        direction: str,
        seed_of: Callable[[int], int],
        arithmetic: Arithmetic | None = None,
        **options: Any,
    ) -> Iterator[Tensor]:
        """Translates images of one shape.

        Args:
            images: Each ``[C, H, W]`` in [-1, 1].
            direction: Of the pipeline.
            seed_of: Index -> the seed of an image's random numbers.
            arithmetic: In place of the own one, on the same device.
            **options: Of the pipeline's ``translate``.

        Yields:
            For each image ``[k, C, H, W]`` float32: k is 1 where the pipeline makes one image of each.
        """
        if not self.is_alone and len(images) > 1:
            rng = _generator(seed_of(0))
            untouched = rng.get_state()
            with self._seeded(seed_of(0), direction):
                y = self._translate(torch.stack(list(images)), direction, rng, arithmetic, options)
            self._draws |= not torch.equal(rng.get_state(), untouched)
            if not self._draws:
                yield from y.split(len(y) // len(images))
                return
        for index, image in enumerate(images):
            seed = seed_of(index)
            with self._seeded(seed, direction):
                y = self._translate(image[None], direction, _generator(seed), arithmetic, options)
            yield y  # outside: whoever takes it may translate with another model meanwhile

    def generated(
        self,
        z: Tensor,
        label: Tensor | None,
        seeds: Sequence[int],
        arithmetic: Arithmetic | None = None,
        **options: Any,
    ) -> Iterator[Tensor]:
        """Makes images of latents.

        Args:
            z: ``[N, *z_dim]``.
            label: ``[N]`` or ``[N, K]``, or ``None``.
            seeds: Decide what else is random about each image.
            arithmetic: In place of the own one.
            **options: Of the pipeline's ``generate``.

        Yields:
            For each latent ``[C, H, W]`` float32.
        """
        own = arithmetic or self.arithmetic
        first = 0
        while first < len(z):
            size = 1 if self.is_alone else len(z)
            part = slice(first, first + size)
            with self._seeded(seeds[first], ""), own.kernels(), own.autocast():
                labels = None if label is None else label[part].to(own.device)
                y = self.pipeline.generate(z[part].to(own.device), labels, **options)
            if size > 1 and self._draws:  # what an image gets must not depend on the others: again, one by one
                continue
            yield from y.float()
            first += size

    def scores(
        self, images: Sequence[Tensor], direction: str, arithmetic: Arithmetic | None = None, **options: Any
    ) -> Iterator[Tensor]:
        """Judges images of one shape, each ``[C, H, W]``; yields logits ``[K]`` for each."""
        own = arithmetic or self.arithmetic
        for group in [[image] for image in images] if self.is_alone else [images]:
            x = self._placed(torch.stack(list(group)), own)
            with own.kernels(), own.autocast():
                yield from self.pipeline.score(self._fitted(x, direction), direction, **options).float()

    def _translate(
        self, x: Tensor, direction: str, rng: torch.Generator, arithmetic: Arithmetic | None, options: dict[str, Any]
    ) -> Tensor:
        own = arithmetic or self.arithmetic
        height, width = x.shape[-2:]
        fixed = self.fixed_size(direction)
        padded = self._fitted(self._placed(x, own), direction)
        with own.kernels(), own.autocast():
            y = self.pipeline.translate(padded, direction, rng, **options)
        y = y.float()
        if fixed is not None:
            return y if self.keep_model_size or fixed == (height, width) else _resized(y, (height, width))
        # An image that is larger by a factor, such as that of super-resolution, is cropped by as much.
        return y[..., : height * y.shape[-2] // padded.shape[-2], : width * y.shape[-1] // padded.shape[-1]]

    def _fitted(self, x: Tensor, direction: str) -> Tensor:
        """Brings images to a size that all networks of a direction take."""
        fixed = self.fixed_size(direction)
        if fixed is not None:
            return x if fixed == tuple(x.shape[-2:]) else _resized(x, fixed)
        return padded_to(x, *multiple_of(self._networks(direction)))

    def _networks(self, direction: str) -> list[torch.nn.Module]:
        return [self.pipeline.members[letter] for letter in self.pipeline.directions[direction].networks]

    def _placed(self, x: Tensor, own: Arithmetic) -> Tensor:
        return x.to(own.device, memory_format=own.memory_format)

    @contextmanager
    def _seeded(self, seed: int, direction: str) -> Iterator[None]:
        """Seeds the device's random state where networks draw from it, and puts it back.

        Whether they do is seen at the first call of a direction. After that, those that do not are left alone: lanes
        of a device then work at the same time.
        """
        if not self.is_noisy and not self._draws and direction in self._watched:
            yield
            return
        device = self.arithmetic.device
        with self._lock, ExitStack() as stack:
            if device.type == "cuda":  # the state of this device alone: others may be at work
                stack.enter_context(torch.cuda.device(device))
                stack.callback(torch.cuda.set_rng_state, torch.cuda.get_rng_state())
                torch.cuda.manual_seed(seed)
                state_of: Callable[[], Tensor] = torch.cuda.get_rng_state
            else:
                stack.enter_context(_NOISE)
                stack.enter_context(torch.random.fork_rng(devices=[]))
                if device.type == "mps":
                    torch.mps.manual_seed(seed)
                torch.default_generator.manual_seed(seed)
                state_of = torch.mps.get_rng_state if device.type == "mps" else torch.get_rng_state
            seeded = state_of()
            yield
            self._draws |= not torch.equal(seeded, state_of())
            self._watched.add(direction)


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _resized(x: Tensor, size: tuple[int, int]) -> Tensor:
    shrinks = size[0] < x.shape[-2] or size[1] < x.shape[-1]
    return nnf.interpolate(x.float(), size, mode="bicubic", antialias=shrinks).clamp(-1, 1)

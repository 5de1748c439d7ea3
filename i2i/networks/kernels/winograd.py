"""Convolutions with a quarter of the multiplications, for processors that compute in float32 only.

Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks" (2016), F(4x4, 3x3): a tile of 6x6 pixels and the
kernel are transformed, multiplied point by point, which over all channels is 36 matrix products, and transformed back
to 4x4 pixels. The same tiles serve kernels of 4x4, F(3x3, 4x4). The gradients are the transposes of the same steps.
Rounding errors are about ten times those of a direct convolution in float32, and hundreds of times smaller than in
bfloat16.

Pixels lie channels-last, so that each step moves whole rows of channels.
"""

import itertools
import math
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as nnf
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from i2i.networks.blocks.padding import Padding, pad, unpad

MIN_CHANNELS = 32
KEPT = 12 * (1 << 22)  # numbers of transformed kernels, 192 MB: those of one generator of CycleGAN
ROOM = 1 << 22  # numbers that are worked on at a time: 16 MB
MIN_TILES = 64  # with fewer, transforming the kernel takes longer than it saves

# The paper's section 4.3: B^T of the image. It belongs to the points 0, 1, -1, 2, -2 and infinity, whatever the kernel.
_IMAGE = (
    (4, 0, -5, 0, 1, 0),
    (0, -4, -4, 1, 1, 0),
    (0, 4, -4, -1, 1, 0),
    (0, -2, -1, 2, 1, 0),
    (0, 2, -1, -2, 1, 0),
    (0, 4, 0, -5, 0, 1),
)
_POINTS = (0, 1, -1, 2, -2)
_FACTORS = (1 / 4, -1 / 6, -1 / 6, 1 / 24, 1 / 24)


def _of_kernel(side: int) -> list[list[float]]:
    """G: the values of the kernel as a polynomial, at each point."""
    finite = [[f * p**power for power in range(side)] for p, f in zip(_POINTS, _FACTORS, strict=True)]
    return [*finite, [float(power == side - 1) for power in range(side)]]


def _of_result(side: int) -> list[list[float]]:
    """A^T: from the values at each point to ``7 - side`` pixels."""
    return [[*(float(p**power) for p in _POINTS), float(power == 6 - side)] for power in range(7 - side)]


def _in_two_dimensions(matrix: Sequence[Sequence[float]]) -> Tensor:
    one = torch.tensor(matrix, dtype=torch.float64, device="cpu")  # wherever this module is imported first
    return torch.kron(one, one).float()


_SIDES = (3, 4)  # of kernels
_IMAGE_2D = _in_two_dimensions(_IMAGE)  # [36, 36]
_KERNEL_2D = {side: _in_two_dimensions(_of_kernel(side)) for side in _SIDES}  # [36, side^2]
_RESULT_2D = {side: _in_two_dimensions(_of_result(side)) for side in _SIDES}  # [(7 - side)^2, 36]


class Winograd:
    """Computes convolutions; keeps transformed kernels until their weights change, and memory to work in."""

    def __init__(self) -> None:
        self._kernels: Any = WeakTensorKeyDictionary()
        self._memory = threading.local()

    def convolve(self, x: Tensor, weight: Tensor, bias: Tensor | None, padding: int, mode: Padding) -> Tensor:
        """A convolution of stride 1 over an image with a border, float32 on a CPU.

        Args:
            x: ``[N, C, H, W]``, channels-last or else copied.
            weight: ``[K, C, side, side]``.
            bias: ``[K]``.
            padding: Width of the border.
            mode: Of the border.

        Returns:
            ``[N, K, H + 2 padding - side + 1, W + 2 padding - side + 1]``, channels-last.
        """
        y: Tensor = _Convolution.apply(x, weight, bias, padding, mode, self)
        return y

    def kernel(self, weight: Tensor) -> Tensor:
        """Returns a kernel ``[K, C, side, side]`` transformed to ``[36, C, K]``: up to four times the memory.

        :meth:`release` it after what writes weights unseen by their version: Adam's fused kernel on a CPU, ``.data``.
        """
        if weight.is_inference():  # has no version
            return _transformed(weight)
        known = self._kernels.get(weight)
        if known is None or known[0] != weight._version:
            with torch.inference_mode(False):  # or else training could not keep it
                known = self._kernels[weight] = weight._version, _transformed(weight)
            if not torch.is_inference_mode_enabled():
                self._forget_oldest()
        kernel: Tensor = known[1]
        return kernel

    def release(self) -> None:
        """Forgets the kernels."""
        self._kernels.clear()

    def _forget_oldest(self) -> None:
        """Training transforms some kernels again rather than keep those of all networks."""
        numbers = sum(kernel.numel() for _, kernel in self._kernels.values())
        while numbers > KEPT and len(self._kernels) > 1:
            oldest = next(iter(self._kernels.keys()))
            numbers -= self._kernels.pop(oldest)[1].numel()

    def room(self, number: int, *shape: int) -> Tensor:
        """Returns memory that was used before, and is the thread's own: new memory costs as much as what is done in it.

        Args:
            number: Which; the same one again holds something else.
            *shape: Of the tensor.
        """
        rooms = self._memory.__dict__
        size = math.prod(shape)
        if str(number) not in rooms or rooms[str(number)].numel() < size:
            with torch.inference_mode(False):  # or else it could not be written in training
                rooms[str(number)] = torch.empty(size, dtype=torch.float32, device="cpu")
        memory: Tensor = rooms[str(number)]
        return memory[:size].view(shape)


def _transformed(weight: Tensor) -> Tensor:
    flat = weight.detach().permute(2, 3, 1, 0).flatten(0, 1).flatten(1)
    return (_KERNEL_2D[weight.shape[2]] @ flat).view(36, weight.shape[1], weight.shape[0])


def gains(x: Tensor, weight: Tensor, padding: int) -> bool:
    """Whether Winograd's algorithm is the faster one for a convolution of stride 1."""
    side = weight.shape[2]
    if (
        side not in _SIDES
        or weight.shape[3] != side
        or min(weight.shape[:2]) < MIN_CHANNELS
        or x.shape[1] != weight.shape[1]
    ):
        return False
    grid = _Grid.of(x, weight, padding)
    return min(grid.height, grid.width) > 0 and grid.images * grid.rows * grid.columns >= MIN_TILES


def differentiable(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    padding: int,
    mode: Padding,
    gradient: Tensor,
    needs: Sequence[bool],
) -> tuple[Tensor | None, ...]:
    """The gradients of a direct convolution of stride 1 and its border, which can be differentiated again."""
    bordered = pad(x, padding, mode)
    y = torch.ops.aten.convolution.default(bordered, weight, bias, [1, 1], [0, 0], [1, 1], False, [0, 0], 1)
    inputs = [tensor for tensor, needed in zip((x, weight, bias), needs, strict=True) if tensor is not None and needed]
    found = iter(torch.autograd.grad(y, inputs, gradient, create_graph=True))
    return tuple(next(found) if needed else None for needed in needs)


class _Convolution(torch.autograd.Function):
    """Keeps the image without its border, and nothing of its tiles."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, padding: int, mode: Padding, own: Winograd
    ) -> Tensor:
        kernel, to_pixels = own.kernel(weight), _RESULT_2D[weight.shape[2]]
        ctx.save_for_backward(x, weight, bias)
        ctx.padding, ctx.mode, ctx.own = padding, mode, own
        grid = _Grid.of(x, weight, padding)
        image = grid.completed(pad(x, padding, mode))
        y = x.new_empty(grid.images, grid.square * grid.rows, grid.square * grid.columns, len(weight))
        for strip in grid.strips(max(weight.shape[:2])):
            tiles = strip.transformed(image, own)
            products = torch.bmm(tiles, kernel, out=own.room(0, *tiles.shape[:2], len(weight)))
            pixels = torch.mm(to_pixels, products.flatten(1), out=own.room(1, len(to_pixels), products[0].numel()))
            strip.assemble(pixels, bias, y)
        return grid.cropped(y)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, bias = ctx.saved_tensors
        needs = ctx.needs_input_grad[:3]
        if torch.is_grad_enabled():  # a gradient of this gradient is wanted
            return *differentiable(x, weight, bias, ctx.padding, ctx.mode, gradient, needs), None, None, None
        grid = _Grid.of(x, weight, ctx.padding)
        image, gradient = (grid.completed(one) for one in (pad(x, ctx.padding, ctx.mode), gradient))
        own, kernel = ctx.own, ctx.own.kernel(weight)
        of_kernel = own.room(3, *kernel.shape) if kernel.numel() <= ROOM else torch.empty_like(kernel)
        of_image = torch.zeros_like(image) if needs[0] else image
        for strip in grid.strips(max(weight.shape[:2])):
            pixels = strip.taken_apart(gradient, own)
            of_products = torch.mm(_RESULT_2D[weight.shape[2]].T, pixels, out=own.room(2, 36, pixels.shape[1]))
            of_products = of_products.unflatten(1, (-1, len(weight)))  # [36, tiles, K]
            if needs[1]:
                # What lies in the room before the first strip is left out, be it NaN.
                tiles, beta = strip.transformed(image, own).transpose(1, 2), float(strip.first > 0)
                torch.baddbmm(of_kernel, tiles, of_products, beta=beta, out=of_kernel)
            if needs[0]:
                of_tiles = own.room(0, *of_products.shape[:2], weight.shape[1])
                torch.bmm(of_products, kernel.transpose(1, 2), out=of_tiles)
                strip.overlay(
                    torch.mm(_IMAGE_2D.T, of_tiles.flatten(1), out=own.room(1, 36, of_tiles[0].numel())), of_image
                )
        of_x = of_weight = None
        if needs[0]:
            border = 6 - grid.square
            of_bordered = of_image[:, : grid.height + border, : grid.width + border].permute(0, 3, 1, 2)
            of_x = unpad(of_bordered, ctx.padding, ctx.mode)
        if needs[1]:
            flat = _KERNEL_2D[weight.shape[2]].T @ of_kernel.flatten(1)
            of_weight = flat.view(*weight.shape[2:], *of_kernel.shape[1:]).permute(3, 2, 0, 1)
        return of_x, of_weight, gradient.sum((0, 1, 2)) if needs[2] else None, None, None, None


@dataclass(frozen=True)
class _Grid:
    """The tiles of a batch of images.

    Attributes:
        images: How many.
        height: Of the result, in pixels.
        width: Of the result, in pixels.
        square: Pixels of the result along the side of a tile.
    """

    images: int
    height: int
    width: int
    square: int

    @classmethod
    def of(cls, x: Tensor, weight: Tensor, padding: int) -> "_Grid":
        height, width = (size + 2 * padding - weight.shape[2] + 1 for size in x.shape[2:])
        return cls(len(x), height, width, 7 - weight.shape[2])

    @property
    def rows(self) -> int:
        return -(-self.height // self.square)

    @property
    def columns(self) -> int:
        return -(-self.width // self.square)

    def strips(self, channels: int) -> Iterator["_Strip"]:
        """Yields rows of tiles that fit into the room for them."""
        count = max(1, ROOM // (36 * channels * self.images * self.columns))
        for first in range(0, self.rows, count):
            yield _Strip(self, first, min(first + count, self.rows))

    def completed(self, x: Tensor) -> Tensor:
        """Adds zeros to an image until tiles are whole: ``[N, C, H, W]`` to ``[N, H', W', C]``."""
        missing = (0, self.square * self.columns - self.width, 0, self.square * self.rows - self.height)
        return (nnf.pad(x, missing) if any(missing) else x).permute(0, 2, 3, 1).contiguous()

    def cropped(self, y: Tensor) -> Tensor:
        """The reverse of :meth:`completed`, channels-last."""
        return y[:, : self.height, : self.width].contiguous().permute(0, 3, 1, 2)


@dataclass(frozen=True)
class _Strip:
    """Some rows of a grid's tiles, from ``first`` to before ``last``."""

    grid: _Grid
    first: int
    last: int

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.grid.images, self.last - self.first, self.grid.columns

    def _tiles(self, image: Tensor) -> Tensor:
        """The overlapping tiles of a completed image: ``[6, 6, N, rows, columns, C]``, no copy."""
        step, (count, row, column, channel) = self.grid.square, image.stride()
        shape, strides = (6, 6, *self.shape, image.shape[3]), (row, column, count, step * row, step * column, channel)
        return image.as_strided(shape, strides, image.storage_offset() + step * self.first * row)

    def transformed(self, image: Tensor, own: Winograd) -> Tensor:
        """The transformed tiles ``[36, tiles, C]``."""
        tiles = self._tiles(image)
        values = own.room(0, *tiles.shape).copy_(tiles)
        return torch.mm(_IMAGE_2D, values.view(36, -1), out=own.room(1, 36, values[0, 0].numel())).unflatten(
            1, (-1, image.shape[3])
        )

    def _squares(self, y: Tensor) -> Tensor:
        """The pixels of a completed result by their places: ``[square, square, N, rows, columns, K]``, no copy."""
        side = self.grid.square
        squares = y.view(self.grid.images, self.grid.rows, side, self.grid.columns, side, -1)
        return squares[:, self.first : self.last].permute(2, 4, 0, 1, 3, 5)

    def assemble(self, pixels: Tensor, bias: Tensor | None, y: Tensor) -> None:
        """Writes pixels ``[square^2, tiles K]`` into the result."""
        squares = self._squares(y)
        values = pixels.view(squares.shape)
        if bias is None:
            squares.copy_(values)
        else:
            torch.add(values, bias.detach(), out=squares)

    def taken_apart(self, y: Tensor, own: Winograd) -> Tensor:
        """The reverse of :meth:`assemble`."""
        squares = self._squares(y)
        return own.room(0, *squares.shape).copy_(squares).flatten(0, 1).flatten(1)

    def overlay(self, values: Tensor, image: Tensor) -> None:
        """Adds tiles ``[36, tiles C]`` to the image that they overlap in."""
        tiles, places = values.view(6, 6, *self.shape, -1), self._tiles(image)
        for row, column in itertools.product(range(6), repeat=2):  # one place of the tile: these do not overlap
            places[row, column].add_(tiles[row, column])

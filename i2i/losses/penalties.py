"""Penalties on the gradient of a discriminator with respect to its input image.

A discriminator of patches has many logits an image. Its value for an image, the one the adversarial losses average,
is the mean over the logits of a map, then over maps; the gradient taken here is that of this value. For a single
logit that is the gradient of the papers. Code that sums the logits instead penalises patch discriminators harder the
larger the image.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from i2i.core.numerics import full_precision

Discriminator = Callable[[Tensor], Tensor | Sequence[Tensor]]


def input_gradient(D: Discriminator, images: Tensor) -> Tensor:
    """The gradient of D's value for each image with respect to the image, itself differentiable.

    Images must not influence each other's logits, as they do through a batch norm.

    Args:
        D: Maps images to logits ``[N, ...]`` or a list of such.
        images: ``[N, C, H, W]``; taken as constant.

    Returns:
        ``[N, C H W]``, at least float32.
    """
    images = images.detach().requires_grad_()
    logits = D(images)
    maps = [logits] if isinstance(logits, Tensor) else logits
    values = torch.stack([full_precision(values).flatten(1).mean(1) for values in maps]).mean(0)  # [N]
    (gradient,) = torch.autograd.grad(values.sum(), images, create_graph=True)
    return full_precision(gradient).flatten(1)


def r1_penalty(D: Discriminator, real: Tensor) -> Tensor:
    """``E |grad D(x)|^2`` over real images: Mescheder et al. (2018), equation 9 without its weight.

    Args:
        D: Maps images to logits.
        real: ``[N, C, H, W]``.
    """
    return input_gradient(D, real).square().sum(1).mean()


def gradient_penalty(D: Discriminator, real: Tensor, fake: Tensor) -> Tensor:
    """``E (|grad D(x')| - 1)^2`` with ``x' = u x + (1 - u) G(z)``.

    Gulrajani et al. (2017), equation 3 without its weight. u is uniform in [0, 1], one number an image, from PyTorch's
    global random state.

    Args:
        D: Maps images to logits.
        real: ``[N, C, H, W]``.
        fake: Of the same shape.

    Raises:
        ValueError: If the shapes differ.
    """
    if real.shape != fake.shape:
        raise ValueError(f"real is {list(real.shape)}, fake {list(fake.shape)}: shapes must agree")
    u = torch.rand(real.shape[0], *[1] * (real.ndim - 1), device=real.device, dtype=real.dtype)  # [N, 1, 1, 1]
    between = torch.lerp(fake.to(real.dtype), real, u)
    return (torch.linalg.vector_norm(input_gradient(D, between), dim=1) - 1).square().mean()

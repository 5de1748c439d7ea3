"""The contracts of generators and discriminators."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from i2i.pipelines.base import fitted, logits_of
from i2i.testing.clauses import Subject, images, seeded
from i2i.testing.modules import check_module, close

_MOST_TESTED = 32  # pixels; a network that asks for more gets its least size


def check_generator(
    component: Callable[..., Any], *, after_steps: int = 0, input_size: int | None = None, **arguments: Any
) -> None:
    """Checks a generator: shapes, sizes and range, gradients, randomness, weights and memory formats.

    A generator with ``z_dim`` is given latents ``[N, z_dim]``, any other images. One with ``num_classes`` or
    ``num_attributes`` is given labels as well.

    Args:
        component: The class.
        after_steps: Optimizer steps to take before asking whether the gradient reaches every parameter; 1 excuses
            branches that a scale of zero closes at the start.
        input_size: Least height and width to check with, for generators of a fixed size.
        **arguments: What a YAML would give. ``in_channels`` and ``out_channels`` are tried as 3 -> 3, 1 -> 3 and
            3 -> 4 where they are not given.

    Raises:
        AssertionError: Names the clause that is broken.
    """
    subject = Subject(component, arguments, ("in_channels", "out_channels"))
    if "in_channels" not in subject.parameters and "out_channels" in subject.parameters:
        _check_from_latents(subject, after_steps)
        return
    tried = dict.fromkeys(
        (_given(subject, "in_channels", i, 3), _given(subject, "out_channels", o, None))
        for i, o in ((3, 3), (1, 3), (3, 4))
    )
    for in_channels, out_channels in tried:
        network = _built(subject, in_channels=in_channels, out_channels=out_channels)
        fixed = _fixed_size(subject, network)
        if fixed is not None:
            _check_translation(subject, network, images(2, in_channels, *fixed), out_channels)
            continue
        least, stride = _sizes(subject, network, input_size)
        _check_translation(subject, network, images(1, in_channels, least, least), out_channels)
        _check_translation(subject, network, images(2, in_channels, least, least + stride), out_channels)

    in_channels, out_channels = next(iter(tried))
    network = _built(subject, in_channels=in_channels, out_channels=out_channels)
    fixed = _fixed_size(subject, network)
    if fixed is None:
        least, stride = _sizes(subject, network, input_size)
        _check_any_size(subject, network, in_channels, least, stride)
        size = least if least >= _MOST_TESTED else -(-_MOST_TESTED // stride) * stride
        fixed = (size, size)
    x = images(2, in_channels, *fixed)
    _check_batch_independence(subject, network, x)
    _check_training_on_one_image(subject, network, x[:1])
    check_module(subject, lambda: _built(subject, in_channels=in_channels, out_channels=out_channels), x, after_steps)


def check_discriminator(
    component: Callable[..., Any], *, after_steps: int = 0, input_size: int = 64, **arguments: Any
) -> None:
    """Checks a discriminator: logits, gradients to images and parameters, weights and memory formats.

    Args:
        component: The class.
        after_steps: See :func:`check_generator`.
        input_size: Height and width to check with; at least the attribute ``min_size``, where there is one.
        **arguments: What a YAML would give. ``in_channels`` is tried as 3, 1 and 6 where it is not given.

    Raises:
        AssertionError: Names the clause that is broken.
    """
    subject = Subject(component, arguments, ("in_channels",))
    tried = list(dict.fromkeys(_given(subject, "in_channels", count, 3) for count in (3, 1, 6)))
    for in_channels in tried:
        network = _built(subject, in_channels=in_channels)
        least, fixed = getattr(network, "min_size", None), _fixed_size(subject, network)
        if least is not None and fixed is None:
            _check_logits(subject, network, images(1, in_channels, least, least), f"its min_size of {least} pixels")
        size = fixed or (max(input_size, least or 1),) * 2
        _check_logits(subject, network, images(2, in_channels, *size), f"{size[0]} pixels")

    x = images(2, tried[0], *size)
    _check_double_backward(subject, _built(subject, in_channels=tried[0]), x)
    check_module(subject, lambda: _built(subject, in_channels=tried[0]), x, after_steps)


def _given(subject: Subject, name: str, tried: int, otherwise: Any) -> Any:
    """The YAML's value, or else the framework's where the constructor asks for one."""
    return subject.arguments.get(name, tried if name in subject.parameters else otherwise)


class _Labelled(nn.Module):
    """A network that reads labels, with labels of its own."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        for name in ("stride", "min_size", "fixed_size", "z_dim"):
            if hasattr(network, name):
                setattr(self, name, getattr(network, name))

    def forward(self, x: Tensor) -> Any:
        count, classes = len(x), getattr(self.network, "num_classes", 0)
        if classes:
            return self.network(x, torch.arange(count, device=x.device) % classes)
        places = torch.arange(int(self.network.num_attributes), device=x.device)  # type: ignore[arg-type]
        return self.network(x, (torch.arange(count, device=x.device)[:, None] + places) % 2)


def _built(subject: Subject, **channels: int | None) -> nn.Module:
    network = subject.build(**channels)
    subject.require(isinstance(network, nn.Module), f"makes {type(network).__name__}, expected an nn.Module")
    reads_labels = getattr(network, "num_classes", 0) or getattr(network, "num_attributes", 0)
    return _Labelled(network) if reads_labels else network


def _check_from_latents(subject: Subject, after_steps: int) -> None:
    """Checks a generator whose input is a latent."""
    for out_channels in dict.fromkeys((_given(subject, "out_channels", 3, 3), _given(subject, "out_channels", 1, 1))):
        network = _built(subject, out_channels=out_channels)
        dim = getattr(network, "z_dim", None)
        subject.require(dim is not None, "takes no in_channels and has no z_dim: what does it start from?")
        shape = (dim,) if isinstance(dim, int) else tuple(dim or ())
        z = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0))
        with subject.doing(f"fails on latents {list(z.shape)}"), torch.no_grad():
            y = network.eval()(z)
        is_image = isinstance(y, Tensor) and y.ndim == 4 and y.shape[:2] == (2, out_channels)
        got = list(y.shape) if isinstance(y, Tensor) else type(y).__name__
        subject.require(is_image, f"makes {got} of latents {list(z.shape)}, expected [2, {out_channels}, H, W]")
        subject.require(bool(y.isfinite().all()), "makes values that are not finite")
        subject.require(bool(y.abs().max() <= 1), f"makes values in [{y.min():.3g}, {y.max():.3g}], expected [-1, 1]")
    _check_batch_independence(subject, network, z)
    check_module(subject, lambda: _built(subject, out_channels=out_channels), z, after_steps)


def _fixed_size(subject: Subject, network: nn.Module) -> tuple[int, int] | None:
    fixed = getattr(network, "fixed_size", None)
    if fixed is None:
        return None
    is_sound = isinstance(fixed, tuple) and len(fixed) == 2 and all(isinstance(n, int) and n >= 1 for n in fixed)
    subject.require(is_sound, f"the attribute 'fixed_size' is {fixed!r}, expected (height, width)")
    return fixed[0], fixed[1]


def _sizes(subject: Subject, network: nn.Module, input_size: int | None) -> tuple[int, int]:
    stride, least = getattr(network, "stride", 1), getattr(network, "min_size", 1)
    for name, value in (("stride", stride), ("min_size", least)):
        valid = isinstance(value, int) and value >= 1
        subject.require(valid, f"the attribute {name!r} is {value!r}, expected an integer of 1 or more")
    return -(-max(least, input_size or 1) // stride) * stride, stride


def _check_translation(subject: Subject, network: nn.Module, x: Tensor, out_channels: int | None) -> None:
    stride, least = getattr(network, "stride", 1), getattr(network, "min_size", 1)
    failure = f"fails on {list(x.shape)}, which its stride {stride} and min_size {least} allow"
    before = x.clone()
    with subject.doing(failure), torch.no_grad():
        y = network.eval()(x)
    subject.require(torch.equal(x, before), "changes the images given to it, which others still use")
    subject.require(isinstance(y, Tensor), f"gives {type(y).__name__}, expected a tensor")
    made = y.shape[1] if out_channels is None and y.ndim == 4 else out_channels
    expected = [x.shape[0], made, *x.shape[2:]]
    subject.require(list(y.shape) == expected, f"makes {list(y.shape)} of {list(x.shape)}, expected {expected}")
    subject.require(y.dtype == x.dtype, f"makes {y.dtype} of {x.dtype}")
    subject.require(bool(y.isfinite().all()), "makes values that are not finite")
    subject.require(
        bool(y.abs().max() <= 1), f"makes values in [{y.min():.3g}, {y.max():.3g}], expected [-1, 1]: end with tanh?"
    )


def _check_any_size(subject: Subject, network: nn.Module, channels: int, least: int, stride: int) -> None:
    for height, width in ((least + 1, least + stride + 3), (3, 5)):
        with subject.doing(f"fails on {height}x{width} padded to its stride and min_size"), torch.no_grad():
            y = fitted(network.eval(), images(1, channels, height, width))
        made = list(y.shape[2:])
        subject.require(made == [height, width], f"makes {made} of images of {height}x{width}, padded and cropped")


def _check_batch_independence(subject: Subject, network: nn.Module, x: Tensor) -> None:
    if any(isinstance(part, _BatchNorm) and part.running_mean is None for part in network.modules()):
        return  # such a norm has no other statistics than the batch's
    with torch.no_grad():
        together, alone = network.eval()(x), network(x[:1])
    subject.require(close(together[:1], alone), "in eval mode, an image's translation depends on the rest of its batch")


def _check_training_on_one_image(subject: Subject, network: nn.Module, x: Tensor) -> None:
    """CycleGAN's case: a batch of one, and G applied several times before the gradient is taken."""
    with subject.doing(f"fails in training mode, used twice on [1, {', '.join(map(str, x.shape[1:]))}]"), seeded():
        network.train()
        parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
        torch.autograd.grad((network(x) + network(-x)).square().sum(), parameters, allow_unused=True)


def _check_logits(subject: Subject, network: nn.Module, x: Tensor, shown: str) -> None:
    before = x.clone()
    with subject.doing(f"fails on images of {shown}"), torch.no_grad():
        output = network.eval()(x)
    subject.require(torch.equal(x, before), "changes the images given to it, which others still use")
    subject.require(
        isinstance(output, Tensor | list | tuple) and all(isinstance(logits, Tensor) for logits in logits_of(output)),
        f"gives {type(output).__name__}, expected a tensor of logits or a list of them",
    )
    subject.require(len(logits_of(output)) > 0, "gives an empty list of logits")
    for logits in logits_of(output):
        subject.require(
            logits.ndim > 0 and logits.shape[0] == x.shape[0] and logits.numel() > 0,
            f"gives logits of shape {list(logits.shape)} for {x.shape[0]} images of {shown}",
        )
        subject.require(bool(logits.isfinite().all()), "gives logits that are not finite")


def _check_double_backward(subject: Subject, network: nn.Module, x: Tensor) -> None:
    x = x.clone().requires_grad_()
    clause = "its gradient cannot be differentiated again, as gradient penalties do"
    with subject.doing(clause), seeded():
        total = torch.stack([logits.sum() for logits in logits_of(network.train()(x))]).sum()
        (gradient,) = torch.autograd.grad(total, x, create_graph=True)
        parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
        second = torch.autograd.grad(gradient.square().sum(), parameters, allow_unused=True)
    # An operation that forbids it may also go unnoticed, and leave nothing.
    subject.require(not parameters or any(part is not None and bool(part.any()) for part in second), clause)

"""Clauses that hold for every network: gradients, weights, randomness, memory formats, precision."""

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from i2i.pipelines.base import logits_of
from i2i.testing.clauses import Subject, seeded, some

_LEARNING_RATE = 0.01


def check_module(subject: Subject, build: Callable[[], nn.Module], x: Tensor, after_steps: int = 0) -> None:
    """Checks what the trainer, the bundle and EMA do with a network.

    Args:
        subject: Names the component in messages.
        build: Makes the network anew, under a fixed seed.
        x: Images ``[N, C, H, W]`` in [-1, 1], or latents.
        after_steps: See :func:`i2i.testing.check_generator`.

    Raises:
        AssertionError: Names the clause that is broken.
    """
    network, twin = build(), build()
    _check_randomness(subject, network, twin, x)
    _check_weights(subject, network, twin, x)
    _check_meta(subject, network, build, x)
    _check_copy(subject, network, x)
    _check_memory_formats(subject, network, x)
    _check_bfloat16(subject, network, x[:1])
    _check_gradients(subject, build(), x, after_steps)


def _apply(network: nn.Module, x: Tensor) -> list[Tensor]:
    with torch.no_grad():
        return [output.clone() for output in logits_of(network(x))]


def close(one: Tensor, other: Tensor) -> bool:
    """Tells whether two results differ by no more than float32 kernels may."""
    return one.shape == other.shape and torch.allclose(one, other, rtol=1e-3, atol=1e-4)


def _same(one: list[Tensor], other: list[Tensor]) -> bool:
    return len(one) == len(other) and all(close(a, b) for a, b in zip(one, other, strict=True))


def _check_randomness(subject: Subject, network: nn.Module, twin: nn.Module, x: Tensor) -> None:
    network.eval()
    subject.require(_same(_apply(network, x), _apply(network, x)), "in eval mode, the same images give other results")
    one, other = _tensors(subject, network), twin.state_dict()
    drawn = [name for name in one if not torch.equal(one[name], other[name])]
    subject.require(
        not drawn,
        f"torch.manual_seed does not decide the initial {some(drawn)}: draw them from PyTorch's global random state",
    )


def _check_weights(subject: Subject, network: nn.Module, twin: nn.Module, x: Tensor) -> None:
    with seeded(1):
        _apply(network.train(), x)  # norms with running statistics change state here
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(0.9)
    with subject.doing("its weights cannot be loaded again"):
        twin.load_state_dict(network.state_dict())
    subject.require(
        _same(_apply(network.eval(), x), _apply(twin.eval(), x)),
        "a network that loads its weights gives other results: something that matters is not in the state dict",
    )


def _tensors(subject: Subject, network: nn.Module) -> dict[str, Tensor]:
    state = network.state_dict()
    others = [name for name, value in state.items() if not isinstance(value, Tensor)]
    subject.require(not others, f"the state dict holds what is no tensor, which no bundle can keep: {some(others)}")
    return state


def _check_meta(subject: Subject, network: nn.Module, build: Callable[[], nn.Module], x: Tensor) -> None:
    """The dry run builds without memory, and so does a bundle, which then takes the weights from its file."""
    with subject.doing("fails on the meta device, where a YAML is checked"), torch.device("meta"):
        shell = build().eval()
        shapes = [output.shape for output in _apply(shell, torch.empty(x.shape))]
    expected = [output.shape for output in _apply(network.eval(), x)]
    subject.require(shapes == expected, f"gives {shapes} on the meta device and {expected} elsewhere")
    with subject.doing("its weights cannot be loaded into a network without memory"):
        shell.load_state_dict(network.state_dict(), assign=True)
    tensors = [*shell.named_parameters(), *shell.named_buffers()]
    left = [name for name, tensor in tensors if tensor.is_meta]
    subject.require(not left, f"not in the state dict, so a bundle cannot restore them: {some(left)}")
    with subject.doing("fails with weights from a bundle: a tensor that is neither parameter nor buffer?"):
        restored = _apply(shell, x)
    subject.require(_same(_apply(network, x), restored), "gives other results when its weights come from a bundle")


def _check_copy(subject: Subject, network: nn.Module, x: Tensor) -> None:
    with subject.doing("cannot be copied by copy.deepcopy, as averaging of weights does"):
        twin = copy.deepcopy(network.eval())
    before = _apply(network, x)
    subject.require(_same(before, _apply(twin, x)), "its copy gives other results")
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.zero_()
    subject.require(_same(before, _apply(network, x)), "its copy shares weights with it")


def _parameter_gradients(network: nn.Module, x: Tensor, layout: torch.memory_format) -> dict[str, Tensor]:
    """Gradients of the outputs times fixed random numbers, all in one memory format; without randomness."""
    network.eval().to(memory_format=layout)
    network.zero_grad(set_to_none=True)
    _loss(network, x.contiguous(memory_format=layout) if x.ndim == 4 else x, layout).backward()
    return {name: p.grad.contiguous() for name, p in network.named_parameters() if p.grad is not None}


def _loss(network: nn.Module, x: Tensor, layout: torch.memory_format = torch.contiguous_format) -> Tensor:
    terms = []
    for output in logits_of(network(x)):
        direction = torch.randn(output.shape, generator=torch.Generator().manual_seed(1))
        # The layout of the factor becomes that of the gradient which arrives at the network.
        factor = direction.contiguous(memory_format=layout) if output.ndim == 4 else direction
        terms.append((output.float() * factor).sum())
    return torch.stack(terms).sum()


def _check_memory_formats(subject: Subject, network: nn.Module, x: Tensor) -> None:
    """Images may come in channels_last, for speed, where some CPU kernels give wrong gradients without a word."""
    for count in dict.fromkeys((1, x.shape[0])):
        with subject.doing("fails in the channels_last memory format"):
            expected = _parameter_gradients(network, x[:count], torch.contiguous_format)
            found = _parameter_gradients(network, x[:count], torch.channels_last)
        largest = max((float(gradient.norm()) for gradient in expected.values()), default=0.0)
        for name, gradient in expected.items():
            error = float((found[name] - gradient).norm())
            # The floor forgives gradients that are zero but for rounding, such as a bias before a norm.
            subject.require(
                error <= 0.03 * float(gradient.norm()) + 1e-3 * largest,
                f"with {count} image(s), the gradient of {name} in channels_last is off by "
                f"{error / max(float(gradient.norm()), 1e-12):.0%}; F.instance_norm is known for that on the CPU",
            )


def _check_bfloat16(subject: Subject, network: nn.Module, x: Tensor) -> None:
    with subject.doing("fails in bfloat16 autocast"), torch.autocast("cpu", torch.bfloat16), seeded():
        outputs = _apply(network.eval(), x)
    finite = all(bool(output.isfinite().all()) for output in outputs)
    subject.require(finite, "gives values that are not finite in bfloat16 autocast")


def _check_gradients(subject: Subject, network: nn.Module, x: Tensor, after_steps: int) -> None:
    parameters = {name: p for name, p in network.named_parameters() if p.requires_grad}
    x = x.clone().requires_grad_()
    network.train()
    optimizer = torch.optim.Adam(parameters.values(), _LEARNING_RATE) if parameters else None
    for step in range(after_steps + 1):
        x.grad = None
        network.zero_grad(set_to_none=True)
        with subject.doing("fails in training mode"), seeded(step):
            _loss(network, x).backward()
        if optimizer and step < after_steps:
            optimizer.step()
    subject.require(x.grad is not None and bool(x.grad.abs().sum() > 0), "no gradient reaches the images given to it")
    missing = [name for name, parameter in parameters.items() if parameter.grad is None]
    subject.require(not missing, f"no gradient reaches {some(missing)}: unused in forward?")
    bad = [name for name, p in parameters.items() if p.grad is not None and not p.grad.isfinite().all()]
    subject.require(not bad, f"the gradient is not finite in {some(bad)}")
    # A vector may rightly have none: a norm takes away what the bias before it adds.
    still = [name for name, p in parameters.items() if p.ndim > 1 and p.grad is not None and not p.grad.any()]
    subject.require(
        not still,
        f"the gradient is zero everywhere in {some(still)}: behind a scale of zero? "
        "(after_steps=1 excuses branches that only the first step opens)",
    )

"""The contracts of pairwise and adversarial losses."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from i2i.testing.clauses import Subject, images, seeded

_CENTRE = 0.5  # logits here are unsure for every usual pair of labels, so that each term has a direction to pull


def check_loss(component: Callable[..., Any], *, input_size: int = 64, **arguments: Any) -> None:
    """Checks a loss that compares a prediction with a target.

    Args:
        component: The class.
        input_size: Height and width of the images to check with.
        **arguments: What a YAML would give, without ``weight``.

    Raises:
        AssertionError: Names the clause that is broken.
    """
    subject, loss = _built(component, arguments)
    target = images(2, 3, input_size, input_size)
    prediction = images(2, 3, input_size, input_size, seed=1).requires_grad_()
    before = prediction.detach().clone(), target.clone()
    with subject.doing("fails on two images"):
        value = loss(prediction, target)
        again = loss(prediction, target)
    subject.require_scalar(value, "loss(prediction, target)")
    subject.require(torch.equal(value, again), "the same images give another value")
    unchanged = torch.equal(prediction, before[0]) and torch.equal(target, before[1])
    subject.require(unchanged, "changes the images given to it")
    subject.require(value.requires_grad, "gives a value without gradient to the prediction")
    (gradient,) = torch.autograd.grad(value, prediction)
    subject.require(bool(gradient.isfinite().all()), "the gradient to the prediction is not finite")
    subject.require(bool(gradient.any()), "the gradient to the prediction is zero")
    subject.require(
        _near(loss(prediction.repeat(2, 1, 1, 1), target.repeat(2, 1, 1, 1)), value),
        "a batch with every image twice gives another value: take the mean over the batch, not the sum",
    )

    equal = target.clone().requires_grad_()
    perfect = loss(equal, target)
    subject.require_scalar(perfect, "loss(x, x)")
    looks = not torch.equal(loss(prediction, -target), value)  # a regulariser sees the prediction alone
    shown = f"a wrong prediction ({value:.4g}) to the target ({perfect:.4g})"
    subject.require(not looks or bool(perfect <= value), f"prefers {shown}")
    if perfect.requires_grad:
        (gradient,) = torch.autograd.grad(perfect, equal)
        subject.require(bool(gradient.isfinite().all()), "the gradient is not finite where prediction and target agree")
    with subject.doing("fails in bfloat16, which mixed precision hands it"):
        low = loss(prediction.detach().bfloat16(), target)
    subject.require_scalar(low, "loss(prediction, target) with a prediction in bfloat16")


def check_adversarial_loss(component: Callable[..., Any], **arguments: Any) -> None:
    """Checks the two-player loss of a GAN: values, directions, lists of logits, and the penalty where there is one.

    Args:
        component: The class.
        **arguments: What a YAML would give, without ``weight``.

    Raises:
        AssertionError: Names the clause that is broken.
    """
    subject, loss = _built(component, arguments)
    for method in ("generator", "discriminator"):
        subject.require(callable(getattr(loss, method, None)), f"has no method {method!r}")
    real, fake = (_logits(seed).requires_grad_() for seed in (0, 1))
    players: list[tuple[str, Callable[[Any, Any], Any], dict[str, int]]] = [
        ("discriminator(real, fake)", loss.discriminator, {"real": 1, "fake": -1}),
        ("generator(fake, real)", lambda real, fake: loss.generator(fake, real), {"fake": 1}),
        ("generator(fake)", lambda real, fake: loss.generator(fake), {"fake": 1}),
    ]
    for shown, player, wanted in players:
        with subject.doing(f"{shown} fails"):
            value = player(real, fake)
        subject.require_scalar(value, shown)
        subject.require(value.requires_grad, f"{shown} gives no gradient to the logits")
        with subject.doing(f"the gradient of {shown} fails"):
            gradients = torch.autograd.grad(value, [real, fake], retain_graph=True, materialize_grads=True)
        pulls = {"real": -float(gradients[0].sum()), "fake": -float(gradients[1].sum())}
        for name, sign in wanted.items():
            direction = "raise" if sign > 0 else "lower"
            subject.require(pulls[name] * sign > 0, f"descending {shown} does not {direction} the {name} logits")
        _check_lists(subject, shown, player, value, real, fake)
    if hasattr(loss, "penalty"):
        _check_penalty(subject, loss)


def _check_lists(
    subject: Subject, shown: str, player: Callable[[Any, Any], Any], value: Tensor, real: Tensor, fake: Tensor
) -> None:
    with subject.doing(f"{shown} fails on lists of logits, as discriminators of several scales give"):
        one, two = player([real], [fake]), player([real, real], [fake, fake])
        smaller = player([real, real[..., :2, :2]], [fake, fake[..., :2, :2]])
    subject.require_scalar(smaller, f"{shown} of maps of two sizes")
    subject.require(_near(one, value), f"{shown} of a list of one map differs from that of the map")
    subject.require(_near(two, value), f"{shown} of the same map twice differs: take the mean over maps, not the sum")
    doubled = player(torch.cat([real, real]), torch.cat([fake, fake]))
    subject.require(_near(doubled, value), f"{shown} of every image twice differs: take the mean over the batch")


def _check_penalty(subject: Subject, loss: Any) -> None:
    real, fake = images(2, 3, 8, 8), images(2, 3, 8, 8, seed=1)
    with seeded():
        D = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(4, 1, 3, 2, 1))
        with subject.doing("penalty(D, real, fake) fails"):
            value = loss.penalty(D, real, fake)
        if value is None:
            return
        subject.require_scalar(value, "penalty(D, real, fake)")
        with subject.doing("penalty(D, real, fake) gives no gradient to D"):
            gradients = torch.autograd.grad(value, list(D.parameters()), allow_unused=True)
    reached = [gradient for gradient in gradients if gradient is not None]
    subject.require(any(bool(g.any()) for g in reached), "penalty(D, real, fake) gives no gradient to D")
    finite = all(bool(gradient.isfinite().all()) for gradient in reached)
    subject.require(finite, "the gradient of penalty(D, real, fake) is not finite")


def _built(component: Callable[..., Any], arguments: dict[str, Any]) -> tuple[Subject, Any]:
    subject = Subject(component, arguments)
    subject.require("weight" not in subject.parameters, "names an argument 'weight', which is the role's in a YAML")
    loss = subject.build()
    subject.require(isinstance(loss, nn.Module), f"makes {type(loss).__name__}, expected an nn.Module")
    return subject, loss


def _logits(seed: int) -> Tensor:
    return _CENTRE + 0.1 * images(2, 1, 4, 4, seed=seed)


def _near(one: Any, other: Tensor) -> bool:
    return isinstance(one, Tensor) and torch.allclose(one, other, rtol=1e-3, atol=1e-5)

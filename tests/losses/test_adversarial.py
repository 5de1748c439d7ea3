"""Adversarial losses against their formulas, the golden numbers, and what a player should want."""

import math

import pytest
import torch
from torch import Tensor

from i2i.losses.adversarial import LSGAN, WGAN, AdversarialLoss, Hinge, NonSaturating, Vanilla

LOSSES = {
    "vanilla": Vanilla,
    "lsgan": LSGAN,
    "hinge": Hinge,
    "non_saturating": NonSaturating,
    "wgan": WGAN,
}


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


# What one logit costs: as real and as fake to D, as fake to G.
FORMULAS = {
    "vanilla": (lambda x: -math.log(sigmoid(x)), lambda x: -math.log(1 - sigmoid(x)), lambda x: -math.log(sigmoid(x))),
    "lsgan": (lambda x: (x - 1) ** 2, lambda x: x**2, lambda x: (x - 1) ** 2),
    "hinge": (lambda x: max(0, 1 - x), lambda x: max(0, 1 + x), lambda x: -x),
    "non_saturating": (
        lambda x: math.log1p(math.exp(-x)),
        lambda x: math.log1p(math.exp(x)),
        lambda x: math.log1p(math.exp(-x)),
    ),
    "wgan": (lambda x: -x, lambda x: x, lambda x: -x),
}


def average(function, logits: Tensor) -> float:
    values = [function(value) for value in logits.flatten().tolist()]
    return sum(values) / len(values)


@pytest.mark.parametrize("name", LOSSES)
def test_values_by_formula(name):
    torch.manual_seed(0)
    real, fake = 2 * torch.randn(2, 2, 1, 3, 4, dtype=torch.float64)
    loss = LOSSES[name]()
    on_real, on_fake, on_fooling = FORMULAS[name]
    assert loss.discriminator(real, fake).item() == pytest.approx(average(on_real, real) + average(on_fake, fake))
    assert loss.generator(fake).item() == pytest.approx(average(on_fooling, fake))
    assert loss.generator(fake, real).item() == pytest.approx(average(on_fooling, fake))


@pytest.mark.parametrize(("mode", "name"), [("lsgan", "lsgan"), ("vanilla", "vanilla"), ("wgangp", "wgan")])
def test_agrees_with_the_reference(golden, mode, name):
    tensors, _ = golden("adversarial_losses")
    loss, logits = LOSSES[name](), tensors["logits"]
    real, fake = tensors[f"{mode}.real"].item(), tensors[f"{mode}.fake"].item()
    assert loss.on_real(logits).item() == pytest.approx(real, rel=1e-6)
    assert loss.on_fake(logits).item() == pytest.approx(fake, rel=1e-6)
    assert loss.generator(logits).item() == pytest.approx(real, rel=1e-6)
    assert loss.discriminator(logits, logits).item() == pytest.approx(real + fake, rel=1e-6)


@pytest.mark.parametrize("name", LOSSES)
def test_maps_of_a_list_count_the_same(name):
    torch.manual_seed(0)
    loss = LOSSES[name]()
    real = [torch.randn(2, 1, 6, 6), torch.randn(2, 1, 3, 3)]
    fake = [torch.randn(2, 1, 6, 6), torch.randn(2, 1, 3, 3)]
    expected = sum(loss.discriminator(r, f) for r, f in zip(real, fake, strict=True)) / 2
    assert torch.allclose(loss.discriminator(real, fake), expected)
    assert torch.allclose(loss.generator(fake), sum(map(loss.generator, fake)) / 2)


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_push_where_each_player_wants(name):
    real, fake = torch.zeros(2, 1, 2, 2, requires_grad=True), torch.zeros(2, 1, 2, 2, requires_grad=True)
    loss = LOSSES[name]()
    loss.discriminator(real, fake).backward()
    assert (real.grad < 0).all()  # descending raises the logits of real images
    # Least squares starts at its target for fakes.
    assert (fake.grad > 0).all() or (name == "lsgan" and (fake.grad == 0).all())
    fooling = torch.zeros(2, 1, 2, 2, requires_grad=True)
    loss.generator(fooling).backward()
    assert (fooling.grad < 0).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("value", [-1e4, 1e4])
@pytest.mark.parametrize("name", LOSSES)
def test_extreme_logits_stay_finite(name, value, dtype):
    logits = torch.full((1, 1, 4, 4), value, dtype=dtype, requires_grad=True)
    loss = LOSSES[name]()
    total = loss.discriminator(logits, logits) + loss.generator(logits)
    total.backward()
    assert total.dtype == torch.float32
    assert total.isfinite()
    assert logits.grad.isfinite().all()


def test_half_precision_means_are_taken_in_float32():
    logits = torch.full((1, 1, 64, 64), 1.001).bfloat16()
    logits[..., ::2, :] = -1
    expected = logits.double().square().mean()
    total = LSGAN(real_label=0.0).discriminator(logits, logits)
    assert total.dtype == torch.float32
    assert total.item() == pytest.approx(2 * expected.item(), rel=1e-6)


def test_vanilla_and_non_saturating_are_the_same_game():
    real, fake = 3 * torch.randn(2, 1, 1, 8, 8)
    assert torch.allclose(Vanilla().discriminator(real, fake), NonSaturating().discriminator(real, fake))
    assert torch.allclose(Vanilla().generator(fake), NonSaturating().generator(fake))


def test_label_smoothing_moves_the_optimum_of_the_discriminator_alone():
    loss = Vanilla(real_label=0.9)
    optimum = torch.tensor(math.log(0.9 / 0.1)).reshape(1, 1, 1, 1).requires_grad_()
    (gradient,) = torch.autograd.grad(loss.on_real(optimum), optimum)
    assert gradient.abs().max() < 1e-6
    assert torch.equal(loss.generator(optimum), Vanilla().generator(optimum))

    loss = LSGAN(real_label=0.5, fake_label=-1.0)
    logits = torch.full((1, 1, 2, 2), 0.25)
    assert loss.discriminator(logits, logits).item() == pytest.approx(0.25**2 + 1.25**2)
    assert loss.generator(logits).item() == pytest.approx(0.25**2)


def test_wgan_drift_holds_the_values_of_real_images_near_zero():
    real, fake = 2 * torch.randn(2, 2, 1, 4, 4)
    added = WGAN(drift=0.001).discriminator(real, fake) - WGAN().discriminator(real, fake)
    assert added.item() == pytest.approx(0.001 * real.square().mean().item(), rel=1e-3)


@pytest.mark.parametrize(
    ("loss", "has_penalty"),
    [
        (Vanilla(), False),
        (LSGAN(), False),
        (Hinge(), False),
        (NonSaturating(), False),
        (NonSaturating(r1=10), True),
        (WGAN(), True),
        (WGAN(gradient_penalty=0), False),
    ],
)
def test_a_penalty_is_announced(loss: AdversarialLoss, has_penalty):
    image = torch.randn(2, 3, 8, 8)
    value = loss.penalty(lambda x: x.mean(1, keepdim=True), image, image)
    assert loss.has_penalty is has_penalty
    assert (value is not None) is has_penalty
    assert not list(loss.parameters())
    assert not loss.state_dict()


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Vanilla(real_label=1.1), "real_label must be between 0 and 1, got 1.1"),
        (lambda: Vanilla(fake_label=-0.1), "fake_label must be between 0 and 1, got -0.1"),
        (lambda: NonSaturating(r1=-1), "r1 must be at least 0, got -1"),
        (lambda: WGAN(gradient_penalty=-1), "gradient_penalty must be at least 0, got -1"),
        (lambda: WGAN(drift=-1), "drift must be at least 0, got -1"),
    ],
)
def test_messages_start_with_the_argument(build, message):
    with pytest.raises(ValueError) as error:
        build()
    assert str(error.value) == message

"""Gradient penalties against closed forms of discriminators whose gradient is known."""

import pytest
import torch
from torch import Tensor, nn

from i2i.losses.adversarial import WGAN, NonSaturating
from i2i.losses.penalties import gradient_penalty, input_gradient, r1_penalty


class Linear(nn.Module):
    """``D(x) = <w, x>``: its gradient is w everywhere."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.randn(shape, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return (x * self.w).sum((1, 2, 3)).reshape(-1, 1, 1, 1)


@pytest.fixture
def D() -> Linear:
    torch.manual_seed(0)
    return Linear((3, 4, 5))


@pytest.fixture
def images() -> tuple[Tensor, Tensor]:
    real, fake = torch.randn(2, 6, 3, 4, 5, dtype=torch.float64)
    return real, fake


def test_r1_of_a_linear_discriminator(D, images):
    penalty = NonSaturating(r1=10).penalty(D, *images)
    assert penalty.item() == pytest.approx(10 / 2 * D.w.square().sum().item())
    penalty.backward()
    assert torch.allclose(D.w.grad, 10 * D.w)


def test_gradient_penalty_of_a_linear_discriminator(D, images):
    penalty = WGAN(gradient_penalty=10).penalty(D, *images)
    length = D.w.norm()
    assert penalty.item() == pytest.approx(10 * (length.item() - 1) ** 2)
    penalty.backward()
    assert torch.allclose(D.w.grad, 20 * (length - 1) * D.w / length)


def test_r1_of_a_quadratic_discriminator_looks_at_real_images_only(images):
    real, fake = images

    def D(x: Tensor) -> Tensor:
        return x.square().sum((1, 2, 3)).reshape(-1, 1)

    penalty = NonSaturating(r1=2).penalty(D, real, fake)
    assert penalty.item() == pytest.approx((2 * real).square().sum((1, 2, 3)).mean().item())


def test_points_lie_between_real_and_fake_one_fraction_an_image(images):
    real, fake = images
    seen = []

    def D(x: Tensor) -> Tensor:
        seen.append(x.detach())
        return x.sum((1, 2, 3)).reshape(-1, 1)

    gradient_penalty(D, real, fake)
    fractions = (seen[0] - fake) / (real - fake)
    assert torch.allclose(fractions, fractions[:, :1, :1, :1].expand_as(fractions), atol=1e-6)
    assert (fractions >= 0).all()
    assert (fractions <= 1).all()
    assert len(fractions[:, 0, 0, 0].unique()) == len(real)


def test_a_patch_discriminator_counts_as_its_mean(D, images):
    real, _ = images
    patches = nn.Conv2d(3, 1, 2).double()
    expected = torch.zeros_like(real)
    # Each patch adds the kernel, divided by the number of patches, where it lies.
    for row in range(3):
        for column in range(4):
            expected[:, :, row : row + 2, column : column + 2] += patches.weight.detach() / 12
    assert torch.allclose(input_gradient(patches, real), expected.flatten(1))
    assert torch.allclose(input_gradient(lambda x: [patches(x), D(x)], real), (expected + D.w).flatten(1) / 2)


def test_flat_discriminators_have_finite_gradients(images):
    D = Linear((3, 4, 5))
    nn.init.zeros_(D.w)
    penalty = WGAN().penalty(D, *images)
    penalty.backward()
    assert penalty.item() == 10
    assert D.w.grad.isfinite().all()


def test_images_receive_no_gradient_and_keep_their_state(D, images):
    real, fake = images
    fake.requires_grad_()
    WGAN().penalty(D, real, fake).backward()
    NonSaturating(r1=1).penalty(D, real, fake).backward()
    assert fake.grad is None
    assert not real.requires_grad


def test_randomness_is_torchs(D, images):
    def D_squared(x: Tensor) -> Tensor:
        return D(x).square()

    values = []
    for _ in range(2):
        torch.manual_seed(5)
        values.append(gradient_penalty(D_squared, *images))
    assert torch.equal(*values)
    assert not torch.equal(gradient_penalty(D_squared, *images), values[0])


def test_half_precision_is_summed_in_float32():
    real = torch.randn(2, 3, 16, 16)
    D = nn.Conv2d(3, 1, 3)
    with torch.autocast("cpu", torch.bfloat16):
        penalty = r1_penalty(D, real)
    assert penalty.dtype == torch.float32
    assert penalty.item() == pytest.approx(r1_penalty(D, real).item(), rel=0.05)
    assert r1_penalty(D.bfloat16(), real.bfloat16()).dtype == torch.float32


def test_shapes_must_agree():
    with pytest.raises(ValueError, match=r"^real is \[2, 3, 8, 8\], fake \[1, 3, 8, 8\]: shapes must agree$"):
        gradient_penalty(lambda x: x.mean(1), torch.zeros(2, 3, 8, 8), torch.zeros(1, 3, 8, 8))

"""Each contract check passes a sound component and names the clause that a broken one breaks."""

import subprocess
import sys
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
import torch.nn.functional as nnf
from torch import Tensor, nn

from i2i.pipelines.base import Channels, LossRole, NetworkRole, Phase, Pipeline, Terms
from i2i.testing import (
    check_adversarial_loss,
    check_dataset,
    check_discriminator,
    check_generator,
    check_loss,
    check_pipeline,
)


class Sound(nn.Module):
    """A generator as it should be; the broken ones below differ in one thing."""

    def __init__(self, in_channels: int, out_channels: int, *, width: int = 4, kind: str = "plain") -> None:
        super().__init__()
        self.first = nn.Conv2d(in_channels, width, 3, padding=1)
        self.last = nn.Conv2d(width, out_channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(nnf.silu(self.first(x))).tanh()


class WithoutTanh(Sound):
    def forward(self, x):
        return 50 * self.last(self.first(x))


class WrongSize(Sound):
    def forward(self, x):
        return super().forward(x)[..., 1:]


class WrongType(Sound):
    def forward(self, x):
        return super().forward(x).double()


class GivesTuple(Sound):
    def forward(self, x):
        return super().forward(x), x


class NotFinite(Sound):
    def forward(self, x):
        return super().forward(x).log()


class InPlace(Sound):
    def forward(self, x):
        return super().forward(x.mul_(0.5))


class DishonestStride(Sound):
    def forward(self, x):
        return nnf.interpolate(super().forward(x)[..., ::4, ::4], scale_factor=4)


class DishonestLeastSize(Sound):
    def forward(self, x):
        return super().forward(nnf.pad(x, (3,) * 4, mode="reflect"))[..., 3:-3, 3:-3]


class StrideIsText(Sound):
    stride = "4"


class NoiseInEval(Sound):
    def forward(self, x):
        return super().forward(x + torch.rand_like(x))


class LooksAtNeighbours(Sound):
    def forward(self, x):
        return super().forward(x - x.mean())


class Unused(Sound):
    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels)
        self.spare = nn.Conv2d(1, 1, 1)


class ClosedBranch(Sound):
    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels)
        self.branch = nn.Conv2d(4, out_channels, 1)
        self.scale = nn.Parameter(torch.zeros(()))

    def forward(self, x):
        features = nnf.silu(self.first(x))
        return (self.last(features) + self.scale * self.branch(features)).tanh()


class CutsGradient(Sound):
    def forward(self, x):
        return super().forward(x.detach())


class NeedsBatch(Sound):
    def forward(self, x):
        if self.training and len(x) == 1:
            raise ValueError("Expected more than 1 value per channel when training")
        return super().forward(x)


class WritesOverItsWeights(Sound):
    def forward(self, x):
        if self.training:
            with torch.no_grad():
                self.last.weight.mul_(1)
        return super().forward(x)


class OwnRandomness(Sound):
    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels)
        with torch.no_grad():
            self.first.weight.fill_(float(np.random.default_rng().normal()))


class ForgetsState(Sound):
    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels)
        self.seen = 0.0

    def forward(self, x):
        if self.training:
            self.seen += 1.0
        return super().forward(x) / (1 + self.seen)


class ExtraState(Sound):
    def get_extra_state(self):
        return "text"

    def set_extra_state(self, state):
        pass


class NotOnMeta(Sound):
    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels)
        self.rates = torch.linspace(0, 1, 4).tolist()


class HiddenBuffer(Sound):
    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels)
        self.register_buffer("factor", torch.ones(()), persistent=False)

    def forward(self, x):
        return super().forward(x) * self.factor


class LooseTensor(Sound):
    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels)
        self.factor = torch.ones(1, 1, 1, 1)

    def forward(self, x):
        return super().forward(x) * self.factor


class NoCopy(Sound):
    def __deepcopy__(self, memo):
        raise TypeError("cannot copy")


class SharedCopy(Sound):
    def __deepcopy__(self, memo):
        return self


class WrongInChannelsLast(Sound):
    """The trap of F.instance_norm, made on purpose so that the test does not depend on the kernel."""

    def forward(self, x):
        y = super().forward(x)
        if x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous():
            y = 0.5 * y + 0.5 * y.detach()
        return y


class NotInBfloat16(Sound):
    def forward(self, x):
        y = super().forward(x)
        if y.dtype != torch.float32:
            raise TypeError("float32 only")
        return y


class PositionalOnly(Sound):
    def __init__(self, in_channels: int, out_channels: int, width: int = 4, /) -> None:
        super().__init__(in_channels, out_channels)


class OpenEnded(Sound):
    def __init__(self, in_channels: int, out_channels: int, **options: Any) -> None:
        super().__init__(in_channels, out_channels)


class NotAnnotated(Sound):
    def __init__(self, in_channels, out_channels, width=4) -> None:
        super().__init__(in_channels, out_channels)


class TakesAModule(Sound):
    def __init__(self, in_channels: int, out_channels: int, norm: nn.Module | None = None) -> None:
        super().__init__(in_channels, out_channels)


class WrongDefault(Sound):
    def __init__(self, in_channels: int, out_channels: int, width: int = 4.5) -> None:  # type: ignore[assignment]
        super().__init__(in_channels, out_channels)


class IgnoresChannels(Sound):
    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, 3)


class RefusesGray(Sound):
    def __init__(self, in_channels: int, out_channels: int) -> None:
        if in_channels == 1:
            raise ValueError("in_channels must be 3")
        super().__init__(in_channels, out_channels)


@pytest.mark.parametrize(
    ("component", "clause"),
    [
        (WithoutTanh, r"makes values in \[.*expected \[-1, 1\]"),
        (WrongSize, r"makes \[1, 3, 1, 0\] of \[1, 3, 1, 1\], expected \[1, 3, 1, 1\]"),
        (WrongType, "makes torch.float64 of torch.float32"),
        (GivesTuple, "gives tuple, expected a tensor"),
        (NotFinite, "makes values that are not finite"),
        (InPlace, "changes the images given to it"),
        (DishonestStride, r"makes \[1, 3, 4, 4\] of \[1, 3, 1, 1\]"),
        (DishonestLeastSize, r"fails on \[1, 3, 1, 1\], which its stride 1 and min_size 1 allow: RuntimeError"),
        (StrideIsText, "the attribute 'stride' is '4', expected an integer"),
        (NoiseInEval, "depends on the rest of its batch|the same images give other results"),
        (LooksAtNeighbours, "depends on the rest of its batch"),
        (Unused, "no gradient reaches spare.weight, spare.bias: unused in forward"),
        (ClosedBranch, "the gradient is zero everywhere in branch.weight"),
        (CutsGradient, "no gradient reaches the images"),
        (NeedsBatch, r"fails in training mode, used twice on \[1, 3, 32, 32\]: ValueError"),
        (WritesOverItsWeights, "fails in training mode, used twice .* RuntimeError"),
        (OwnRandomness, "torch.manual_seed does not decide the initial first.weight"),
        (ForgetsState, "something that matters is not in the state dict"),
        (ExtraState, "the state dict holds what is no tensor, which no bundle can keep: _extra_state"),
        (NotOnMeta, "cannot be built on the meta device, where a YAML is checked, with"),
        (HiddenBuffer, "not in the state dict, so a bundle cannot restore them: factor"),
        (LooseTensor, "neither parameter nor buffer"),
        (NoCopy, "cannot be copied by copy.deepcopy"),
        (SharedCopy, "its copy shares weights with it"),
        (WrongInChannelsLast, "gradient of .* in channels_last is off by 50%"),
        (NotInBfloat16, "fails in bfloat16 autocast"),
        (PositionalOnly, "can only set arguments that have a name; 'in_channels: int'"),
        (OpenEnded, r"can only set arguments that have a name; '\*\*options: Any'"),
        (NotAnnotated, "the argument 'width' has no annotation"),
        (TakesAModule, "the argument 'norm' is annotated Module or null, which a YAML cannot hold"),
        (WrongDefault, "the default of 'width' contradicts its annotation: expected an integer, got 4.5"),
        (IgnoresChannels, r"makes \[1, 3, 1, 1\] of \[1, 3, 1, 1\], expected \[1, 4, 1, 1\]"),
        (RefusesGray, "cannot be built with in_channels=1, out_channels=3: ValueError: in_channels must be 3"),
    ],
)
def test_a_broken_generator_is_told_what_is_broken(component, clause):
    with pytest.raises(AssertionError, match=rf"^{component.__name__}: .*{clause}"):
        check_generator(component)


def test_a_sound_generator_passes_with_any_arguments():
    check_generator(Sound)
    check_generator(Sound, width=2)
    check_generator(Sound, in_channels=2, out_channels=5)


def test_arguments_are_checked_as_those_of_a_yaml():
    with pytest.raises(AssertionError, match='Sound: width expected an integer, got "4"'):
        check_generator(Sound, width="4")
    with pytest.raises(AssertionError, match="Sound: widht unknown key, did you mean 'width'"):
        check_generator(Sound, widht=4)


def test_after_steps_excuses_what_the_first_step_opens_and_nothing_else():
    check_generator(ClosedBranch, after_steps=1)
    with pytest.raises(AssertionError, match="unused in forward"):
        check_generator(Unused, after_steps=1)


def test_a_function_that_makes_a_generator_is_a_component():
    def make(in_channels: int, out_channels: int, width: int = 4) -> nn.Module:
        return Sound(in_channels, out_channels, width=width)

    check_generator(make, width=3)


def test_the_global_random_state_is_left_alone():
    torch.manual_seed(3)
    state = torch.get_rng_state()
    check_generator(Sound)
    check_discriminator(Judge)
    assert torch.equal(state, torch.get_rng_state())


def test_instance_norm_of_torch_is_caught_where_it_is_wrong():
    """The kernel's flaw that i2i.networks.normalization works around; a repaired torch makes this pass trivially."""

    class Normalised(Sound):
        min_size = 2

        def forward(self, x):
            return self.last(nnf.silu(nnf.instance_norm(self.first(x)))).tanh()

    x = torch.randn(1, 4, 8, 8)
    gradients = []
    for layout in (torch.contiguous_format, torch.channels_last):
        y = x.clone(memory_format=layout).requires_grad_()
        factor = torch.linspace(0, 1, x.numel()).view_as(x).contiguous(memory_format=layout)
        (nnf.instance_norm(y) * factor).sum().backward()
        gradients.append(y.grad)
    if torch.allclose(*gradients, atol=1e-4):
        pytest.skip("this torch computes the gradient rightly")
    with pytest.raises(AssertionError, match="in channels_last is off by"):
        check_generator(Normalised)


def test_checks_survive_python_without_asserts():
    program = (
        "from i2i.testing import check_generator\n"
        "from torch import nn\n"
        "class Half(nn.Module):\n"
        "    def __init__(self, in_channels: int, out_channels: int) -> None:\n"
        "        super().__init__()\n"
        "        self.conv = nn.Conv2d(in_channels, out_channels, 2, 2)\n"
        "    def forward(self, x):\n"
        "        return self.conv(x).tanh()\n"
        "try:\n"
        "    check_generator(Half)\n"
        "except AssertionError as error:\n"
        "    print('caught', error)\n"
    )
    result = subprocess.run([sys.executable, "-O", "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.startswith("caught Half: fails on [1, 3, 1, 1]")


class Judge(nn.Module):
    """A sound discriminator."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(in_channels, 4, 4, 2, 1), nn.SiLU(), nn.Conv2d(4, 1, 4, 2, 1))

    def forward(self, x):
        return self.layers(x)


class Scales(Judge):
    def forward(self, x):
        return [self.layers(x), self.layers(nnf.avg_pool2d(x, 2))]


class LosesBatch(Judge):
    def forward(self, x):
        return self.layers(x).mean().reshape(1)


class GivesDict(Judge):
    def forward(self, x):
        return {"logits": self.layers(x)}


class DishonestJudge(Judge):
    min_size = 1


class OnceDifferentiable(Judge):
    def forward(self, x):
        return self.layers(_Double.apply(x))


class _Double(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return 2 * x

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient):
        return 2 * gradient


class BlindJudge(Judge):
    def forward(self, x):
        return self.layers(x.detach())


def test_sound_discriminators_pass():
    check_discriminator(Judge)
    check_discriminator(Scales)


@pytest.mark.parametrize(
    ("component", "clause"),
    [
        (LosesBatch, r"gives logits of shape \[1\] for 2 images of 64 pixels"),
        (GivesDict, "gives dict, expected a tensor of logits or a list of them"),
        (DishonestJudge, "fails on images of its min_size of 1 pixels"),
        (OnceDifferentiable, "cannot be differentiated again"),
        (BlindJudge, "its gradient cannot be differentiated again|no gradient reaches the images"),
    ],
)
def test_a_broken_discriminator_is_told_what_is_broken(component, clause):
    with pytest.raises(AssertionError, match=rf"^{component.__name__}: .*{clause}"):
        check_discriminator(component)


class Distance(nn.Module):
    def forward(self, prediction, target):
        return (prediction.float() - target.float()).abs().mean()


class Summed(nn.Module):
    def forward(self, prediction, target):
        return (prediction - target).abs().sum()


class PerImage(nn.Module):
    def forward(self, prediction, target):
        return (prediction - target).abs().mean((1, 2, 3))


class RootAtZero(nn.Module):
    def forward(self, prediction, target):
        return (prediction.float() - target.float()).square().mean().sqrt()


class Detached(nn.Module):
    def forward(self, prediction, target):
        return (prediction.detach() - target).abs().mean()


class Inverted(nn.Module):
    def forward(self, prediction, target):
        return -(prediction - target).abs().mean()


class Weighted(Distance):
    def __init__(self, weight: float = 1.0) -> None:
        super().__init__()


class Overwrites(nn.Module):
    def forward(self, prediction, target):
        return (target.sub_(prediction.detach()) - prediction).abs().mean()


class Whole(nn.Module):
    def forward(self, prediction, target):
        return (prediction == target).sum()


def test_a_sound_loss_passes():
    check_loss(Distance)


@pytest.mark.parametrize(
    ("component", "clause"),
    [
        (Summed, "take the mean over the batch"),
        (PerImage, r"loss\(prediction, target\) gives torch.float32 of shape \[2\], expected one floating-point"),
        (RootAtZero, "the gradient is not finite where prediction and target agree"),
        (Detached, "gives a value without gradient"),
        (Inverted, "prefers a wrong prediction"),
        (Weighted, "names an argument 'weight'"),
        (Overwrites, "the same images give another value|changes the images"),
        (Whole, "gives torch.int64 of shape"),
    ],
)
def test_a_broken_loss_is_told_what_is_broken(component, clause):
    with pytest.raises(AssertionError, match=rf"^{component.__name__}: .*{clause}"):
        check_loss(component)


def _mean(function, logits):
    maps = [logits] if isinstance(logits, Tensor) else logits
    return torch.stack([function(values) for values in maps]).mean()


class Adversary(nn.Module):
    def generator(self, fake, real=None):
        return _mean(lambda logits: nnf.softplus(-logits).mean(), fake)

    def discriminator(self, real, fake):
        right = _mean(lambda logits: nnf.softplus(-logits).mean(), real)
        return right + _mean(lambda logits: nnf.softplus(logits).mean(), fake)


class Relativistic(Adversary):
    """Compares with the real logits where it has them."""

    def generator(self, fake, real=None):
        if real is None:
            return super().generator(fake)
        pairs = [(fake, real)] if isinstance(fake, Tensor) else zip(fake, real, strict=True)
        return torch.stack([nnf.softplus(right.mean() - wrong).mean() for wrong, right in pairs]).mean()


class OneSided(Adversary):
    def discriminator(self, real, fake):
        return self.generator(real)


class TakesNoList(Adversary):
    def generator(self, fake, real=None):
        return nnf.softplus(-fake).mean()


class SumsMaps(Adversary):
    def generator(self, fake, real=None):
        return super().generator(fake) * (1 if isinstance(fake, Tensor) else len(fake))


class SumsBatch(Adversary):
    def generator(self, fake, real=None):
        return super().generator(fake) * (len(fake) if isinstance(fake, Tensor) else len(fake[0]))


class Swapped(Adversary):
    def discriminator(self, real, fake):
        return super().discriminator(fake, real)


class WithoutPlayer(nn.Module):
    def generator(self, fake, real=None):
        return fake.mean()


class IdlePenalty(Adversary):
    def penalty(self, D, real, fake):
        return D(real).detach().mean()


class Penalty(Adversary):
    def penalty(self, D, real, fake):
        real = real.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(D(real).sum(), real, create_graph=True)
        return gradient.square().mean()


def test_sound_adversarial_losses_pass():
    for component in (Adversary, Relativistic, Penalty):
        check_adversarial_loss(component)


@pytest.mark.parametrize(
    ("component", "clause"),
    [
        (OneSided, r"descending discriminator\(real, fake\) does not lower the fake logits"),
        (TakesNoList, r"generator\(fake, real\) fails on lists of logits"),
        (SumsMaps, r"generator\(fake, real\) of the same map twice differs"),
        (SumsBatch, r"generator\(fake, real\) of every image twice differs"),
        (Swapped, r"descending discriminator\(real, fake\) does not raise the real logits"),
        (WithoutPlayer, "has no method 'discriminator'"),
        (IdlePenalty, r"penalty\(D, real, fake\) gives no gradient to D"),
    ],
)
def test_a_broken_adversarial_loss_is_told_what_is_broken(component, clause):
    with pytest.raises(AssertionError, match=rf"^{component.__name__}: .*{clause}"):
        check_adversarial_loss(component)


class Numbers:
    """A sound data set."""

    channels: ClassVar[Any] = {"a": 1, "b": 3}

    def __init__(self, length: int = 5) -> None:
        self.length = length

    def __len__(self) -> int:
        return self.length

    def get(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        image = {name: torch.from_numpy(rng.uniform(-1, 1, (n, 4, 4))).float() for name, n in self.channels.items()}
        return {**image, "a_path": f"{index}", "b_path": f"{index}"}

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.get(index, np.random.default_rng(index))


class Legacy(Numbers):
    """Draws from the global state, as data sets of other projects do."""

    get = None  # type: ignore[assignment]

    def __getattribute__(self, name):
        if name == "get":
            raise AttributeError(name)
        return super().__getattribute__(name)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return Numbers.get(self, index, np.random.default_rng(int(torch.randint(1 << 30, ()))))


class Bytes(Numbers):
    def get(self, index, rng):
        return {**super().get(index, rng), "a": torch.zeros(1, 4, 4, dtype=torch.uint8)}


class UnitRange(Numbers):
    def get(self, index, rng):
        return {**super().get(index, rng), "b": 255 * torch.ones(3, 4, 4)}


class WrongChannels(Numbers):
    channels: ClassVar[Any] = {"a": 1, "b": 3, "c": 2}

    def get(self, index, rng):
        return {**super().get(index, rng), "c": torch.zeros(1, 4, 4)}


class Pathless(Numbers):
    def get(self, index, rng):
        return {key: value for key, value in super().get(index, rng).items() if key != "b_path"}


class Impatient(Numbers):
    def get(self, index, rng):
        return super().get(index, np.random.default_rng())


class Unpicklable(Numbers):
    def __init__(self) -> None:
        super().__init__()
        self.load = lambda path: path


class Late(Numbers):
    channels: ClassVar[Any] = None


class Missing(Numbers):
    def get(self, index, rng):
        raise FileNotFoundError(f"no {index}.png")


def test_sound_datasets_pass():
    check_dataset(Numbers)
    check_dataset(Numbers, length=1)
    check_dataset(Legacy)


@pytest.mark.parametrize(
    ("component", "clause"),
    [
        (Bytes, "'a' of an item is torch.uint8, expected float32"),
        (UnitRange, r"'b' of an item has values in \[255, 255\], expected \[-1, 1\]"),
        (WrongChannels, r"'c' of an item has shape \[1, 4, 4\], expected \[2, H, W\]"),
        (Pathless, "'b_path' of an item is None, expected text"),
        (Impatient, r"item 0 read twice differs: all randomness must come from the generator given to get\(\)"),
        (Unpicklable, "cannot be sent to a worker process"),
        (Late, "the attribute 'channels' is None"),
        (Missing, "item 0 cannot be read: FileNotFoundError: no 0.png"),
    ],
)
def test_a_broken_dataset_is_told_what_is_broken(component, clause):
    with pytest.raises(AssertionError, match=rf"^{component.__name__}: .*{clause}"):
        check_dataset(component)


def test_an_empty_dataset_is_refused():
    with pytest.raises(AssertionError, match="Numbers: is empty"):
        check_dataset(Numbers, length=0)


class Regression(Pipeline):
    """A sound pipeline: one network, one loss."""

    networks: ClassVar[Mapping[str, NetworkRole]] = {
        "generator": NetworkRole("generator", {"G": Channels(("a",), ("b",))})
    }
    losses: ClassVar[Mapping[str, LossRole]] = {"reconstruction": LossRole("pairwise")}
    phases = (Phase("G", ("G",), "generator"),)
    directions: ClassVar[Any] = {"a2b": "G"}

    def __init__(self, networks: Any, losses: Any, gain: float = 1.0) -> None:
        super().__init__(networks, losses, "running", "off")
        self.gain = gain
        self.register_buffer("count", torch.zeros(()))

    def forward(self, batch, rng):
        return {"fake": self.G(batch["a"])}

    def loss(self, phase, batch, shared, rng):
        return Terms({"G": self.gain * self.objectives["reconstruction"](shared["fake"], batch["b"])})

    def commit(self, phase, batch, shared, rng):
        self.count += 1

    def previews(self, batch):
        return {"input": batch["a"], "output": self.G(batch["a"])}


class Impure(Regression):
    def loss(self, phase, batch, shared, rng):
        self.count += 1
        return super().loss(phase, batch, shared, rng)


class Restless(Regression):
    def loss(self, phase, batch, shared, rng):
        terms = super().loss(phase, batch, shared, rng)
        return Terms({"G": terms.losses["G"] * np.random.default_rng().uniform(1, 2)})


class ForgetsToDetachTwice(Regression):
    phases = (Phase("G", ("G",), "generator"), Phase("again", ("G",), "generator"))


class TrainsNobody(Regression):
    phases = (Phase("G", ("H",), "generator"),)


class StrangeOptimizer(Regression):
    phases = (Phase("G", ("G",), "encoder"),)


class NeedsLosses(Regression):
    def __init__(self, networks: Any, losses: Any) -> None:
        super().__init__(networks, losses)
        self.main = losses["reconstruction"]


class NoGradient(Regression):
    def loss(self, phase, batch, shared, rng):
        return Terms({"G": (self.G(batch["a"]) * 0).sum()})


def test_a_sound_pipeline_passes():
    check_pipeline(Regression)
    check_pipeline(Regression, gain=2.0)


@pytest.mark.parametrize(
    ("component", "clause"),
    [
        (Impure, "loss of phase 'G' with all losses changes state"),
        (Restless, "loss of phase 'G' with all losses differs under the same random numbers"),
        (ForgetsToDetachTwice, "loss of phase 'again' with all losses cannot be descended: RuntimeError: Trying"),
        (TrainsNobody, "phase 'G' trains 'H', which no role makes"),
        (StrangeOptimizer, "phase 'G' has the optimizer of 'encoder', which is no role"),
        (NeedsLosses, "cannot be built with no arguments: KeyError"),
        (NoGradient, "loss of phase 'G' with all losses gives no gradient to G"),
        (Sound, "is no subclass of i2i.Pipeline"),
    ],
)
def test_a_broken_pipeline_is_told_what_is_broken(component, clause):
    with pytest.raises(AssertionError, match=rf"^{component.__name__}: .*{clause}"):
        check_pipeline(component)

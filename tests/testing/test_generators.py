"""check_generator passes a sound class and names the clause that a broken one breaks."""

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as nnf
from torch import Tensor, nn

from i2i.testing import check_generator


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
    assert torch.equal(state, torch.get_rng_state())


def test_instance_norm_of_torch_is_caught_where_it_is_wrong():
    """The kernel's flaw that our normalization works around; a repaired torch makes this pass trivially."""

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


@pytest.mark.slow
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

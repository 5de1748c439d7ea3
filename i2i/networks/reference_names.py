"""Names of weights in the original PyTorch code of pix2pix and CycleGAN (pytorch-CycleGAN-and-pix2pix), and in ours.

That code counts the entries of nested ``nn.Sequential``; the rules below count along. One rule an architecture gives
the names of its layers, ``model.10.conv_block.1 -> blocks.0.first.conv``; the tensors of a layer have the same names
in both.
"""

from collections.abc import Mapping
from itertools import chain, islice

from torch import Tensor, nn

from i2i.errors import CheckpointError
from i2i.networks.normalization import InstanceNorm2d
from i2i.networks.patchgan import PatchGANDiscriminator
from i2i.networks.resnet import ResNetGenerator
from i2i.networks.unet import UNetGenerator

_BUFFERS = ("running_mean", "running_var", "num_batches_tracked")
_NUM_SHOWN = 5


def resnet_layers(num_blocks: int, num_downsamplings: int = 2, dropout: bool = False) -> dict[str, str]:
    """Reference layer -> ours, for the residual generator with reflection padding and transposed convolutions.

    Args:
        num_blocks: Number of residual blocks.
        num_downsamplings: How often the size is halved; the reference always halves twice.
        dropout: Whether the blocks have a dropout layer, which shifts what follows it.
    """
    layers = {"model.1": "stem.conv", "model.2": "stem.norm"}  # model.0 pads
    position = 4
    for level in range(num_downsamplings):
        layers |= {f"model.{position}": f"down.{level}.conv", f"model.{position + 1}": f"down.{level}.norm"}
        position += 3
    for block in range(num_blocks):
        # pad, conv, norm, relu, (dropout), pad, conv, norm
        for half, start in (("first", 1), ("second", 6 if dropout else 5)):
            layers[f"model.{position}.conv_block.{start}"] = f"blocks.{block}.{half}.conv"
            layers[f"model.{position}.conv_block.{start + 1}"] = f"blocks.{block}.{half}.norm"
        position += 1
    for level in range(num_downsamplings):
        layers |= {f"model.{position}": f"up.{level}.conv", f"model.{position + 1}": f"up.{level}.norm"}
        position += 3
    layers[f"model.{position + 1}"] = "head"  # after a pad
    return layers


def unet_layers(num_downsamplings: int) -> dict[str, str]:
    """Reference layer -> ours, for the U-Net with transposed convolutions, whose levels are nested in the reference.

    Args:
        num_downsamplings: Number of levels.
    """
    layers = {"model.model.0": "down.0.conv", "model.model.3": "up.0.conv"}
    inside = "model.model.1.model"
    for level in range(1, num_downsamplings):
        layers[f"{inside}.1"] = f"down.{level}.conv"
        if level < num_downsamplings - 1:
            # leaky relu, conv, norm, (next level), relu, conv, norm, (dropout)
            layers |= {f"{inside}.2": f"down.{level}.norm", f"{inside}.5": f"up.{level}.conv"}
            layers[f"{inside}.6"] = f"up.{level}.norm"
        else:
            # leaky relu, conv, relu, conv, norm
            layers |= {f"{inside}.3": f"up.{level}.conv", f"{inside}.4": f"up.{level}.norm"}
        inside += ".3.model"
    return layers


def patchgan_layers(num_layers: int) -> dict[str, str]:
    """Reference layer -> ours, for the PatchGAN, or the PixelGAN where ``num_layers`` is 0.

    Args:
        num_layers: Number of convolutions with stride 2.
    """
    root = "net" if num_layers == 0 else "model"
    num_hidden = num_layers or 1
    layers = {f"{root}.0": "layers.0.conv"}
    for level in range(1, num_hidden + 1):
        position = 3 * level - 1
        layers |= {f"{root}.{position}": f"layers.{level}.conv", f"{root}.{position + 1}": f"layers.{level}.norm"}
    layers[f"{root}.{3 * num_hidden + 2}"] = "head"
    return layers


def reference_layers(network: nn.Module) -> dict[str, str]:
    """Reference layer -> ours, for one of our networks.

    Raises:
        CheckpointError: If the reference has no such network.
    """
    if isinstance(network, ResNetGenerator) and network.padding == "reflect" and network.upsample == "transpose":
        return resnet_layers(network.num_blocks, network.num_downsamplings, network.dropout > 0)
    if isinstance(network, UNetGenerator) and network.upsample == "transpose":
        return unet_layers(network.num_downsamplings)
    if isinstance(network, PatchGANDiscriminator) and not network.spectral_norm:
        return patchgan_layers(network.num_layers)
    raise CheckpointError(
        f"{type(network).__name__}: the reference code has no network of this kind, or not with these options",
        hints=["it has resnet (padding reflect, upsample transpose), unet (upsample transpose) and patchgan"],
    )


def rename(name: str, layers: Mapping[str, str]) -> str | None:
    """Renames one tensor, ``model.1.weight -> stem.conv.weight``; None where its layer is not in ``layers``."""
    layer, _, tensor = name.removeprefix("module.").rpartition(".")
    return f"{layers[layer]}.{tensor}" if layer in layers else None


def load_reference(network: nn.Module, state_dict: Mapping[str, Tensor]) -> None:
    """Loads weights of the reference code into one of our networks.

    Prefixes of ``DataParallel`` are taken off. Running statistics of instance norms, which files of 2017 have and the
    reference itself discards, are left out, as is the absence of the batch counter that such files lack. A network
    without norm keeps zeros for the biases that the reference does not give it.

    Args:
        network: Built with the options of the weights; changed in place.
        state_dict: Tensors by the reference's names.

    Raises:
        CheckpointError: If a tensor is missing, left over or of another shape; nothing is loaded then.
    """
    layers = reference_layers(network)
    stateless = {name for name, module in network.named_modules() if isinstance(module, InstanceNorm2d)}
    expected = network.state_dict()
    found: dict[str, Tensor] = {}
    problems: dict[str, str] = {}
    for name, tensor in state_dict.items():
        ours = rename(name, layers)
        if ours is not None and ours.endswith(_BUFFERS) and ours.rpartition(".")[0] in stateless:
            continue
        if ours is None or ours not in expected:
            problems[name] = f"unexpected tensor {name} {list(tensor.shape)}"
        elif tensor.shape != expected[ours].shape:
            problems[ours] = f"tensor {name} is {list(tensor.shape)}, expected {list(expected[ours].shape)}"
        else:
            found[ours] = tensor

    theirs = {ours: reference for reference, ours in layers.items()}
    for ours, tensor in expected.items():
        layer, _, kind = ours.rpartition(".")
        if ours in found or ours in problems:
            continue
        if kind == "num_batches_tracked" or (kind == "bias" and network.norm == "none"):
            found[ours] = tensor.new_zeros(tensor.shape)
        else:
            problems[ours] = f"missing tensor {theirs[layer]}.{kind} {list(tensor.shape)}"
    if problems:
        hidden = len(problems) - _NUM_SHOWN
        shown = chain(islice(problems.values(), _NUM_SHOWN), [f"and {hidden} more"] if hidden > 0 else [])
        raise CheckpointError(f"weights do not fit {type(network).__name__}: check its options", hints=shown)
    network.load_state_dict(found)


def to_reference(network: nn.Module) -> dict[str, Tensor]:
    """The weights of one of our networks under the names of the reference code.

    Raises:
        CheckpointError: If the reference has no such network.
    """
    theirs = {ours: reference for reference, ours in reference_layers(network).items()}
    renamed = ((rename(name, theirs), tensor) for name, tensor in network.state_dict().items())
    return {name: tensor for name, tensor in renamed if name is not None}

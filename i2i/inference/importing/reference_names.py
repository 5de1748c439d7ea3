"""Names of weights in the original PyTorch code of pix2pix and CycleGAN (pytorch-CycleGAN-and-pix2pix), and in ours.

That code counts the entries of nested ``nn.Sequential``; the rules below count along. One rule an architecture gives
the names of its layers, ``model.10.conv_block.1 -> blocks.0.first.conv``; the tensors of a layer have the same names
in both. CUT (contrastive-unpaired-translation) has the same networks, with entries more where it avoids aliasing: fixed
filters, which it saves and we have no tensors for.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from i2i.core.errors import CheckpointError, first_of
from i2i.networks.blocks.normalization import InstanceNorm2d
from i2i.networks.patchgan import PatchGANDiscriminator
from i2i.networks.resnet import ResNetGenerator
from i2i.networks.unet import UNetGenerator

_BUFFERS = ("running_mean", "running_var", "num_batches_tracked")
NUM_SHOWN = 5  # problems that a message names
_BINOMIAL = {"down": (1.0, 2.0, 1.0), "up": (1.0, 3.0, 3.0, 1.0)}  # in each dimension, before they sum to 1 a pixel


def resnet_layers(
    num_blocks: int, num_downsamplings: int = 2, dropout: bool = False, antialias: bool = False, bilinear: bool = False
) -> dict[str, str]:
    """Reference layer -> ours, for the residual generator with reflection padding.

    Args:
        num_blocks: Number of residual blocks.
        num_downsamplings: How often the size is halved; the reference always halves twice.
        dropout: Whether the blocks have a dropout layer, which shifts what follows it.
        antialias: Whether a blur follows each block that halves the size; it is the layer ``down.0.blur``.
        bilinear: Whether an enlargement precedes the convolutions that otherwise are transposed, ``up.0.blur``.
    """
    layers = {"model.1": "stem.conv", "model.2": "stem.norm"}  # model.0 pads
    position = 4
    for level in range(num_downsamplings):
        layers |= {f"model.{position}": f"down.{level}.conv", f"model.{position + 1}": f"down.{level}.norm"}
        position += 3
        if antialias:
            layers[f"model.{position}"] = f"down.{level}.blur"
            position += 1
    for block in range(num_blocks):
        # pad, conv, norm, relu, (dropout), pad, conv, norm
        for half, start in (("first", 1), ("second", 6 if dropout else 5)):
            layers[f"model.{position}.conv_block.{start}"] = f"blocks.{block}.{half}.conv"
            layers[f"model.{position}.conv_block.{start + 1}"] = f"blocks.{block}.{half}.norm"
        position += 1
    for level in range(num_downsamplings):
        if bilinear:
            layers[f"model.{position}"] = f"up.{level}.blur"
            position += 1
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


def patchgan_layers(num_layers: int, antialias: bool = False) -> dict[str, str]:
    """Reference layer -> ours, for the PatchGAN, or the PixelGAN where ``num_layers`` is 0.

    Args:
        num_layers: Number of layers that halve the size.
        antialias: Whether a blur follows each of these; it is the layer ``layers.0.blur``.
    """
    root = "net" if num_layers == 0 else "model"
    num_hidden = num_layers or 1
    layers = {}
    position = 0
    for level in range(num_hidden + 1):
        layers[f"{root}.{position}"] = f"layers.{level}.conv"
        if level > 0:
            position += 1
            layers[f"{root}.{position}"] = f"layers.{level}.norm"
        position += 2
        if antialias and level < num_layers:
            layers[f"{root}.{position}"] = f"layers.{level}.blur"
            position += 1
    layers[f"{root}.{position}"] = "head"
    return layers


def reference_layers(network: nn.Module) -> dict[str, str]:
    """Reference layer -> ours, for one of our networks.

    Raises:
        CheckpointError: If the reference has no such network.
    """
    if isinstance(network, ResNetGenerator) and network.padding == "reflect":
        upsample = network.upsample
        if upsample in ("transpose", "bilinear"):
            structure = (network.num_blocks, network.num_downsamplings, network.dropout > 0, network.antialias)
            return resnet_layers(*structure, bilinear=upsample == "bilinear")
    if isinstance(network, UNetGenerator) and network.upsample == "transpose":
        return unet_layers(network.num_downsamplings)
    if isinstance(network, PatchGANDiscriminator) and not network.spectral_norm:
        return patchgan_layers(network.num_layers, network.antialias)
    raise CheckpointError(
        f"{type(network).__name__}: the reference code has no network of this kind, or not with these options",
        hints=["it has resnet (padding reflect, upsample transpose or bilinear), unet (upsample transpose), patchgan"],
    )


def reference_filters(network: nn.Module) -> dict[str, Tensor]:
    """The fixed filters that the reference saves with such a network, by the reference's names.

    Returns:
        ``[C, 1, 3, 3]`` for a blur that halves the size, ``[C, 1, 4, 4]`` for an enlargement.

    Raises:
        CheckpointError: If the reference has no such network.
    """
    layers = reference_layers(network)
    state = network.state_dict()
    filters = {}
    for reference, ours in layers.items():
        block, _, part = ours.rpartition(".")
        if part == "blur":
            # A blur follows the convolution, an enlargement precedes it.
            is_up = block.startswith("up")
            channels = state[f"{block}.conv.weight"].shape[1 if is_up else 0]
            taps = torch.tensor(_BINOMIAL["up" if is_up else "down"])
            kernel = torch.outer(taps, taps) / taps.sum() ** 2 * (4 if is_up else 1)
            filters[f"{reference}.filt"] = kernel.repeat(channels, 1, 1, 1)
    return filters


def rename(name: str, layers: Mapping[str, str]) -> str | None:
    """Renames one tensor, ``model.1.weight -> stem.conv.weight``; None where its layer is not in ``layers``."""
    layer, _, tensor = name.removeprefix("module.").rpartition(".")
    return f"{layers[layer]}.{tensor}" if layer in layers else None


@dataclass
class Fitted:
    """Weights of the reference that belong to one of our networks.

    Attributes:
        tensors: A state dict of our network, complete where there are no problems.
        left_out: Names of the tensors that our network has no use for: statistics of instance norms, fixed filters.
        problems: One line for each tensor that is missing, left over or of another shape.
    """

    tensors: dict[str, Tensor] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def fit_reference(network: nn.Module, state_dict: Mapping[str, Tensor]) -> Fitted:
    """Compares weights of the reference code with one of our networks, which may be on the meta device.

    Prefixes of ``DataParallel`` are taken off. Running statistics of instance norms, which files of 2017 have and the
    reference itself discards, are left out, as is the absence of the batch counter that such files lack. A network
    without norm keeps zeros for the biases that the reference does not give it.

    Args:
        network: Built with the options of the weights; not changed.
        state_dict: Tensors by the reference's names.

    Raises:
        CheckpointError: If the reference has no such network.
    """
    layers = reference_layers(network)
    filters = reference_filters(network)
    stateless = {name for name, module in network.named_modules() if isinstance(module, InstanceNorm2d)}
    expected = network.state_dict()
    fitted = Fitted()
    wrong = set()
    for name, tensor in state_dict.items():
        ours = rename(name, layers)
        kernel = filters.get(name.removeprefix("module."))
        if ours is not None and ours.endswith(_BUFFERS) and ours.rpartition(".")[0] in stateless:
            fitted.left_out.append(name)
        elif kernel is not None:
            if tensor.shape == kernel.shape and torch.allclose(tensor.float(), kernel, atol=1e-3):
                fitted.left_out.append(name)
            else:
                fitted.problems.append(f"tensor {name} {list(tensor.shape)} is another filter than {_taps(kernel)}")
        elif ours is None or ours not in expected:
            fitted.problems.append(f"unexpected tensor {name} {list(tensor.shape)}")
        elif tensor.shape != expected[ours].shape:
            wrong.add(ours)
            fitted.problems.append(f"tensor {name} is {list(tensor.shape)}, expected {list(expected[ours].shape)}")
        else:
            fitted.tensors[ours] = tensor

    theirs = {ours: reference for reference, ours in layers.items()}
    for ours, tensor in expected.items():
        layer, _, kind = ours.rpartition(".")
        if ours in fitted.tensors or ours in wrong:
            continue
        if kind == "num_batches_tracked" or (kind == "bias" and network.norm == "none"):
            fitted.tensors[ours] = torch.zeros(tensor.shape, dtype=tensor.dtype)
        else:
            fitted.problems.append(f"missing tensor {theirs[layer]}.{kind} {list(tensor.shape)}")
    return fitted


def _taps(kernel: Tensor) -> str:
    row = kernel[0, 0, 0] / kernel[0, 0, 0, 0]
    return f"[{', '.join(f'{value:.0f}' for value in row.tolist())}]"


def load_reference(network: nn.Module, state_dict: Mapping[str, Tensor]) -> None:
    """Loads weights of the reference code into one of our networks; see :func:`fit_reference`.

    Args:
        network: Built with the options of the weights; changed in place.
        state_dict: Tensors by the reference's names.

    Raises:
        CheckpointError: If a tensor is missing, left over or of another shape; nothing is loaded then.
    """
    fitted = fit_reference(network, state_dict)
    if fitted.problems:
        raise CheckpointError(
            f"weights do not fit {type(network).__name__}: check its options",
            hints=first_of(fitted.problems, NUM_SHOWN),
        )
    network.load_state_dict(fitted.tensors)


def to_reference(network: nn.Module) -> dict[str, Tensor]:
    """The weights of one of our networks under the names of the reference code.

    Raises:
        CheckpointError: If the reference has no such network.
    """
    theirs = {ours: reference for reference, ours in reference_layers(network).items()}
    renamed = ((rename(name, theirs), tensor) for name, tensor in network.state_dict().items())
    return {name: tensor for name, tensor in renamed if name is not None} | reference_filters(network)

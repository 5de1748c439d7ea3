"""Checkpoints as other projects leave them: tensors by the reference's names, saved by torch."""

import torch

from i2i.inference.importing.reference_names import to_reference
from i2i.networks.patchgan import PatchGANDiscriminator
from i2i.networks.resnet import ResNetGenerator
from i2i.networks.unet import UNetGenerator

OPTIONS = """----------------- Options ---------------
               batch_size: 1
                crop_size: 64	[default: 256]
                direction: BtoA	[default: AtoB]
                  isTrain: True	[default: None]
                     name: facades_label2photo	[default: experiment_name]
               no_dropout: False
                     norm: batch	[default: instance]
               preprocess: resize_and_crop
----------------- End -------------------
"""


def randomized(network, seed=0):
    """Values everywhere, in statistics and idle biases, too, large enough to tell one network from another."""
    rng = torch.Generator().manual_seed(seed)
    for name, tensor in network.state_dict().items():
        if tensor.is_floating_point():
            drawn = torch.rand(tensor.shape, generator=rng)
            is_scale = name.endswith("running_var") or (tensor.ndim == 1 and name.endswith("weight"))
            tensor.copy_(drawn + 0.5 if is_scale else 0.5 * (drawn - 0.5))
    return network.eval()


def resnet(in_channels=3, out_channels=3, seed=0, **options):
    return randomized(
        ResNetGenerator(in_channels, out_channels, **{"num_blocks": 2, "base_channels": 4} | options), seed
    )


def unet(in_channels=3, out_channels=3, seed=0, **options):
    options = {"num_downsamplings": 5, "base_channels": 2} | options
    return randomized(UNetGenerator(in_channels, out_channels, **options), seed)


def patchgan(in_channels=3, seed=0, **options):
    return randomized(PatchGANDiscriminator(in_channels, **{"base_channels": 4} | options), seed)


def save(path, network, **options):
    """Writes a network of ours as the reference would."""
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(to_reference(network), path, **options)
    return path


def save_cyclegan(folder, epoch="latest", **options):
    """Writes both directions and their judges; returns the networks by the reference's names."""
    networks = {"G_A": resnet(seed=1, **options), "G_B": resnet(seed=2, **options)}
    networks |= {"D_A": patchgan(seed=3), "D_B": patchgan(seed=4)}
    for name, network in networks.items():
        save(folder / f"{epoch}_net_{name}.pth", network)
    return networks

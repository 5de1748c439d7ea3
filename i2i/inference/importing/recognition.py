"""Which network a state dict belongs to, told by the names and shapes of its tensors.

Known are the networks of pytorch-CycleGAN-and-pix2pix and of CUT (contrastive-unpaired-translation). What a rule reads
is little, a few layers: whether all tensors fit is checked afterwards, against the network that the rule leads to.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Shapes = Mapping[str, tuple[int, ...]]

_MAX_DOUBLINGS = 8  # of the channels; each of a file's tensors is small, and what names lead to might not be
# What neither translates nor judges images for any pipeline here: a pattern of names, and what it is.
_OTHERS = (
    (r"mlp_\d+\.\d+\.weight$", "the feature head of CUT (net_F), which compares patches and does not translate"),
    (r"(encoder|decoder)\..*(modulation|conv1\.1)\b.*", "a StyleGAN2 network of CUT, which is not supported"),
    (r"(convs|final_linear|final_conv)\.\d+\..*", "a StyleGAN2 discriminator of CUT, which is not supported"),
)


@dataclass(frozen=True)
class Guess:
    """A network as its tensors tell it.

    Attributes:
        kind: The registry's kind.
        type: The registered name.
        arguments: Of the constructor; those absent have their defaults.
        assumed: Arguments that the tensors cannot tell, and why the value was taken.
    """

    kind: str
    type: str
    arguments: dict[str, Any]
    assumed: dict[str, str] = field(default_factory=dict)


def recognise(shapes: Shapes) -> Guess | None:
    """Tells the network of a state dict, or ``None`` where it is none of those known.

    Args:
        shapes: Of the tensors, by the reference's names.
    """
    convs = {name: shape for name, shape in shapes.items() if name.endswith(".weight") and len(shape) == 4}
    if any(".conv_block." in name for name in convs) and "model.1.weight" in convs:
        return _resnet(shapes)
    if {"model.model.0.weight", "model.model.3.weight", "model.model.1.model.1.weight"} <= convs.keys():
        return _unet(shapes)
    if convs.get("net.0.weight", ())[2:] == (1, 1):
        return _pixelgan(shapes)
    sequence = _convolutions(shapes)
    if len(sequence) >= 3 and 0 in sequence and all(shape[2:] == (4, 4) for shape in sequence.values()):
        return _patchgan(shapes, sequence)
    return None


def what_else(shapes: Shapes) -> str | None:
    """Names a network that is known and cannot be used."""
    for pattern, what in _OTHERS:
        if any(re.match(pattern, name) for name in shapes):
            return what
    return None


def _resnet(shapes: Shapes) -> Guess | None:
    inner = [re.match(r"model\.(\d+)\.conv_block\.(\d+)\.weight$", name) for name in shapes]
    convs = [(int(m[1]), int(m[2])) for m in inner if m is not None and len(shapes[m[0]]) == 4]
    outer = _convolutions(shapes)
    if not convs or len(outer) < 2:
        return None
    first, last = min(convs)[0], max(convs)[0]
    head = max(outer)
    num_downsamplings = sum(1 < position < first for position in outer)
    if num_downsamplings > _MAX_DOUBLINGS:
        return None
    # What shifts the positions: a blur in each block that halves, an enlargement in each that doubles, dropout.
    arguments: dict[str, Any] = {
        "in_channels": shapes["model.1.weight"][1],
        "out_channels": outer[head][0],
        "num_blocks": len({block for block, _ in convs}),
        "base_channels": shapes["model.1.weight"][0],
        "num_downsamplings": num_downsamplings,
    }
    norm, assumed = _norm(shapes, "model.1", "model.2")
    arguments["norm"] = norm
    if num_downsamplings and head == last + 2 + 4 * num_downsamplings:
        arguments["upsample"] = "bilinear"
    if num_downsamplings and first == 4 + 4 * num_downsamplings:
        arguments["antialias"] = True
    arguments["dropout"] = 0.5 if max(position for _, position in convs) == 6 else 0.0
    return Guess("generator", "resnet", arguments, assumed)


def _unet(shapes: Shapes) -> Guess:
    levels, inside = 1, "model.model.1.model"
    while f"{inside}.1.weight" in shapes:
        levels += 1
        inside += ".3.model"
    down = "model.model.1.model"
    norm, assumed = _norm(shapes, f"{down}.1", f"{down}.2" if levels > 2 else f"{down}.4")
    outermost = shapes["model.model.0.weight"]
    arguments = {
        "in_channels": outermost[1],
        "out_channels": shapes["model.model.3.weight"][1],
        "num_downsamplings": levels,
        "base_channels": outermost[0],
        "norm": norm,
    }
    return Guess("generator", "unet", arguments, assumed)


def _patchgan(shapes: Shapes, convs: Mapping[int, tuple[int, ...]]) -> Guess:
    second = sorted(convs)[1]
    norm, assumed = _norm(shapes, f"model.{second}", f"model.{second + 1}")
    arguments = {
        "in_channels": convs[0][1],
        "num_layers": len(convs) - 2,
        "base_channels": convs[0][0],
        "norm": norm,
    }
    if second == 3:
        arguments["antialias"] = True
    return Guess("discriminator", "patchgan", arguments, assumed)


def _pixelgan(shapes: Shapes) -> Guess:
    norm, assumed = _norm(shapes, "net.2", "net.3")
    width, channels = shapes["net.0.weight"][:2]
    arguments = {"in_channels": channels, "num_layers": 0, "base_channels": width, "norm": norm}
    return Guess("discriminator", "patchgan", arguments, assumed)


def _convolutions(shapes: Shapes) -> dict[int, tuple[int, ...]]:
    """The weights of the convolutions ``model.N``, by N."""
    found = ((re.fullmatch(r"model\.(\d+)\.weight", name), shape) for name, shape in shapes.items())
    return {int(match[1]): shape for match, shape in found if match is not None and len(shape) == 4}


def _norm(shapes: Shapes, conv: str, norm: str) -> tuple[str, dict[str, str]]:
    """Tells the normalisation by its layer's tensors; where it has none, by the bias of the convolution before it.

    The reference gives convolutions a bias with instance norm alone. Running statistics prove nothing: old files have
    them in instance norms, too, which however have no scale.
    """
    if f"{norm}.weight" in shapes:
        return "batch", {}
    if f"{norm}.running_mean" in shapes:
        return "instance", {}
    if f"{conv}.bias" not in shapes:
        return "none", {}
    return "instance", {
        "norm": "it leaves no tensors, and the biases are as in the original's networks with instance norm"
    }

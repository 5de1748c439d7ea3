"""Frozen networks of timm whose feature maps losses compare."""

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Self
from weakref import WeakValueDictionary

import torch
from torch import Tensor, nn

from i2i.core.errors import ArgumentError, DataError
from i2i.core.files.torch_files import load_torch_file
from i2i.core.numerics import full_precision
from i2i.networks.pretrained.weights import check_weights, fetch_weights, pretrained_config

Layers = dict[str, float] | list[int | str] | None
_RANDOM_SEED = 0


@dataclass(frozen=True)
class Level:
    """A place in a backbone whose feature maps can be had.

    Attributes:
        index: timm's number of it.
        name: timm's name of it.
        channels: Of its feature map.
        reduction: Pixels of the image, in height and in width, a value of the map.
    """

    index: int
    name: str
    channels: int
    reduction: int

    def __str__(self) -> str:
        return f"{self.index} {self.name} ({self.channels} channels, 1/{self.reduction})"


@lru_cache
def levels_of(backbone: str) -> tuple[Level, ...]:
    """Lists the levels of a backbone.

    Raises:
        ArgumentError: There is no such backbone, or it offers no feature maps.
    """
    pretrained_config(backbone)
    try:
        with torch.device("meta"):
            info = _structure(backbone).feature_info.info
    except Exception as error:  # timm says so in many ways
        raise ArgumentError(f"backbone: {backbone!r} offers no feature maps ({error})", ("backbone",)) from error
    return tuple(Level(i, str(one["module"]), one["num_chs"], one["reduction"]) for i, one in enumerate(info))


def choose_levels(backbone: str, layers: Layers, default: Sequence[int]) -> dict[int, float]:
    """Returns the weight of each chosen level, by its index and in the network's order.

    Args:
        backbone: Its name.
        layers: Names or indices of levels, or the weights of such; ``None`` for the default.
        default: Indices of levels; those that the backbone lacks are left out.

    Raises:
        ArgumentError: There is no such level, or a weight is no positive number.
    """
    levels = levels_of(backbone)
    if layers is None:
        return {index: 1.0 for index in default if index < len(levels)} or {len(levels) - 1: 1.0}
    weights = layers if isinstance(layers, Mapping) else dict.fromkeys(layers, 1.0)
    known = {key: level.index for level in levels for key in (level.name, str(level.index))}
    chosen: dict[int, float] = {}
    for place, (key, weight) in enumerate(weights.items()):
        path = ("layers", str(key) if isinstance(layers, Mapping) else place)
        if str(key) not in known:
            hints = [f"its levels: {', '.join(map(str, levels))}"]
            raise ArgumentError(f"layers: {backbone!r} has no level {key!r}", path, hints)
        if not 0 < weight < math.inf:
            raise ArgumentError(f"layers: a weight must be greater than 0 and finite, got {weight}", path)
        if known[str(key)] in chosen:
            raise ArgumentError(f"layers: {key!r} stands twice", path)
        chosen[known[str(key)]] = weight
    if not chosen:
        raise ArgumentError("layers: expected at least one level", ("layers",))
    return dict(sorted(chosen.items()))


class Backbone(nn.Module):
    """The feature maps of some levels of a frozen network; what lies behind the last of them is left out.

    A measure, not a part of the model: it is never trained and in no state dict. Backbones of one name and one source
    of weights share their tensors. Built on the meta device, where a YAML is checked, it looks for the weights and does
    not read them.

    Args:
        name: Of a model of timm.
        weights: ``auto`` for the cache of the hub or else a download; the path of a ``.safetensors`` or ``.pth`` file;
            ``random``, always the same, for tests.
        indices: Of the levels.

    Raises:
        ArgumentError: The weights cannot be had, or do not fit.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, name: str, weights: str, indices: Sequence[int]) -> None:
        super().__init__()
        self.name = name
        with torch.device("meta"):
            net = _frozen(_structure(name, indices))
        if torch.get_default_device().type == "meta":
            check_weights(name, weights)
        else:
            self._shared = _shared_weights(name, fetch_weights(name, weights))
            net = self._shared.given_to(net, partial(_structure, name, indices))
        self.net = net
        config = pretrained_config(name)
        mean, std = (torch.tensor(values).reshape(1, 3, 1, 1) for values in (config.mean, config.std))
        self.register_buffer("scale", 0.5 / std, persistent=False)
        self.register_buffer("shift", (0.5 - mean) / std, persistent=False)
        self.register_load_state_dict_pre_hook(_keep_own)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Returns the feature map of each level, ``[N, C, h, w]``.

        Args:
            images: ``[N, 1 or 3, H, W]`` in [-1, 1]; gray is seen as RGB.

        Raises:
            DataError: The images have another number of channels.
        """
        x = full_precision(images)
        if x.shape[1] not in (1, 3):
            raise DataError(f"the backbone {self.name!r} sees gray or RGB images, got {x.shape[1]} channels")
        held = next(self.net.parameters())
        if not x.is_meta and (held.device, held.dtype) != (x.device, x.dtype):
            self.to(x.device, x.dtype)  # another loss that shares the tensors may have been moved
        maps: list[Tensor] = self.net(x.expand(-1, 3, -1, -1) * self.scale + self.shift)
        return maps

    def train(self, mode: bool = True) -> Self:
        """Stays in evaluation mode."""
        return super().train(False)

    def state_dict(self, *args: Any, destination: Any = None, **kwargs: Any) -> Any:
        """Adds nothing: the weights have a file of their own."""
        return {} if destination is None else destination


def _keep_own(module: Backbone, state_dict: dict[str, Any], prefix: str, *_: Any) -> None:
    """Lets a state dict be loaded strictly that has no weights of the backbone."""
    state_dict |= module.net.state_dict(prefix=f"{prefix}net.", keep_vars=True)


class _SharedWeights:
    """The tensors of a backbone, all levels of it."""

    def __init__(self, net: nn.Module) -> None:
        self.tensors = _frozen(net).state_dict(keep_vars=True)

    def given_to(self, shell: nn.Module, build: Callable[[], nn.Module]) -> nn.Module:
        """Puts the tensors into a network without memory, as they are: a parameter moved in one is moved in all."""
        shell.load_state_dict({k: self.tensors[k] for k in shell.state_dict()}, assign=True)
        if any(tensor.is_meta for tensor in (*shell.parameters(), *shell.buffers())):
            # A buffer that is not saved was computed by the constructor, which the meta device has skipped.
            with torch.device("cpu"):
                shell = _frozen(build())
            shell.load_state_dict({k: self.tensors[k] for k in shell.state_dict()}, assign=True)
        return shell


_alive: WeakValueDictionary[tuple[str, Path | None], _SharedWeights] = WeakValueDictionary()


def _shared_weights(name: str, path: Path | None) -> _SharedWeights:
    found = _alive.get((name, path))
    if found is None or any(tensor.device.type != "cpu" for tensor in found.tensors.values()):
        # What has moved to a device belongs to another run by now.
        found = _alive[name, path] = _SharedWeights(_random(name) if path is None else _loaded(name, path))
    return found


def _random(name: str) -> nn.Module:
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        torch.manual_seed(_RANDOM_SEED)
        return _structure(name)


def _loaded(name: str, path: Path) -> nn.Module:
    import timm

    source: dict[str, Any] = {"pretrained": True, "pretrained_cfg_overlay": {"file": str(path)}}
    try:
        _check_harmless(path)
        # As a backbone, timm loads whatever fits and stays silent on the rest: the whole model is the one to ask.
        with torch.device("meta"), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*is a no-op")
            timm.create_model(name, **source)
        with torch.device("cpu"):
            return _structure(name, **source)
    except Exception as error:  # a damaged file may raise anything
        lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
        reason = lines[1] if lines[0].startswith("Error(s) in loading") and len(lines) > 1 else lines[0]
        message = f"weights: {path} does not hold those of {name!r}: {reason}"
        raise ArgumentError(
            message, ("weights",), [f"expected the whole model {name!r} as timm names its parts"]
        ) from error


def _check_harmless(path: Path) -> None:
    """Refuses a pickle that would run code; versions of timm differ in how they read one."""
    if path.suffix != ".safetensors":
        load_torch_file(path)


def _structure(name: str, indices: Sequence[int] | None = None, **arguments: Any) -> Any:
    import timm

    chosen: dict[str, Any] = {} if indices is None else {"out_indices": tuple(indices)}
    return timm.create_model(name, features_only=True, **chosen, **arguments)


def _frozen(net: nn.Module) -> nn.Module:
    return net.requires_grad_(False).eval()

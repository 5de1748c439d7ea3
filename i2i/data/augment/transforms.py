"""Augmentation: an albumentations pipeline written in YAML, or a preset.

A preset's name is its steps: ``resize``, ``crop`` and ``flip`` in this order, joined by ``_``; ``none`` has no step.
The papers of pix2pix and CycleGAN use ``resize_crop_flip``. Presets enlarge with OpenCV's bicubic kernel and shrink by
area averaging, which does not alias. The papers' code uses Pillow's bicubic kernel both ways, 2 to 10 times slower.
Presets take OpenCV directly, with the same pixels as the library makes of the list that they stand for.
"""

import random
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from i2i.core.errors import ArgumentError, DataError
from i2i.core.registry import did_you_mean
from i2i.data.augment.augmentation import build_compose
from i2i.data.augment.geometry import CropTooLarge, Geometry
from i2i.images.files import unit_float

Size = int | tuple[int, int] | None
Spec = str | Sequence[Mapping[str, Any]]
PRESETS = (
    "resize_crop_flip",
    "resize_crop",
    "resize_flip",
    "resize",
    "crop_flip",
    "crop",
    "flip",
    "none",
)
_RESIZING = {"Resize", "RandomResizedCrop", "RandomSizedCrop", "SmallestMaxSize", "LongestMaxSize"}
_SIZING = _RESIZING | {"RandomCrop", "CenterCrop"}


class Transforms:
    """Applies one pipeline to the images of an item, with the same geometry for all of them.

    Args:
        spec: A preset's name, or albumentations transforms as ``{type: ClassName, **arguments}``. ``OneOf``,
            ``SomeOf``, ``Sequential`` and their like take ``transforms``. Interpolation and border modes may be
            written as words (``interpolation: cubic``). Transforms that can shrink do so by area averaging unless
            ``area_for_downscale`` says otherwise.
        load_size: What a preset's ``resize`` resizes to before a crop, a number or (height, width); ``None`` keeps
            sizes.
        crop_size: What a preset's ``crop`` cuts out, and what its ``resize`` resizes to where no crop follows.
        targets: Image name -> ``image``, or ``mask`` for labels, which are never interpolated.
        argument: The YAML key of ``spec``, for messages.

    Raises:
        ArgumentError: An unknown preset, transform or argument, or a value out of range.
    """

    def __init__(
        self,
        spec: Spec,
        load_size: Size,
        crop_size: Size,
        targets: Mapping[str, str],
        argument: str = "transforms",
    ) -> None:
        self.nodes = preset(spec, load_size, crop_size, argument) if isinstance(spec, str) else list(spec)
        self._targets = dict(targets)
        self._first = next((name for name, target in targets.items() if target == "image"), None)
        self._argument = argument
        self._local = threading.local()
        self._geometry = Geometry(self.nodes) if isinstance(spec, str) else None
        if not isinstance(spec, str):
            self._compose()  # presets are known to be right, and need not import a large library to say so

    @property
    def equalizes_sizes(self) -> bool:
        """Whether images of different sizes leave the first transform with one size."""
        return bool(self.nodes) and self.nodes[0]["type"] == "Resize" and self.nodes[0].get("p", 1) == 1

    @property
    def prepared_size(self) -> tuple[int, int] | None:
        """Height and width of all prepared images, where these are the same."""
        return self._geometry.load_size if self._geometry else None

    @property
    def size(self) -> tuple[int, int] | None:
        """Height and width that images leave with, where the last transform that sets a size sets both."""
        for node in reversed(self.nodes):
            if node["type"] in _SIZING and node.get("p", 1) == 1:
                size = node.get("size") or (node.get("height"), node.get("width"))
                return (size[0], size[1]) if isinstance(size, Sequence) and None not in size else None
        return None

    @property
    def least_size(self) -> tuple[int, int]:
        """Height and width that images need where they are cropped as they come; else (1, 1)."""
        for node in self.nodes:
            if node["type"] in ("RandomCrop", "CenterCrop") and not node.get("pad_if_needed"):
                return (node["height"], node["width"])
            if node["type"] not in ("HorizontalFlip",):  # it may change the size
                break
        return (1, 1)

    def __call__(self, images: Mapping[str, np.ndarray], rng: np.random.Generator, place: str) -> dict[str, np.ndarray]:
        """Transforms ``[H, W, C]`` images.

        Args:
            images: Name -> uint8 or uint16 array, or float32 in [0, 1].
            rng: Where all randomness comes from.
            place: The files, for messages.

        Returns:
            uint8 arrays as they came; others as float32 in [0, 1].

        Raises:
            DataError: A crop is larger than the image, a transform fails, or it changes the type of an image.
        """
        return self.finish({name: self.prepare(name, image, place) for name, image in images.items()}, rng, place)

    def prepare(self, name: str, image: np.ndarray, place: str) -> np.ndarray:
        """Does what is the same each time an image is loaded: a preset's ``resize``.

        Args:
            name: Of the image, one of the targets.
            image: As for a call.
            place: Its file, for messages.

        Raises:
            DataError: It fails.
        """
        if self._geometry is None or not self._geometry.load_size:
            return image
        try:
            return self._geometry.resized(_comparable(image), self._targets[name] == "mask")
        except Exception as error:  # OpenCV has limits of its own
            raise _failure(place, error) from error

    def finish(self, images: Mapping[str, np.ndarray], rng: np.random.Generator, place: str) -> dict[str, np.ndarray]:
        """Does the rest with prepared images, which it does not change; arguments and results are as for a call."""
        if not self.nodes:
            return {name: _comparable(image) for name, image in images.items()}
        seed = int(rng.integers(2**63))
        if self._geometry is None:
            return self._composed(images, seed, place)
        try:
            outputs = self._geometry.window(images, seed)
        except CropTooLarge as error:
            raise _crop_too_large(place, str(error)) from error
        # Bicubic kernels overshoot; 8-bit images are clipped by their type.
        return {
            name: image if image.dtype == np.uint8 else np.clip(_comparable(image), 0, 1)
            for name, image in outputs.items()
        }

    def _composed(self, images: Mapping[str, np.ndarray], seed: int, place: str) -> dict[str, np.ndarray]:
        # Some transforms work in place, and an image may be a cache's.
        inputs = {
            name: _comparable(image) if image.dtype == np.uint16 or image.flags.writeable else image.copy()
            for name, image in images.items()
        }
        compose = self._compose()
        compose.set_random_state(np.random.default_rng(seed), random.Random(seed))
        first = self._first
        # The library takes sizes from an image, and will not do without one.
        image = inputs[first] if first else np.zeros(next(iter(inputs.values())).shape, np.uint8)
        try:
            outputs = compose(image=image, **{name: x for name, x in inputs.items() if name != first})
        except Exception as error:  # transforms raise anything on images they cannot take
            raise _failure(place, error) from error
        if first:
            outputs[first] = outputs.pop("image")
        for name, image in inputs.items():
            output = outputs[name]
            if output.shape[2:] != image.shape[2:] or output.dtype != image.dtype:
                raise DataError(
                    f"{place}: the transforms turn {image.shape[2]} channels of {image.dtype} into {output.dtype} of "
                    f"shape {output.shape}; they have to keep channels and type"
                )
        # Kernels overshoot here, too.
        return {
            name: np.clip(outputs[name], 0, 1) if images[name].dtype != np.uint8 else outputs[name] for name in inputs
        }

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key != "_local"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._local = threading.local()

    def _compose(self) -> Any:
        """This thread's pipeline: a pipeline holds the random state of the item that it works on."""
        if not hasattr(self._local, "compose"):
            extra = {name: target for name, target in self._targets.items() if name != self._first}
            self._local.compose = build_compose(self.nodes, extra, (self._argument,))
        return self._local.compose


def preset(name: str, load_size: Size, crop_size: Size, argument: str = "transforms") -> list[dict[str, Any]]:
    """Writes a preset out as the list it stands for.

    Raises:
        ArgumentError: No such preset, a size it needs is ``None``, or the crop is larger than what it is cut from.
    """
    steps = name.split("_")
    if name not in PRESETS:
        raise ArgumentError(f"no preset is named {name!r}{did_you_mean(name, PRESETS)}", (argument,))
    load, crop = _height_width(load_size), _height_width(crop_size)
    if "crop" in steps and crop is None:
        raise ArgumentError(f"the preset {name!r} needs a crop_size", ("crop_size",))
    nodes: list[dict[str, Any]] = []
    size = load if "crop" in steps else crop
    if "resize" in steps and size:
        if "crop" in steps and crop and (crop[0] > size[0] or crop[1] > size[1]):
            raise ArgumentError(
                f"crop_size {_text(crop)} is larger than load_size {_text(size)}, which it is cut from", ("crop_size",)
            )
        nodes.append({"type": "Resize", "height": size[0], "width": size[1], "interpolation": "cubic"})
    if "crop" in steps and crop:
        nodes.append({"type": "RandomCrop", "height": crop[0], "width": crop[1]})
    if "flip" in steps:
        nodes.append({"type": "HorizontalFlip", "p": 0.5})
    return nodes


def evaluation_spec(spec: Spec) -> str:
    """The preset for splits that are not trained on: as large as in training, nothing random."""
    resizes = "resize" in spec if isinstance(spec, str) else any(node["type"] in _RESIZING for node in spec)
    return "resize" if resizes else "none"


def _height_width(size: Size) -> tuple[int, int] | None:
    return (size, size) if isinstance(size, int) else (size[0], size[1]) if size else None


def _text(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]}"


def _failure(place: str, error: Exception) -> DataError:
    if type(error).__name__ == "CropSizeError":
        sizes = str(error).rpartition(": ")[2].replace(" vs ", " of ")
        return _crop_too_large(place, f"(height, width) {sizes}")
    return DataError(f"{place}: the transforms fail: {type(error).__name__}: {error}".replace("\n", " "))


def _crop_too_large(place: str, sizes: str) -> DataError:
    return DataError(
        f"{place}: is smaller than the crop, {sizes}",
        [
            "scale it up first: a larger data.load_size, or {type: SmallestMaxSize, max_size: …} before the crop",
            "or pad it: {type: PadIfNeeded, min_height: …, min_width: …} before the crop",
        ],
    )


def _comparable(image: np.ndarray) -> np.ndarray:
    """16 bits as float32 in [0, 1], which resizing libraries can take; others as they are."""
    return unit_float(image) if image.dtype == np.uint16 else image

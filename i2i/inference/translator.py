"""A trained model as a function from images to images."""

import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from i2i.core.config.options import check_options
from i2i.core.errors import DataError, I2IError
from i2i.images.codecs import Codec
from i2i.images.decoding import MAX_PIXELS, Refused
from i2i.inference.bundle.bundle import BundleInfo, load_bundle
from i2i.inference.bundle.place import find_bundle
from i2i.pipelines.base import Applied, Pipeline
from i2i.training.precision import Precision, pick_device


class Translator:
    """Translates images with a bundle's networks.

    The translation of an image depends on the image alone: not on its batch, its place in a folder or the time of day.
    Random numbers of the networks, such as dropout, are seeded from the image. On a CPU this holds bit for bit; on a
    GPU, whose kernels may sum in another order for another size of batch, a value next to a half may round the other
    way.

    An image of a single colour is translated in ``fp32`` whatever the precision: normalisation divides by what it
    varies, which would then be the rounding errors alone.

    Args:
        info: The bundle's metadata.
        pipeline: The bundle's networks.
        device: ``auto``, ``cpu``, ``cuda``, ``mps``.
        precision: See :class:`i2i.training.precision.Precision`; ``auto`` is ``fp32``, which is exact: only for many
            images a calibration is worth its time (:mod:`i2i.inference.jobs.calibration`).
        max_pixels: Files whose header claims more are refused before they are decoded.
        options: Of the pipeline's ``translate``.

    Attributes:
        info: The bundle's metadata.
        direction: The default direction, the bundle's first that reads and makes images.
        options: Of the pipeline's ``translate``, checked.
        device: Where it computes.
        precision: How; it may be replaced by another of the same device.
        is_shared: Whether threads may translate at the same time. Noise keeps them apart: it is drawn from the random
            state of the device.
    """

    def __init__(
        self,
        info: BundleInfo,
        pipeline: Pipeline,
        device: str = "auto",
        precision: str = "auto",
        max_pixels: int = MAX_PIXELS,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self.info = info
        self.directions = {name: one for name, one in info.directions.items() if one.source and one.target}
        if not self.directions:
            makes = any(not one.source for one in info.directions.values())
            message = "this model makes images from noise" if makes else "this model judges images"
            hints = ["i2i generate MODEL OUTPUT"] if makes else []
            raise I2IError(f"{info.name}: {message}, it translates none", hints)
        self.device = pick_device(device)
        self.precision = Precision.pick("fp32" if precision == "auto" else precision, self.device)
        self._exact = Precision("fp32", self.device)
        self.pipeline = pipeline.to(self.device)
        self.options = check_options(pipeline.translate, options or {})
        self.direction: str = next(iter(self.directions))
        self._codecs = {domain: info.codec(domain) for domain in info.channels}
        for codec in self._codecs.values():
            codec.max_pixels = max_pixels
        self.applied = Applied(self.pipeline, self._exact, info.norm_policy, info.dropout_policy)
        self.is_shared = not self.applied.is_noisy
        self._state = ExitStack()  # once for all images: it takes a millisecond, and threads would undo each other's
        self._state.enter_context(self.applied.policies())

    @classmethod
    def load(
        cls,
        model: str | Path,
        *,
        device: str = "auto",
        precision: str = "auto",
        best: bool = False,
        plugins: Sequence[str] = (),
        max_pixels: int = MAX_PIXELS,
        options: Mapping[str, Any] | None = None,
    ) -> "Translator":
        """Loads a run folder's model, or a bundle file.

        Args:
            model: Run folder or bundle.
            device: See the class.
            precision: See the class.
            best: The run's best weights by its metric instead of its last.
            plugins: Local plugin files that the model needs, and that you trust.
            max_pixels: See the class.
            options: See the class.

        Raises:
            CheckpointError: There is no such model, it is damaged, or it needs a plugin that is not here.
        """
        info, pipeline = load_bundle(find_bundle(model, best), list(plugins))
        return cls(info, pipeline, device, precision, max_pixels, options)

    def check_direction(self, direction: str | None) -> str:
        """Returns the direction asked for, or the default.

        Raises:
            I2IError: The model does not translate that way.
        """
        direction = direction or self.direction
        if direction not in self.directions:
            raise I2IError(f"this model translates {' and '.join(self.directions)} only, not {direction}")
        return direction

    def codecs(self, direction: str) -> tuple[Codec, Codec]:
        """Returns what the model takes in a direction, and what it makes."""
        one = self.directions[direction]
        return self._codecs[one.source], self._codecs[one.target]

    def __call__(self, image: "str | Path | np.ndarray | Image.Image", direction: str | None = None) -> np.ndarray:
        """Translates one image of any size.

        Args:
            image: A file, an array ``[H, W, C]`` or ``[H, W]``, or a Pillow image as it is stored, which is without the
                rotation that its EXIF asks for. A label map holds class ids, or the classes' colours.
            direction: One of the bundle's, such as ``a2b``; by default the first.

        Returns:
            ``[H, W, C]``, of the same height and width: uint8; uint16 or float32 where the model was trained on such
            files; the class ids of a label map, uint8 with C = 1.

        Raises:
            DataError: The file cannot be read, or the image does not fit the model without loss.
            I2IError: The model does not translate in this direction.
        """
        direction = self.check_direction(direction)
        codec = self.codecs(direction)[0]
        if isinstance(image, str | Path):
            array, _ = codec.load(image)
        else:
            try:
                array, _ = codec.fit(_as_array(image, codec))
            except Refused as error:
                raise DataError(f"the image {error}", error.hints) from error
        return self.batch([array], direction)[0]

    def batch(
        self, images: Sequence[np.ndarray], direction: str | None = None, precision: Precision | None = None
    ) -> np.ndarray:
        """Translates images of one size and type together.

        Args:
            images: Arrays ``[H, W, C]`` as the input's codec loads them, all alike.
            direction: As above.
            precision: Instead of the translator's own.

        Returns:
            ``[N, H, W, C]``, of the type that files of the output hold.
        """
        direction = self.check_direction(direction)
        target = self.codecs(direction)[1]
        return target.decode(torch.cat(list(self.outputs(images, direction, precision))))

    def outputs(
        self, images: Sequence[np.ndarray], direction: str, precision: Precision | None = None
    ) -> Iterator[torch.Tensor]:
        """As :meth:`batch`; yields for each image what the networks make of it, ``[1, C, H, W]`` in [-1, 1]."""
        source = self.codecs(direction)[0]
        precision = precision or self.precision
        own = self.directions[direction].own
        for is_flat, alike in groupby(images, (lambda _: False) if precision.is_exact else _is_flat):
            together = list(alike)
            with torch.inference_mode():
                encoded = [source.encode(image) for image in together]
                used = self._exact if is_flat else precision

                def seed_of(index: int, images: list[np.ndarray] = together) -> int:
                    return zlib.crc32(images[index].tobytes(), self.info.seed)

                made = list(self.applied.outputs(encoded, own, seed_of, used, **self.options))
                if not all(torch.isfinite(y).all() for y in made):
                    raise I2IError("the model's values for it are not finite numbers")
            if any(len(y) != 1 for y in made):
                raise I2IError(f"the model makes {len(made[0])} images of each, and one is expected")
            yield from made


def _is_flat(image: np.ndarray) -> bool:
    return bool((image == image[:1, :1]).all())


def _as_array(image: np.ndarray | Image.Image, codec: Codec) -> np.ndarray:
    """Returns ``[H, W, C]`` with the channels that the image has.

    Raises:
        Refused: It has another shape.
    """
    if isinstance(image, Image.Image) and codec.target == "image":
        if image.mode in ("P", "PA"):
            image = image.convert("RGBA")
        elif image.mode in ("1", "CMYK", "YCbCr"):
            image = image.convert("L" if image.mode == "1" else "RGB")
    array = np.asarray(image)
    array = array.astype(np.uint8) if array.dtype == bool and codec.target == "mask" else array
    array = array[..., None] if array.ndim == 2 else array
    if array.ndim != 3 or array.dtype.kind not in "uif":
        raise Refused(f"is an array of shape {list(array.shape)} of {array.dtype}, not [H, W, C] of numbers")
    return array

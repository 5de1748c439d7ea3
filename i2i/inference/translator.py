"""A trained model as a function from images to images."""

import zlib
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from i2i.bundle import BundleInfo, find_bundle, load_bundle
from i2i.decoding import Refused, fit_channels
from i2i.errors import DataError, I2IError
from i2i.images import load_image, to_tensor, to_uint8
from i2i.pipelines.base import Direction, Pipeline
from i2i.pipelines.policy import depends_on_batch, translating
from i2i.training.precision import Precision, pick_device


class Translator:
    """Translates images with a bundle's networks.

    The translation of an image depends on the image alone: not on its batch, its place in a folder or the time of day.
    Where the generator's noise is dropout, it is seeded from the image. On a CPU this holds bit for bit; on a GPU,
    whose kernels may sum in another order for another size of batch, a value next to a half may round the other way.

    Args:
        info: The bundle's metadata.
        pipeline: The bundle's networks.
        device: ``auto``, ``cpu``, ``cuda``, ``mps``.
        precision: ``fp32``, ``bf16``, ``fp16``; ``auto`` is ``fp32``.

    Attributes:
        info: The bundle's metadata.
        direction: The default direction, the bundle's first.
    """

    def __init__(self, info: BundleInfo, pipeline: Pipeline, device: str = "auto", precision: str = "auto") -> None:
        self.info = info
        self.device = pick_device(device)
        self.precision = Precision.pick("fp32" if precision == "auto" else precision, self.device)
        self.pipeline = pipeline.to(self.device)
        self.direction: str = next(iter(info.directions))
        self._noisy = depends_on_batch(pipeline, info.norm_policy, info.dropout_policy)
        # A CPU gains nothing from batches, and its convolutions round differently in them.
        self._alone = self._noisy or self.device.type == "cpu"

    @classmethod
    def load(
        cls,
        model: str | Path,
        *,
        device: str = "auto",
        precision: str = "auto",
        best: bool = False,
        plugins: Sequence[str] = (),
    ) -> "Translator":
        """Loads a run folder's model, or a bundle file.

        Args:
            model: Run folder or bundle.
            device: See the class.
            precision: See the class.
            best: The run's best weights by its metric instead of its last.
            plugins: Local plugin files that the model needs, and that you trust.

        Raises:
            CheckpointError: There is no such model, it is damaged, or it needs a plugin that is not here.
        """
        info, pipeline = load_bundle(find_bundle(model, best), list(plugins))
        return cls(info, pipeline, device, precision)

    def check_direction(self, direction: str | None) -> str:
        """Returns the direction asked for, or the default.

        Raises:
            I2IError: The model does not translate that way.
        """
        direction = direction or self.direction
        if direction not in self.info.directions:
            raise I2IError(f"this model translates {' and '.join(self.info.directions)} only, not {direction}")
        return direction

    def __call__(self, image: "str | Path | np.ndarray | Image.Image", direction: str | None = None) -> np.ndarray:
        """Translates one image of any size.

        Args:
            image: A file, a uint8 or uint16 array ``[H, W, C]`` or ``[H, W]``, or a Pillow image as it is stored, which
                is without the rotation that its EXIF asks for.
            direction: ``a2b`` or ``b2a``; by default the bundle's first.

        Returns:
            uint8 ``[H, W, C]``, of the same height and width.

        Raises:
            DataError: The file cannot be read, or the image's channels do not fit the model without loss.
            I2IError: The model does not translate in this direction.
        """
        direction = self.check_direction(direction)
        channels = self.info.input_channels(direction)
        if isinstance(image, str | Path):
            array, _ = load_image(image, channels)
        else:
            try:
                array, _ = fit_channels(_as_array(image), channels)
            except Refused as error:
                raise DataError(f"the image {error}", error.hints) from error
        return self.batch([array], direction)[0]

    def batch(self, images: Sequence[np.ndarray], direction: str | None = None) -> np.ndarray:
        """Translates images of one size and type together.

        Args:
            images: Arrays ``[H, W, C]``, all alike.
            direction: As above.

        Returns:
            uint8 ``[N, H, W, C]``.
        """
        own: Direction = self.info.directions[self.check_direction(direction)]
        policy = (self.info.norm_policy, self.info.dropout_policy)
        with torch.inference_mode(), translating(self.pipeline, *policy), self._own_noise():
            if not self._alone:
                return to_uint8(self._forward(torch.stack([to_tensor(image) for image in images]), own))
            results = []
            for image in images:
                if self._noisy:
                    torch.manual_seed(zlib.crc32(image.tobytes(), self.info.seed))
                results.append(to_uint8(self._forward(to_tensor(image)[None], own)))
            return np.concatenate(results)

    def _forward(self, x: torch.Tensor, direction: Direction) -> torch.Tensor:
        with self.precision.autocast():
            y = self.pipeline.translate(x.to(self.device), direction)
        if not torch.isfinite(y).all():
            raise I2IError("the model's values for it are not finite numbers")
        return y

    def _own_noise(self) -> AbstractContextManager[object]:
        """Keeps the seeds of the images from the process's random state."""
        if not self._noisy:
            return nullcontext()
        return torch.random.fork_rng([self.device.index or 0] if self.device.type == "cuda" else [])


def _as_array(image: np.ndarray | Image.Image) -> np.ndarray:
    """Returns ``[H, W, C]``, uint8 or uint16, with the channels that the image has.

    Raises:
        Refused: The pixels are of another type.
    """
    if isinstance(image, Image.Image):
        if image.mode in ("P", "PA"):
            image = image.convert("RGBA")
        elif image.mode in ("1", "CMYK", "YCbCr"):
            image = image.convert("L" if image.mode == "1" else "RGB")
        image = np.asarray(image)
    array = image[..., None] if image.ndim == 2 else image
    if array.ndim != 3 or array.dtype not in (np.uint8, np.uint16):
        raise Refused(f"is an array of shape {list(array.shape)} of {array.dtype}, not [H, W, C] of uint8 or uint16")
    return array

"""A trained model as a function from seeds to images."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from i2i.core.config.options import check_options
from i2i.core.errors import I2IError
from i2i.core.registry import did_you_mean
from i2i.images.codecs import Codec
from i2i.inference.bundle.bundle import BundleInfo, load_bundle
from i2i.inference.bundle.place import find_bundle
from i2i.pipelines.base import Applied, Pipeline, latents_of
from i2i.training.precision import Precision, pick_device

Label = int | Mapping[str, float] | None


class Generator:
    """Makes images from noise with a bundle's networks.

    The latent of seed s is ``numpy.random.RandomState(s).randn(1, z_dim)``. On a CPU in ``fp32``, the pixels of a seed
    are the same in any batch.

    Args:
        info: The bundle's metadata.
        pipeline: The bundle's networks.
        device: ``auto``, ``cpu``, ``cuda``, ``mps``.
        precision: See :class:`i2i.training.precision.Precision`; ``auto`` is ``fp32``.
        options: Of the pipeline's ``generate``.

    Attributes:
        info: The bundle's metadata.
        direction: The use of the model that makes images from noise.
        codec: What the images mean.

    Raises:
        I2IError: The model makes no images from noise.
    """

    def __init__(
        self,
        info: BundleInfo,
        pipeline: Pipeline,
        device: str = "auto",
        precision: str = "auto",
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self.info = info
        found = [name for name, one in info.directions.items() if not one.source and one.target]
        if not found:
            does = "translates images" if any(one.target for one in info.directions.values()) else "judges images"
            raise I2IError(
                f"{info.name}: this model {does}, it makes none from noise", ["i2i translate MODEL INPUT OUTPUT"]
            )
        self.direction = found[0]
        self.codec: Codec = info.codec(info.directions[self.direction].target)
        self.device = pick_device(device)
        self.precision = Precision.pick("fp32" if precision == "auto" else precision, self.device)
        self.options = check_options(pipeline.generate, options or {})
        self.pipeline = pipeline.to(self.device)
        self.applied = Applied(self.pipeline, self.precision, info.norm_policy, info.dropout_policy)
        self._state = ExitStack()
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
        options: Mapping[str, Any] | None = None,
    ) -> "Generator":
        """Loads a run folder's model, or a bundle file; see :meth:`i2i.Translator.load`."""
        info, pipeline = load_bundle(find_bundle(model, best), list(plugins))
        return cls(info, pipeline, device, precision, options)

    def __call__(self, seeds: Sequence[int], label: Label = None) -> np.ndarray:
        """Makes the images of seeds.

        Args:
            seeds: Each from 0 to 2**32 - 1.
            label: Of all images: the index of a class, or attributes by name, of which those left out are drawn from
                the seed. ``None`` draws labels from the seeds, where the model has labels.

        Returns:
            ``[N, H, W, C]`` as files hold them: uint8, or the type that the model was trained on.

        Raises:
            I2IError: The model does not know the label, or its values are not finite.
        """
        labels = self.labels(seeds, label)
        z = latents_of(seeds, self.pipeline.latent_shape)
        with torch.inference_mode():
            made = torch.stack(list(self.applied.generated(z, labels, seeds, **self.options)))
            if not torch.isfinite(made).all():
                raise I2IError("the model's values are not finite numbers")
            return self.codec.decode(made)

    def labels(self, seeds: Sequence[int], label: Label = None) -> Tensor | None:
        """Returns the labels of seeds, ``[N]`` int64 or ``[N, K]`` float32; ``None`` for a model without.

        Raises:
            I2IError: The model does not know the label.
        """
        classes, attributes = self.info.classes, self.info.attributes
        if classes:
            if isinstance(label, Mapping):
                raise I2IError("this model has classes, not attributes", [f"classes: {', '.join(classes)}"])
            if label is not None and not 0 <= label < len(classes):
                raise I2IError(f"no class {label}: the model knows {len(classes)}, numbered from 0")
            drawn = [np.random.RandomState(seed).randint(len(classes)) if label is None else label for seed in seeds]
            return torch.tensor(drawn, dtype=torch.int64)
        if attributes:
            given = label if isinstance(label, Mapping) else {}
            strange = [name for name in given if name not in attributes]
            if strange or isinstance(label, int):
                near = did_you_mean(strange[0], attributes) if strange else ""
                named = f"no attribute {strange[0]!r}{near}" if strange else "this model has attributes, not classes"
                raise I2IError(named, [f"attributes: {', '.join(attributes)}"])
            rows = [np.random.RandomState(seed).randint(2, size=len(attributes)).astype(np.float32) for seed in seeds]
            table = torch.from_numpy(np.stack(rows))
            for name, value in given.items():
                table[:, attributes.index(name)] = float(value)
            return table
        if label is not None:
            raise I2IError(f"{self.info.name}: this model has no labels")
        return None

    def class_of(self, text: str) -> int:
        """Returns the index of a class, given by its name or its number.

        Raises:
            I2IError: There is no such class.
        """
        classes = self.info.classes
        if text in classes:
            return classes.index(text)
        if text.isdecimal() and int(text) < len(classes):
            return int(text)
        if not classes:
            raise I2IError(f"{self.info.name}: this model has no classes")
        shown = ", ".join(classes[:12]) + (", …" if len(classes) > 12 else "")
        raise I2IError(f"no class {text!r}{did_you_mean(text, classes)}", [f"classes, numbered from 0: {shown}"])

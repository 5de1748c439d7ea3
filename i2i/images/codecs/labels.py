"""A class at each pixel: class ids in files, one-hot or coloured tensors for networks."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from i2i.core.errors import DataError
from i2i.images.codecs.base import Codec
from i2i.images.codecs.label_files import read_labels
from i2i.images.decoding import Refused, fit_channels
from i2i.images.files import describe_os_error, to_tensor

if TYPE_CHECKING:
    import torch

Colour = tuple[int, int, int]
MAX_CLASSES = 255
_NONE = 255  # index of a pixel that has no class
_SHOWN = 5


@dataclass(frozen=True)
class LabelClass:
    """One class.

    Attributes:
        id: In files, 0 to 255.
        name: For people.
        colour: RGB, 0 to 255.
        also: Further ids in files that count as this class, each with the colour it has in coloured files, if any.
    """

    id: int
    name: str
    colour: Colour
    also: tuple[tuple[int, Colour | None], ...] = ()


class LabelCodec(Codec):
    """A class at each pixel.

    Files hold class ids (8-bit gray, or indices into a palette) or the classes' colours. A pixel whose id is ignored is
    0 in every one-hot channel, and black in colours.

    Args:
        classes: In the order of the one-hot channels.
        encoding: ``onehot`` is 0 or 1 in a channel a class; ``palette`` the classes' colours in [-1, 1].
        colours: Whether coloured files hold the classes' colours exactly, or, as after JPEG, only near them.
        ignore: Ids in files that belong to no class; ``others`` for all that are not a class's.
    """

    kind = "labels"
    target: ClassVar[Literal["image", "mask"]] = "mask"
    needs_pixels = True

    def __init__(
        self,
        classes: Sequence[LabelClass],
        encoding: Literal["onehot", "palette"] = "onehot",
        colours: Literal["exact", "nearest"] = "exact",
        ignore: Sequence[int] | Literal["others"] = (),
    ) -> None:
        self.classes, self.encoding, self.colours = tuple(classes), encoding, colours
        self.ignore: tuple[int, ...] | Literal["others"] = "others" if isinstance(ignore, str) else tuple(ignore)
        self.channels = len(self.classes) if encoding == "onehot" else 3
        self._ids = np.array([c.id for c in self.classes], np.uint8)
        self._index = np.full(256, _NONE, np.uint8)  # of an id
        self.palette: np.ndarray = np.zeros((256, 3), np.uint8)  # of an id
        for index, one in enumerate(self.classes):
            for id in (one.id, *(id for id, _ in one.also)):
                self._index[id], self.palette[id] = index, one.colour
        self._is_known = np.full(256, True) if self.ignore == "others" else self._index != _NONE
        if self.ignore != "others":
            self._is_known[list(self.ignore)] = True
        self._id_of_colour: np.ndarray | None = None

    @property
    def formats(self) -> tuple[str, ...]:
        return ("png", "tiff", "tif", "bmp", "npy")

    @property
    def about(self) -> str:
        return "label maps, whose class ids no lossy format keeps"

    def load_whole(self, path: str | os.PathLike[str]) -> tuple[np.ndarray, tuple[str, ...]]:
        try:
            array, palette = read_labels(path, self.max_pixels)
            if palette is not None:
                self._check_palette(array, palette)
            return self.fit(array)
        except Refused as error:
            raise DataError(f"{path}: {error}", error.hints) from error
        except OSError as error:
            raise DataError(f"{path}: {describe_os_error(error)}") from error
        except MemoryError as error:
            raise DataError(f"{path}: does not fit into memory") from error

    def fit(self, array: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
        """Returns class ids, uint8 ``[H, W, 1]``, of ids or colours ``[H, W, C]``."""
        if array.dtype.kind not in "ui":
            raise Refused(f"holds {array.dtype} values, but class ids are integers")
        if array.dtype != np.uint8:
            least, most = int(array.min()), int(array.max())
            if least < 0 or most > 255:
                raise Refused(f"holds ids from {least} to {most}, but class ids are 0 to 255: a map of instances?")
            array = array.astype(np.uint8)
        array, notes = fit_channels(array, None)
        if array.shape[2] == 3:
            return self._ids_of(array)[..., None], (*notes, "colours to class ids")
        if array.shape[2] != 1:
            raise Refused(f"has {array.shape[2]} channels; a label map has 1, or 3 with the classes' colours")
        if not self._is_known.take(array).all():
            counts = np.bincount(array.ravel(), minlength=256)
            unknown = [int(id) for id in np.flatnonzero(counts) if not self._is_known[id]]
            listed = ", ".join(f"{id} ({counts[id]} pixels)" for id in unknown[:_SHOWN])
            raise Refused(
                f"holds ids that are no class: {listed}{', …' if len(unknown) > _SHOWN else ''}",
                ("add them to the classes, or leave them out: data.ignore=[ids], or data.ignore=others for all",),
            )
        return array, notes

    def encode(self, array: np.ndarray) -> torch.Tensor:
        import torch

        ids = array[..., 0]
        if self.encoding == "palette":
            return to_tensor(self.palette.take(ids, axis=0))
        onehot = np.empty((len(self.classes), *ids.shape), np.float32)  # [K, H, W]
        index = self._index.take(ids)
        for number, plane in enumerate(onehot):  # a plane stays in the cache: 10 times faster than all at once
            plane[...] = index == number
        return torch.from_numpy(onehot)

    def decode(self, tensors: torch.Tensor) -> np.ndarray:
        """Returns the ids of the likeliest classes, uint8 ``[..., H, W, 1]``."""
        return self._ids[self._index_of(tensors)][..., None]

    def show(self, tensors: torch.Tensor) -> np.ndarray:
        pictures = self.palette[self._ids[self._index_of(tensors)]]
        if self.encoding == "onehot" and self.ignore:
            pictures[(tensors == 0).all(-3).cpu().numpy()] = 0
        return pictures

    def describe(self) -> dict[str, Any]:
        classes = [
            {
                "id": c.id,
                "name": c.name,
                "colour": list(c.colour),
                "also": [[id, colour and list(colour)] for id, colour in c.also],
            }
            for c in self.classes
        ]
        ignore = self.ignore if isinstance(self.ignore, str) else list(self.ignore)
        return {
            "kind": self.kind,
            "encoding": self.encoding,
            "classes": classes,
            "colours": self.colours,
            "ignore": ignore,
        }

    @classmethod
    def of(cls, description: dict[str, Any]) -> LabelCodec:
        """Makes a codec of what :meth:`describe` returned."""
        if description["encoding"] not in ("onehot", "palette") or not description["classes"]:
            raise ValueError("labels need classes, and an encoding, onehot or palette")
        classes = [
            LabelClass(
                c["id"],
                c["name"],
                (*c["colour"],),
                tuple((id, colour and (*colour,)) for id, colour in c.get("also", ())),
            )
            for c in description["classes"]
        ]
        colours, ignore = description.get("colours", "exact"), description.get("ignore", ())
        return cls(classes, description["encoding"], colours, ignore)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_id_of_colour": None}  # 16 MB that are quickly made again

    def _index_of(self, tensors: torch.Tensor) -> np.ndarray:
        """The likeliest class at each pixel, ``[..., H, W]``."""
        import torch

        if self.encoding == "onehot":
            return tensors.detach().argmax(-3).cpu().numpy()
        colours = torch.from_numpy(self.palette[self._ids].astype(np.float32) / 127.5 - 1)  # [K, 3]
        pixels = tensors.detach().float().movedim(-3, -1)  # [..., H, W, 3]
        nearest = torch.cdist(pixels.flatten(0, -2), colours.to(pixels.device)).argmin(1)
        return nearest.reshape(pixels.shape[:-1]).cpu().numpy()

    def _check_palette(self, ids: np.ndarray, palette: np.ndarray) -> None:
        """Refuses a palette file whose colours say other classes than its indices do.

        Args:
            ids: The indices, ``[H, W, 1]``.
            palette: ``[256, 3]``.
        """
        own: dict[tuple[int, ...], LabelClass] = {one.colour: one for one in reversed(self.classes)}
        used = [int(id) for id in np.flatnonzero(np.bincount(ids.ravel(), minlength=256))]
        meant = [own.get((*map(int, palette[id]),)) for id in used]
        if None in meant:
            return  # colours of its own, for viewers
        for id, one in zip(used, meant, strict=True):
            if one is not None and (palette[id] != self.palette[id]).any():
                raise Refused(
                    f"its palette has the colour of class {one.id} ({one.name}) at index {id}",
                    ("save it with class ids as indices, or without a palette, as RGB",),
                )

    def _ids_of(self, array: np.ndarray) -> np.ndarray:
        """Finds the ids of colours ``[H, W, 3]``; of ids that share a colour, the first."""
        table = self._colour_table()
        packed = array[..., 0].astype(np.uint32) << 16
        packed |= array[..., 1].astype(np.uint32) << 8
        packed |= array[..., 2]
        ids = table[packed]  # [H, W], -1 where the colour is new
        new = ids < 0
        if not new.any():
            return ids.astype(np.uint8)
        if self.colours == "exact":
            first = array[new][0]
            raise Refused(
                f"{int(new.sum())} pixels have colours of no class, such as ({', '.join(map(str, first))})",
                ("colours changed by JPEG or by resizing: data.colours=nearest takes the nearest class's",),
            )
        known_ids, known = self._known_colours()
        found = np.unique(packed[new])
        pixels = np.stack([found >> 16, found >> 8 & 255, found & 255], axis=1).astype(np.float32)  # [N, 3]
        # |x - c|^2 = |x|^2 - 2 (x.c - |c|^2 / 2), of which the first term is the same for all c.
        table[found] = known_ids[(pixels @ known.T - (known**2).sum(1) / 2).argmax(1)]
        return table[packed].astype(np.uint8)

    def _known_colours(self) -> tuple[np.ndarray, np.ndarray]:
        """The ids that have a colour, ``[K]``, and their colours, ``[K, 3]`` float32."""
        pairs = [pair for one in self.classes for pair in ((one.id, one.colour), *one.also) if pair[1] is not None]
        return np.array([id for id, _ in pairs], np.int16), np.array([colour for _, colour in pairs], np.float32)

    def _colour_table(self) -> np.ndarray:
        """The id of each of the 2^24 colours, -1 where none is known yet."""
        if self._id_of_colour is None:
            table = np.full(1 << 24, -1, np.int16)
            for id, colour in zip(*self._known_colours(), strict=True):
                red, green, blue = map(int, colour)
                place = red << 16 | green << 8 | blue
                table[place] = id if table[place] < 0 else table[place]
            self._id_of_colour = table
        return self._id_of_colour

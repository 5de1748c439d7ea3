"""The base of all data sets, and the view of one that has another base."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from i2i.images.codecs import Codec, codecs_of

if TYPE_CHECKING:
    import torch


class Dataset:
    """Base of data sets, with the defaults that most have.

    Items are dicts: a tensor ``[C, H, W]`` for each domain (``a`` and ``b``, or ``image``), ``label`` where there are
    classes (int64 scalar) or attributes (float ``[K]``), and the file of each domain as text: ``a_path``, ``b_path``,
    or ``path`` for ``image``. Everything random comes from the generator that :meth:`get` receives.

    Attributes:
        codecs: Domain -> what its files and tensors mean. Channels follow from it.
        size: Height and width of the items where they are all alike, else ``None``.
        class_names: Names of the classes, in the order of the labels; empty without classes.
        attributes: Names of the attributes; empty without attributes.
        is_paired: Whether the domains of an item show the same thing; ``None`` where that is not known.
        split: The split of this data set.
        notes: What a user should know of the files, a line each; complete after :meth:`scan`.

    Example:
        >>> class Squares(Dataset):
        ...     codecs, size = {"image": ImageCodec(1)}, (16, 16)
        ...
        ...     def __len__(self):
        ...         return 100
        ...
        ...     def get(self, index, rng):
        ...         image = torch.full((1, 16, 16), -1.0)
        ...         top, left = rng.integers(0, 12, 2)
        ...         image[:, top : top + 4, left : left + 4] = 1
        ...         return {"image": image, "path": f"square {index}"}
    """

    codecs: Mapping[str, Codec]
    size: tuple[int, int] | None = None
    class_names: Sequence[str] = ()
    attributes: Sequence[str] = ()
    is_paired: bool | None = None
    split: str = "train"
    notes: Sequence[str] = ()

    @property
    def splits(self) -> Sequence[str]:
        """Which of train, val and test there are."""
        return ()

    @property
    def fingerprint(self) -> int | None:
        """A number that other files would change; ``None`` where there is none."""
        return None

    @property
    def lookahead(self) -> int:
        """How many coming items :meth:`expect` is told of."""
        return 0

    @property
    def channels(self) -> dict[str, int]:
        """Channels of each domain."""
        return {name: codec.channels for name, codec in self.codecs.items()}

    @property
    def num_classes(self) -> int:
        """Number of classes; 0 without."""
        return len(self.class_names)

    @property
    def num_attributes(self) -> int:
        """Number of attributes; 0 without."""
        return len(self.attributes)

    def scan(self) -> None:
        """Looks at the files, once, before the first item.

        Raises:
            DataError: They cannot be used as asked.
        """

    def __len__(self) -> int:
        raise NotImplementedError(f"{type(self).__name__} has no __len__()")

    def get(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        """Returns an item.

        Args:
            index: 0 to ``len(self) - 1``.
            rng: The source of everything random about the item.

        Raises:
            DataError: A file cannot be used; the message names it.
        """
        raise NotImplementedError(f"{type(self).__name__} has no get(index, rng)")

    def __getitem__(self, index: int) -> dict[str, Any]:
        if not 0 <= index < len(self):
            raise IndexError(f"index must be from 0 to {len(self) - 1}, got {index}")
        return self.get(index, np.random.default_rng(index))

    def paths_of(self, index: int, rng: np.random.Generator) -> tuple[str, ...]:
        """Returns the files of an item without reading them; ``rng`` is in the state that :meth:`get` receives."""
        return (f"item {index}",)

    def order(self, rng: np.random.Generator) -> np.ndarray:
        """Returns the numbers that :meth:`get` is given in one pass, ``[len(self)]``.

        A data set whose neighbours lie in one file has an order of its own. Multiples of the length may be added where
        they mean something to it.
        """
        return rng.permutation(len(self))

    def expect(self, numbers: np.ndarray) -> None:
        """Receives the next ``lookahead`` numbers in good time."""

    def sample(self, count: int, device: str = "meta") -> "dict[str, torch.Tensor]":
        """Returns a random batch of the shapes of a real one, labels included.

        Args:
            count: Its images.
            device: ``meta`` for shapes alone, else ``cpu``.

        Raises:
            ValueError: The data set has no fixed ``size``.
        """
        import torch

        if self.size is None:
            raise ValueError("images of no fixed size cannot be sampled")
        rng = torch.Generator().manual_seed(0)
        batch = {}
        for domain, channels in self.channels.items():
            shape = (count, channels, *self.size)
            if device == "meta":
                batch[domain] = torch.empty(shape, device="meta")
            else:
                batch[domain] = torch.rand(shape, generator=rng) * 2 - 1
        if self.num_classes:
            batch["label"] = torch.randint(self.num_classes, (count,), generator=rng).to(device)
        elif self.num_attributes:
            batch["label"] = torch.rand(count, self.num_attributes, generator=rng).to(device)
        return batch


class Adapted(Dataset):
    """A data set of another base, such as one written for i2i 0.1: what it has is used, what it lacks has a default.

    Args:
        inner: Has ``channels``, ``__len__`` and either ``get(index, rng)`` or ``__getitem__``. Without ``get``, the
            global random states are seeded before each item.
    """

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self.is_paired = getattr(inner, "is_paired", getattr(inner, "paired", getattr(inner, "joint", None)))
        for name in ("size", "attributes", "split"):
            if hasattr(inner, name):
                setattr(self, name, getattr(inner, name))

    @property
    def codecs(self) -> Mapping[str, Codec]:  # type: ignore[override]
        return codecs_of(self.inner)

    @property
    def notes(self) -> Sequence[str]:  # type: ignore[override]
        return tuple(getattr(self.inner, "notes", ()))

    @property
    def lookahead(self) -> int:
        return int(getattr(self.inner, "lookahead", 0))

    @property
    def splits(self) -> Sequence[str]:
        return tuple(getattr(self.inner, "splits", ()))

    @property
    def fingerprint(self) -> int | None:
        found: int | None = getattr(self.inner, "fingerprint", None)
        return found

    @property
    def class_names(self) -> Sequence[str]:  # type: ignore[override]
        return tuple(getattr(self.inner, "class_names", ())) or tuple(map(str, range(self.num_classes)))

    @property
    def num_classes(self) -> int:
        return int(getattr(self.inner, "num_classes", len(getattr(self.inner, "class_names", ()))))

    def scan(self) -> None:
        if hasattr(self.inner, "scan"):
            self.inner.scan()

    def __len__(self) -> int:
        return len(self.inner)

    def get(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        if hasattr(self.inner, "get"):
            item: dict[str, Any] = self.inner.get(index, rng)
            return item
        import random

        import torch

        seed = int(rng.integers(2**32))
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
        item = self.inner[index]
        return item

    def paths_of(self, index: int, rng: np.random.Generator) -> tuple[str, ...]:
        found = getattr(self.inner, "paths_of", None)
        return super().paths_of(index, rng) if found is None else tuple(found(index, rng))

    def order(self, rng: np.random.Generator) -> np.ndarray:
        found = getattr(self.inner, "order", None)
        return super().order(rng) if found is None else np.asarray(found(rng))

    def expect(self, numbers: np.ndarray) -> None:
        if hasattr(self.inner, "expect"):
            self.inner.expect(numbers)


def adapted(dataset: Any) -> Dataset:
    """Returns the data set, in a view of :class:`Dataset` where it has another base."""
    return dataset if isinstance(dataset, Dataset) else Adapted(dataset)

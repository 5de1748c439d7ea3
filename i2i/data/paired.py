"""Pairs of images that show the same thing in two domains: pix2pix, Isola et al. 2017, section 6.2 and appendix."""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from i2i.data.base import TwoDomains
from i2i.data.sides import Side
from i2i.errors import DataError

_SHOWN = 5


class Paired(TwoDomains):
    """Aligned pairs: both halves of one file, or two folders whose files have the same names but for the suffix.

    Both images of a pair get the same geometry. Images without a partner are an error that lists them.
    """

    joint: ClassVar[bool] = True

    def match(self, a: Side, b: Side) -> tuple[list[str], list[str]]:
        if a.half:
            return a.paths, b.paths
        names_a, names_b = _by_stem(a), _by_stem(b)
        only_a = [name for name in names_a if name not in names_b]
        only_b = [name for name in names_b if name not in names_a]
        if only_a or only_b:
            hints = [
                f"{len(only)} of {len(names)} only in {side.folder.name}: {_list(only)}"
                for only, names, side in ((only_a, names_a, a), (only_b, names_b, b))
                if only
            ]
            if len(only_a) == len(names_a):
                hints.append("no name agrees; for images that do not belong together: type: unpaired")
            raise DataError(
                f"{str(a.folder.absolute())!r} and {b.folder.name!r} have {len(only_a) + len(only_b)} images without a "
                "partner of the same name",
                hints,
            )
        return list(names_a.values()), [names_b[name] for name in names_a]

    def choose(self, index: int, counts: tuple[int, int], rng: np.random.Generator) -> tuple[int, int]:
        return index, index


def _by_stem(side: Side) -> dict[str, str]:
    """Path inside the folder without suffix -> path.

    Raises:
        DataError: Two files differ in nothing but their suffix.
    """
    found: dict[str, str] = {}
    for path in side.paths:
        stem = Path(path).relative_to(side.folder).with_suffix("").as_posix()
        if stem in found:
            raise DataError(
                f"{path}: has the same name as {Path(found[stem]).name} but for the suffix, so its partner is unclear",
                ["remove or rename one of them"],
            )
        found[stem] = path
    return found


def _list(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", …" if len(names) > _SHOWN else "")

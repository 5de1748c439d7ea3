"""Which files of two folders show the same thing."""

from collections.abc import Sequence
from pathlib import Path

from i2i.core.errors import DataError
from i2i.data.finding.sides import Side

_SHOWN = 5


def match_by_name(a: Side, b: Side) -> tuple[list[str], list[str]]:
    """Returns the files of two folders in an order that belongs together: the same names but for the suffix.

    Raises:
        DataError: Files have no partner; lists them.
    """
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


def partners(a: Side, b: Side) -> tuple[list[tuple[str, str]], list[str], list[str]]:
    """Returns the pairs of two folders, and the files that are only in the one and only in the other.

    Raises:
        DataError: Two files of a folder differ in nothing but their suffix.
    """
    names_a, names_b = _by_stem(a), _by_stem(b)
    pairs = [(path, names_b[name]) for name, path in names_a.items() if name in names_b]
    only_a = [path for name, path in names_a.items() if name not in names_b]
    return pairs, only_a, [path for name, path in names_b.items() if name not in names_a]


def _by_stem(side: Side) -> dict[str, str]:
    """Path inside the folder without suffix, or without the ending that a side's files have -> path.

    Raises:
        DataError: Two files differ in nothing but their suffix.
    """
    found: dict[str, str] = {}
    for path in side.paths:
        inside = Path(path).relative_to(side.folder)
        stem = inside.as_posix().removesuffix(side.ending) if side.ending else inside.with_suffix("").as_posix()
        if stem in found:
            raise DataError(
                f"{path}: has the same name as {Path(found[stem]).name} but for the suffix, so its partner is unclear",
                ["remove or rename one of them"],
            )
        found[stem] = path
    return found


def _list(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", …" if len(names) > _SHOWN else "")

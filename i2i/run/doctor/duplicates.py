"""Images that are there more than once, by their pixels: names, formats and metadata do not count."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from i2i.run.doctor.rules import Finding
from i2i.run.doctor.scan import Findings
from i2i.run.doctor.subject import Group

File = tuple[Group, str]


def find_duplicates(looks: Sequence[Findings]) -> Iterable[Finding]:
    """Yields what images of equal pixels mean: across splits, across domains, within a folder.

    Label maps and images of one colour are left out: equal ones say nothing.
    """
    across: list[tuple[str, str]] = []
    domains: list[tuple[str, str]] = []
    within: list[tuple[str, str]] = []
    for files in _same(looks):
        splits: dict[str, list[File]] = {}
        for group, path in files:
            splits.setdefault(group.split, []).append((group, path))
        (_, original), *_ = next(iter(splits.values()))
        for members in list(splits.values())[1:]:
            across += [(path, f"= {original}") for _, path in members]
        for members in splits.values():
            groups: dict[int, list[str]] = {}
            for group, path in members:
                groups.setdefault(id(group), []).append(path)
            first, *others = groups.values()
            domains += [(paths[0], f"= {first[0]}") for paths in others]
            within += [(path, f"= {paths[0]}") for paths in groups.values() for path in paths[1:]]
    if across:
        names = list(dict.fromkeys(look.group.split for look in looks))
        title = (
            f"images of {' and '.join(names[1:])} that are in another split as well, pixel by pixel: {len(across):,}"
        )
        why = "figures on held-out images are too good: the model has seen them"
        yield Finding("leak", "warning", title, why, "delete them from one of the splits", sorted(across))
    if domains:
        title = f"images in both domains, pixel by pixel: {len(domains):,}"
        why = "the model learns to leave such images as they are"
        yield Finding(
            "both_domains", "warning", title, why, "delete them from the domain they are not of", sorted(domains)
        )
    if within:
        title = f"images that repeat another of their folder, pixel by pixel: {len(within):,}"
        yield Finding("twice", "warning", title, "they count for more than others", "keep one of each", sorted(within))


def _same(looks: Sequence[Findings]) -> Iterator[list[File]]:
    """Yields files of equal pixels, in the order of the groups."""
    used = [look for look in looks if not look.group.is_labels]
    rows = [np.flatnonzero(look.is_usable & ~look.is_flat) for look in used]
    if not sum(map(len, rows)):
        return
    numbers = np.repeat(np.arange(len(used)), [len(own) for own in rows])
    places = np.concatenate(rows)
    digests = np.concatenate([look.digests[own] for look, own in zip(used, rows, strict=True)])
    order = np.lexsort((digests[:, 1], digests[:, 0]))  # stable: equal ones stay in the order of the groups
    digests = digests[order]
    starts = np.flatnonzero(np.r_[True, (digests[1:] != digests[:-1]).any(1)])
    for start, end in zip(starts, [*starts[1:], len(order)], strict=True):
        if end - start > 1:
            found = order[start:end]
            yield [(used[numbers[i]].group, used[numbers[i]].group.paths[places[i]]) for i in found]

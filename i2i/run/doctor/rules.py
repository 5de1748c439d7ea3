"""What the looks at all files add up to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from i2i.images.decoding import MAX_PIXELS
from i2i.run.doctor.scan import Findings
from i2i.run.doctor.subject import Pairing, Subject

Severity = Literal["error", "warning"]
_SAME = 0.95  # share of a group's images of one size that makes the others odd
_FACTOR, _ASPECT = 4, 2  # of the middle size and shape, beyond which an image is odd
_PHOTOS = {".heic", ".heif", ".jxl", ".jp2", ".svg", ".psd", ".dng", ".cr2", ".nef", ".arw", ".raw", ".exr", ".hdr"}


@dataclass
class Finding:
    """Something that is wrong with a data set, or that may be.

    Attributes:
        kind: One word for programs.
        severity: ``error`` where training refuses the files or skips them.
        title: What it is.
        why: Why that matters.
        action: What to do.
        files: Each file, and what there is to say about it alone.
    """

    kind: str
    severity: Severity
    title: str
    why: str
    action: str
    files: list[tuple[str, str]] = field(default_factory=list)


def judge(subject: Subject, looks: Sequence[Findings], min_size: int, max_pixels: int) -> Iterable[Finding]:
    """Yields what is wrong, errors first, without duplicates; see :mod:`i2i.run.doctor.duplicates`."""
    yield from _too_few(looks)
    yield from _refused(looks, max_pixels)
    yield from _pairs(subject, looks)
    yield from _too_small(looks)
    yield from _tiny(looks, min_size)
    for look in looks:
        if not look.group.is_labels:
            yield from _colours(look)
            yield from _flat(look)
            yield from _depths(look)
        yield from _odd_sizes(look)
    yield from _around(subject)


def plural(count: int, noun: str = "image") -> str:
    """``1 image``, ``1,200 images``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _too_few(looks: Sequence[Findings]) -> Iterable[Finding]:
    for look in looks:
        count, least = len(look.group.paths), 2 if look.group.split == "train" else 1
        if count < least:
            title = f"too few images in {look.group.name}: {count}, at least {least} are needed"
            yield Finding("few", "error", title, "training refuses the data set", "see that it is the right folder")


def _refused(looks: Sequence[Findings], max_pixels: int) -> Iterable[Finding]:
    refused = [refusal for look in looks for refusal in look.refused]
    kinds = {kind: [refusal for refusal in refused if refusal.kind == kind] for kind in ("damaged", "unfit", "large")}

    def files(kind: str) -> list[tuple[str, str]]:
        return [(refusal.path, refusal.reason) for refusal in kinds[kind]]

    total = sum(len(look.group.paths) for look in looks)
    if kinds["damaged"]:
        why, action = "training refuses or skips them", "fetch or export them anew, or delete them"
        title = f"files that cannot be read: {len(kinds['damaged']):,} of {total:,}"
        yield Finding("unreadable", "error", title, why, action, files("damaged"))
    if kinds["unfit"]:
        hints = Counter(hint for refusal in kinds["unfit"] for hint in refusal.hints)
        action = "; or ".join(hint for hint, _ in hints.most_common(3)) or "convert or delete them"
        title = f"images that cannot be used as they are: {len(kinds['unfit']):,} of {total:,}"
        why = "training refuses or skips them, since nothing is converted that would lose something"
        yield Finding("unfit", "error", title, why, action, files("unfit"))
    beyond = [
        (look.group.paths[row], f"{_text(look.sizes[row])} pixels are more than {MAX_PIXELS:,}")
        for look in looks
        for row in np.flatnonzero(look.sizes.prod(1) > MAX_PIXELS).tolist()
    ]
    if beyond:
        title = f"images larger than training takes: {len(beyond):,} of {total:,}"
        action = "cut them into tiles or shrink them"
        yield Finding("large", "error", title, "training refuses or skips them", action, beyond)
    if kinds["large"]:
        title = f"images too large to be decoded: {len(kinds['large']):,} of {total:,}"
        action = "cut them into tiles or shrink them; --max-pixels examines larger ones here"
        if max_pixels < MAX_PIXELS:
            why = f"training takes up to {MAX_PIXELS:,} pixels, and decodes all of them to cut out a crop"
            yield Finding("large", "warning", title, why, action, files("large"))
        else:
            yield Finding("large", "error", title, "training refuses or skips them", action, files("large"))


def _pairs(subject: Subject, looks: Sequence[Findings]) -> Iterable[Finding]:
    for error in subject.trouble:
        path, _, reason = error.message.partition(": ")
        action = "; ".join(error.hints)
        yield Finding("unmatched", "error", "partners cannot be told", "training refuses", action, [(path, reason)])
    by_group = {id(look.group): look for look in looks}
    for pairing in subject.pairings:
        names = f"{pairing.a.name} and {pairing.b.name}"
        if pairing.alone:
            yield Finding(
                "unmatched",
                "error" if pairing.is_certain else "warning",
                f"images of {names} without a partner of the same name: {len(pairing.alone):,}",
                "training on pairs refuses the data set"
                + ("" if pairing.is_certain else "; without pairs (type: unpaired) all is well"),
                "add the partner, rename the file, or delete it",
                [(path, "") for path in pairing.alone],
            )
        different = list(_different(pairing, by_group[id(pairing.a)], by_group[id(pairing.b)]))
        if different:
            why = "a transform that is not first a Resize refuses them" if pairing.refuses_sizes else ""
            yield Finding(
                "pair_sizes",
                "error" if pairing.refuses_sizes else "warning",
                f"pairs of {names} that differ in size: {len(different):,} of {len(pairing.rows):,}",
                why or "both are resized, so details may not meet; they may be wrong partners",
                "check that they belong together, and resize both to one size",
                different,
            )


def _different(pairing: Pairing, a: Findings, b: Findings) -> Iterable[tuple[str, str]]:
    if not pairing.rows:
        return
    rows = np.array(pairing.rows)
    sizes_a, sizes_b = a.sizes[rows[:, 0]], b.sizes[rows[:, 1]]
    both = a.is_usable[rows[:, 0]] & b.is_usable[rows[:, 1]]
    for index in np.flatnonzero(both & (sizes_a != sizes_b).any(1)):
        one, other = rows[index]
        text = f"{_text(sizes_a[index])} pixels, its partner {pairing.b.paths[other]} {_text(sizes_b[index])}"
        yield pairing.a.paths[one], text


def _too_small(looks: Sequence[Findings]) -> Iterable[Finding]:
    files = []
    for look in looks:
        height, width = look.group.least
        share = 2 if look.group.halves else 1
        sizes = look.sizes
        small = look.is_usable & ((sizes[:, 1] < height) | (sizes[:, 0] // share < width))
        text = f"the crop is {width} x {height}"
        files += [
            (look.group.paths[row], f"{_text(sizes[row])} pixels, {text}") for row in np.flatnonzero(small).tolist()
        ]
    if files:
        title = f"images smaller than the crop: {len(files):,}"
        yield Finding("crop", "error", title, "training refuses the data set", "set load_size, which enlarges", files)


def _tiny(looks: Sequence[Findings], min_size: int) -> Iterable[Finding]:
    files = []
    for look in looks:
        sizes = look.sizes // ([2, 1] if look.group.halves else [1, 1])
        small = look.is_usable & (sizes.min(axis=1, initial=2**31) < min_size)
        if small.sum() * 2 <= look.is_usable.sum():  # else it is what the set is like
            files += [
                (look.group.paths[row], f"{_text(look.sizes[row])} pixels") for row in np.flatnonzero(small).tolist()
            ]
    if files:
        why = "enlarged to the size of training they are blur, which the model learns; often they are thumbnails"
        title = f"images smaller than {min_size} pixels: {len(files):,}"
        yield Finding("tiny", "warning", title, why, "find the full size, or delete them", files)


def _colours(look: Findings) -> Iterable[Finding]:
    gray = look.is_usable & look.is_gray
    coloured = look.is_usable & ~look.is_gray
    if not gray.any() or not coloured.any() or (look.channels[look.is_usable] != 3).all():
        return
    rare, what, rest = (gray, "gray", "in colour") if gray.sum() <= coloured.sum() else (coloured, "coloured", "gray")
    title = f"{what} images in {look.group.name}: {rare.sum():,} of {look.is_usable.sum():,}"
    why = f"all others are {rest}: a discriminator tells them apart by that alone"
    yield Finding("gray", "warning", title, why, "delete them, unless they are meant", _rows(look, rare))


def _flat(look: Findings) -> Iterable[Finding]:
    flat = look.is_usable & look.is_flat
    if flat.any():
        what = "images with a half" if look.group.halves else "images"
        title = f"{what} of one colour only in {look.group.name}: {flat.sum():,}"
        why = "there is nothing to learn from them; often they are placeholders of failed downloads"
        yield Finding("flat", "warning", title, why, "delete them, unless they are meant", _rows(look, flat))


def _depths(look: Findings) -> Iterable[Finding]:
    if look.group.codec is not None and getattr(look.group.codec, "value_range", None):
        return  # the declared range is what counts
    depths = look.depths
    found = Counter(depths[look.is_usable].tolist())
    if found[32]:
        title = f"images of floats, signed or large numbers in {look.group.name}: {found[32]:,}"
        action = "declare their range: data.value_range=[lowest, highest]"
        why = "training refuses them unless it knows which values are black and white"
        yield Finding("range", "warning", title, why, action, _rows(look, look.is_usable & (depths == 32)))
    elif len(found) > 1:
        rare = found.most_common()[-1][0]
        title = f"images of {rare} bits in {look.group.name}, whose others have {24 - rare}: {found[rare]:,}"
        why = "translations have the deepest; dark 16-bit images are often 12 bits in 16"
        files = _rows(look, look.is_usable & (depths == rare))
        yield Finding("depth", "warning", title, why, "save all at one depth", files)


def _odd_sizes(look: Findings) -> Iterable[Finding]:
    usable = np.flatnonzero(look.is_usable)
    if len(usable) < 5:
        return
    sizes = look.sizes[usable]
    kinds, counts = np.unique(sizes, axis=0, return_counts=True)
    common = kinds[counts.argmax()]
    if len(kinds) == 1:
        return
    if counts.max() >= _SAME * len(usable):
        odd, rest = (sizes != common).any(1), f"others are {_text(common)}"
    else:
        side, aspect = np.sqrt(sizes.prod(1)), sizes[:, 0] / sizes[:, 1]
        middle, shape = np.median(side), np.median(aspect)
        ratios = np.maximum(side / middle, middle / side), np.maximum(aspect / shape, shape / aspect)
        odd = (ratios[0] > _FACTOR) | (ratios[1] > _ASPECT)
        rest = f"the middle is {middle:.0f} pixels a side, width to height {shape:.2f}"
    if odd.any():
        files = [(look.group.paths[int(usable[row])], f"{_text(sizes[row])} pixels") for row in np.flatnonzero(odd)]
        title = f"images of an odd size in {look.group.name}, where {rest}: {len(files):,}"
        why = "resizing changes their scale or squeezes their shape; often they are no pictures of this set"
        yield Finding("odd_size", "warning", title, why, "look at them; crop or delete those that do not belong", files)


def _around(subject: Subject) -> Iterable[Finding]:
    if subject.outside:
        title = f"images outside of the folders that training reads: {len(subject.outside):,}"
        why = "they are not used; often a folder's name is misspelt"
        yield Finding("outside", "warning", title, why, "move them or rename the folder", _named(subject.outside))
    photos = {suffix: count for suffix, count in subject.others.items() if suffix in _PHOTOS}
    if photos:
        listed = ", ".join(f"{count:,} {suffix}" for suffix, count in photos.items())
        title = f"files of formats that are not read: {listed}"
        yield Finding("format", "warning", title, "they are not used", "convert them to PNG or JPEG")


def _rows(look: Findings, rows: np.ndarray) -> list[tuple[str, str]]:
    return [(look.group.paths[row], "") for row in np.flatnonzero(rows).tolist()]


def _named(paths: Iterable[str]) -> list[tuple[str, str]]:
    return [(path, "") for path in paths]


def _text(size: np.ndarray) -> str:
    return f"{size[0]} x {size[1]}"

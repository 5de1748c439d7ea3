"""The findings as text and as JSON."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from i2i.data.finding.files import SHOWN
from i2i.run.doctor.rules import Finding, plural
from i2i.run.doctor.scan import Findings
from i2i.run.doctor.subject import Subject


def facts(subject: Subject, looks: Sequence[Findings]) -> Iterator[str]:
    """Yields what the files are like, a line a group and more."""
    for look in looks:
        parts = [f"{plural(len(look.group.paths))}"]
        if look.is_usable.any():
            sizes = look.sizes[look.is_usable]
            low, high = sizes.min(0), sizes.max(0)
            least, most = f"{low[0]} x {low[1]}", f"{high[0]} x {high[1]}"
            parts += [_counts(look.formats), least if least == most else f"{least} to {most} pixels"]
            depths = Counter(look.depths[look.is_usable].tolist())
            channels = sorted(set(look.channels[look.is_usable].tolist()))
            names = {8: "8 bits", 16: "16 bits", 32: "32 bits or other numbers"}
            parts.append(
                f"{' or '.join(map(str, channels))} channel{'s' * (channels != [1])} of "
                + " or ".join(names[depth] for depth in sorted(depths))
            )
            halves = look.group.halves or (sizes[:, 0] == 2 * sizes[:, 1]).all()
            parts += ["side by side" if look.group.halves else "twice as wide as high: side by side?"] * bool(halves)
        parts += ["label maps"] * look.group.is_labels
        yield f"{look.group.name}: {', '.join(parts)}"
        for note, count in sorted(look.notes.items()):
            yield f"    {plural(count)}: {note}"
        if look.misnamed:
            path, format = look.misnamed[0]
            yield f"    {plural(len(look.misnamed))}: another format than the name says, such as {path}: {format}"
    for pairing in subject.pairings:
        yield f"{plural(len(pairing.rows), 'pair')} of {pairing.a.name} and {pairing.b.name}"
    if subject.others:
        yield f"other files: {_counts(subject.others)}"


def text(finding: Finding) -> Iterator[str]:
    """Yields the lines of a finding: the first files, and how many there are."""
    yield f"{finding.severity}: {finding.title}"
    yield f"    {finding.why}"
    yield f"    {finding.action}"
    for path, detail in finding.files[:SHOWN]:
        link = "" if not detail else " " if detail.startswith("= ") else ": "
        yield f"        {path}{link}{detail}"
    if len(finding.files) > SHOWN:
        yield f"        and {len(finding.files) - SHOWN:,} more"


def as_json(subject: Subject, looks: Sequence[Findings], findings: Sequence[Finding]) -> str:
    """Returns everything, with all files."""
    document: dict[str, Any] = {
        "data": subject.name,
        "images": subject.count,
        "groups": [_group(look) for look in looks],
        "other_files": dict(subject.others),
        "findings": [
            {
                "kind": finding.kind,
                "severity": finding.severity,
                "title": finding.title,
                "why": finding.why,
                "action": finding.action,
                "files": [{"file": path, "detail": detail} for path, detail in finding.files],
            }
            for finding in findings
        ],
    }
    return json.dumps(document, indent=1) + "\n"


def _group(look: Findings) -> dict[str, Any]:
    sizes = look.sizes[look.is_usable] if look.is_usable.any() else np.zeros((1, 2), np.int64)
    return {
        "name": look.group.name,
        "split": look.group.split,
        "images": len(look.group.paths),
        "usable": int(look.is_usable.sum()),
        "labels": look.group.is_labels,
        "formats": dict(look.formats),
        "smallest": sizes.min(0).tolist(),
        "largest": sizes.max(0).tolist(),
        "channels": {str(k): v for k, v in Counter(look.channels[look.is_usable].tolist()).items()},
        "depths": {str(k): v for k, v in Counter(look.depths[look.is_usable].tolist()).items()},
        "conversions": dict(look.notes),
        "misnamed": [{"file": path, "format": format} for path, format in look.misnamed],
    }


def _counts(counter: Counter[str]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in counter.most_common())

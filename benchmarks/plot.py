"""Plots of a few points as SVG that any browser shows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from hardware import ROOT  # noqa: F401  # puts the repository on the path

from i2i.core.files.atomic import write_atomically
from i2i.run.report.axes import Axis, format_number, value_axis

WIDTH, HEIGHT = 380, 300
LEFT, RIGHT, TOP, BOTTOM = 58, 362, 44, 236
COLOURS = ("#1f6feb", "#c2410c", "#15803d", "#7c3aed")
_LOG_FROM = 20  # times the smallest value

Points = Sequence[tuple[float, float]]


@dataclass
class Panel:
    """One plot.

    Attributes:
        title: Says what is shown, and its unit.
        x_label: Of the horizontal axis, which is logarithmic and has a tick at each point.
        curves: Name -> points, from left to right, with positive x.
        is_line: Whether the points are too many to be shown each, on a horizontal axis that begins at 0.
    """

    title: str
    x_label: str
    curves: Mapping[str, Points]
    is_line: bool = False


def write_plot(path: Path, title: str, panels: Sequence[Panel], columns: int | None = None) -> None:
    """Writes plots side by side, or in rows of some columns, under a title, as an SVG file."""
    columns = columns or len(panels)
    width, style = WIDTH * columns, 'font-family="sans-serif" font-size="12" fill="#24292f"'
    height = HEIGHT * -(-len(panels) // columns)
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" {style}>']
    parts += [f'<rect width="{width}" height="{height}" fill="#ffffff"/>']
    parts += [f'<text x="{width / 2:g}" y="16" text-anchor="middle" font-weight="bold">{escape(title)}</text>']
    for index, panel in enumerate(panels):
        row, column = divmod(index, columns)
        parts += [f'<g transform="translate({column * WIDTH} {row * HEIGHT})">', *_panel(panel), "</g>"]
    text = "\n".join([*parts, "</svg>", ""])
    write_atomically(path, lambda file: file.write(text.encode()))


def _panel(panel: Panel) -> list[str]:
    points = [point for curve in panel.curves.values() for point in curve]
    places, values = sorted({x for x, _ in points}), [y for _, y in points]
    is_log = min(values) > 0 and max(values) > _LOG_FROM * min(values)
    x = Axis(places[0], max(places[-1], 1.01 * places[0]), LEFT + 12, RIGHT - 12, is_log=True)
    if panel.is_line:
        x = Axis(0.0, places[-1], LEFT, RIGHT)
        places = x.ticks
    y = value_axis(values, BOTTOM, TOP, is_log, from_zero=not is_log)
    title = f"{panel.title}, logarithmic" if is_log else panel.title
    parts = [f'<text x="{LEFT}" y="{TOP - 10}">{escape(title)}</text>']
    for tick in y.ticks:
        at = round(y.place(tick), 1)
        parts += [f'<line x1="{LEFT}" x2="{RIGHT}" y1="{at}" y2="{at}" stroke="#d0d7de"/>']
        parts += [f'<text x="{LEFT - 6}" y="{at + 4}" text-anchor="end">{format_number(tick)}</text>']
    for place in places:
        parts += [
            f'<text x="{x.place(place):.1f}" y="{BOTTOM + 17}" text-anchor="middle">{format_number(place)}</text>'
        ]
    parts += [f'<text x="{(LEFT + RIGHT) / 2:g}" y="{BOTTOM + 34}" text-anchor="middle">{escape(panel.x_label)}</text>']
    for index, (name, curve) in enumerate(panel.curves.items()):
        colour, drawn = COLOURS[index % len(COLOURS)], [(x.place(a), y.place(b)) for a, b in curve]
        line = " ".join(f"{a:.1f},{b:.1f}" for a, b in drawn)
        stroke = 1.5 if panel.is_line else 2
        parts += [f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="{stroke}"/>']
        if not panel.is_line:
            parts += [f'<circle cx="{a:.1f}" cy="{b:.1f}" r="3" fill="{colour}"/>' for a, b in drawn]
        left = LEFT + index * (RIGHT - LEFT) / max(2, len(panel.curves))
        parts += [f'<text x="{left:g}" y="{BOTTOM + 54}" fill="{colour}">{escape(name)}</text>']
    return parts

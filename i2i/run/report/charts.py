"""Charts of a run's curves, as geometry that the page draws in SVG."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from i2i.run.report.axes import Axis, format_number, step_axis, value_axis
from i2i.run.report.history import History, Series, group_of

WIDTH, HEIGHT = 400, 230
LEFT, RIGHT, TOP, BOTTOM = 48, 382, 10, 204  # the plot's sides
POINTS = 500  # of a curve at most
DOTS_UP_TO = 40  # points of a curve
SMOOTH_FROM = 60
LOG_FROM = 50  # times the smallest value
COLOURS, DASHES = 7, 4  # that the style sheet has; together they tell 28 curves apart


@dataclass(frozen=True)
class Tick:
    position: float
    label: str


@dataclass(frozen=True)
class Dot:
    x: float
    y: float
    title: str


@dataclass
class Line:
    """One curve.

    Attributes:
        name: As logged.
        colour: Number of the style sheet's colour.
        dash: Number of the style sheet's dash.
        raw: Points of each part without a gap, ``x,y x,y ...``.
        smooth: The same, averaged over neighbours; empty for short curves.
        dots: Points drawn one by one: all of a short curve, and those without neighbours.
        last: The last finite value, in words.
        note: What is missing.
    """

    name: str
    colour: int
    dash: int
    raw: list[str] = field(default_factory=list)
    smooth: list[str] = field(default_factory=list)
    dots: list[Dot] = field(default_factory=list)
    last: str = ""
    note: str = ""


@dataclass
class Chart:
    """One chart.

    Attributes:
        title: Says what is shown, and its unit.
        x: Of steps.
        y: Of values.
        lines: The curves.
        hint: How to read it.
        guide: A value to compare with, as its pixel.
    """

    title: str
    x: Axis
    y: Axis
    lines: list[Line]
    hint: str = ""
    guide: float | None = None

    @property
    def x_ticks(self) -> list[Tick]:
        return [Tick(round(self.x.place(tick), 2), format_number(tick)) for tick in self.x.ticks]

    @property
    def y_ticks(self) -> list[Tick]:
        return [Tick(round(self.y.place(tick), 2), format_number(tick)) for tick in self.y.ticks]


def charts_of(history: History) -> list[Chart]:
    """Returns the charts of a log, the most telling first; those without a finite value are left out."""
    groups: dict[str, dict[str, Series]] = {}
    for name, series in history.series.items():
        groups.setdefault(group_of(name), {})[name] = series
    losses, speed = groups.get("losses", {}), groups.get("speed", {})
    adversarial = {name: series for name, series in losses.items() if _is_adversarial(name)}
    others = {name: series for name, series in losses.items() if name not in adversarial}
    last = history.step
    charts = [
        _chart("Adversarial losses", adversarial, last, may_be_log=True),
        _chart("Other losses" if adversarial else "Losses", others, last, may_be_log=True),
        _accuracy(groups.get("accuracy", {}), last),
        *(
            _chart(title, series, last, smooths=False)
            for title, series in _by_metric(groups.get("metrics", {})).items()
        ),
        _chart("Learning rate", groups.get("learning rate", {}), last, smooths=False, from_zero=True),
        _chart("Speed (images per second)", _only(speed, "images_per_second"), last, from_zero=True),
        _chart("Time spent waiting for data (share)", _only(speed, "data_wait"), last, from_zero=True),
    ]
    return [chart for chart in charts if chart is not None]


def _is_adversarial(name: str) -> bool:
    return "adversarial" in name or re.match(r"D(_|$)", name) is not None


def _by_metric(series: dict[str, Series]) -> dict[str, dict[str, Series]]:
    """One chart a metric: its directions share a unit, two metrics do not."""
    charts: dict[str, dict[str, Series]] = {}
    for name, values in series.items():
        title = re.sub(r"_(a2b|b2a)$", "", name.removeprefix("val_"))
        charts.setdefault(f"Validation: {title}", {})[name] = values
    return charts


def _only(series: dict[str, Series], name: str) -> dict[str, Series]:
    return {name: series[name]} if name in series else {}


def _accuracy(series: dict[str, Series], last: int) -> Chart | None:
    chart = _chart("Discriminator accuracy", series, last, axis=Axis(0.0, 1.0, BOTTOM, TOP))
    if chart is not None:
        chart.guide = chart.y.place(0.5)
        chart.hint = (
            "The share of images or patches that a discriminator D takes for what they are. Near 0.5 it guesses; "
            "near 1 it has won, and the generator learns little from it."
        )
    return chart


def _chart(
    title: str,
    series: dict[str, Series],
    last: int,
    *,
    smooths: bool = True,
    may_be_log: bool = False,
    from_zero: bool = False,
    axis: Axis | None = None,
) -> Chart | None:
    values = [value for one in series.values() for _, value in one.finite]
    if not values:
        return None
    is_log = may_be_log and min(values) > 0 and max(values) > LOG_FROM * min(values)
    x = step_axis(last, LEFT, RIGHT)
    y = axis or value_axis(values, BOTTOM, TOP, is_log, from_zero)
    lines = [_line(index, name, one, x, y, smooths) for index, (name, one) in enumerate(series.items())]
    return Chart(f"{title}, logarithmic" if is_log else title, x, y, lines)


def _line(index: int, name: str, series: Series, x: Axis, y: Axis, smooths: bool) -> Line:
    line = Line(name, index % COLOURS, index % DASHES)
    finite = series.finite
    missing = len(series.values) - len(finite)
    if missing:
        line.note = f"{missing} of {len(series.values)} values are not finite"
    if finite:
        line.last = format_number(finite[-1][1])
    line.raw, line.dots = _drawn(series, x, y)
    if smooths and len(finite) >= SMOOTH_FROM:
        line.smooth, _ = _drawn(Series(series.steps, smoothed(series.values)), x, y)
    return line


def _drawn(series: Series, x: Axis, y: Axis) -> tuple[list[str], list[Dot]]:
    """Returns the parts between gaps, and the points to be drawn one by one."""
    runs: list[list[tuple[float, float, str]]] = [[]]
    for index in thinned(series.values, POINTS):
        step, value = series.steps[index], series.values[index]
        if value is None:
            runs.append([])
        else:
            title = f"step {step}: {format_number(value)}"
            runs[-1].append((round(x.place(step), 2), round(y.place(value), 2), title))
    parts = [" ".join(f"{left:g},{top:g}" for left, top, _ in run) for run in runs if len(run) > 1]
    is_short = len(series.steps) <= DOTS_UP_TO
    return parts, [Dot(*point) for run in runs for point in run if is_short or len(run) == 1]


def thinned(values: Sequence[float | None], limit: int) -> list[int]:
    """Chooses which points of a curve to draw, rising.

    Of each of ``limit / 2`` stretches the lowest and the highest point are kept, so that spikes stay, and one gap where
    there is any; the first and the last point are kept.
    """
    count = len(values)
    if count <= limit:
        return list(range(count))
    chosen = {0, count - 1}
    stretches = limit // 2
    for number in range(stretches):
        stretch = range(number * count // stretches, (number + 1) * count // stretches)
        finite = [(value, index) for index in stretch if (value := values[index]) is not None]
        chosen |= {min(finite)[1], max(finite)[1]} if finite else set()
        gap = next((index for index in stretch if values[index] is None), None)
        chosen |= {gap} if gap is not None else set()
    return sorted(chosen)


def smoothed(values: Sequence[float | None]) -> list[float | None]:
    """Averages each value with its neighbours, a twentieth of the curve in all; gaps stay, and do not count."""
    reach = max(1, len(values) // 40)
    sums, counts = [0.0], [0]
    for value in values:
        sums.append(sums[-1] + (value or 0.0))
        counts.append(counts[-1] + (value is not None))
    result: list[float | None] = []
    for index, value in enumerate(values):
        first, end = max(0, index - reach), min(len(values), index + reach + 1)
        result.append(None if value is None else (sums[end] - sums[first]) / (counts[end] - counts[first]))
    return result

"""Curves: that a reader who measures the drawing finds the logged values."""

import math
import statistics

import numpy as np
import pytest

from i2i.run.report.axes import Axis, format_number, value_axis
from i2i.run.report.charts import charts_of, smoothed, thinned
from i2i.run.report.history import read_history
from i2i.run.report.page import write_report
from tests.run.report.pages import read_page, write_log


def drawn(page, title):
    """Reads a chart as a reader with a ruler would: line name -> (step, value) of each drawn point.

    The scale is measured on the labelled ticks, not taken from the code.
    """
    (figure,) = [f for f in page.all("figure", "chart") if page.all("h3", inside=f)[0].text == title]
    texts = page.all("text", inside=figure)
    across = {float(t.attributes["x"]): number(t.text) for t in texts if t.attributes["text-anchor"] == "middle"}
    upward = {float(t.attributes["y"]) - 4: number(t.text) for t in texts if t.attributes["text-anchor"] == "end"}
    is_log = "logarithmic" in title
    to_step, to_value = ruler(across, False), ruler(upward, is_log)
    curves = {}
    for group in page.all("g", "line", figure):
        name = page.all("title", inside=group)[0].text
        parts = {
            kind: [polyline_of(e, to_step, to_value) for e in page.all("polyline", kind, group)]
            for kind in ("raw", "smooth")
        }
        circles = [e.attributes for e in page.all("circle", inside=group)]
        curves[name] = parts | {"dots": [(to_step(float(c["cx"])), to_value(float(c["cy"]))) for c in circles]}
    return curves


def polyline_of(element, to_step, to_value):
    points = [map(float, point.split(",")) for point in element.attributes["points"].split()]
    return [(to_step(x), to_value(y)) for x, y in points]


def ruler(labels, is_log):
    assert len(labels) >= 2
    places = sorted(labels)
    (low, high) = places[0], places[-1]
    scale, back = (math.log, math.exp) if is_log else (float, float)
    first, last = scale(labels[low]), scale(labels[high])
    for place, label in labels.items():  # the ticks between agree
        assert first + (place - low) / (high - low) * (last - first) == pytest.approx(
            scale(label), abs=2e-3 * abs(last - first)
        )
    return lambda place: back(first + (place - low) / (high - low) * (last - first))


def number(text):
    units = {"k": 1e3, "M": 1e6, "G": 1e9}
    return float(text[:-1]) * units[text[-1]] if text[-1] in units else float(text)


def page_of(folder, entries):
    return read_page(write_report(write_log(folder, entries)))


def test_the_drawing_holds_the_logged_values(tmp_path):
    values = {step: 3 + math.sin(step) for step in range(5, 105, 5)}
    page = page_of(tmp_path, [{"step": s, "cycle_x": v, "cycle_y": 2 * v} for s, v in values.items()])
    curves = drawn(page, "Losses")
    for name, factor in (("cycle_x", 1), ("cycle_y", 2)):
        (points,) = curves[name]["raw"]
        expected = [(step, factor * value) for step, value in values.items()]
        np.testing.assert_allclose(points, expected, atol=0.02)
        np.testing.assert_allclose(curves[name]["dots"], expected, atol=0.02)
        assert curves[name]["smooth"] == []


def test_values_far_apart_get_a_logarithmic_axis(tmp_path):
    values = {step: 1e3 * 0.5**step for step in range(20)}
    page = page_of(tmp_path, [{"step": s, "cycle": v} for s, v in values.items()])
    (points,) = drawn(page, "Losses, logarithmic")["cycle"]["raw"]
    steps, shown = zip(*points, strict=True)
    np.testing.assert_allclose(steps, list(values), atol=0.01)
    np.testing.assert_allclose(shown, list(values.values()), rtol=5e-3)


def test_a_negative_value_keeps_the_axis_linear(tmp_path):
    page = page_of(tmp_path, [{"step": s, "cycle": v} for s, v in enumerate([-1.0, 0.001, 100.0])])
    (points,) = drawn(page, "Losses")["cycle"]["raw"]
    np.testing.assert_allclose(points, [(0, -1), (1, 0.001), (2, 100)], atol=0.1)


def test_missing_values_leave_a_gap(tmp_path):
    values = [1.0, 2.0, None, 3.0, None, 4.0, 5.0]
    page = page_of(tmp_path, [{"step": s, "D": v} for s, v in enumerate(values)])
    curve = drawn(page, "Adversarial losses")["D"]
    np.testing.assert_allclose(curve["raw"], [[(0, 1), (1, 2)], [(5, 4), (6, 5)]], atol=0.01)
    np.testing.assert_allclose(curve["dots"], [(s, v) for s, v in enumerate(values) if v], atol=0.01)
    assert "2 of 7 values are not finite" in page.all("ul", "legend")[0].text


def test_a_long_noisy_curve_is_smoothed_over_the_faint_one(tmp_path):
    noise = np.random.default_rng(0).normal(10, 1, 400)
    page = page_of(tmp_path, [{"step": s, "cycle": float(v)} for s, v in enumerate(noise)])
    curve = drawn(page, "Losses")["cycle"]
    ((raw,), (smooth,)) = curve["raw"], curve["smooth"]
    np.testing.assert_allclose([value for _, value in raw], noise, atol=0.05)
    assert statistics.stdev(v for _, v in smooth) < 0.5 * statistics.stdev(noise)
    faint = [e.has("faint") for e in page.all("polyline")]
    assert faint == [True, False]
    assert not curve["dots"]


def test_smoothing_is_the_mean_of_the_neighbours():
    values = [float(v) for v in np.random.default_rng(1).normal(size=200)]
    values[50] = values[51] = values[199] = None
    for index, value in enumerate(smoothed(values)):
        near = [v for v in values[max(0, index - 5) : index + 6] if v is not None]
        assert value == (None if values[index] is None else pytest.approx(statistics.fmean(near)))


def test_thinning_keeps_ends_spikes_and_gaps():
    values = [float(v) for v in np.random.default_rng(2).normal(size=20_000)]
    values[7_777], values[12_345], values[15_000] = 99.0, -99.0, None
    kept = thinned(values, 500)
    assert len(kept) <= 503
    assert kept == sorted(set(kept))
    assert {0, 7_777, 12_345, 15_000, 19_999} <= set(kept)
    assert thinned(values[:500], 500) == list(range(500))


def test_a_long_run_stays_small(tmp_path):
    rng = np.random.default_rng(3)
    names = ("cycle_x", "cycle_y", "D_X", "D_Y", "D_X_accuracy_real")
    log = [{"step": s * 50, **{name: float(rng.random()) for name in names}} for s in range(20_000)]
    page = page_of(tmp_path, log)
    assert len(page.source) < 500_000
    points = [len(e.attributes["points"].split()) for e in page.all("polyline")]
    assert points and max(points) <= 502
    assert "800k" in [t.text for t in page.all("text")]


def test_charts_part_what_has_other_units(tmp_path):
    entry = {"G_adversarial": 1.0, "D_Y": 1.0, "cycle_x": 9.0, "D_Y_accuracy_real": 0.7, "lr_generator": 2e-4,
             "images_per_second": 30.0, "data_wait": 0.1}  # fmt: skip
    metrics = {"val_psnr_a2b": 20.0, "val_psnr_b2a": 21.0, "val_ssim_a2b": 0.5}
    history = read_history(write_log(tmp_path, [{"step": 1, **entry}, {"step": 1, **metrics}]) / "log.jsonl")
    assert {chart.title: [line.name for line in chart.lines] for chart in charts_of(history)} == {
        "Adversarial losses": ["G_adversarial", "D_Y"],
        "Other losses": ["cycle_x"],
        "Discriminator accuracy": ["D_Y_accuracy_real"],
        "Validation: psnr": ["val_psnr_a2b", "val_psnr_b2a"],
        "Validation: ssim": ["val_ssim_a2b"],
        "Learning rate": ["lr_generator"],
        "Speed (images per second)": ["images_per_second"],
        "Time spent waiting for data (share)": ["data_wait"],
    }


def test_accuracy_is_shown_from_0_to_1_with_a_line_at_a_half(tmp_path):
    page = page_of(tmp_path, [{"step": s, "D_accuracy_real": 0.6, "D_accuracy_fake": 0.7} for s in (1, 2)])
    (figure,) = page.all("figure", "chart")
    labels = {
        t.text: float(t.attributes["y"]) - 4 for t in page.all("text", inside=figure) if t.attributes["x"] == "43"
    }
    assert {"0", "1"} <= labels.keys()
    (guide,) = page.all("line", "guide", figure)
    assert float(guide.attributes["y1"]) == pytest.approx((labels["0"] + labels["1"]) / 2)
    assert "Near 0.5 it guesses" in figure.text and "near 1 it has won" in figure.text


def test_lines_of_a_chart_differ_in_more_than_colour(tmp_path):
    page = page_of(tmp_path, [{"step": s, **{f"loss_{n}": n + s for n in range(9)}} for s in (1, 2)])
    looks = [tuple(e.attributes["class"].split()[1:]) for e in page.all("g", "line")]
    assert len(set(looks)) == 9
    assert looks == [tuple(e.attributes["class"].split()[1:]) for e in page.all("svg", "key")]
    dashes = [look[1] for look in looks]
    assert all(one != other for one, other in zip(dashes, dashes[1:], strict=False))
    style = page.all("style")[0].text
    assert all(f".{part}" in style for look in looks for part in look if part != "d0")


def test_the_legend_has_the_last_finite_values(tmp_path):
    page = page_of(tmp_path, [{"step": s, "cycle": v, "D": None} for s, v in enumerate([1.0, 2.53, None])])
    (legend,) = page.all("ul", "legend")  # a curve without a value has no chart
    assert [e.text for e in page.all("span", "value", legend)] == ["2.53"]


@pytest.mark.parametrize(
    "values", [[0.0], [5.0], [-3.0, -3.0], [1e-99, 2e99], [2e-4] * 3, [0.0, 1e-98], [1e6, 1e6 + 1]]
)
def test_any_values_can_be_drawn(tmp_path, values):
    page = page_of(tmp_path, [{"step": s, "cycle": v, "lr_x": v, "val_x": v} for s, v in enumerate(values)])
    assert len(page.all("figure", "chart")) == 3
    for line in page.all("g", "line"):
        places = [float(e.attributes["cy"]) for e in page.all("circle", inside=line)]
        assert len(places) == len(values)
        assert all(10 <= place <= 204 for place in places)


@pytest.mark.parametrize("low, high", [(0.2, 1.1), (-7.0, 3.0), (0.0, 2e-4), (99.5, 100.2), (3.0, 81_000.0)])
def test_ticks_are_round_and_hold_the_values(low, high):
    axis = value_axis([low, high], 204, 10)
    ticks = axis.ticks
    assert 3 <= len(ticks) <= 7
    assert ticks[0] <= low + 1e-12 and ticks[-1] >= high - 1e-12
    assert ticks[0] == pytest.approx(axis.low, abs=1e-12) and ticks[-1] == pytest.approx(axis.high)
    steps = np.diff(ticks)
    np.testing.assert_allclose(steps, steps[0], rtol=1e-6)
    mantissa = steps[0] / 10 ** math.floor(math.log10(steps[0]) + 1e-9)
    assert min(abs(mantissa - round_one) for round_one in (1, 2, 2.5, 5)) < 1e-6


@pytest.mark.parametrize("is_log", [False, True])
def test_nothing_is_drawn_outside_of_the_axis(is_log):
    axis = Axis(1.0, 100.0, 204, 10, is_log)
    assert [axis.place(value) for value in (-5.0, 0.0, 1.0, 100.0, 1e9)] == [204, 204, 204, 10, 10]


def test_logarithmic_ticks_are_round_and_few():
    for low, high in ((0.5, 40.0), (1e-3, 2.0), (1e-30, 1e10)):
        ticks = Axis(low, high, 204, 10, is_log=True).ticks
        assert 2 <= len(ticks) <= 7
        assert all(low <= tick <= high * (1 + 1e-9) for tick in ticks)
        assert {f"{tick:e}"[0] for tick in ticks} <= {"1", "2", "3", "5"}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"), (1, "1"), (0.25, "0.25"), (1234, "1234"), (20_000, "20k"), (150_000, "150k"), (1_500_000, "1.5M"),
        (2e9, "2G"), (2e-4, "2e-4"), (1.5e-5, "1.5e-5"), (-0.5, "-0.5"), (0.123456, "0.1235"), (1e15, "1e15"),
        (6.0606e-6, "6.061e-6"), (-2e-4, "-2e-4"), (9999, "9999"),
    ],
)  # fmt: skip
def test_numbers_are_short(value, text):
    assert format_number(value) == text

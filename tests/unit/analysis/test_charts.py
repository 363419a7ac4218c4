"""Axes, ticks and drawings: where a value stands, and that nothing a user wrote becomes markup."""

import math
from xml.etree import ElementTree as ET

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from syntrial.analysis.charts import Axis, Line, dot_rows, legend, line_chart, log_ticks, nice_ticks, number, padded


@pytest.mark.parametrize(
    ("low", "high", "count", "ticks"),
    [
        (0.0, 1.0, 5, [0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (-0.021, 0.021, 4, [-0.02, 0, 0.02]),
        (0.0, 19500.0, 4, [0, 5000, 10000, 15000]),
        (3.0, 3.0, 4, [3.0]),
    ],
)
def test_ticks_are_round_and_inside(low: float, high: float, count: int, ticks: list[float]) -> None:
    assert nice_ticks(low, high, count=count) == ticks


@given(
    low=st.floats(-1e6, 1e6, allow_nan=False),
    width=st.floats(1e-6, 1e6),
    count=st.integers(2, 8),
)
@example(low=879609.9999999999, width=1.0000000000000002e-06, count=6)
def test_there_are_about_as_many_ticks_as_asked_for(low: float, width: float, count: int) -> None:
    ticks = nice_ticks(low, low + width, count=count)
    assert len(ticks) <= count + 1
    slack = 1e-6 * width + 4 * math.ulp(abs(low) + width)
    assert all(low - slack <= tick <= low + width + slack for tick in ticks)


def test_logarithmic_ticks_are_powers_where_the_range_is_wide() -> None:
    assert log_ticks(0.03, 4.0) == [0.05, 0.1, 0.2, 0.5, 1, 2]
    assert log_ticks(0.001, 100.0) == [0.001, 0.01, 0.1, 1, 10, 100]


def test_an_axis_keeps_what_lies_outside_at_its_end() -> None:
    axis = Axis(low=0, high=10, start=100, length=200)
    assert [axis.at(value) for value in (-5, 0, 5, 10, 50)] == [100, 100, 200, 300, 300]
    upwards = Axis(low=1, high=100, start=200, length=-100, log=True)
    assert [round(upwards.at(value), 6) for value in (0, 1, 10, 100)] == [200, 200, 150, 100]


def test_a_range_of_one_value_or_none_still_has_a_width() -> None:
    for values in ([], [math.nan], [0.0], [5.0, 5.0], [-3.0]):
        low, high = padded(values)
        assert low < high


@pytest.mark.parametrize(
    ("value", "words"),
    [(0.0, "0"), (-0.02, "−0.02"), (15000.0, "15\u202f000"), (0.5, "0.5"), (0.00002, "2e−05"), (1.0, "1")],
)
def test_numbers_are_short(value: float, words: str) -> None:
    assert number(value) == words


def test_a_chart_is_well_formed_and_leaves_gaps_out() -> None:
    line = Line(name="loss", x=[0, 1, 2], y=[1.0, math.nan, 0.5], low=[0.9, 0.9, 0.4], high=[1.1, 1.1, 0.6])
    root = ET.fromstring(line_chart([line], title="a & b", x_label="steps", y_label="<loss>", diagonal=True))  # noqa: S314
    polyline = root.find("polyline")
    assert polyline is not None
    assert len(polyline.attrib["points"].split()) == 2
    assert root.attrib["aria-label"] == "a & b"


def test_names_in_drawings_are_text() -> None:
    hostile = '"><script>x</script>'
    drawn = dot_rows([(hostile, 0.5, "red")], title=hostile, x_label=hostile, reference=(hostile, 0.1))
    for markup in (drawn, legend([(hostile, "red")])):
        assert "<script>" not in markup
        assert "&lt;script&gt;" in markup
    ET.fromstring(drawn)  # noqa: S314


def test_a_chart_without_any_value_is_still_a_chart() -> None:
    line = Line(name="loss", x=[0.0, 1.0], y=[math.nan, math.nan])
    root = ET.fromstring(line_chart([line], title="t", x_label="x", y_label="y", log_y=True))  # noqa: S314
    polyline = root.find("polyline")
    assert polyline is not None
    assert polyline.attrib["points"] == ""

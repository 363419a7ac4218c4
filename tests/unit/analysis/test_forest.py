"""The forest plot: what is inside it, what is cut, and how differences are written."""

from typing import Any
from xml.etree import ElementTree as ET

import pytest

from syntrial.analysis.forest import LONGEST_LABEL, extent, forest_plot, shortened, signed
from syntrial.analysis.metrics import METRICS


def comparison(role: str, low: float, high: float, **options: Any) -> dict[str, Any]:
    return {
        "arm_label": "augment-100 with edm",
        "control_label": "real",
        "role": role,
        "estimate": (low + high) / 2,
        "interval_95": [low, high],
        "outcome": "inconclusive",
        "by_less_than_margin": False,
        "replicates": 2,
        **options,
    }


def drawn(comparisons: list[dict[str, Any]], margin: float = 0.01) -> ET.Element:
    return ET.fromstring(forest_plot(comparisons, margin=margin, metric=METRICS["auroc"]))  # noqa: S314


@pytest.mark.parametrize(
    ("value", "words"), [(0.01234, "+0.0123"), (-0.01234, "−0.0123"), (0.00001, "0.0000"), (-0.00001, "0.0000")]
)
def test_differences_have_a_sign_unless_they_round_to_zero(value: float, words: str) -> None:
    assert signed(value) == words


def test_the_primary_and_twice_the_margin_are_always_inside() -> None:
    assert extent([comparison("primary", -0.001, 0.002)], margin=0.01) > 0.02
    assert extent([comparison("primary", -0.3, 0.2)], margin=0.01) > 0.3


def test_controls_far_away_do_not_squeeze_the_others() -> None:
    primary = comparison("primary", -0.01, 0.02)
    with_control = extent([primary, comparison("control", -0.5, -0.4)], margin=0.01)
    assert with_control == pytest.approx(1.5 * extent([primary], margin=0.01))
    with_exploratory = extent([primary, comparison("exploratory", -0.5, -0.4)], margin=0.01)
    assert with_exploratory == pytest.approx(3 * extent([primary], margin=0.01))


def test_an_interval_beyond_the_axis_ends_in_one_arrow_on_its_side() -> None:
    inside = drawn([comparison("primary", -0.01, 0.02)])
    beyond = drawn([comparison("primary", -0.01, 0.02), comparison("control", -0.5, -0.4)])
    # A diamond for the primary; for the control an arrow and no diamond.
    assert len(inside.findall("polygon")) == 1
    assert len(beyond.findall("polygon")) == 2
    across = drawn([comparison("primary", -0.01, 0.02), comparison("control", -0.5, 0.5)])
    assert len(across.findall("polygon")) == 1 + 3


def test_every_comparison_is_written_out_under_its_group() -> None:
    root = drawn([comparison("primary", 0.001, 0.003), comparison("control", -0.002, 0.002, arm_label="pca & co")])
    texts = [element.text for element in root.findall("text")]
    assert "+0.0020  (+0.0010 to +0.0030)" in texts
    assert "pca & co" in texts
    assert any(text and text.startswith("Primary") for text in texts)
    assert not any(text and text.startswith("Exploratory") for text in texts)


def test_long_names_are_shortened_beside_the_plot() -> None:
    assert shortened("real") == "real"
    assert len(shortened("x" * 200)) == LONGEST_LABEL
    drawn([comparison("primary", 0.0, 0.1, arm_label="x" * 200)])


def test_a_comparison_without_an_interval_is_a_mark_and_says_so() -> None:
    root = drawn([comparison("primary", 0.004, 0.004, interval_95=None)])
    texts = [element.text for element in root.findall("text")]
    assert "+0.0040  (no interval)" in texts
    assert len(root.findall("polygon")) == 1


def test_what_is_too_small_to_matter_is_said_beside_its_outcome() -> None:
    root = drawn([comparison("primary", -0.006, -0.001, outcome="harms", by_less_than_margin=True)])
    assert "by less than the margin" in [element.text for element in root.findall("text")]


@pytest.mark.parametrize(("replicates", "said"), [(1, True), (2, False)])
def test_an_interval_without_seeds_says_so(replicates: int, said: bool) -> None:
    root = drawn([comparison("primary", -0.006, 0.001, replicates=replicates)])
    assert ("over patients alone" in [element.text for element in root.findall("text")]) is said

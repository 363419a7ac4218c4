"""The forest plot: every effect with its 95% interval, against zero and the margin of equivalence.

The primary comparison stands first and heaviest, the exploratory ones after it, the controls apart.
"""

from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from syntrial.analysis.charts import GRID, INK, MUTED, Axis, nice_ticks, number, segment, signed, svg, text
from syntrial.analysis.metrics import Metric

OUTCOME_COLOURS = {
    "improves": "var(--improves)",
    "harms": "var(--harms)",
    "equivalent": "var(--equivalent)",
    "inconclusive": "var(--inconclusive)",
}
"""Colours of outcomes, defined by the page for light and dark."""

GROUPS = (
    ("primary", "Primary comparison, recorded before the first evaluation"),
    ("exploratory", "Exploratory, outcomes Holm-adjusted"),
    ("control", "Controls and baselines"),
)

WIDTH, PLOT_RIGHT = 1000.0, 652.0
LONGEST_LABEL = 52
"""Characters of an arm's name that are drawn."""
ROW, HEAD, TOP = 32.0, 34.0, 26.0


def shortened(label: str) -> str:
    """A name that fits beside the plot; the tables have it whole."""
    return label if len(label) <= LONGEST_LABEL else f"{label[: LONGEST_LABEL - 1]}…"


def extent(comparisons: Sequence[dict[str, Any]], *, margin: float) -> float:
    """Half the width of the axis, in the metric's units.

    The primary interval and twice the margin are always inside. Others widen the axis, exploratory ones up to three
    times that and controls up to one and a half times; what lies beyond is cut, with an arrow.
    """
    reach: dict[str, list[float]] = {
        role: [abs(bound) for found in comparisons if found["role"] == role for bound in _ends(found)]
        for role, _ in GROUPS
    }
    primary = max(*reach["primary"], 2 * margin)
    exploratory = min(max(reach["exploratory"], default=0.0), 3 * primary)
    controls = min(max(reach["control"], default=0.0), 1.5 * primary)
    return 1.08 * max(primary, exploratory, controls)


def forest_plot(comparisons: Sequence[dict[str, Any]], *, margin: float, metric: Metric) -> Markup:
    """Comparisons (as in `report.json`) as an SVG of the page's width."""
    half = extent(comparisons, margin=margin)
    longest = max(len(shortened(found[side])) for found in comparisons for side in ("arm_label", "control_label"))
    # About 7.2 pixels a character of the primary's bold name; the plot takes what is left.
    left = min(max(30 + 7.2 * longest, 230.0), 400.0)
    x = Axis(low=-half, high=half, start=left, length=PLOT_RIGHT - left)
    groups = [(title, [c for c in comparisons if c["role"] == role]) for role, title in GROUPS]
    groups = [(title, members) for title, members in groups if members]
    bottom = TOP + sum(HEAD + ROW * len(members) for _, members in groups) + 6
    parts = [
        Markup('<rect x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}" style="fill:var(--band)"/>').format(
            x.at(-margin), TOP - 4, x.at(margin) - x.at(-margin), bottom - TOP + 4
        ),
        text(x.at(0), TOP - 12, f"margin ±{number(margin)}", css="tick", anchor="middle"),
    ]
    for tick in nice_ticks(-half, half, count=6):
        parts.append(segment(x.at(tick), TOP - 4, x.at(tick), bottom, colour=INK if tick == 0 else GRID))
        parts.append(text(x.at(tick), bottom + 17, number(tick), css="tick", anchor="middle"))
    below, above = ("control", "arm") if metric.higher_is_better else ("arm", "control")
    parts.append(text(left, bottom + 35, f"← {below} better", css="label"))
    parts.append(text(PLOT_RIGHT, bottom + 35, f"{above} better →", css="label", anchor="end"))
    parts.append(text(x.at(0), bottom + 52, f"difference in {metric.words}", css="label", anchor="middle"))
    parts.append(text(PLOT_RIGHT + 20, TOP - 12, "effect (95% interval)", css="tick"))
    y = TOP
    for title, members in groups:
        parts.append(text(0, y + 21, title, css="group"))
        y += HEAD
        for found in members:
            parts.extend(_row(found, x=x, y=y + ROW / 2))
            y += ROW
    return svg(
        parts, width=WIDTH, height=bottom + 60, title=f"Effects on {metric.words} with 95% intervals", css="forest"
    )


def _row(found: dict[str, Any], *, x: Axis, y: float) -> list[Markup]:
    primary = found["role"] == "primary"
    colour = OUTCOME_COLOURS[found["outcome"]]
    low, high = _ends(found)
    left, right = x.at(low), x.at(high)
    inside = low <= x.high and high >= x.low
    parts = [
        text(14, y - 1, shortened(found["arm_label"]), css="row strong" if primary else "row"),
        text(14, y + 11, f"against {shortened(found['control_label'])}", css="tick"),
        segment(left, y, right, y, colour=colour, width=4 if primary else 2.2),
    ]
    for value, end, direction in ((low, left, -1), (high, right, 1)):
        if x.low <= value <= x.high:
            parts.append(segment(end, y - 5, end, y + 5, colour=colour, width=2))
        elif inside or direction * value > 0:
            parts.append(_arrow(end, y, direction=direction, colour=colour))
    estimate = found["estimate"]
    if x.low <= estimate <= x.high:
        parts.append(_marker(x.at(estimate), y, size=8.5 if primary else 5.5, colour=colour))
    written = "no interval" if found["interval_95"] is None else f"{signed(low)} to {signed(high)}"
    bounds = f"{signed(estimate)}  ({written})"
    if found["replicates"] == 1 and found["interval_95"] is not None:
        parts.append(text(PLOT_RIGHT + 20, y + 15, "over patients alone", css="tick"))
    parts.append(text(PLOT_RIGHT + 20, y + 4, bounds, css="row figures strong" if primary else "row figures"))
    parts.append(
        Markup('<text x="{:.0f}" y="{:.1f}" text-anchor="end" class="row strong" style="fill:{}">{}</text>').format(
            WIDTH, y + 4, colour if found["outcome"] != "inconclusive" else MUTED, found["outcome"]
        )
    )
    if found["by_less_than_margin"]:
        parts.append(text(WIDTH, y + 15, "by less than the margin", css="tick", anchor="end"))
    return parts


def _ends(found: dict[str, Any]) -> tuple[float, float]:
    """Where a comparison's line begins and ends: at its estimate, where it has no interval."""
    low, high = found["interval_95"] or (found["estimate"], found["estimate"])
    return low, high


def _marker(x: float, y: float, *, size: float, colour: str) -> Markup:
    corners = f"{x - size:.1f},{y:.1f} {x:.1f},{y - size:.1f} {x + size:.1f},{y:.1f} {x:.1f},{y + size:.1f}"
    return Markup('<polygon points="{}" style="fill:{};stroke:var(--paper);stroke-width:1.5"/>').format(corners, colour)


def _arrow(x: float, y: float, *, direction: int, colour: str) -> Markup:
    """The interval goes on beyond the axis."""
    corners = f"{x + 7 * direction:.1f},{y:.1f} {x - 3 * direction:.1f},{y - 6:.1f} {x - 3 * direction:.1f},{y + 6:.1f}"
    return Markup('<polygon points="{}" style="fill:{}"/>').format(corners, colour)

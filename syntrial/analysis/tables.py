"""What a run prints at its end: the verdict, the effects and the arms, from `report.json` alone."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from syntrial.analysis.charts import signed
from syntrial.analysis.metrics import METRICS

STYLES = {"improves": "green", "harms": "red", "equivalent": "blue", "inconclusive": "yellow"}
"""Colours of outcomes in a terminal."""

ROLE_ORDER = ("reference", "primary", "exploratory", "control")
"""Rows of the table of arms."""


def terminal_summary(report: Mapping[str, Any]) -> RenderableType:
    """The verdict, what qualifies it, the effects table and the arms table as one rich renderable."""
    return Group(
        _verdict(report),
        *_qualifications(report),
        Padding(_effects(report), (1, 0, 0, 0)),
        Padding(_arms(report), (1, 0, 0, 0)),
    )


def _verdict(report: Mapping[str, Any]) -> Panel:
    verdict = report["verdict"]
    style = STYLES[verdict["outcome"]]
    # What is too small to matter is not shouted.
    quiet = verdict["by_less_than_margin"]
    heading = f"{verdict['outcome'].capitalize()} by less than the margin" if quiet else verdict["outcome"].upper()
    return Panel(
        Group(Text(heading, style=f"bold {style}"), Text(verdict["words"])),
        title=Text(report["title"], style="bold"),
        title_align="left",
        border_style=style,
        box=box.ROUNDED,
        padding=(0, 1),
    )


def _qualifications(report: Mapping[str, Any]) -> list[RenderableType]:
    rows = Table.grid(padding=(0, 1))
    for qualification in report["qualifications"]:
        mark = Text("!", style="bold yellow") if qualification["severity"] == "serious" else Text("·", style="dim")
        rows.add_row(mark, Text(qualification["words"]))
    return [rows] if report["qualifications"] else []


def _effects(report: Mapping[str, Any]) -> Table:
    usual = report["verdict"]["control_label"]
    table = Table(
        title=f"effect on {report['endpoint']['metric_name']} against {usual}, "
        f"margin ±{report['endpoint']['smallest_effect']:g}",
        caption=_effects_caption(report["comparisons"]),
        caption_justify="left",
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    table.add_column("arm")
    for heading in ("effect", "95% interval", "p"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("outcome", no_wrap=True)
    for role in ROLE_ORDER:
        found = [comparison for comparison in report["comparisons"] if comparison["role"] == role]
        for index, comparison in enumerate(found):
            table.add_row(*_effect_row(comparison, usual=usual), end_section=index == len(found) - 1)
    return table


def _effects_caption(comparisons: Sequence[Mapping[str, Any]]) -> str | None:
    """What the table's marks mean, of those that are in it."""
    marks = []
    if any(found["p_value_holm"] is not None for found in comparisons):
        marks.append("* Holm-adjusted")
    without = [found for found in comparisons if found["p_value"] is None]
    if without:
        reasons = dict.fromkeys(found["undecided"] for found in without)
        marks.append(f"p –: no outcome can be given: {'; '.join(reasons)}")
    if any(found["replicates"] == 1 and found["interval_95"] for found in without):
        marks.append("with one replicate the interval is over patients alone")
    if any(found["by_less_than_margin"] for found in comparisons):
        marks.append("small: by less than the margin")
    return "\n".join(marks) or None


def _effect_row(comparison: Mapping[str, Any], *, usual: str) -> list[Text]:
    control = comparison["control_label"]
    interval, holm = comparison["interval_95"], comparison["p_value_holm"]
    p_value = comparison["p_value"] if holm is None else holm
    p_words = "–" if p_value is None else "<0.0001" if p_value < 0.0001 else f"{p_value:.4f}"
    outcome = comparison["outcome"] + (", small" if comparison["by_less_than_margin"] else "")
    is_primary = comparison["role"] == "primary"
    row = [
        Text(comparison["arm_label"] + ("" if control == usual else f" against {control}")),
        Text(signed(comparison["estimate"])),
        Text("–" if interval is None else f"{signed(interval[0])} to {signed(interval[1])}"),
        Text(p_words + ("" if holm is None else "*")),
        Text(outcome, style=STYLES[comparison["outcome"]]),
    ]
    for cell in row if is_primary else ():
        cell.stylize("bold")
    return row


def _arms(report: Mapping[str, Any]) -> Table:
    generators = " (× generators)" if any(arm["generators"] > 1 for arm in report["arms"]) else ""
    table = Table(
        title=f"arms: mean over n replicates{generators} on the real test images; training images seen",
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    table.add_column("arm")
    origins = ("real", "synthetic") if report["synthetic"] else ("real",)
    for heading in ("n", *(metric.heading for metric in METRICS.values()), "steps", *origins):
        table.add_column(heading, justify="right", no_wrap=True)
    for arm in sorted(report["arms"], key=lambda arm: ROLE_ORDER.index(arm["role"])):
        metrics, seen = arm["metrics"], arm["images_seen"]
        table.add_row(
            Text(arm["label"], style="bold" if arm["role"] == "primary" else ""),
            str(arm["replicates"]) + (f" × {arm['generators']}" if arm["generators"] > 1 else ""),
            *(f"{metrics[name]['mean']:.4f}" for name in METRICS),
            f"{arm['optimiser_steps']:,}",
            f"{sum(count for origin, count in seen.items() if origin != 'synthetic'):,}",
            *([f"{seen.get('synthetic', 0):,}"] if report["synthetic"] else []),
        )
    return table

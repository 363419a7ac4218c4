"""Searches in the report: what each tried, what its trials were judged by, and which was chosen.

`report["synthetic"][…]["search"]`, or that of one of `report["classifiers"]`, is the decision as the generation stage
wrote it; here it is drawn and told.
"""

from collections.abc import Iterator
from typing import Any

from syntrial.analysis.charts import ACCENT, INK, MUTED, REFERENCE, Dots, Line, legend, line_chart
from syntrial.analysis.figures import Figure, Panel
from syntrial.analysis.metrics import METRICS
from syntrial.counting import counted

Json = dict[str, Any]

_DISTANCE = "squared Fréchet distance"


def searches(report: Json) -> Iterator[tuple[str, Json]]:
    """Each search with the name of what it was for: sets, of which one and its random control have the same, then
    classifiers.
    """
    known: set[str] = set()
    for synthetic in report["synthetic"]:
        found = synthetic.get("search")
        if found is not None and found["keys"][0] not in known:
            known.add(found["keys"][0])
            yield synthetic["name"], found
    for classifier in report.get("classifiers", ()):
        yield f"classifier {classifier['name']}", {**classifier["search"], "replicates": classifier["replicates"]}


def objective_words(found: Json) -> str:
    """What trials were judged by, for an axis or a column."""
    metric = METRICS.get(found["objective"])
    return f"{metric.words} on validation" if metric is not None else _DISTANCE


def search_figure(report: Json) -> Figure | None:
    """The objective by trial, a panel for each search; None where nothing was searched."""
    panels: list[Panel] = []
    has_reference, has_moments, has_trials = False, False, False
    keys: list[str] = []
    for name, found in searches(report):
        trials = [trial for trial in found["trials"] if trial["figures"]]
        best = [trial for trial in trials if trial["number"] == found["best"]]
        stopped = [trial for trial in trials if (trial["pruned"] or trial["failed"]) and trial not in best]
        ended = [trial for trial in trials if trial not in stopped and trial not in best]
        count = len(found["trials"])
        lines = []
        if (reference := found.get("reference")) is not None:
            has_reference = True
            lines.append(
                Line(name="real images", x=[0, count - 1], y=[reference, reference], colour=REFERENCE, dashed=True)
            )
        chart = line_chart(
            lines,
            title=f"{name}: {objective_words(found)} by trial",
            x_label="trial",
            y_label=objective_words(found),
            x_range=(-0.5, count - 0.5),
            dots=[
                _dots(stopped, MUTED, is_hollow=True),
                _dots(ended, INK),
                _dots(best, ACCENT, radius=5.5),
            ],
            size=(460, 260),
        )
        if count > 1:
            has_trials = True
            panels.append(Panel(heading=f"{name}: {counted(count, 'trial')}", chart=chart))
        if "images_shown" in found:
            has_moments = True
            panels.append(_along_training(name, found))
        keys += found["keys"]
    if not panels:
        return None
    return Figure(
        id="search",
        title="Searches",
        caption="What trials were judged by, in the order in which they were tried; trial 0 is what is written. "
        + ("Of a training that was judged at several moments the best one counts. " if has_moments else "")
        + "No trial saw the test split: it was opened when the choice was on record. The best figure of many is "
        "flattered by chance; the verdict is not.",
        panels=tuple(panels),
        keys=tuple(dict.fromkeys(keys)),
        legend=legend(
            [("the best", ACCENT)]
            + ([("trained to the end", INK), ("stopped early (hollow)", MUTED)] if has_trials else [])
            + ([("moments of a training", INK)] if has_moments else [])
            + ([("real", REFERENCE)] if has_reference else [])
        ),
    )


def search_tables(report: Json) -> list[Json]:
    """A table for each search, as the page shows it."""
    return [
        {
            "name": name,
            "objective": objective_words(found),
            "reference": found.get("reference"),
            "replicates": found.get("replicates"),
            "best": found["best"],
            "images_shown": found["images_shown"][_part(found["trials"][found["best"]])]
            if "images_shown" in found
            else None,
            "keys": found["keys"],
            "trials": [
                {
                    **trial,
                    "words": ", ".join(_assignment(*one) for one in trial["parameters"].items()) or trial["title"],
                    "figure": trial["figures"][_part(trial)] if trial["figures"] else None,
                    "moment": f"moment {trial['part'] + 1} of {len(trial['figures'])}" if "part" in trial else "",
                    "state": f"failed: {trial['failed']}"
                    if trial["failed"]
                    else "chosen"
                    if trial["number"] == found["best"]
                    else "stopped early"
                    if trial["pruned"]
                    else "",
                }
                for trial in found["trials"]
            ],
        }
        for name, found in searches(report)
    ]


def _part(trial: Json) -> int:
    """The place of the figure by which a trial counts: of snapshots that of its best moment, else the last."""
    return int(trial.get("part", -1))


def _along_training(name: str, found: Json) -> Panel:
    """The figure at each moment of the chosen trial's training."""
    best, shown = found["best"], found["images_shown"]
    figures = found["trials"][best]["figures"]
    lines = [Line(name="figure", x=shown, y=figures, colour=INK)]
    if (reference := found.get("reference")) is not None:
        ends = [0, shown[-1]]
        lines.append(Line(name="real images", x=ends, y=[reference, reference], colour=REFERENCE, dashed=True))
    part = _part(found["trials"][best])
    chart = line_chart(
        lines,
        title=f"{name}: {objective_words(found)} by images shown to trial {best}",
        x_label="images shown",
        y_label=objective_words(found),
        x_range=(0, shown[-1] * 1.03),
        dots=[
            Dots(xs=shown, ys=figures, colour=INK, radius=3.0),
            Dots(xs=[shown[part]], ys=[figures[part]], colour=ACCENT, radius=5.5),
        ],
        size=(460, 260),
    )
    return Panel(heading=f"{name}: trial {best} along its training", chart=chart)


def _assignment(name: str, value: object) -> str:
    if isinstance(value, float):
        return f"{name} {value:g}"
    return f"{name} {'by default' if value is None else value}"


def _dots(trials: list[Json], colour: str, *, is_hollow: bool = False, radius: float = 4.0) -> Dots:
    return Dots(
        xs=[trial["number"] for trial in trials],
        ys=[trial["figures"][_part(trial)] for trial in trials],
        colour=colour,
        is_hollow=is_hollow,
        radius=radius,
    )

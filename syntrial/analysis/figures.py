"""The report's figures: from the tree of `report.json` to SVG, each with the keys that it was drawn from.

What belongs here: which series are drawn, in which colour, under which heading. Geometry is in `charts.py` and
`forest.py`, pictures of images in `galleries.py`; `page.py` puts all of them on the page.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from syntrial.analysis.charts import (
    ACCENT,
    INK,
    MUTED,
    PALETTE,
    REFERENCE,
    Dots,
    Line,
    dot_rows,
    legend,
    line_chart,
    scatter,
)
from syntrial.analysis.findings import BASELINE_METHOD
from syntrial.analysis.forest import forest_plot
from syntrial.analysis.metrics import METRICS
from syntrial.analysis.reading import Json
from syntrial.documents.projection import KINDS
from syntrial.imagesets.imageset import MULTI_CLASS

SERIES_NAMES = {
    "train_loss": "training loss",
    "validation_loss": "validation loss",
    **{f"validation_{name.replace('-', '_')}": f"validation {metric.words}" for name, metric in METRICS.items()},
}
"""What the series of a training are called; those not named here are shown under their own name."""

LOG_RATIO = 30.0
"""A series whose values span more than this factor is drawn on a logarithmic axis."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Panel:
    """One small chart with its heading."""

    heading: str
    chart: Markup


@dataclass(frozen=True, kw_only=True, slots=True)
class Figure:
    """Panels under one caption; `legend` names the colours that they share."""

    id: str
    title: str
    caption: str
    panels: tuple[Panel, ...]
    keys: tuple[str, ...]
    legend: Markup | str = ""


def forest_figure(report: Json) -> Figure:
    """Every comparison's effect with its interval and the margin."""
    endpoint = report["endpoint"]
    chart = forest_plot(report["comparisons"], margin=endpoint["smallest_effect"], metric=METRICS[endpoint["metric"]])
    return Figure(
        id="forest",
        title="Effects",
        caption="Difference in the endpoint between each arm and its control on the real test images, with 95% "
        "intervals over patients and seeds unless said otherwise. The shaded band is the margin: effects inside it are "
        "too small to matter.",
        panels=(Panel(heading="", chart=chart),),
        keys=_keys(report["comparisons"]),
    )


def roc_figures(report: Json) -> list[Figure]:
    """A panel for each arm beside the control of its comparison; for many classes also one for each class."""
    false = report["roc"]["false_positive_rate"]
    macro = {curve["cell"]: curve for curve in report["roc"]["curves"] if curve["class"] is None}
    many = any(curve["class"] is not None for curve in report["roc"]["curves"])
    panels = []
    for found in report["comparisons"]:
        if found["arm"] in macro and found["control"] in macro:
            chart = _roc_chart(macro[found["arm"]], macro[found["control"]], false=false, title=found["arm_label"])
            panels.append(Panel(heading=f"{found['arm_label']} against {found['control_label']}", chart=chart))
    key = legend([("arm", ACCENT), ("its control", MUTED)])
    positive = "the mean over classes, one against the rest" if many else f"the class {report['classes'][-1]}"
    figures = [
        Figure(
            id="roc",
            title="ROC curves of each arm",
            caption=f"Of {positive}: mean over replicates, the band from the least to the greatest.",
            panels=tuple(panels),
            keys=_keys(macro.values()),
            legend=key,
        )
    ]
    if many:
        figures.append(_per_class_roc(report, false=false, key=key))
    return figures


def training_figures(report: Json) -> list[Figure]:
    """For each classifier a panel for each validation series, a line for each cell."""
    curves = {curve["cell"]: curve for curve in report["training_curves"]}
    labels = {arm["cell"]: arm["label"] for arm in report["arms"]}
    figures = []
    for index, classifier in enumerate(dict.fromkeys(arm["classifier"] for arm in report["arms"])):
        cells = [arm["cell"] for arm in report["arms"] if arm["classifier"] == classifier]
        colours = _cell_colours(report, cells=cells)
        names = sorted({name for cell in cells for name in curves[cell]["series"]}, key=_series_order)
        panels = []
        for name in names:
            lines = [
                _curve_line(cell, curves[cell]["x"], curves[cell]["series"][name], colour=colours[cell])
                for cell in cells
                if name in curves[cell]["series"]
            ]
            lines.sort(key=lambda line: line.colour == ACCENT)
            shown = SERIES_NAMES.get(name, name)
            unit = curves[cells[0]]["x_unit"]
            panels.append(Panel(heading=shown, chart=_curves_chart(lines, title=f"{classifier}: {shown}", unit=unit)))
        figures.append(
            Figure(
                id=f"training-{index}",
                title=f"Training of {classifier}",
                caption="On the real validation split, mean over replicates.",
                panels=tuple(panels),
                keys=_keys(curves[cell] for cell in cells),
                legend=legend([(labels[cell], colours[cell]) for cell in cells]),
            )
        )
    return figures


def generator_figure(report: Json) -> Figure | None:
    """The learning curves of the generators: a panel for each series, a line for each replicate."""
    panels: list[Panel] = []
    keys: list[str] = []
    for synthetic in report["synthetic"]:
        # The baseline is fitted in one go: its curves are shares of variance, not learning.
        curves_of_all = [] if synthetic["method"] == BASELINE_METHOD else synthetic["curves"]
        drawn = [curves for curves in curves_of_all if len(curves["x"]) > 1]
        for name in dict.fromkeys(name for curves in drawn for name in curves["series"]):
            lines = [
                _curve_line(name, curves["x"], {"mean": curves["series"][name]}, colour=colour)
                for curves, colour in zip(drawn, (ACCENT, *PALETTE) * len(drawn), strict=False)
                if name in curves["series"]
            ]
            heading = f"{synthetic['name']}: {name.replace('_', ' ')}"
            panels.append(Panel(heading=heading, chart=_curves_chart(lines, title=heading, unit=drawn[0]["x_unit"])))
        keys += synthetic["keys"] if drawn else []
    if not panels:
        return None
    return Figure(
        id="generators",
        title="Training of the generators",
        caption="On training images alone; a line for each replicate of a generator.",
        panels=tuple(panels),
        keys=tuple(dict.fromkeys(keys)),
    )


def network_words(report: Json) -> str:
    """A sentence that names the encoder's network where it was trained elsewhere; "" where it is the trial's own."""
    found = _network(report)
    if found is None:
        return ""
    return (
        f"Features are those of {found['model']} (weights {found['weights'][:19]}…, images at {found['side']} px), "
        "standardised by the real training images."
    )


def inception_words(report: Json) -> str:
    """Sentences on what FID and KID are taken by; "" where there are none."""
    found = next(iter(inceptions(report)), None)
    if found is None:
        return ""
    network = found["network"]
    return (
        f"FID and KID are in the {found['feature_size']:,} features of {network['model']} (weights "
        f"{network['weights'][:19]}…, images at {network['side']} px), on the number of images that stands below each. "
        "FID is biased upwards at small numbers and read by its ratio to the floor; KID is not, and its floor is the "
        "range that halves of the real images show of each other, about 0."
    )


def inceptions(report: Json) -> list[Json]:
    """FID and KID of every set that has them, with their network."""
    qualities = (quality for synthetic in report["synthetic"] for quality in synthetic["quality"])
    return [found for quality in qualities if (found := quality.get("inception")) is not None]


def _network(report: Json) -> Json | None:
    qualities = (quality for synthetic in report["synthetic"] for quality in synthetic["quality"])
    return next((found for quality in qualities if (found := quality["features"].get("network")) is not None), None)


def quality_figure(report: Json) -> Figure | None:
    """Fréchet distances of all sets beside the per-pixel Gaussian and the floor of real against real."""
    rows: list[tuple[str, float, str]] = []
    floors: list[float] = []
    gaussians: list[float] = []
    keys: list[str] = []
    for synthetic in report["synthetic"]:
        for number, quality in enumerate(synthetic["quality"]):
            suffix = f" {number + 1}" if len(synthetic["quality"]) > 1 else ""
            colour = PALETTE[0] if synthetic["control"] else ACCENT
            frechet = quality["frechet"]
            if frechet is None:
                continue
            rows.append((f"{synthetic['name']}{suffix}", frechet["synthetic_real"], colour))
            floors.append(frechet["floor"])
            gaussians += [frechet["gaussian_real"]] if "gaussian_real" in frechet else []
            keys.extend(synthetic["keys"])
    if not rows:
        return None
    if gaussians:
        rows.append(("per-pixel Gaussian", sum(gaussians) / len(gaussians), MUTED))
    rows.sort(key=lambda row: row[1])
    floor = sum(floors) / len(floors)
    network = _network(report)
    features = "an encoder trained on them" if network is None else network["model"]
    chart = dot_rows(
        rows,
        title="Fréchet distances of the synthetic sets",
        x_label=f"Fréchet distance to the real training images (features of {features})",
        reference=(f"floor: real against real, {floor:.3g}", floor),
    )
    return Figure(
        id="frechet",
        title="Fréchet distances",
        caption="Mean over random halves of the training images at one sample size; smaller is nearer. It rewards "
        "matching means and covariances, so a Gaussian can score well with images that no one would take for real: "
        f"read it beside the pictures and the effects. {network_words(report)}".rstrip(),
        panels=(Panel(heading="", chart=chart),),
        keys=tuple(dict.fromkeys(keys)),
    )


def projection_figure(report: Json) -> Figure | None:
    """Each set that was drawn in two dimensions: by what images are, and by their classes."""
    panels: list[Panel] = []
    keys: list[str] = []
    entries: list[tuple[str, str]] = []
    classes = report["classes"]
    class_colours = [(name, (*PALETTE, INK, REFERENCE)[number % 10]) for number, name in enumerate(classes)]
    of_kinds = dict(zip(KINDS, (MUTED, ACCENT, REFERENCE), strict=True))
    for synthetic in report["synthetic"]:
        found = synthetic.get("projection")
        if found is None:
            continue
        points = list(zip(found["x"], found["y"], found["kind"], found["group"], strict=True))
        shown = [
            _dots([point for point in points if KINDS[point[2]] == kind], colour, is_hollow=kind == "rejected")
            # What matters most is drawn last.
            for kind, colour in (("rejected", REFERENCE), ("real", MUTED), ("accepted", ACCENT))
        ]
        counts = ", ".join(f"{found['shown'][kind]} {kind}" for kind in KINDS)
        panels.append(Panel(heading=f"{synthetic['name']}: {counts}", chart=scatter(shown, title=synthetic["name"])))
        if report["task"] == MULTI_CLASS:
            by_class = [
                _dots(
                    [point for point in points if point[3] == number and (KINDS[point[2]] == "real") == is_real],
                    colour,
                    is_hollow=is_real,
                )
                for is_real in (True, False)
                for number, (_, colour) in enumerate(class_colours)
            ]
            heading = f"{synthetic['name']}: by class, real ones hollow"
            panels.append(Panel(heading=heading, chart=scatter(by_class, title=heading)))
            entries = class_colours
        keys += found["keys"]
    if not panels:
        return None
    return Figure(
        id="projection",
        title="Images by their features",
        caption="UMAP of the encoder's features: images that are alike lie near each other; distances between groups, "
        "and the axes, mean nothing. Rejected are those that the filters, the search for copies or the quota left out. "
        f"{network_words(report)}".rstrip(),
        panels=tuple(panels),
        keys=tuple(dict.fromkeys(keys)),
        legend=legend([*of_kinds.items(), *entries]),
    )


def _dots(points: Sequence[tuple[float, float, int, int]], colour: str, *, is_hollow: bool) -> Dots:
    return Dots(
        xs=[point[0] for point in points], ys=[point[1] for point in points], colour=colour, is_hollow=is_hollow
    )


def _per_class_roc(report: Json, *, false: Sequence[float], key: Markup) -> Figure:
    primary = report["verdict"]
    by_class = {(curve["class"], curve["cell"]): curve for curve in report["roc"]["curves"]}
    panels = []
    for name in report["classes"]:
        arm, control = by_class.get((name, primary["arm"])), by_class.get((name, primary["control"]))
        if arm is not None and control is not None:
            panels.append(Panel(heading=name, chart=_roc_chart(arm, control, false=false, title=name)))
    return Figure(
        id="roc-classes",
        title="ROC curves of each class",
        caption=f"{primary['arm_label']} against {primary['control_label']}, each class against the rest.",
        panels=tuple(panels),
        keys=tuple(primary["keys"]),
        legend=key,
    )


def _roc_chart(arm: Json, control: Json, *, false: Sequence[float], title: str) -> Markup:
    # Every curve starts at (0, 0); the grid's first point is the top of its first vertical piece.
    x = [0.0, *false]
    lines = [
        Line(
            name=curve["cell"],
            x=x,
            y=[0.0, *curve["mean"]],
            low=[0.0, *curve["low"]],
            high=[0.0, *curve["high"]],
            colour=colour,
        )
        for curve, colour in ((control, MUTED), (arm, ACCENT))
    ]
    return line_chart(
        lines,
        title=f"ROC curves: {title}",
        x_label="false-positive rate",
        y_label="true-positive rate",
        x_range=(0.0, 1.0),
        y_range=(0.0, 1.0),
        diagonal=True,
        size=(320, 290),
    )


def _curves_chart(lines: Sequence[Line], *, title: str, unit: str) -> Markup:
    values = [value for line in lines for value in line.y if math.isfinite(value)]
    log = bool(values) and min(values) > 0 and max(values) / min(values) > LOG_RATIO
    return line_chart(lines, title=title, x_label=unit, y_label="", log_y=log, size=(340, 220))


def _curve_line(name: str, x: Sequence[float], series: Json, *, colour: str) -> Line:
    heavy = colour in {ACCENT, INK}
    return Line(
        name=name,
        x=x,
        y=[math.nan if value is None else value for value in series["mean"]],
        colour=colour,
        width=2.2 if heavy else 1.2,
    )


def _cell_colours(report: Json, *, cells: Sequence[str]) -> dict[str, str]:
    """The primary arm in the accent, references in ink, the others in the palette's order."""
    roles = {arm["cell"]: arm["role"] for arm in report["arms"]}
    special = {"primary": ACCENT, "reference": INK}
    others = iter([*PALETTE, REFERENCE, MUTED] * len(cells))
    references = [cell for cell in cells if roles[cell] == "reference"]
    return {
        cell: special[roles[cell]] if roles[cell] == "primary" or references[:1] == [cell] else next(others)
        for cell in cells
    }


def _series_order(name: str) -> tuple[int, str]:
    known = ["validation_auroc", "validation_loss", "train_loss", "validation_accuracy"]
    return (known.index(name) if name in known else len(known), name)


def _keys(trees: Iterable[Json]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(key for tree in trees for key in tree["keys"]))

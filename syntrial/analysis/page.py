"""The report's page: `report.json` and the galleries to one HTML file that works offline.

What belongs here: the Jinja environment, how numbers are written, and what each section is given. Templates and the
style sheet are in `templates/`. The page loads nothing: styles and pictures are inside it, and it has no script.
"""

from collections import Counter
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import jinja2

from syntrial.analysis.charts import number, signed
from syntrial.analysis.figures import (
    Figure,
    forest_figure,
    generator_figure,
    inception_words,
    network_words,
    projection_figure,
    quality_figure,
    roc_figures,
    training_figures,
)
from syntrial.analysis.forest import GROUPS
from syntrial.analysis.galleries import REASONS, Gallery
from syntrial.analysis.metrics import METRICS
from syntrial.analysis.reading import Json
from syntrial.analysis.searches import search_figure, search_tables
from syntrial.counting import counted

TEMPLATES = Path(__file__).parent / "templates"

SPLIT_ORDER = ("train", "validation", "test")
"""Rows of the table of splits."""

PLAIN_WORDS = {
    "improves": "The synthetic images helped: classifiers trained with them did better on real test images.",
    "harms": "The synthetic images harmed: classifiers trained with them did worse on real test images.",
    "equivalent": "The synthetic images made no difference that matters on real test images.",
    "inconclusive": "This trial cannot tell whether the synthetic images help or harm on real test images.",
}
"""Each outcome for a reader who knows no statistics."""

SMALL_WORDS = {
    "improves": "The synthetic images helped, by less than what matters: classifiers trained with them did slightly "
    "better on real test images.",
    "harms": "The synthetic images harmed, by less than what matters: classifiers trained with them did slightly worse "
    "on real test images.",
}
"""The same where the whole interval lies inside the margin."""

OTHER_WORDS = {
    "improves": "{arm} did {little}better than {control} on real test images{small}.",
    "harms": "{arm} did {little}worse than {control} on real test images{small}.",
    "equivalent": "{arm} and {control} did equally well on real test images, but for what does not matter.",
    "inconclusive": "This trial cannot tell whether {arm} does better or worse than {control} on real test images.",
}
"""The same of a comparison that is not one of synthetic images with none."""

ROLE_ORDER = ("reference", "primary", "exploratory", "control")
"""Rows of the table of arms."""

SECTIONS = (
    ("qualifies", "What qualifies it"),
    ("effects", "Effects"),
    ("arms", "Arms"),
    ("images", "Images"),
    ("synthetic", "Synthetic sets"),
    ("searches", "Searches"),
    ("data", "Data"),
    ("training", "Training"),
    ("provenance", "Provenance"),
    ("experiment", "Experiment"),
)
"""Anchors and names of the sections, in the page's order."""


def render_page(
    report: Json,
    *,
    galleries: list[Gallery],
    rejected: list[Gallery],
    copies: Gallery | None,
    leaks: Gallery | None,
    snapshots: Mapping[str, Gallery],
    findings: Gallery | None = None,
    reconstructions: Gallery | None = None,
) -> tuple[str, list[Json]]:
    """The HTML page, and its figures as `report.json` lists them: {id, title, keys}."""
    forest = forest_figure(report)
    roc, training, generators = roc_figures(report), training_figures(report), generator_figure(report)
    quality, projection, search = quality_figure(report), projection_figure(report), search_figure(report)
    absent = {
        "images": not (galleries or rejected or copies or reconstructions),
        "synthetic": not report["synthetic"],
        "searches": search is None,
    }
    page = (
        _environment()
        .get_template("page.html")
        .render(
            report=report,
            dataset_words=dataset_words(report),
            test_words=test_words(report),
            qualified_words=qualified_words(report),
            sections=[section for section in SECTIONS if not absent.get(section[0])],
            roles=GROUPS,
            arms=sorted(report["arms"], key=lambda arm: ROLE_ORDER.index(arm["role"])),
            metrics=METRICS.values(),
            forest=forest,
            roc=roc,
            training=training,
            generators=generators,
            quality=quality,
            projection=projection,
            search=search,
            snapshots=snapshots,
            searches=search_tables(report),
            galleries=galleries,
            rejected=rejected,
            copies=copies,
            reconstructions=reconstructions,
            leak_pictures=leaks,
            finding_pictures=findings,
            findings=audit_findings(report),
            plain_words=plain_words(report),
            splits=[name for name in SPLIT_ORDER if name in report["dataset"]["splits"]],
            leaks=[leak for leak in report["dataset"]["leaks"] if leak["count"]],
            places=places(report),
            sets=[synthetic_row(synthetic) for synthetic in report["synthetic"]],
            network=network_words(report),
            inception=inception_words(report),
        )
    )
    optional = [copies, reconstructions, quality, projection, search, generators, leaks, findings]
    drawn: list[Figure | Gallery] = [forest, *roc, *galleries, *rejected]
    drawn += [found for found in optional if found is not None]
    drawn += [*snapshots.values(), *training]
    return page, [{"id": figure.id, "title": figure.title, "keys": list(figure.keys)} for figure in drawn]


def plain_words(report: Json) -> str:
    """The outcome for a reader who knows no statistics."""
    verdict = report["verdict"]
    small = verdict["by_less_than_margin"]
    arms = {arm["cell"]: arm for arm in report["arms"]}
    arm, control = arms[verdict["arm"]], arms[verdict["control"]]
    if arm["synthetic"] and not control["synthetic"] and arm["classifier"] == control["classifier"]:
        return (SMALL_WORDS if small else PLAIN_WORDS)[verdict["outcome"]]
    words = OTHER_WORDS[verdict["outcome"]].format(
        arm=verdict["arm_label"],
        control=verdict["control_label"],
        little="slightly " if small else "",
        small=", by less than what matters" if small else "",
    )
    return f"{words[0].upper()}{words[1:]}"


def audit_findings(report: Json) -> list[Json]:
    """The findings of all audits, each with the set it is of: warnings and stops one by one, then probes."""
    audits = [("the data set", report["dataset"])]
    audits += [(synthetic["name"], synthetic["audit"]) for synthetic in report["synthetic"] if synthetic["audit"]]
    found = [{"set": name, **finding} for name, audit in audits for finding in audit.get("findings", [])]
    order = {"stop": 0, "warn": 1, "pass": 2}
    return sorted(found, key=lambda finding: order[finding["grade"]])


def dataset_words(report: Json) -> str:
    """The data set in a few words: where the images are from and what the classes are."""
    classes = report["classes"]
    kind = "labels" if report["task"] == "multi-label" else "classes"
    named = ", ".join(classes) if len(classes) <= 3 else f"{len(classes)} {kind}"
    return f"{report['dataset']['source']}: {named}"


def test_words(report: Json) -> str:
    """How many images and patients the verdict rests on."""
    test = report["test"]
    if report["dataset"]["splits"]["test"]["patients_known"]:
        return f"{counted(test['images'], 'test image')} of {counted(test['patients'], 'patient')}"
    return f"{counted(test['images'], 'test image')}, patients not named"


def qualified_words(report: Json) -> str:
    """How many qualifications there are, the serious ones first."""
    serious = sum(qualification["severity"] == "serious" for qualification in report["qualifications"])
    notes = len(report["qualifications"]) - serious
    kinds = [counted(serious, "serious qualification")] if serious else []
    kinds += [counted(notes, "note")] if notes else []
    return f"Read with {' and '.join(kinds)}"


def places(report: Json) -> dict[str, str]:
    """A letter for each machine and software that steps were made on, by its description, in order of first use."""
    described = dict.fromkeys(place_words(source["provenance"]) for source in report["provenance"])
    return {words: chr(ord("A") + index) if index < 26 else str(index) for index, words in enumerate(described)}


def place_words(provenance: Json) -> str:
    """A manifest's provenance in one line."""
    return (
        ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in sorted(provenance.items())) or "not recorded"
    )


def synthetic_row(synthetic: Json) -> Json:
    """A set's row of the table: counts summed over generator replicates, quality of the first."""
    reasons: dict[str, int] = {}
    for decisions in synthetic["decisions"]:
        for reason, count in sorted(decisions["rejected"].items()):
            reasons[reason] = reasons.get(reason, 0) + count
    quality = synthetic["quality"][0] if synthetic["quality"] else None
    frechet = (quality and quality["frechet"]) or {}
    manifold = (quality and quality["precision_recall"]) or {}
    diversities = {name: one for name, one in ((quality or {}).get("diversity_by_class") or {}).items() if one}
    least = min(diversities, key=lambda name: diversities[name]["ratio"], default=None)
    return {
        "name": synthetic["name"],
        "method": synthetic["method"],
        "control": synthetic["control"],
        "proven_lineage": synthetic["proven_lineage"],
        "keys": synthetic["keys"],
        "candidates": sum(decisions["candidates"] for decisions in synthetic["decisions"]),
        "rounds": max(synthetic["rounds"], default=0),
        "accepted": sum(decisions["accepted"] for decisions in synthetic["decisions"]),
        "shares": _shares(synthetic),
        "rejected": sum(reasons.values()),
        "reasons": {REASONS.get(reason, reason): count for reason, count in reasons.items() if count},
        "repeated": sum(decisions["repeated"] for decisions in synthetic["decisions"]),
        "quality": quality
        and {
            "frechet": frechet.get("synthetic_real"),
            "ratio": frechet.get("ratio_to_floor"),
            "precision": manifold.get("precision"),
            "recall": manifold.get("recall"),
            "diversity": None if least is None else {"class": least, **diversities[least]},
            "told_apart": quality.get("told_apart"),
            "inception": quality.get("inception"),
            "memorised": sum(found["memorised"]["count"] for found in synthetic["quality"]),
        },
    }


def _shares(synthetic: Json) -> dict[str, float]:
    """The share of each class's candidates that passed, whether or not its quota had room."""
    candidates: Counter[str] = Counter()
    passed: Counter[str] = Counter()
    for row in (row for decisions in synthetic["decisions"] for row in decisions["by_class"]):
        candidates[row["class"]] += row["candidates"]
        passed[row["class"]] += row["accepted"] + row["rejected"].get("surplus", 0)
    return {name: passed[name] / count for name, count in candidates.items() if count}


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        # Class names, paths and the experiment are the user's text: escaped everywhere, markup is made by `charts`.
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        signed=signed,
        metric=_metric,
        plain=number,
        place=place_words,
        whole=_whole,
        percent=lambda share: f"{100 * share:.1f}%",
        p=_p_value,
        interval=_interval,
        degrees=lambda degrees: "∞" if degrees is None else f"{degrees:.1f}" if degrees < 1000 else "> 1000",
        significant=lambda value: "–" if value is None else f"{value:.3g}",
    )
    return environment


def _metric(value: float | None, digits: int = 4) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _interval(ends: list[float] | None) -> str:
    return "–" if ends is None else f"{signed(ends[0])} to {signed(ends[1])}"


def _whole(value: Any) -> str:
    return f"{value:,.0f}".replace(",", "\u202f")


def _p_value(value: float | None) -> str:
    if value is None:
        return "–"
    return "< .0001" if value < 0.0001 else f"{value:.4f}".lstrip("0") if value < 1 else "1"

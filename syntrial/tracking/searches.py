"""Searches of a trial: what they chose, and what was which trial. Pure; part of the projection."""

from collections.abc import Iterator
from typing import Final

from syntrial.documents.search import Decision
from syntrial.tracking.material import Material, referred
from syntrial.tracking.runs import Point, points

JUDGE: Final = "judge "
"""What labels of the steps begin with that judge trials of a search for a generator."""


def best(material: Material) -> dict[str, str]:
    """What each search chose, in words, by what was searched."""
    found = {}
    for key, decision in choices(material):
        if decision.best is not None:
            one = decision.trials[decision.best]
            words = ", ".join(f"{name} {value}" for name, value in one.parameters.items()) or one.title
            if one.part is not None:
                words += f", at moment {one.part + 1} of {len(one.figures)}"
            found[searched(material, key)] = f"trial {one.number}: {words}"
    return found


def choices(material: Material) -> Iterator[tuple[str, Decision]]:
    """The steps in which searches chose, with what."""
    return ((key, found) for key, found in material.decisions.items() if found.kind == "choose")


def searched(material: Material, key: str) -> str:
    """What was searched: a set's generator, by the set's name, or `classifier NAME`."""
    return material.record.about[key].removeprefix("the best trial of ")


def judged(material: Material) -> dict[str, list[Point]]:
    """What judged each generator of a search's trial, on validation or by distance; by the generator's key."""
    found: dict[str, list[Point]] = {}
    for key, label in material.record.labels.items():
        if not label.startswith(JUDGE) or key not in material.record.manifests:
            continue
        generator = _generator_judged_by(material, key)
        if generator is None:
            continue
        if key in material.validations:
            figures = material.validations[key].items()
            found[generator] = points({f"judged/{name}": value for name, value in figures})
        elif (quality := material.qualities.get(key)) is not None and quality.frechet is not None:
            found[generator] = points({"judged/frechet": quality.frechet.synthetic_real})
    return found


def _generator_judged_by(material: Material, judge: str) -> str | None:
    manifests = material.record.manifests
    manifest = manifests.get(judge)
    if manifest is None:
        return None
    drawn = manifests.get(referred(manifest.request, "synthetic") or referred(manifest.request, "images") or "")
    return referred(drawn.request, "generator") if drawn is not None else None


def tried(material: Material) -> dict[str, tuple[str, Decision, int, int]]:
    """Of what was trained in trials: the search, what it chose, the trial's number, which part of it this is.

    Of a trial of a classifier each training judges itself, and the part's figure is the mean of all its replicates.
    """
    found: dict[str, tuple[str, Decision, int, int]] = {}
    for key, decision in choices(material):
        told = material.record.manifests[key].request.get("trials", ())
        for trial, figures in zip(told, decision.trials, strict=True):
            replicates = int(trial.get("replicates", 0))
            for place, judge in enumerate(trial.get("judged", ())):
                trained = judge["key"] if replicates else _generator_judged_by(material, judge["key"])
                if trained is not None:
                    part = place // max(replicates, 1)
                    found.setdefault(trained, (searched(material, key), decision, figures.number, part))
    return found


def kind_of(material: Material, key: str) -> str:
    """What the search that chose in this step trained."""
    told = material.record.manifests[key].request.get("trials", ())
    return "classifier" if any(trial.get("replicates") for trial in told) else "generator"


def state_of(decision: Decision, number: int, part: int) -> str:
    """What became of a part of a trial of a search."""
    trial = decision.trials[number]
    if number == decision.best and trial.part in (None, part):
        return "chosen"
    return "stopped early" if trial.pruned else "ended"

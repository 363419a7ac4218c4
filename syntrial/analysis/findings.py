"""From what was read to `report.json`: the numbers of a trial and the keys of the artifacts that they came from.

What belongs here: comparisons, arms, curves and the tree that holds them; pure, no store and no clock. The schema:

    schema                 2
    title, task, classes   as the data set has them
    endpoint               metric, metric_name, smallest_effect
    test                   images, patients
    verdict                the primary comparison (as in `comparisons`) with `speaks_of`: "these images" | "this method"
                           | "these classifiers" (where neither side has synthetic images)
    qualifications         [{kind, severity: "serious" | "note", words, keys}], the weightiest first
    comparisons            [{arm, control (names of cells), arm_label, control_label, role, shuffled_labels (whether
                           the synthetic ones were), estimate, standard_error,
                           interval_95, p_value, p_value_holm (exploratory), hillis_degrees_of_freedom, hillis_p_value,
                           arm_mean, control_mean, replicates, generators, outcome, outcome_unadjusted,
                           by_less_than_margin, undecided, detectable_effect, words, notes, keys}]; what does not exist
                           is null: an interval without standard error, a p-value where nothing may be decided
    baseline               the primary arm against the same arm on the baseline's images, as in `comparisons`, or null
    random_selection       the same against images selected at random instead of by the filters, or null
    arms                   [{cell, label, arm, synthetic, classifier, role, generators, replicates (of each generator),
                           metrics: {name: {mean, interval_95 or null, per_replicate}}, recall: {class: mean or null},
                           optimiser_steps, images_seen: {origin: n}, synthetic_missing, undertrained (trainings),
                           keys}]
    roc                    {false_positive_rate, curves: [{cell, class (null: macro), mean, low, high, keys}]}
    training_curves        [{cell, x_unit, x, series: {name: {mean, low, high}}, keys}]
    dataset                the audit as the data preparation wrote it, with keys
    synthetic              [{name, method, proven_lineage, control, decisions, rounds, quality, audit, curves, keys,
                           reconstructions (by its autoencoders; left out where it has none),
                           projection (images in two dimensions: x, y, kind, group, with what they mean; left out where
                           nobody asked), search (what the search for its generator tried and chose, as the generation
                           stage wrote it, with `images_shown` at each snapshot of the trial that it chose, where it
                           chose among such; left out where there was none),
                           unlabelled (its pools: [{audit, weight, keys}]; left out where it has none)}]
    pretraining            [{classifier, audit, keys}] of the data sets of chains; left out where there is none
    classifiers            [{name, replicates (trainings of each trial), search (as that of a set)}] of those that were
                           searched; left out where there is none
    looks                  [{number, evaluations, changed}]
    figures                [{id, title, keys}]
    provenance             [{key, method, stage_version, artifact_digest, provenance}]
    experiment             the experiment as planned, YAML

Numbers are in the metric's units (1 is 100%). Nothing in it is a time.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from syntrial.analysis.accuracy import per_class_recall
from syntrial.analysis.metrics import METRICS
from syntrial.analysis.reading import (
    CellData,
    Json,
    Keyed,
    Pictures,
    ProjectionData,
    SnapshotData,
    SyntheticData,
    TrialData,
    cell_labels,
)
from syntrial.analysis.roc import GRID, mean_roc
from syntrial.analysis.statistics import Comparison, compare, compare_methods, estimate_arm
from syntrial.analysis.verdict import holm, verdict
from syntrial.documents.document import as_json
from syntrial.errors import listed
from syntrial.experiment.base import word_of
from syntrial.v1.analysis_pb2 import CellComparison, Endpoint

SCHEMA = 2

ROLES: dict[int, str] = {
    CellComparison.ROLE_PRIMARY: "primary",
    CellComparison.ROLE_EXPLORATORY: "exploratory",
    CellComparison.ROLE_CONTROL: "control",
}
"""The role of a comparison by its proto value."""

METHOD_GENERATORS = 3
"""From this number of generator replicates on, a comparison speaks of the method."""

BASELINE_METHOD = "pca"
"""The generator that every other must beat."""

Progress = Callable[[int, int], None]


def _silent(done: int, total: int) -> None:
    """Reports nothing."""
    del done, total


def trial_findings(data: TrialData, *, progress: Progress = _silent) -> Json:
    """The tree of `report.json` without `qualifications` and `figures`, which are made from it.

    Raises ValueError where there is not exactly one primary comparison, UserError for scores that cannot be judged.
    """
    total = len(data.request.comparisons) + len(data.cells) + 1
    compared = []
    for done, comparison in enumerate(data.request.comparisons):
        compared.append(_compare(data, arm=comparison.arm, control=comparison.control))
        progress(done + 1, total)
    adjusted = _adjusted(compared, roles=[ROLES[comparison.role] for comparison in data.request.comparisons])
    comparisons = [
        _comparison(data, pair, planned=comparison, adjusted_p=p_value)
        for comparison, pair, p_value in zip(data.request.comparisons, compared, adjusted, strict=True)
    ]
    primaries = [found for found in comparisons if found["role"] == "primary"]
    if len(primaries) != 1:
        raise ValueError(f"a trial has one primary comparison, this one has {len(primaries)}")
    arms = []
    for done, cell in enumerate(data.cells.values()):
        arms.append(_arm(data, cell, comparisons=comparisons))
        progress(len(comparisons) + done + 1, total)
    primary = primaries[0]
    return {
        "schema": SCHEMA,
        "title": data.request.title,
        "task": data.task,
        "classes": list(data.classes),
        "endpoint": {
            "metric": metric_of(data),
            "metric_name": METRICS[metric_of(data)].words,
            "smallest_effect": data.request.endpoint.smallest_effect,
        },
        "test": {"images": len(data.labels), "patients": len(np.unique(data.patients_N))},
        "verdict": {**primary, "speaks_of": _scope(data, primary=primary)},
        "comparisons": comparisons,
        "baseline": _against(data, baseline_cell(data, primary=primary), primary=primary),
        "random_selection": _against(data, random_cell(data, primary=primary), primary=primary),
        "arms": arms,
        "roc": _roc(data, primary=primary),
        "training_curves": [_training_curves(cell) for cell in data.cells.values()],
        "dataset": {**as_json(data.audit.value), "keys": [data.audit.key]},
        "synthetic": [_synthetic(synthetic) for synthetic in data.synthetic],
        **_pretraining(data),
        **_searched(data),
        "looks": [
            {"number": look.number, "evaluations": look.evaluations, "changed": list(look.changed)}
            for look in data.request.looks
        ],
        "provenance": [
            {
                "key": source.key,
                "method": source.method,
                "stage_version": source.stage_version,
                "artifact_digest": source.artifact_digest,
                "provenance": source.provenance,
            }
            for source in data.sources
        ],
        "experiment": data.request.experiment,
    }


def metric_of(data: TrialData) -> str:
    """The name of the endpoint's metric."""
    return word_of(Endpoint.Metric.DESCRIPTOR, data.request.endpoint.metric)


def pair(arm: CellData, *, control: CellData) -> tuple[list[NDArray[np.float64]], NDArray[np.float64], list[str]]:
    """The arm's scores (J, N, K) for each generator, and the control's (J, N, K), on the seeds that all have.

    The control's generators, where it has any, are paired one by one with the arm's when it is trained on synthetic
    images too; such a comparison uses the first generator of each. Returns the keys used as the third. Raises
    ValueError where no seed is shared.
    """
    by_generator: dict[int, dict[int, Any]] = {}
    for replicate in arm.replicates:
        by_generator.setdefault(replicate.generator, {})[replicate.seed] = replicate
    generators = sorted(by_generator)
    control_first = min(replicate.generator for replicate in control.replicates)
    control_seeds = {r.seed: r for r in control.replicates if r.generator == control_first}
    both_synthetic = bool(arm.synthetic and control.synthetic)
    if len(generators) < METHOD_GENERATORS or both_synthetic:
        generators = generators[:1]
    shared = sorted(set(control_seeds).intersection(*(by_generator[generator] for generator in generators)))
    if not shared:
        raise ValueError(f"cells {arm.name!r} and {control.name!r} share no seed, so nothing can be paired")
    used = [by_generator[generator][seed] for generator in generators for seed in shared]
    used += [control_seeds[seed] for seed in shared]
    arm_scores = [np.stack([by_generator[generator][seed].scores_NK for seed in shared]) for generator in generators]
    control_scores = np.stack([control_seeds[seed].scores_NK for seed in shared])
    return arm_scores, control_scores, list(dict.fromkeys(replicate.predictions_key for replicate in used))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Compared:
    """Two cells and what the statistics say of them, before a verdict."""

    arm: CellData
    control: CellData
    found: Comparison
    generators: int
    """Generators of the arm that were compared."""
    keys: list[str]


def scores_by_generator(cell: CellData) -> NDArray[np.float64]:
    """A cell's scores (G, J, N, K): for each generator, those of the seeds that all have.

    Raises ValueError where no seed is shared.
    """
    found: dict[int, dict[int, NDArray[np.float64]]] = {}
    for replicate in cell.replicates:
        found.setdefault(replicate.generator, {})[replicate.seed] = replicate.scores_NK
    shared = sorted(set.intersection(*(set(seeds) for seeds in found.values())))
    if not shared:
        raise ValueError(f"the generators of cell {cell.name!r} share no seed")
    return np.stack([np.stack([seeds[seed] for seed in shared]) for _, seeds in sorted(found.items())])


def _compare(data: TrialData, *, arm: str, control: str) -> _Compared:
    arm_cell, control_cell = data.cells[arm], data.cells[control]
    arm_scores, control_scores, keys = pair(arm_cell, control=control_cell)
    found: Comparison
    if len(arm_scores) >= METHOD_GENERATORS:
        found = compare_methods(
            data.labels,
            arm_scores=arm_scores,
            control_scores=control_scores,
            clusters=data.patients_N,
            metric=metric_of(data),
        )
    else:
        found = compare(
            data.labels,
            arm_scores=arm_scores[0],
            control_scores=control_scores,
            clusters=data.patients_N,
            metric=metric_of(data),
        )
    return _Compared(arm=arm_cell, control=control_cell, found=found, generators=len(arm_scores), keys=keys)


def _adjusted(compared: Sequence[_Compared], *, roles: Sequence[str]) -> list[float | None]:
    """Holm's adjusted p-values over the exploratory comparisons; None for others and where nothing may be decided.

    The family is what was planned: a comparison without a p-value counts in it, as one that can find nothing.
    """
    family = [pair.found.p_value for pair, role in zip(compared, roles, strict=True) if role == "exploratory"]
    stepped = iter(holm([1.0 if p_value is None else p_value for p_value in family]))
    adjusted = [next(stepped) if role == "exploratory" else None for role in roles]
    return [p if pair.found.p_value is not None else None for p, pair in zip(adjusted, compared, strict=True)]


def _comparison(
    data: TrialData, compared: _Compared, *, planned: CellComparison, adjusted_p: float | None = None
) -> Json:
    found, arm, control = compared.found, compared.arm.name, compared.control.name
    labels = cell_labels(data.cells.values())
    margin = data.request.endpoint.smallest_effect
    unadjusted = verdict(found, margin=margin, arm=labels[arm], control=labels[control])
    judged = verdict(found, margin=margin, adjusted_p=adjusted_p, arm=labels[arm], control=labels[control])
    notes = list(found.notes)
    if found.excluded_classes:
        names = listed([f"'{data.classes[k]}'" for k in found.excluded_classes], last="and")
        notes.append(f"no part of the metric, for want of test patients: {names}")
    trained = len({replicate.generator for replicate in compared.arm.replicates})
    if trained >= METHOD_GENERATORS and compared.control.synthetic and planned.role != CellComparison.ROLE_CONTROL:
        notes.append("where both sides have synthetic images, those of the first generator of each are compared")
    elif trained > compared.generators:
        notes.append(f"of {trained} generator replicates the first is compared: the method needs {METHOD_GENERATORS}")
    return {
        "arm": arm,
        "control": control,
        "arm_label": labels[arm],
        "control_label": labels[control],
        "role": ROLES[planned.role],
        "shuffled_labels": planned.shuffled_labels,
        "estimate": found.estimate,
        "standard_error": found.standard_error,
        "interval_95": found.interval_95 and list(found.interval_95),
        "p_value": found.p_value,
        "p_value_holm": adjusted_p,
        "hillis_degrees_of_freedom": found.hillis_degrees_of_freedom,
        "hillis_p_value": found.hillis_p_value,
        "arm_mean": found.arm_mean,
        "control_mean": found.control_mean,
        "replicates": found.replicates,
        "generators": found.generators,
        "outcome": judged.outcome,
        "outcome_unadjusted": unadjusted.outcome,
        "by_less_than_margin": judged.by_less_than_margin,
        "undecided": judged.undecided,
        "detectable_effect": judged.detectable_effect,
        "words": judged.words,
        "notes": notes,
        "keys": compared.keys,
    }


def _scope(data: TrialData, *, primary: Json) -> str:
    """What the verdict speaks of: its `speaks_of`."""
    if not any(data.cells[primary[side]].synthetic for side in ("arm", "control")):
        return "these classifiers"
    return "this method" if primary["generators"] else "these images"


def baseline_cell(data: TrialData, *, primary: Json) -> CellData | None:
    """The cell with the primary's arm and classifier on the baseline's images (`pca`), or None."""
    return _twin(data, primary=primary, among=[s for s in data.synthetic if s.method == BASELINE_METHOD and s.quality])


def random_cell(data: TrialData, *, primary: Json) -> CellData | None:
    """The cell with the primary's arm and classifier on randomly selected images of its own generator, or None.

    Such a set is the control of the filters; it is not assessed, since its images are those of the filtered set.
    """
    return _twin(data, primary=primary, among=[s for s in data.synthetic if s.control and not s.quality])


def _twin(data: TrialData, *, primary: Json, among: Sequence[SyntheticData]) -> CellData | None:
    arm, control = data.cells[primary["arm"]], data.cells[primary["control"]]
    names = {synthetic.name for synthetic in among} - {arm.synthetic}
    # With the same images on both sides the comparison says nothing of them.
    if not arm.synthetic or arm.synthetic == control.synthetic:
        return None
    for cell in data.cells.values():
        if cell.synthetic in names and (cell.arm, cell.classifier) == (arm.arm, arm.classifier):
            return cell
    return None


def _against(data: TrialData, cell: CellData | None, *, primary: Json) -> Json | None:
    if cell is None:
        return None
    compared = _compare(data, arm=primary["arm"], control=cell.name)
    return _comparison(data, compared, planned=CellComparison(role=CellComparison.ROLE_CONTROL))


def _arm(data: TrialData, cell: CellData, *, comparisons: list[Json]) -> Json:
    scores_GJNK = scores_by_generator(cell)
    metrics = {}
    for metric in METRICS:
        found = estimate_arm(data.labels, scores=scores_GJNK, clusters=data.patients_N, metric=metric)
        metrics[metric] = {
            "mean": found.mean,
            "interval_95": found.interval_95 and list(found.interval_95),
            "per_replicate": list(found.per_replicate),
        }
    recall_JK = np.stack([per_class_recall(data.labels, scores=scores_NK) for scores_NK in cell.scores_JNK])
    seen: dict[str, int] = {}
    phases = cell.replicates[0].training.phases
    for phase in phases:
        for origin, count in phase.images_seen.items():
            seen[origin] = seen.get(origin, 0) + count
    return {
        "cell": cell.name,
        "label": cell_labels(data.cells.values())[cell.name],
        "arm": cell.arm,
        "synthetic": cell.synthetic,
        "classifier": cell.classifier,
        "role": _role(cell.name, comparisons=comparisons),
        "generators": scores_GJNK.shape[0],
        "replicates": scores_GJNK.shape[1],
        "metrics": metrics,
        "recall": {
            name: _finite(float(value)) for name, value in zip(data.classes, recall_JK.mean(axis=0), strict=True)
        },
        "optimiser_steps": sum(phase.steps for phase in phases),
        "images_seen": dict(sorted(seen.items())),
        "synthetic_missing": sum(phase.synthetic_missing for phase in phases),
        "undertrained": sum(replicate.training.undertrained for replicate in cell.replicates),
        "keys": cell.keys + cell.training_keys,
    }


def _role(cell: str, *, comparisons: list[Json]) -> str:
    """A cell's role: its comparison's, or "reference" where others are compared with it."""
    roles = [found["role"] for found in comparisons if found["arm"] == cell]
    return next((role for role in ("primary", "exploratory", "control") if role in roles), "reference")


def _roc(data: TrialData, *, primary: Json) -> Json:
    """Macro curves of all cells; for more than two classes, those of each class for the primary pair."""
    per_class = data.task == "multi-label" or len(data.classes) > 2
    wanted: list[tuple[CellData, int | None]] = [(cell, None) for cell in data.cells.values()]
    if per_class:
        pair_cells = (data.cells[primary["control"]], data.cells[primary["arm"]])
        wanted += [(cell, k) for k in range(len(data.classes)) for cell in pair_cells]
    curves = []
    for cell, class_index in wanted:
        curve = mean_roc(data.labels, scores_JNK=cell.scores_JNK, class_index=class_index)
        if curve is not None:
            curves.append(
                {
                    "cell": cell.name,
                    "class": None if class_index is None else data.classes[class_index],
                    "mean": _rounded(curve.mean),
                    "low": _rounded(curve.low),
                    "high": _rounded(curve.high),
                    "keys": cell.keys,
                }
            )
    return {"false_positive_rate": _rounded(GRID), "curves": curves}


def _training_curves(cell: CellData) -> Json:
    """Mean and range over replicates of each series, at the points that all replicates have."""
    curves = [replicate.training.curves for replicate in cell.replicates]
    shared = sorted(set(curves[0].x).intersection(*(curve.x for curve in curves[1:])))
    series = {}
    for name in sorted(curves[0].series):
        values_JX = np.asarray(
            [[_number(curve.series[name][curve.x.index(x)]) for x in shared] for curve in curves],
            dtype=np.float64,
        ).reshape(len(curves), len(shared))
        series[name] = {
            "mean": _rounded(values_JX.mean(axis=0)),
            "low": _rounded(values_JX.min(axis=0)),
            "high": _rounded(values_JX.max(axis=0)),
        }
    return {"cell": cell.name, "x_unit": curves[0].x_unit, "x": shared, "series": series, "keys": cell.training_keys}


def _pretraining(data: TrialData) -> Json:
    links = [
        {"classifier": found.classifier, "audit": as_json(found.audit.value), "keys": [found.audit.key]}
        for found in data.pretraining
    ]
    return {"pretraining": links} if links else {}


def _searched(data: TrialData) -> Json:
    found = [
        {"name": one.classifier, "replicates": one.replicates, "search": _search(one.search)} for one in data.searched
    ]
    return {"classifiers": found} if found else {}


def _search(found: Keyed[Any], snapshots: Sequence[SnapshotData] = ()) -> Json:
    shown = [one.images_shown for one in snapshots]
    return as_json(found.value) | {"keys": [found.key]} | ({"images_shown": shown} if shown else {})


def _synthetic(synthetic: SyntheticData) -> Json:
    keyed: tuple[Keyed[Any] | Pictures, ...] = (
        *synthetic.accepted,
        *synthetic.decisions,
        *synthetic.quality,
        *synthetic.curves,
        *synthetic.reconstructions,
    )
    pools = [
        {"audit": as_json(pool.audit.value), "weight": pool.weight, "keys": [pool.audit.key]}
        for pool in synthetic.pools
    ]
    through = [as_json(found.value) for found in synthetic.reconstructions]
    return {
        "name": synthetic.name,
        "method": synthetic.method,
        "proven_lineage": synthetic.proven_lineage,
        "control": synthetic.control,
        "decisions": [as_json(found.value) for found in synthetic.decisions],
        "rounds": list(synthetic.rounds),
        "quality": [as_json(found.value) for found in synthetic.quality],
        "audit": as_json(synthetic.audit.value) if synthetic.audit else None,
        "curves": [as_json(found.value) for found in synthetic.curves],
        **({"reconstructions": through} if through else {}),
        **({"unlabelled": pools} if pools else {}),
        **({"search": _search(synthetic.search, synthetic.snapshots)} if synthetic.search else {}),
        **({"projection": _projection(synthetic.projection)} if synthetic.projection else {}),
        "keys": list(dict.fromkeys(found.key for found in keyed)) + ([synthetic.audit.key] if synthetic.audit else []),
    }


def _projection(data: ProjectionData) -> Json:
    # Three digits are more than a picture shows.
    return {
        **as_json(data.found.value),
        "x": [round(float(value), 3) for value in data.coordinates_N2[:, 0]],
        "y": [round(float(value), 3) for value in data.coordinates_N2[:, 1]],
        "kind": data.kinds_N.tolist(),
        "group": data.groups_N.tolist(),
        "keys": [data.found.key],
    }


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _rounded(values: Iterable[float]) -> list[float | None]:
    """Six digits: more than a drawing shows, and what keeps the file small."""
    return [_finite(round(float(value), 6)) for value in values]

"""A trial's material as runs. Pure: the same material gives the same runs, parents before their children.

The trial is one run. Under it stand its generators, those of searches' trials among them, its synthetic sets, and its
cells; under a cell its classifiers, a run for each replicate. What is trained has its curves; a figure has its interval
beside it, as NAME_low and NAME_high.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from syntrial import __version__
from syntrial.artifacts.keys import canonical_digest
from syntrial.documents.search import Decision
from syntrial.documents.training import Curves
from syntrial.tracking.material import Material, referred
from syntrial.tracking.runs import TRIAL, File, Point, Run, points
from syntrial.tracking.searches import JUDGE, best, choices, judged, kind_of, searched, state_of, tried
from syntrial.tracking.settings import allowed_name, settings_of_experiment, settings_of_step
from syntrial.v1.artifacts_pb2 import MemberRef

NOTE: Final = "mlflow.note.content"
"""The tag that MLflow shows as a run's description."""

_LONGEST_TAG: Final = 5000
_GENERATOR: Final = "TrainGenerator"
_SAMPLE: Final = "SampleImages"
_CLASSIFIER: Final = "TrainClassifier"
_ASSESS: Final = "AssessImages"


def project(material: Material) -> tuple[Run, ...]:
    """The runs of a trial as far as it is."""
    cells = _cells(material)
    return (
        _trial(material),
        *cells,
        *_trained(material),
        *_failed(material),
        *_sets(material),
        *_classifiers(material),
    )


# The trial


def _trial(material: Material) -> Run:
    record, report = material.record, material.report
    tags = {
        "syntrial.steps": f"{len(record.manifests)} of {len(record.labels)} done",
        **{f"syntrial.best.{allowed_name(name)}": words for name, words in best(material).items()},
    }
    if report is None:
        return _run(material, id=TRIAL, parent=None, name=material.name, kind=TRIAL, tags=tags, state=_state(material))
    assert record.report is not None
    verdict = report["verdict"]
    files = {
        name: File(ref=MemberRef(key=record.report, member="report"), blob=name)
        for name in ("report.html", "report.json")
    }
    metrics = [
        *_with_interval("effect", verdict["estimate"], verdict["interval_95"]),
        *points({name: verdict[name] for name in ("p_value", "detectable_effect", "arm_mean", "control_mean")}),
        *points({f"test_{name}": count for name, count in report["test"].items()}),
    ]
    tags |= {
        "syntrial.outcome": verdict["outcome"],
        "syntrial.compared": f"{verdict['arm_label']} against {verdict['control_label']}",
        "syntrial.speaks_of": verdict["speaks_of"],
        NOTE: _note(report, chosen=best(material)),
    }
    return _run(
        material,
        id=TRIAL,
        parent=None,
        name=material.name,
        kind=TRIAL,
        key=record.report,
        params=settings_of_experiment(report["experiment"]),
        metrics=metrics,
        tags=tags,
        files=files,
    )


def _state(material: Material) -> Any:
    return "FAILED" if material.is_stuck else "RUNNING"


def _note(report: Mapping[str, Any], *, chosen: Mapping[str, str]) -> str:
    """The verdict, with what searches chose and what qualifies it, as Markdown."""
    verdict = report["verdict"]
    lines = [f"**{verdict['outcome'].upper()}** {verdict['words']}", ""]
    lines += [f"- The search for `{name}` chose {words}." for name, words in chosen.items()]
    lines += [f"- {found['words']}" for found in report["qualifications"]]
    return "\n".join([*lines, "", "The whole report is under Artifacts: `report.html`."])


# What is trained


def _trained(material: Material) -> Iterator[Run]:
    """A run for each training with curves of its own: generators, autoencoders, classifiers of latents."""
    of_judges, of_trials = judged(material), tried(material)
    for key, curves in material.curves.items():
        manifest = material.record.manifests[key]
        is_generator = manifest.method.endswith(f"/{_GENERATOR}")
        params = settings_of_step(manifest)
        tags: dict[str, str] = {}
        metrics = [*_curves(curves), *of_judges.get(key, ())]
        if (found := of_trials.get(key)) is not None:
            _add_trial(found, params=params, tags=tags, metrics=metrics)
        files = {}
        if is_generator and (images := _samples(material, key)) is not None:
            files["samples.png"] = File(ref=images, blob=None)
        kind = "generator" if is_generator else _kind_of(manifest.method)
        yield _run(
            material,
            id=key,
            name=material.record.labels[key],
            kind=kind,
            key=key,
            params=params,
            metrics=metrics,
            tags=tags,
            files=files,
        )


def _add_trial(
    found: tuple[str, Decision, int, int],
    *,
    params: dict[str, str],
    tags: dict[str, str],
    metrics: list[Point],
) -> None:
    """Adds what a trial of a search has beside what any training has."""
    name, decision, number, part = found
    params |= {"search": name, "trial": str(number)}
    tags["syntrial.trial_state"] = state_of(decision, number, part)
    figures = decision.trials[number].figures
    metrics += points({"objective": figures[part] if part < len(figures) else None})


def _kind_of(method: str) -> str:
    """The word for what a method makes: "autoencoder" of TrainAutoencoder."""
    return method.rpartition("/")[2].removeprefix("Train").lower()


def _samples(material: Material, generator: str) -> MemberRef | None:
    """The first images that were drawn from a generator."""
    for key, manifest in material.record.manifests.items():
        if manifest.method.endswith(f"/{_SAMPLE}") and referred(manifest.request, "generator") == generator:
            return MemberRef(key=key, member="images")
    return None


def _failed(material: Material) -> Iterator[Run]:
    """A run for each trial of a search that gave nothing."""
    for key, decision in choices(material):
        name = searched(material, key)
        for trial in decision.trials:
            if trial.failed:
                fields = {allowed_name(field): str(value) for field, value in trial.parameters.items()}
                yield _run(
                    material,
                    id=f"{key}/{trial.number}",
                    name=f"{name} trial {trial.number}",
                    kind=kind_of(material, key),
                    params={**fields, "search": name, "trial": str(trial.number)},
                    tags={"syntrial.trial_state": "failed", NOTE: trial.failed},
                    state="FAILED",
                )


# Synthetic sets


def _sets(material: Material) -> Iterator[Run]:
    """A run for each synthetic set that was assessed: what the filters took, and how far it is from real images."""
    manifests = material.record.manifests
    for key, quality in material.qualities.items():
        accepted = referred(manifests[key].request, "images") or ""
        if accepted not in material.filterings or not manifests[key].method.endswith(f"/{_ASSESS}"):
            continue
        filtering = material.filterings[accepted]
        figures: dict[str, Any] = {"images": quality.images, "candidates": filtering.candidates}
        figures |= {f"rejected/{reason}": count for reason, count in filtering.rejected.items()}
        figures |= {"copies": quality.memorised.count, "repeated": quality.repeated}
        if (frechet := quality.frechet) is not None:
            figures |= {"frechet": frechet.synthetic_real, "frechet_floor": frechet.floor}
        if (inception := quality.inception) is not None:
            figures |= {"fid": inception.fid.synthetic_real, "fid_floor": inception.fid.floor}
            figures |= {"kid": inception.kid.synthetic_real, "kid_floor": inception.kid.floor}
        if (found := quality.precision_recall) is not None:
            figures |= {"precision": found.precision, "recall": found.recall}
        if (apart := quality.told_apart) is not None:
            figures |= {"told_apart": apart.auroc, "told_apart_real": apart.real}
        yield _run(
            material,
            id=accepted,
            name=f"set {material.record.about[accepted]}",
            kind="set",
            key=accepted,
            params=settings_of_step(manifests[accepted]),
            metrics=points(figures),
            tags={"syntrial.assessed": key},
            files={"accepted.png": File(ref=MemberRef(key=accepted, member="accepted"), blob=None)},
        )


# Classifiers


def _cells(material: Material) -> Iterator[Run]:
    """A run for each cell of the report, with its figures on the test split."""
    report = material.report
    if report is None:
        return
    compared = {found["arm"]: found for found in report["comparisons"]}
    for arm in report["arms"]:
        metrics = [
            point
            for name, figure in arm["metrics"].items()
            for point in _with_interval(f"test/{name}", figure["mean"], figure["interval_95"])
        ]
        seen = {f"images_seen/{origin}": count for origin, count in arm["images_seen"].items()}
        metrics += points({"optimiser_steps": arm["optimiser_steps"], "undertrained": arm["undertrained"], **seen})
        tags = {"syntrial.role": arm["role"]}
        if (comparison := compared.get(arm["cell"])) is not None:
            metrics += _with_interval("effect", comparison["estimate"], comparison["interval_95"])
            metrics += points({"p_value": comparison["p_value"]})
            tags |= {"syntrial.outcome": comparison["outcome"], NOTE: comparison["words"]}
        params = {"arm": arm["arm"], "synthetic": arm["synthetic"] or "none", "classifier": arm["classifier"]}
        params |= {"generators": str(arm["generators"]), "replicates": str(arm["replicates"])}
        yield _run(
            material, id=_cell_id(arm), name=arm["label"], kind="cell", params=params, metrics=metrics, tags=tags
        )


def _cell_id(arm: Mapping[str, Any]) -> str:
    return canonical_digest(sorted(arm["keys"]))


def _classifiers(material: Material) -> Iterator[Run]:
    """A run for each trained classifier but those that judge trials; each replicate's figures stand in its own."""
    tested, of_trials = _tested(material), tried(material)
    for key, training in material.trainings.items():
        label = material.record.labels[key]
        if label.startswith(JUDGE):
            continue
        arm, figures = tested.get(key, (None, {}))
        params = settings_of_step(material.record.manifests[key])
        if arm is not None:
            params |= {"arm": arm["arm"], "synthetic": arm["synthetic"] or "none"}
        validation = {f"validation/{name}": value for name, value in material.validations.get(key, {}).items()}
        metrics = [*_curves(training.curves), *points(validation), *points(figures)]
        tags = {"syntrial.undertrained": "yes" if training.undertrained else "no"}
        if (found := of_trials.get(key)) is not None:
            _add_trial(found, params=params, tags=tags, metrics=metrics)
        yield _run(
            material,
            id=key,
            name=label,
            kind="classifier",
            parent=TRIAL if arm is None else _cell_id(arm),
            key=key,
            params=params,
            metrics=metrics,
            tags=tags,
        )


def _tested(material: Material) -> dict[str, tuple[Mapping[str, Any], dict[str, float]]]:
    """Of each classifier that was evaluated: its arm in the report, and its figures there; by its training's key."""
    found: dict[str, tuple[Mapping[str, Any], dict[str, float]]] = {}
    for arm in (material.report or {}).get("arms", ()):
        # The keys of its predictions come first, then those of its trainings, each in the order of its figures.
        trainings: Sequence[str] = arm["keys"][len(arm["keys"]) // 2 :]
        for number, key in enumerate(trainings):
            found[key] = arm, {f"test/{name}": one["per_replicate"][number] for name, one in arm["metrics"].items()}
    return found


# Parts of runs


def _run(material: Material, *, id: str, key: str | None = None, tags: Mapping[str, str], **fields: Any) -> Run:  # noqa: A002 - as the field
    """A run with what all have: by which release, which artifact it shows, and on what that was made."""
    manifest = material.record.manifests[key] if key is not None else None
    if manifest is not None:
        tags = {
            **tags,
            "syntrial.key": manifest.key,
            "syntrial.step": material.record.labels[manifest.key],
            "syntrial.method": manifest.method,
            "syntrial.artifact": manifest.artifact_digest,
            **{f"syntrial.provenance.{allowed_name(name)}": text for name, text in manifest.provenance.items()},
        }
    tags = {name: text[:_LONGEST_TAG] for name, text in {**tags, "syntrial.version": __version__}.items() if text}
    seconds = None if id == TRIAL else material.seconds.get(key or "", 0.0)
    return Run(id=id, tags=tags, **{**fields, "metrics": tuple(fields.get("metrics", ())), "seconds": seconds})


def _curves(curves: Curves) -> list[Point]:
    return [
        Point(name=allowed_name(name), value=value, step=x)
        for name, series in curves.series.items()
        for x, value in zip(curves.x, series, strict=True)
        if value is not None and math.isfinite(value)
    ]


def _with_interval(name: str, value: float, interval: Iterable[float] | None) -> list[Point]:
    low, high = interval or (None, None)
    return points({name: value, f"{name}_low": low, f"{name}_high": high})

"""From an Experiment object to its plan, as far as it is known: validated, resolved, planned, with the looks on record.

The order of things is that of `syntrial.trial.run`, on a laptop as here.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from syntrial.artifacts.gc import PLAN
from syntrial.artifacts.store import ArtifactStore
from syntrial.controller.experiment_cache import ExperimentCache
from syntrial.controller.permits import Permits
from syntrial.controller.snapshot import TrialState
from syntrial.errors import StoreRefused, UserError
from syntrial.executors.drive import priorities
from syntrial.experiment.file import validate
from syntrial.experiment.model import API_VERSION, CONTINUES, PLAN_ANEW
from syntrial.sources.named import SourceRef
from syntrial.sources.resolve import PendingSources, resolve_recorded
from syntrial.trial.attempts import is_given_up
from syntrial.trial.continued import continue_record
from syntrial.trial.kept import kept_plan
from syntrial.trial.run import Trial, draft, grow, known_looks, with_looks
from syntrial.trial.status import SUCCEEDED


def wanted(
    body: Mapping[str, Any], cache: ExperimentCache, *, store: ArtifactStore | None, permits: Permits
) -> TrialState:
    """The trial that the object wants; planned where its sources are known, which the store is asked for.

    What `permits` refuses is not valid. With `store` None only what is remembered is known. Raises what the store does.
    """
    metadata = body["metadata"]
    # A source that was not there may have come since: it is looked for again each time.
    if cache.generation != metadata["generation"] or (cache.lacks_source and store is not None):
        cache.plan_anew(metadata["generation"])
        _validate(body, cache, permits=permits)
    annotations = metadata.get("annotations") or {}
    anew = annotations.get(PLAN_ANEW, "")
    if store is not None and cache.trial is not None and cache.trial.is_kept and _ends(cache.trial, anew):
        cache.trial, cache.is_full_due = None, True
    if store is not None and cache.trial is not None and _lacks_given(cache.trial, cache):
        # No step makes it again: its absence is told as before the first plan.
        cache.trial, cache.is_full_due = None, True
    if store is not None and cache.trial is not None and has_decided(cache):
        _grow(cache, store=store)
    ingests: tuple[SourceRef, ...] = ()
    if cache.experiment is not None and cache.trial is None and store is not None:
        ingests = _plan(
            *(cache, permits),
            uid=metadata["uid"],
            namespace=metadata["namespace"],
            store=store,
            anew=anew,
            before=annotations.get(CONTINUES, ""),
        )
    return TrialState(
        uid=metadata["uid"],
        name=metadata["name"],
        namespace=metadata["namespace"],
        generation=metadata["generation"],
        experiment=cache.experiment,
        plan=cache.trial.plan if cache.trial is not None else None,
        is_kept=cache.trial is not None and cache.trial.is_kept,
        priorities=cache.priorities,
        invalid=cache.invalid,
        lacks_source=cache.lacks_source,
        ingests=ingests,
    )


def adopt(cache: ExperimentCache, trial: Trial) -> None:
    """Makes `trial` the planned one."""
    cache.trial = trial
    cache.priorities = priorities(trial.plan.steps)


def has_decided(cache: ExperimentCache) -> bool:
    """Whether something was decided for which the plan waits, or a trial of a search failed, by what was read."""
    plan = cache.trial.plan if cache.trial is not None else None
    if plan is None or not plan.undecided:
        return False
    return not cache.present.isdisjoint(plan.undecided) or any(
        step.of_trial and step.key not in cache.present and is_given_up(cache.attempts.get(step.key, ()))
        for step in plan.training
    )


def _lacks_given(trial: Trial, cache: ExperimentCache) -> bool:
    """Whether an artifact that the plan was made upon is found gone."""
    return any(key in cache.presence_read and key not in cache.present for key in trial.plan.given)


def _grow(cache: ExperimentCache, *, store: ArtifactStore) -> None:
    """Plans the trial anew with what was decided."""
    assert cache.trial is not None
    adopt(cache, grow(cache.trial, store=store))
    for step in cache.trial.plan.steps:
        # Where its inputs are not there it is not; where they are it is looked for before it starts.
        cache.presence_read.setdefault(step.key, float("-inf"))


def _validate(body: Mapping[str, Any], cache: ExperimentCache, *, permits: Permits) -> None:
    # The API server's object holds more than a file: its status, its managed fields.
    tree: dict[object, object] = {
        "apiVersion": body.get("apiVersion", API_VERSION),
        "kind": body.get("kind", "Experiment"),
        "metadata": {"name": body["metadata"]["name"]},
        "spec": body.get("spec"),
    }
    try:
        experiment = validate(tree)
        permits.check(experiment, has_verdict=_has_verdict(body))
        cache.experiment = experiment
    except UserError as error:
        cache.invalid = str(error)


def _has_verdict(body: Mapping[str, Any]) -> bool:
    return any(
        (item["type"], item["status"], item.get("observedGeneration"))
        == (SUCCEEDED, "True", body["metadata"]["generation"])
        for item in (body.get("status") or {}).get("conditions") or ()
    )


def _plan(
    cache: ExperimentCache,
    permits: Permits,
    *,
    uid: str,
    namespace: str,
    store: ArtifactStore,
    anew: str,
    before: str,
) -> tuple[SourceRef, ...]:
    """Plans the trial; returns the sources that have to be brought into the store before that can be done.

    One that another version brought to its verdict keeps its plan, unless `anew` names its report; one that was
    restored goes on with what it has on record under the UID `before`.
    """
    experiment = cache.experiment
    assert experiment is not None
    try:
        if before:
            continue_record(store, uid=uid, before=before)
        sources = resolve_recorded(experiment, store=store, uid=uid)
        if isinstance(sources, PendingSources):
            permits.check_sources(sources.refs, namespace=namespace)
            return sources.refs
        trial = draft(experiment, sources, uid=uid, store=store)
    except StoreRefused:
        raise
    except UserError as error:
        cache.experiment, cache.invalid, cache.lacks_source = None, str(error), True
        return ()
    # An attempt is recorded under an experiment that is on record.
    filed = store.experiment_file(uid, PLAN)
    cache.is_new = filed is None
    looks = known_looks(trial, store=store)
    trial = with_looks(trial, looks) if looks else trial
    if filed is not None and json.loads(filed)["keys"] != [step.key for step in trial.plan.steps]:
        found = kept_plan(experiment, uid=uid, store=store)
        kept = None if found is None else replace(trial, plan=found, is_kept=True)
        trial = trial if kept is None or _ends(kept, anew) else kept
    adopt(cache, trial)
    return ()


def _ends(trial: Trial, report: str) -> bool:
    return bool(trial.plan.report) and trial.plan.report[-1].key == report

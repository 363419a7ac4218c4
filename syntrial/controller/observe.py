"""Collects the snapshot of one experiment: from the inventory, from its cache, and from the store what is not fresh.

Presence is remembered; absence is read again when a Job ends or goes, before a step is started, and when all is read
anew. Attempts are read of steps that are about to start and of those whose Job ended. One step costs a handful of
requests for small objects in all.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from syntrial.artifacts.store import ArtifactStore
from syntrial.cluster.manifests import GRACE_SECONDS
from syntrial.controller.bounds import Allowance
from syntrial.controller.collection import CollectionWatch
from syntrial.controller.experiment_cache import ExperimentCache
from syntrial.controller.gpu_ledger import GpuLedger
from syntrial.controller.inventory import Inventory
from syntrial.controller.jobs import Jobs
from syntrial.controller.permits import Permits
from syntrial.controller.planning import has_decided, wanted
from syntrial.controller.snapshot import AttemptView, Evidence, OverBudget, Presence, Snapshot, TrialState
from syntrial.controller.standing import NODE_LOST, is_settled, released
from syntrial.controller.stores import Stores, StoreUnreachable
from syntrial.controller.telemetry import count_failure
from syntrial.controller.views import JobView
from syntrial.plan.steps import Plan
from syntrial.trial.attempts import NOT_COUNTED, is_given_up
from syntrial.trial.status import read_verdict

FRESH_SECONDS: Final = 600.0
"""How long an absence that was read is enough to start a step on: should it be made by others of whom nothing is known
here, such as a laptop with the same store, meanwhile, then its pod finds it there."""

LOST_SECONDS: Final = GRACE_SECONDS + 30.0
"""From when on a pod that is being deleted counts as lost; it has its grace from whoever deletes it."""

FAILURES_SECONDS: Final = 8.0
"""Between two times that the attempts of failed steps are read again, for `syntrial retry`."""


def observe(
    body: Mapping[str, Any],
    cache: ExperimentCache,
    *,
    inventory: Inventory,
    stores: Stores,
    jobs: Jobs,
    ledger: GpuLedger,
    clock: Callable[[], float],
    permits: Permits,
    job_limit: int,
    allowance: Allowance,
    collections: CollectionWatch,
) -> tuple[TrialState, Snapshot]:
    """The trial as wanted and what is known of its world now."""
    uid, namespace = body["metadata"]["uid"], body["metadata"]["namespace"]
    # Before the store is read: what a Job that has ended left there is then seen.
    views, lost_after = _without_lost(inventory.jobs_of(uid), cache, now=clock())
    cache.follow(views)
    store_error, address = "", ""
    trial: TrialState | None = None
    elsewhere: dict[str, str] = {}
    try:
        with stores.use(namespace, allowance) as store:
            address = store.url
            collections.look(namespace, store)
            trial = wanted(body, cache, store=store, permits=permits)
            while trial.plan is not None:
                elsewhere = _elsewhere(trial, cache, inventory=inventory)
                lost = _read(trial, cache, views, elsewhere, store=store, now=clock())
                # It may be a source that is gone: the trial is then planned once its content is there again. And a plan
                # of another version is kept while it stands: with this one, its steps cannot be made again.
                if lost or (trial.is_kept and not cache.present.issuperset(step.key for step in trial.plan.steps)):
                    cache.is_full_due |= trial.is_kept
                    cache.trial = None
                    trial = wanted(body, cache, store=store, permits=permits)
                if not has_decided(cache):
                    break
                before, trial = trial.plan, wanted(body, cache, store=store, permits=permits)
                if trial.plan == before:
                    # What was read of it is no longer so.
                    cache.is_full_due = True
                    break
    except StoreUnreachable as error:
        store_error = str(error)
    if trial is None:
        trial = wanted(body, cache, store=None, permits=permits)
    if trial.plan is not None and store_error:
        elsewhere = _elsewhere(trial, cache, inventory=inventory)
    jobs.examine(views, trial, cache, is_wanted=lambda job: _is_unsettled(job, cache))
    now = clock()
    cache.ended = {view.name: cache.ended.get(view.name, now) for view in views if not view.is_live}
    keys = [*(step.key for step in trial.plan.steps), *trial.plan.given] if trial.plan is not None else []
    carried = {key for job in views for key in job.keys}
    absence = Presence.UNKNOWN if store_error else Presence.ABSENT
    presence = {
        key: Presence.PRESENT if key in cache.present else absence if key in cache.presence_read else Presence.UNKNOWN
        for key in {*keys, *carried}
    }
    failed_at = _failed_at(cache, views, now=now)
    cache.has_looked = True
    return trial, Snapshot(
        now=now,
        presence=presence,
        attempts=dict(cache.attempts),
        failed_at=failed_at,
        jobs=views,
        ended_at=cache.ended,
        lost_after=lost_after,
        job_limit=job_limit,
        elsewhere=elsewhere,
        evidence=dict(cache.evidence),
        store_error=store_error,
        refusal=cache.refusal,
        over_budget=_over_budget(trial, jobs=jobs, ledger=ledger),
        has_met_quota=cache.has_met_quota,
        is_registered=cache.registered == tuple(keys),
        verdict=cache.verdict,
        report_address=f"{address}/artifacts/{cache.verdict_key}" if cache.verdict_key else "",
        rates=dict(cache.rates),
        outdated=frozenset(name for name, (_, differs) in cache.outdated.items() if differs),
        refused_pods=dict(cache.refused_pods),
    )


def _over_budget(trial: TrialState, *, jobs: Jobs, ledger: GpuLedger) -> OverBudget | None:
    message = ledger.used_up(trial.namespace)
    if not message or trial.experiment is None:
        return None
    return OverBudget(message=message, stages=jobs.stages_with_devices(trial.experiment))


def _without_lost(
    views: Iterable[JobView], cache: ExperimentCache, *, now: float
) -> tuple[tuple[JobView, ...], float | None]:
    """The Jobs, those on lost nodes as ones that failed; and the seconds until another counts as lost.

    A pod that is to end does so within its grace, unless nobody is there to end it. Kubernetes waits for its node for
    ever, and so does the Job; should that pod still run, it finds in the end that its artifact is there.
    """
    found, left = [], []
    stopping = {pod.uid: cache.stopping.get(pod.uid, now) for view in views for pod in view.stopping_pods}
    for view in views:
        waits = [stopping[pod.uid] + LOST_SECONDS - now for pod in view.stopping_pods if view.is_live]
        is_lost = bool(waits) and min(waits) <= 0
        found.append(replace(view, ended="failed", reason=NODE_LOST) if is_lost else view)
        left += [] if is_lost else waits
    cache.stopping = stopping
    return tuple(found), min(left, default=None)


def _elsewhere(trial: TrialState, cache: ExperimentCache, *, inventory: Inventory) -> dict[str, str]:
    assert trial.plan is not None
    open_keys = [step.key for step in trial.plan.steps if step.key not in cache.present]
    found = inventory.elsewhere(trial.uid, trial.namespace, open_keys)
    # Another experiment's Job has ended: most likely the step is done.
    cache.read_again(cache.elsewhere - found.keys())
    cache.elsewhere = set(found)
    return found


def _read(
    trial: TrialState,
    cache: ExperimentCache,
    views: Iterable[JobView],
    elsewhere: Mapping[str, str],
    *,
    store: ArtifactStore,
    now: float,
) -> bool:
    """Reads from the store what is not known or not fresh; says whether a step failed for want of an input."""
    assert trial.plan is not None
    plan = trial.plan
    ended = [key for job in views if not job.is_live for key in job.keys]
    live = {key for job in views if job.is_live for key in job.keys}
    if cache.is_full_due:
        _read_all(plan, cache, also=ended, store=store, now=now)
    _read_presence([key for key in ended if key not in cache.presence_read], cache, store=store, now=now)
    if now - cache.failures_read_at > FAILURES_SECONDS:
        cache.failures_read_at = now
        for key in [key for key, attempts in cache.attempts.items() if is_given_up(attempts)]:
            del cache.attempts[key]
    busy = live | elsewhere.keys()
    # What is found to be there may be the last that others waited for: whether those are there is read too.
    while old := [
        key
        for key in _startable(plan, cache, busy=busy)
        if now - cache.presence_read.get(key, float("-inf")) > FRESH_SECONDS
    ]:
        _read_presence(old, cache, store=store, now=now)
    startable = _startable(plan, cache, busy=busy)
    lost = _read_attempts({*startable, *ended}, cache, uid=trial.uid, store=store)
    if lost:
        # An input was found damaged or gone, and set aside: what no longer stands is to be made again.
        _read_all(plan, cache, also=ended, store=store, now=now)
        startable = _startable(plan, cache, busy=busy)
        _read_attempts({*startable, *ended}, cache, uid=trial.uid, store=store)
    if plan.report and plan.report[-1].key in cache.present and cache.verdict_key != plan.report[-1].key:
        cache.verdict = read_verdict(store, plan.report[-1].key)
        cache.verdict_key = plan.report[-1].key
    return lost


def _startable(plan: Plan, cache: ExperimentCache, *, busy: set[str]) -> list[str]:
    """Keys of the steps whose inputs are there, that are not, and that nobody is at."""
    open_part = released(plan, cache.present)
    return [
        step.key
        for step in plan.steps
        if step.key in open_part
        and step.key not in cache.present
        and step.key not in busy
        and cache.present.issuperset(step.after)
    ]


def _read_all(plan: Plan, cache: ExperimentCache, *, also: Iterable[str], store: ArtifactStore, now: float) -> None:
    """Finds out the presence of every step; attempts are then read again when they are needed."""
    cache.present, cache.members = set(), {}
    unread = {step.key: step.after for step in plan.steps} | dict.fromkeys(plan.given, ())
    # A step stands upon its inputs: where one of them does not, it need not be read.
    while layer := [key for key, after in unread.items() if cache.present.issuperset(after)]:
        for key in layer:
            del unread[key]
        cache.present |= _standing(layer, cache, store=store)
    own = {*(step.key for step in plan.steps), *plan.given}
    others = {*also} - own
    cache.present |= _standing(sorted(others), cache, store=store)
    keys = [*own, *others]
    cache.presence_read = dict.fromkeys(keys, now)
    cache.attempts = dict.fromkeys(keys, ()) if cache.is_new else {}
    cache.is_new = False
    cache.full_read_at = now
    cache.is_full_due = False


def _read_presence(keys: Iterable[str], cache: ExperimentCache, *, store: ArtifactStore, now: float) -> None:
    wanted_keys = [key for key in dict.fromkeys(keys) if key not in cache.present]
    if wanted_keys:
        cache.present |= _standing(wanted_keys, cache, store=store)
        cache.presence_read.update(dict.fromkeys(wanted_keys, now))


def _standing(keys: Sequence[str], cache: ExperimentCache, *, store: ArtifactStore) -> set[str]:
    """Those of `keys` that stand, as `ArtifactStore.done` says it, where the inputs of the others are known to stand.

    One small object is read for each key, and each input once in the experiment's life, in place of a whole history.
    """
    found = dict(zip(keys, store.each(store.sound_manifest, list(keys)), strict=True))
    manifests = {key: manifest for key, manifest in found.items() if manifest is not None}
    inputs = {key for manifest in manifests.values() for key in manifest.input_keys}
    if not inputs <= cache.present:
        # Several steps of one chain at once, or inputs that are not of this plan.
        return store.done(manifests)
    unread = sorted(inputs - cache.members.keys())
    for key, manifest in zip(unread, store.each(store.sound_manifest, unread), strict=True):
        if manifest is not None:
            cache.members[key] = manifest.member_digests
    standing = set()
    for key, manifest in manifests.items():
        if manifest.stands_upon(cache.members):
            cache.members[key] = manifest.member_digests
            standing.add(key)
    return standing


def _read_attempts(keys: Iterable[str], cache: ExperimentCache, *, uid: str, store: ArtifactStore) -> bool:
    """Reads the attempts at absent steps that are not known; says whether one failed for want of an input."""
    unknown = sorted(key for key in keys if key not in cache.present and key not in cache.attempts)
    found = store.each(lambda key: store.attempts(key, experiment=uid), unknown)
    lost = False
    for key, attempts in zip(unknown, found, strict=True):
        views = tuple(
            AttemptView(
                number=attempt.number,
                outcome=str(attempt.entry.get("outcome", "failed")),
                reason=str(attempt.entry.get("reason", "")),
                message=str(attempt.entry.get("message", "")),
                retryable=bool(attempt.entry.get("retryable", True)),
            )
            for attempt in attempts
        )
        cache.attempts[key] = views
        known = cache.failed_at.get(key, (0, 0.0))[0]
        lost |= bool(views) and views[-1].number > known and views[-1].reason in NOT_COUNTED - {"StoreUnavailable"}
    return lost


def _failed_at(cache: ExperimentCache, views: Iterable[JobView], *, now: float) -> dict[str, float]:
    found: dict[str, float] = {}
    for key, attempts in cache.attempts.items():
        if attempts:
            if cache.is_news(key, attempts[-1].number):
                count_failure(cache.stage_of(key), attempts[-1].reason)
            found[key] = cache.first_seen(key, attempts[-1].number, now)
    for job in views:
        cache.count(job)
        if job.source is not None and job.ended == "failed":
            found[job.name] = cache.first_seen(job.name, job.attempt, now)
    return found


def _is_unsettled(job: JobView, cache: ExperimentCache) -> bool:
    """Whether it must be known what became of the pods of a Job that ended."""
    if job.source is not None:
        return job.ended == "failed"
    # As if it had crashed: only a record of a failure or a success then needs no further word.
    crash = Evidence(outcome="failed", reason="", message="")
    known = Snapshot(
        now=0.0,
        presence={key: Presence.PRESENT for key in job.keys if key in cache.present},
        attempts=cache.attempts,
        failed_at={},
        jobs=(),
        elsewhere={},
        evidence={job.name: crash} if job.ended == "failed" else {},
    )
    return not all(is_settled(key, job, snapshot=known) for key in job.keys)

"""One look at one experiment: observe, decide, act, say. And the threads that look.

Nothing here decides anything: `reconcile.py` does. A look may end at any point, by an error or by SIGKILL; the next one
begins anew from what is there.
"""

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

import structlog

from syntrial.artifacts.gc import PLAN
from syntrial.artifacts.store import ArtifactStore
from syntrial.controller import conditions
from syntrial.controller.experiment_cache import ExperimentCache, Submission
from syntrial.controller.inventory import Inventory
from syntrial.controller.jobs import ClusterApi, Jobs
from syntrial.controller.observe import observe
from syntrial.controller.permits import Permits
from syntrial.controller.planning import adopt
from syntrial.controller.reconcile import (
    Action,
    Decision,
    DeleteJob,
    OpenTestSplit,
    RecordAttempt,
    Register,
    StartIngest,
    StartJob,
    reconcile,
)
from syntrial.controller.settings import FIELD_MANAGER, MANAGED, Settings
from syntrial.controller.snapshot import Snapshot, TrialState
from syntrial.controller.stores import Stores, StoreUnreachable
from syntrial.controller.telemetry import LOOK_ERRORS, LOOK_SECONDS, QUEUE_DEPTH, RECONCILE_SECONDS
from syntrial.controller.workqueue import WorkQueue
from syntrial.errors import ArtifactMissing, ClusterRefused, ClusterUnavailable, DataLoss
from syntrial.rpc.step import request_record
from syntrial.trial.run import open_test_split, register, with_looks
from syntrial.trial.status import shortened

FINISHED_RESYNCS: Final = 12
"""Of how many resyncs one looks at trials that are finished: that their artifacts still stand."""

EXPERIMENTS_PER_SECOND: Final = 20
"""Up to so many experiments, each is looked at and spoken of as soon as `Settings` has it; more share that time."""

ERROR_SECONDS: Final = 5.0
"""After a look that ended in an error, until the next."""

_T = TypeVar("_T")
_R = TypeVar("_R")

_log = structlog.stdlib.get_logger(__name__)


class Controller:
    """All experiments of the namespaces that are served."""

    def __init__(
        self,
        cluster: ClusterApi,
        settings: Settings,
        *,
        open_store: Callable[[Mapping[str, str], str], ArtifactStore],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`open_store` opens the store that a Secret's entries describe, for a namespace."""
        self._cluster = cluster
        self._settings = settings
        self._clock = clock
        self.queue = WorkQueue(clock=clock)
        self.inventory = Inventory(wake=self._wake, clock=clock)
        self._stores = Stores(cluster, secret=settings.store_secret, open_store=open_store, clock=clock)
        self._jobs = Jobs(
            cluster,
            inventory=self.inventory,
            images=settings.images,
            store_secret=settings.store_secret,
            clock=clock,
        )
        self._permits = Permits(
            cluster,
            allowed=settings.allowed,
            step_limit=settings.step_limit,
            store_secret=settings.store_secret,
        )
        self._caches: dict[str, ExperimentCache] = {}
        self._looked_at: dict[str, float] = {}
        self._finished: dict[str, float] = {}
        """When finished trials were looked at last; nothing else is remembered of them."""
        self._resynced_at = float("-inf")
        self._threads: list[threading.Thread] = []
        self._stopping = threading.Event()
        self._pool = ThreadPoolExecutor(settings.threads, thread_name_prefix="act")

    # Life

    def start(self) -> None:
        """Reads what the cluster holds, and starts the threads that look."""
        self.repair()
        works = [(f"look-{number}", self._work) for number in range(self._settings.threads)]
        for name, work in [*works, ("resync", self._resync_for_ever)]:
            thread = threading.Thread(target=work, name=name, daemon=True)
            thread.start()
            self._threads.append(thread)

    def stop(self) -> None:
        """Ends the threads; a look that is under way ends first."""
        self._stopping.set()
        self.queue.close()
        for thread in self._threads:
            thread.join(timeout=10.0)
        self._pool.shutdown(wait=False, cancel_futures=True)

    def repair(self) -> None:
        """Lists all that is served, so that the inventory holds what is there and nothing else."""
        for namespace in self._settings.namespaces or (None,):
            within = None if namespace is None else (namespace,)
            for kind, labels in (("Experiment", ""), ("Job", MANAGED), ("Pod", MANAGED)):
                since = self._clock()
                items = self._cluster.list(kind, namespace, labels=labels)
                self.inventory.repair(namespaces=within, since=since, kind=kind, items=items)

    def resync(self) -> None:
        """Has everything read anew: the cluster's lists now, the store at each experiment's next look."""
        self.repair()
        self._resynced_at = self._clock()
        for uid in self.inventory.experiments():
            if (
                self._clock() - self._finished.get(uid, float("-inf"))
                < FINISHED_RESYNCS * self._settings.resync_seconds
            ):
                continue
            self.queue.add(uid)

    def _resync_for_ever(self) -> None:
        while not self._stopping.wait(self._settings.resync_seconds):
            try:
                self.resync()
            except (ClusterUnavailable, ClusterRefused) as error:
                _log.warning("not resynced", error=str(error))

    def _wake(self, uid: str) -> None:
        since = self._clock() - self._looked_at.get(uid, float("-inf"))
        self.queue.add(uid, after=max(0.0, self._settings.settle_seconds * self._crowding() - since))

    def _crowding(self) -> float:
        """How much more rarely each experiment is looked at and spoken of where there are many: 1 or more."""
        return max(1.0, len(self._caches) / EXPERIMENTS_PER_SECOND)

    def _work(self) -> None:
        while (uid := self.queue.take()) is not None:
            QUEUE_DEPTH.set(len(self.queue))
            after: float | None = ERROR_SECONDS
            try:
                with LOOK_SECONDS.time():
                    after = self.look(uid)
            except (ClusterUnavailable, ClusterRefused) as error:
                _log.warning("cluster not reached", experiment=uid, error=str(error))
            except Exception:  # noqa: BLE001
                # One experiment's trouble must not end the others' looks.
                LOOK_ERRORS.inc()
                _log.exception("look failed", experiment=uid)
            finally:
                if self.inventory.experiment(uid) is not None:
                    self._looked_at[uid] = self._clock()
                self.queue.finish(uid)
            if after is not None:
                self.queue.add(uid, after=max(after, self._settings.settle_seconds))

    @property
    def remembered(self) -> list[str]:
        """UIDs of the experiments of which more than their objects is remembered."""
        return list(self._caches)

    # One look

    def look(self, uid: str) -> float | None:
        """Looks at one experiment; returns the seconds until it wants to be looked at again, or None."""
        body = self.inventory.experiment(uid)
        if body is None or "deletionTimestamp" in body["metadata"]:
            # Its Jobs go with it: it owns them.
            self._caches.pop(uid, None)
            self._looked_at.pop(uid, None)
            self._finished.pop(uid, None)
            return None
        self._finished.pop(uid, None)
        cache = self._caches.setdefault(uid, ExperimentCache())
        cache.ask_for_all(before=self._resynced_at - self._settings.resync_seconds / 2)
        try:
            trial, snapshot = observe(
                body,
                cache,
                inventory=self.inventory,
                stores=self._stores,
                jobs=self._jobs,
                clock=self._clock,
                permits=self._permits,
            )
        except (ArtifactMissing, DataLoss) as error:
            _log.warning("store read again", experiment=uid, error=str(error))
            cache.is_full_due = True
            return ERROR_SECONDS
        with RECONCILE_SECONDS.time():
            decision = reconcile(trial, snapshot)
        # First what is known now: actions take time, and a person watches.
        stands = self._say(body, cache, decision)
        if stands and not decision.actions and not snapshot.jobs and conditions.has_succeeded(decision.status):
            self._caches.pop(uid)
            self._finished[uid] = self._clock()
            return None
        again = self._act(decision.actions, trial, snapshot, cache)
        waits = [after for after in (again, decision.look_again_after) if after is not None]
        return min(waits, default=None)

    def _act(
        self, actions: tuple[Action, ...], trial: TrialState, snapshot: Snapshot, cache: ExperimentCache
    ) -> float | None:
        """Carries out what was decided; returns when to look again, where that is soon."""
        starts = [action for action in actions if isinstance(action, StartJob)]
        stops = [action for action in actions if isinstance(action, DeleteJob)]
        again: float | None = None
        try:
            for action in actions:
                match action:
                    case Register():
                        assert cache.trial is not None
                        with self._stores.use(trial.namespace) as store:
                            register(cache.trial, store=store)
                        cache.registered = tuple(step.key for step in cache.trial.plan.steps)
                    case RecordAttempt():
                        self._record(action, trial, cache)
                        again = 0.0
                    case OpenTestSplit():
                        assert cache.trial is not None
                        with self._stores.use(trial.namespace) as store:
                            adopt(cache, with_looks(cache.trial, open_test_split(cache.trial, store=store)))
                        again = 0.0
                    case StartIngest():
                        assert trial.experiment is not None
                        job = self._jobs.ingest_manifest(
                            action.ref, trial, attempt=action.attempt, experiment=trial.experiment
                        )
                        cache.take([self._jobs.submit(job, ())])
                    case DeleteJob() | StartJob():
                        # Of these there may be many: several at a time, and room for the new ones first.
                        pass
            if stops:
                self._stop(stops, trial, snapshot)
            if starts:
                self._start(starts, trial, cache)
        except StoreUnreachable:
            # The next look says so.
            return 0.0
        except (ArtifactMissing, DataLoss):
            cache.is_full_due = True
            return ERROR_SECONDS
        # What the API server refused is for the status to say, at once.
        return 0.0 if cache.refusal is not snapshot.refusal else again

    def _stop(self, stops: Sequence[DeleteJob], trial: TrialState, snapshot: Snapshot) -> None:
        """Deletes Jobs: those that the user stops, then the others, for which the store must be there."""
        by_user = [action for action in stops if action.is_live and trial.is_suspended]
        others = [action for action in stops if action not in by_user]

        def delete(action: DeleteJob) -> None:
            self._jobs.delete(action, trial.namespace, snapshot.jobs)

        _raise_first(self._each(delete, by_user))
        if others:
            # A look may rest on what earlier ones read: of a store that has gone since, nothing is known.
            with self._stores.use(trial.namespace) as store:
                store.experiment_file(trial.uid, PLAN)
            _raise_first(self._each(delete, others))

    def _start(self, starts: Sequence[StartJob], trial: TrialState, cache: ExperimentCache) -> None:
        """Records requests and creates their Jobs, several at a time, until the API server refuses one."""
        assert trial.experiment is not None
        experiment = trial.experiment
        is_refused = threading.Event()

        def start(action: StartJob) -> Submission | None:
            if is_refused.is_set():
                return None
            with self._stores.use(trial.namespace) as store:
                for step in action.steps:
                    store.put_request(step.key, request_record(step.method, step.request))
            job = self._jobs.manifest(action.batch, trial, experiment=experiment)
            submission = self._jobs.submit(job, action.batch.keys)
            if submission.refusal is not None:
                is_refused.set()
            return submission

        ends = self._each(start, starts)
        # Also where one of them failed: what became of the others is known.
        cache.take(found for end in ends if end.exception() is None and (found := end.result()) is not None)
        _raise_first(ends)

    def _each(self, function: Callable[[_T], _R], items: Iterable[_T]) -> list[Future[_R]]:
        """`function` of each item, several at a time; none is under way any more when this returns."""
        ends = [self._pool.submit(function, item) for item in items]
        wait(ends)
        return ends

    def _record(self, action: RecordAttempt, trial: TrialState, cache: ExperimentCache) -> None:
        evidence = action.evidence
        entry = {
            "outcome": evidence.outcome,
            "reason": evidence.reason,
            "message": evidence.message,
            "retryable": evidence.retryable,
            "log": evidence.log,
        }
        with self._stores.use(trial.namespace) as store:
            store.add_attempt(action.key, entry, experiment=trial.uid, number=action.number)
        # What stands there may be another controller's record of the same end: it is read, not assumed.
        cache.attempts.pop(action.key, None)

    # What is said

    def _say(self, body: Mapping[str, Any], cache: ExperimentCache, decision: Decision) -> bool:
        """Writes the status where it differs from what the object has, and tells what changed; whether it stands."""
        current = body.get("status") or {}
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        status = conditions.merged(decision.status, current, now=now, created=body["metadata"]["creationTimestamp"])
        if status == current:
            return True
        events = conditions.told(decision.status, current)
        interval = self._settings.status_seconds * self._crowding()
        if not events and self._clock() - cache.status_written_at < interval:
            self.queue.add(body["metadata"]["uid"], after=interval)
            return False
        about = {"apiVersion": "syntrial.dev/v1alpha1", "kind": "Experiment", "metadata": body["metadata"]}
        try:
            written = self._cluster.patch_status({**about, "status": status}, field_manager=FIELD_MANAGER)
        except ClusterRefused as error:
            if error.status == 404:
                return False
            raise
        cache.status_written_at = self._clock()
        self.inventory.put_experiment(written, quietly=True)
        for reason, message, bad in events:
            self._cluster.create_event(
                about, reason=reason, message=shortened(message), warning=bad, component=FIELD_MANAGER
            )
        return True


def _raise_first(ends: Iterable[Future[Any]]) -> None:
    for end in ends:
        end.result()

"""Carries out what was decided at one experiment: calls to its store and to the API server, several at a time.

A look may end at any of them; whatever was begun has ended when these functions return.
"""

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, Final, TypeVar

from syntrial.artifacts.gc import PLAN
from syntrial.cluster.manifests import job_name
from syntrial.controller.bounds import Allowance
from syntrial.controller.experiment_cache import ExperimentCache, Submission
from syntrial.controller.jobs import Jobs, owner_of
from syntrial.controller.planning import adopt
from syntrial.controller.reconcile import (
    Action,
    DeleteJob,
    OpenTestSplit,
    RecordAttempt,
    Register,
    StartIngest,
    StartJob,
)
from syntrial.controller.room import Rooms
from syntrial.controller.settings import Settings
from syntrial.controller.snapshot import Refusal, Snapshot, TrialState
from syntrial.controller.stores import Stores, StoreUnreachable
from syntrial.controller.waiting import JOB_LIMIT
from syntrial.controller.workqueue import Wake, Why
from syntrial.counting import counted
from syntrial.errors import ArtifactMissing, DataLoss
from syntrial.rpc.step import request_record
from syntrial.trial.run import open_test_split, register, with_looks

ERROR_SECONDS: Final = 5.0
"""After a look that ended in an error of the cluster, or found the store other than it was, until the next."""

UNCALLED_SECONDS: Final = 300.0
"""How long an experiment that waits for room asks for none where nobody calls it, which is to happen long before."""

_T = TypeVar("_T")
_R = TypeVar("_R")


class Acting:
    """The hands of looks."""

    def __init__(
        self,
        *,
        jobs: Jobs,
        stores: Stores,
        rooms: Rooms,
        wake: Wake,
        settings: Settings,
        clock: Callable[[], float],
    ) -> None:
        """`wake` is told the UID of each experiment for which there is room at last."""
        self._jobs = jobs
        self._stores = stores
        self._rooms = rooms
        self._wake = wake
        self._settings = settings
        self._clock = clock

    def carry_out(
        self,
        actions: tuple[Action, ...],
        trial: TrialState,
        snapshot: Snapshot,
        cache: ExperimentCache,
        allowance: Allowance,
        *,
        news_seconds: float,
    ) -> float | None:
        """Does what was decided; returns when to look again, where that is soon.

        `news_seconds` is how soon what happens to many at a time is said of one.
        """
        stops = [action for action in actions if isinstance(action, DeleteJob)]
        makes: dict[str, Callable[[], Submission]] = {}
        again: float | None = None
        try:
            for action in actions:
                match action:
                    case Register():
                        assert cache.trial is not None
                        with self._stores.use(trial.namespace, allowance) as store:
                            register(cache.trial, store=store)
                        cache.registered = tuple(step.key for step in cache.trial.plan.steps)
                    case RecordAttempt():
                        self._record(action, trial, cache, allowance)
                        again = 0.0
                    case OpenTestSplit():
                        assert cache.trial is not None
                        with self._stores.use(trial.namespace, allowance) as store:
                            adopt(cache, with_looks(cache.trial, open_test_split(cache.trial, store=store)))
                        again = 0.0
                    case StartIngest():
                        assert trial.experiment is not None
                        job = self._jobs.ingest_manifest(
                            action.ref, trial, attempt=action.attempt, experiment=trial.experiment
                        )
                        makes[job["metadata"]["name"]] = partial(self._jobs.submit, job, ())
                    case StartJob():
                        batch = action.batch
                        name = job_name(owner_of(trial), batch.stage, batch.keys, batch.attempt)
                        makes[name] = partial(self._start, action, trial, allowance)
                    case DeleteJob():
                        # Of these, as of new Jobs, there may be many: several at a time, and before the new ones.
                        pass
            if stops:
                self._stop(stops, trial, snapshot, allowance)
            if makes:
                self._make(makes, trial, cache)
        except StoreUnreachable:
            # The next look says so.
            return 0.0
        except (ArtifactMissing, DataLoss):
            cache.is_full_due = True
            return ERROR_SECONDS
        if cache.refusal is snapshot.refusal:
            return again
        # What was refused is for the status to say.
        return news_seconds if cache.refusal is not None and cache.refusal.reason == JOB_LIMIT else 0.0

    def leave(self, uid: str) -> None:
        """Gives up the places that are kept for an experiment, and its turn."""
        self._wake_all(self._rooms.leave(uid))

    def _stop(self, stops: Sequence[DeleteJob], trial: TrialState, snapshot: Snapshot, allowance: Allowance) -> None:
        """Deletes Jobs: those that the user stops, then the others, for which the store must be there."""
        by_user = [action for action in stops if action.is_live and trial.is_suspended]
        others = [action for action in stops if action not in by_user]

        def delete(action: DeleteJob) -> None:
            self._jobs.delete(action, trial.namespace, snapshot.jobs)

        _raise_first(self._each(delete, by_user))
        if others:
            # A look may rest on what earlier ones read: of a store that has gone since, nothing is known.
            with self._stores.use(trial.namespace, allowance) as store:
                store.experiment_file(trial.uid, PLAN)
            _raise_first(self._each(delete, others))

    def _make(self, makes: Mapping[str, Callable[[], Submission]], trial: TrialState, cache: ExperimentCache) -> None:
        """Makes Jobs, by name, for as many as there is room; several at a time, until one is refused or fails."""
        uid, namespace = trial.uid, trial.namespace
        room = self._rooms.take(uid, namespace, list(makes))
        try:
            first = list(makes.values())[:room]
            ends = self._each(lambda make: make(), first, is_last=lambda submission: submission.refusal is not None)
        finally:
            # What was made is counted as what it is from now on.
            self._wake_all(self._rooms.made(namespace, list(makes)))
        # Also where one of them failed: what became of the others is known.
        found = [end.result() for end in ends if end.exception() is None]
        if any(submission.refusal is not None for submission in found):
            # It asks again after a pause, whatever room there is.
            self.leave(uid)
        elif room < len(makes):
            jobs = counted(self._settings.jobs_per_namespace, "Job")
            words = f"a namespace has {jobs} at a time (controller.jobs.perNamespace)"
            refusal = Refusal(reason=JOB_LIMIT, message=words, until=self._clock() + UNCALLED_SECONDS)
            found.append(Submission(job=list(makes)[room], keys=(), outcome="refused", refusal=refusal))
        cache.take(found)
        _raise_first(ends)

    def _start(self, action: StartJob, trial: TrialState, allowance: Allowance) -> Submission:
        """Records the requests of steps and creates their Job."""
        assert trial.experiment is not None
        with self._stores.use(trial.namespace, allowance) as store:
            for step in action.steps:
                store.put_request(step.key, request_record(step.method, step.request))
        job = self._jobs.manifest(action.batch, trial, experiment=trial.experiment)
        return self._jobs.submit(job, action.batch.keys)

    def _each(
        self,
        function: Callable[[_T], _R],
        items: Sequence[_T],
        *,
        is_last: Callable[[_R], bool] = lambda _result: False,
    ) -> list[Future[_R]]:
        """`function` of each item, several at a time, until one raises or `is_last`; the ends of those that were begun.

        None is under way any more when this returns. The threads are the look's own: another tenant's calls, which may
        take long, are in nobody's way.
        """
        is_over = threading.Event()

        def call(item: _T) -> _R:
            try:
                result = function(item)
            except BaseException:
                is_over.set()
                raise
            if is_last(result):
                is_over.set()
            return result

        ends: list[Future[_R]] = []
        with ThreadPoolExecutor(min(self._settings.acts, len(items) or 1), thread_name_prefix="act") as pool:
            free = threading.Semaphore(self._settings.acts)
            for item in items:
                free.acquire()
                if is_over.is_set():
                    break
                ends.append(pool.submit(call, item))
                ends[-1].add_done_callback(lambda _end: free.release())
        return ends

    def _record(self, action: RecordAttempt, trial: TrialState, cache: ExperimentCache, allowance: Allowance) -> None:
        evidence = action.evidence
        entry = {
            "outcome": evidence.outcome,
            "reason": evidence.reason,
            "message": evidence.message,
            "retryable": evidence.retryable,
            "log": evidence.log,
        }
        with self._stores.use(trial.namespace, allowance) as store:
            store.add_attempt(action.key, entry, experiment=trial.uid, number=action.number)
        # What stands there may be another controller's record of the same end: it is read, not assumed.
        cache.attempts.pop(action.key, None)

    def _wake_all(self, uids: Iterable[str]) -> None:
        for uid in uids:
            self._wake(uid, Why.ROOM)


def _raise_first(ends: Iterable[Future[Any]]) -> None:
    for end in ends:
        end.result()

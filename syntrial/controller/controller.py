"""One look at one experiment: observe, decide, say, act. And the threads that look.

Nothing here decides anything: `reconcile.py` does. A look may end at any point, by an error or by SIGKILL; the next one
begins anew from what is there.
"""

import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import structlog

from syntrial.artifacts.store import ArtifactStore
from syntrial.controller import conditions
from syntrial.controller.acting import ERROR_SECONDS, Acting
from syntrial.controller.bounds import Allowance, LookFailed
from syntrial.controller.collection import CollectionWatch
from syntrial.controller.experiment_cache import ExperimentCache
from syntrial.controller.failing import Failing
from syntrial.controller.gpu_ledger import COUNT_SECONDS, GpuLedger
from syntrial.controller.inventory import Inventory
from syntrial.controller.jobs import ClusterApi, Jobs
from syntrial.controller.observe import observe
from syntrial.controller.permits import Permits
from syntrial.controller.reconcile import (
    Decision,
    reconcile,
)
from syntrial.controller.remembering import Remembered
from syntrial.controller.room import Rooms
from syntrial.controller.settings import FIELD_MANAGER, WATCHED, Settings
from syntrial.controller.state_metrics import DeviceMeter, StateMetrics, Waits
from syntrial.controller.stores import Stores
from syntrial.controller.telemetry import LOOK_ERRORS, LOOK_SECONDS, RECONCILE_SECONDS
from syntrial.controller.workqueue import Why, WorkQueue
from syntrial.errors import ArtifactMissing, ClusterRefused, ClusterUnavailable, DataLoss
from syntrial.trial.status import shortened

FINISHED_RESYNCS: Final = 12
"""Of how many resyncs one looks at trials that are finished: that their artifacts still stand."""

EXPERIMENTS_PER_SECOND: Final = 10
"""Up to so many experiments, each is looked at and spoken of as soon as `Settings` has it; more share that time.
Namespaces have equal parts of it, however many experiments each has."""

HANDFUL: Final = 64
"""Of so many places of a namespace, one look is to take at least one, where it wants as many."""

HUNG: Final = 5
"""A look that takes so many times what it may hangs: the process is no longer healthy."""

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
        wall: Callable[[], float] = time.time,
    ) -> None:
        """`open_store` opens the store that a Secret's entries describe, for a namespace; `wall` is the time of day."""
        self._cluster = cluster
        self._settings = settings
        self._clock = clock
        self._rooms = Rooms(most=settings.jobs_per_namespace)
        self.inventory = Inventory(wake=self._wake, rooms=self._rooms, clock=clock)
        self.queue = WorkQueue(places=settings.threads, group_of=self.inventory.namespace_of, clock=clock)
        self._stores = Stores(cluster, secret=settings.store_secret, open_store=open_store, clock=clock)
        self._jobs = Jobs(
            cluster,
            inventory=self.inventory,
            images=settings.images,
            store_secret=settings.store_secret,
            pods=settings.pods,
            clock=clock,
        )
        self._acting = Acting(
            jobs=self._jobs, stores=self._stores, rooms=self._rooms, wake=self._wake, settings=settings, clock=clock
        )
        self.ledger = GpuLedger(
            cluster,
            self.inventory,
            budget=settings.gpu_hours,
            place=settings.gpu_ledger,
            namespaces=settings.namespaces,
            wall=wall,
        )
        self._permits = Permits(
            cluster,
            allowed=settings.allowed,
            step_limit=settings.step_limit,
            store_secret=settings.store_secret,
        )
        self._memory = Remembered(most_steps=settings.remembered_steps)
        self._failing = Failing()
        self._begun: dict[str, float] = {}
        """When the looks began that are under way."""
        self._looked_at: dict[str, float] = {}
        self._finished: dict[str, float] = {}
        """When finished trials were looked at last; nothing else is remembered of them."""
        self._resynced_at = float("-inf")
        self._collections = CollectionWatch(clock=clock)
        self._waits = Waits(clock=clock)
        self._meter = DeviceMeter(self.inventory, clock=clock)
        self._threads: list[threading.Thread] = []
        self._stopping = threading.Event()

    # Life

    def start(self) -> None:
        """Starts the threads that look, at what the inventory holds by now and is told from then on."""
        works = [(f"look-{number}", self._work) for number in range(self._settings.threads)]
        for name, work in [*works, ("resync", self._resync_for_ever), ("count", self._count_for_ever)]:
            thread = threading.Thread(target=work, name=name, daemon=True)
            thread.start()
            self._threads.append(thread)

    def stop(self) -> None:
        """Ends the threads; a look that is under way ends first."""
        self._stopping.set()
        self.queue.close()
        for thread in self._threads:
            thread.join(timeout=10.0)

    def repair(self) -> None:
        """Lists all that is served, so that the inventory holds what is there and nothing else."""
        for namespace in self._settings.namespaces or (None,):
            within = None if namespace is None else (namespace,)
            for kind, labels in WATCHED.items():
                since = self._clock()
                items = self._cluster.list(kind, namespace, labels=labels)
                self.inventory.repair(namespaces=within, since=since, kind=kind, items=items)

    def resync(self) -> None:
        """Has everything read anew: the cluster's lists now, the store at each experiment's next look."""
        self.repair()
        self._meter.read()
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

    def _count_for_ever(self) -> None:
        while self.ledger.is_kept:
            self.ledger.count()
            if self._stopping.wait(COUNT_SECONDS):
                return

    def _wake(self, uid: str, why: Why) -> None:
        since = self._clock() - self._looked_at.get(uid, float("-inf"))
        namespace = self.inventory.namespace_of(uid)
        match why:
            case Why.NEWS:
                between, at_least = self._news_seconds(namespace), 0.0
            case Why.ROOM:
                # With a handful of places at once; a single one waits a little for further ones.
                is_handful = self._rooms.called(uid, namespace) >= self._settings.jobs_per_namespace // HANDFUL
                between = self._settings.settle_seconds
                at_least = 0.0 if is_handful else self._settings.call_seconds
            case Why.WORK:
                between, at_least = self._settings.settle_seconds * self._crowding(namespace), 0.0
        self.queue.add(uid, after=max(at_least, between - since))

    def _news_seconds(self, namespace: str) -> float:
        """Between two times that anything is said of an experiment of which there is nothing urgent to say."""
        return self._settings.status_seconds * self._crowding(namespace)

    def _crowding(self, namespace: str) -> float:
        """How much more rarely each experiment is looked at and spoken of where there are many: 1 or more."""
        return max(1.0, self._memory.share(namespace) / EXPERIMENTS_PER_SECOND)

    def _work(self) -> None:
        while (uid := self.queue.take()) is not None:
            after: float | None = ERROR_SECONDS
            try:
                with LOOK_SECONDS.time():
                    after = self.attend(uid)
            finally:
                self.queue.finish(uid)
            if after is not None:
                self.queue.add(uid, after=max(after, self._settings.settle_seconds))

    def attend(self, uid: str) -> float | None:
        """Looks at one experiment unless it is to be left alone; whatever the look ends in, says when to look again.

        One experiment's trouble must not end the others' looks: it becomes a condition, and pauses that grow.
        """
        body = self.inventory.experiment(uid)
        if body is not None:
            pause = self._failing.pause(uid, generation=body["metadata"]["generation"], now=self._clock())
            if pause > 0:
                self._acting.leave(uid)
                return pause
        self._begun[uid] = self._clock()
        try:
            after = self.look(uid)
        except LookFailed as error:
            return self._fail(uid, reason=error.reason, message=str(error))
        except (ClusterUnavailable, ClusterRefused) as error:
            # The API server's trouble, of which no status could be told.
            return self._fail(uid, reason="", message=str(error))
        except Exception as error:  # noqa: BLE001
            _log.exception("look failed", experiment=uid)
            words = (
                f"a look at this experiment ended in an unexpected error ({type(error).__name__}), which is in the log"
            )
            return self._fail(uid, reason="LookFailed", message=f"{words} of the controller with the UID {uid}")
        finally:
            del self._begun[uid]
            if self.inventory.experiment(uid) is not None:
                self._looked_at[uid] = self._clock()
        self._failing.went_well(uid)
        return after

    def _fail(self, uid: str, *, reason: str, message: str) -> float | None:
        """Takes note of a look that failed, and says so on the object; returns the pause."""
        LOOK_ERRORS.inc()
        body = self.inventory.experiment(uid)
        if body is None:
            return 0.0
        now, generation = self._clock(), body["metadata"]["generation"]
        times = self._failing.failed(uid, generation=generation, now=now)
        _log.warning("look failed", experiment=uid, reason=reason or "cluster", error=message, times=times)
        if reason:
            try:
                self._write(body, conditions.unlooked(body, reason=reason, message=shortened(message)))
            except (ClusterUnavailable, ClusterRefused) as error:
                _log.warning("failed look not told", experiment=uid, error=str(error))
        return self._failing.pause(uid, generation=generation, now=now)

    def hung(self) -> list[str]:
        """UIDs of the experiments at which looks hang; where there is one, the process is not healthy."""
        since = self._clock() - HUNG * self._settings.look_seconds
        return [uid for uid, begun in list(self._begun.items()) if begun < since]

    @property
    def metrics(self) -> StateMetrics:
        """What Prometheus is told of the state held here."""
        return StateMetrics(
            queue=self.queue, inventory=self.inventory, waits=self._waits, meter=self._meter, ledger=self.ledger
        )

    @property
    def remembered(self) -> list[str]:
        """UIDs of the experiments of which more than their objects is remembered."""
        return self._memory.uids()

    # One look

    def look(self, uid: str) -> float | None:
        """Looks at one experiment; returns the seconds until it wants to be looked at again, or None."""
        body = self.inventory.experiment(uid)
        if body is None or "deletionTimestamp" in body["metadata"]:
            # Its Jobs go with it: it owns them.
            self._memory.forget(uid)
            self._looked_at.pop(uid, None)
            self._finished.pop(uid, None)
            self._waits.forget(uid)
            self._acting.leave(uid)
            return None
        self._finished.pop(uid, None)
        namespace = body["metadata"]["namespace"]
        cache = self._memory.begin(uid, namespace)
        if not self._rooms.begin(uid, namespace):
            cache.has_room()
        try:
            return self._look(body, cache)
        finally:
            self._memory.end(uid)
            for called in self._rooms.end(uid, namespace):
                self._wake(called, Why.ROOM)

    def _look(self, body: Mapping[str, Any], cache: ExperimentCache) -> float | None:
        uid = body["metadata"]["uid"]
        allowance = Allowance(seconds=self._settings.look_seconds, clock=self._clock)
        cache.ask_for_all(before=self._resynced_at - self._settings.resync_seconds / 2)
        try:
            trial, snapshot = observe(
                body,
                cache,
                inventory=self.inventory,
                stores=self._stores,
                jobs=self._jobs,
                ledger=self.ledger,
                clock=self._clock,
                permits=self._permits,
                job_limit=self._settings.jobs_per_experiment,
                allowance=allowance,
                collections=self._collections,
            )
        except (ArtifactMissing, DataLoss) as error:
            cache.is_full_due = True
            if cache.is_doubted:
                raise LookFailed("StoreDamaged", f"the store is not as its own records say: {error}") from error
            _log.warning("store read again", experiment=uid, error=str(error))
            cache.is_doubted = True
            return ERROR_SECONDS
        allowance.check_time()
        cache.is_doubted = False
        with RECONCILE_SECONDS.time():
            decision = reconcile(trial, snapshot)
        self._waits.note(uid, decision.status.get("pending") or ())
        # First what is known now: actions take time, and a person watches.
        stands = self._say(body, cache, decision)
        if stands and not decision.actions and not snapshot.jobs and conditions.has_succeeded(decision.status):
            self._memory.forget(uid)
            self._finished[uid] = self._clock()
            return None
        again = self._acting.carry_out(
            decision.actions, trial, snapshot, cache, allowance, news_seconds=self._news_seconds(trial.namespace)
        )
        waits = [after for after in (again, decision.look_again_after) if after is not None]
        return min(waits, default=None)

    # What is said

    def _say(self, body: Mapping[str, Any], cache: ExperimentCache, decision: Decision) -> bool:
        """Writes the status where it differs from what the object has, and tells what changed; whether it stands."""
        current = conditions.own(body.get("status") or {})
        interval = self._news_seconds(body["metadata"]["namespace"])
        is_early = self._clock() - cache.status_written_at < interval
        if is_early and not conditions.told(decision.status, current) and _merged(decision.status, body) != current:
            self.queue.add(body["metadata"]["uid"], after=interval)
            return False
        return self._write(body, decision.status, cache)

    def _write(self, body: Mapping[str, Any], new: conditions.Status, cache: ExperimentCache | None = None) -> bool:
        """Writes a status, unless the object has it already; whether it has it now."""
        current, status = conditions.own(body.get("status") or {}), _merged(new, body)
        if status == current:
            return True
        events = conditions.told(new, current)
        about = {"apiVersion": "syntrial.dev/v1alpha1", "kind": "Experiment", "metadata": body["metadata"]}
        try:
            written = self._cluster.patch_status({**about, "status": status}, field_manager=FIELD_MANAGER)
        except ClusterRefused as error:
            if error.status == 404:
                return False
            raise
        if cache is not None:
            cache.status_written_at = self._clock()
        self.inventory.put_experiment(written, quietly=True)
        for reason, message, bad in events:
            self._cluster.create_event(
                about, reason=reason, message=shortened(message), warning=bad, component=FIELD_MANAGER
            )
        return True


def _merged(new: conditions.Status, body: Mapping[str, Any]) -> conditions.Status:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return conditions.merged(new, body.get("status"), now=now, created=body["metadata"]["creationTimestamp"])

"""Jobs as the cluster has them: made, deleted, and asked what became of their pods."""

import contextlib
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Protocol

import structlog

from syntrial.cluster.manifests import Batch, Images, Owner, ingest_job, limits_of, step_job
from syntrial.cluster.pod_resources import Defaults
from syntrial.controller.batching import downloads
from syntrial.controller.experiment_cache import ExperimentCache, Submission
from syntrial.controller.inventory import Inventory
from syntrial.controller.postmortem import ended_by, postmortem
from syntrial.controller.reconcile import DeleteJob
from syntrial.controller.snapshot import Refusal, TrialState
from syntrial.controller.standing import ran_out_of_memory
from syntrial.controller.telemetry import JOBS_CREATED
from syntrial.controller.views import LABEL_TEMPLATE, JobView, devices_of, experiment_of, pod_view, template_of
from syntrial.controller.waiting import QUOTA_EXCEEDED, REFUSED
from syntrial.errors import ClusterRefused, ClusterUnavailable
from syntrial.experiment.model import ALONE, Experiment
from syntrial.plan.steps import shared_by
from syntrial.sources.named import SourceRef
from syntrial.stages import STAGES

LOG_LINES: Final = 200
"""Of a pod that died without recording its attempt, what is recorded for it."""

REFUSED_SECONDS: Final = 10.0
"""How long no Job is sent after the API server took none."""

PODLESS_SECONDS: Final = 3.0
"""From when on a Job without pods is looked into."""

ASK_SECONDS: Final = 15.0
"""Between two times that the events of such a Job are read."""

QUIET_SECONDS: Final = 5.0
"""Between two such readings, whatever the Job: the API server goes through all events of a namespace for each."""

_log = structlog.stdlib.get_logger(__name__)

Manifest = dict[str, Any]
Manifests = list[Manifest]


class ClusterApi(Protocol):
    """What is asked of the Kubernetes API; `syntrial.cluster.client.Kubernetes` has it."""

    def get(self, kind: str, namespace: str | None, name: str) -> Manifest | None:
        """An object, or None."""
        ...

    def list(self, kind: str, namespace: str | None = None, *, labels: str = "", fields: str = "") -> Manifests:
        """Objects of a kind."""
        ...

    def create(self, obj: Mapping[str, Any]) -> Manifest | None:
        """Makes an object and returns it; None where one of this name exists."""
        ...

    def delete(
        self,
        kind: str,
        namespace: str | None,
        name: str,
        *,
        propagation: Any = "Background",
        uid: str | None = None,
    ) -> bool:
        """Deletes an object; False where there is none."""
        ...

    def patch_status(self, obj: Mapping[str, Any], *, field_manager: str) -> Manifest:
        """Applies a status."""
        ...

    def apply(self, obj: Mapping[str, Any], *, field_manager: str) -> Manifest:
        """Makes an object or changes the fields that it names; refused where it is not the version that it names."""
        ...

    def pods_of(self, namespace: str, job: str) -> Manifests:
        """The pods of a Job."""
        ...

    def pod_log(self, namespace: str, pod: str, *, tail: int | None = None) -> str:
        """The end of a pod's log."""
        ...

    def create_event(
        self, about: Mapping[str, Any], *, reason: str, message: str, warning: bool = False, component: str
    ) -> None:
        """Tells an event."""
        ...

    def read_secret(self, namespace: str, name: str) -> dict[str, str]:
        """The entries of a Secret."""
        ...


class Jobs:
    """Makes and examines the Jobs of experiments."""

    def __init__(
        self,
        cluster: ClusterApi,
        *,
        inventory: Inventory,
        images: Images,
        store_secret: str,
        pods: Defaults,
        clock: Callable[[], float],
    ) -> None:
        """`pods` is what pods may use by default."""
        self._cluster = cluster
        self._inventory = inventory
        self._images = images
        self._store_secret = store_secret
        self._pods = pods
        self._clock = clock
        self._asking = threading.Lock()
        self._asked_at = float("-inf")
        """When the events of a Job were read last, by whichever look."""

    def manifest(self, batch: Batch, trial: TrialState, *, experiment: Experiment) -> Manifest:
        """The Job of a batch of steps, labelled with the hash of its pods."""
        cluster = experiment.spec.cluster
        return _labelled(
            step_job(
                batch,
                owner=owner_of(trial),
                placement=cluster.placement(batch.stage),
                cluster=cluster,
                images=self._images,
                store_secret=self._store_secret,
                pods=self._pods,
            )
        )

    def ingest_manifest(self, ref: SourceRef, trial: TrialState, *, attempt: int, experiment: Experiment) -> Manifest:
        """The Job that brings a source into the store."""
        return _labelled(
            ingest_job(
                ref,
                attempt=attempt,
                owner=owner_of(trial),
                cluster=experiment.spec.cluster,
                images=self._images,
                store_secret=self._store_secret,
                pods=self._pods,
            )
        )

    def stages_with_devices(self, experiment: Experiment) -> frozenset[str]:
        """The stages whose pods would hold devices, such as GPUs."""
        cluster = experiment.spec.cluster
        limits = {stage: limits_of(stage, placement=cluster.placement(stage), pods=self._pods) for stage in STAGES}
        return frozenset(
            stage for stage, found in limits.items() if devices_of({"containers": [{"resources": {"limits": found}}]})
        )

    def submit(self, job: Manifest, keys: tuple[str, ...]) -> Submission:
        """Creates a Job, and says what came of it; raises ClusterUnavailable."""
        metadata = job["metadata"]
        name, uid, namespace = metadata["name"], metadata["ownerReferences"][0]["uid"], metadata["namespace"]
        if not self._inventory.reserve(uid, namespace, keys):
            return Submission(job=name, keys=keys, outcome="taken")
        try:
            made = self._cluster.create(job)
            found = made or self._cluster.get("Job", namespace, name)
        except ClusterRefused as error:
            self._inventory.release(uid, namespace, keys)
            refusal = Refusal(
                reason=QUOTA_EXCEEDED if error.is_quota else REFUSED,
                message=error.message,
                until=self._clock() + REFUSED_SECONDS,
            )
            return Submission(job=name, keys=keys, outcome="refused", refusal=refusal)
        except ClusterUnavailable:
            # It may have been made all the same: its name tells, at the next look.
            self._inventory.release(uid, namespace, keys)
            raise
        if made is not None:
            JOBS_CREATED.inc()
        if found is not None and experiment_of(found["metadata"]) != uid:
            self._inventory.release(uid, namespace, keys)
            message = f"a Job {name} is there that this Experiment does not control: delete it"
            refusal = Refusal(reason=REFUSED, message=message, until=self._clock() + REFUSED_SECONDS)
            return Submission(job=name, keys=keys, outcome="refused", refusal=refusal)
        if found is not None:
            # Its events may have come before this answer.
            self._inventory.put_job(found)
        else:
            self._inventory.release(uid, namespace, keys)
        return Submission(job=name, keys=keys, outcome="found" if made is None else "made")

    def delete(self, action: DeleteJob, namespace: str, views: Iterable[JobView]) -> None:
        """Deletes a Job as it was seen; a live one stays until its pods have ended: none runs beside the next."""
        view = next(view for view in views if view.name == action.name)
        propagation = "Foreground" if action.is_live else "Background"
        there = self._cluster.delete("Job", namespace, action.name, propagation=propagation, uid=view.uid or None)
        if there:
            self._inventory.mark_deleting(view)
        else:
            self._inventory.drop_job(view)

    def examine(
        self,
        views: Iterable[JobView],
        trial: TrialState,
        cache: ExperimentCache,
        *,
        is_wanted: Callable[[JobView], bool],
    ) -> None:
        """Finds out what the Jobs' own status does not say: of ended ones why, of waiting ones what they wait for."""
        views = list(views)
        names = {view.name for view in views}
        for known in (cache.evidence, cache.outdated, cache.refused_pods, cache.asked_events):
            for name in [name for name in known if name not in names]:
                del known[name]
        asked = False
        for view in views:
            try:
                if view.ended and view.name not in cache.evidence and is_wanted(view):
                    cache.evidence[view.name] = self._postmortem(view)
                elif view.is_live and not view.is_deleting and not view.has_running_pod:
                    self._compare(view, trial, cache)
                    if not asked and not view.pods and not view.is_suspended:
                        asked = self._ask_events(view, cache)
                    elif view.pods:
                        cache.refused_pods.pop(view.name, None)
            except (ClusterUnavailable, ClusterRefused) as error:
                _log.warning("job not examined", job=view.name, error=str(error))
                return

    def _postmortem(self, view: JobView) -> Any:
        found = self._cluster.pods_of(view.namespace, view.name) if view.ended == "failed" else []
        pods = [pod for pod in map(pod_view, found) if pod.job == view.uid]
        log = ""
        if last := ended_by(pods):
            # A node that is gone gives no log; what the pod's status says is known all the same.
            with contextlib.suppress(ClusterUnavailable, ClusterRefused):
                log = self._cluster.pod_log(view.namespace, last.name, tail=LOG_LINES)
        return postmortem(view, pods, log=log)

    def _compare(self, view: JobView, trial: TrialState, cache: ExperimentCache) -> None:
        """Whether a Job that waits would be made with other pods today: another image, another placement."""
        if not view.keys or trial.experiment is None or not view.template:
            return
        if cache.outdated.get(view.name, (-1, False))[0] == trial.generation:
            return
        starved = len(view.keys) == 1 and ran_out_of_memory(cache.attempts.get(view.keys[0], ()))
        limit = trial.experiment.spec.cluster.placement(view.stage).out_of_memory_limit if starved else None
        steps = trial.plan.steps if trial.plan is not None else ()
        step = next((step for step in steps if step.key in view.keys), None)
        batch = Batch(
            stage=view.stage,
            keys=view.keys,
            attempt=view.attempt,
            memory_limit=limit,
            image=step.program.image if step else "",
            downloads=step is not None and downloads(step),
            sharing=ALONE if step is None else shared_by(step, trial.experiment.spec.resources),
        )
        today = self.manifest(batch, trial, experiment=trial.experiment)["metadata"]["labels"][LABEL_TEMPLATE]
        cache.outdated[view.name] = (trial.generation, today != view.template)

    def _ask_events(self, view: JobView, cache: ExperimentCache) -> bool:
        """Reads why Kubernetes makes no pods for a Job, now and then; says whether it was asked."""
        now = self._clock()
        asked = cache.asked_events.setdefault(view.name, now - ASK_SECONDS + PODLESS_SECONDS)
        if now - asked < ASK_SECONDS:
            return False
        with self._asking:
            if now - self._asked_at < QUIET_SECONDS:
                return False
            self._asked_at = now
        cache.asked_events[view.name] = now
        events = self._cluster.list(
            "Event", view.namespace, fields=f"involvedObject.name={view.name},involvedObject.kind=Job,type=Warning"
        )
        if events:
            latest = max(events, key=lambda event: str(event.get("lastTimestamp") or event.get("eventTime") or ""))
            cache.refused_pods[view.name] = str(latest.get("message", ""))[:400]
        return True


def owner_of(trial: TrialState) -> Owner:
    """Whom a trial's Jobs belong to."""
    return Owner(name=trial.name, uid=trial.uid, namespace=trial.namespace)


def _labelled(job: Manifest) -> Manifest:
    job["metadata"]["labels"][LABEL_TEMPLATE] = template_of(job)
    return job

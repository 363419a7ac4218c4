"""A world for the controller in memory: an API server, a store that may be away, and pods that do as they are told.

The controller that runs in it is the whole one but for its watches, which the world plays: they may lag, and the
controller may be killed at any call.
"""

# ruff: noqa: ARG002 - the methods of `Api` are those of `syntrial.cluster.client.Kubernetes`

import functools
import itertools
import json
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from math import inf
from pathlib import Path
from typing import Any, Final

from syntrial.artifacts.content import file_digest
from syntrial.artifacts.keys import canonical_request
from syntrial.artifacts.memory import MemoryBackend
from syntrial.artifacts.references import member_refs
from syntrial.artifacts.store import ArtifactStore
from syntrial.artifacts.uploads import put_upload
from syntrial.cluster.manifests import Images, attempt_of, keys_of, source_of_job
from syntrial.controller.controller import Controller
from syntrial.controller.observe import FRESH_SECONDS
from syntrial.controller.settings import Settings
from syntrial.controller.views import job_view, pod_view
from syntrial.documents.document import write
from syntrial.documents.search import MEMBER, NAME
from syntrial.errors import ArtifactMissing, ClusterRefused, ClusterUnavailable, StoreUnavailable, UserError
from syntrial.experiment.allowed import Allowed
from syntrial.plan.search import DECIDING
from syntrial.rpc.step import recorded_request
from syntrial.sources.ingest import record_source, recorded_source
from syntrial.trial.status import TRACKED
from syntrial.v1.artifacts_pb2 import MemberRef
from tests.unit.plan.deciding import decided

NAMESPACE = "trials"
SPEC: dict[str, Any] = {
    "dataset": {"phantom": {"trainPatients": 8, "validationPatients": 4, "testPatients": 8}, "size": 16},
    "synthetic": [{"name": "edm", "generator": {"diffusion": {"preset": "pico"}}, "copies": 0}],
    "arms": ["augment-50"],
    "replicates": 2,
    "controls": "none",
    "budget": {"steps": 60},
}
TUNED_SPEC: dict[str, Any] = {
    **SPEC,
    "synthetic": [
        SPEC["synthetic"][0]
        | {
            "tune": {
                "over": {"learningRate": {"range": [1e-4, 1e-2], "log": True}},
                "trials": 4,
                "prune": {"after": [0.5]},
            }
        }
    ],
}
"""The same with a search."""
TUNED_CLASSIFIER_SPEC: dict[str, Any] = {
    **SPEC,
    "classifiers": [{"model": "small-cnn", "tune": TUNED_SPEC["synthetic"][0]["tune"]}],
}
"""The same with a search for its classifier's fields."""
FILTERED_SPEC: dict[str, Any] = {
    **SPEC,
    "synthetic": [SPEC["synthetic"][0] | {"filters": [{"confidence": {"minimum": 0.5}}]}],
    "controls": "primary",
}
"""The same with filters that leave too few of the first candidates, and their control."""
ENOUGH = 5.0
"""Candidates of which filters leave each image needed."""
SOURCE = "s3://bucket/data.npz"
SOURCED_SPEC: dict[str, Any] = {**SPEC, "dataset": {"npz": SOURCE}}
"""The same of a data set that a Job has to bring into the store first."""
MEMBERS = {
    "PrepareDataset": ("train", "validation", "test", "audit", "scale"),
    "TrainEncoder": ("encoder",),
    "TrainGenerator": ("generator", "curves", "state"),
    "SampleImages": ("images",),
    "ImportImages": ("images",),
    "FilterImages": ("accepted", "rejected", "decisions"),
    "AssessImages": ("quality",),
    "TrainClassifier": ("classifier", "training", "validation", "state"),
    "ProposeTrials": (),
    "PruneTrials": (),
    "ChooseTrial": (),
    "EvaluateClassifier": ("predictions",),
    "WriteReport": (),
}
"""The members of each method's artifact that others ask for."""
CHANGES = frozenset({"write", "create", "delete", "put_blob"})
"""Calls by which a store is another afterwards."""
VERDICT = {
    "outcome": "improves",
    "by_less_than_margin": False,
    "estimate": 0.02,
    "interval_95": [0.01, 0.03],
    "words": "It helps.",
}


YEAR: Final = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
"""The moment at which a world's clock is at 0."""


class Killed(BaseException):
    """The controller's process is killed."""


_BLOBS: Final = MemoryBackend()


class SharedBlobs(MemoryBackend):
    """A store in memory whose blobs lie in one folder, whichever world they are of: they are the same in each."""

    def spool_path(self) -> Path:
        return _BLOBS.spool_path()

    def put_blob(self, spool: Path, /, *, digest: str) -> None:
        _BLOBS.put_blob(spool, digest=digest)

    def renew(self, digest: str, /, *, size: int) -> bool:
        return _BLOBS.renew(digest, size=size)

    def blob_path(self, digest: str, /, *, size: int, fresh: bool = False) -> Path:
        return _BLOBS.blob_path(digest, size=size, fresh=fresh)


class Door:
    """The way to a store for who is not in the cluster's pods: it may be shut; `on_call` is told of each change."""

    def __init__(self, inside: MemoryBackend) -> None:
        self._inside = inside
        self.answers_left: float = inf
        """Calls that are still answered; 0: the store is away."""
        self.has_refused = False
        """Whether a call was refused since the store was there last."""
        self.on_call: Callable[[], None] = lambda: None

    @property
    def is_away(self) -> bool:
        return self.answers_left <= 0

    @is_away.setter
    def is_away(self, value: bool) -> None:
        self.answers_left = 0 if value else inf
        self.has_refused = False

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inside, name)
        if not callable(found):
            return found

        def call(*given: Any, **named: Any) -> Any:
            if self.is_away:
                self.has_refused = True
                raise StoreUnavailable("the store is away")
            self.answers_left -= 1
            if name in CHANGES:
                self.on_call()
            return found(*given, **named)

        return call


class Api:
    """The objects of a cluster, as the controller asks for them, and the events of its watches."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str, str], dict[str, Any]] = {}
        self.events: list[tuple[str, str, dict[str, Any]]] = []
        """Type, kind and object of each change, in order."""
        self.told: list[str] = []
        self.created: Counter[str] = Counter()
        self.logs: dict[str, str] = {}
        self.on_call: Callable[[], None] = lambda: None
        self.on_created: Callable[[dict[str, Any]], None] = lambda _made: None
        """Called before whoever asked gets an answer."""
        self.on_change: Callable[[dict[str, Any], str], None] = lambda _job, _change: None
        """Called before a controller makes a Job, or deletes one as live or as ended."""
        self.refuse: ClusterRefused | None = None
        self._versions = itertools.count(1)
        self._uids = itertools.count(1)

    def put(self, obj: Mapping[str, Any], *, change: str = "MODIFIED") -> dict[str, Any]:
        body: dict[str, Any] = json.loads(json.dumps(obj))
        metadata = body["metadata"]
        metadata.setdefault("uid", f"uid-{next(self._uids)}")
        metadata.setdefault("creationTimestamp", "2026-01-01T00:00:00Z")
        metadata["resourceVersion"] = str(next(self._versions))
        self.objects[body["kind"], metadata["namespace"], metadata["name"]] = body
        self.events.append((change, body["kind"], json.loads(json.dumps(body))))
        return body

    def remove(self, kind: str, namespace: str, name: str) -> None:
        body = self.objects.pop((kind, namespace, name), None)
        if body is None:
            return
        self.events.append(("DELETED", kind, body))
        for (child_kind, child_namespace, child), found in list(self.objects.items()):
            owners = found["metadata"].get("ownerReferences", ())
            if any(owner["uid"] == body["metadata"]["uid"] for owner in owners):
                self.remove(child_kind, child_namespace, child)

    # What the controller asks

    def get(self, kind: str, namespace: str | None, name: str) -> dict[str, Any] | None:
        return self.objects.get((kind, namespace or "", name))

    def list(self, kind: str, namespace: str | None = None, *, labels: str = "", fields: str = "") -> Any:
        return [
            json.loads(json.dumps(body))
            for (found, where, _), body in list(self.objects.items())
            if found == kind and namespace in (None, where)
        ]

    def create(self, obj: Mapping[str, Any]) -> dict[str, Any] | None:
        self.on_call()
        if self.refuse is not None:
            raise self.refuse
        key = (obj["kind"], obj["metadata"]["namespace"], obj["metadata"]["name"])
        if key in self.objects:
            return None
        if obj["kind"] == "Job":
            self.on_change(dict(obj), "made")
        self.created[obj["metadata"]["name"]] += 1
        made = self.put(obj, change="ADDED")
        self.on_created(made)
        return made

    def delete(
        self, kind: str, namespace: str | None, name: str, *, propagation: Any = "Background", uid: str | None = None
    ) -> bool:
        self.on_call()
        body = self.objects.get((kind, namespace or "", name))
        if body is not None and kind == "Job":
            # One that is deleted as live may have ended unseen a moment before.
            self.on_change(body, "deleted as ended" if propagation == "Background" else "deleted as live")
        if body is None or (uid is not None and body["metadata"]["uid"] != uid):
            return False
        self.remove(kind, namespace or "", name)
        return True

    def patch_status(self, obj: Mapping[str, Any], *, field_manager: str) -> dict[str, Any]:
        self.on_call()
        key = ("Experiment", obj["metadata"]["namespace"], obj["metadata"]["name"])
        if key not in self.objects:
            raise ClusterRefused("gone", status=404, reason="NotFound", field="", remedy="")
        known = self.objects[key]
        # What another field manager wrote stays, in a list whose entries have types.
        others = [item for item in known.get("status", {}).get("conditions", ()) if item["type"] == TRACKED]
        conditions = [*obj["status"]["conditions"], *others]
        return self.put({**known, "status": {**obj["status"], "conditions": conditions}})

    def apply(self, obj: Mapping[str, Any], *, field_manager: str) -> dict[str, Any]:
        self.on_call()
        known = self.objects.get((obj["kind"], obj["metadata"]["namespace"], obj["metadata"]["name"]))
        wanted = obj["metadata"].get("resourceVersion")
        if wanted and (known is None or known["metadata"]["resourceVersion"] != wanted):
            raise ClusterRefused("the object has been modified", status=409, reason="Conflict", field="", remedy="")
        return self.put({**obj, "metadata": {**(known or obj)["metadata"]}})

    def pods_of(self, namespace: str, job: str) -> Any:
        return [pod for pod in self.list("Pod", namespace) if pod["metadata"]["labels"].get("job-name") == job]

    def pod_log(self, namespace: str, pod: str, *, tail: int | None = None) -> str:
        return self.logs.get(pod, "")

    def create_event(self, about: Any, *, reason: str, message: str, warning: bool = False, component: str) -> None:
        self.told.append(reason)

    def read_secret(self, namespace: str, name: str) -> dict[str, str]:
        secret = self.get("Secret", namespace, name)
        if secret is None:
            raise UserError(field=f"secret {name}", rule="must exist", received="none", remedy="Create it.")
        return {}


def pretend(store: ArtifactStore, key: str) -> bool:
    """Commits an artifact for a recorded request, without computing anything; False where it stands already."""
    if store.is_done(key):
        return False
    record = store.request(key)
    assert record is not None, "a Job's requests are recorded before it starts"
    method, request = recorded_request(record, key=key)
    body = canonical_request(request)
    writer = store.writer(key, method=method, stage_version=record["stage_version"], request=body)
    for ref in member_refs(request):
        writer.record_input(ref, digest=store.open(ref).digest)
    decision = decided(method, request, enough=ENOUGH) if method in DECIDING else None
    is_short = decision is not None and decision.oversample is not None
    for name in ("decisions",) if is_short else MEMBERS[method.rpartition("/")[2]]:
        writer.write(name, "value", f"{key}/{name}".encode())
    if decision is not None:
        write(writer, MEMBER, NAME, document=decision)
    writer.json("report", "report.json", {"verdict": VERDICT, "endpoint": {"metric": "auroc"}})
    store.commit(writer)
    return True


@functools.cache
def _source_file() -> Path:
    """What lies at `SOURCE`."""
    path = _BLOBS.spool_path()
    path.write_bytes(b"what is in it matters to the stage alone")
    return path


_PRETENDED: dict[str, tuple[bytes, tuple[str, ...]]] = {}
"""Manifests that some world had, and the keys of their inputs: the same in each, and made anew much more slowly."""


class World:
    """A cluster with one namespace, its store, and as many controllers as are started."""

    def __init__(self, spec: Mapping[str, Any] = SPEC, **settings: Any) -> None:
        """`settings` are those of its controllers."""
        self.spec = spec
        """What is applied where nothing else is."""
        self.settings = settings
        self.now = 1000.0
        self.api = Api()
        inside = SharedBlobs()
        self.store = ArtifactStore(inside)
        """As it is: for pods, and for those who check."""
        self.backend = Door(inside)
        self.seen_store = ArtifactStore(self.backend)
        """As the controllers reach it."""
        self.controllers: list[tuple[Controller, list[int]]] = []
        self.runs: Counter[str] = Counter()
        """How often each step was carried to its end."""
        self.done_at: dict[str, float] = {}
        """When."""
        self.members: dict[str, set[str]] = {}
        self.has_lost_answer = False
        """Whether a Job was made once and its maker did not hear of it."""
        self.is_known_away = False
        """Whether the store was away already when the look began that is under way."""
        self.is_stopped = False
        """Whether the user has stopped the experiment that is looked at, as far as was told when that look began."""
        self.api.on_change = self._check_change
        self.api.put({"kind": "Secret", "metadata": {"namespace": NAMESPACE, "name": "syntrial-store"}})

    def _check_change(self, job: dict[str, Any], change: str) -> None:
        """What a controller does to a Job: never on what is not known, and to one that ended once all is on record."""
        owner = job["metadata"]["labels"]["syntrial.dev/experiment-uid"]
        if self.is_known_away or self.backend.has_refused:
            assert (self.is_stopped, change) == (True, "deleted as live"), f"a Job is {change} without the store"
        if change == "made":
            old = [key for key in keys_of(job) if self.done_at.get(key, inf) < self.now - FRESH_SECONDS]
            assert not self.store.done(old), "a Job is made for a step that was done long ago"
        if change == "deleted as ended" and job.get("status", {}).get("conditions"):
            source = source_of_job(job)
            if source is not None:
                found = recorded_source(self.store, uid=owner, name=source[0], address=source[1])
                assert found is not None, "a Job that could not bring a source stays until it is there"
            for key in keys_of(job):
                recorded = [attempt.number for attempt in self.store.attempts(key, experiment=owner)]
                known = self.store.is_done(key) or max(recorded, default=0) >= attempt_of(job)
                assert known, "a Job goes only once its attempts are recorded"

    # Users

    def apply(self, name: str = "small", *, spec: Mapping[str, Any] | None = None) -> str:
        """Applies an experiment, by default the world's; returns its UID."""
        known = self.api.get("Experiment", NAMESPACE, name)
        metadata = known["metadata"] if known else {"namespace": NAMESPACE, "name": name, "generation": 0}
        metadata = {**metadata, "generation": metadata["generation"] + 1}
        body = {"apiVersion": "syntrial.dev/v1alpha1", "kind": "Experiment", **(known or {}), "metadata": metadata}
        return str(self.api.put({**body, "spec": dict(spec or self.spec)})["metadata"]["uid"])

    @property
    def names(self) -> list[str]:
        """Of the experiments that there are."""
        return sorted(name for kind, _, name in self.api.objects if kind == "Experiment")

    def status(self, name: str = "small") -> dict[str, Any]:
        body = self.api.get("Experiment", NAMESPACE, name)
        assert body is not None
        return dict(body.get("status") or {})

    def condition(self, kind: str, name: str = "small") -> tuple[str, str]:
        """Status and reason of a condition."""
        for item in self.status(name).get("conditions", ()):
            if item["type"] == kind:
                return item["status"], item["reason"]
        return "", ""

    def away(self, *_given: Any, **_named: Any) -> Any:
        """What a call to an API server that does not answer ends in."""
        raise ClusterUnavailable("no answer")

    # Controllers

    def start(self, *, threads: int = 1, **fields: Any) -> Controller:
        """A controller; `fields` are settings beside the world's."""
        settings = Settings(
            allowed=Allowed(node_selector_keys=("disk",)),
            namespaces=(NAMESPACE,),
            images=Images(repository="r", tag="t"),
            threads=threads,
            acts=threads,
            settle_seconds=0.0,
            call_seconds=0.0,
            status_seconds=0.0,
            **{**self.settings, **fields},
        )
        controller = Controller(
            self.api,
            settings,
            open_store=lambda _secret, _namespace: self.seen_store,
            clock=self.clock,
            wall=self.wall,
        )
        controller.repair()
        self.controllers.append((controller, [len(self.api.events)]))
        return controller

    def kill(self, controller: Controller) -> None:
        controller.stop()
        self.controllers = [item for item in self.controllers if item[0] is not controller]

    def clock(self) -> float:
        return self.now

    def wall(self) -> float:
        """The time, in seconds since 1970."""
        return YEAR + self.now

    def time_of_day(self) -> str:
        """The same as Kubernetes writes it."""
        return f"{datetime.fromtimestamp(self.wall(), UTC):%Y-%m-%dT%H:%M:%SZ}"

    def deliver(self, controller: Controller, *, lag: int = 0) -> None:
        """Hands the controller the events of its watches, but for the last `lag`."""
        seen = next(seen for known, seen in self.controllers if known is controller)
        inventory = controller.inventory
        while seen[0] < len(self.api.events) - lag:
            change, kind, body = self.api.events[seen[0]]
            seen[0] += 1
            metadata = body["metadata"]
            if kind == "Experiment" and change == "DELETED":
                inventory.drop_experiment(metadata["uid"])
            elif kind == "Experiment":
                inventory.put_experiment(body)
            elif kind == "Job" and change == "DELETED":
                inventory.drop_job(job_view(body))
            elif kind == "Job":
                inventory.put_job(body)
            elif kind == "Pod" and change == "DELETED":
                inventory.drop_pod(pod_view(body))
            elif kind == "Pod":
                inventory.put_pod(body)

    def look(self, controller: Controller, *, lag: int = 0, most: int = 50) -> None:
        """Delivers events and lets the controller look at what it wants to look at, until it rests."""
        for _ in range(most):
            self.deliver(controller, lag=lag)
            uid = controller.queue.take(wait=False)
            if uid is None:
                return
            told = controller.inventory.experiment(uid) or {"spec": {}}
            self.is_known_away, self.is_stopped = self.backend.is_away, bool(told["spec"].get("suspend"))
            after: float | None = 5.0
            try:
                after = controller.look(uid)
            except ClusterUnavailable:
                # As the threads of a controller take it.
                pass
            finally:
                self.is_known_away = False
                controller.queue.finish(uid)
                if after is not None:
                    controller.queue.add(uid, after=after)

    # Pods

    def jobs(self, *, live: bool = True) -> list[dict[str, Any]]:
        return [
            job for job in self.api.list("Job", NAMESPACE) if not live or not job.get("status", {}).get("conditions")
        ]

    def start_pod(self, job: dict[str, Any]) -> dict[str, Any]:
        """A running pod of a Job, as Kubernetes makes it."""
        metadata = job["metadata"]
        labels = {**metadata["labels"], "job-name": metadata["name"]}
        owner = {"apiVersion": "batch/v1", "kind": "Job", "name": metadata["name"], "uid": metadata["uid"]}
        number = len(self.api.events)
        pod = {"namespace": NAMESPACE, "name": f"{metadata['name']}-{number}", "labels": labels}
        return self.api.put(
            {
                "kind": "Pod",
                "metadata": {**pod, "ownerReferences": [owner | {"controller": True}]},
                "spec": job["spec"]["template"]["spec"],
                "status": {
                    "phase": "Running",
                    "startTime": self.time_of_day(),
                    "containerStatuses": [{"name": "stage", "state": {"running": {}}}],
                },
            },
            change="ADDED",
        )

    def end_pod(self, job: dict[str, Any], pod: dict[str, Any] | None, *, code: int, reason: str = "") -> None:
        """Ends a pod and with it its Job."""
        if pod is not None:
            terminated = {
                "exitCode": code,
                "reason": reason or ("Completed" if code == 0 else "Error"),
                "finishedAt": self.time_of_day(),
            }
            ended = {
                "phase": "Succeeded" if code == 0 else "Failed",
                "containerStatuses": [{"name": "stage", "state": {"terminated": terminated}}],
            }
            self.api.put({**pod, "status": {**pod["status"], **ended}})
        kind = "Complete" if code == 0 else "Failed"
        why = "" if code == 0 else "PodFailurePolicy" if code == 2 else "BackoffLimitExceeded"
        condition = {"type": kind, "status": "True", "reason": why, "lastTransitionTime": "2026-01-01T00:00:10Z"}
        times = {"startTime": "2026-01-01T00:00:00Z", "conditions": [condition]}
        present = self.api.get("Job", NAMESPACE, job["metadata"]["name"])
        if present is not None:
            self.api.put({**present, "status": times})

    def work(self, job: dict[str, Any], *, until: int | None = None) -> None:
        """Carries the Job's steps to their ends, or the first `until` of them, as a stage's pod does."""
        for key in keys_of(job)[:until]:
            self.finish_step(key)

    def finish_step(self, key: str) -> None:
        """Commits the step's artifact where it does not stand; raises ArtifactMissing for want of an input."""
        if self.store.is_done(key):
            return
        name = f"artifacts/{key}/manifest.json"
        if (known := _PRETENDED.get(key)) is not None:
            data, inputs = known
            for source in inputs:
                self.store.open(MemberRef(key=source, member="report"))
            if self.store.backend.create(name, data):
                self.runs[key] += 1
                self.done_at[key] = self.now
                return
        self.runs[key] += pretend(self.store, key)
        self.done_at[key] = self.now
        manifest, made = self.store.manifest(key), self.store.backend.read(name)
        assert manifest is not None
        assert made is not None
        _PRETENDED[key] = made, tuple(manifest.input_keys)

    def bring(self, job: dict[str, Any]) -> None:
        """Puts the content at a source's address into the store, as an ingest's pod does."""
        name, address = source_of_job(job) or ("", "")
        file = _source_file()
        digest = file_digest(file)
        put_upload(self.store, file, digest=digest)
        owner = job["metadata"]["labels"]["syntrial.dev/experiment-uid"]
        record_source(self.store, uid=owner, name=name, address=address, digest=digest)

    def fail_step(self, job: dict[str, Any], key: str, *, reason: str, outcome: str = "failed") -> None:
        """Records a failed attempt, as a stage's pod does."""
        entry = {"outcome": outcome, "reason": reason, "message": f"{reason} it was", "retryable": True, "log": ""}
        self.store.add_attempt(key, entry, experiment=job["metadata"]["labels"]["syntrial.dev/experiment-uid"])

    def complete(self, job: dict[str, Any]) -> None:
        """Runs a Job to its good end."""
        assert attempt_of(job) > 0
        pod = self.start_pod(job)
        failed = 0
        if source_of_job(job) is not None:
            self.bring(job)
        for key in keys_of(job):
            try:
                self.finish_step(key)
            except ArtifactMissing:
                failed = 1
                self.fail_step(job, key, reason="ArtifactMissing")
        self.end_pod(job, pod, code=failed)

    def settle(self, controller: Controller, *, rounds: int = 60, name: str = "small") -> None:
        """Lets everything go well until the experiment has succeeded, or nothing more happens."""
        for _ in range(rounds):
            self.look(controller)
            if self.condition("Succeeded", name)[0] == "True":
                return
            for job in self.jobs():
                self.complete(job)
            self.now += 400.0
            controller.queue.add(self.uid(name))

    def uid(self, name: str = "small") -> str:
        body = self.api.get("Experiment", NAMESPACE, name)
        assert body is not None
        return str(body["metadata"]["uid"])

"""What the controller remembers of a Job and its pods: read once from the API's objects, small and frozen. Pure.

Called by the inventory, for each event of a watch; 2,000 Jobs with their pods take a few megabytes.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

from syntrial.artifacts.keys import canonical_json
from syntrial.cluster.manifests import CONTAINER, LABEL_EXPERIMENT_UID, attempt_of, keys_of, source_of_job, stage_of_job
from syntrial.experiment.model import API_VERSION

LABEL_TEMPLATE: Final = "syntrial.dev/template"
"""On a Job: the hash of the pods that it was made with, so that a Job which waits is made anew where they change."""

MESSAGE_LENGTH: Final = 400
"""Of messages that others wrote, what is kept."""

_GROUP: Final = API_VERSION.partition("/")[0]

_NEVER_READY: Final = frozenset(
    {"ImagePullBackOff", "ErrImagePull", "InvalidImageName", "ErrImageNeverPull", "CreateContainerConfigError"}
)


@dataclass(frozen=True, kw_only=True, slots=True)
class PodView:
    """A pod of a Job."""

    name: str
    uid: str
    namespace: str
    experiment: str
    """The experiment's UID, as its label says: what is believed is its Job."""
    job: str
    """The Job's UID."""
    phase: str
    """Pending, Running, Succeeded, Failed or Unknown."""
    is_stopping: bool
    """Whether it is being deleted."""
    unschedulable: str
    """Why the scheduler finds no node; "" where it does."""
    waiting: str
    """The reason why the container waits, for example "ImagePullBackOff"."""
    message: str
    """What Kubernetes says of the container's waiting or end."""
    exit_code: int | None
    ended: str
    """The reason of the container's end, for example "OOMKilled"; or the pod's, for example "Evicted"."""
    devices: int = 0
    """Whole devices that it holds while it runs, such as GPUs."""
    began: float | None = None
    """When its node took it up, in seconds since 1970 by the cluster's clock; None where none has."""
    ended_at: float | None = None
    """When the last of its containers ended; None while it runs, or where nothing says so."""
    disrupted: str = ""
    """Why something outside ends it, for example "DeletionByTaintManager", where its node does not answer."""


@dataclass(frozen=True, kw_only=True, slots=True)
class JobView:
    """A Job of an experiment."""

    name: str
    uid: str
    namespace: str
    experiment: str
    """The UID of the Experiment that controls it."""
    stage: str
    keys: tuple[str, ...]
    source: tuple[str, str] | None
    """Name and address of an ingest's source."""
    attempt: int
    template: str
    """Its label `LABEL_TEMPLATE`."""
    is_suspended: bool
    is_deleting: bool
    ended: Literal["", "complete", "failed"]
    reason: str
    message: str
    seconds: float
    """How long it ran, of one that ended; by the cluster's clock."""
    pods: tuple[PodView, ...] = ()

    @property
    def is_live(self) -> bool:
        """Whether it still works, or will."""
        return not self.ended

    @property
    def stopping_pods(self) -> tuple[PodView, ...]:
        """Those that are being deleted and have not ended."""
        return tuple(pod for pod in self.pods if pod.is_stopping and pod.phase not in ("Succeeded", "Failed"))

    @property
    def has_running_pod(self) -> bool:
        """Whether a pod of it runs now."""
        return any(pod.phase == "Running" and not pod.is_stopping for pod in self.pods)


def job_view(job: Mapping[str, Any]) -> JobView | None:
    """The view of a Job; None for one that is not of this controller's making.

    Labels may be anybody's: whose it is says the reference to the Experiment that controls it.
    """
    metadata, spec, status = job["metadata"], job["spec"], job.get("status") or {}
    labels = metadata.get("labels") or {}
    try:
        keys, source = keys_of(job), source_of_job(job)
        stage, attempt = stage_of_job(job), attempt_of(job)
        experiment = experiment_of(metadata)
    except (KeyError, ValueError, TypeError):
        return None
    if not experiment:
        return None
    ended: Literal["", "complete", "failed"] = ""
    reason = message = end = ""
    for condition in status.get("conditions") or ():
        if condition.get("status") == "True" and condition.get("type") in ("Complete", "Failed"):
            ended = "complete" if condition["type"] == "Complete" else "failed"
            reason, message = condition.get("reason", ""), condition.get("message", "")[:MESSAGE_LENGTH]
            end = condition.get("lastTransitionTime", "")
    return JobView(
        name=metadata["name"],
        uid=metadata.get("uid", ""),
        namespace=metadata["namespace"],
        experiment=experiment,
        stage=stage,
        keys=keys,
        source=source,
        attempt=attempt,
        template=labels.get(LABEL_TEMPLATE, ""),
        is_suspended=bool(spec.get("suspend")),
        is_deleting="deletionTimestamp" in metadata,
        ended=ended,
        reason=reason,
        message=message,
        seconds=_seconds(status.get("startTime") or "", status.get("completionTime") or end),
    )


def pod_view(pod: Mapping[str, Any]) -> PodView:
    """The view of a pod of a Job."""
    metadata, status = pod["metadata"], pod.get("status") or {}
    unschedulable = disrupted = ""
    for condition in status.get("conditions") or ():
        if condition.get("type") == "DisruptionTarget" and condition.get("status") == "True":
            disrupted = str(condition.get("reason", ""))[:MESSAGE_LENGTH]
        if (
            condition.get("type") == "PodScheduled"
            and condition.get("status") == "False"
            and condition.get("reason") == "Unschedulable"
        ):
            unschedulable = condition.get("message", "")[:MESSAGE_LENGTH] or "no node fits"
    states = [c.get("state") or {} for c in status.get("containerStatuses") or () if c.get("name") == CONTAINER]
    state = states[0] if states else {}
    waiting, terminated = state.get("waiting") or {}, state.get("terminated") or {}
    return PodView(
        name=metadata["name"],
        uid=metadata.get("uid", ""),
        namespace=metadata["namespace"],
        experiment=(metadata.get("labels") or {}).get(LABEL_EXPERIMENT_UID, ""),
        job=_controller_of(metadata, kind="Job", group="batch"),
        phase=status.get("phase", "Pending"),
        is_stopping="deletionTimestamp" in metadata,
        unschedulable=unschedulable,
        waiting=waiting.get("reason", ""),
        message=(waiting.get("message") or terminated.get("message") or status.get("message") or "")[:MESSAGE_LENGTH],
        exit_code=terminated.get("exitCode"),
        devices=devices_of(pod.get("spec") or {}),
        began=_moment(status.get("startTime")),
        ended_at=max(
            (
                end
                for container in status.get("containerStatuses") or ()
                if (end := _moment(((container.get("state") or {}).get("terminated") or {}).get("finishedAt")))
            ),
            default=None,
        ),
        # The pod's own reason, such as a deadline, says more than how its container took it.
        ended=status.get("reason") or terminated.get("reason") or "",
        disrupted=disrupted,
    )


def experiment_of(metadata: Mapping[str, Any]) -> str:
    """The UID of the Experiment that controls a Job; "" where none does."""
    return _controller_of(metadata, kind="Experiment", group=_GROUP)


def _controller_of(metadata: Mapping[str, Any], *, kind: str, group: str) -> str:
    for owner in metadata.get("ownerReferences") or ():
        if owner.get("controller") is True:
            known = owner.get("kind") == kind and str(owner.get("apiVersion", "")).rpartition("/")[0] == group
            return str(owner["uid"]) if known else ""
    return ""


def is_stuck(pod: PodView) -> bool:
    """Whether the container cannot start as it is described: an image that is not there, a Secret that is missing."""
    return pod.waiting in _NEVER_READY


def template_of(job: Mapping[str, Any]) -> str:
    """The value of `LABEL_TEMPLATE` for a Job that is about to be made."""
    return hashlib.sha256(canonical_json(job["spec"]["template"]["spec"])).hexdigest()[:16]


def devices_of(spec: Mapping[str, Any]) -> int:
    """How many devices a pod with this specification holds."""
    limits = [((c.get("resources") or {}).get("limits") or {}) for c in spec.get("containers") or ()]
    return sum(int(str(count)) for of_one in limits for name, count in of_one.items() if _is_device(name, count))


def _is_device(name: str, count: object) -> bool:
    return "/" in name and str(count).isdecimal()


def _seconds(start: str, end: str) -> float:
    if not start or not end:
        return 0.0
    return max(0.0, (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds())


def _moment(text: str | None) -> float | None:
    return datetime.fromisoformat(text).timestamp() if text else None

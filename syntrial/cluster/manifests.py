"""Kubernetes Jobs for batches of steps and for ingests; pure. Called by the controller.

Names, labels and arguments say all that has to be read back from a Job: `keys_of`, `stage_of_job`, `attempt_of` and
`source_of_job` are the inverse of `step_job` and `ingest_job`. Pods fulfil the Pod Security Standard `restricted`, run
under the namespace's default service account and hold no token of it.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, Literal

from syntrial.artifacts.keys import KEY_PATTERN, canonical_json
from syntrial.cluster.pod_resources import DEFAULTS, Defaults, resources_of, with_defaults
from syntrial.experiment.model import ALONE, API_VERSION, Cluster, Placement, Resources, Sharing, Toleration
from syntrial.rpc.exits import USER_ERROR
from syntrial.sources.named import SourceRef, noted
from syntrial.stages import STAGES

Manifest = dict[str, Any]
"""A Kubernetes object as the API takes it."""

CONTAINER: Final = "stage"
"""The container of a Job's pod that works on the steps."""

CONTROLLER: Final = "controller"
"""The image that also runs analysis steps and ingests."""

INGEST: Final = "ingest"
"""The component of Jobs that bring a source into the store."""

LABEL_EXPERIMENT: Final = "syntrial.dev/experiment"
LABEL_EXPERIMENT_UID: Final = "syntrial.dev/experiment-uid"
LABEL_ATTEMPT: Final = "syntrial.dev/attempt"
LABEL_COMPONENT: Final = "app.kubernetes.io/component"
LABEL_EGRESS: Final = "syntrial.dev/egress"
"""On the pods that fetch something from outside of the cluster: the chart's policies let no others out."""
DOWNLOADS: Final = "downloads"
LABEL_RANKS: Final = "syntrial.dev/ranks"
"""On the pods that share a step with others: the chart's policies let these reach each other, and no others."""
SEVERAL_PODS: Final = "several-pods"
LABEL_QUEUE: Final = "kueue.x-k8s.io/queue-name"

NOBODY: Final = 65532
"""User and group of every pod, as in the images."""

PORT: Final = 50051
"""Where a pod serves `Watch`, on 127.0.0.1: a port-forward reaches it and no other pod does."""

RANKS_SERVICE: Final = "syntrial-ranks"
"""The headless Service of a namespace by which pods that share a step find the first of them; the chart's."""

RANKS_PORT: Final = 29500
"""Where that one answers the others; ranks meet at the next port. The chart's policies know both."""

STOP_SECONDS: Final = 45
"""What a step gets after SIGTERM to save a checkpoint in."""

GRACE_SECONDS: Final = 60
"""What Kubernetes gives the pod then: the above, and the end of the process."""

MOUNT: Final = "/source"
"""Where an ingest's pod sees the claim that it reads."""

_NAME_LENGTH: Final = 30
"""Of the experiment's name, what a Job's name begins with: a label, which the name also becomes, has 63 at most."""

_MILLICORES_PER_THREAD: Final = 750
"""Below a whole core, so that a stage of two threads fits on a node of two cores beside what the node itself runs."""

_SHARED_MEMORY: Final = "1Gi"
"""Of a pod whose devices share a step, where nothing else is said."""

_UNITS: Final = {"": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
"""Powers of ten in a quantity; "Ki", "Mi" and so on are powers of 1,024."""

_ENVIRONMENT: Final = MappingProxyType(
    {
        "HOME": "/tmp",  # noqa: S108 - an emptyDir of the pod's own
        "SYNTRIAL_CACHE_DIR": "/tmp/cache",  # noqa: S108
        "XDG_CACHE_HOME": "/tmp/cache",  # noqa: S108
        "TORCHINDUCTOR_CACHE_DIR": "/tmp/cache/torchinductor",  # noqa: S108
        "TRITON_CACHE_DIR": "/tmp/cache/triton",  # noqa: S108
    }
)

_CORES: Final = MappingProxyType(
    {"name": "SYNTRIAL_CORES", "valueFrom": {"resourceFieldRef": {"resource": "requests.cpu"}}}
)
"""What the container asks for, in whole cores rounded up: a process sees all of its node's."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Images:
    """Where the images are."""

    repository: str
    """What stands before "/syntrial-generation"."""
    tag: str
    digests: Mapping[str, str] = field(default_factory=dict)
    """"sha256:…" by component, where known: such an image is named by its digest."""
    pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"

    def of(self, component: str) -> str:
        """The image of a stage ("data_prep", "data-prep"), or the controller's, which runs analysis and ingest too."""
        digest = self.digest_of(component)
        address = f"{self.repository.rstrip('/')}/syntrial-{_image_name(component)}"
        return f"{address}@{digest}" if digest else f"{address}:{self.tag}"

    def digest_of(self, component: str) -> str:
        """The digest of a component's image, or "" where it is not known."""
        name = _image_name(component)
        return next((digest for known, digest in self.digests.items() if _image_name(known) == name), "")


@dataclass(frozen=True, kw_only=True, slots=True)
class Owner:
    """The Experiment object that Jobs belong to: they go when it goes."""

    name: str
    uid: str
    namespace: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """Steps that share a Job."""

    stage: str
    keys: tuple[str, ...]
    attempt: int = 1
    """Counts the Jobs of these keys, from 1."""
    memory_limit: str | None = None
    """Memory limit of a second try after out of memory, in place of the placement's."""
    image: str = ""
    """By its digest: what serves the steps, by its own entrypoint, in place of the stage's image."""
    downloads: bool = False
    """Whether the steps fetch data from outside of the cluster."""
    sharing: Sharing = ALONE
    """How many devices share each of the steps, and in how many pods: in several the one step that there is."""


def step_job(
    batch: Batch,
    *,
    owner: Owner,
    placement: Placement,
    cluster: Cluster,
    images: Images,
    store_secret: str,
    pods: Defaults = DEFAULTS,
) -> Manifest:
    """The Job that works on the recorded requests of `batch.keys`, one after another.

    `placement` is that of the batch's stage; `cluster` gives what all Jobs share; `pods` what they may use where the
    experiment says nothing.
    """
    stage = STAGES[batch.stage]
    arguments = [
        "job",
        *batch.keys,
        "--store=$(SYNTRIAL_STORE)",
        f"--experiment={owner.uid}",
        f"--address=127.0.0.1:{PORT}",
        f"--stop-grace={STOP_SECONDS}",
    ]
    name = job_name(owner, batch.stage, batch.keys, batch.attempt)
    sharing = batch.sharing
    if sharing.devices > 1:
        arguments.append(f"--devices={sharing.devices}")
    if sharing.pods > 1:
        assert len(batch.keys) == 1, "a step in several pods has a Job of its own"
        # The name that the pod of index 0 has by the Service.
        arguments += [f"--pods={sharing.pods}", f"--first-pod={name}-0.{RANKS_SERVICE}:{RANKS_PORT}"]
    devices = sharing.devices // sharing.pods
    runs_in_controller = _image_name(batch.stage) == CONTROLLER
    return _job(
        name,
        component=_component(batch.stage),
        attempt=batch.attempt,
        command=["python", "-m", stage.module] if runs_in_controller else None,
        arguments=arguments,
        resources=resources_of(
            placement,
            pods[_component(batch.stage)],
            millicores=stage.footprint.threads * _MILLICORES_PER_THREAD,
            memory_mib=stage.footprint.memory_mib,
            memory_limit=batch.memory_limit,
            devices=devices,
        ),
        environment_from=[_secret(store_secret)],
        owner=owner,
        placement=placement,
        cluster=cluster,
        images=images,
        image=batch.image,
        devices=devices,
        pods=sharing.pods,
        downloads=batch.downloads,
        # One attempt at one step may last so long; its neighbours in the Job do not shorten it.
        deadline=placement.active_deadline_seconds and placement.active_deadline_seconds * len(batch.keys),
    )


def ingest_job(
    ref: SourceRef,
    *,
    attempt: int,
    owner: Owner,
    cluster: Cluster,
    images: Images,
    store_secret: str,
    pods: Defaults = DEFAULTS,
) -> Manifest:
    """The Job that brings a source into the store, and writes its digest beside the experiment.

    It runs where data preparation runs: that stage's placement applies, without its resources.
    """
    address = ref.address
    assert address is not None
    arguments = [
        "--store=$(SYNTRIAL_STORE)",
        f"--experiment={owner.uid}",
        f"--name={_literal(ref.name)}",
        f"--kind={ref.kind}",
        f"--address={_literal(address)}",
    ]
    if ref.selection:
        arguments.append(f"--selection={_literal(ref.selection)}")
    credentials = [_secret(store_secret)]
    claim = _claim_of(address)
    volumes, mounts = [], []
    if claim:
        arguments.append(f"--mount={MOUNT}")
        volumes = [{"name": "source", "persistentVolumeClaim": {"claimName": claim, "readOnly": True}}]
        mounts = [{"name": "source", "mountPath": MOUNT, "readOnly": True}]
    elif ref.secret:
        credentials.append(_secret(ref.secret) | {"prefix": "SOURCE_"})
    placement = cluster.placement("data_prep")
    return _job(
        job_name(owner, INGEST, (ref.name, ref.noted), attempt),
        component=INGEST,
        attempt=attempt,
        command=["python", "-m", "syntrial.sources.ingest"],
        arguments=arguments,
        resources=with_defaults(
            Resources(),
            pods[INGEST],
            known={"cpu": f"{_MILLICORES_PER_THREAD}m", "memory": "512Mi"},
            scratch=placement.scratch,
        ),
        environment_from=credentials,
        owner=owner,
        placement=placement,
        cluster=cluster,
        images=images,
        deadline=placement.active_deadline_seconds,
        volumes=volumes,
        mounts=mounts,
        # A volume is mounted by the node.
        downloads=claim is None,
    )


def limits_of(stage: str, *, placement: Placement, pods: Defaults) -> Mapping[str, str]:
    """The limits of a stage's pods: those of the experiment, else the defaults."""
    return {**pods[_component(stage)].limits, **placement.resources.limits}


def job_name(owner: Owner, stage: str, keys: Iterable[str], attempt: int) -> str:
    """The name of a Job: the same for the same keys of an experiment at the same attempt, whoever asks."""
    digest = hashlib.sha256(canonical_json([owner.uid, sorted(keys), attempt])).hexdigest()
    return f"{owner.name[:_NAME_LENGTH].rstrip('-')}-{_component(stage)}-{digest[:16]}"


def keys_of(job: Mapping[str, Any]) -> tuple[str, ...]:
    """The keys of the steps that a Job carries; none for an ingest."""
    return tuple(argument for argument in _arguments(job) if KEY_PATTERN.fullmatch(argument))


def stage_of_job(job: Mapping[str, Any]) -> str:
    """The stage whose steps a Job carries, as in `syntrial.stages`, or "ingest"."""
    return str(job["metadata"]["labels"][LABEL_COMPONENT]).replace("-", "_")


def attempt_of(job: Mapping[str, Any]) -> int:
    """Which attempt at its keys a Job is, from 1."""
    return int(job["metadata"]["labels"][LABEL_ATTEMPT])


def source_of_job(job: Mapping[str, Any]) -> tuple[str, str] | None:
    """Name of the source that a Job brings into the store, and its `SourceRef.noted`; None for a Job of steps."""
    if stage_of_job(job) != INGEST:
        return None
    given = dict(argument.removeprefix("--").split("=", 1) for argument in _arguments(job))
    name, address, selection = (given.get(key, "").replace("$$", "$") for key in ("name", "address", "selection"))
    return name, noted(address, selection)


def labels_of(owner: Owner, *, component: str) -> dict[str, str]:
    """The labels of every object that is made for an experiment."""
    return {
        "app.kubernetes.io/name": "syntrial",
        "app.kubernetes.io/managed-by": "syntrial-controller",
        LABEL_COMPONENT: component,
        LABEL_EXPERIMENT: owner.name,
        LABEL_EXPERIMENT_UID: owner.uid,
    }


def _job(
    name: str,
    *,
    component: str,
    attempt: int,
    command: list[str] | None,
    arguments: list[str],
    resources: Manifest,
    environment_from: list[Manifest],
    owner: Owner,
    placement: Placement,
    cluster: Cluster,
    images: Images,
    deadline: int | None,
    downloads: bool,
    devices: int = 1,
    pods: int = 1,
    image: str = "",
    volumes: Sequence[Manifest] = (),
    mounts: Sequence[Manifest] = (),
) -> Manifest:
    labels = labels_of(owner, component=component) | {LABEL_ATTEMPT: str(attempt)}
    if downloads:
        labels[LABEL_EGRESS] = DOWNLOADS
    indexed: Manifest = {}
    if pods > 1:
        labels[LABEL_RANKS] = SEVERAL_PODS
        indexed = {"completionMode": "Indexed", "completions": pods, "parallelism": pods}
    queue = {LABEL_QUEUE: cluster.queue_name} if cluster.queue_name else {}
    environment = dict(_ENVIRONMENT)
    if digest := image.partition("@")[2] or images.digest_of(component):
        environment["SYNTRIAL_IMAGE_DIGEST"] = digest
    if placement.scratch:
        # Half for the cache of artifacts, which grows to its limit; half for what the step itself writes.
        environment["SYNTRIAL_CACHE_LIMIT"] = str(_bytes(placement.scratch) // 2)
    scratch, scratch_mounts = _scratch(placement, devices=devices)
    container = _present(
        {
            "name": CONTAINER,
            "image": image or images.of(component),
            "imagePullPolicy": images.pull_policy,
            "command": command,
            "args": arguments,
            "env": [*({"name": key, "value": value} for key, value in environment.items()), dict(_CORES)],
            "envFrom": environment_from,
            "resources": resources,
            "volumeMounts": [*scratch_mounts, *mounts],
            # A Job's status then carries the last lines of what went wrong.
            "terminationMessagePolicy": "FallbackToLogsOnError",
            "securityContext": {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            },
        }
    )
    pod = _present(
        {
            "restartPolicy": "Never",
            # Each pod of an Indexed Job has its Job's name and its index as host name.
            "subdomain": RANKS_SERVICE if pods > 1 else None,
            "automountServiceAccountToken": False,
            # The stage is then not the first process of its namespace, to which SIGTERM does nothing by default: a pod
            # that is stopped while Python still starts would be waited for in vain.
            "shareProcessNamespace": True,
            "enableServiceLinks": False,
            # The pod's own deadline counts from its start: neither a queue nor a full cluster uses it up.
            "activeDeadlineSeconds": deadline,
            "terminationGracePeriodSeconds": GRACE_SECONDS,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": NOBODY,
                "runAsGroup": NOBODY,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "imagePullSecrets": [{"name": secret} for secret in cluster.image_pull_secrets],
            "nodeSelector": dict(placement.node_selector),
            "tolerations": [_toleration(toleration) for toleration in placement.tolerations],
            "priorityClassName": placement.priority_class_name,
            "runtimeClassName": placement.runtime_class_name,
            "containers": [container],
            "volumes": [*scratch, *volumes],
        }
    )
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": name,
            "namespace": owner.namespace,
            "labels": labels | queue,
            "ownerReferences": [
                {
                    "apiVersion": API_VERSION,
                    "kind": "Experiment",
                    "name": owner.name,
                    "uid": owner.uid,
                    "controller": True,
                    "blockOwnerDeletion": False,
                }
            ],
        },
        "spec": {
            **({"suspend": True} if queue else {}),
            **indexed,
            # A failure is for the controller to judge; only a disruption is for the Job to make good.
            "backoffLimit": 0,
            "podReplacementPolicy": "Failed",
            "podFailurePolicy": {
                "rules": [
                    {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
                    {
                        "action": "FailJob",
                        "onExitCodes": {"containerName": CONTAINER, "operator": "In", "values": [USER_ERROR]},
                    },
                ]
            },
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }


def _scratch(placement: Placement, *, devices: int) -> tuple[list[Manifest], list[Manifest]]:
    bound = {"sizeLimit": placement.scratch} if placement.scratch else {}
    volumes: list[Manifest] = [{"name": "tmp", "emptyDir": bound}]
    mounts: list[Manifest] = [{"name": "tmp", "mountPath": "/tmp"}]  # noqa: S108
    # NCCL's transport between GPUs of a pod is memory that they share: more than the 64 MiB of container runtimes.
    size = placement.shared_memory or (_SHARED_MEMORY if devices > 1 else None)
    if size:
        volumes.append({"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": size}})
        mounts.append({"name": "shm", "mountPath": "/dev/shm"})  # noqa: S108
    return volumes, mounts


def _bytes(quantity: str) -> int:
    """The bytes that a quantity of Kubernetes stands for: 1.5Gi, 500M, 1000."""
    number = float(re.match(r"[0-9.]+", quantity)[0])  # type: ignore[index]
    unit = quantity.lstrip("0123456789.")
    if unit.endswith("i"):
        return int(number * 1024 ** ("KMGTPE".index(unit[0]) + 1))
    return int(number / 1000 if unit == "m" else number * 10 ** _UNITS[unit])


def _toleration(toleration: Toleration) -> Manifest:
    return toleration.model_dump(by_alias=True, exclude_none=True)


def _secret(name: str) -> Manifest:
    return {"secretRef": {"name": name}}


def _present(tree: Manifest) -> Manifest:
    """Without what is not set."""
    return {key: value for key, value in tree.items() if value not in (None, [], {})}


def _literal(text: str) -> str:
    """Text that Kubernetes is not to expand variables in."""
    return text.replace("$", "$$")


def _claim_of(address: str) -> str | None:
    found = re.match(r"claim://([^/]+)", address)
    return found.group(1) if found else None


def _component(stage: str) -> str:
    return stage.replace("_", "-")


def _image_name(component: str) -> str:
    name = _component(component)
    return CONTROLLER if name in {"analysis", INGEST, CONTROLLER} else name


def _arguments(job: Mapping[str, Any]) -> list[str]:
    (container,) = job["spec"]["template"]["spec"]["containers"]
    return [str(argument) for argument in container["args"]]

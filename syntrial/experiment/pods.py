"""Where and with what a trial's pods run: the part of an Experiment that only a cluster reads.

Nothing here enters a step's key.
"""

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Final, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from syntrial.experiment.base import Model, Name, wrong

_FACTORS: Final = {"": Decimal(1), "m": Decimal("0.001")} | {
    prefix + suffix: Decimal(base**power)
    for suffix, base in (("", 1000), ("i", 1024))
    for power, prefix in enumerate(("K" if suffix else "k", "M", "G", "T", "P", "E"), 1)
}


def _quantity(value: object) -> object:
    if isinstance(value, float):
        # YAML's 0.5 is no quantity for an API server either, whose schema knows integers and strings.
        raise ValueError("a quantity is a whole number, or text such as 500m or 4Gi")
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


Quantity = Annotated[
    str,
    Field(
        pattern=r"^[0-9]+(\.[0-9]+)?(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?$",
        max_length=32,
        json_schema_extra={"x-kubernetes-int-or-string": True},
    ),
    BeforeValidator(_quantity),
]
"""A number of Kubernetes, for example 500m or 4Gi."""

ObjectName = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", max_length=253)]
"""The name of an object of the cluster."""

ServerAddress = Annotated[str, Field(pattern=r"^https?://[^\s@?#]+$", max_length=500)]
"""Of a server, without who asks it."""

LabelValue = Annotated[str, Field(pattern=r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$", max_length=63)]

_RESOURCE: Final = re.compile(r"cpu|memory|ephemeral-storage|hugepages-.+|[^/]+/[^/]+")


CLUSTERS_NODES: Final = ("node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master")
"""Labels and taints of the nodes that run the cluster itself."""

CLUSTERS_CLASSES: Final = "system-"
"""What the names of the cluster's own priority classes begin with: their pods push all others aside."""

KEEPS_OFF: Final = "pods of trials keep off the nodes that run the cluster"
NO_CLASS_OF_THE_CLUSTERS: Final = "the cluster's own classes (system-…) are not for trials"


def amount_of(quantity: str) -> Decimal:
    """The number that a quantity stands for."""
    number = quantity.rstrip("mkKMGTPEi")
    return Decimal(number) * _FACTORS[quantity[len(number) :]]


def _is_device(name: str) -> bool:
    return "/" in name


@dataclass(frozen=True, kw_only=True, slots=True)
class ResourceRule:
    """A rule on each amount of `requests` or of `limits`: for this machine in Python, for the API server in CEL."""

    field: Literal["requests", "limits"]
    words: str
    """What must hold."""
    remedy: str
    holds: Callable[[str, str, Mapping[str, str]], bool]
    """Of a resource's name, its quantity, and all limits."""
    cel: str
    """Of `self`, the object of both; the same as `holds` of each amount, where `has` is false for a null."""


def _named(field: Literal["requests", "limits"]) -> ResourceRule:
    return ResourceRule(
        field=field,
        words="names cpu, memory, ephemeral-storage, hugepages-SIZE, or DOMAIN/NAME as nvidia.com/gpu",
        remedy="Name a resource of the cluster's nodes.",
        holds=lambda name, _quantity, _limits: _RESOURCE.fullmatch(name) is not None,
        cel=f"""!has(self.{field}) || self.{field}.all(name, name in ['cpu', 'memory', 'ephemeral-storage']
        || name.startsWith('hugepages-') || name.matches('^[^/]+/[^/]+$'))""",
    )


RESOURCE_RULES: Final = (
    _named("requests"),
    _named("limits"),
    ResourceRule(
        field="limits",
        words="a device is asked for whole",
        remedy="Give a whole number.",
        holds=lambda name, quantity, _limits: not _is_device(name) or amount_of(quantity) % 1 == 0,
        cel="""!has(self.limits) || self.limits.all(name, !name.contains('/')
        || type(self.limits[name]) == int || quantity(self.limits[name]).isInteger())""",
    ),
    ResourceRule(
        field="requests",
        words="devices are asked for by limits",
        remedy="Give it in limits.",
        holds=lambda name, _quantity, limits: not _is_device(name) or name in limits,
        cel="""!has(self.requests) || self.requests.all(name, !name.contains('/')
        || (has(self.limits) && name in self.limits))""",
    ),
    ResourceRule(
        field="requests",
        words="a request is at most its limit, and equal to it where it is of a device",
        remedy="Change the request or the limit.",
        holds=lambda name, quantity, limits: (
            name not in limits
            or (operator.eq if _is_device(name) else operator.le)(amount_of(quantity), amount_of(limits[name]))
        ),
        cel="""!has(self.requests) || !has(self.limits) || self.requests.all(name, !(name in self.limits)
        || quantity(string(self.requests[name])).compareTo(quantity(string(self.limits[name])))
        in (name.contains('/') ? [0] : [-1, 0]))""",
    ),
)
"""Told in this order."""


class Resources(Model):
    """Resources of a pod, as in Kubernetes; any resource name."""

    requests: dict[str, Quantity] = Field(
        {},
        max_length=6,
        description="What the scheduler sets aside. Default: the CPU and memory that the stage is known to need.",
    )
    limits: dict[str, Quantity] = Field(
        {},
        max_length=6,
        description="What a pod may use at most, for example nvidia.com/gpu: 1. Default: memory and ephemeral-storage "
        "as the platform has it for the stage.",
    )

    @model_validator(mode="after")
    def _schedulable(self) -> Self:
        for rule in RESOURCE_RULES:
            for name, quantity in getattr(self, rule.field).items():
                if not rule.holds(name, quantity, self.limits):
                    limit = f", limit {self.limits[name]}" if rule.field == "requests" and name in self.limits else ""
                    raise wrong(rule.field, rule.words, f"{name}: {quantity}{limit}", rule.remedy)
        return self


class Toleration(Model):
    """A taint that pods tolerate, as in Kubernetes."""

    key: str = Field(min_length=1, max_length=317, description="The taint's key.")
    operator: Literal["Exists", "Equal"] = Field(
        "Equal", description="Exists: whatever the taint's value; Equal: the value below."
    )
    value: LabelValue | None = Field(None, description="The taint's value, for operator Equal.")
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = Field(
        None, description="The taint's effect. Default: all effects."
    )
    toleration_seconds: int | None = Field(
        None, ge=0, description="How long a taint with effect NoExecute is tolerated. Default: for ever."
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.key in CLUSTERS_NODES:
            raise wrong("key", KEEPS_OFF, self.key, "Leave it out.")
        if self.value and self.operator == "Exists":
            raise ValueError("operator Exists takes no `value`")
        if self.toleration_seconds is not None and self.effect != "NoExecute":
            raise ValueError("`tolerationSeconds` needs effect NoExecute")
        return self


class Placement(Model):
    """Where pods run on a cluster, and with what; never part of a step's key."""

    resources: Resources = Field(
        Resources(), description="CPU, memory, GPUs and any other resource of each pod, as in Kubernetes."
    )
    node_selector: dict[str, LabelValue] = Field(
        {}, max_length=64, description="Labels that a node must have. Default: any node."
    )
    tolerations: tuple[Toleration, ...] = Field(
        (), max_length=64, description="Taints of nodes that the pods tolerate. Default: none."
    )
    priority_class_name: ObjectName | None = Field(
        None, description="PriorityClass of the pods. Default: that of the cluster."
    )
    runtime_class_name: ObjectName | None = Field(
        None, description="RuntimeClass of the pods, for example nvidia. Default: that of the node."
    )
    active_deadline_seconds: int | None = Field(
        None, ge=1, description="Longest time of one attempt, in seconds. Default: no limit."
    )
    shared_memory: Quantity | None = Field(
        None, description="Size of /dev/shm, in memory, for example 1Gi. Default: the container runtime's."
    )
    scratch: Quantity | None = Field(
        None,
        description="Most disk that an attempt may use for inputs and results under way, as 20Gi. Default: no limit.",
    )
    out_of_memory_limit: Quantity | None = Field(
        None, description="Memory limit of one more attempt after a pod ran out of memory. Default: no such attempt."
    )

    @model_validator(mode="after")
    def _leaves_the_cluster_alone(self) -> Self:
        if (self.priority_class_name or "").startswith(CLUSTERS_CLASSES):
            received = self.priority_class_name
            raise wrong("priorityClassName", NO_CLASS_OF_THE_CLUSTERS, received, "Name another class, or none.")
        for key in self.node_selector:
            if key in CLUSTERS_NODES:
                raise wrong("nodeSelector", KEEPS_OFF, key, "Leave it out.")
        return self


class StagePlacements(Model):
    """What one stage's pods have instead of what all have; a field left out is as all have it."""

    data_prep: Placement | None = Field(None, description="Pods that read, audit and split the data.")
    generation: Placement | None = Field(None, description="Pods that train generators and draw images.")
    filtering: Placement | None = Field(None, description="Pods that fit the encoder and filter synthetic images.")
    classification: Placement | None = Field(None, description="Pods that train and evaluate classifiers.")
    analysis: Placement | None = Field(None, description="Pods that make the verdict and the report.")


class Cluster(Placement):
    """How the trial runs on a cluster: for the pods of all stages, and by stage. A laptop leaves it aside."""

    queue_name: Name | None = Field(
        None,
        description="A Kueue LocalQueue of this namespace, which then admits the Jobs. Default: no queue.",
    )
    image_pull_secrets: tuple[ObjectName, ...] = Field(
        (), max_length=16, description="Secrets with credentials of the images' registry. Default: none."
    )
    mlflow: ServerAddress | None = Field(
        None,
        description="Address of the MLflow server where the trial is shown, of those that the cluster's operator lets. "
        "Default: none.",
    )
    stages: StagePlacements = Field(
        StagePlacements(), description="By stage, what its pods have instead of what all have."
    )

    def placement(self, stage: str) -> Placement:
        """The placement of a stage's pods: each field as the stage has it, else as all have it."""
        own = getattr(self.stages, stage)
        fields = {name: getattr(self, name) for name in Placement.model_fields}
        if own is not None:
            fields |= {name: getattr(own, name) for name in own.model_fields_set}
        return Placement(**fields)

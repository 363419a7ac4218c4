"""Where and with what a trial's pods run: the part of an Experiment that only a cluster reads.

Nothing here enters a step's key.
"""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from syntrial.models import Model


def _quantity(value: object) -> object:
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


Quantity = Annotated[
    str,
    Field(
        pattern=r"^[0-9]+(\.[0-9]+)?(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?$",
        json_schema_extra={"x-kubernetes-int-or-string": True},
    ),
    BeforeValidator(_quantity),
]
"""A number of Kubernetes, for example 500m or 4Gi."""


class Resources(Model):
    """Resources of a pod, as in Kubernetes; any resource name."""

    requests: dict[str, Quantity] = Field(
        {}, description="What the scheduler sets aside. Default: the CPU and memory that the stage is known to need."
    )
    limits: dict[str, Quantity] = Field(
        {}, description="What a pod may use at most, for example nvidia.com/gpu: 1. Default: no limit."
    )


class Toleration(Model):
    """A taint that pods tolerate, as in Kubernetes."""

    key: str | None = Field(None, description="The taint's key. Default: every key, which needs operator Exists.")
    operator: Literal["Exists", "Equal"] = Field(
        "Equal", description="Exists: whatever the taint's value; Equal: the value below."
    )
    value: str | None = Field(None, description="The taint's value, for operator Equal.")
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = Field(
        None, description="The taint's effect. Default: all effects."
    )
    toleration_seconds: int | None = Field(
        None, ge=0, description="How long a taint with effect NoExecute is tolerated. Default: for ever."
    )


class Placement(Model):
    """Where pods run on a cluster, and with what; never part of a step's key."""

    resources: Resources = Field(
        Resources(), description="CPU, memory, GPUs and any other resource of each pod, as in Kubernetes."
    )
    node_selector: dict[str, str] = Field({}, description="Labels that a node must have. Default: any node.")
    tolerations: tuple[Toleration, ...] = Field(
        (), max_length=64, description="Taints of nodes that the pods tolerate. Default: none."
    )
    priority_class_name: str | None = Field(
        None, max_length=253, description="PriorityClass of the pods. Default: that of the cluster."
    )
    runtime_class_name: str | None = Field(
        None, max_length=253, description="RuntimeClass of the pods, for example nvidia. Default: that of the node."
    )
    active_deadline_seconds: int | None = Field(
        None, ge=1, description="Longest time of one attempt, in seconds. Default: no limit."
    )
    shared_memory: Quantity | None = Field(
        None, description="Size of /dev/shm, in memory. Default: the container runtime's."
    )
    scratch: Quantity | None = Field(
        None, description="Most disk that an attempt may use for inputs and results under way. Default: no limit."
    )
    out_of_memory_limit: Quantity | None = Field(
        None, description="Memory limit of one more attempt after a pod ran out of memory. Default: no such attempt."
    )


class StagePlacements(Model):
    """What one stage's pods have instead of what all have; a field left out is as all have it."""

    data_prep: Placement | None = Field(None, description="Pods that read, audit and split the data.")
    generation: Placement | None = Field(None, description="Pods that train generators and draw images.")
    filtering: Placement | None = Field(None, description="Pods that fit the encoder and filter synthetic images.")
    classification: Placement | None = Field(None, description="Pods that train and evaluate classifiers.")
    analysis: Placement | None = Field(None, description="Pods that make the verdict and the report.")


class Cluster(Placement):
    """How the trial runs on a cluster: for the pods of all stages, and by stage. A laptop leaves it aside."""

    queue_name: str | None = Field(
        None,
        max_length=63,
        description="A Kueue LocalQueue of this namespace, which then admits the Jobs. Default: no queue.",
    )
    image_pull_secrets: tuple[Annotated[str, Field(max_length=253)], ...] = Field(
        (), max_length=16, description="Secrets with credentials of the images' registry. Default: none."
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

"""What a cluster does not let experiments ask for, each with a twin: the controller's words and the API server's."""

from dataclasses import dataclass
from typing import Any, Final

from syntrial.experiment.allowed import Allowed
from tests.contract.refusals import program

LISTS: Final[dict[str, list[str]]] = {
    "priorityClasses": ["batch", "low-*"],
    "runtimeClasses": [],
    "tolerationKeys": ["nvidia.com/gpu"],
    "nodeSelectorKeys": ["nvidia.com/*", "zone"],
    "devices": ["nvidia.com/gpu"],
    "externalImages": ["ghcr.io/lab/*"],
}
"""As the values have them, `admission.allowed`."""

SERVERS: Final = ["http://mlflow.ml.svc:5000", "https://mlflow.example.org/lab"]
"""Addresses of the values' `tracking.servers`."""

ALLOWED: Final = Allowed.model_validate({**LISTS, "mlflowServers": SERVERS})


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Fields of a spec that ask for too much, and those that do not."""

    bad: dict[str, Any]
    good: dict[str, Any]
    field: str
    allows: str
    received: str
    setting: str
    """Where the values have the list."""


def everywhere(**fields: Any) -> dict[str, Any]:
    return {"cluster": fields}


def one_stage(stage: str, **fields: Any) -> dict[str, Any]:
    return {"cluster": {"stages": {stage: fields}}}


def image(repository: str) -> dict[str, Any]:
    return program(image=f"{repository}@sha256:{'a' * 64}")


ASKED: Final[dict[str, Asked]] = {
    "a priority class": Asked(
        bad=everywhere(priorityClassName="urgent"),
        good=everywhere(priorityClassName="low-1"),
        field="spec.cluster.priorityClassName",
        allows="batch and low-*",
        received="urgent",
        setting="admission.allowed.priorityClasses",
    ),
    "a class that only begins like an allowed one": Asked(
        bad=one_stage("filtering", priorityClassName="batch-2"),
        good=one_stage("filtering", priorityClassName="batch"),
        field="spec.cluster.stages.filtering.priorityClassName",
        allows="batch and low-*",
        received="batch-2",
        setting="admission.allowed.priorityClasses",
    ),
    "a runtime class where none is allowed": Asked(
        bad=one_stage("dataPrep", runtimeClassName="privileged"),
        good=one_stage("dataPrep", runtimeClassName=None),
        field="spec.cluster.stages.dataPrep.runtimeClassName",
        allows="none",
        received="privileged",
        setting="admission.allowed.runtimeClasses",
    ),
    "a taint among allowed ones": Asked(
        bad=everywhere(tolerations=[{"key": "nvidia.com/gpu"}, {"key": "team-b", "operator": "Exists"}]),
        good=everywhere(tolerations=[{"key": "nvidia.com/gpu", "operator": "Exists"}]),
        field="spec.cluster.tolerations[1].key",
        allows="nvidia.com/gpu",
        received="team-b",
        setting="admission.allowed.tolerationKeys",
    ),
    "a label of nodes": Asked(
        bad=one_stage("analysis", nodeSelector={"zone": "a", "kubernetes.io/hostname": "db-1"}),
        good=one_stage("analysis", nodeSelector={"zone": "a", "nvidia.com/gpu.product": "A100"}),
        field="spec.cluster.stages.analysis.nodeSelector[kubernetes.io/hostname]",
        allows="nvidia.com/* and zone",
        received="kubernetes.io/hostname",
        setting="admission.allowed.nodeSelectorKeys",
    ),
    "a device": Asked(
        bad=everywhere(resources={"limits": {"cpu": 1, "devices.example.org/kvm": 1}}),
        good=everywhere(resources={"limits": {"cpu": 1, "nvidia.com/gpu": 1, "hugepages-2Mi": "4Mi"}}),
        field="spec.cluster.resources.limits[devices.example.org/kvm]",
        allows="nvidia.com/gpu",
        received="devices.example.org/kvm",
        setting="admission.allowed.devices",
    ),
    "a program from elsewhere": Asked(
        bad=image("docker.io/somebody/miner"),
        good=image("ghcr.io/lab/generator"),
        field="spec.synthetic[0].generator.external.image",
        allows="ghcr.io/lab/*",
        received="docker.io/somebody/miner",
        setting="admission.allowed.externalImages",
    ),
    "an MLflow server of somebody else's": Asked(
        bad=everywhere(mlflow="http://mlflow.ml.svc:5000/other"),
        good=everywhere(mlflow="http://mlflow.ml.svc:5000"),
        field="spec.cluster.mlflow",
        allows="http://mlflow.ml.svc:5000 and https://mlflow.example.org/lab",
        received="http://mlflow.ml.svc:5000/other",
        setting="tracking.servers",
    ),
}

"""What a cluster's operator lets the authors of experiments ask for, beside what no trial may have.

The chart's `admission.allowed`: its admission policy enforces it, and so does the controller. A laptop knows nothing of
it. What no trial may have, wherever it runs, stands in `pods.py`.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated

from pydantic import Field, ValidationError
from pydantic.alias_generators import to_camel

from syntrial.errors import UserError, Violation, listed
from syntrial.experiment.base import Model
from syntrial.experiment.model import Experiment
from syntrial.experiment.pods import Placement, StagePlacements

Patterns = tuple[Annotated[str, Field(pattern=r"^[^*\s]*\*?$", min_length=1, max_length=500)], ...]
"""Names; one that ends in `*` stands for all that begin so."""


class Allowed(Model):
    """By field: what experiments may name."""

    priority_classes: Patterns = ("syntrial-batch",)
    runtime_classes: Patterns = ("nvidia",)
    toleration_keys: Patterns = ("nvidia.com/gpu",)
    node_selector_keys: Patterns = (
        "kubernetes.io/arch",
        "node.kubernetes.io/instance-type",
        "topology.kubernetes.io/zone",
        "topology.kubernetes.io/region",
        "cloud.google.com/gke-accelerator",
        "nvidia.com/*",
    )
    devices: Patterns = ("nvidia.com/*", "amd.com/gpu", "gpu.intel.com/*")
    """Resources of pods that are not every node's: a device plugin may hand out more than GPUs."""
    external_images: Patterns = ("*",)
    mlflow_servers: Patterns = ()
    """Of the chart's `tracking.servers`, the addresses."""


def allowed_from(text: str) -> Allowed:
    """What a JSON object says, with the defaults for what it leaves out; raises UserError."""
    try:
        return Allowed.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(
            field=".".join(["--allowed", *(str(part) for part in first["loc"])]),
            rule=first["msg"],
            received=first["input"],
            remedy="Give a JSON object as `admission.allowed` of the chart's values has it.",
        ) from None


def check_allowed(experiment: Experiment, allowed: Allowed) -> None:
    """Raises UserError with each thing that an experiment asks for and may not have."""
    cluster = experiment.spec.cluster
    violations = [*_foreign("spec.cluster", cluster, allowed)]
    for stage in StagePlacements.model_fields:
        if (placement := getattr(cluster.stages, stage)) is not None:
            violations += _foreign(f"spec.cluster.stages.{to_camel(stage)}", placement, allowed)
    images = {
        f"spec.synthetic[{number}].generator.external.image": item.generator.external.image
        for number, item in enumerate(experiment.spec.synthetic)
        if item.generator is not None and item.generator.external is not None
    }
    violations += _unmatched("external_images", allowed, images)
    violations += _unmatched("mlflow_servers", allowed, {"spec.cluster.mlflow": cluster.mlflow})
    if violations:
        raise UserError(violations=violations)


def _foreign(field: str, placement: Placement, allowed: Allowed) -> Iterator[Violation]:
    asked: dict[str, Mapping[str, str | None]] = {
        "priority_classes": {"priorityClassName": placement.priority_class_name},
        "runtime_classes": {"runtimeClassName": placement.runtime_class_name},
        "toleration_keys": {f"tolerations[{n}].key": item.key for n, item in enumerate(placement.tolerations)},
        "devices": {f"resources.limits[{key}]": key for key in placement.resources.limits if "/" in key},
        "node_selector_keys": {f"nodeSelector[{key}]": key for key in placement.node_selector},
    }
    for name, values in asked.items():
        yield from _unmatched(name, allowed, {f"{field}.{path}": value for path, value in values.items()})


def _unmatched(name: str, allowed: Allowed, values: Mapping[str, str | None]) -> Iterator[Violation]:
    patterns: tuple[str, ...] = getattr(allowed, name)
    for field, value in values.items():
        if value is not None and not _matches(value, patterns):
            yield Violation(
                field=field,
                rule=f"this cluster allows {listed(patterns, last='and') if patterns else 'none'}",
                received=value,
                remedy=f"Choose what is allowed, or ask the operator for it (`{setting_of(name)}`).",
            )


def setting_of(name: str) -> str:
    """Where the chart's values have a list."""
    return "tracking.servers" if name == "mlflow_servers" else f"admission.allowed.{to_camel(name)}"


def _matches(value: str, patterns: Iterable[str]) -> bool:
    return any(value.startswith(pattern[:-1]) if pattern.endswith("*") else value == pattern for pattern in patterns)

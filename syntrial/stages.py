"""The catalogue of stages, as data: what each is called, which version its results have, and what it needs to run.

Raise a stage's version when its results or its defaults change; `tests/contract/test_recorded_results.py` guards it.
Read by the planner, the executors and `syntrial.rpc`; nothing here imports a service.
"""

from dataclasses import dataclass
from typing import Final

from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from syntrial.v1 import analysis_pb2, classification_pb2, data_preparation_pb2, filtering_pb2, generation_pb2


@dataclass(frozen=True, kw_only=True, slots=True)
class Footprint:
    """What one step of a stage takes of a machine."""

    threads: int
    """Cores that a step's pod asks for where nothing else is said: the step has threads of its own, each on a part of
    its work, and an operation has one. Stages that train use so many anywhere, data preparation what it is given."""
    memory_mib: int
    """Resident memory to plan with, in MiB."""
    accelerator: bool
    """Whether the stage uses a GPU where there is one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """One gRPC service and one image."""

    name: str
    service: str
    """The service's full name in the protos."""
    version: int
    module: str
    """The Python module whose `__main__` serves the stage."""
    footprint: Footprint


def _service(file: object, name: str) -> str:
    services = file.services_by_name  # type: ignore[attr-defined]
    return str(services[name].full_name)


STAGES: Final[dict[str, Stage]] = {
    stage.name: stage
    for stage in (
        Stage(
            name="data_prep",
            service=_service(data_preparation_pb2.DESCRIPTOR, "DataPreparationService"),
            version=7,
            module="syntrial_data_prep",
            footprint=Footprint(threads=2, memory_mib=1024, accelerator=False),
        ),
        Stage(
            name="generation",
            service=_service(generation_pb2.DESCRIPTOR, "GenerationService"),
            version=3,
            module="syntrial_generation",
            footprint=Footprint(threads=2, memory_mib=2048, accelerator=True),
        ),
        Stage(
            name="filtering",
            service=_service(filtering_pb2.DESCRIPTOR, "FilteringService"),
            version=4,
            module="syntrial_filtering",
            footprint=Footprint(threads=1, memory_mib=1536, accelerator=True),
        ),
        Stage(
            name="classification",
            service=_service(classification_pb2.DESCRIPTOR, "ClassificationService"),
            version=5,
            module="syntrial_classification",
            footprint=Footprint(threads=1, memory_mib=1536, accelerator=True),
        ),
        Stage(
            name="analysis",
            service=_service(analysis_pb2.DESCRIPTOR, "AnalysisService"),
            version=4,
            module="syntrial.analysis",
            footprint=Footprint(threads=1, memory_mib=1024, accelerator=False),
        ),
    )
}
"""Stages by name, in pipeline order."""

_FILES = (data_preparation_pb2, generation_pb2, filtering_pb2, classification_pb2, analysis_pb2)

METHODS: Final[dict[str, type[Message]]] = {
    f"{service.full_name}/{method.name}": GetMessageClass(method.input_type)
    for file in _FILES
    for service in file.DESCRIPTOR.services_by_name.values()
    for method in service.methods
}
"""The request of each method, by "syntrial.v1.GenerationService/TrainGenerator"."""


def stage_of(method: str) -> Stage:
    """The stage that serves `method`; raises KeyError for a method of no stage."""
    service = method.partition("/")[0]
    for stage in STAGES.values():
        if stage.service == service:
            return stage
    raise KeyError(method)

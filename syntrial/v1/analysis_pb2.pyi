from google.longrunning import operations_pb2 as _operations_pb2
from syntrial.v1 import artifacts_pb2 as _artifacts_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Replicate(_message.Message):
    __slots__ = ("training", "predictions", "generator", "seed")
    TRAINING_FIELD_NUMBER: _ClassVar[int]
    PREDICTIONS_FIELD_NUMBER: _ClassVar[int]
    GENERATOR_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    training: _artifacts_pb2.MemberRef
    predictions: _artifacts_pb2.MemberRef
    generator: int
    seed: int
    def __init__(self, training: _Optional[_Union[_artifacts_pb2.MemberRef, _Mapping]] = ..., predictions: _Optional[_Union[_artifacts_pb2.MemberRef, _Mapping]] = ..., generator: _Optional[int] = ..., seed: _Optional[int] = ...) -> None: ...

class Cell(_message.Message):
    __slots__ = ("name", "arm", "synthetic", "classifier", "replicates")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ARM_FIELD_NUMBER: _ClassVar[int]
    SYNTHETIC_FIELD_NUMBER: _ClassVar[int]
    CLASSIFIER_FIELD_NUMBER: _ClassVar[int]
    REPLICATES_FIELD_NUMBER: _ClassVar[int]
    name: str
    arm: str
    synthetic: str
    classifier: str
    replicates: _containers.RepeatedCompositeFieldContainer[Replicate]
    def __init__(self, name: _Optional[str] = ..., arm: _Optional[str] = ..., synthetic: _Optional[str] = ..., classifier: _Optional[str] = ..., replicates: _Optional[_Iterable[_Union[Replicate, _Mapping]]] = ...) -> None: ...

class CellComparison(_message.Message):
    __slots__ = ("arm", "control", "role", "shuffled_labels")
    class Role(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        ROLE_UNSPECIFIED: _ClassVar[CellComparison.Role]
        ROLE_PRIMARY: _ClassVar[CellComparison.Role]
        ROLE_EXPLORATORY: _ClassVar[CellComparison.Role]
        ROLE_CONTROL: _ClassVar[CellComparison.Role]
    ROLE_UNSPECIFIED: CellComparison.Role
    ROLE_PRIMARY: CellComparison.Role
    ROLE_EXPLORATORY: CellComparison.Role
    ROLE_CONTROL: CellComparison.Role
    ARM_FIELD_NUMBER: _ClassVar[int]
    CONTROL_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    SHUFFLED_LABELS_FIELD_NUMBER: _ClassVar[int]
    arm: str
    control: str
    role: CellComparison.Role
    shuffled_labels: bool
    def __init__(self, arm: _Optional[str] = ..., control: _Optional[str] = ..., role: _Optional[_Union[CellComparison.Role, str]] = ..., shuffled_labels: _Optional[bool] = ...) -> None: ...

class SyntheticSummary(_message.Message):
    __slots__ = ("name", "method", "proven_lineage", "control", "accepted", "rejected", "decisions", "quality", "curves", "audit", "reconstructions", "unlabelled", "projection", "search", "snapshots", "rounds")
    NAME_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    PROVEN_LINEAGE_FIELD_NUMBER: _ClassVar[int]
    CONTROL_FIELD_NUMBER: _ClassVar[int]
    ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    REJECTED_FIELD_NUMBER: _ClassVar[int]
    DECISIONS_FIELD_NUMBER: _ClassVar[int]
    QUALITY_FIELD_NUMBER: _ClassVar[int]
    CURVES_FIELD_NUMBER: _ClassVar[int]
    AUDIT_FIELD_NUMBER: _ClassVar[int]
    RECONSTRUCTIONS_FIELD_NUMBER: _ClassVar[int]
    UNLABELLED_FIELD_NUMBER: _ClassVar[int]
    PROJECTION_FIELD_NUMBER: _ClassVar[int]
    SEARCH_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOTS_FIELD_NUMBER: _ClassVar[int]
    ROUNDS_FIELD_NUMBER: _ClassVar[int]
    name: str
    method: str
    proven_lineage: bool
    control: bool
    accepted: _containers.RepeatedCompositeFieldContainer[_artifacts_pb2.MemberRef]
    rejected: _containers.RepeatedCompositeFieldContainer[_artifacts_pb2.MemberRef]
    decisions: _containers.RepeatedCompositeFieldContainer[_artifacts_pb2.MemberRef]
    quality: _containers.RepeatedCompositeFieldContainer[_artifacts_pb2.MemberRef]
    curves: _containers.RepeatedCompositeFieldContainer[_artifacts_pb2.MemberRef]
    audit: _artifacts_pb2.MemberRef
    reconstructions: _containers.RepeatedCompositeFieldContainer[_artifacts_pb2.MemberRef]
    unlabelled: _containers.RepeatedCompositeFieldContainer[PoolSummary]
    projection: _artifacts_pb2.MemberRef
    search: _artifacts_pb2.MemberRef
    snapshots: _containers.RepeatedCompositeFieldContainer[Snapshot]
    rounds: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, name: _Optional[str] = ..., method: _Optional[str] = ..., proven_lineage: _Optional[bool] = ..., control: _Optional[bool] = ..., accepted: _Optional[_Iterable[_Union[_artifacts_pb2.MemberRef, _Mapping]]] = ..., rejected: _Optional[_Iterable[_Union[_artifacts_pb2.MemberRef, _Mapping]]] = ..., decisions: _Optional[_Iterable[_Union[_artifacts_pb2.MemberRef, _Mapping]]] = ..., quality: _Optional[_Iterable[_Union[_artifacts_pb2.MemberRef, _Mapping]]] = ..., curves: _Optional[_Iterable[_Union[_artifacts_pb2.MemberRef, _Mapping]]] = ..., audit: _Optional[_Union[_artifacts_pb2.MemberRef, _Mapping]] = ..., reconstructions: _Optional[_Iterable[_Union[_artifacts_pb2.MemberRef, _Mapping]]] = ..., unlabelled: _Optional[_Iterable[_Union[PoolSummary, _Mapping]]] = ..., projection: _Optional[_Union[_artifacts_pb2.MemberRef, _Mapping]] = ..., search: _Optional[_Union[_artifacts_pb2.MemberRef, _Mapping]] = ..., snapshots: _Optional[_Iterable[_Union[Snapshot, _Mapping]]] = ..., rounds: _Optional[_Iterable[int]] = ...) -> None: ...

class Snapshot(_message.Message):
    __slots__ = ("images_shown", "images")
    IMAGES_SHOWN_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    images_shown: int
    images: _artifacts_pb2.MemberRef
    def __init__(self, images_shown: _Optional[int] = ..., images: _Optional[_Union[_artifacts_pb2.MemberRef, _Mapping]] = ...) -> None: ...

class PoolSummary(_message.Message):
    __slots__ = ("audit", "weight")
    AUDIT_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    audit: _artifacts_pb2.MemberRef
    weight: float
    def __init__(self, audit: _Optional[_Union[_artifacts_pb2.MemberRef, _Mapping]] = ..., weight: _Optional[float] = ...) -> None: ...

class PretrainingSummary(_message.Message):
    __slots__ = ("classifier", "audit")
    CLASSIFIER_FIELD_NUMBER: _ClassVar[int]
    AUDIT_FIELD_NUMBER: _ClassVar[int]
    classifier: str
    audit: _artifacts_pb2.MemberRef
    def __init__(self, classifier: _Optional[str] = ..., audit: _Optional[_Union[_artifacts_pb2.MemberRef, _Mapping]] = ...) -> None: ...

class ClassifierSummary(_message.Message):
    __slots__ = ("classifier", "search", "replicates")
    CLASSIFIER_FIELD_NUMBER: _ClassVar[int]
    SEARCH_FIELD_NUMBER: _ClassVar[int]
    REPLICATES_FIELD_NUMBER: _ClassVar[int]
    classifier: str
    search: _artifacts_pb2.MemberRef
    replicates: int
    def __init__(self, classifier: _Optional[str] = ..., search: _Optional[_Union[_artifacts_pb2.MemberRef, _Mapping]] = ..., replicates: _Optional[int] = ...) -> None: ...

class Endpoint(_message.Message):
    __slots__ = ("metric", "smallest_effect")
    class Metric(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        METRIC_UNSPECIFIED: _ClassVar[Endpoint.Metric]
        METRIC_AUROC: _ClassVar[Endpoint.Metric]
        METRIC_ACCURACY: _ClassVar[Endpoint.Metric]
        METRIC_BALANCED_ACCURACY: _ClassVar[Endpoint.Metric]
    METRIC_UNSPECIFIED: Endpoint.Metric
    METRIC_AUROC: Endpoint.Metric
    METRIC_ACCURACY: Endpoint.Metric
    METRIC_BALANCED_ACCURACY: Endpoint.Metric
    METRIC_FIELD_NUMBER: _ClassVar[int]
    SMALLEST_EFFECT_FIELD_NUMBER: _ClassVar[int]
    metric: Endpoint.Metric
    smallest_effect: float
    def __init__(self, metric: _Optional[_Union[Endpoint.Metric, str]] = ..., smallest_effect: _Optional[float] = ...) -> None: ...

class Look(_message.Message):
    __slots__ = ("number", "evaluations", "changed")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    EVALUATIONS_FIELD_NUMBER: _ClassVar[int]
    CHANGED_FIELD_NUMBER: _ClassVar[int]
    number: int
    evaluations: str
    changed: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, number: _Optional[int] = ..., evaluations: _Optional[str] = ..., changed: _Optional[_Iterable[str]] = ...) -> None: ...

class WriteReportRequest(_message.Message):
    __slots__ = ("header", "title", "experiment", "endpoint", "audit", "train", "cells", "comparisons", "synthetic", "looks", "qualifications", "pretraining", "classifiers")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    EXPERIMENT_FIELD_NUMBER: _ClassVar[int]
    ENDPOINT_FIELD_NUMBER: _ClassVar[int]
    AUDIT_FIELD_NUMBER: _ClassVar[int]
    TRAIN_FIELD_NUMBER: _ClassVar[int]
    CELLS_FIELD_NUMBER: _ClassVar[int]
    COMPARISONS_FIELD_NUMBER: _ClassVar[int]
    SYNTHETIC_FIELD_NUMBER: _ClassVar[int]
    LOOKS_FIELD_NUMBER: _ClassVar[int]
    QUALIFICATIONS_FIELD_NUMBER: _ClassVar[int]
    PRETRAINING_FIELD_NUMBER: _ClassVar[int]
    CLASSIFIERS_FIELD_NUMBER: _ClassVar[int]
    header: _artifacts_pb2.StepHeader
    title: str
    experiment: str
    endpoint: Endpoint
    audit: _artifacts_pb2.MemberRef
    train: _artifacts_pb2.MemberRef
    cells: _containers.RepeatedCompositeFieldContainer[Cell]
    comparisons: _containers.RepeatedCompositeFieldContainer[CellComparison]
    synthetic: _containers.RepeatedCompositeFieldContainer[SyntheticSummary]
    looks: _containers.RepeatedCompositeFieldContainer[Look]
    qualifications: _containers.RepeatedScalarFieldContainer[str]
    pretraining: _containers.RepeatedCompositeFieldContainer[PretrainingSummary]
    classifiers: _containers.RepeatedCompositeFieldContainer[ClassifierSummary]
    def __init__(self, header: _Optional[_Union[_artifacts_pb2.StepHeader, _Mapping]] = ..., title: _Optional[str] = ..., experiment: _Optional[str] = ..., endpoint: _Optional[_Union[Endpoint, _Mapping]] = ..., audit: _Optional[_Union[_artifacts_pb2.MemberRef, _Mapping]] = ..., train: _Optional[_Union[_artifacts_pb2.MemberRef, _Mapping]] = ..., cells: _Optional[_Iterable[_Union[Cell, _Mapping]]] = ..., comparisons: _Optional[_Iterable[_Union[CellComparison, _Mapping]]] = ..., synthetic: _Optional[_Iterable[_Union[SyntheticSummary, _Mapping]]] = ..., looks: _Optional[_Iterable[_Union[Look, _Mapping]]] = ..., qualifications: _Optional[_Iterable[str]] = ..., pretraining: _Optional[_Iterable[_Union[PretrainingSummary, _Mapping]]] = ..., classifiers: _Optional[_Iterable[_Union[ClassifierSummary, _Mapping]]] = ...) -> None: ...

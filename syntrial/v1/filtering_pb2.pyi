from google.longrunning import operations_pb2 as _operations_pb2
from syntrial.v1 import artifacts_pb2 as _artifacts_pb2
from syntrial.v1 import generation_pb2 as _generation_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Acceptance(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ACCEPTANCE_UNSPECIFIED: _ClassVar[Acceptance]
    ACCEPTANCE_BEST: _ClassVar[Acceptance]
ACCEPTANCE_UNSPECIFIED: Acceptance
ACCEPTANCE_BEST: Acceptance

class TrainEncoderRequest(_message.Message):
    __slots__ = ("header", "train", "seed", "steps", "batch_size", "feature_size", "features")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    TRAIN_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    BATCH_SIZE_FIELD_NUMBER: _ClassVar[int]
    FEATURE_SIZE_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    header: _artifacts_pb2.StepHeader
    train: _artifacts_pb2.MemberRef
    seed: int
    steps: int
    batch_size: int
    feature_size: int
    features: _artifacts_pb2.MemberRef
    def __init__(self, header: _Optional[_Union[_artifacts_pb2.StepHeader, _Mapping]] = ..., train: _Optional[_Union[_artifacts_pb2.MemberRef, _Mapping]] = ..., seed: _Optional[int] = ..., steps: _Optional[int] = ..., batch_size: _Optional[int] = ..., feature_size: _Optional[int] = ..., features: _Optional[_Union[_artifacts_pb2.MemberRef, _Mapping]] = ...) -> None: ...

class CentroidFilter(_message.Message):
    __slots__ = ("keep", "top", "own")
    KEEP_FIELD_NUMBER: _ClassVar[int]
    TOP_FIELD_NUMBER: _ClassVar[int]
    OWN_FIELD_NUMBER: _ClassVar[int]
    keep: float
    top: int
    own: bool
    def __init__(self, keep: _Optional[float] = ..., top: _Optional[int] = ..., own: _Optional[bool] = ...) -> None: ...

class RealismFilter(_message.Message):
    __slots__ = ("keep", "minimum", "neighbours")
    KEEP_FIELD_NUMBER: _ClassVar[int]
    MINIMUM_FIELD_NUMBER: _ClassVar[int]
    NEIGHBOURS_FIELD_NUMBER: _ClassVar[int]
    keep: float
    minimum: float
    neighbours: int
    def __init__(self, keep: _Optional[float] = ..., minimum: _Optional[float] = ..., neighbours: _Optional[int] = ...) -> None: ...

class ConfidenceFilter(_message.Message):
    __slots__ = ("minimum",)
    MINIMUM_FIELD_NUMBER: _ClassVar[int]
    minimum: float
    def __init__(self, minimum: _Optional[float] = ...) -> None: ...

class RandomFilter(_message.Message):
    __slots__ = ("keep",)
    KEEP_FIELD_NUMBER: _ClassVar[int]
    keep: float
    def __init__(self, keep: _Optional[float] = ...) -> None: ...

class Filter(_message.Message):
    __slots__ = ("centroid", "confidence", "random", "realism")
    CENTROID_FIELD_NUMBER: _ClassVar[int]
    CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    RANDOM_FIELD_NUMBER: _ClassVar[int]
    REALISM_FIELD_NUMBER: _ClassVar[int]
    centroid: CentroidFilter
    confidence: ConfidenceFilter
    random: RandomFilter
    realism: RealismFilter
    def __init__(self, centroid: _Optional[_Union[CentroidFilter, _Mapping]] = ..., confidence: _Optional[_Union[ConfidenceFilter, _Mapping]] = ..., random: _Optional[_Union[RandomFilter, _Mapping]] = ..., realism: _Optional[_Union[RealismFilter, _Mapping]] = ...) -> None: ...

class CopyFilter(_message.Message):
    __slots__ = ("quantile",)
    QUANTILE_FIELD_NUMBER: _ClassVar[int]
    quantile: float
    def __init__(self, quantile: _Optional[float] = ...) -> None: ...

class FilterImagesRequest(_message.Message):
    __slots__ = ("header", "images", "train", "encoder", "filters", "copies", "ratio", "balance", "seed", "allow_shortfall", "acceptance", "features", "train_features", "oversample", "oversample_limit")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    TRAIN_FIELD_NUMBER: _ClassVar[int]
    ENCODER_FIELD_NUMBER: _ClassVar[int]
    FILTERS_FIELD_NUMBER: _ClassVar[int]
    COPIES_FIELD_NUMBER: _ClassVar[int]
    RATIO_FIELD_NUMBER: _ClassVar[int]
    BALANCE_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    ALLOW_SHORTFALL_FIELD_NUMBER: _ClassVar[int]
    ACCEPTANCE_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    TRAIN_FEATURES_FIELD_NUMBER: _ClassVar[int]
    OVERSAMPLE_FIELD_NUMBER: _ClassVar[int]
    OVERSAMPLE_LIMIT_FIELD_NUMBER: _ClassVar[int]
    header: _artifacts_pb2.StepHeader
    images: _artifacts_pb2.MemberRef
    train: _artifacts_pb2.MemberRef
    encoder: _artifacts_pb2.MemberRef
    filters: _containers.RepeatedCompositeFieldContainer[Filter]
    copies: CopyFilter
    ratio: float
    balance: _generation_pb2.Balance
    seed: int
    allow_shortfall: bool
    acceptance: Acceptance
    features: _artifacts_pb2.MemberRef
    train_features: _artifacts_pb2.MemberRef
    oversample: float
    oversample_limit: float
    def __init__(self, header: _Optional[_Union[_artifacts_pb2.StepHeader, _Mapping]] = ..., images: _Optional[_Union[_artifacts_pb2.MemberRef, _Mapping]] = ..., train: _Optional[_Union[_artifacts_pb2.MemberRef, _Mapping]] = ..., encoder: _Optional[_Union[_artifacts_pb2.MemberRef, _Mapping]] = ..., filters: _Optional[_Iterable[_Union[Filter, _Mapping]]] = ..., copies: _Optional[_Union[CopyFilter, _Mapping]] = ..., ratio: _Optional[float] = ..., balance: _Optional[_Union[_generation_pb2.Balance, str]] = ..., seed: _Optional[int] = ..., allow_shortfall: _Optional[bool] = ..., acceptance: _Optional[_Union[Acceptance, str]] = ..., features: _Optional[_Union[_artifacts_pb2.MemberRef, _Mapping]] = ..., train_features: _Optional[_Union[_artifacts_pb2.MemberRef, _Mapping]] = ..., oversample: _Optional[float] = ..., oversample_limit: _Optional[float] = ...) -> None: ...

class AssessImagesRequest(_message.Message):
    __slots__ = ("header", "images", "train", "encoder", "copies", "seed", "features", "train_features", "inception_features", "train_inception_features")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    TRAIN_FIELD_NUMBER: _ClassVar[int]
    ENCODER_FIELD_NUMBER: _ClassVar[int]
    COPIES_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    TRAIN_FEATURES_FIELD_NUMBER: _ClassVar[int]
    INCEPTION_FEATURES_FIELD_NUMBER: _ClassVar[int]
    TRAIN_INCEPTION_FEATURES_FIELD_NUMBER: _ClassVar[int]
    header: _artifacts_pb2.StepHeader
    images: _artifacts_pb2.MemberRef
    train: _artifacts_pb2.MemberRef
    encoder: _artifacts_pb2.MemberRef
    copies: CopyFilter
    seed: int
    features: _artifacts_pb2.MemberRef
    train_features: _artifacts_pb2.MemberRef
    inception_features: _artifacts_pb2.MemberRef
    train_inception_features: _artifacts_pb2.MemberRef
    def __init__(self, header: _Optional[_Union[_artifacts_pb2.StepHeader, _Mapping]] = ..., images: _Optional[_Union[_artifacts_pb2.MemberRef, _Mapping]] = ..., train: _Optional[_Union[_artifacts_pb2.MemberRef, _Mapping]] = ..., encoder: _Optional[_Union[_artifacts_pb2.MemberRef, _Mapping]] = ..., copies: _Optional[_Union[CopyFilter, _Mapping]] = ..., seed: _Optional[int] = ..., features: _Optional[_Union[_artifacts_pb2.MemberRef, _Mapping]] = ..., train_features: _Optional[_Union[_artifacts_pb2.MemberRef, _Mapping]] = ..., inception_features: _Optional[_Union[_artifacts_pb2.MemberRef, _Mapping]] = ..., train_inception_features: _Optional[_Union[_artifacts_pb2.MemberRef, _Mapping]] = ...) -> None: ...

class ProjectImagesRequest(_message.Message):
    __slots__ = ("header", "accepted", "rejected", "train", "encoder", "neighbours", "min_dist", "most", "seed", "accepted_features", "rejected_features", "train_features")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    REJECTED_FIELD_NUMBER: _ClassVar[int]
    TRAIN_FIELD_NUMBER: _ClassVar[int]
    ENCODER_FIELD_NUMBER: _ClassVar[int]
    NEIGHBOURS_FIELD_NUMBER: _ClassVar[int]
    MIN_DIST_FIELD_NUMBER: _ClassVar[int]
    MOST_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    ACCEPTED_FEATURES_FIELD_NUMBER: _ClassVar[int]
    REJECTED_FEATURES_FIELD_NUMBER: _ClassVar[int]
    TRAIN_FEATURES_FIELD_NUMBER: _ClassVar[int]
    header: _artifacts_pb2.StepHeader
    accepted: _artifacts_pb2.MemberRef
    rejected: _artifacts_pb2.MemberRef
    train: _artifacts_pb2.MemberRef
    encoder: _artifacts_pb2.MemberRef
    neighbours: int
    min_dist: float
    most: int
    seed: int
    accepted_features: _artifacts_pb2.MemberRef
    rejected_features: _artifacts_pb2.MemberRef
    train_features: _artifacts_pb2.MemberRef
    def __init__(self, header: _Optional[_Union[_artifacts_pb2.StepHeader, _Mapping]] = ..., accepted: _Optional[_Union[_artifacts_pb2.MemberRef, _Mapping]] = ..., rejected: _Optional[_Union[_artifacts_pb2.MemberRef, _Mapping]] = ..., train: _Optional[_Union[_artifacts_pb2.MemberRef, _Mapping]] = ..., encoder: _Optional[_Union[_artifacts_pb2.MemberRef, _Mapping]] = ..., neighbours: _Optional[int] = ..., min_dist: _Optional[float] = ..., most: _Optional[int] = ..., seed: _Optional[int] = ..., accepted_features: _Optional[_Union[_artifacts_pb2.MemberRef, _Mapping]] = ..., rejected_features: _Optional[_Union[_artifacts_pb2.MemberRef, _Mapping]] = ..., train_features: _Optional[_Union[_artifacts_pb2.MemberRef, _Mapping]] = ...) -> None: ...

from google.longrunning import operations_pb2 as _operations_pb2
from syntrial.v1 import artifacts_pb2 as _artifacts_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Source(_message.Message):
    __slots__ = ("digest", "medmnist", "npz", "folder", "phantom")
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    MEDMNIST_FIELD_NUMBER: _ClassVar[int]
    NPZ_FIELD_NUMBER: _ClassVar[int]
    FOLDER_FIELD_NUMBER: _ClassVar[int]
    PHANTOM_FIELD_NUMBER: _ClassVar[int]
    digest: str
    medmnist: MedMnistSource
    npz: NpzSource
    folder: FolderSource
    phantom: PhantomSource
    def __init__(self, digest: _Optional[str] = ..., medmnist: _Optional[_Union[MedMnistSource, _Mapping]] = ..., npz: _Optional[_Union[NpzSource, _Mapping]] = ..., folder: _Optional[_Union[FolderSource, _Mapping]] = ..., phantom: _Optional[_Union[PhantomSource, _Mapping]] = ...) -> None: ...

class MedMnistSource(_message.Message):
    __slots__ = ("name", "size")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    name: str
    size: int
    def __init__(self, name: _Optional[str] = ..., size: _Optional[int] = ...) -> None: ...

class NpzSource(_message.Message):
    __slots__ = ("classes",)
    CLASSES_FIELD_NUMBER: _ClassVar[int]
    classes: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, classes: _Optional[_Iterable[str]] = ...) -> None: ...

class FolderSource(_message.Message):
    __slots__ = ("patient_pattern",)
    PATIENT_PATTERN_FIELD_NUMBER: _ClassVar[int]
    patient_pattern: str
    def __init__(self, patient_pattern: _Optional[str] = ...) -> None: ...

class PhantomSource(_message.Message):
    __slots__ = ("variant", "seed", "size", "train_patients", "validation_patients", "test_patients", "images_per_patient", "difficulty", "prevalence")
    class Variant(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        VARIANT_UNSPECIFIED: _ClassVar[PhantomSource.Variant]
        VARIANT_CHEST: _ClassVar[PhantomSource.Variant]
        VARIANT_TISSUE: _ClassVar[PhantomSource.Variant]
    VARIANT_UNSPECIFIED: PhantomSource.Variant
    VARIANT_CHEST: PhantomSource.Variant
    VARIANT_TISSUE: PhantomSource.Variant
    VARIANT_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    TRAIN_PATIENTS_FIELD_NUMBER: _ClassVar[int]
    VALIDATION_PATIENTS_FIELD_NUMBER: _ClassVar[int]
    TEST_PATIENTS_FIELD_NUMBER: _ClassVar[int]
    IMAGES_PER_PATIENT_FIELD_NUMBER: _ClassVar[int]
    DIFFICULTY_FIELD_NUMBER: _ClassVar[int]
    PREVALENCE_FIELD_NUMBER: _ClassVar[int]
    variant: PhantomSource.Variant
    seed: int
    size: int
    train_patients: int
    validation_patients: int
    test_patients: int
    images_per_patient: int
    difficulty: float
    prevalence: float
    def __init__(self, variant: _Optional[_Union[PhantomSource.Variant, str]] = ..., seed: _Optional[int] = ..., size: _Optional[int] = ..., train_patients: _Optional[int] = ..., validation_patients: _Optional[int] = ..., test_patients: _Optional[int] = ..., images_per_patient: _Optional[int] = ..., difficulty: _Optional[float] = ..., prevalence: _Optional[float] = ...) -> None: ...

class ImageFormat(_message.Message):
    __slots__ = ("size", "color_mode", "resize")
    class ColorMode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        COLOR_MODE_UNSPECIFIED: _ClassVar[ImageFormat.ColorMode]
        COLOR_MODE_SOURCE: _ClassVar[ImageFormat.ColorMode]
        COLOR_MODE_GREY: _ClassVar[ImageFormat.ColorMode]
        COLOR_MODE_RGB: _ClassVar[ImageFormat.ColorMode]
    COLOR_MODE_UNSPECIFIED: ImageFormat.ColorMode
    COLOR_MODE_SOURCE: ImageFormat.ColorMode
    COLOR_MODE_GREY: ImageFormat.ColorMode
    COLOR_MODE_RGB: ImageFormat.ColorMode
    class Resize(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        RESIZE_UNSPECIFIED: _ClassVar[ImageFormat.Resize]
        RESIZE_BICUBIC: _ClassVar[ImageFormat.Resize]
        RESIZE_BILINEAR: _ClassVar[ImageFormat.Resize]
        RESIZE_LANCZOS: _ClassVar[ImageFormat.Resize]
        RESIZE_BOX: _ClassVar[ImageFormat.Resize]
    RESIZE_UNSPECIFIED: ImageFormat.Resize
    RESIZE_BICUBIC: ImageFormat.Resize
    RESIZE_BILINEAR: ImageFormat.Resize
    RESIZE_LANCZOS: ImageFormat.Resize
    RESIZE_BOX: ImageFormat.Resize
    SIZE_FIELD_NUMBER: _ClassVar[int]
    COLOR_MODE_FIELD_NUMBER: _ClassVar[int]
    RESIZE_FIELD_NUMBER: _ClassVar[int]
    size: int
    color_mode: ImageFormat.ColorMode
    resize: ImageFormat.Resize
    def __init__(self, size: _Optional[int] = ..., color_mode: _Optional[_Union[ImageFormat.ColorMode, str]] = ..., resize: _Optional[_Union[ImageFormat.Resize, str]] = ...) -> None: ...

class SplitRule(_message.Message):
    __slots__ = ("validation", "test", "seed")
    VALIDATION_FIELD_NUMBER: _ClassVar[int]
    TEST_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    validation: float
    test: float
    seed: int
    def __init__(self, validation: _Optional[float] = ..., test: _Optional[float] = ..., seed: _Optional[int] = ...) -> None: ...

class LeakPolicy(_message.Message):
    __slots__ = ("exact_duplicates", "shared_patients", "near_duplicates")
    class Action(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        ACTION_UNSPECIFIED: _ClassVar[LeakPolicy.Action]
        ACTION_DROP: _ClassVar[LeakPolicy.Action]
        ACTION_STOP: _ClassVar[LeakPolicy.Action]
        ACTION_WAIVE: _ClassVar[LeakPolicy.Action]
    ACTION_UNSPECIFIED: LeakPolicy.Action
    ACTION_DROP: LeakPolicy.Action
    ACTION_STOP: LeakPolicy.Action
    ACTION_WAIVE: LeakPolicy.Action
    EXACT_DUPLICATES_FIELD_NUMBER: _ClassVar[int]
    SHARED_PATIENTS_FIELD_NUMBER: _ClassVar[int]
    NEAR_DUPLICATES_FIELD_NUMBER: _ClassVar[int]
    exact_duplicates: LeakPolicy.Action
    shared_patients: LeakPolicy.Action
    near_duplicates: LeakPolicy.Action
    def __init__(self, exact_duplicates: _Optional[_Union[LeakPolicy.Action, str]] = ..., shared_patients: _Optional[_Union[LeakPolicy.Action, str]] = ..., near_duplicates: _Optional[_Union[LeakPolicy.Action, str]] = ...) -> None: ...

class ClassMapping(_message.Message):
    __slots__ = ("to",)
    FROM_FIELD_NUMBER: _ClassVar[int]
    TO_FIELD_NUMBER: _ClassVar[int]
    to: str
    def __init__(self, to: _Optional[str] = ..., **kwargs) -> None: ...

class PrepareDatasetRequest(_message.Message):
    __slots__ = ("header", "source", "format", "split", "leaks", "class_map", "train_fraction", "train_fraction_seed")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    SPLIT_FIELD_NUMBER: _ClassVar[int]
    LEAKS_FIELD_NUMBER: _ClassVar[int]
    CLASS_MAP_FIELD_NUMBER: _ClassVar[int]
    TRAIN_FRACTION_FIELD_NUMBER: _ClassVar[int]
    TRAIN_FRACTION_SEED_FIELD_NUMBER: _ClassVar[int]
    header: _artifacts_pb2.StepHeader
    source: Source
    format: ImageFormat
    split: SplitRule
    leaks: LeakPolicy
    class_map: _containers.RepeatedCompositeFieldContainer[ClassMapping]
    train_fraction: float
    train_fraction_seed: int
    def __init__(self, header: _Optional[_Union[_artifacts_pb2.StepHeader, _Mapping]] = ..., source: _Optional[_Union[Source, _Mapping]] = ..., format: _Optional[_Union[ImageFormat, _Mapping]] = ..., split: _Optional[_Union[SplitRule, _Mapping]] = ..., leaks: _Optional[_Union[LeakPolicy, _Mapping]] = ..., class_map: _Optional[_Iterable[_Union[ClassMapping, _Mapping]]] = ..., train_fraction: _Optional[float] = ..., train_fraction_seed: _Optional[int] = ...) -> None: ...

class ImportImagesRequest(_message.Message):
    __slots__ = ("header", "source", "format", "class_map", "train", "validation", "test", "leaks", "allow_copies")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    CLASS_MAP_FIELD_NUMBER: _ClassVar[int]
    TRAIN_FIELD_NUMBER: _ClassVar[int]
    VALIDATION_FIELD_NUMBER: _ClassVar[int]
    TEST_FIELD_NUMBER: _ClassVar[int]
    LEAKS_FIELD_NUMBER: _ClassVar[int]
    ALLOW_COPIES_FIELD_NUMBER: _ClassVar[int]
    header: _artifacts_pb2.StepHeader
    source: Source
    format: ImageFormat
    class_map: _containers.RepeatedCompositeFieldContainer[ClassMapping]
    train: _artifacts_pb2.MemberRef
    validation: _artifacts_pb2.MemberRef
    test: _artifacts_pb2.MemberRef
    leaks: LeakPolicy
    allow_copies: bool
    def __init__(self, header: _Optional[_Union[_artifacts_pb2.StepHeader, _Mapping]] = ..., source: _Optional[_Union[Source, _Mapping]] = ..., format: _Optional[_Union[ImageFormat, _Mapping]] = ..., class_map: _Optional[_Iterable[_Union[ClassMapping, _Mapping]]] = ..., train: _Optional[_Union[_artifacts_pb2.MemberRef, _Mapping]] = ..., validation: _Optional[_Union[_artifacts_pb2.MemberRef, _Mapping]] = ..., test: _Optional[_Union[_artifacts_pb2.MemberRef, _Mapping]] = ..., leaks: _Optional[_Union[LeakPolicy, _Mapping]] = ..., allow_copies: _Optional[bool] = ...) -> None: ...

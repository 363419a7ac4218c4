from google.longrunning import operations_pb2 as _operations_pb2
from syntrial.v1 import artifacts_pb2 as _artifacts_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class AuditPolicy(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    AUDIT_POLICY_UNSPECIFIED: _ClassVar[AuditPolicy]
    AUDIT_POLICY_WARN: _ClassVar[AuditPolicy]
    AUDIT_POLICY_STOP: _ClassVar[AuditPolicy]
AUDIT_POLICY_UNSPECIFIED: AuditPolicy
AUDIT_POLICY_WARN: AuditPolicy
AUDIT_POLICY_STOP: AuditPolicy

class Source(_message.Message):
    __slots__ = ("digest", "medmnist", "npz", "folder", "phantom", "table")
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    MEDMNIST_FIELD_NUMBER: _ClassVar[int]
    NPZ_FIELD_NUMBER: _ClassVar[int]
    FOLDER_FIELD_NUMBER: _ClassVar[int]
    PHANTOM_FIELD_NUMBER: _ClassVar[int]
    TABLE_FIELD_NUMBER: _ClassVar[int]
    digest: str
    medmnist: MedMnistSource
    npz: NpzSource
    folder: FolderSource
    phantom: PhantomSource
    table: TableSource
    def __init__(self, digest: _Optional[str] = ..., medmnist: _Optional[_Union[MedMnistSource, _Mapping]] = ..., npz: _Optional[_Union[NpzSource, _Mapping]] = ..., folder: _Optional[_Union[FolderSource, _Mapping]] = ..., phantom: _Optional[_Union[PhantomSource, _Mapping]] = ..., table: _Optional[_Union[TableSource, _Mapping]] = ...) -> None: ...

class MedMnistSource(_message.Message):
    __slots__ = ("name", "size")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    name: str
    size: int
    def __init__(self, name: _Optional[str] = ..., size: _Optional[int] = ...) -> None: ...

class NpzSource(_message.Message):
    __slots__ = ("classes", "several_labels")
    CLASSES_FIELD_NUMBER: _ClassVar[int]
    SEVERAL_LABELS_FIELD_NUMBER: _ClassVar[int]
    classes: _containers.RepeatedScalarFieldContainer[str]
    several_labels: bool
    def __init__(self, classes: _Optional[_Iterable[str]] = ..., several_labels: _Optional[bool] = ...) -> None: ...

class FolderSource(_message.Message):
    __slots__ = ("patient_pattern", "unlabelled")
    PATIENT_PATTERN_FIELD_NUMBER: _ClassVar[int]
    UNLABELLED_FIELD_NUMBER: _ClassVar[int]
    patient_pattern: str
    unlabelled: bool
    def __init__(self, patient_pattern: _Optional[str] = ..., unlabelled: _Optional[bool] = ...) -> None: ...

class TableSource(_message.Message):
    __slots__ = ("files", "metadata", "images", "columns", "path", "labels", "patient", "patient_pattern", "own_patients", "split", "lists", "keep", "partial", "encoding", "delimiter", "ignore_splits")
    FILES_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    COLUMNS_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    PATIENT_FIELD_NUMBER: _ClassVar[int]
    PATIENT_PATTERN_FIELD_NUMBER: _ClassVar[int]
    OWN_PATIENTS_FIELD_NUMBER: _ClassVar[int]
    SPLIT_FIELD_NUMBER: _ClassVar[int]
    LISTS_FIELD_NUMBER: _ClassVar[int]
    KEEP_FIELD_NUMBER: _ClassVar[int]
    PARTIAL_FIELD_NUMBER: _ClassVar[int]
    ENCODING_FIELD_NUMBER: _ClassVar[int]
    DELIMITER_FIELD_NUMBER: _ClassVar[int]
    IGNORE_SPLITS_FIELD_NUMBER: _ClassVar[int]
    files: _containers.RepeatedCompositeFieldContainer[TableFile]
    metadata: _containers.RepeatedScalarFieldContainer[str]
    images: _containers.RepeatedScalarFieldContainer[str]
    columns: _containers.RepeatedScalarFieldContainer[str]
    path: str
    labels: TableLabels
    patient: str
    patient_pattern: str
    own_patients: bool
    split: str
    lists: TableLists
    keep: _containers.RepeatedScalarFieldContainer[str]
    partial: bool
    encoding: str
    delimiter: str
    ignore_splits: bool
    def __init__(self, files: _Optional[_Iterable[_Union[TableFile, _Mapping]]] = ..., metadata: _Optional[_Iterable[str]] = ..., images: _Optional[_Iterable[str]] = ..., columns: _Optional[_Iterable[str]] = ..., path: _Optional[str] = ..., labels: _Optional[_Union[TableLabels, _Mapping]] = ..., patient: _Optional[str] = ..., patient_pattern: _Optional[str] = ..., own_patients: _Optional[bool] = ..., split: _Optional[str] = ..., lists: _Optional[_Union[TableLists, _Mapping]] = ..., keep: _Optional[_Iterable[str]] = ..., partial: _Optional[bool] = ..., encoding: _Optional[str] = ..., delimiter: _Optional[str] = ..., ignore_splits: _Optional[bool] = ...) -> None: ...

class TableFile(_message.Message):
    __slots__ = ("names", "split")
    NAMES_FIELD_NUMBER: _ClassVar[int]
    SPLIT_FIELD_NUMBER: _ClassVar[int]
    names: _containers.RepeatedScalarFieldContainer[str]
    split: str
    def __init__(self, names: _Optional[_Iterable[str]] = ..., split: _Optional[str] = ...) -> None: ...

class TableLabels(_message.Message):
    __slots__ = ("column", "separator", "none", "columns", "several", "uncertain", "blank")
    class Unsure(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        UNSURE_UNSPECIFIED: _ClassVar[TableLabels.Unsure]
        UNSURE_ZEROS: _ClassVar[TableLabels.Unsure]
        UNSURE_ONES: _ClassVar[TableLabels.Unsure]
        UNSURE_IGNORE: _ClassVar[TableLabels.Unsure]
    UNSURE_UNSPECIFIED: TableLabels.Unsure
    UNSURE_ZEROS: TableLabels.Unsure
    UNSURE_ONES: TableLabels.Unsure
    UNSURE_IGNORE: TableLabels.Unsure
    COLUMN_FIELD_NUMBER: _ClassVar[int]
    SEPARATOR_FIELD_NUMBER: _ClassVar[int]
    NONE_FIELD_NUMBER: _ClassVar[int]
    COLUMNS_FIELD_NUMBER: _ClassVar[int]
    SEVERAL_FIELD_NUMBER: _ClassVar[int]
    UNCERTAIN_FIELD_NUMBER: _ClassVar[int]
    BLANK_FIELD_NUMBER: _ClassVar[int]
    column: str
    separator: str
    none: str
    columns: _containers.RepeatedScalarFieldContainer[str]
    several: bool
    uncertain: TableLabels.Unsure
    blank: TableLabels.Unsure
    def __init__(self, column: _Optional[str] = ..., separator: _Optional[str] = ..., none: _Optional[str] = ..., columns: _Optional[_Iterable[str]] = ..., several: _Optional[bool] = ..., uncertain: _Optional[_Union[TableLabels.Unsure, str]] = ..., blank: _Optional[_Union[TableLabels.Unsure, str]] = ...) -> None: ...

class TableLists(_message.Message):
    __slots__ = ("train", "validation", "test", "trainval")
    TRAIN_FIELD_NUMBER: _ClassVar[int]
    VALIDATION_FIELD_NUMBER: _ClassVar[int]
    TEST_FIELD_NUMBER: _ClassVar[int]
    TRAINVAL_FIELD_NUMBER: _ClassVar[int]
    train: str
    validation: str
    test: str
    trainval: str
    def __init__(self, train: _Optional[str] = ..., validation: _Optional[str] = ..., test: _Optional[str] = ..., trainval: _Optional[str] = ...) -> None: ...

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
    __slots__ = ("size", "color_mode", "resize", "framing", "intensity")
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
        RESIZE_NEAREST: _ClassVar[ImageFormat.Resize]
    RESIZE_UNSPECIFIED: ImageFormat.Resize
    RESIZE_BICUBIC: ImageFormat.Resize
    RESIZE_BILINEAR: ImageFormat.Resize
    RESIZE_LANCZOS: ImageFormat.Resize
    RESIZE_BOX: ImageFormat.Resize
    RESIZE_NEAREST: ImageFormat.Resize
    class Framing(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        FRAMING_UNSPECIFIED: _ClassVar[ImageFormat.Framing]
        FRAMING_CROP: _ClassVar[ImageFormat.Framing]
        FRAMING_PAD: _ClassVar[ImageFormat.Framing]
        FRAMING_STRETCH: _ClassVar[ImageFormat.Framing]
    FRAMING_UNSPECIFIED: ImageFormat.Framing
    FRAMING_CROP: ImageFormat.Framing
    FRAMING_PAD: ImageFormat.Framing
    FRAMING_STRETCH: ImageFormat.Framing
    SIZE_FIELD_NUMBER: _ClassVar[int]
    COLOR_MODE_FIELD_NUMBER: _ClassVar[int]
    RESIZE_FIELD_NUMBER: _ClassVar[int]
    FRAMING_FIELD_NUMBER: _ClassVar[int]
    INTENSITY_FIELD_NUMBER: _ClassVar[int]
    size: int
    color_mode: ImageFormat.ColorMode
    resize: ImageFormat.Resize
    framing: ImageFormat.Framing
    intensity: Intensity
    def __init__(self, size: _Optional[int] = ..., color_mode: _Optional[_Union[ImageFormat.ColorMode, str]] = ..., resize: _Optional[_Union[ImageFormat.Resize, str]] = ..., framing: _Optional[_Union[ImageFormat.Framing, str]] = ..., intensity: _Optional[_Union[Intensity, _Mapping]] = ...) -> None: ...

class Intensity(_message.Message):
    __slots__ = ("window", "percentiles")
    class Window(_message.Message):
        __slots__ = ("low", "high")
        LOW_FIELD_NUMBER: _ClassVar[int]
        HIGH_FIELD_NUMBER: _ClassVar[int]
        low: float
        high: float
        def __init__(self, low: _Optional[float] = ..., high: _Optional[float] = ...) -> None: ...
    class Percentiles(_message.Message):
        __slots__ = ("low", "high")
        LOW_FIELD_NUMBER: _ClassVar[int]
        HIGH_FIELD_NUMBER: _ClassVar[int]
        low: float
        high: float
        def __init__(self, low: _Optional[float] = ..., high: _Optional[float] = ...) -> None: ...
    WINDOW_FIELD_NUMBER: _ClassVar[int]
    PERCENTILES_FIELD_NUMBER: _ClassVar[int]
    window: Intensity.Window
    percentiles: Intensity.Percentiles
    def __init__(self, window: _Optional[_Union[Intensity.Window, _Mapping]] = ..., percentiles: _Optional[_Union[Intensity.Percentiles, _Mapping]] = ...) -> None: ...

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

class Task(_message.Message):
    __slots__ = ("binary", "multi_label", "ordinal")
    BINARY_FIELD_NUMBER: _ClassVar[int]
    MULTI_LABEL_FIELD_NUMBER: _ClassVar[int]
    ORDINAL_FIELD_NUMBER: _ClassVar[int]
    binary: BinaryTask
    multi_label: MultiLabelTask
    ordinal: OrdinalTask
    def __init__(self, binary: _Optional[_Union[BinaryTask, _Mapping]] = ..., multi_label: _Optional[_Union[MultiLabelTask, _Mapping]] = ..., ordinal: _Optional[_Union[OrdinalTask, _Mapping]] = ...) -> None: ...

class BinaryTask(_message.Message):
    __slots__ = ("positive", "negative", "rest")
    class Rest(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        REST_UNSPECIFIED: _ClassVar[BinaryTask.Rest]
        REST_NONE: _ClassVar[BinaryTask.Rest]
        REST_OTHERS: _ClassVar[BinaryTask.Rest]
    REST_UNSPECIFIED: BinaryTask.Rest
    REST_NONE: BinaryTask.Rest
    REST_OTHERS: BinaryTask.Rest
    POSITIVE_FIELD_NUMBER: _ClassVar[int]
    NEGATIVE_FIELD_NUMBER: _ClassVar[int]
    REST_FIELD_NUMBER: _ClassVar[int]
    positive: _containers.RepeatedScalarFieldContainer[str]
    negative: _containers.RepeatedScalarFieldContainer[str]
    rest: BinaryTask.Rest
    def __init__(self, positive: _Optional[_Iterable[str]] = ..., negative: _Optional[_Iterable[str]] = ..., rest: _Optional[_Union[BinaryTask.Rest, str]] = ...) -> None: ...

class MultiLabelTask(_message.Message):
    __slots__ = ("labels",)
    LABELS_FIELD_NUMBER: _ClassVar[int]
    labels: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, labels: _Optional[_Iterable[str]] = ...) -> None: ...

class OrdinalTask(_message.Message):
    __slots__ = ("order",)
    ORDER_FIELD_NUMBER: _ClassVar[int]
    order: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, order: _Optional[_Iterable[str]] = ...) -> None: ...

class PrepareDatasetRequest(_message.Message):
    __slots__ = ("header", "source", "format", "split", "leaks", "class_map", "train_fraction", "train_fraction_seed", "task", "cap_per_label", "train_count", "audit", "held_out")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    SPLIT_FIELD_NUMBER: _ClassVar[int]
    LEAKS_FIELD_NUMBER: _ClassVar[int]
    CLASS_MAP_FIELD_NUMBER: _ClassVar[int]
    TRAIN_FRACTION_FIELD_NUMBER: _ClassVar[int]
    TRAIN_FRACTION_SEED_FIELD_NUMBER: _ClassVar[int]
    TASK_FIELD_NUMBER: _ClassVar[int]
    CAP_PER_LABEL_FIELD_NUMBER: _ClassVar[int]
    TRAIN_COUNT_FIELD_NUMBER: _ClassVar[int]
    AUDIT_FIELD_NUMBER: _ClassVar[int]
    HELD_OUT_FIELD_NUMBER: _ClassVar[int]
    header: _artifacts_pb2.StepHeader
    source: Source
    format: ImageFormat
    split: SplitRule
    leaks: LeakPolicy
    class_map: _containers.RepeatedCompositeFieldContainer[ClassMapping]
    train_fraction: float
    train_fraction_seed: int
    task: Task
    cap_per_label: int
    train_count: int
    audit: AuditPolicy
    held_out: HeldOut
    def __init__(self, header: _Optional[_Union[_artifacts_pb2.StepHeader, _Mapping]] = ..., source: _Optional[_Union[Source, _Mapping]] = ..., format: _Optional[_Union[ImageFormat, _Mapping]] = ..., split: _Optional[_Union[SplitRule, _Mapping]] = ..., leaks: _Optional[_Union[LeakPolicy, _Mapping]] = ..., class_map: _Optional[_Iterable[_Union[ClassMapping, _Mapping]]] = ..., train_fraction: _Optional[float] = ..., train_fraction_seed: _Optional[int] = ..., task: _Optional[_Union[Task, _Mapping]] = ..., cap_per_label: _Optional[int] = ..., train_count: _Optional[int] = ..., audit: _Optional[_Union[AuditPolicy, str]] = ..., held_out: _Optional[_Union[HeldOut, _Mapping]] = ...) -> None: ...

class HeldOut(_message.Message):
    __slots__ = ("validation", "test", "same_source")
    VALIDATION_FIELD_NUMBER: _ClassVar[int]
    TEST_FIELD_NUMBER: _ClassVar[int]
    SAME_SOURCE_FIELD_NUMBER: _ClassVar[int]
    validation: _artifacts_pb2.MemberRef
    test: _artifacts_pb2.MemberRef
    same_source: bool
    def __init__(self, validation: _Optional[_Union[_artifacts_pb2.MemberRef, _Mapping]] = ..., test: _Optional[_Union[_artifacts_pb2.MemberRef, _Mapping]] = ..., same_source: _Optional[bool] = ...) -> None: ...

class ImportImagesRequest(_message.Message):
    __slots__ = ("header", "source", "format", "class_map", "train", "validation", "test", "leaks", "allow_copies", "task", "audit", "scale")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    CLASS_MAP_FIELD_NUMBER: _ClassVar[int]
    TRAIN_FIELD_NUMBER: _ClassVar[int]
    VALIDATION_FIELD_NUMBER: _ClassVar[int]
    TEST_FIELD_NUMBER: _ClassVar[int]
    LEAKS_FIELD_NUMBER: _ClassVar[int]
    ALLOW_COPIES_FIELD_NUMBER: _ClassVar[int]
    TASK_FIELD_NUMBER: _ClassVar[int]
    AUDIT_FIELD_NUMBER: _ClassVar[int]
    SCALE_FIELD_NUMBER: _ClassVar[int]
    header: _artifacts_pb2.StepHeader
    source: Source
    format: ImageFormat
    class_map: _containers.RepeatedCompositeFieldContainer[ClassMapping]
    train: _artifacts_pb2.MemberRef
    validation: _artifacts_pb2.MemberRef
    test: _artifacts_pb2.MemberRef
    leaks: LeakPolicy
    allow_copies: bool
    task: Task
    audit: AuditPolicy
    scale: _artifacts_pb2.MemberRef
    def __init__(self, header: _Optional[_Union[_artifacts_pb2.StepHeader, _Mapping]] = ..., source: _Optional[_Union[Source, _Mapping]] = ..., format: _Optional[_Union[ImageFormat, _Mapping]] = ..., class_map: _Optional[_Iterable[_Union[ClassMapping, _Mapping]]] = ..., train: _Optional[_Union[_artifacts_pb2.MemberRef, _Mapping]] = ..., validation: _Optional[_Union[_artifacts_pb2.MemberRef, _Mapping]] = ..., test: _Optional[_Union[_artifacts_pb2.MemberRef, _Mapping]] = ..., leaks: _Optional[_Union[LeakPolicy, _Mapping]] = ..., allow_copies: _Optional[bool] = ..., task: _Optional[_Union[Task, _Mapping]] = ..., audit: _Optional[_Union[AuditPolicy, str]] = ..., scale: _Optional[_Union[_artifacts_pb2.MemberRef, _Mapping]] = ...) -> None: ...

class PreparePoolRequest(_message.Message):
    __slots__ = ("header", "source", "format", "held_out", "train", "leaks", "scale")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    HELD_OUT_FIELD_NUMBER: _ClassVar[int]
    TRAIN_FIELD_NUMBER: _ClassVar[int]
    LEAKS_FIELD_NUMBER: _ClassVar[int]
    SCALE_FIELD_NUMBER: _ClassVar[int]
    header: _artifacts_pb2.StepHeader
    source: Source
    format: ImageFormat
    held_out: HeldOut
    train: _artifacts_pb2.MemberRef
    leaks: LeakPolicy
    scale: _artifacts_pb2.MemberRef
    def __init__(self, header: _Optional[_Union[_artifacts_pb2.StepHeader, _Mapping]] = ..., source: _Optional[_Union[Source, _Mapping]] = ..., format: _Optional[_Union[ImageFormat, _Mapping]] = ..., held_out: _Optional[_Union[HeldOut, _Mapping]] = ..., train: _Optional[_Union[_artifacts_pb2.MemberRef, _Mapping]] = ..., leaks: _Optional[_Union[LeakPolicy, _Mapping]] = ..., scale: _Optional[_Union[_artifacts_pb2.MemberRef, _Mapping]] = ...) -> None: ...

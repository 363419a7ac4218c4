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

class ClassifierModel(_message.Message):
    __slots__ = ("name", "stem", "file", "trained")
    class Stem(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        STEM_UNSPECIFIED: _ClassVar[ClassifierModel.Stem]
        STEM_AUTO: _ClassVar[ClassifierModel.Stem]
        STEM_STANDARD: _ClassVar[ClassifierModel.Stem]
        STEM_SMALL: _ClassVar[ClassifierModel.Stem]
    STEM_UNSPECIFIED: ClassifierModel.Stem
    STEM_AUTO: ClassifierModel.Stem
    STEM_STANDARD: ClassifierModel.Stem
    STEM_SMALL: ClassifierModel.Stem
    NAME_FIELD_NUMBER: _ClassVar[int]
    STEM_FIELD_NUMBER: _ClassVar[int]
    FILE_FIELD_NUMBER: _ClassVar[int]
    TRAINED_FIELD_NUMBER: _ClassVar[int]
    name: str
    stem: ClassifierModel.Stem
    file: FileWeights
    trained: _artifacts_pb2.MemberRef
    def __init__(self, name: _Optional[str] = ..., stem: _Optional[_Union[ClassifierModel.Stem, str]] = ..., file: _Optional[_Union[FileWeights, _Mapping]] = ..., trained: _Optional[_Union[_artifacts_pb2.MemberRef, _Mapping]] = ...) -> None: ...

class FileWeights(_message.Message):
    __slots__ = ("digest",)
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    digest: str
    def __init__(self, digest: _Optional[str] = ...) -> None: ...

class TrainingPhase(_message.Message):
    __slots__ = ("real", "synthetic", "duplicated", "steps", "epochs", "learning_rate", "real_proportions", "train", "start")
    class Start(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        START_UNSPECIFIED: _ClassVar[TrainingPhase.Start]
        START_LAST: _ClassVar[TrainingPhase.Start]
        START_BEST: _ClassVar[TrainingPhase.Start]
    START_UNSPECIFIED: TrainingPhase.Start
    START_LAST: TrainingPhase.Start
    START_BEST: TrainingPhase.Start
    class RealProportions(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        REAL_PROPORTIONS_UNSPECIFIED: _ClassVar[TrainingPhase.RealProportions]
        REAL_PROPORTIONS_AS_IS: _ClassVar[TrainingPhase.RealProportions]
        REAL_PROPORTIONS_AS_SYNTHETIC: _ClassVar[TrainingPhase.RealProportions]
    REAL_PROPORTIONS_UNSPECIFIED: TrainingPhase.RealProportions
    REAL_PROPORTIONS_AS_IS: TrainingPhase.RealProportions
    REAL_PROPORTIONS_AS_SYNTHETIC: TrainingPhase.RealProportions
    REAL_FIELD_NUMBER: _ClassVar[int]
    SYNTHETIC_FIELD_NUMBER: _ClassVar[int]
    DUPLICATED_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    EPOCHS_FIELD_NUMBER: _ClassVar[int]
    LEARNING_RATE_FIELD_NUMBER: _ClassVar[int]
    REAL_PROPORTIONS_FIELD_NUMBER: _ClassVar[int]
    TRAIN_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    real: float
    synthetic: float
    duplicated: float
    steps: int
    epochs: float
    learning_rate: float
    real_proportions: TrainingPhase.RealProportions
    train: _containers.RepeatedScalarFieldContainer[str]
    start: TrainingPhase.Start
    def __init__(self, real: _Optional[float] = ..., synthetic: _Optional[float] = ..., duplicated: _Optional[float] = ..., steps: _Optional[int] = ..., epochs: _Optional[float] = ..., learning_rate: _Optional[float] = ..., real_proportions: _Optional[_Union[TrainingPhase.RealProportions, str]] = ..., train: _Optional[_Iterable[str]] = ..., start: _Optional[_Union[TrainingPhase.Start, str]] = ...) -> None: ...

class TrainingRecipe(_message.Message):
    __slots__ = ("batch_size", "optimizer", "weight_decay", "schedule", "warmup", "augment_shift", "augment_flip", "label_smoothing", "ema_half_life_steps", "checkpoint", "validations", "loss", "warmup_epochs", "decay_epochs", "decay_factor", "cycles", "learning_rate_batch", "clip_norm", "layer_decay", "class_weights", "sampling", "focal_gamma", "focal_alpha", "asymmetric_positive", "asymmetric_negative", "asymmetric_margin", "mixup", "cutmix", "crop", "rotation", "jitter", "erasing", "select_by", "normalisation", "precision", "rand_augment", "rand_augment_operations", "rand_augment_kind", "keep_epochs", "keep_stages")
    class Optimizer(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        OPTIMIZER_UNSPECIFIED: _ClassVar[TrainingRecipe.Optimizer]
        OPTIMIZER_ADAMW: _ClassVar[TrainingRecipe.Optimizer]
        OPTIMIZER_ADAM: _ClassVar[TrainingRecipe.Optimizer]
        OPTIMIZER_SGD: _ClassVar[TrainingRecipe.Optimizer]
    OPTIMIZER_UNSPECIFIED: TrainingRecipe.Optimizer
    OPTIMIZER_ADAMW: TrainingRecipe.Optimizer
    OPTIMIZER_ADAM: TrainingRecipe.Optimizer
    OPTIMIZER_SGD: TrainingRecipe.Optimizer
    class Schedule(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        SCHEDULE_UNSPECIFIED: _ClassVar[TrainingRecipe.Schedule]
        SCHEDULE_ONE_CYCLE: _ClassVar[TrainingRecipe.Schedule]
        SCHEDULE_CONSTANT: _ClassVar[TrainingRecipe.Schedule]
        SCHEDULE_STEPS: _ClassVar[TrainingRecipe.Schedule]
        SCHEDULE_DECAY: _ClassVar[TrainingRecipe.Schedule]
        SCHEDULE_RESTARTS: _ClassVar[TrainingRecipe.Schedule]
    SCHEDULE_UNSPECIFIED: TrainingRecipe.Schedule
    SCHEDULE_ONE_CYCLE: TrainingRecipe.Schedule
    SCHEDULE_CONSTANT: TrainingRecipe.Schedule
    SCHEDULE_STEPS: TrainingRecipe.Schedule
    SCHEDULE_DECAY: TrainingRecipe.Schedule
    SCHEDULE_RESTARTS: TrainingRecipe.Schedule
    class CheckpointChoice(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        CHECKPOINT_CHOICE_UNSPECIFIED: _ClassVar[TrainingRecipe.CheckpointChoice]
        CHECKPOINT_CHOICE_LAST_EMA: _ClassVar[TrainingRecipe.CheckpointChoice]
        CHECKPOINT_CHOICE_BEST: _ClassVar[TrainingRecipe.CheckpointChoice]
    CHECKPOINT_CHOICE_UNSPECIFIED: TrainingRecipe.CheckpointChoice
    CHECKPOINT_CHOICE_LAST_EMA: TrainingRecipe.CheckpointChoice
    CHECKPOINT_CHOICE_BEST: TrainingRecipe.CheckpointChoice
    class Loss(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        LOSS_UNSPECIFIED: _ClassVar[TrainingRecipe.Loss]
        LOSS_CROSS_ENTROPY: _ClassVar[TrainingRecipe.Loss]
        LOSS_FOCAL: _ClassVar[TrainingRecipe.Loss]
        LOSS_ASYMMETRIC: _ClassVar[TrainingRecipe.Loss]
    LOSS_UNSPECIFIED: TrainingRecipe.Loss
    LOSS_CROSS_ENTROPY: TrainingRecipe.Loss
    LOSS_FOCAL: TrainingRecipe.Loss
    LOSS_ASYMMETRIC: TrainingRecipe.Loss
    class ClassWeights(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        CLASS_WEIGHTS_UNSPECIFIED: _ClassVar[TrainingRecipe.ClassWeights]
        CLASS_WEIGHTS_EQUAL: _ClassVar[TrainingRecipe.ClassWeights]
        CLASS_WEIGHTS_BALANCED: _ClassVar[TrainingRecipe.ClassWeights]
    CLASS_WEIGHTS_UNSPECIFIED: TrainingRecipe.ClassWeights
    CLASS_WEIGHTS_EQUAL: TrainingRecipe.ClassWeights
    CLASS_WEIGHTS_BALANCED: TrainingRecipe.ClassWeights
    class Sampling(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        SAMPLING_UNSPECIFIED: _ClassVar[TrainingRecipe.Sampling]
        SAMPLING_NATURAL: _ClassVar[TrainingRecipe.Sampling]
        SAMPLING_BALANCED: _ClassVar[TrainingRecipe.Sampling]
    SAMPLING_UNSPECIFIED: TrainingRecipe.Sampling
    SAMPLING_NATURAL: TrainingRecipe.Sampling
    SAMPLING_BALANCED: TrainingRecipe.Sampling
    class Selection(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        SELECTION_UNSPECIFIED: _ClassVar[TrainingRecipe.Selection]
        SELECTION_LOSS: _ClassVar[TrainingRecipe.Selection]
        SELECTION_AUROC: _ClassVar[TrainingRecipe.Selection]
        SELECTION_ACCURACY: _ClassVar[TrainingRecipe.Selection]
    SELECTION_UNSPECIFIED: TrainingRecipe.Selection
    SELECTION_LOSS: TrainingRecipe.Selection
    SELECTION_AUROC: TrainingRecipe.Selection
    SELECTION_ACCURACY: TrainingRecipe.Selection
    class Normalisation(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        NORMALISATION_UNSPECIFIED: _ClassVar[TrainingRecipe.Normalisation]
        NORMALISATION_MEASURED: _ClassVar[TrainingRecipe.Normalisation]
        NORMALISATION_IMAGENET: _ClassVar[TrainingRecipe.Normalisation]
    NORMALISATION_UNSPECIFIED: TrainingRecipe.Normalisation
    NORMALISATION_MEASURED: TrainingRecipe.Normalisation
    NORMALISATION_IMAGENET: TrainingRecipe.Normalisation
    class Operations(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        OPERATIONS_UNSPECIFIED: _ClassVar[TrainingRecipe.Operations]
        OPERATIONS_ALL: _ClassVar[TrainingRecipe.Operations]
        OPERATIONS_GEOMETRY: _ClassVar[TrainingRecipe.Operations]
        OPERATIONS_INTENSITY: _ClassVar[TrainingRecipe.Operations]
    OPERATIONS_UNSPECIFIED: TrainingRecipe.Operations
    OPERATIONS_ALL: TrainingRecipe.Operations
    OPERATIONS_GEOMETRY: TrainingRecipe.Operations
    OPERATIONS_INTENSITY: TrainingRecipe.Operations
    class Precision(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        PRECISION_UNSPECIFIED: _ClassVar[TrainingRecipe.Precision]
        PRECISION_FLOAT32: _ClassVar[TrainingRecipe.Precision]
        PRECISION_BFLOAT16: _ClassVar[TrainingRecipe.Precision]
    PRECISION_UNSPECIFIED: TrainingRecipe.Precision
    PRECISION_FLOAT32: TrainingRecipe.Precision
    PRECISION_BFLOAT16: TrainingRecipe.Precision
    BATCH_SIZE_FIELD_NUMBER: _ClassVar[int]
    OPTIMIZER_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_DECAY_FIELD_NUMBER: _ClassVar[int]
    SCHEDULE_FIELD_NUMBER: _ClassVar[int]
    WARMUP_FIELD_NUMBER: _ClassVar[int]
    AUGMENT_SHIFT_FIELD_NUMBER: _ClassVar[int]
    AUGMENT_FLIP_FIELD_NUMBER: _ClassVar[int]
    LABEL_SMOOTHING_FIELD_NUMBER: _ClassVar[int]
    EMA_HALF_LIFE_STEPS_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    VALIDATIONS_FIELD_NUMBER: _ClassVar[int]
    LOSS_FIELD_NUMBER: _ClassVar[int]
    WARMUP_EPOCHS_FIELD_NUMBER: _ClassVar[int]
    DECAY_EPOCHS_FIELD_NUMBER: _ClassVar[int]
    DECAY_FACTOR_FIELD_NUMBER: _ClassVar[int]
    CYCLES_FIELD_NUMBER: _ClassVar[int]
    LEARNING_RATE_BATCH_FIELD_NUMBER: _ClassVar[int]
    CLIP_NORM_FIELD_NUMBER: _ClassVar[int]
    LAYER_DECAY_FIELD_NUMBER: _ClassVar[int]
    CLASS_WEIGHTS_FIELD_NUMBER: _ClassVar[int]
    SAMPLING_FIELD_NUMBER: _ClassVar[int]
    FOCAL_GAMMA_FIELD_NUMBER: _ClassVar[int]
    FOCAL_ALPHA_FIELD_NUMBER: _ClassVar[int]
    ASYMMETRIC_POSITIVE_FIELD_NUMBER: _ClassVar[int]
    ASYMMETRIC_NEGATIVE_FIELD_NUMBER: _ClassVar[int]
    ASYMMETRIC_MARGIN_FIELD_NUMBER: _ClassVar[int]
    MIXUP_FIELD_NUMBER: _ClassVar[int]
    CUTMIX_FIELD_NUMBER: _ClassVar[int]
    CROP_FIELD_NUMBER: _ClassVar[int]
    ROTATION_FIELD_NUMBER: _ClassVar[int]
    JITTER_FIELD_NUMBER: _ClassVar[int]
    ERASING_FIELD_NUMBER: _ClassVar[int]
    SELECT_BY_FIELD_NUMBER: _ClassVar[int]
    NORMALISATION_FIELD_NUMBER: _ClassVar[int]
    PRECISION_FIELD_NUMBER: _ClassVar[int]
    RAND_AUGMENT_FIELD_NUMBER: _ClassVar[int]
    RAND_AUGMENT_OPERATIONS_FIELD_NUMBER: _ClassVar[int]
    RAND_AUGMENT_KIND_FIELD_NUMBER: _ClassVar[int]
    KEEP_EPOCHS_FIELD_NUMBER: _ClassVar[int]
    KEEP_STAGES_FIELD_NUMBER: _ClassVar[int]
    batch_size: int
    optimizer: TrainingRecipe.Optimizer
    weight_decay: float
    schedule: TrainingRecipe.Schedule
    warmup: float
    augment_shift: int
    augment_flip: bool
    label_smoothing: float
    ema_half_life_steps: float
    checkpoint: TrainingRecipe.CheckpointChoice
    validations: int
    loss: TrainingRecipe.Loss
    warmup_epochs: float
    decay_epochs: float
    decay_factor: float
    cycles: int
    learning_rate_batch: int
    clip_norm: float
    layer_decay: float
    class_weights: TrainingRecipe.ClassWeights
    sampling: TrainingRecipe.Sampling
    focal_gamma: float
    focal_alpha: float
    asymmetric_positive: float
    asymmetric_negative: float
    asymmetric_margin: float
    mixup: float
    cutmix: float
    crop: float
    rotation: float
    jitter: float
    erasing: float
    select_by: TrainingRecipe.Selection
    normalisation: TrainingRecipe.Normalisation
    precision: TrainingRecipe.Precision
    rand_augment: float
    rand_augment_operations: int
    rand_augment_kind: TrainingRecipe.Operations
    keep_epochs: float
    keep_stages: bool
    def __init__(self, batch_size: _Optional[int] = ..., optimizer: _Optional[_Union[TrainingRecipe.Optimizer, str]] = ..., weight_decay: _Optional[float] = ..., schedule: _Optional[_Union[TrainingRecipe.Schedule, str]] = ..., warmup: _Optional[float] = ..., augment_shift: _Optional[int] = ..., augment_flip: _Optional[bool] = ..., label_smoothing: _Optional[float] = ..., ema_half_life_steps: _Optional[float] = ..., checkpoint: _Optional[_Union[TrainingRecipe.CheckpointChoice, str]] = ..., validations: _Optional[int] = ..., loss: _Optional[_Union[TrainingRecipe.Loss, str]] = ..., warmup_epochs: _Optional[float] = ..., decay_epochs: _Optional[float] = ..., decay_factor: _Optional[float] = ..., cycles: _Optional[int] = ..., learning_rate_batch: _Optional[int] = ..., clip_norm: _Optional[float] = ..., layer_decay: _Optional[float] = ..., class_weights: _Optional[_Union[TrainingRecipe.ClassWeights, str]] = ..., sampling: _Optional[_Union[TrainingRecipe.Sampling, str]] = ..., focal_gamma: _Optional[float] = ..., focal_alpha: _Optional[float] = ..., asymmetric_positive: _Optional[float] = ..., asymmetric_negative: _Optional[float] = ..., asymmetric_margin: _Optional[float] = ..., mixup: _Optional[float] = ..., cutmix: _Optional[float] = ..., crop: _Optional[float] = ..., rotation: _Optional[float] = ..., jitter: _Optional[float] = ..., erasing: _Optional[float] = ..., select_by: _Optional[_Union[TrainingRecipe.Selection, str]] = ..., normalisation: _Optional[_Union[TrainingRecipe.Normalisation, str]] = ..., precision: _Optional[_Union[TrainingRecipe.Precision, str]] = ..., rand_augment: _Optional[float] = ..., rand_augment_operations: _Optional[int] = ..., rand_augment_kind: _Optional[_Union[TrainingRecipe.Operations, str]] = ..., keep_epochs: _Optional[float] = ..., keep_stages: _Optional[bool] = ...) -> None: ...

class ExtractFeaturesRequest(_message.Message):
    __slots__ = ("header", "images", "model", "train", "side", "inception")
    class Side(_message.Message):
        __slots__ = ("pixels",)
        PIXELS_FIELD_NUMBER: _ClassVar[int]
        pixels: int
        def __init__(self, pixels: _Optional[int] = ...) -> None: ...
    HEADER_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    TRAIN_FIELD_NUMBER: _ClassVar[int]
    SIDE_FIELD_NUMBER: _ClassVar[int]
    INCEPTION_FIELD_NUMBER: _ClassVar[int]
    header: _artifacts_pb2.StepHeader
    images: _artifacts_pb2.MemberRef
    model: ClassifierModel
    train: _artifacts_pb2.MemberRef
    side: ExtractFeaturesRequest.Side
    inception: FileWeights
    def __init__(self, header: _Optional[_Union[_artifacts_pb2.StepHeader, _Mapping]] = ..., images: _Optional[_Union[_artifacts_pb2.MemberRef, _Mapping]] = ..., model: _Optional[_Union[ClassifierModel, _Mapping]] = ..., train: _Optional[_Union[_artifacts_pb2.MemberRef, _Mapping]] = ..., side: _Optional[_Union[ExtractFeaturesRequest.Side, _Mapping]] = ..., inception: _Optional[_Union[FileWeights, _Mapping]] = ...) -> None: ...

class Probe(_message.Message):
    __slots__ = ("train", "validation", "synthetic", "l2")
    TRAIN_FIELD_NUMBER: _ClassVar[int]
    VALIDATION_FIELD_NUMBER: _ClassVar[int]
    SYNTHETIC_FIELD_NUMBER: _ClassVar[int]
    L2_FIELD_NUMBER: _ClassVar[int]
    train: _artifacts_pb2.MemberRef
    validation: _artifacts_pb2.MemberRef
    synthetic: _artifacts_pb2.MemberRef
    l2: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, train: _Optional[_Union[_artifacts_pb2.MemberRef, _Mapping]] = ..., validation: _Optional[_Union[_artifacts_pb2.MemberRef, _Mapping]] = ..., synthetic: _Optional[_Union[_artifacts_pb2.MemberRef, _Mapping]] = ..., l2: _Optional[_Iterable[float]] = ...) -> None: ...

class ClassifierPart(_message.Message):
    __slots__ = ("until", "begun")
    UNTIL_FIELD_NUMBER: _ClassVar[int]
    BEGUN_FIELD_NUMBER: _ClassVar[int]
    until: float
    begun: _artifacts_pb2.MemberRef
    def __init__(self, until: _Optional[float] = ..., begun: _Optional[_Union[_artifacts_pb2.MemberRef, _Mapping]] = ...) -> None: ...

class TrainClassifierRequest(_message.Message):
    __slots__ = ("header", "train", "validation", "synthetic", "model", "phases", "recipe", "seed", "shuffle_synthetic_labels", "balance", "probe", "cap_per_label", "part")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    TRAIN_FIELD_NUMBER: _ClassVar[int]
    VALIDATION_FIELD_NUMBER: _ClassVar[int]
    SYNTHETIC_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    PHASES_FIELD_NUMBER: _ClassVar[int]
    RECIPE_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    SHUFFLE_SYNTHETIC_LABELS_FIELD_NUMBER: _ClassVar[int]
    BALANCE_FIELD_NUMBER: _ClassVar[int]
    PROBE_FIELD_NUMBER: _ClassVar[int]
    CAP_PER_LABEL_FIELD_NUMBER: _ClassVar[int]
    PART_FIELD_NUMBER: _ClassVar[int]
    header: _artifacts_pb2.StepHeader
    train: _artifacts_pb2.MemberRef
    validation: _artifacts_pb2.MemberRef
    synthetic: _artifacts_pb2.MemberRef
    model: ClassifierModel
    phases: _containers.RepeatedCompositeFieldContainer[TrainingPhase]
    recipe: TrainingRecipe
    seed: int
    shuffle_synthetic_labels: bool
    balance: _generation_pb2.Balance
    probe: Probe
    cap_per_label: int
    part: ClassifierPart
    def __init__(self, header: _Optional[_Union[_artifacts_pb2.StepHeader, _Mapping]] = ..., train: _Optional[_Union[_artifacts_pb2.MemberRef, _Mapping]] = ..., validation: _Optional[_Union[_artifacts_pb2.MemberRef, _Mapping]] = ..., synthetic: _Optional[_Union[_artifacts_pb2.MemberRef, _Mapping]] = ..., model: _Optional[_Union[ClassifierModel, _Mapping]] = ..., phases: _Optional[_Iterable[_Union[TrainingPhase, _Mapping]]] = ..., recipe: _Optional[_Union[TrainingRecipe, _Mapping]] = ..., seed: _Optional[int] = ..., shuffle_synthetic_labels: _Optional[bool] = ..., balance: _Optional[_Union[_generation_pb2.Balance, str]] = ..., probe: _Optional[_Union[Probe, _Mapping]] = ..., cap_per_label: _Optional[int] = ..., part: _Optional[_Union[ClassifierPart, _Mapping]] = ...) -> None: ...

class EvaluateClassifierRequest(_message.Message):
    __slots__ = ("header", "classifier", "images", "features")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    CLASSIFIER_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    header: _artifacts_pb2.StepHeader
    classifier: _artifacts_pb2.MemberRef
    images: _artifacts_pb2.MemberRef
    features: _artifacts_pb2.MemberRef
    def __init__(self, header: _Optional[_Union[_artifacts_pb2.StepHeader, _Mapping]] = ..., classifier: _Optional[_Union[_artifacts_pb2.MemberRef, _Mapping]] = ..., images: _Optional[_Union[_artifacts_pb2.MemberRef, _Mapping]] = ..., features: _Optional[_Union[_artifacts_pb2.MemberRef, _Mapping]] = ...) -> None: ...

class ImportClassifierRequest(_message.Message):
    __slots__ = ("header", "model", "classes", "several_labels", "channels", "side", "mean", "std")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    CLASSES_FIELD_NUMBER: _ClassVar[int]
    SEVERAL_LABELS_FIELD_NUMBER: _ClassVar[int]
    CHANNELS_FIELD_NUMBER: _ClassVar[int]
    SIDE_FIELD_NUMBER: _ClassVar[int]
    MEAN_FIELD_NUMBER: _ClassVar[int]
    STD_FIELD_NUMBER: _ClassVar[int]
    header: _artifacts_pb2.StepHeader
    model: ClassifierModel
    classes: _containers.RepeatedScalarFieldContainer[str]
    several_labels: bool
    channels: int
    side: int
    mean: _containers.RepeatedScalarFieldContainer[float]
    std: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, header: _Optional[_Union[_artifacts_pb2.StepHeader, _Mapping]] = ..., model: _Optional[_Union[ClassifierModel, _Mapping]] = ..., classes: _Optional[_Iterable[str]] = ..., several_labels: _Optional[bool] = ..., channels: _Optional[int] = ..., side: _Optional[int] = ..., mean: _Optional[_Iterable[float]] = ..., std: _Optional[_Iterable[float]] = ...) -> None: ...

class DescribeModelRequest(_message.Message):
    __slots__ = ("header", "model", "classes", "channels", "side")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    CLASSES_FIELD_NUMBER: _ClassVar[int]
    CHANNELS_FIELD_NUMBER: _ClassVar[int]
    SIDE_FIELD_NUMBER: _ClassVar[int]
    header: _artifacts_pb2.StepHeader
    model: ClassifierModel
    classes: int
    channels: int
    side: int
    def __init__(self, header: _Optional[_Union[_artifacts_pb2.StepHeader, _Mapping]] = ..., model: _Optional[_Union[ClassifierModel, _Mapping]] = ..., classes: _Optional[int] = ..., channels: _Optional[int] = ..., side: _Optional[int] = ...) -> None: ...

class ConvertClassifierRequest(_message.Message):
    __slots__ = ("header", "classifier", "images", "form")
    class Form(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        FORM_UNSPECIFIED: _ClassVar[ConvertClassifierRequest.Form]
        FORM_TIMM: _ClassVar[ConvertClassifierRequest.Form]
        FORM_ONNX: _ClassVar[ConvertClassifierRequest.Form]
    FORM_UNSPECIFIED: ConvertClassifierRequest.Form
    FORM_TIMM: ConvertClassifierRequest.Form
    FORM_ONNX: ConvertClassifierRequest.Form
    HEADER_FIELD_NUMBER: _ClassVar[int]
    CLASSIFIER_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    FORM_FIELD_NUMBER: _ClassVar[int]
    header: _artifacts_pb2.StepHeader
    classifier: _artifacts_pb2.MemberRef
    images: _artifacts_pb2.MemberRef
    form: ConvertClassifierRequest.Form
    def __init__(self, header: _Optional[_Union[_artifacts_pb2.StepHeader, _Mapping]] = ..., classifier: _Optional[_Union[_artifacts_pb2.MemberRef, _Mapping]] = ..., images: _Optional[_Union[_artifacts_pb2.MemberRef, _Mapping]] = ..., form: _Optional[_Union[ConvertClassifierRequest.Form, str]] = ...) -> None: ...

from google.longrunning import operations_pb2 as _operations_pb2
from google.protobuf import struct_pb2 as _struct_pb2
from syntrial.v1 import artifacts_pb2 as _artifacts_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Denoiser(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DENOISER_UNSPECIFIED: _ClassVar[Denoiser]
    DENOISER_UNET: _ClassVar[Denoiser]
    DENOISER_TRANSFORMER: _ClassVar[Denoiser]

class Balance(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    BALANCE_UNSPECIFIED: _ClassVar[Balance]
    BALANCE_MATCH: _ClassVar[Balance]
    BALANCE_UNIFORM: _ClassVar[Balance]
    BALANCE_FILL: _ClassVar[Balance]

class Objective(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    OBJECTIVE_UNSPECIFIED: _ClassVar[Objective]
    OBJECTIVE_AUROC: _ClassVar[Objective]
    OBJECTIVE_ACCURACY: _ClassVar[Objective]
    OBJECTIVE_BALANCED_ACCURACY: _ClassVar[Objective]
    OBJECTIVE_FRECHET: _ClassVar[Objective]
DENOISER_UNSPECIFIED: Denoiser
DENOISER_UNET: Denoiser
DENOISER_TRANSFORMER: Denoiser
BALANCE_UNSPECIFIED: Balance
BALANCE_MATCH: Balance
BALANCE_UNIFORM: Balance
BALANCE_FILL: Balance
OBJECTIVE_UNSPECIFIED: Objective
OBJECTIVE_AUROC: Objective
OBJECTIVE_ACCURACY: Objective
OBJECTIVE_BALANCED_ACCURACY: Objective
OBJECTIVE_FRECHET: Objective

class DiffusionConfig(_message.Message):
    __slots__ = ("fold", "channels", "layers_per_level", "attention_head_width", "dropout", "images", "batch_size", "learning_rate", "warmup_images", "ema_half_life_images", "p_mean", "p_std", "sigma_data", "augment_shift", "augment_flip", "label_dropout", "denoiser")
    FOLD_FIELD_NUMBER: _ClassVar[int]
    CHANNELS_FIELD_NUMBER: _ClassVar[int]
    LAYERS_PER_LEVEL_FIELD_NUMBER: _ClassVar[int]
    ATTENTION_HEAD_WIDTH_FIELD_NUMBER: _ClassVar[int]
    DROPOUT_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    BATCH_SIZE_FIELD_NUMBER: _ClassVar[int]
    LEARNING_RATE_FIELD_NUMBER: _ClassVar[int]
    WARMUP_IMAGES_FIELD_NUMBER: _ClassVar[int]
    EMA_HALF_LIFE_IMAGES_FIELD_NUMBER: _ClassVar[int]
    P_MEAN_FIELD_NUMBER: _ClassVar[int]
    P_STD_FIELD_NUMBER: _ClassVar[int]
    SIGMA_DATA_FIELD_NUMBER: _ClassVar[int]
    AUGMENT_SHIFT_FIELD_NUMBER: _ClassVar[int]
    AUGMENT_FLIP_FIELD_NUMBER: _ClassVar[int]
    LABEL_DROPOUT_FIELD_NUMBER: _ClassVar[int]
    DENOISER_FIELD_NUMBER: _ClassVar[int]
    fold: int
    channels: _containers.RepeatedScalarFieldContainer[int]
    layers_per_level: int
    attention_head_width: int
    dropout: float
    images: int
    batch_size: int
    learning_rate: float
    warmup_images: int
    ema_half_life_images: int
    p_mean: float
    p_std: float
    sigma_data: float
    augment_shift: int
    augment_flip: bool
    label_dropout: float
    denoiser: Denoiser
    def __init__(self, fold: _Optional[int] = ..., channels: _Optional[_Iterable[int]] = ..., layers_per_level: _Optional[int] = ..., attention_head_width: _Optional[int] = ..., dropout: _Optional[float] = ..., images: _Optional[int] = ..., batch_size: _Optional[int] = ..., learning_rate: _Optional[float] = ..., warmup_images: _Optional[int] = ..., ema_half_life_images: _Optional[int] = ..., p_mean: _Optional[float] = ..., p_std: _Optional[float] = ..., sigma_data: _Optional[float] = ..., augment_shift: _Optional[int] = ..., augment_flip: _Optional[bool] = ..., label_dropout: _Optional[float] = ..., denoiser: _Optional[_Union[Denoiser, str]] = ...) -> None: ...

class GanConfig(_message.Message):
    __slots__ = ("latent_size", "channels", "blocks_per_level", "images", "batch_size", "learning_rate", "gamma", "ema_half_life_images", "augment_shift", "augment_cutout", "augment_brightness", "augment_flip", "fold", "augment_target", "augment_rise_images", "augment_pipeline", "spread")
    class Pipeline(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        PIPELINE_UNSPECIFIED: _ClassVar[GanConfig.Pipeline]
        PIPELINE_DIFFAUGMENT: _ClassVar[GanConfig.Pipeline]
        PIPELINE_B: _ClassVar[GanConfig.Pipeline]
        PIPELINE_BG: _ClassVar[GanConfig.Pipeline]
        PIPELINE_BGC: _ClassVar[GanConfig.Pipeline]
    PIPELINE_UNSPECIFIED: GanConfig.Pipeline
    PIPELINE_DIFFAUGMENT: GanConfig.Pipeline
    PIPELINE_B: GanConfig.Pipeline
    PIPELINE_BG: GanConfig.Pipeline
    PIPELINE_BGC: GanConfig.Pipeline
    LATENT_SIZE_FIELD_NUMBER: _ClassVar[int]
    CHANNELS_FIELD_NUMBER: _ClassVar[int]
    BLOCKS_PER_LEVEL_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    BATCH_SIZE_FIELD_NUMBER: _ClassVar[int]
    LEARNING_RATE_FIELD_NUMBER: _ClassVar[int]
    GAMMA_FIELD_NUMBER: _ClassVar[int]
    EMA_HALF_LIFE_IMAGES_FIELD_NUMBER: _ClassVar[int]
    AUGMENT_SHIFT_FIELD_NUMBER: _ClassVar[int]
    AUGMENT_CUTOUT_FIELD_NUMBER: _ClassVar[int]
    AUGMENT_BRIGHTNESS_FIELD_NUMBER: _ClassVar[int]
    AUGMENT_FLIP_FIELD_NUMBER: _ClassVar[int]
    FOLD_FIELD_NUMBER: _ClassVar[int]
    AUGMENT_TARGET_FIELD_NUMBER: _ClassVar[int]
    AUGMENT_RISE_IMAGES_FIELD_NUMBER: _ClassVar[int]
    AUGMENT_PIPELINE_FIELD_NUMBER: _ClassVar[int]
    SPREAD_FIELD_NUMBER: _ClassVar[int]
    latent_size: int
    channels: _containers.RepeatedScalarFieldContainer[int]
    blocks_per_level: int
    images: int
    batch_size: int
    learning_rate: float
    gamma: float
    ema_half_life_images: int
    augment_shift: float
    augment_cutout: float
    augment_brightness: float
    augment_flip: bool
    fold: int
    augment_target: float
    augment_rise_images: int
    augment_pipeline: GanConfig.Pipeline
    spread: float
    def __init__(self, latent_size: _Optional[int] = ..., channels: _Optional[_Iterable[int]] = ..., blocks_per_level: _Optional[int] = ..., images: _Optional[int] = ..., batch_size: _Optional[int] = ..., learning_rate: _Optional[float] = ..., gamma: _Optional[float] = ..., ema_half_life_images: _Optional[int] = ..., augment_shift: _Optional[float] = ..., augment_cutout: _Optional[float] = ..., augment_brightness: _Optional[float] = ..., augment_flip: _Optional[bool] = ..., fold: _Optional[int] = ..., augment_target: _Optional[float] = ..., augment_rise_images: _Optional[int] = ..., augment_pipeline: _Optional[_Union[GanConfig.Pipeline, str]] = ..., spread: _Optional[float] = ...) -> None: ...

class AutoencoderConfig(_message.Message):
    __slots__ = ("factor", "channels", "layers_per_level", "latent_channels", "images", "batch_size", "learning_rate", "warmup_images", "ema_half_life_images", "kl_weight", "adversarial_weight", "adversarial_after_images", "discriminator_channels")
    FACTOR_FIELD_NUMBER: _ClassVar[int]
    CHANNELS_FIELD_NUMBER: _ClassVar[int]
    LAYERS_PER_LEVEL_FIELD_NUMBER: _ClassVar[int]
    LATENT_CHANNELS_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    BATCH_SIZE_FIELD_NUMBER: _ClassVar[int]
    LEARNING_RATE_FIELD_NUMBER: _ClassVar[int]
    WARMUP_IMAGES_FIELD_NUMBER: _ClassVar[int]
    EMA_HALF_LIFE_IMAGES_FIELD_NUMBER: _ClassVar[int]
    KL_WEIGHT_FIELD_NUMBER: _ClassVar[int]
    ADVERSARIAL_WEIGHT_FIELD_NUMBER: _ClassVar[int]
    ADVERSARIAL_AFTER_IMAGES_FIELD_NUMBER: _ClassVar[int]
    DISCRIMINATOR_CHANNELS_FIELD_NUMBER: _ClassVar[int]
    factor: int
    channels: _containers.RepeatedScalarFieldContainer[int]
    layers_per_level: int
    latent_channels: int
    images: int
    batch_size: int
    learning_rate: float
    warmup_images: int
    ema_half_life_images: int
    kl_weight: float
    adversarial_weight: float
    adversarial_after_images: int
    discriminator_channels: int
    def __init__(self, factor: _Optional[int] = ..., channels: _Optional[_Iterable[int]] = ..., layers_per_level: _Optional[int] = ..., latent_channels: _Optional[int] = ..., images: _Optional[int] = ..., batch_size: _Optional[int] = ..., learning_rate: _Optional[float] = ..., warmup_images: _Optional[int] = ..., ema_half_life_images: _Optional[int] = ..., kl_weight: _Optional[float] = ..., adversarial_weight: _Optional[float] = ..., adversarial_after_images: _Optional[int] = ..., discriminator_channels: _Optional[int] = ...) -> None: ...

class LatentDiffusionConfig(_message.Message):
    __slots__ = ("channels", "layers_per_level", "attention_head_width", "dropout", "images", "batch_size", "learning_rate", "warmup_images", "ema_half_life_images", "p_mean", "p_std", "label_dropout", "conditioning", "fold", "denoiser")
    class Conditioning(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        CONDITIONING_UNSPECIFIED: _ClassVar[LatentDiffusionConfig.Conditioning]
        CONDITIONING_LABELS: _ClassVar[LatentDiffusionConfig.Conditioning]
        CONDITIONING_CLASSIFIER_GUIDANCE: _ClassVar[LatentDiffusionConfig.Conditioning]
    CONDITIONING_UNSPECIFIED: LatentDiffusionConfig.Conditioning
    CONDITIONING_LABELS: LatentDiffusionConfig.Conditioning
    CONDITIONING_CLASSIFIER_GUIDANCE: LatentDiffusionConfig.Conditioning
    CHANNELS_FIELD_NUMBER: _ClassVar[int]
    LAYERS_PER_LEVEL_FIELD_NUMBER: _ClassVar[int]
    ATTENTION_HEAD_WIDTH_FIELD_NUMBER: _ClassVar[int]
    DROPOUT_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    BATCH_SIZE_FIELD_NUMBER: _ClassVar[int]
    LEARNING_RATE_FIELD_NUMBER: _ClassVar[int]
    WARMUP_IMAGES_FIELD_NUMBER: _ClassVar[int]
    EMA_HALF_LIFE_IMAGES_FIELD_NUMBER: _ClassVar[int]
    P_MEAN_FIELD_NUMBER: _ClassVar[int]
    P_STD_FIELD_NUMBER: _ClassVar[int]
    LABEL_DROPOUT_FIELD_NUMBER: _ClassVar[int]
    CONDITIONING_FIELD_NUMBER: _ClassVar[int]
    FOLD_FIELD_NUMBER: _ClassVar[int]
    DENOISER_FIELD_NUMBER: _ClassVar[int]
    channels: _containers.RepeatedScalarFieldContainer[int]
    layers_per_level: int
    attention_head_width: int
    dropout: float
    images: int
    batch_size: int
    learning_rate: float
    warmup_images: int
    ema_half_life_images: int
    p_mean: float
    p_std: float
    label_dropout: float
    conditioning: LatentDiffusionConfig.Conditioning
    fold: int
    denoiser: Denoiser
    def __init__(self, channels: _Optional[_Iterable[int]] = ..., layers_per_level: _Optional[int] = ..., attention_head_width: _Optional[int] = ..., dropout: _Optional[float] = ..., images: _Optional[int] = ..., batch_size: _Optional[int] = ..., learning_rate: _Optional[float] = ..., warmup_images: _Optional[int] = ..., ema_half_life_images: _Optional[int] = ..., p_mean: _Optional[float] = ..., p_std: _Optional[float] = ..., label_dropout: _Optional[float] = ..., conditioning: _Optional[_Union[LatentDiffusionConfig.Conditioning, str]] = ..., fold: _Optional[int] = ..., denoiser: _Optional[_Union[Denoiser, str]] = ...) -> None: ...

class LatentClassifierConfig(_message.Message):
    __slots__ = ("channels", "blocks", "attention_head_width", "images", "batch_size", "learning_rate", "warmup_images", "ema_half_life_images", "weight_decay", "p_mean", "p_std")
    CHANNELS_FIELD_NUMBER: _ClassVar[int]
    BLOCKS_FIELD_NUMBER: _ClassVar[int]
    ATTENTION_HEAD_WIDTH_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    BATCH_SIZE_FIELD_NUMBER: _ClassVar[int]
    LEARNING_RATE_FIELD_NUMBER: _ClassVar[int]
    WARMUP_IMAGES_FIELD_NUMBER: _ClassVar[int]
    EMA_HALF_LIFE_IMAGES_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_DECAY_FIELD_NUMBER: _ClassVar[int]
    P_MEAN_FIELD_NUMBER: _ClassVar[int]
    P_STD_FIELD_NUMBER: _ClassVar[int]
    channels: int
    blocks: int
    attention_head_width: int
    images: int
    batch_size: int
    learning_rate: float
    warmup_images: int
    ema_half_life_images: int
    weight_decay: float
    p_mean: float
    p_std: float
    def __init__(self, channels: _Optional[int] = ..., blocks: _Optional[int] = ..., attention_head_width: _Optional[int] = ..., images: _Optional[int] = ..., batch_size: _Optional[int] = ..., learning_rate: _Optional[float] = ..., warmup_images: _Optional[int] = ..., ema_half_life_images: _Optional[int] = ..., weight_decay: _Optional[float] = ..., p_mean: _Optional[float] = ..., p_std: _Optional[float] = ...) -> None: ...

class PcaConfig(_message.Message):
    __slots__ = ("explained_variance", "components")
    EXPLAINED_VARIANCE_FIELD_NUMBER: _ClassVar[int]
    COMPONENTS_FIELD_NUMBER: _ClassVar[int]
    explained_variance: float
    components: int
    def __init__(self, explained_variance: _Optional[float] = ..., components: _Optional[int] = ...) -> None: ...

class GeneratorCode(_message.Message):
    __slots__ = ("digest",)
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    digest: str
    def __init__(self, digest: _Optional[str] = ...) -> None: ...

class ExternalGenerator(_message.Message):
    __slots__ = ("image_digest", "command", "version", "options", "code")
    IMAGE_DIGEST_FIELD_NUMBER: _ClassVar[int]
    COMMAND_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    image_digest: str
    command: _containers.RepeatedScalarFieldContainer[str]
    version: str
    options: _struct_pb2.Struct
    code: GeneratorCode
    def __init__(self, image_digest: _Optional[str] = ..., command: _Optional[_Iterable[str]] = ..., version: _Optional[str] = ..., options: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., code: _Optional[_Union[GeneratorCode, _Mapping]] = ...) -> None: ...

class Perceptual(_message.Message):
    __slots__ = ("digest", "weight")
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    digest: str
    weight: float
    def __init__(self, digest: _Optional[str] = ..., weight: _Optional[float] = ...) -> None: ...

class TrainAutoencoderRequest(_message.Message):
    __slots__ = ("header", "train", "seed", "config", "unlabelled", "perceptual")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    TRAIN_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    UNLABELLED_FIELD_NUMBER: _ClassVar[int]
    PERCEPTUAL_FIELD_NUMBER: _ClassVar[int]
    header: _artifacts_pb2.StepHeader
    train: _artifacts_pb2.MemberRef
    seed: int
    config: AutoencoderConfig
    unlabelled: _containers.RepeatedCompositeFieldContainer[Unlabelled]
    perceptual: Perceptual
    def __init__(self, header: _Optional[_Union[_artifacts_pb2.StepHeader, _Mapping]] = ..., train: _Optional[_Union[_artifacts_pb2.MemberRef, _Mapping]] = ..., seed: _Optional[int] = ..., config: _Optional[_Union[AutoencoderConfig, _Mapping]] = ..., unlabelled: _Optional[_Iterable[_Union[Unlabelled, _Mapping]]] = ..., perceptual: _Optional[_Union[Perceptual, _Mapping]] = ...) -> None: ...

class Unlabelled(_message.Message):
    __slots__ = ("images", "weight")
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    images: _artifacts_pb2.MemberRef
    weight: float
    def __init__(self, images: _Optional[_Union[_artifacts_pb2.MemberRef, _Mapping]] = ..., weight: _Optional[float] = ...) -> None: ...

class EncodeImagesRequest(_message.Message):
    __slots__ = ("header", "autoencoder", "images")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    AUTOENCODER_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    header: _artifacts_pb2.StepHeader
    autoencoder: _artifacts_pb2.MemberRef
    images: _artifacts_pb2.MemberRef
    def __init__(self, header: _Optional[_Union[_artifacts_pb2.StepHeader, _Mapping]] = ..., autoencoder: _Optional[_Union[_artifacts_pb2.MemberRef, _Mapping]] = ..., images: _Optional[_Union[_artifacts_pb2.MemberRef, _Mapping]] = ...) -> None: ...

class TrainLatentClassifierRequest(_message.Message):
    __slots__ = ("header", "train", "latents", "seed", "config")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    TRAIN_FIELD_NUMBER: _ClassVar[int]
    LATENTS_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    header: _artifacts_pb2.StepHeader
    train: _artifacts_pb2.MemberRef
    latents: _artifacts_pb2.MemberRef
    seed: int
    config: LatentClassifierConfig
    def __init__(self, header: _Optional[_Union[_artifacts_pb2.StepHeader, _Mapping]] = ..., train: _Optional[_Union[_artifacts_pb2.MemberRef, _Mapping]] = ..., latents: _Optional[_Union[_artifacts_pb2.MemberRef, _Mapping]] = ..., seed: _Optional[int] = ..., config: _Optional[_Union[LatentClassifierConfig, _Mapping]] = ...) -> None: ...

class LatentInputs(_message.Message):
    __slots__ = ("autoencoder", "train", "unlabelled")
    AUTOENCODER_FIELD_NUMBER: _ClassVar[int]
    TRAIN_FIELD_NUMBER: _ClassVar[int]
    UNLABELLED_FIELD_NUMBER: _ClassVar[int]
    autoencoder: _artifacts_pb2.MemberRef
    train: _artifacts_pb2.MemberRef
    unlabelled: _containers.RepeatedCompositeFieldContainer[Unlabelled]
    def __init__(self, autoencoder: _Optional[_Union[_artifacts_pb2.MemberRef, _Mapping]] = ..., train: _Optional[_Union[_artifacts_pb2.MemberRef, _Mapping]] = ..., unlabelled: _Optional[_Iterable[_Union[Unlabelled, _Mapping]]] = ...) -> None: ...

class TrainingPart(_message.Message):
    __slots__ = ("until_images", "begun")
    UNTIL_IMAGES_FIELD_NUMBER: _ClassVar[int]
    BEGUN_FIELD_NUMBER: _ClassVar[int]
    until_images: int
    begun: _artifacts_pb2.MemberRef
    def __init__(self, until_images: _Optional[int] = ..., begun: _Optional[_Union[_artifacts_pb2.MemberRef, _Mapping]] = ...) -> None: ...

class TrainGeneratorRequest(_message.Message):
    __slots__ = ("header", "train", "seed", "diffusion", "gan", "pca", "latent_diffusion", "external", "latent", "initial", "part", "freeze")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    TRAIN_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    DIFFUSION_FIELD_NUMBER: _ClassVar[int]
    GAN_FIELD_NUMBER: _ClassVar[int]
    PCA_FIELD_NUMBER: _ClassVar[int]
    LATENT_DIFFUSION_FIELD_NUMBER: _ClassVar[int]
    EXTERNAL_FIELD_NUMBER: _ClassVar[int]
    LATENT_FIELD_NUMBER: _ClassVar[int]
    INITIAL_FIELD_NUMBER: _ClassVar[int]
    PART_FIELD_NUMBER: _ClassVar[int]
    FREEZE_FIELD_NUMBER: _ClassVar[int]
    header: _artifacts_pb2.StepHeader
    train: _artifacts_pb2.MemberRef
    seed: int
    diffusion: DiffusionConfig
    gan: GanConfig
    pca: PcaConfig
    latent_diffusion: LatentDiffusionConfig
    external: ExternalGenerator
    latent: LatentInputs
    initial: _artifacts_pb2.MemberRef
    part: TrainingPart
    freeze: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, header: _Optional[_Union[_artifacts_pb2.StepHeader, _Mapping]] = ..., train: _Optional[_Union[_artifacts_pb2.MemberRef, _Mapping]] = ..., seed: _Optional[int] = ..., diffusion: _Optional[_Union[DiffusionConfig, _Mapping]] = ..., gan: _Optional[_Union[GanConfig, _Mapping]] = ..., pca: _Optional[_Union[PcaConfig, _Mapping]] = ..., latent_diffusion: _Optional[_Union[LatentDiffusionConfig, _Mapping]] = ..., external: _Optional[_Union[ExternalGenerator, _Mapping]] = ..., latent: _Optional[_Union[LatentInputs, _Mapping]] = ..., initial: _Optional[_Union[_artifacts_pb2.MemberRef, _Mapping]] = ..., part: _Optional[_Union[TrainingPart, _Mapping]] = ..., freeze: _Optional[_Iterable[str]] = ...) -> None: ...

class DiffusionSampler(_message.Message):
    __slots__ = ("steps", "sigma_min", "sigma_max", "rho", "churn", "guidance", "solver", "guidance_low", "guidance_high", "eta")
    class Solver(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        SOLVER_UNSPECIFIED: _ClassVar[DiffusionSampler.Solver]
        SOLVER_HEUN: _ClassVar[DiffusionSampler.Solver]
        SOLVER_DPM_SOLVER_PP_2M: _ClassVar[DiffusionSampler.Solver]
        SOLVER_DDIM: _ClassVar[DiffusionSampler.Solver]
    SOLVER_UNSPECIFIED: DiffusionSampler.Solver
    SOLVER_HEUN: DiffusionSampler.Solver
    SOLVER_DPM_SOLVER_PP_2M: DiffusionSampler.Solver
    SOLVER_DDIM: DiffusionSampler.Solver
    STEPS_FIELD_NUMBER: _ClassVar[int]
    SIGMA_MIN_FIELD_NUMBER: _ClassVar[int]
    SIGMA_MAX_FIELD_NUMBER: _ClassVar[int]
    RHO_FIELD_NUMBER: _ClassVar[int]
    CHURN_FIELD_NUMBER: _ClassVar[int]
    GUIDANCE_FIELD_NUMBER: _ClassVar[int]
    SOLVER_FIELD_NUMBER: _ClassVar[int]
    GUIDANCE_LOW_FIELD_NUMBER: _ClassVar[int]
    GUIDANCE_HIGH_FIELD_NUMBER: _ClassVar[int]
    ETA_FIELD_NUMBER: _ClassVar[int]
    steps: int
    sigma_min: float
    sigma_max: float
    rho: float
    churn: float
    guidance: float
    solver: DiffusionSampler.Solver
    guidance_low: float
    guidance_high: float
    eta: float
    def __init__(self, steps: _Optional[int] = ..., sigma_min: _Optional[float] = ..., sigma_max: _Optional[float] = ..., rho: _Optional[float] = ..., churn: _Optional[float] = ..., guidance: _Optional[float] = ..., solver: _Optional[_Union[DiffusionSampler.Solver, str]] = ..., guidance_low: _Optional[float] = ..., guidance_high: _Optional[float] = ..., eta: _Optional[float] = ...) -> None: ...

class GanSampler(_message.Message):
    __slots__ = ("truncation",)
    TRUNCATION_FIELD_NUMBER: _ClassVar[int]
    truncation: float
    def __init__(self, truncation: _Optional[float] = ...) -> None: ...

class Wanted(_message.Message):
    __slots__ = ("classes", "count")
    CLASSES_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    classes: _containers.RepeatedScalarFieldContainer[str]
    count: int
    def __init__(self, classes: _Optional[_Iterable[str]] = ..., count: _Optional[int] = ...) -> None: ...

class SampleImagesRequest(_message.Message):
    __slots__ = ("header", "generator", "train", "ratio", "oversample", "balance", "seed", "micro_batch", "diffusion", "gan", "latent_diffusion", "external", "classifier", "wanted", "drawn")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    GENERATOR_FIELD_NUMBER: _ClassVar[int]
    TRAIN_FIELD_NUMBER: _ClassVar[int]
    RATIO_FIELD_NUMBER: _ClassVar[int]
    OVERSAMPLE_FIELD_NUMBER: _ClassVar[int]
    BALANCE_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    MICRO_BATCH_FIELD_NUMBER: _ClassVar[int]
    DIFFUSION_FIELD_NUMBER: _ClassVar[int]
    GAN_FIELD_NUMBER: _ClassVar[int]
    LATENT_DIFFUSION_FIELD_NUMBER: _ClassVar[int]
    EXTERNAL_FIELD_NUMBER: _ClassVar[int]
    CLASSIFIER_FIELD_NUMBER: _ClassVar[int]
    WANTED_FIELD_NUMBER: _ClassVar[int]
    DRAWN_FIELD_NUMBER: _ClassVar[int]
    header: _artifacts_pb2.StepHeader
    generator: _artifacts_pb2.MemberRef
    train: _artifacts_pb2.MemberRef
    ratio: float
    oversample: float
    balance: Balance
    seed: int
    micro_batch: int
    diffusion: DiffusionSampler
    gan: GanSampler
    latent_diffusion: DiffusionSampler
    external: ExternalGenerator
    classifier: _artifacts_pb2.MemberRef
    wanted: _containers.RepeatedCompositeFieldContainer[Wanted]
    drawn: _artifacts_pb2.MemberRef
    def __init__(self, header: _Optional[_Union[_artifacts_pb2.StepHeader, _Mapping]] = ..., generator: _Optional[_Union[_artifacts_pb2.MemberRef, _Mapping]] = ..., train: _Optional[_Union[_artifacts_pb2.MemberRef, _Mapping]] = ..., ratio: _Optional[float] = ..., oversample: _Optional[float] = ..., balance: _Optional[_Union[Balance, str]] = ..., seed: _Optional[int] = ..., micro_batch: _Optional[int] = ..., diffusion: _Optional[_Union[DiffusionSampler, _Mapping]] = ..., gan: _Optional[_Union[GanSampler, _Mapping]] = ..., latent_diffusion: _Optional[_Union[DiffusionSampler, _Mapping]] = ..., external: _Optional[_Union[ExternalGenerator, _Mapping]] = ..., classifier: _Optional[_Union[_artifacts_pb2.MemberRef, _Mapping]] = ..., wanted: _Optional[_Iterable[_Union[Wanted, _Mapping]]] = ..., drawn: _Optional[_Union[_artifacts_pb2.MemberRef, _Mapping]] = ...) -> None: ...

class ImportGeneratorRequest(_message.Message):
    __slots__ = ("header", "digest")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    header: _artifacts_pb2.StepHeader
    digest: str
    def __init__(self, header: _Optional[_Union[_artifacts_pb2.StepHeader, _Mapping]] = ..., digest: _Optional[str] = ...) -> None: ...

class Dimension(_message.Message):
    __slots__ = ("field", "choice", "range")
    class Choice(_message.Message):
        __slots__ = ("values",)
        VALUES_FIELD_NUMBER: _ClassVar[int]
        values: _containers.RepeatedCompositeFieldContainer[_struct_pb2.Value]
        def __init__(self, values: _Optional[_Iterable[_Union[_struct_pb2.Value, _Mapping]]] = ...) -> None: ...
    class Range(_message.Message):
        __slots__ = ("low", "high", "log", "whole")
        LOW_FIELD_NUMBER: _ClassVar[int]
        HIGH_FIELD_NUMBER: _ClassVar[int]
        LOG_FIELD_NUMBER: _ClassVar[int]
        WHOLE_FIELD_NUMBER: _ClassVar[int]
        low: float
        high: float
        log: bool
        whole: bool
        def __init__(self, low: _Optional[float] = ..., high: _Optional[float] = ..., log: _Optional[bool] = ..., whole: _Optional[bool] = ...) -> None: ...
    FIELD_FIELD_NUMBER: _ClassVar[int]
    CHOICE_FIELD_NUMBER: _ClassVar[int]
    RANGE_FIELD_NUMBER: _ClassVar[int]
    field: str
    choice: Dimension.Choice
    range: Dimension.Range
    def __init__(self, field: _Optional[str] = ..., choice: _Optional[_Union[Dimension.Choice, _Mapping]] = ..., range: _Optional[_Union[Dimension.Range, _Mapping]] = ...) -> None: ...

class SearchTrial(_message.Message):
    __slots__ = ("number", "parameters", "title", "judged", "pruned", "failed", "replicates", "snapshots")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    JUDGED_FIELD_NUMBER: _ClassVar[int]
    PRUNED_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    REPLICATES_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOTS_FIELD_NUMBER: _ClassVar[int]
    number: int
    parameters: _struct_pb2.Struct
    title: str
    judged: _containers.RepeatedCompositeFieldContainer[_artifacts_pb2.MemberRef]
    pruned: bool
    failed: str
    replicates: int
    snapshots: bool
    def __init__(self, number: _Optional[int] = ..., parameters: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., title: _Optional[str] = ..., judged: _Optional[_Iterable[_Union[_artifacts_pb2.MemberRef, _Mapping]]] = ..., pruned: _Optional[bool] = ..., failed: _Optional[str] = ..., replicates: _Optional[int] = ..., snapshots: _Optional[bool] = ...) -> None: ...

class ProposeTrialsRequest(_message.Message):
    __slots__ = ("header", "seed", "dimensions", "objective", "trials", "count")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    DIMENSIONS_FIELD_NUMBER: _ClassVar[int]
    OBJECTIVE_FIELD_NUMBER: _ClassVar[int]
    TRIALS_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    header: _artifacts_pb2.StepHeader
    seed: int
    dimensions: _containers.RepeatedCompositeFieldContainer[Dimension]
    objective: Objective
    trials: _containers.RepeatedCompositeFieldContainer[SearchTrial]
    count: int
    def __init__(self, header: _Optional[_Union[_artifacts_pb2.StepHeader, _Mapping]] = ..., seed: _Optional[int] = ..., dimensions: _Optional[_Iterable[_Union[Dimension, _Mapping]]] = ..., objective: _Optional[_Union[Objective, str]] = ..., trials: _Optional[_Iterable[_Union[SearchTrial, _Mapping]]] = ..., count: _Optional[int] = ...) -> None: ...

class PruneTrialsRequest(_message.Message):
    __slots__ = ("header", "objective", "trials", "part", "deciding", "keep")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    OBJECTIVE_FIELD_NUMBER: _ClassVar[int]
    TRIALS_FIELD_NUMBER: _ClassVar[int]
    PART_FIELD_NUMBER: _ClassVar[int]
    DECIDING_FIELD_NUMBER: _ClassVar[int]
    KEEP_FIELD_NUMBER: _ClassVar[int]
    header: _artifacts_pb2.StepHeader
    objective: Objective
    trials: _containers.RepeatedCompositeFieldContainer[SearchTrial]
    part: int
    deciding: _containers.RepeatedScalarFieldContainer[int]
    keep: float
    def __init__(self, header: _Optional[_Union[_artifacts_pb2.StepHeader, _Mapping]] = ..., objective: _Optional[_Union[Objective, str]] = ..., trials: _Optional[_Iterable[_Union[SearchTrial, _Mapping]]] = ..., part: _Optional[int] = ..., deciding: _Optional[_Iterable[int]] = ..., keep: _Optional[float] = ...) -> None: ...

class ChooseTrialRequest(_message.Message):
    __slots__ = ("header", "objective", "trials", "reference")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    OBJECTIVE_FIELD_NUMBER: _ClassVar[int]
    TRIALS_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_FIELD_NUMBER: _ClassVar[int]
    header: _artifacts_pb2.StepHeader
    objective: Objective
    trials: _containers.RepeatedCompositeFieldContainer[SearchTrial]
    reference: _artifacts_pb2.MemberRef
    def __init__(self, header: _Optional[_Union[_artifacts_pb2.StepHeader, _Mapping]] = ..., objective: _Optional[_Union[Objective, str]] = ..., trials: _Optional[_Iterable[_Union[SearchTrial, _Mapping]]] = ..., reference: _Optional[_Union[_artifacts_pb2.MemberRef, _Mapping]] = ...) -> None: ...

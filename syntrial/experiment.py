"""The Experiment: what a user may write, and its validation.

A Kubernetes-style object, so that one file serves a laptop and a cluster. Fields are camelCase in YAML. Everything that
can be checked without reading data is checked here, once, at construction; nothing here reads a file but
`syntrial.experiment_file`, which calls this. Defaults are applied here alone.
"""

import re
from typing import Annotated, Any, Final, Literal, Self

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, create_model, model_validator
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

from syntrial import arms as arms_module
from syntrial.v1.classification_pb2 import TrainingRecipe
from syntrial.v1.generation_pb2 import DiffusionConfig, DiffusionSampler, GanConfig, GanSampler, PcaConfig

API_VERSION: Final = "syntrial.dev/v1alpha1"
NAME_PATTERN: Final = r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"
Name = Annotated[str, Field(pattern=NAME_PATTERN, description="Lower-case letters, digits and '-', at most 63.")]


class Model(BaseModel):
    """Closed, frozen, camelCase outside."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, alias_generator=to_camel, populate_by_name=True, allow_inf_nan=False, strict=False
    )


def _wrong(field: str, rule: str, received: object, remedy: str) -> PydanticCustomError:
    """A complaint about a field below the model that checks it, worded in full."""
    context = {"field": field, "received": repr(received), "remedy": remedy}
    return PydanticCustomError("syntrial", rule.replace("{", "{{").replace("}", "}}"), context)


def _overrides(message: type[Message]) -> type[Model]:
    """A model whose optional fields are those of the message: what a preset sets, a user may set otherwise."""
    fields: dict[str, Any] = {field.name: (_python_type(field) | None, None) for field in message.DESCRIPTOR.fields}
    return create_model(message.DESCRIPTOR.name, __base__=Model, **fields)


def _python_type(field: Any) -> Any:
    if field.type == FieldDescriptor.TYPE_ENUM:
        prefix = re.sub(r"(?<!^)(?=[A-Z])", "_", field.enum_type.name).upper() + "_"
        names = [value.name.removeprefix(prefix).lower().replace("_", "-") for value in field.enum_type.values]
        return Literal[tuple(names[1:])]
    scalar: Any = {
        FieldDescriptor.CPPTYPE_BOOL: bool,
        FieldDescriptor.CPPTYPE_DOUBLE: Annotated[float, Field(ge=0)],
        FieldDescriptor.CPPTYPE_UINT32: Annotated[int, Field(ge=0, lt=2**32)],
        FieldDescriptor.CPPTYPE_UINT64: Annotated[int, Field(ge=0, lt=2**53)],
    }[field.cpp_type]
    if field.name == "p_mean":
        scalar = float
    return tuple[scalar, ...] if field.is_repeated else scalar


class Metadata(Model):
    """Kubernetes object metadata; only what Syntrial reads."""

    model_config = ConfigDict(extra="ignore", frozen=True)
    name: Name


class Chest(Model):
    """Grey chest-like images drawn by a seeded procedure: normal, or with soft opacities."""

    train_patients: int = Field(300, ge=4, le=1_000_000)
    validation_patients: int = Field(100, ge=4, le=1_000_000)
    test_patients: int = Field(300, ge=4, le=1_000_000)
    images_per_patient: int = Field(2, ge=1, le=100)
    variant: Literal["chest", "tissue"] = "chest"
    difficulty: float = Field(0.5, ge=0, le=1, description="0: the classes are plain to see; 1: hardly told apart.")
    prevalence: float = Field(0.5, gt=0, lt=1, description="Share of positive patients (chest).")
    seed: int = Field(0, ge=0, lt=2**53)


class SourceFields(Model):
    """Where images come from: exactly one of medmnist, npz, folder and phantom."""

    medmnist: str | None = Field(None, description="A MedMNIST data set, for example pneumoniamnist.")
    npz: str | None = Field(None, description="A .npz file in MedMNIST's layout: an address, see below.")
    folder: str | None = Field(
        None,
        description="A folder for each class, with or without folders for splits above. An address is a path (on a "
        "laptop), s3://bucket/path, claim://NAME/path in a PersistentVolumeClaim (on a cluster), or sha256:… of "
        "content that `syntrial upload` put into the store.",
    )
    secret: str | None = Field(
        None, description="Secret with the credentials of an s3:// address; default: those of the store."
    )
    phantom: Chest | None = Field(None, description="Drawn images whose truth is known.")
    classes: tuple[str, ...] | None = Field(None, description="Names of the classes of an .npz, in label order.")
    patient_pattern: str | None = Field(
        None, description="For a folder: a regular expression with one group that finds the patient in a file's name."
    )
    class_map: dict[str, str | None] | None = Field(
        None, description="Class in the source -> class in the trial; null leaves the class out."
    )

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        given = [name for name in ("medmnist", "npz", "folder", "phantom") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"needs exactly one of medmnist, npz, folder and phantom; received {given or 'none'}")
        if self.classes is not None and self.npz is None:
            raise ValueError("`classes` names the labels of an .npz file; other sources name their own (see classMap)")
        if self.secret is not None and not (self.npz or self.folder or "").startswith("s3://"):
            raise ValueError("`secret` belongs to an s3:// address")
        if self.patient_pattern is not None:
            if self.folder is None:
                raise ValueError("`patientPattern` belongs to a folder")
            try:
                groups = re.compile(self.patient_pattern).groups
            except re.error as error:
                raise ValueError(f"`patientPattern` is not a regular expression: {error}") from None
            if groups != 1:
                raise ValueError(f"`patientPattern` needs exactly one group (...), received {groups}")
        return self


LeakAction = Literal["drop", "stop", "waive"]


class Leaks(Model):
    """What happens to images that stand on both sides of a split. Test is never altered."""

    exact_duplicates: LeakAction = "drop"
    shared_patients: LeakAction = "drop"
    near_duplicates: LeakAction = "waive"


class Split(Model):
    """How data without splits is split: stratified by class, grouped by patient."""

    validation: float = Field(0.15, gt=0, lt=0.5)
    test: float = Field(0.25, gt=0, lt=0.8)
    seed: int = Field(0, ge=0, lt=2**53)


class Dataset(SourceFields):
    """The real data."""

    size: int = Field(28, ge=8, le=1024, description="Side of the images in pixels.")
    color_mode: Literal["source", "grey", "rgb"] = "source"
    resize: Literal["bicubic", "bilinear", "lanczos", "box"] = "bicubic"
    split: Split = Split()
    leaks: Leaks = Leaks()
    train_fraction: float = Field(1.0, gt=0, le=1, description="Share of the training split that the trial uses.")
    train_fraction_seed: int = Field(0, ge=0, lt=2**53)


class CentroidFilter(Model):
    """Keeps the share of each class's candidates nearest to the centroid of the class's real features."""

    keep: float = Field(gt=0, le=1)


class ConfidenceFilter(Model):
    """Keeps candidates to whose class a classifier trained on real images gives at least this probability."""

    minimum: float = Field(gt=0, lt=1)


class Filter(Model):
    """One filter: exactly one of centroid and confidence."""

    centroid: CentroidFilter | None = None
    confidence: ConfidenceFilter | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if (self.centroid is None) == (self.confidence is None):
            raise ValueError("needs exactly one of centroid and confidence")
        return self


Diffusion = _overrides(DiffusionConfig)
Gan = _overrides(GanConfig)
Pca = _overrides(PcaConfig)
DiffusionSampling = _overrides(DiffusionSampler)
GanSampling = _overrides(GanSampler)


class DiffusionGenerator(Diffusion):  # type: ignore[misc, valid-type]
    """A class-conditional diffusion model (EDM)."""

    preset: str = "nano"
    sampler: DiffusionSampling | None = None  # type: ignore[valid-type]


class GanGenerator(Gan):  # type: ignore[misc, valid-type]
    """A class-conditional GAN."""

    preset: str = "nano"
    sampler: GanSampling | None = None  # type: ignore[valid-type]


class PcaGenerator(Pca):  # type: ignore[misc, valid-type]
    """A Gaussian in the principal components of each class."""

    preset: str = "default"


class Generator(Model):
    """What makes the images: exactly one of diffusion, gan and pca."""

    diffusion: DiffusionGenerator | None = None
    gan: GanGenerator | None = None
    pca: PcaGenerator | None = None

    @model_validator(mode="after")
    def _one_family(self) -> Self:
        if len(self.model_fields_set) != 1 or self.kind is None:
            raise ValueError("needs exactly one of diffusion, gan and pca")
        return self

    @property
    def kind(self) -> str:
        """Which family."""
        return next((name for name in ("diffusion", "gan", "pca") if getattr(self, name) is not None), "")


class Synthetic(Model):
    """A synthetic set: images that a generator makes, or ready-made ones."""

    name: Name
    generator: Generator | None = None
    images: SourceFields | None = Field(None, description="A ready-made set; its lineage cannot be proven.")
    filters: tuple[Filter, ...] = ()
    copies: float = Field(
        0.001,
        ge=0,
        lt=0.5,
        description="Candidates nearer to a training image than this share of real images are are left out; 0: kept.",
    )
    balance: Literal["match", "uniform", "fill"] = "match"
    oversample: float | None = Field(
        None, ge=1, le=100, description="Candidates drawn for each image needed; default: what the filters take away."
    )
    replicates: int = Field(1, ge=1, le=100, description="Repetitions of the generator's training and sampling.")
    seed: int = Field(0, ge=0, lt=2**53)
    arms: tuple[str, ...] | None = Field(None, min_length=1, description="Arms of this set; default: spec.arms.")

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        if (self.generator is None) == (self.images is None):
            raise ValueError("needs exactly one of generator and images")
        if self.images is not None and self.replicates != 1:
            raise ValueError("a ready-made set has one replicate; `replicates` repeats a generator's training")
        return self


class PhaseSpec(Model):
    """A pool of images and the length of training over it."""

    real: float = Field(0, ge=0, le=1)
    synthetic: float = Field(0, ge=0, le=100)
    steps: int | None = Field(None, ge=1, le=10_000_000)
    epochs: float | None = Field(None, gt=0, le=100_000)
    learning_rate: float | None = Field(None, gt=0)

    @model_validator(mode="after")
    def _has_images(self) -> Self:
        if self.real == 0 and self.synthetic == 0:
            raise ValueError("a phase needs images: real, synthetic or both above 0")
        if self.steps is not None and self.epochs is not None:
            raise ValueError("a phase's length is given in steps or in epochs, not both")
        return self


class ArmSpec(Model):
    """An arm in full."""

    name: Name
    phases: tuple[PhaseSpec, ...] = Field(min_length=1)


Recipe = _overrides(TrainingRecipe)


class Classifier(Model):
    """A model and how it is trained."""

    model: str = Field(description="small-cnn, or the name of any timm model.")
    name: Name | None = Field(None, description="Default: the model's name.")
    pretraining: str = Field("none", description="none, hub, or the path of a safetensors file.")
    stem: Literal["auto", "standard", "small"] = "auto"
    learning_rate: float | None = Field(None, gt=0)
    recipe: Recipe | None = None  # type: ignore[valid-type]

    @property
    def title(self) -> str:
        """The name in cells."""
        if self.name:
            return self.name
        return self.model if self.pretraining == "none" else f"{self.model}-{self.pretraining.rpartition('/')[2]}"


class Primary(Model):
    """The one comparison that decides."""

    arm: str
    synthetic: str | None = None
    classifier: str | None = None


class Endpoint(Model):
    """What is measured on the real test split, and the smallest difference that matters."""

    metric: Literal["auroc", "accuracy", "balanced-accuracy"] = "auroc"
    smallest_effect: float = Field(0.01, gt=0, lt=0.5)
    primary: Primary | None = Field(None, description="Default: the first arm, synthetic set and classifier.")


class Budget(Model):
    """The length of every phase: optimiser steps, or passes over the phase's pool."""

    steps: int | None = Field(None, ge=1, le=10_000_000)
    epochs: float | None = Field(None, gt=0, le=100_000)

    @model_validator(mode="after")
    def _one_unit(self) -> Self:
        if (self.steps is None) == (self.epochs is None):
            raise ValueError("needs exactly one of steps and epochs")
        return self


class Encoder(Model):
    """The network, fitted to real training images alone, in whose features filters and Fréchet distances are taken."""

    steps: int = Field(600, ge=1, le=1_000_000)
    batch_size: int = Field(64, ge=2, le=65_536)
    feature_size: int = Field(64, ge=2, le=4096)


def _quantity(value: object) -> object:
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


Quantity = Annotated[
    str, BeforeValidator(_quantity), Field(pattern=r"^[0-9]+(\.[0-9]+)?(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?$")
]


class Resources(Model):
    """Resources of a pod, as in Kubernetes; any resource name."""

    requests: dict[str, Quantity] = Field({}, description="What the scheduler sets aside.")
    limits: dict[str, Quantity] = Field({}, description="What a pod may use at most, for example nvidia.com/gpu: 1.")


class Toleration(Model):
    """A taint that pods tolerate, as in Kubernetes."""

    key: str | None = None
    operator: Literal["Exists", "Equal"] = "Equal"
    value: str | None = None
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    toleration_seconds: int | None = Field(None, ge=0)


class Placement(Model):
    """Where pods run on a cluster, and with what; never part of a step's key."""

    resources: Resources = Resources()
    node_selector: dict[str, str] = {}
    tolerations: tuple[Toleration, ...] = ()
    priority_class_name: str | None = None
    runtime_class_name: str | None = None
    active_deadline_seconds: int | None = Field(None, ge=1, description="Longest time of one attempt, in seconds.")
    shared_memory: Quantity | None = Field(None, description="Size of /dev/shm, in memory; default: the runtime's.")
    scratch: Quantity | None = Field(None, description="Most disk that an attempt may use; default: no limit.")
    out_of_memory_limit: Quantity | None = Field(
        None, description="Memory limit of one more attempt after a pod ran out of memory; default: no such attempt."
    )


class StagePlacements(Model):
    """What one stage's pods have instead of what all have."""

    data_prep: Placement | None = None
    generation: Placement | None = None
    filtering: Placement | None = None
    classification: Placement | None = None
    analysis: Placement | None = None


class Cluster(Placement):
    """How the trial runs on a cluster: for the pods of all stages, and by stage. A laptop leaves it aside."""

    queue_name: str | None = Field(None, description="A Kueue LocalQueue, which then admits the Jobs.")
    image_pull_secrets: tuple[str, ...] = ()
    stages: StagePlacements = StagePlacements()

    def placement(self, stage: str) -> Placement:
        """The placement of a stage's pods: each field as the stage has it, else as all have it."""
        own = getattr(self.stages, stage)
        fields = {name: getattr(self, name) for name in Placement.model_fields}
        if own is not None:
            fields |= {name: getattr(own, name) for name in own.model_fields_set}
        return Placement(**fields)


def _arm(value: object) -> object:
    if isinstance(value, str):
        arms_module.arm_preset(value)
    return value


class Spec(Model):
    """A trial."""

    dataset: Dataset
    synthetic: tuple[Synthetic, ...] = Field(min_length=1)
    arms: tuple[Annotated[str | ArmSpec, BeforeValidator(_arm)], ...] = Field(("augment-100",), min_length=1)
    classifiers: tuple[Classifier, ...] = Field((Classifier(model="small-cnn"),), min_length=1)
    replicates: int = Field(5, ge=1, le=100, description="Seeds of the primary's classifier, and of its control.")
    exploratory_replicates: int | None = Field(None, ge=1, le=100, description="Of all else; default: replicates.")
    budget: Budget | None = None
    endpoint: Endpoint = Endpoint()
    encoder: Encoder = Encoder()
    controls: Literal["primary", "all", "none"] = Field(
        "primary", description="Which arms get negative controls, the pca baseline and random filters beside them."
    )
    seed: int = Field(0, ge=0, lt=2**53)
    suspend: bool = Field(False, description="On a cluster: true stops the trial where it is, false takes it up again.")
    retention: Literal["collect", "retain"] = Field(
        "collect",
        description="On a cluster: whether garbage collection takes the trial's artifacts once the object is deleted.",
    )
    cluster: Cluster = Cluster()

    @model_validator(mode="after")
    def _names(self) -> Self:
        for what, names in (
            ("synthetic", [item.name for item in self.synthetic]),
            ("classifiers", [item.title for item in self.classifiers]),
            ("arms", [arm if isinstance(arm, str) else arm.name for arm in self.arms]),
        ):
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise _wrong(what, "names must differ", twice, "Rename all but one.")
        custom = {arm.name for arm in self.arms if not isinstance(arm, str)}
        if reserved := sorted(custom & {"real", "real-twice"}):
            raise _wrong("arms", "these are names of controls", reserved, "Choose another name.")
        for number, item in enumerate(self.synthetic):
            for name in item.arms or ():
                if name not in custom:
                    try:
                        arms_module.arm_preset(name)
                    except ValueError as error:
                        raise _wrong(f"synthetic[{number}].arms", str(error), name, "Name an arm.") from None
            if not self.arms_of(item):
                raise _wrong("arms", "needs an arm beside the control `real`", "real", "Add one, such as augment-100.")
            used = any(arm.synthetic_ratio > 0 for arm in self.arms_of(item))
            if not used:
                rule = "a synthetic set needs an arm that uses synthetic images"
                raise _wrong("arms", rule, [arm.name for arm in self.arms_of(item)], "Give a ratio above 0.")
        return self

    @model_validator(mode="after")
    def _primary(self) -> Self:
        """Checks that the primary comparison names what exists."""
        primary = self.endpoint.primary
        if primary is None:
            return self
        for field, value, valid in (
            ("synthetic", primary.synthetic, [item.name for item in self.synthetic]),
            ("classifier", primary.classifier, [item.title for item in self.classifiers]),
        ):
            if value is not None and value not in valid:
                remedy = f"Name one of {', '.join(valid)}."
                raise _wrong(f"endpoint.primary.{field}", "must be part of this experiment", value, remedy)
        names = [arm.name for arm in self.arms_of(self.primary_synthetic)]
        if primary.arm not in names:
            rule = f"must be an arm of {self.primary_synthetic.name!r}"
            raise _wrong(
                "endpoint.primary.arm", rule, primary.arm, f"Name one of {', '.join(names)}, or add it to arms."
            )
        return self

    def arm(self, name: str) -> arms_module.Arm:
        """The arm of this name, preset or the user's own."""
        for arm in self.arms:
            if not isinstance(arm, str) and arm.name == name:
                phases = tuple(arms_module.Phase(**phase.model_dump()) for phase in arm.phases)
                return arms_module.Arm(name=name, phases=phases)
        return arms_module.arm_preset(name)

    def arms_of(self, synthetic: Synthetic) -> tuple[arms_module.Arm, ...]:
        """The arms of a synthetic set, without the control `real`."""
        names = synthetic.arms or tuple(arm if isinstance(arm, str) else arm.name for arm in self.arms)
        return tuple(self.arm(name) for name in dict.fromkeys(names) if name != "real")

    @property
    def primary_synthetic(self) -> Synthetic:
        """The synthetic set of the primary comparison."""
        primary = self.endpoint.primary
        name = primary.synthetic if primary else None
        return next(item for item in self.synthetic if name in (None, item.name))

    @property
    def primary_arm(self) -> arms_module.Arm:
        """The arm of the primary comparison: as stated, else augment-100 where it is among the arms, else the first."""
        if self.endpoint.primary:
            return self.arm(self.endpoint.primary.arm)
        available = self.arms_of(self.primary_synthetic)
        return next((arm for arm in available if arm.name == "augment-100"), available[0])

    @property
    def primary_classifier(self) -> Classifier:
        """The classifier of the primary comparison."""
        primary = self.endpoint.primary
        name = primary.classifier if primary else None
        return next(item for item in self.classifiers if name in (None, item.title))


class Experiment(Model):
    """One trial of synthetic data."""

    api_version: Literal["syntrial.dev/v1alpha1"]
    kind: Literal["Experiment"]
    metadata: Metadata
    spec: Spec

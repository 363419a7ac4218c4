"""Where images come from and how real data is prepared: the part of an Experiment that speaks of data.

A source's field and row here, its message in `syntrial.v1.Source`, and its reader in the data preparation service with
a row of its own are all there is to it (docs/extending.md).
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Final, Literal, Self

from google.protobuf.message import Message
from pydantic import Field, model_validator
from pydantic.alias_generators import to_camel

from syntrial.experiment.base import Model, OneOf, Option, PatientPattern, Seed, wrong
from syntrial.experiment.pods import ObjectName
from syntrial.experiment.tables import Table, table_source
from syntrial.experiment.tasks import TaskFields
from syntrial.imagesets import arrays, tables
from syntrial.imagesets.contents import Contents
from syntrial.v1.data_preparation_pb2 import FolderSource, MedMnistSource, NpzSource, PhantomSource, Source, TableSource

Address = Annotated[str, Field(max_length=2048)]
"""A path, or s3://…, claim://…, sha256:…; 2048 because the API server counts what a rule on it may cost."""


class Chest(Model):
    """Grey chest-like images drawn by a seeded procedure: normal, or with soft opacities."""

    train_patients: int = Field(300, ge=4, le=1_000_000, description="Patients of the training split.")
    validation_patients: int = Field(100, ge=4, le=1_000_000, description="Patients of the validation split.")
    test_patients: int = Field(300, ge=4, le=1_000_000, description="Patients of the test split.")
    images_per_patient: int = Field(2, ge=1, le=100, description="Images of each patient.")
    variant: Literal["chest", "tissue"] = Field(
        "chest", description="What is drawn: chest (two classes) or tissue (textures of several classes)."
    )
    difficulty: float = Field(0.5, ge=0, le=1, description="0: the classes are plain to see; 1: hardly told apart.")
    prevalence: float = Field(0.5, gt=0, lt=1, description="Share of positive patients (chest).")
    seed: Seed = Field(0, description="Another seed draws other patients of the same kind.")


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceKind:
    """What the platform knows of a kind of source."""

    request: Callable[["SourceFields", int], Message]
    """Its message in `syntrial.v1.Source`, given the fields and the side in pixels of the trial's images."""
    downloads: bool = False
    """Whether data preparation fetches it by itself, where it is not at hand."""
    content: Literal["file", "folder"] | None = None
    """What lies at the address that its field holds, a folder also in an archive; None where the field holds none."""
    suffix: str = ""
    """How the names of its files end."""
    look: Callable[[Source, Path, str], Contents] | None = None
    """What the content at a path holds, to be told in a second; given the message and what errors call the field."""
    reads: Callable[[Source], Callable[[str], bool]] | None = None
    """Of a folder: tells of a file's name whether it may be read, which is what the digest is over; None: every one."""


def _medmnist(fields: "SourceFields", size: int) -> MedMnistSource:
    # The smallest official size that need not be enlarged, else the largest.
    official = next((official for official in (28, 64, 128, 224) if official >= size), 224)
    return MedMnistSource(name=fields.medmnist or "", size=official)


def _npz(fields: "SourceFields", _: int) -> NpzSource:
    return NpzSource(classes=fields.classes or (), several_labels=fields.several_labels or False)


def _folder(fields: "SourceFields", _: int) -> FolderSource:
    return FolderSource(patient_pattern=fields.patient_pattern or "", unlabelled=fields.UNLABELLED)


def _phantom(fields: "SourceFields", size: int) -> PhantomSource:
    phantom = fields.phantom or Chest()
    variant = f"VARIANT_{phantom.variant.upper()}"
    return PhantomSource(variant=variant, size=size, **phantom.model_dump(exclude={"variant"}))


def _table(fields: "SourceFields", _: int) -> TableSource:
    return table_source(fields.table or Table())


SOURCES: Final[Mapping[str, SourceKind]] = {
    "medmnist": SourceKind(request=_medmnist, downloads=True),
    "npz": SourceKind(request=_npz, content="file", suffix=".npz", look=arrays.contents),
    "folder": SourceKind(request=_folder, content="folder", look=tables.folder_contents),
    "table": SourceKind(request=_table, content="folder", look=tables.contents, reads=tables.reads),
    "phantom": SourceKind(request=_phantom),
}
"""The kinds of sources by their names in `SourceFields` and in `syntrial.v1.Source`."""


class SourceFields(OneOf):
    """Where images come from: exactly one of {kinds}."""

    KINDS = tuple(SOURCES)
    UNLABELLED: ClassVar[bool] = False
    """Whether labels do not count, nor whether there are any."""
    OPTIONS = {  # noqa: RUF012 - a ClassVar, as the base declares it
        "classes": Option(
            of=("npz",),
            rule="`classes` names the labels of an .npz file; other sources name their own (see classMap)",
        ),
        "secret": Option(
            of=tuple(name for name, kind in SOURCES.items() if kind.content),
            prefix="s3://",
            rule="`secret` belongs to an s3:// address",
        ),
        "patient_pattern": Option(of=("folder",), rule="`patientPattern` belongs to a folder"),
        "several_labels": Option(of=("npz",), rule="`severalLabels` says of an .npz file what its labels are"),
    }

    medmnist: str | None = Field(
        None,
        max_length=63,
        description="A two-dimensional MedMNIST data set with its official splits, for example pneumoniamnist. "
        "It is downloaded where it is not at hand.",
    )
    npz: Address | None = Field(
        None,
        description="An .npz file in MedMNIST's layout (train_images, train_labels, val_images and so on): a path on a "
        "laptop; s3://BUCKET/PATH; https://HOST/PATH#sha256=DIGEST; on a cluster also claim://CLAIM/PATH in a "
        "PersistentVolumeClaim of the same namespace; or sha256:DIGEST of content that `syntrial upload` put into the "
        "store. `syntrial submit` uploads what a path names.",
    )
    folder: Address | None = Field(
        None,
        description="A folder of images with a folder for each class, and folders of splits (train, val, test) above "
        "or below those where the data is split already; or a zip or tar archive of one, also with a generator's "
        "dataset.json. Its address is written as for npz.",
    )
    table: Table | None = Field(
        None, description="A folder of images with a table of their labels; {} takes the only table of the folder."
    )
    secret: ObjectName | None = Field(
        None,
        description="Secret with the credentials of an s3:// address (SYNTRIAL_S3_ENDPOINT, AWS_ACCESS_KEY_ID, "
        "AWS_SECRET_ACCESS_KEY), never the store's own. Default: the bucket is read without credentials.",
    )
    phantom: Chest | None = Field(
        None, description="Drawn images whose truth is known: no data needed. {} takes all defaults."
    )
    classes: tuple[Annotated[str, Field(max_length=256)], ...] | None = Field(
        None, max_length=1000, description="Names of the classes of an .npz, in label order. Default: 0, 1 and so on."
    )
    patient_pattern: PatientPattern | None = Field(
        None,
        description="For a folder: a regular expression with one group that finds the patient in a file's name (with "
        "a '/' in the expression: in its path), so that no patient stands on both sides of a split. RE2's syntax. "
        "Default: patients are not known.",
    )
    several_labels: bool | None = Field(
        None,
        description="For an .npz whose rows of labels each sum to one: true where they are several labels an image "
        "all the same. Default: they are one-hot codes of one class.",
    )
    class_map: dict[str, str | None] | None = Field(
        None, description="Class in the source -> class in the trial; null leaves the class out. Default: all as named."
    )

    @property
    def address(self) -> str | None:
        """As the user wrote it; None for a kind that is downloaded or drawn."""
        return self.place if SOURCES[self.kind].content else None


NO_LABELS: Final = "a pool of unlabelled images has no labels"
OF_LABELS: Final = ("classes", "several_labels", "class_map")
"""Fields of sources that say something of labels."""


class Pool(SourceFields):
    """Unlabelled images, exactly one of {kinds}: all of a source without splits, else its training split.

    Labels that a source has do not count. A folder, or an archive of one, needs no folders of classes.
    """

    UNLABELLED = True

    weight: float = Field(
        1.0,
        gt=0,
        le=1000,
        description="How often each of these images is shown for each time that a training image is.",
    )
    leaks: Literal["stop", "drop"] = Field(
        "stop",
        description="What becomes of images that the trial's validation or test split has too, or that are of patients "
        "there: stop (the trial ends), or drop (they are left out). Images that only look like one there are left out "
        "in either case.",
    )

    @model_validator(mode="after")
    def _without_labels(self) -> Self:
        for name in OF_LABELS:
            if getattr(self, name) is not None:
                raise wrong(to_camel(name), NO_LABELS, to_camel(name), "Leave it out.", words="it")
        return self


NOTHING_TO_DRAW: Final = "each epoch draws the images of `capPerLabel`"
"""What must hold where a limit is drawn for each epoch."""
LeakAction = Literal["drop", "stop", "waive"]


class Leaks(Model):
    """What happens to images that stand on both sides of a split. Test is never altered.

    drop takes them out of the training or validation split, stop ends the trial, waive only reports them.
    """

    exact_duplicates: LeakAction = Field("drop", description="Images equal pixel by pixel.")
    shared_patients: LeakAction = Field("drop", description="Images of one patient.")
    near_duplicates: LeakAction = Field("waive", description="Images that look the same.")


class Split(Model):
    """How data without splits is split: stratified by class, grouped by patient."""

    validation: float = Field(0.15, gt=0, lt=0.5, description="Share of the images in the validation split.")
    test: float = Field(0.25, gt=0, lt=0.8, description="Share of the images in the test split.")
    seed: Seed = Field(0, description="Another seed splits otherwise.")


class Intensity(OneOf):
    """Which values of deep pixels become black and white, what lies between becoming grey linearly: one of {kinds}."""

    KINDS = ("window", "percentiles")

    window: tuple[float, ...] | None = Field(
        None,
        min_length=2,
        max_length=2,
        description="[LOW, HIGH] in the values of the files, in Hounsfield units of CT: what is at most LOW becomes "
        "black, what is at least HIGH white.",
    )
    percentiles: tuple[float, ...] | None = Field(
        None,
        min_length=2,
        max_length=2,
        description="[LOW, HIGH] from 0 to 100, of all pixels of the training split, for example [0.5, 99.5].",
    )

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        low, high = self.chosen
        if not low < high or not all(map(math.isfinite, (low, high))):
            raise ValueError(f"`intensity` goes from a lower to a higher value, received [{low:g}, {high:g}]")
        if self.percentiles is not None and not 0 <= low < high <= 100:
            raise ValueError(f"`intensity.percentiles` are from 0 to 100, received [{low:g}, {high:g}]")
        return self


class Dataset(SourceFields):
    """The real data."""

    size: int = Field(28, ge=8, le=1024, description="Side of the images in pixels.")
    color_mode: Literal["source", "grey", "rgb"] = Field("source", description="Channels; source: as the images are.")
    resize: Literal["bicubic", "bilinear", "lanczos", "box", "nearest"] = Field(
        "bicubic",
        description="How images of another size are resized; the synthetic ones likewise. All but nearest are "
        "antialiased.",
    )
    framing: Literal["crop", "pad", "stretch"] = Field(
        "crop",
        description="What becomes of images that are not square: crop keeps the central square, pad adds black on both "
        "sides, stretch changes their shape. The synthetic ones likewise.",
    )
    intensity: Intensity | None = Field(
        None,
        description="Which values of pixels with more than 8 bits become black and white, the same for real and "
        "synthetic images. Default: by the bits that they use (16 bits), by each file's own window (DICOM); signed and "
        "32-bit numbers need it.",
    )
    split: Split = Field(Split(), description="How data without splits is split: by class and patient.")
    leaks: Leaks = Field(
        Leaks(),
        description="What happens to images on both sides of a split: drop (from training or validation; test is "
        "never altered), stop (the trial ends), or waive (they are only reported).",
    )
    audit: Literal["warn", "stop"] = Field(
        "warn",
        description="What happens where files, edges or omissions tell the class, or labels contradict the images: "
        "warn (a serious qualification of the verdict), or stop (the trial ends before anything is trained).",
    )
    train_fraction: float = Field(
        1.0, gt=0, le=1, description="Share of the training split that the trial uses, to ask how it were with less."
    )
    train_fraction_seed: Seed = Field(0, description="Another seed takes another part of the training split.")
    train_count: int | None = Field(
        None,
        ge=1,
        le=100_000_000,
        description="In place of a share, about how many images of the training split the trial uses, by whole "
        "patients. Default: all.",
    )
    cap_per_label: int | None = Field(
        None,
        ge=1,
        le=100_000_000,
        description="The most images of one class or label in the training split. Default: no limit.",
    )
    cap_drawn: Literal["once", "each-epoch"] = Field(
        "once",
        description="When the images of capPerLabel are drawn: once (the others are not used), or each-epoch (the "
        "classifiers' trainings draw others in every pass; generators, filters and the audit have all of them).",
    )
    task: TaskFields | None = Field(
        None, description="What is to be told of the images. Default: their classes or labels as they are."
    )

    @model_validator(mode="after")
    def _one_share(self) -> Self:
        if self.train_count is not None and self.train_fraction < 1:
            raise wrong("trainCount", "stands in place of `trainFraction`", self.train_count, "Give one of them.")
        return self

    @model_validator(mode="after")
    def _something_to_draw(self) -> Self:
        if self.redraws and self.cap_per_label is None:
            raise wrong("capDrawn", NOTHING_TO_DRAW, self.cap_drawn, "Give it, for example 10000.", words="none")
        return self

    @property
    def redraws(self) -> bool:
        """Whether each pass of a training draws other images of `cap_per_label`."""
        return self.cap_drawn == "each-epoch"

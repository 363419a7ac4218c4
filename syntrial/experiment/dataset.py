"""Where images come from and how real data is prepared: the part of an Experiment that speaks of data."""

import re
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from syntrial.experiment.base import Model, Seed
from syntrial.experiment.pods import ObjectName

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


class SourceFields(Model):
    """Where images come from: exactly one of medmnist, npz, folder and phantom."""

    medmnist: str | None = Field(
        None,
        max_length=63,
        description="A two-dimensional MedMNIST data set with its official splits, for example pneumoniamnist. "
        "It is downloaded where it is not at hand.",
    )
    npz: Address | None = Field(
        None,
        description="An .npz file in MedMNIST's layout (train_images, train_labels, val_images and so on): a path on a "
        "laptop; s3://BUCKET/PATH; on a cluster also claim://CLAIM/PATH in a PersistentVolumeClaim of the same "
        "namespace; or sha256:DIGEST of content that `syntrial upload` put into the store. `syntrial submit` uploads "
        "what a path names.",
    )
    folder: Address | None = Field(
        None,
        description="A folder of images with a folder for each class, and folders train, val and test above those "
        "where the data is split already. Its address is written as for npz.",
    )
    secret: ObjectName | None = Field(
        None,
        description="Secret with the credentials of an s3:// address (SYNTRIAL_S3_ENDPOINT, AWS_ACCESS_KEY_ID, "
        "AWS_SECRET_ACCESS_KEY). Default: the credentials of the store.",
    )
    phantom: Chest | None = Field(
        None, description="Drawn images whose truth is known: no data needed. {} takes all defaults."
    )
    classes: tuple[Annotated[str, Field(max_length=256)], ...] | None = Field(
        None, max_length=1000, description="Names of the classes of an .npz, in label order. Default: 0, 1 and so on."
    )
    patient_pattern: str | None = Field(
        None,
        max_length=1024,
        description="For a folder: a regular expression with one group that finds the patient in a file's name, so "
        "that no patient stands on both sides of a split. Default: patients are not known.",
    )
    class_map: dict[str, str | None] | None = Field(
        None, description="Class in the source -> class in the trial; null leaves the class out. Default: all as named."
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


class Dataset(SourceFields):
    """The real data."""

    size: int = Field(28, ge=8, le=1024, description="Side of the images in pixels.")
    color_mode: Literal["source", "grey", "rgb"] = Field("source", description="Channels; source: as the images are.")
    resize: Literal["bicubic", "bilinear", "lanczos", "box"] = Field(
        "bicubic", description="How images of another size are resized; the synthetic ones likewise."
    )
    split: Split = Field(Split(), description="How data without splits is split: by class and patient.")
    leaks: Leaks = Field(
        Leaks(),
        description="What happens to images on both sides of a split: drop (from training or validation; test is "
        "never altered), stop (the trial ends), or waive (they are only reported).",
    )
    train_fraction: float = Field(
        1.0, gt=0, le=1, description="Share of the training split that the trial uses, to ask how it were with less."
    )
    train_fraction_seed: Seed = Field(0, description="Another seed takes another part of the training split.")

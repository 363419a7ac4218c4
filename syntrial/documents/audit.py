"""`audit.json`: what data preparation found in a data set, or in an imported set beside the data set's splits."""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from syntrial.documents.document import DOCUMENT

LeakKind = Literal["exact-duplicate", "shared-patient", "near-duplicate"]
LeakAction = Literal["drop", "stop", "waive", "keep"]
"""What is done about a leak; `keep` is of what lies within one split."""

Grade = Literal["pass", "warn", "stop"]
"""What a finding means: nothing, a note, or a reason to doubt the verdict (or to end the trial, if that is asked)."""
FindingKind = Literal["property", "omissions", "probe", "labels", "image", "patients"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Split:
    """A part of the data set as it is used, after leaks were dealt with."""

    count: int
    """Images."""
    classes: dict[str, int]
    """Images of each class; of several labels an image, those that have the label."""
    patients: int
    """Patients; images where none are named."""
    patients_known: bool
    source: str
    split_by: str
    """"source" where the source has this split, "syntrial" where it was cut here."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Leak:
    """What stands on both sides of a pair of splits."""

    kind: LeakKind
    between: tuple[str, str]
    """The split that loses, then the one that keeps; or one split twice."""
    count: int
    """Distinct contents, patients, or images with a near duplicate."""
    images: int
    """Images of the first split that are concerned."""
    dropped: int
    action: LeakAction
    examples: tuple[tuple[str, str], ...]
    """Names of images (or a patient's name and an image) of each side."""

    @property
    def is_waived(self) -> bool:
        """Whether something was found that the policy lets stay."""
        return self.action == "waive" and self.count > 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Near:
    """Below which distance two images count as near duplicates."""

    threshold: float
    measure: str | None = None
    calibrated_on: str | None = None
    """On the data set's training images, also for imported sets."""
    recall: dict[str, float] | None = None
    """Of each kind of alteration: the share of the training images whose altered copy is this near."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PairPicture:
    """What a pair of `pairs.npy` shows."""

    what: str
    distance: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Shift:
    """How class proportions differ between two splits."""

    between: tuple[str, str]
    total_variation: float
    chi_square: float
    degrees_of_freedom: int
    p_value: float
    rates: dict[str, dict[str, float]]
    """Of each split: each class's share."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Conflicts:
    """Images that are equal to the pixel and have different labels."""

    count: int
    """Distinct contents."""
    examples: tuple[tuple[str, ...], ...]
    near: int = 0
    """Pairs of near duplicates with different labels."""
    near_examples: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One thing that was looked at, and what was found."""

    kind: FindingKind
    grade: Grade
    words: str
    """A sentence for people."""
    about: str
    """The property, the look of the probe, or the class."""
    against: str
    """class, split or origin (real or synthetic)."""
    strength: float
    """Cramér's V of a property, AUROC of a probe, labels or a number an image, the share of a class that was lost,
    or of patients that may stand in two splits: 0 to 1."""
    p_value: float | None = None
    """Times the number of tests (Bonferroni)."""
    chance: float | None = None
    """Of a probe: what 99 of 100 permutations of the labels stay under. Of a number an image: what all of these numbers
    stay under in 99 of 100 data sets that have nothing to tell."""
    pictures: int = 0
    """So many of the images of `findings.npy` show it, after those of the findings before."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GreyLevels:
    """Levels of a split's pixels, 0 to 255."""

    min: int
    max: int
    bright: int
    """999 of 1000 pixels are at most this."""
    mean: float
    deviation: float
    constant: int
    """Images of one level throughout."""
    constant_examples: tuple[int, ...]
    """Positions of the first of them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Resampling:
    """From which sides to which, and how."""

    sides: Annotated[tuple[int, int], Field(alias="from")]
    """The shortest and the longest side among the sources, in pixels."""
    to: int
    channels: int
    method: str
    cropped: int
    """Images that lost their margins to the central square."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Audit:
    """What was found in a data set (splits train, validation and test) or in an imported one (split `imported`)."""

    __pydantic_config__ = DOCUMENT

    version: Annotated[Literal[1], Field(alias="schema")]
    source: str
    classes: tuple[str, ...]
    splits: dict[str, Split]
    leaks: tuple[Leak, ...]
    near: Near
    pictures: tuple[PairPicture, ...]
    """Of the pairs in `pairs.npy`, in order."""
    shifts: tuple[Shift, ...]
    ranges: dict[str, GreyLevels]
    unreadable: tuple[str, ...]
    """Files that could not be decoded and were left out."""
    resampling: Resampling
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    train_fraction: float | None = None
    """Of a data set: the share of its training images that is used."""
    conflicts: Conflicts | None = None
    """Of a data set."""
    findings: tuple[Finding, ...] = ()
    """What may betray labels or origin, the gravest first."""

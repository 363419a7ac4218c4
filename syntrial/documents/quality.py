"""`quality.json`: how far a synthetic set is from real images, and whether it holds copies of them."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import Field

from syntrial.documents.decisions import CopyFigures
from syntrial.documents.document import DOCUMENT


@dataclass(frozen=True, kw_only=True, slots=True)
class Network:
    """A network that was trained elsewhere and stays as it is."""

    model: str
    weights: str
    """Their digest; of an earlier training, its key."""
    side: int
    """Of the images that it is shown, in pixels."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Features:
    """What distances are taken on."""

    size: int
    normalisation: str
    network: Network | None = None
    """None: the trial's own, trained on the real training images."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Frechet:
    """Squared Fréchet distances at one sample size."""

    sample_size: int
    synthetic_real: float
    floor: float
    """Real images against other real ones."""
    ratio_to_floor: float | None
    """None where the floor is 0."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FrechetBesideGaussian(Frechet):
    """The same, with the distance of independent Gaussian pixels beside it."""

    gaussian_real: float
    gaussian_ratio_to_floor: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class KernelDistance:
    """Squared maximum mean discrepancies at one sample size: unbiased, so that they may lie below 0."""

    sample_size: int
    synthetic_real: float
    floor: float
    """Real images against other real ones: near 0, whatever the sample size."""
    floor_range: tuple[float, float]
    """The lowest and the highest of the halves that `floor` is the mean of."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Inception:
    """Distances in the features of the Inception that published figures are taken by."""

    network: Network
    feature_size: int
    fid: Frechet
    kid: KernelDistance


@dataclass(frozen=True, kw_only=True, slots=True)
class NearestClass:
    """The class whose real images a synthetic class lies nearest to."""

    name: str
    synthetic_real: float
    """The distance to it, at the sample size of the class's own."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PrecisionRecall:
    """Shares of one set's images that lie within the other's manifold."""

    neighbours: int
    sample_size: int
    precision: float
    recall: float
    real_precision: float
    """What real images reach against other real ones."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Diversity:
    """How much the images of a class differ among themselves: Vendi scores of samples of one size."""

    sample_size: int
    synthetic: float
    """From 1 (all alike) to the sample size (none like another)."""
    real: float
    """The same of real images of the class."""
    ratio: float
    """Synthetic over real."""
    interval_95: tuple[float, float]
    """Of the ratio; images count as independent."""
    floor: float
    """The lowest ratio that halves of the real images show of each other."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ToldApart:
    """How well a linear model tells synthetic images from real ones of patients that it has not seen."""

    sample_size: int
    """Images of each kind, as many of each class."""
    auroc: float
    """0.5: not at all; 1: each of them."""
    interval_95: tuple[float, float]
    real: float
    """The same of real images against those of other patients."""
    real_interval_95: tuple[float, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class CopyPair:
    """A synthetic image and its nearest training image, by their positions."""

    synthetic: int
    training: int
    score: float
    distance: float
    copy: bool
    exact: bool
    position: str = ""
    """Of a copy that is turned or inverted: what it is to the training image."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Memorised(CopyFigures):
    """The search in the set, with its nearest pairs: those of `copies.npy`, in order."""

    pairs: tuple[CopyPair, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Quality:
    """The figures of one set."""

    __pydantic_config__ = DOCUMENT

    version: Annotated[Literal[1], Field(alias="schema")]
    images: int
    real_images: int
    features: Features
    frechet: FrechetBesideGaussian | Frechet | None
    """Beside the Gaussian where the trial's own network embeds the images."""
    """None where there are too few images."""
    frechet_by_class: dict[str, Frechet | None]
    precision_recall: PrecisionRecall | None
    memorised: Memorised
    repeated: int
    """Images that repeat an earlier one exactly."""
    diversity_by_class: dict[str, Diversity | None] = field(default_factory=dict)
    """None where a class has too few images; of several labels, among the images that bear the label."""
    told_apart: ToldApart | None = None
    """None where there are too few images or patients."""
    nearest_class: dict[str, NearestClass] = field(default_factory=dict)
    """Of each class that lies far from its own real images: which class it is nearest to."""
    inception: Inception | None = None
    """None where the experiment has no weights for it, or too few images."""

"""How well a small model tells synthetic images from real ones, beside how well it tells real ones from each other.

A classifier two-sample test (Lopez-Paz and Oquab 2017, "Revisiting Classifier Two-Sample Tests"): a model is trained to
tell the two kinds apart and judged on images that it has not seen; an area under its ROC curve above 1/2 shows that the
kinds differ, one of 1/2 that this model sees no difference. It is a ridge regression on what images look like: how much
neighbouring pixels differ at three scales and the spectrum, where generators leave traces (Durall et al. 2020, "Watch
your Up-Convolution", section 3), and a thumbnail with its squares, which tell sets of other spreads. None of this was
fitted to the real images, as the encoder's features were: nothing is told by which images an encoder knows. It is
cross-fitted: no image, and no image of its patient, trains the model that judges it. Both comparisons have equally many
images of equal classes, so that neither numbers nor classes tell.

Pure. Images are uint8 (N, H, W, C).
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from syntrial.documents.quality import ToldApart
from syntrial.imagesets import ridge
from syntrial.imagesets.thumbnails import thumbnails

FOLDS: Final = 2
"""Halves of the patients of each kind: a model is fitted to each and judges the other."""
LARGEST_SAMPLE: Final = 2_000
"""At most this many images of each kind are told apart."""

SMALLEST_SAMPLE: Final = 50
"""Under this many images of each kind, nothing is said."""

FEWEST_PATIENTS: Final = 10
"""Nor under this many patients of a kind."""

PENALTY: Final = 0.1
"""Of the ridge regression, on features of deviation 1, over the number of images."""

SCALES: Final = (1, 2, 4)

_BLOCK: Final = 32
"""Images that are looked at together."""

_Z: Final = 1.96

Vectors = NDArray[np.float64]
Rows = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Kind:
    """Images that are to be told from others."""

    images_NHWC: NDArray[np.uint8]  # noqa: N815
    groups: Rows
    """(N,): the class of each, or 0 where an image has several labels."""
    patients: Rows
    """(N,): equal numbers for images that are not independent."""

    def __len__(self) -> int:
        return len(self.groups)


def looks(images_NHWC: np.ndarray) -> Vectors:
    """(N, F) float64: what the model sees of images."""
    thumbnails_NF = (thumbnails(images_NHWC) - 127.5) / 127.5
    parts = [log_differences(images_NHWC), log_spectrum(images_NHWC), thumbnails_NF, thumbnails_NF**2]
    return np.concatenate(parts, axis=1)


def log_differences(images_NHWC: np.ndarray) -> Vectors:
    """(N, D): logarithms of how much neighbouring pixels differ, in each quarter of each channel.

    Along both axes and across (the mixed second difference), mean absolute and mean square, of the image as it is and
    reduced by 2 and by 4; an image too small for a scale has none of it.
    """
    found = []
    for start in range(0, len(images_NHWC), _BLOCK):
        parts = []
        for scale in SCALES:
            planes = _reduced(np.asarray(images_NHWC[start : start + _BLOCK], dtype=np.float64), scale)
            if min(planes.shape[1:3]) < 4:
                continue
            down, across = np.diff(planes, axis=1)[:, :, :-1], np.diff(planes, axis=2)[:, :-1]
            for differences in (down, across, np.diff(np.diff(planes, axis=1), axis=2)):
                parts += [_quarters(np.abs(differences)), _quarters(differences**2)]
        # A tenth of a grey level: less is the same to everyone.
        found.append(np.log(np.concatenate(parts, axis=1) + 0.1))
    return np.concatenate(found)


def _reduced(images_NHWC: Vectors, scale: int) -> Vectors:
    """Means of squares of `scale` pixels; what is left at the lower and right border is cut off."""
    count, height, width, channels = images_NHWC.shape
    rows, columns = height // scale, width // scale
    cut = images_NHWC[:, : rows * scale, : columns * scale]
    return np.asarray(cut.reshape(count, rows, scale, columns, scale, channels).mean(axis=(2, 4)))


def _quarters(values_NHWC: Vectors) -> Vectors:
    """(N, 4C): the means of the four quarters."""
    height, width = (side // 2 for side in values_NHWC.shape[1:3])
    parts = [
        values_NHWC[:, rows, columns]
        for rows in (np.s_[:height], np.s_[height:])
        for columns in (np.s_[:width], np.s_[width:])
    ]
    return np.concatenate([part.mean(axis=(1, 2)) for part in parts], axis=1)


def log_spectrum(images_NHWC: np.ndarray) -> Vectors:
    """(N, R): the logarithm of each image's power, its channels' mean, averaged over rings of equal frequency.

    Ring r holds what lies from r - 1/2 to r + 1/2 periods a side, from 1 to half the shorter side.
    """
    height, width = images_NHWC.shape[1:3]
    down, across = np.meshgrid(
        np.fft.fftfreq(height) * min(height, width), np.fft.rfftfreq(width) * min(height, width), indexing="ij"
    )
    rings = np.rint(np.hypot(down, across)).astype(np.int64).ravel()
    count = min(height, width) // 2
    within = (rings >= 1) & (rings <= count)
    means = np.zeros((within.sum(), count))
    means[np.arange(within.sum()), rings[within] - 1] = 1.0
    means /= np.maximum(means.sum(axis=0), 1.0)
    found = np.empty((len(images_NHWC), count))
    for start in range(0, len(images_NHWC), _BLOCK):
        grey_NHW = np.asarray(images_NHWC[start : start + _BLOCK], dtype=np.float64).mean(axis=3)
        power = np.abs(np.fft.rfft2(grey_NHW, norm="ortho")) ** 2
        # One grey level in a thousand pixels: less is rounding.
        found[start : start + _BLOCK] = np.log(power.reshape(len(grey_NHW), -1)[:, within] @ means + 1e-3)
    return found


def told_apart(synthetic: Kind, real: Kind, *, seed: int) -> ToldApart | None:
    """Synthetic images against one half of the real patients' images, and that half against the other.

    None where that leaves too few images or patients.
    """
    rng = np.random.default_rng([seed, 10])
    side = _parts(real, 2, rng)
    pools = [
        (real, np.flatnonzero(side == 0)),
        (real, np.flatnonzero(side == 1)),
        (synthetic, np.arange(len(synthetic))),
    ]
    groups = 1 + int(real.groups.max(initial=0))
    each = np.min([np.bincount(kind.groups[rows], minlength=groups)[:groups] for kind, rows in pools], axis=0)
    if each.sum() > LARGEST_SAMPLE:
        each = each * LARGEST_SAMPLE // each.sum()
    if each.sum() < SMALLEST_SAMPLE:
        return None
    reference, other, made = (_draw(kind, rows, each, rng) for kind, rows in pools)
    if min(len(np.unique(kind.patients)) for kind in (reference, other, made)) < FEWEST_PATIENTS:
        return None
    seen = looks(reference.images_NHWC)
    area, error = _cross_fitted(made, looks(made.images_NHWC), reference, seen, rng)
    floor, floor_error = _cross_fitted(other, looks(other.images_NHWC), reference, seen, rng)
    return ToldApart(
        sample_size=len(reference),
        auroc=area,
        interval_95=_interval(area, error),
        real=floor,
        real_interval_95=_interval(floor, floor_error),
    )


def _interval(area: float, error: float) -> tuple[float, float]:
    return max(0.0, area - _Z * error), min(1.0, area + _Z * error)


def _parts(kind: Kind, count: int, rng: np.random.Generator) -> Rows:
    """int64 (N,): which of `count` parts each image is in; a patient's are in one, and parts differ by a patient."""
    names, of_image = np.unique(kind.patients, return_inverse=True)
    places = rng.permutation(len(names)) % count
    return np.asarray(places[of_image], dtype=np.int64)


def _draw(kind: Kind, rows: Rows, each: Rows, rng: np.random.Generator) -> Kind:
    """`each[g]` images of group g, drawn at random from these rows, in their order."""
    chosen = [rng.permutation(rows[kind.groups[rows] == group])[:count] for group, count in enumerate(each)]
    found = np.sort(np.concatenate(chosen))
    return Kind(images_NHWC=kind.images_NHWC[found], groups=kind.groups[found], patients=kind.patients[found])


def _cross_fitted(
    one: Kind, one_NF: Vectors, other: Kind, other_MF: Vectors, rng: np.random.Generator
) -> tuple[float, float]:
    """The area with which models tell `one` from `other`, the mean over folds, and its standard error over patients."""
    features = np.concatenate([one_NF, other_MF])
    truth = np.repeat([1.0, 0.0], [len(one), len(other)])
    folds = np.concatenate([_parts(one, FOLDS, rng), _parts(other, FOLDS, rng)])
    patients = np.concatenate([one.patients, other.patients])
    areas, variances = [], []
    for fold in range(FOLDS):
        held = folds == fold
        model = ridge.fit(features[~held], truth[~held, None], penalty=PENALTY)
        scores = model.scores(features[held])[:, 0]
        positive = truth[held] == 1
        above = placements(scores[positive], scores[~positive])
        below = 1.0 - placements(scores[~positive], scores[positive])
        areas.append(float(above.mean()))
        variances.append(_variance(above, patients[held][positive]) + _variance(below, patients[held][~positive]))
    # Models of different folds are not independent, and no estimate of how little they are is unbiased (Bengio and
    # Grandvalet 2004): counted as if they were one.
    return float(np.mean(areas)), float(np.sqrt(np.mean(variances)))


def placements(scores: Vectors, others: Vectors) -> Vectors:
    """For each score the share of `others` that lie below it, of equal ones half (DeLong et al. 1988)."""
    ranks = rankdata(np.concatenate([scores, others]))[: len(scores)] - rankdata(scores)
    return np.asarray(ranks / len(others))


def _variance(values: Vectors, patients: Rows) -> float:
    """Of the mean of values that patients have several of (Obuchowski 1997, equation 4)."""
    names, of_value = np.unique(patients, return_inverse=True)
    sums = np.bincount(of_value, weights=values - values.mean(), minlength=len(names))
    return float((sums**2).sum() * len(names) / (len(names) - 1) / len(values) ** 2)

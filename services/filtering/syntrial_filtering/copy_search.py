"""One search for copies as both verbs do it: calibrated on the training split, reporting how far it is.

Wiring over `copies` and `turned`, which have the methods.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from syntrial.documents.decisions import CopyFigures
from syntrial.errors import UserError
from syntrial.imagesets.imageset import ImageSet
from syntrial.rpc.context import StepContext
from syntrial_filtering.copies import CopyScores, CopyThreshold, calibrate, index_training, is_copy, score
from syntrial_filtering.inputs import reporter
from syntrial_filtering.turned import Turned, search_turned

COUNTING_QUANTILE: Final = 0.001
"""Where a request keeps copies (quantile 0), they are counted at this quantile all the same."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CopySearch:
    """What a search for copies found."""

    scores: CopyScores
    threshold: CopyThreshold
    found: np.ndarray
    """bool (N,)."""
    exact: np.ndarray
    """bool (N,): every pixel equals that of the nearest training image."""
    turned: Turned
    """The search that says which of `found` are copies in another position, or negatives."""

    def figures(self) -> CopyFigures:
        """What `decisions.json` and `quality.json` both say of it."""
        return CopyFigures(
            searched=len(self.found),
            count=int(self.found.sum()),
            rate=float(self.found.mean()) if len(self.found) else 0.0,
            exact=int(self.exact.sum()),
            turned=int(self.turned.found.sum()),
            turned_threshold=self.turned.threshold,
            threshold=self.threshold.value,
            quantile=self.threshold.quantile,
            calibration_images=self.threshold.images,
            calibration_share_under_threshold=self.threshold.real_share,
        )


def search_copies(
    context: StepContext, images_NHWC: np.ndarray, train: ImageSet, *, quantile: float, seed: int
) -> CopySearch:
    """Searches images for copies of the training split at a threshold calibrated on that split.

    Raises UserError for a quantile outside [0, 1).
    """
    if not 0.0 <= quantile < 1.0:
        raise UserError(
            field="copies.quantile",
            rule="must be at least 0 and less than 1",
            received=quantile,
            remedy="Give a small share such as 0.001, or 0 to keep copies.",
        )
    index = index_training(train.images_NHWC, patients=train.patients)
    threshold = calibrate(
        index,
        train.images_NHWC,
        quantile=quantile or COUNTING_QUANTILE,
        seed=seed,
        report=reporter(context, total=len(train), activity="calibrating the copy search"),
    )
    scores = score(
        images_NHWC, index, report=reporter(context, total=len(images_NHWC), activity="searching for copies")
    )
    turned = search_turned(context, images_NHWC, train)
    exact = _identical(images_NHWC, train.images_NHWC, scores.nearest)
    return CopySearch(
        scores=scores,
        threshold=threshold,
        # An identical image is a copy even where the threshold is 0, and rounding keeps its score above that.
        found=is_copy(scores, threshold=threshold) | exact | turned.found,
        exact=exact,
        turned=turned,
    )


def _identical(images_NHWC: np.ndarray, train_NHWC: np.ndarray, nearest: np.ndarray) -> np.ndarray:
    """bool (N,): every pixel equals that of the nearest training image."""
    same = [
        position >= 0 and bool((image == train_NHWC[position]).all())
        for image, position in zip(images_NHWC, nearest.tolist(), strict=True)
    ]
    return np.array(same, dtype=bool)

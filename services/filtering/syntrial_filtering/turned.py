"""Copies of training images that are mirrored, turned by quarters, or inverted: which `copies` does not see.

By the search for near duplicates that data preparation makes in the data set (`syntrial.imagesets.near`), calibrated on
the training split as it is there. What lies nearest to a training image as it is, is `copies`' to judge.
"""

from dataclasses import dataclass

import numpy as np

from syntrial.imagesets.imageset import ImageSet
from syntrial.imagesets.near.calibration import calibrate
from syntrial.imagesets.near.displaced import displaced, merged
from syntrial.imagesets.near.likeness import INVERTED, POSITIONS, coefficients, evened, scale_of
from syntrial.imagesets.near.neighbours import within
from syntrial.rpc.context import StepContext
from syntrial_filtering.inputs import reporter

WORDS = {**dict(enumerate(POSITIONS)), INVERTED: "inverted"}
"""What a copy is to its training image, by `Turned.positions`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Turned:
    """What was found of N images."""

    rows: np.ndarray
    """int64 (N,): the training image that it is a turned copy of, or -1."""
    distances: np.ndarray
    """float64 (N,): between coefficients of length 1 (0 to 2); infinite where there is no copy."""
    positions: np.ndarray
    """int64 (N,)."""
    threshold: float

    @property
    def found(self) -> np.ndarray:
        """bool (N,)."""
        return np.asarray(self.rows >= 0)


def search_turned(context: StepContext, images_NHWC: np.ndarray, train: ImageSet) -> Turned:
    """Looks for each image's nearest training image in the seven other positions of a square, and as a negative."""
    raw = coefficients(train.images_NHWC)
    scale = scale_of(raw)
    real = evened(raw, scale)
    calibration = calibrate(train.images_NHWC, real, scale=scale, patients=train.patients)
    made = evened(coefficients(images_NHWC), scale)
    apart = (np.full(len(made), -1, np.int64), np.zeros(len(real), np.int64))
    nearest = merged(
        within(
            made,
            real,
            threshold=calibration.threshold,
            apart=apart,
            on_progress=reporter(context, total=len(images_NHWC), activity="searching for turned copies"),
        ),
        displaced(made, real, threshold=calibration.moved, reach=calibration.reach, apart=apart),
    )
    is_turned = (nearest.rows >= 0) & (nearest.positions > 0) & (nearest.positions <= INVERTED)
    return Turned(
        rows=np.where(is_turned, nearest.rows, -1),
        distances=np.where(is_turned, nearest.distances, np.inf),
        positions=np.where(is_turned, nearest.positions, 0),
        threshold=calibration.threshold,
    )

"""Who is drawn in a phantom, and with which class: known from its parameters before anything is drawn.

Patients are drawn one by one: patient p of a split has its own random stream, and so has each of its images, so a set
with more patients begins with the images of the smaller one.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from syntrial.imagesets.splits import SPLITS
from syntrial.v1.data_preparation_pb2 import PhantomSource

CHEST_CLASSES = ("normal", "opacity")
TISSUE_CLASSES = ("blank", "cells", "debris", "dots", "streaks", "fibres", "rings", "waves", "clusters")

ANATOMY_STREAM = 2**32 - 1
"""The place of a patient's own stream among those of its images."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Cast:
    """Who is drawn in one split, and with which class."""

    labels: NDArray[np.int64]
    """(N,), 0 to K-1."""
    patients: NDArray[np.int64]
    """(N,), numbered from 0 within the split."""
    indices: NDArray[np.int64]
    """(N,), the image's number within its patient."""


def class_names(phantom: PhantomSource) -> tuple[str, ...]:
    """The names of the classes of the phantom's variant."""
    return CHEST_CLASSES if phantom.variant == PhantomSource.VARIANT_CHEST else TISSUE_CLASSES


def cast(phantom: PhantomSource, split: str) -> Cast:
    """The patients of a split.

    The share of positives follows the prevalence within one patient at any number of patients: patient p is positive
    where p·prevalence + u passes a whole number, with u uniform for each seed and split. Tissue classes go round.
    """
    count = int(getattr(phantom, f"{split}_patients"))
    numbers = np.arange(count)
    offset = stream(phantom.seed, split, ANATOMY_STREAM, ANATOMY_STREAM).random()
    if phantom.variant == PhantomSource.VARIANT_CHEST:
        steps = np.floor(np.arange(count + 1) * phantom.prevalence + offset)
        classes = (np.diff(steps) > 0).astype(np.int64)
    else:
        classes = (numbers + int(offset * len(TISSUE_CLASSES))) % len(TISSUE_CLASSES)
    each = int(phantom.images_per_patient)
    return Cast(
        labels=np.repeat(classes, each),
        patients=np.repeat(numbers, each),
        indices=np.tile(np.arange(each), count),
    )


def stream(seed: int, split: str, patient: int, index: int) -> np.random.Generator:
    """The random stream of one image of one patient; counter-based, so that streams are independent and cheap."""
    sequence = np.random.SeedSequence((seed, SPLITS.index(split), patient, index))
    return np.random.Generator(np.random.Philox(sequence))

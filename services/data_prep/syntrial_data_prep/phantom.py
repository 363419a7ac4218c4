"""The phantom: drawn images whose truth is known, so that the whole product can be tried with nothing downloaded.

Patients are drawn one by one: patient p of a split has its own random stream, and so has each of its images, so a set
with more patients begins with the images of the smaller one. `chest` and `tissue` draw; here is who gets drawn.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from syntrial.v1.data_preparation_pb2 import PhantomSource

from . import chest, tissue

SPLITS = ("train", "validation", "test")
CHUNK = 256
"""Images drawn at once: bounds memory, and has no effect on any image."""

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
    return chest.CLASSES if phantom.variant == PhantomSource.VARIANT_CHEST else tissue.CLASSES


def cast(phantom: PhantomSource, split: str) -> Cast:
    """The patients of a split.

    The share of positives follows the prevalence within one patient at any number of patients: patient p is positive
    where p·prevalence + u passes a whole number, with u uniform for each seed and split. Tissue classes go round.
    """
    count = int(getattr(phantom, f"{split}_patients"))
    numbers = np.arange(count)
    offset = _stream(phantom.seed, split, ANATOMY_STREAM, ANATOMY_STREAM).random()
    if phantom.variant == PhantomSource.VARIANT_CHEST:
        steps = np.floor(np.arange(count + 1) * phantom.prevalence + offset)
        classes = (np.diff(steps) > 0).astype(np.int64)
    else:
        classes = (numbers + int(offset * len(tissue.CLASSES))) % len(tissue.CLASSES)
    each = int(phantom.images_per_patient)
    return Cast(
        labels=np.repeat(classes, each),
        patients=np.repeat(numbers, each),
        indices=np.tile(np.arange(each), count),
    )


def draw(phantom: PhantomSource, split: str) -> Iterator[NDArray[np.uint8]]:
    """The images of a split in the order of its cast, in chunks: uint8 (B, size, size) grey or (B, size, size, 3)."""
    chosen = cast(phantom, split)
    painter: Callable[..., NDArray[np.uint8]] = (
        chest.paint if phantom.variant == PhantomSource.VARIANT_CHEST else tissue.paint
    )
    for start in range(0, len(chosen.labels), CHUNK):
        stop = min(start + CHUNK, len(chosen.labels))
        patients = chosen.patients[start:stop].tolist()
        yield painter(
            chosen.labels[start:stop],
            anatomies=[_stream(phantom.seed, split, patient, ANATOMY_STREAM) for patient in patients],
            streams=[
                _stream(phantom.seed, split, patient, index)
                for patient, index in zip(patients, chosen.indices[start:stop].tolist(), strict=True)
            ],
            size=int(phantom.size),
            difficulty=float(phantom.difficulty),
        )


def _stream(seed: int, split: str, patient: int, index: int) -> np.random.Generator:
    """The random stream of one image of one patient; counter-based, so that streams are independent and cheap."""
    sequence = np.random.SeedSequence((seed, SPLITS.index(split), patient, index))
    return np.random.Generator(np.random.Philox(sequence))

"""The phantom: drawn images whose truth is known, so that the whole product can be tried with nothing downloaded.

`syntrial.imagesets.phantoms` says who gets drawn; `chest` and `tissue` draw.
"""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from syntrial.imagesets.phantoms import ANATOMY_STREAM, cast, stream
from syntrial.v1.data_preparation_pb2 import PhantomSource

from . import chest, tissue

CHUNK = 256
"""Images drawn at once: bounds memory, and has no effect on any image."""


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
            anatomies=[stream(phantom.seed, split, patient, ANATOMY_STREAM) for patient in patients],
            streams=[
                stream(phantom.seed, split, patient, index)
                for patient, index in zip(patients, chosen.indices[start:stop].tolist(), strict=True)
            ],
            size=int(phantom.size),
            difficulty=float(phantom.difficulty),
        )

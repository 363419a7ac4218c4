"""Gives a phantom's drawings as a source."""

import functools
import itertools
from collections.abc import Iterator

from syntrial.imagesets.phantoms import cast, class_names
from syntrial.imagesets.splits import SPLITS
from syntrial.v1.data_preparation_pb2 import PhantomSource, Source
from syntrial_data_prep import phantom
from syntrial_data_prep.samples import Samples
from syntrial_data_prep.sources.raw import Deferred, Place, Raw, RawSplit


def open_source(source: Source, _: Place) -> Raw:
    """Draws the phantom that the source's parameters describe."""
    parameters = source.phantom
    splits: dict[str, RawSplit] = {}
    for split in SPLITS:
        chosen = cast(parameters, split)

        def pictures(split: str = split) -> Iterator[Deferred]:
            drawn = itertools.chain.from_iterable(phantom.draw(parameters, split))
            for picture in drawn:
                yield functools.partial(Samples, values=picture)

        pairs = list(zip(chosen.patients.tolist(), chosen.indices.tolist(), strict=True))
        splits[split] = RawSplit(
            labels=chosen.labels,
            names=tuple(f"{split}/patient {patient}/{index}" for patient, index in pairs),
            patients=tuple(f"{split}-{patient}" for patient, _ in pairs),
            identities=tuple(f"{split}-{patient}" for patient, _ in pairs),
            pictures=pictures,
            sides=(parameters.size, parameters.size),
            oblong=0,
        )
    grey = parameters.variant == PhantomSource.VARIANT_CHEST
    return Raw(
        title=f"phantom ({'chest' if grey else 'tissue'})",
        splits=splits,
        classes=class_names(parameters),
        multi_label=False,
        channels=1 if grey else 3,
        notes=("The images are a phantom: drawn by a seeded procedure, not taken of patients.",),
    )

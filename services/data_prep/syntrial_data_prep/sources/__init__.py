"""Readers of raw data, one file a kind; `read` chooses among them. Each gives a `Raw`."""

from collections.abc import Callable, Iterator
from pathlib import Path

from syntrial.errors import SourceError, UserError
from syntrial.imagesets.phantoms import cast, class_names
from syntrial.imagesets.splits import SPLITS
from syntrial.v1.data_preparation_pb2 import PhantomSource, Source
from syntrial_data_prep import phantom
from syntrial_data_prep.sources.raw import Picture, Raw, RawSplit


def read(source: Source, path: Path | None, *, cache: Path | None = None, on_progress: Callable[[int], None]) -> Raw:
    """Opens a source, after checking that it is what was planned (its digest).

    `path` is where it lies, as `resolve` found it; `cache` is where downloads go, by default the user's cache folder.
    `on_progress` is called now and then while much is read or downloaded, and may raise to stop.

    Raises SourceError for what is missing, damaged or against a rule.
    """
    from syntrial_data_prep.sources import folder, medmnist, npz

    match source.WhichOneof("kind"):
        case "medmnist":
            return medmnist.read(source.medmnist, path, digest=source.digest, cache=cache, on_progress=on_progress)
        case "npz":
            return npz.read(_there(path), digest=source.digest, classes=tuple(source.npz.classes))
        case "folder":
            return folder.read(
                _there(path), digest=source.digest, pattern=source.folder.patient_pattern, on_progress=on_progress
            )
        case "phantom":
            return _phantom(source.phantom)
    raise UserError(
        field="source", rule="a source is one of medmnist, npz, folder or phantom", received="none", remedy="Name one."
    )


def _there(path: Path | None) -> Path:
    if path is None:
        raise SourceError(
            field="source",
            rule="a server that reads a file or folder is told where it lies",
            received="no location for its digest",
            remedy="Give the path where you start the run.",
        )
    if not path.exists():
        raise SourceError(
            field=str(path), rule="the file or folder exists", received="nothing there", remedy="Put it back."
        )
    return path


def _phantom(parameters: PhantomSource) -> Raw:
    splits: dict[str, RawSplit] = {}
    for split in SPLITS:
        chosen = cast(parameters, split)

        def pictures(split: str = split) -> Iterator[Picture | None]:
            for chunk in phantom.draw(parameters, split):
                yield from chunk

        pairs = list(zip(chosen.patients.tolist(), chosen.indices.tolist(), strict=True))
        splits[split] = RawSplit(
            labels=chosen.labels,
            names=tuple(f"{split}/patient {patient}/{index}" for patient, index in pairs),
            patients=tuple(f"{split}-{patient}" for patient, _ in pairs),
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

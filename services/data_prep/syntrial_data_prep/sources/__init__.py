"""Readers of raw data, one file a kind, and the table in which `read` finds them. Each gives a `Raw`."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from syntrial.errors import UserError, listed
from syntrial.v1.data_preparation_pb2 import Source
from syntrial_data_prep.sources import drawn, medmnist, npz, table
from syntrial_data_prep.sources.raw import Place, Raw

READERS: Final[Mapping[str, Callable[[Source, Place], Raw]]] = {
    "medmnist": medmnist.open_source,
    "npz": npz.open_source,
    "folder": table.open_folder,
    "table": table.open_source,
    "phantom": drawn.open_source,
}
"""The reader of each kind, by its name in `Source`."""


def read(
    source: Source,
    path: Path | None,
    *,
    cache: Path | None = None,
    scratch: Path | None = None,
    on_progress: Callable[[int], None],
) -> Raw:
    """Opens a source, after checking that it is what was planned (its digest).

    `path` is where it lies, as `resolve` found it; `cache` is where downloads go, by default the user's cache folder;
    `scratch` is where a packed archive is unpacked, by default the system's folder for temporary files.
    `on_progress` is called now and then while much is read or downloaded, and may raise to stop.

    Raises SourceError for what is missing, damaged or against a rule.
    """
    kind = source.WhichOneof("kind")
    if kind not in READERS:
        raise UserError(
            field="source",
            rule=f"a source is one of {listed(READERS, last='or')}",
            received=kind or "none",
            remedy="Name one.",
        )
    return READERS[kind](source, Place(path=path, cache=cache, scratch=scratch, on_progress=on_progress))

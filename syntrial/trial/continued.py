"""A trial whose object was restored from a backup: what it registered goes on under the UID that it has now.

An API server gives every new object another UID, and the store files by UID. Steps are found by their keys whoever
asks; but what was declared, when, and the plan of a finished trial stand under the UID before. A restored object names
that one in an annotation (`syntrial backup` writes it). Called by the controller.
"""

from typing import Final

from syntrial.artifacts.backend import is_name
from syntrial.artifacts.gc import PLAN
from syntrial.artifacts.store import RECORD_BYTES, ArtifactStore
from syntrial.artifacts.tombstones import TOMBSTONE
from syntrial.errors import UserError
from syntrial.experiment.model import CONTINUES

_REMEDY: Final = (
    "Restore the store's objects under experiments/ first, or leave the annotation out: the trial then registers anew, "
    "and what stands in the store is not run again."
)


def continue_record(store: ArtifactStore, *, uid: str, before: str) -> None:
    """Files what `before` has on record under `uid` too, unless that has a plan already.

    Nothing is written over, and the plan is filed last: one that is broken off goes on where it was. Raises UserError
    where `before` is no identifier or has nothing on record.
    """
    if before == uid or store.experiment_file(uid, PLAN) is not None:
        return
    place = f"experiments/{before}"
    if "/" in before or not is_name(place) or store.experiment_file(before, PLAN) is None:
        raise UserError(
            field=f"metadata.annotations.{CONTINUES}",
            rule="is the UID that the restored Experiment had, which the store has on record",
            received=f"{before}, of which {store.url} has no plan",
            remedy=_REMEDY,
        )
    names = [info.name.removeprefix(f"{place}/") for info in store.backend.scan(f"{place}/")]
    for name in [name for name in names if name not in (PLAN, TOMBSTONE)] + [PLAN]:
        data = store.backend.read(f"{place}/{name}", limit=RECORD_BYTES)
        if data is not None:
            store.backend.create(f"experiments/{uid}/{name}", data)

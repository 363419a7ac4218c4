"""Filters a folder of images as a trial filtered its own, at a served filtering stage.

    python -m syntrial_filtering serve --store runs/.store --address 127.0.0.1:50052 &
    python examples/clients/filter.py "filter edm" more/ kept/ --address 127.0.0.1:50052

STEP is the trial's own filtering, by its label or the first digits of its key: its filters, its encoder (fitted to real
training images alone) and its search for copies of training images are used. The folder has a folder for each class.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer

from syntrial.artifacts.store import ArtifactStore, open_store
from syntrial.errors import SyntrialError
from syntrial.imagesets.files import read_class_folders, write_pngs
from syntrial.imagesets.imageset import ImageSet, read_image_set
from syntrial.rpc.calls import asked, put_images, run, stage_at
from syntrial.trial.record import find_step
from syntrial.v1.artifacts_pb2 import MemberRef
from syntrial.v1.filtering_pb2 import FilterImagesRequest


def filter_folder(store: ArtifactStore, step: str, folder: Path, *, address: str) -> tuple[ImageSet, Mapping[str, Any]]:
    """The images that pass, and the decisions: counts by reason, thresholds, copies found."""
    request = asked(store, find_step(store, step), FilterImagesRequest)
    train = read_image_set(store.open(request.train))
    request.images.CopyFrom(put_images(store, read_class_folders(folder, like=train)))
    request.ratio = 0.0  # all that pass, with no quota
    with stage_at(address) as stage:
        key = run(stage, request)
    decisions = store.open(MemberRef(key=key, member="decisions")).json("decisions.json")
    return read_image_set(store.open(MemberRef(key=key, member="accepted"))), decisions


def main(step: str, folder: Path, out: Path, *, address: str = "127.0.0.1:50052", store: str = "runs/.store") -> None:
    """Write the images of FOLDER that pass a trial's filters to OUT, and say why others do not."""
    try:
        accepted, decisions = filter_folder(open_store(store), step, folder, address=address)
    except SyntrialError as error:
        sys.exit(str(error))
    write_pngs(accepted, out)
    print(f"{decisions['accepted']} of {decisions['candidates']} images in {out}")
    print(f"left out: {json.dumps(decisions['rejected'])}; copies of training images: {decisions['copies']['count']}")


if __name__ == "__main__":
    typer.run(main)

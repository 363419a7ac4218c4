"""A trial's runs to an MLflow server, each once.

A run is found again by two tags, its trial and what it is in it, which it has from its creation on. The last thing that
is written of it is the digest of all of it. So whoever was killed between two calls goes on where it was: what bears
its digest is left alone, and of a run that does not, what is there already is not written again.
"""

import base64
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Final

import numpy as np

from syntrial import __version__
from syntrial.analysis.pictures import choose, members, sheet
from syntrial.artifacts.store import ArtifactStore
from syntrial.imagesets.imageset import ImageSet, read_image_set
from syntrial.tracking.material import Material, read_material
from syntrial.tracking.projection import NOTE, project
from syntrial.tracking.runs import File, Run
from syntrial.tracking.server import KnownRun, Metric, Server

TRIAL_TAG: Final = "syntrial.trial"
RUN_TAG: Final = "syntrial.run"
SENT_TAG: Final = "syntrial.sent"

OF_A_CLASS: Final = 12
"""Images of each class in a picture."""

EXPERIMENT_TAGS: Final = {
    NOTE: "Trials of synthetic medical images by Syntrial: a run each, with what was trained below it.",
    "mlflow.experimentKind": "custom_model_development",
}
_PAGE: Final = "?workflowType=machine_learning"
"""MLflow from release 3 on shows runs as those of trainings there, and else as evaluations of language models."""
_PARENT_TAG: Final = "mlflow.parentRunId"


@dataclass(frozen=True, kw_only=True, slots=True)
class Sent:
    """What became of a trial's runs."""

    address: str
    """Of the trial's run, in MLflow's page."""
    runs: int
    written: int
    """Of these, now; the others were there."""
    files_left_out: int
    """That the server does not pass on."""
    material: Material


def send(store: ArtifactStore, *, name: str, uid: str, server: Server, before: Material | None = None) -> Sent:
    """Writes what the store has of a trial to `server`, but what is there already.

    `before` is the material of an earlier call. Raises ArtifactMissing where the store has no such trial,
    TrackingRefused and TrackingUnavailable, and the store's errors.
    """
    material = read_material(store, name=name, uid=uid, before=before)
    experiment = server.experiment(material.name, tags=EXPERIMENT_TAGS)
    known: dict[str, KnownRun] = {}
    for found in server.runs(experiment, tag=TRIAL_TAG, value=material.trial):
        known.setdefault(found.tags.get(RUN_TAG, ""), found)
    sender = _Sender(store, server, experiment=experiment, trial=material.trial, known=known)
    runs = project(material)
    written = sum([sender.send(run) for run in runs])
    return Sent(
        address=f"{server.address}/#/experiments/{experiment}/runs/{known[runs[0].id].id}{_PAGE}",
        runs=len(runs),
        written=written,
        files_left_out=sender.files_left_out,
        material=material,
    )


def send_to(address: str, store: ArtifactStore, *, name: str, uid: str) -> Sent:
    """As `send`, to the server at an address."""
    with closing(Server(address)) as server:
        return send(store, name=name, uid=uid, server=server)


class _Sender:
    def __init__(
        self, store: ArtifactStore, server: Server, *, experiment: str, trial: str, known: dict[str, KnownRun]
    ) -> None:
        self._store, self._server = store, server
        self._experiment, self._trial, self._known = experiment, trial, known
        self.files_left_out = 0

    def send(self, run: Run) -> bool:
        """Whether anything of the run was written. Its parent was sent before."""
        there = self._known.get(run.id)
        if there is not None and there.tags.get(SENT_TAG) == run.digest:
            return False
        parent = {} if run.parent is None else {_PARENT_TAG: self._known[run.parent].id}
        tags = {**run.tags, **parent, "syntrial.kind": run.kind, "mlflow.source.name": f"syntrial {__version__}"}
        now = time.time_ns() // 1_000_000
        took = None if run.seconds is None else round(run.seconds * 1000)
        if there is None:
            found_by = {TRIAL_TAG: self._trial, RUN_TAG: run.id}
            there = self._server.create(
                self._experiment, name=run.name, tags={**found_by, **parent}, began=now - (took or 0)
            )
            self._known[run.id] = there
        for path, file in run.files.items():
            self.files_left_out += not self._server.put_file(there, path, self._bytes(file))
        self._server.log(
            there.id,
            params={name: value for name, value in run.params.items() if name not in there.params},
            metrics=_missing(run, there),
            tags={name: value for name, value in tags.items() if there.tags.get(name) != value},
        )
        ended = None if run.state == "RUNNING" else now if took is None else there.began + took
        self._server.update(there.id, name=run.name, state=run.state, ended=ended)
        self._server.log(there.id, params={}, metrics=(), tags={SENT_TAG: run.digest})
        return True

    def _bytes(self, file: File) -> bytes:
        reader = self._store.open(file.ref)
        return reader.read(file.blob) if file.blob is not None else picture(read_image_set(reader))


def _missing(run: Run, there: KnownRun) -> list[Metric]:
    """Metrics that the server does not have to their end. Times are the run's own, so that a value twice is one."""
    last: Mapping[str, tuple[int, float]] = {point.name: (point.step, point.value) for point in run.metrics}
    return [
        Metric(name=point.name, value=point.value, step=point.step, time=there.began)
        for point in run.metrics
        if there.latest.get(point.name) != last[point.name]
    ]


def picture(images: ImageSet, /) -> bytes:
    """Some images of each class as a PNG, a class a row: chosen by their numbers, never by how they look."""
    labels = np.asarray(images.labels)
    rows = [
        [images.images_NHWC[index] for index in choose(of_class, count=OF_A_CLASS, seed=name)]
        for number, name in enumerate(images.classes)
        if len(of_class := members(labels, class_index=number))
    ]
    # As the report has its pictures: an address that holds them.
    return base64.b64decode(sheet(rows).partition(",")[2])
